"""Recordings and their classes."""

from __future__ import annotations

import numpy as np
import pytest

import training_made as made
from voxstrata.errors import CorpusError
from voxstrata.training.data.items import Items, samples
from voxstrata.types import Utterance


class _Corpus:
    spec = "some"

    def __init__(self, *speakers: str | None) -> None:
        self.utterances = tuple(
            Utterance(
                f"u{i}",
                1.0 + i,
                {} if name is None else {"speaker": name},
                lambda i=i: np.full(16_000 * (1 + i), 0.1, dtype=np.float32),
            )
            for i, name in enumerate(speakers)
        )
        self.speakers = tuple(sorted({s for s in speakers if s is not None}))


def _items(*speakers: str | None, **options: object) -> Items:
    return Items(_Corpus(*speakers), **options)  # type: ignore[arg-type]


def test_classes_are_speakers_sorted_by_name() -> None:
    items = _items("bob", "ann", "bob", "cat")
    assert items.names == ("ann", "bob", "cat")
    assert (items.speakers, items.classes, len(items)) == (3, 3, 4)
    assert [item.label for item in items] == [1, 0, 1, 2]
    assert [item.index for item in items] == [0, 1, 2, 3]
    assert items.seconds == 1 + 2 + 3 + 4


def test_every_speed_makes_new_speakers_and_the_real_ones_come_first() -> None:
    items = _items("b", "a", speeds=(0.9, 1.0, 1.1))
    assert (items.speakers, items.classes) == (2, 6)
    assert items.speeds[0] == 1.0
    real = [item for item in items if item.speed == 1.0]
    assert [item.label for item in real] == [1, 0]
    labels = {(item.utterance.id, item.speed): item.label for item in items}
    assert len(set(labels.values())) == 6
    assert all(label >= 2 for (_, speed), label in labels.items() if speed != 1.0)
    slow = next(item for item in items if item.speed == 0.9)
    assert slow.duration_s == pytest.approx(1.0 / 0.9)
    assert slow.id == "u0@0.9"
    assert [item.index for item in items] == list(range(6))


def test_a_slower_recording_is_longer_and_of_the_length_that_was_told() -> None:
    for item in _items("b", "a", speeds=(1.0, 0.9, 1.1)):
        wave = item.read()
        assert wave.dtype == np.float32
        assert len(wave) == pytest.approx(item.duration_s * 16_000, abs=2)


def test_repeats_are_items_of_their_own_with_the_same_class() -> None:
    items = _items("b", "a", repeats=[1, 3])
    assert [(i.utterance.id, i.label, i.copy) for i in items] == [
        ("u0", 1, 0), ("u1", 0, 0), ("u1", 0, 1), ("u1", 0, 2),
    ]  # fmt: skip
    assert [item.index for item in items] == [0, 1, 2, 3]


def test_recordings_without_speakers_are_class_minus_one_or_refused() -> None:
    items = _items("b", None, "a")
    assert [item.label for item in items] == [1, -1, 0]
    with pytest.raises(CorpusError, match="1 recordings of some have no speaker") as caught:
        _items("b", None, "a", labelled=True)
    assert "u1" in str(caught.value)
    assert "without labels" in caught.value.fix


def test_samples_of_a_crop() -> None:
    assert samples(2.0) == 32_000
    assert samples(0.01) == 160
    assert len(made.planted_items(5)) == 5
