"""The layer weighting against sums written out, and frames against time means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.utterance import UtteranceHead
from voxstrata.probing.weighting import LayerWeights
from voxstrata.types import FrameGrid, LayerInfo

FINE, COARSE = FrameGrid(160, 400), FrameGrid(320, 400)


def _infos(*widths: int, grid: FrameGrid = COARSE) -> list[LayerInfo]:
    return [LayerInfo(str(i), width, grid=grid) for i, width in enumerate(widths)]


def _vector(width: int) -> LayerInfo:
    return LayerInfo("embedding", width, kind="utterance")


def _set(weights: LayerWeights, seed: int = 3) -> LayerWeights:
    weights = weights.double()
    logits = torch.randn(len(weights.logits), generator=torch.Generator().manual_seed(seed))
    weights.logits.data = logits.double()
    return weights


def _frames(*widths: int, batch: int = 3, frames: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, frames, width, generator=generator, dtype=torch.float64)
        for width in widths
    ]


def _naive(shares: torch.Tensor, xs: Sequence[torch.Tensor]) -> torch.Tensor:
    total = torch.zeros_like(xs[0])
    for share, x in zip(shares.tolist(), xs, strict=True):
        total = total + share * x
    return total


def test_weights_are_even_at_first_and_the_sum_is_the_mean() -> None:
    weights = LayerWeights(_infos(4, 4, 4)).double()
    xs = _frames(4, 4, 4)
    z, lengths = weights(xs, torch.tensor([7, 5, 2]))
    assert weights.weights().tolist() == pytest.approx([1 / 3] * 3, abs=1e-15)
    torch.testing.assert_close(z, sum(xs) / 3, rtol=0, atol=1e-14)  # type: ignore[arg-type]
    assert lengths.tolist() == [7, 5, 2]
    assert weights.grid == COARSE


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_the_sum_and_its_gradient_are_those_written_out(stacked: bool, normalise: bool) -> None:
    weights = _set(LayerWeights(_infos(4, 4), normalise=normalise))
    xs = _frames(4, 4)
    z, _ = weights(torch.stack(xs) if stacked else xs, torch.tensor([7, 7, 7]))
    if normalise:
        xs = [
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            for x in xs
        ]
    shares = weights.weights()
    torch.testing.assert_close(z, _naive(shares, xs), rtol=0, atol=1e-13)
    z.square().sum().backward()
    # d/da_k = s_k (g_k - sum_l s_l g_l) with g_l = <2 z, x_l>
    inner = torch.stack([(2 * z.detach() * x).sum() for x in xs])
    wanted = shares * (inner - (shares * inner).sum())
    assert weights.logits.grad is not None
    torch.testing.assert_close(weights.logits.grad, wanted, rtol=1e-12, atol=1e-12)


def test_no_product_of_all_layers_is_kept_for_the_gradient() -> None:
    """Beyond its input the weighted sum may keep nothing that grows with layers times frames."""
    weights = LayerWeights(_infos(*[16] * 6))
    x = torch.randn(6, 4, 50, 16)
    sizes = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        if t.untyped_storage().data_ptr() != x.untyped_storage().data_ptr():
            sizes.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        weights(x, torch.full((4,), 50))
    assert sizes
    assert max(sizes) <= 6


def test_layers_of_different_width_are_refused_by_name_and_summed_through_maps() -> None:
    with pytest.raises(UsageError, match=r"0: 4, 1: 6[\s\S]*width=6"):
        LayerWeights(_infos(4, 6))
    weights = _set(LayerWeights(_infos(4, 6), width=5, seed=2))
    xs = _frames(4, 6)
    z, _ = weights(xs, torch.tensor([7, 7, 7]))
    assert weights.maps is not None
    mapped = [m(x) for m, x in zip(weights.maps, xs, strict=True)]
    torch.testing.assert_close(z, _naive(weights.weights(), mapped), rtol=0, atol=1e-13)
    assert weights.width == 5
    shares = weights.logits.softmax(0)
    wanted = torch.autograd.grad(
        sum(s * m for s, m in zip(shares, mapped, strict=True)).square().sum(),  # type: ignore[union-attr]
        list(weights.parameters()),
        retain_graph=True,
    )
    got = torch.autograd.grad(z.square().sum(), list(weights.parameters()))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-11)
    again = LayerWeights(_infos(4, 6), width=5, seed=2)
    other = LayerWeights(_infos(4, 6), width=5, seed=3)
    assert again.maps is not None
    assert other.maps is not None
    same = weights.maps[0].weight.float()
    assert torch.equal(same, again.maps[0].weight)
    assert not torch.equal(same, other.maps[0].weight)


def test_utterance_layers_are_repeated_or_left_out_by_choice() -> None:
    infos = [*_infos(4, 4), _vector(4)]
    xs = [*_frames(4, 4), torch.randn(3, 4, dtype=torch.float64)]
    with pytest.raises(UsageError, match=r"embedding[\s\S]*'repeat'"):
        LayerWeights(infos)
    repeated = _set(LayerWeights(infos, utterance="repeat"))
    z, _ = repeated(xs, torch.tensor([7, 7, 7]))
    wide = [*xs[:2], xs[2][:, None].expand(-1, 7, -1)]
    torch.testing.assert_close(z, _naive(repeated.weights(), wide), rtol=0, atol=1e-13)
    without = _set(LayerWeights(infos, utterance="leave out"))
    z, _ = without(xs, torch.tensor([7, 7, 7]))
    torch.testing.assert_close(z, _naive(without.weights(), xs[:2]), rtol=0, atol=1e-13)
    assert [info.name for info in without.layers] == ["0", "1"]


def test_a_repeated_layer_of_another_width_goes_through_its_map() -> None:
    infos = [*_infos(4, 6), _vector(3)]
    xs = [*_frames(4, 6), torch.randn(3, 3, dtype=torch.float64)]
    weights = _set(LayerWeights(infos, utterance="repeat", width=5))
    z, _ = weights(xs, torch.tensor([7, 7, 7]))
    wide = [*xs[:2], xs[2][:, None].expand(-1, 7, -1)]
    assert weights.maps is not None
    mapped = [m(x) for m, x in zip(weights.maps, wide, strict=True)]
    torch.testing.assert_close(z, _naive(weights.weights(), mapped), rtol=0, atol=1e-13)


def test_utterance_layers_alone_make_one_frame() -> None:
    weights = _set(LayerWeights([_vector(4), _vector(4)]))
    xs = [torch.randn(3, 4, dtype=torch.float64) for _ in range(2)]
    z, lengths = weights(xs, torch.tensor([9, 9, 9]))
    torch.testing.assert_close(z[:, 0], _naive(weights.weights(), xs), rtol=0, atol=1e-13)
    assert lengths.tolist() == [1, 1, 1]
    assert weights.grid is None


def test_layers_of_two_rates_meet_on_the_coarser_grid() -> None:
    infos = [*_infos(4, grid=FINE), *_infos(4, grid=COARSE)]
    weights = _set(LayerWeights(infos))
    fine, coarse = _frames(4, frames=13)[0], _frames(4, frames=6)[0]
    z, lengths = weights([fine, coarse], [torch.tensor([13, 13, 9]), torch.tensor([6, 6, 4])])
    # Same receptive field and start: centres of the coarse frame t lie on those of the fine frame
    # 2t, and [c - 160, c + 160) holds the fine frames 2t - 1 and 2t. Frame 0 lacks its first.
    assert lengths.tolist() == [5, 5, 3]
    assert weights.grid == FrameGrid(320, 400, 320)
    share = weights.weights().tolist()
    for t in range(1, 6):
        own = share[0] * (fine[:, 2 * t - 1] + fine[:, 2 * t]) / 2 + share[1] * coarse[:, t]
        torch.testing.assert_close(z[:, t - 1], own, rtol=0, atol=1e-13)
    with pytest.raises(UsageError, match="length each"):
        weights([fine, coarse], torch.tensor([6, 6, 4]))


def test_layers_of_one_grid_are_cut_to_the_frames_all_have() -> None:
    weights = _set(LayerWeights(_infos(4, 4)))
    long, short = _frames(4, frames=7)[0], _frames(4, frames=6)[0]
    z, lengths = weights([long, short], [torch.tensor([7, 4, 2]), torch.tensor([6, 5, 2])])
    assert lengths.tolist() == [6, 4, 2]
    torch.testing.assert_close(
        z, _naive(weights.weights(), [long[:, :6], short]), rtol=0, atol=1e-13
    )


class _FrameByFrame(nn.Module):
    """The published way: project every frame, then mean, then classify; a recording at a time."""

    def __init__(self, head: UtteranceHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        rows = [
            self.head.classify(self.head.project(one[:n]).mean(0))
            for one, n in zip(z, lengths.tolist(), strict=True)
        ]
        return torch.stack(rows)


@pytest.mark.parametrize(
    "kind", ["plain", "normalised", "mapped", "two rates", "with vectors", "stacked"]
)
def test_time_means_give_the_loss_and_gradients_of_frames(kind: str) -> None:
    options: dict[str, object] = {}
    infos, xs = _infos(6, 6, 6), _frames(6, 6, 6, frames=12)
    lengths: torch.Tensor | list[torch.Tensor] = torch.tensor([12, 9, 4])
    if kind == "normalised":
        options["normalise"] = True
    if kind == "mapped":
        infos, xs, options["width"] = _infos(6, 5, 4), _frames(6, 5, 4, frames=12), 7
    if kind == "two rates":
        infos = [*_infos(6, 6, grid=FINE), *_infos(6)]
        xs = [*_frames(6, 6, frames=25), *_frames(6, frames=12)]
        lengths = [torch.tensor([25, 19, 9])] * 2 + [torch.tensor([12, 9, 4])]
    if kind == "with vectors":
        infos, options["utterance"] = [*infos, _vector(6)], "repeat"
        xs = [*xs, torch.randn(3, 6, dtype=torch.float64)]
    weights = _set(LayerWeights(infos, **options))  # type: ignore[arg-type]
    head = UtteranceHead(weights.width, (3, 4), hidden=5).double()
    targets = torch.tensor([[0, 3], [2, 1], [1, 1]])
    parameters = [*weights.parameters(), *head.parameters()]

    z, found = weights(torch.stack(xs) if kind == "stacked" else xs, lengths)
    slow = head.loss(_FrameByFrame(head)(z, found), found, targets)
    wanted = torch.autograd.grad(slow, parameters)

    means = weights.time_means(xs, lengths)
    assert not any(m.requires_grad for m in means)
    fast = head.loss(head.from_means(weights.reduce_means(means)), found, targets)
    got = torch.autograd.grad(fast, parameters)
    assert fast.item() == pytest.approx(slow.item(), abs=1e-12)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert max(g.abs().max() for g in wanted[:1]) > 1e-4  # the layers' gradient is not nothing

    if kind in ("plain", "normalised", "stacked"):  # all means in one tensor, as stored
        whole = weights.reduce_means(torch.stack(means, dim=1))
        torch.testing.assert_close(whole, weights.reduce_means(means), rtol=0, atol=1e-14)


def test_half_precision_is_computed_in_single() -> None:
    weights = LayerWeights(_infos(4, 4))
    xs = [x.half() for x in _frames(4, 4)]
    z, _ = weights(xs, torch.tensor([7, 7, 7]))
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, (xs[0].float() + xs[1].float()) / 2, rtol=0, atol=1e-6)


def test_corrected_weights_are_shares_of_what_is_weighed() -> None:
    weights = LayerWeights(_infos(4, 4, 4)).double()
    weights.logits.data = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
    got = weights.corrected(torch.tensor([1.0, 2.0, 4.0]))
    assert got.tolist() == pytest.approx([0.25, 0.25, 0.5], abs=1e-12)
    with pytest.raises(UsageError, match="norms"):
        weights.corrected(torch.tensor([1.0, -2.0, 4.0]))
    with pytest.raises(UsageError, match="norms"):
        weights.corrected(torch.tensor([1.0, float("nan"), 4.0]))
    with pytest.raises(ShapeError, match="3 layers"):
        weights.corrected(torch.ones(2))


def test_what_does_not_fit_is_refused() -> None:
    weights = LayerWeights(_infos(4, 4))
    with pytest.raises(ShapeError, match="3 layers"):
        weights([torch.zeros(1, 2, 4)] * 3, torch.tensor([2]))
    with pytest.raises(ShapeError, match="layer 1"):
        weights([torch.zeros(1, 2, 4), torch.zeros(1, 2, 5)], torch.tensor([2]))
    with pytest.raises(ShapeError, match="layer 0"):
        weights(torch.zeros(2, 2, 4), torch.tensor([2]))
    with pytest.raises(ShapeError, match="2 layers"):
        weights.reduce_means(torch.zeros(1, 3, 4))
    with pytest.raises(UsageError, match="at least one"):
        LayerWeights([])
    with pytest.raises(UsageError, match="'repeat' or 'leave out'"):
        LayerWeights(_infos(4), utterance="drop")  # type: ignore[arg-type]
