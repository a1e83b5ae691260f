"""Crops as features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from voxstrata.augmentation.config import SpecAugmentConfig
from voxstrata.errors import AudioError, NumericsError
from voxstrata.frontend import front_end
from voxstrata.training.data.crops import Crop, CropExamples, Place, crops, cut
from voxstrata.training.data.items import Item
from voxstrata.types import SAMPLE_RATE, Utterance


class _Samples:
    """A front end that shows the samples themselves: frames of ten."""

    width = 10
    minimum = 1

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        return wave[:, : wave.shape[1] // 10 * 10].reshape(1, -1, 10)


@dataclass(frozen=True)
class _Doubling:
    """An augmenter: a profile is a number, applying it multiplies."""

    def draw(self, samples: int, rng: np.random.Generator) -> float:
        return float(rng.uniform(2, 3))

    def apply(self, wave: NDArray[np.float32], profile: float) -> NDArray[np.float32]:
        return (wave * profile).astype(np.float32)


def _item(wave: NDArray[np.float32], index: int = 3, label: int = 1) -> Item:
    seconds = len(wave) / SAMPLE_RATE
    return Item(index, Utterance("u", seconds, {"speaker": "s"}, lambda: wave), label)


def _ramp(seconds: float) -> NDArray[np.float32]:
    """Sample k holds k + 1, so that a crop tells where it was cut."""
    return np.arange(1, round(seconds * SAMPLE_RATE) + 1, dtype=np.float32)


def _examples(*wanted: Crop, place: Place = "anywhere", **options: Any) -> CropExamples:
    given = {"dither": 0.0, **options}
    return CropExamples(wanted, _Samples(), place=place, **given)  # type: ignore[arg-type]


def _starts(examples: CropExamples, wave: NDArray[np.float32], seed: int) -> list[float]:
    made = examples.make(_item(wave), np.random.default_rng(seed))
    return [float(row[0, 0]) - 1 for row in made["x"]]


def test_a_crop_is_a_stretch_of_the_recording_and_every_place_is_possible() -> None:
    examples = _examples(*crops("x", 0.5, 1))
    wave = _ramp(1.0)
    found = []
    for seed in range(200):
        made = examples.make(_item(wave), np.random.default_rng(seed))
        row = made["x"].reshape(-1)
        assert len(row) == 8000
        assert np.all(np.diff(row) == 1)
        found.append(row[0] - 1)
    assert min(found) < 400
    assert max(found) > 7600
    assert max(found) <= 8000
    assert (made["label"], made["item"]) == (1, 3)
    assert made["label"].dtype == np.int64


def test_a_recording_as_long_as_the_crop_or_shorter_is_repeated() -> None:
    examples = _examples(*crops("x", 0.5, 1))
    assert _starts(examples, _ramp(0.5), 0) == [0.0]
    row = examples.make(_item(_ramp(0.2)), np.random.default_rng(0))["x"].reshape(-1)
    assert np.array_equal(row, np.resize(_ramp(0.2), 8000))
    assert np.array_equal(cut(_ramp(0.2), 3190, 20)[8:14], [3199, 3200, 1, 2, 3, 4])


def test_crops_of_one_position_are_the_same_stretch() -> None:
    wanted = (Crop("x", 0.3, 0), Crop("x", 0.3, 0), Crop("x", 0.3, 1))
    one, same, other = _starts(_examples(*wanted), _ramp(2.0), 1)
    assert one == same != other


@pytest.mark.parametrize("seed", range(20))
def test_adjacent_crops_follow_each_other_in_either_order(seed: int) -> None:
    first, second = sorted(
        _starts(_examples(*crops("x", 0.5, 2), place="adjacent"), _ramp(2), seed)
    )
    assert second - first == 8000
    assert 0 <= first <= 16_000


def test_adjacent_crops_of_a_short_recording_wrap_around() -> None:
    for seed in range(10):
        starts = _starts(_examples(*crops("x", 0.5, 2), place="adjacent"), _ramp(0.8), seed)
        assert all(0 <= start < 0.8 * SAMPLE_RATE for start in starts)
        assert abs(starts[0] - starts[1]) == 8000


@pytest.mark.parametrize("seed", range(20))
def test_crops_apart_do_not_overlap_where_there_is_room(seed: int) -> None:
    starts = _starts(_examples(*crops("x", 0.5, 3), place="apart"), _ramp(2.0), seed)
    ordered = sorted(starts)
    assert all(b - a >= 8000 for a, b in pairwise(ordered))
    assert ordered[-1] <= 2 * SAMPLE_RATE - 8000
    assert ordered[0] >= 0


def test_crops_apart_share_a_short_recording_evenly_and_in_random_order() -> None:
    examples = _examples(*crops("x", 0.5, 3), place="apart")
    orders = set()
    for seed in range(30):
        starts = _starts(examples, _ramp(1.0), seed)
        assert sorted(starts) == [0, 4000, 8000]
        orders.add(tuple(starts))
    assert len(orders) == 6
    assert _starts(examples, _ramp(0.3), 0) == [0, 0, 0]  # each is the whole, repeated


def test_a_profile_is_shared_by_its_crops_and_none_means_as_recorded() -> None:
    wanted = (
        Crop("x", 0.3, 0, 0), Crop("x", 0.3, 1, 0), Crop("x", 0.3, 2, 1), Crop("x", 0.3, 3, None),
    )  # fmt: skip
    examples = _examples(*wanted, augmenter=_Doubling())
    made = examples.make(_item(np.full(32_000, 0.1, np.float32)), np.random.default_rng(0))
    gains = made["x"][:, 0, 0] / np.float32(0.1)
    assert gains[0] == gains[1] != gains[2]
    assert np.all(gains[:3] > 2)
    assert gains[3] == 1


def test_a_batch_is_crop_major() -> None:
    """All recordings' first crop, then all second ones."""
    examples = _examples(*crops("x", 0.1, 2), *crops("y", 0.05, 1, first=2))
    waves = [np.full(16_000, value, np.float32) for value in (1, 2, 3)]
    made = []
    for i, wave in enumerate(waves):
        row = examples.make(_item(wave, index=i, label=10 + i), np.random.default_rng(i))
        row["x"] = row["x"] + 100 * np.arange(2, dtype=np.float32)[:, None, None]
        made.append(row)
    batch = examples.collate(made)
    assert batch["x"].shape == (6, 160, 10)
    assert batch["x"][:, 0, 0].tolist() == [1, 2, 3, 101, 102, 103]
    assert batch["y"].shape == (3, 80, 10)
    assert batch["label"].tolist() == [10, 11, 12]
    assert batch["item"].tolist() == [0, 1, 2]
    assert examples.seconds == pytest.approx(0.25)


