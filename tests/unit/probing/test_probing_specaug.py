"""SpecAugment on features: what is masked, how it is drawn, the warp, the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.specaug import FeatureMasks, spec_augment
from voxstrata.probing.seeded import Dropout, Stream, initial_weights

ONLY_TIME = FeatureMasks(warp=0, feature_masks=0)
ONLY_FEATURES = FeatureMasks(warp=0, time_masks=0)
ONLY_WARP = FeatureMasks(feature_masks=0, time_masks=0)


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_published_settings_are_the_default() -> None:
    published = FeatureMasks()
    assert (published.warp, published.feature_masks, published.widest_feature) == (5, 4, 49)
    assert (published.time_masks, published.widest_time) == (2, 39)


def test_masks_are_whole_columns_and_whole_own_frames() -> None:
    z = torch.ones(200, 60, 100)
    lengths = torch.randint(45, 61, (200,), generator=_drawn())
    made = spec_augment(z, lengths, _drawn(), ONLY_FEATURES)
    assert bool(((made == 0) | (made == 1)).all())
    columns = made.amin(1)
    assert torch.equal(made, columns[:, None].expand_as(made))
    made = spec_augment(z, lengths, _drawn(), ONLY_TIME)
    frames = made.amin(2)
    assert torch.equal(made, frames[..., None].expand_as(made))
    assert bool((z == 1).all())  # not in place
    for row, length in zip(frames, lengths.tolist(), strict=True):
        assert bool((row[length:] == 1).all())
        assert (row == 0).sum() <= 2 * 39
    assert (frames == 0).any(1).float().mean() > 0.9


@pytest.mark.parametrize(("size", "widest"), [(200, 39), (20, 19)])
def test_widths_and_places_of_a_mask_are_uniform(size: int, widest: int) -> None:
    one = FeatureMasks(warp=0, feature_masks=0, time_masks=1)
    made = spec_augment(torch.ones(8000, size, 1), torch.full((8000,), size), _drawn(), one)
    gone = (made[..., 0] == 0).numpy()
    widths = gone.sum(1)
    assert stats.chisquare(np.bincount(widths, minlength=widest + 1)).pvalue > 1e-3
    assert widths.max() == widest
    narrow = widths == 10
    starts = gone[narrow].argmax(1)
    counts = np.bincount(starts, minlength=size - 9)
    assert len(counts) == size - 9  # up to the very end
    folded = counts if size == 20 else np.add.reduceat(counts, np.arange(0, len(counts), 20))
    weights = np.add.reduceat(np.ones(size - 9), np.arange(0, size - 9, 1 if size == 20 else 20))
    assert stats.chisquare(folded, weights / weights.sum() * folded.sum()).pvalue > 1e-3


def test_a_warp_moves_frames_by_at_most_its_window_and_keeps_the_ends() -> None:
    ramp = torch.arange(60.0, dtype=torch.float64)
    z = ramp[None, :, None].repeat(300, 1, 3)
    lengths = torch.full((300,), 50)
    made = spec_augment(z, lengths, _drawn(), ONLY_WARP)
    assert torch.equal(made[:, 50:], z[:, 50:])
    for width in range(3):
        assert torch.equal(made[..., width], made[..., 0])
    moved = (made[:, :50, 0] - ramp[:50]).abs().amax(1)
    assert 2 < moved.max() < 6.5
    # Five or six frames squeezed into one leave the middle of them at the end.
    for end in (made[:, 0, 0], made[:, 49, 0] - 49):
        assert end.abs().max() < 2.6
        assert end.abs().median() < 0.2
    # A border that stays where it is leaves all frames as they are: 1 of 10 warps.
    assert 0.05 < (moved < 1e-12).double().mean() < 0.17


def test_short_recordings_are_not_warped() -> None:
    z = torch.randn(2, 12, 3)
    made = spec_augment(z, torch.tensor([10, 11]), _drawn(), ONLY_WARP)
    assert torch.equal(made[0], z[0])


def test_a_recording_does_not_depend_on_the_padding_of_its_batch() -> None:
    z = torch.randn(1, 30, 5)
    longer = torch.cat([z, torch.full((1, 8, 5), 9.0)], 1)
    lengths = torch.tensor([30])
    assert torch.equal(
        spec_augment(z, lengths, _drawn(4)), spec_augment(longer, lengths, _drawn(4))[:, :30]
    )


def test_the_same_generator_gives_the_same_and_torch_s_own_state_stays() -> None:
    z, lengths = torch.randn(3, 40, 60), torch.tensor([40, 35, 30])
    before = torch.get_rng_state()
    first = spec_augment(z, lengths, _drawn(1))
    assert torch.equal(first, spec_augment(z, lengths, _drawn(1)))
    assert not torch.equal(first, spec_augment(z, lengths, _drawn(2)))
    assert torch.equal(before, torch.get_rng_state())


def test_the_gradient_goes_through_warp_and_masks() -> None:
    z = torch.randn(2, 14, 4, dtype=torch.float64, requires_grad=True)
    masks = FeatureMasks(widest_feature=2, widest_time=4)
    assert torch.autograd.gradcheck(
        lambda x: spec_augment(x, torch.tensor([14, 12]), _drawn(3), masks), (z,)
    )


def test_frames_without_a_length_each_are_refused() -> None:
    with pytest.raises(ShapeError, match="lengths"):
        spec_augment(torch.zeros(2, 4, 3), torch.tensor([4]), _drawn())


def test_a_stream_depends_on_seed_purpose_step_and_count_alone() -> None:
    def numbers(stream: Stream) -> list[float]:
        return [torch.rand(1, generator=stream.draw()).item() for _ in range(2)]

    stream = Stream(3, "masks")
    first = numbers(stream)
    assert first[0] != first[1]
    stream.at(1)
    second = numbers(stream)
    stream.at(0)
    assert numbers(stream) == first
    others = [numbers(Stream(4, "masks")), numbers(Stream(3, "dropout")), second]
    assert len({tuple(n) for n in [first, *others]}) == 4
    with pytest.raises(UsageError, match="negative"):
        Stream(-1, "masks")


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    drop = Dropout(0.2, Stream(0, "dropout")).train()
    made = drop(torch.ones(100_000))
    assert made.unique().tolist() == pytest.approx([0, 1.25])
    assert (made == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert torch.equal(drop.eval()(torch.ones(5)), torch.ones(5))
    with pytest.raises(UsageError, match="0 <= rate < 1"):
        Dropout(1.0, Stream(0, "dropout"))


def test_initial_weights_leave_torch_s_state_even_when_building_fails() -> None:
    before = torch.get_rng_state()

    def build() -> None:
        with initial_weights(0, "x"):
            torch.rand(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        build()
    assert torch.equal(before, torch.get_rng_state())