def test_dither_is_of_the_size_it_says() -> None:
    examples = _examples(*crops("x", 1.0, 1), dither=2.0)
    wave = np.full(16_000, 0.25, np.float32)
    row = examples.make(_item(wave), np.random.default_rng(0))["x"].reshape(-1) - np.float32(0.25)
    assert float(np.std(row)) == pytest.approx(2 / 32768, rel=0.03)
    assert abs(float(np.mean(row))) < 1e-6


def test_features_are_those_of_the_front_end_normalised_crop_by_crop() -> None:
    front = front_end("wespeaker")
    examples = CropExamples(crops("x", 0.5, 1), front, dither=0.0)
    wave = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    found = examples.make(_item(wave), np.random.default_rng(1))["x"]
    assert np.array_equal(found[0], front(torch.from_numpy(wave)[None])[0].numpy())
    assert found.dtype == np.float32
    assert np.abs(found[0].mean(0)).max() < 1e-3


def test_masks_are_drawn_for_every_crop() -> None:
    front = front_end("wespeaker")
    wave = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    wanted = (Crop("x", 1.0, 0), Crop("x", 1.0, 0))
    made = [
        CropExamples(wanted, front, masks=masks, dither=0.0).make(
            _item(wave), np.random.default_rng(4)
        )["x"]
        for masks in (None, SpecAugmentConfig())
    ]
    changed = [np.any(made[0][i] != made[1][i], axis=1) for i in (0, 1)]
    assert all(rows.any() for rows in changed)
    assert not np.array_equal(made[1][0], made[1][1])


@pytest.mark.parametrize(
    ("wave", "said"),
    [(np.zeros(0, np.float32), "no samples"), (np.zeros(800, np.float32), "digital silence")],
)
def test_what_has_no_speech_is_refused(wave: NDArray[np.float32], said: str) -> None:
    with pytest.raises(AudioError, match="cannot be trained on") as caught:
        _examples(*crops("x", 0.1, 1)).make(_item(wave), np.random.default_rng(0))
    assert said in str(caught.value)


def test_a_recording_shorter_than_a_frame_is_refused() -> None:
    examples = CropExamples(crops("x", 0.1, 1), front_end("wespeaker"))
    assert examples.make(_item(np.ones(400, np.float32)), np.random.default_rng(0))
    with pytest.raises(AudioError, match="cannot be trained on") as caught:
        examples.make(_item(np.ones(399, np.float32)), np.random.default_rng(0))
    assert "at least 0.025 s" in str(caught.value)


def test_features_that_are_not_finite_are_refused_by_name() -> None:
    wave = np.full(16_000, np.nan, np.float32)
    with pytest.raises(NumericsError, match="features of u"):
        _examples(*crops("x", 0.1, 1)).make(_item(wave), np.random.default_rng(0))
