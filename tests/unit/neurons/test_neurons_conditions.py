"""Frame conditions: spans by hand, lengths, pitch, clusters, two at once."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from neurons_labelled import LabelledCorpus, corpus, frames, talk
from voxstrata.errors import LabelError, NumericsError, UsageError
from voxstrata.neurons.conditions.condition import Contrast, Crossed, Everything, Labels
from voxstrata.neurons.conditions.states import PitchThirds, StateClusters
from voxstrata.neurons.conditions.tiers import (
    CLASSES,
    classes_of,
    durations,
    middles,
    spans,
    tier_labels,
)
from voxstrata.neurons.counts import UnitCounts


def codes(condition, utterance: str, count: int) -> list[int]:  # type: ignore[no-untyped-def]
    return condition.codes(utterance, *frames(count), []).tolist()


def test_a_frame_belongs_to_the_span_its_centre_lies_in() -> None:
    made = spans(corpus(), "phones")
    assert made.rows == ("AA", "B", "L", "S")  # stress gone, silence no row
    assert codes(made, "r0", 17) == [0, 0, 0, 1, 1, *[-1] * 5, *[3] * 6, -1]
    assert codes(made, "r2", 9) == [1, 1, *[0] * 6, 2]
    assert codes(made, "unknown", 3) == [-1] * 3


def test_centres_on_a_bound_belong_to_the_span_that_begins_there() -> None:
    """Against exact fractions, for bounds that are decimals and centres that are sums of them."""
    bounds = [Fraction(n, 100) for n in range(1, 40, 2)]  # 10, 30, 50 ms: centres of frames
    phones = [
        (float(a), float(b), "AA" if i % 2 else "B")
        for i, (a, b) in enumerate(pairwise(bounds))
        if i % 5 != 4  # gaps: a centre on the end of the last span before one is outside
    ]
    made = spans(LabelledCorpus((talk("x", phones),)), "phones")
    expected = []
    for frame in range(21):
        centre = Fraction(2 * frame + 1, 100)
        mine = [
            label for a, b, label in phones
            if Fraction(str(a)) <= centre < Fraction(str(b))
        ]  # fmt: skip
        expected.append({"AA": 0, "B": 1}[mine[0]] if mine else -1)
    # Centres as the pass gives them: centre minus and plus half a receptive field.
    middle = [0.01 + 0.02 * i for i in range(21)]
    for half in (0.0125, 0.2001):
        found = made.codes("x", [m - half for m in middle], [m + half for m in middle], [])
        assert found.tolist() == expected


def test_published_sampling_takes_middles_of_runs_but_the_last() -> None:
    labels = np.array([4, 4, 4, 4, 2, 2, 2, 4, 9, 9])
    assert middles(labels).tolist() == [-1, 4, -1, -1, -1, 2, -1, 4, -1, -1]
    assert middles(np.array([3, 3, 3])).tolist() == [-1] * 3  # one run is the last one
    assert middles(np.array([], np.int64)).tolist() == []
    made = spans(corpus(), "phones", take="published")
    # AA: frames 0-2, B: 3-4, silence, S: 10-15 (not the last run: frames without a label follow)
    assert codes(made, "r0", 17) == [-1, 0, -1, 1, *[-1] * 8, 3, *[-1] * 4]
    assert codes(made, "r2", 9) == [1, *[-1] * 3, 0, *[-1] * 4]  # L is the last run


def test_equal_neighbours_are_one_run_as_published_but_two_spans() -> None:
    one = LabelledCorpus((talk("x", [(0, 0.06, "AA1"), (0.06, 0.12, "AA0"), (0.12, 0.16, "B")]),))
    assert codes(spans(one, "phones", take="published"), "x", 8) == [-1, -1, 0, *[-1] * 5]
    assert codes(spans(one, "phones", take="middle"), "x", 8) == [-1, 0, -1, -1, 0, -1, 1, -1]


def test_lengths_fall_into_thirds_at_the_published_percentiles() -> None:
    lengths = [0.04, 0.06, 0.06, 0.08, 0.10, 0.10, 0.20]
    at, phones = 0.0, []
    for i, length in enumerate(lengths):
        phones.append((at, at + length, "AA" if i % 2 else "B"))
        at += length
    phones.append((at, at + 0.5, "SIL"))
    one = LabelledCorpus((talk("x", phones),))
    low, high = np.percentile(lengths, [33, 66])  # 0.06 and 0.0992
    made = durations(one)
    assert made.rows == ("up to 60 ms", "60 to 99 ms", "over 99 ms")
    found = codes(made, "x", 60)
    frame = 0
    for length in lengths:
        third = 0 if length <= low + 1e-9 else 1 if length <= high else 2
        many = round(length / 0.02)
        assert found[frame : frame + many] == [third] * many
        frame += many
    assert found[frame:] == [-1] * (60 - frame)  # silence has no length
    # As published, each phone has a middle of its own, also beside one of the same third.
    sampled = durations(one, take="published")
    expected, frame = [-1] * 60, 0
    for length in lengths:
        many = round(length / 0.02)
        middle = frame + (many - 1) // 2
        expected[middle] = found[middle]
        frame += many
    assert codes(sampled, "x", 60) == expected
    both = Crossed(sampled, spans(one, "phones", take="published"))
    assert [c >= 0 for c in codes(both, "x", 60)] == [c >= 0 for c in expected]


def test_lengths_that_are_all_alike_are_refused() -> None:
    one = LabelledCorpus((talk("x", [(0, 0.1, "AA"), (0.1, 0.2, "B"), (0.2, 0.3, "AA")]),))
    with pytest.raises(LabelError, match="cannot be told apart by length") as error:
        durations(one)
    assert "3 phones" in str(error.value.got)


def test_classes_are_the_published_ones() -> None:
    assert [len(members) for members in CLASSES.values()] == [15, 15, 9]
    assert len({p for members in CLASSES.values() for p in members}) == 39
    names, of = classes_of(["AA", "B", "L", "S", "spn"])
    assert names == ["vowels", "voiced consonants", "unvoiced consonants"]
    assert of == [0, 1, 1, 2, -1]
    names, of = classes_of(["AA", "B", "L", "S", "spn"], semivowels=True)
    assert names[1] == "semivowels"
    assert of == [0, 2, 1, 3, -1]
    assert classes_of(["S", "AA"])[1] == [1, 0]  # only classes that occur, in their order
    with pytest.raises(LabelError, match="CMU"):
        classes_of(["a", "e"])


def test_a_corpus_without_the_tier_says_what_it_has() -> None:
    with pytest.raises(LabelError, match="no spans for 'words'") as error:
        spans(corpus(), "words")
    assert "phones" in str(error.value.got)
    with pytest.raises(LabelError, match="no groups by 'accent'"):
        tier_labels(corpus(), "accent")
    found = tier_labels(corpus(), "gender")
    assert found.groups == ("F", "M")
    assert found.of == {"r0": 0, "r1": 1, "r2": 0, "r3": 1}
    assert tier_labels(corpus(), "session").groups == ("0", "1", "2", "3")


def test_two_conditions_at_once_label_what_both_label() -> None:
    one, two = spans(corpus(), "phones"), durations(corpus())
    both = Crossed(one, two)
    assert both.name == "phones/duration"
    assert both.rows[:3] == tuple(f"AA | {third}" for third in two.rows)
    a, b = codes(one, "r0", 17), codes(two, "r0", 17)
    expected = [-1 if min(x, y) < 0 else 3 * x + y for x, y in zip(a, b, strict=True)]
    assert codes(both, "r0", 17) == expected
    assert max(expected) > 0

    class State:
        rows = ("no", "yes")

        def __init__(self, layer: str) -> None:
            self.name, self.layers = layer, (layer,)

        def codes(self, _u, start_s, _e, states):  # type: ignore[no-untyped-def]
            return (states[0][:, 0] > 0).long().numpy()

    crossed = Crossed(State("x"), State("y"))
    assert crossed.layers == ("x", "y")
    x, y = torch.tensor([[1.0], [-1.0], [1.0]]), torch.tensor([[-1.0], [1.0], [1.0]])
    assert crossed.codes("r", *frames(3), [x, y]).tolist() == [2, 1, 3]


def blobs(seed: int = 0) -> np.ndarray:
    """Three clouds of 600, 300 and 100 points; one dimension much wider than the others."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 0], [5, 0, 500], [0, 6, -500]], float)
    rows = np.concatenate(
        [
            c + rng.standard_normal((n, 3)) * [0.3, 0.3, 30]
            for c, n in zip(centres, (100, 600, 300), strict=True)
        ]
    )
    return rng.permutation(rows).astype(np.float32)


def test_clusters_are_ordered_by_size_and_the_same_every_time() -> None:
    rows = blobs()
    first, second = (StateClusters("clusters=3", 3, "m/1", seed=7) for _ in range(2))
    with pytest.raises(UsageError, match="no centres yet"):
        first.codes("u", *frames(1), [torch.zeros(1, 3)])
    first.learn([rows], starts=3)
    second.learn([rows], starts=3)
    found = first.codes("u", *frames(1000), [torch.from_numpy(rows)])
    assert np.bincount(found).tolist() == [600, 300, 100]
    np.testing.assert_array_equal(found == 1, rows[:, 1] > 3)
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name])
    # Distances are of z-scores.
    scores = (rows.astype(float) - rows.mean(0, dtype=float)) / rows.std(0, dtype=float)
    centres = first.tensors()["centres"].numpy()
    nearest = ((scores[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found, nearest)
    again = StateClusters("clusters=3", 3, "m/1", seed=99)
    again.restore(first.tensors(), first.facts)
    np.testing.assert_array_equal(again.codes("u", *frames(1000), [torch.from_numpy(rows)]), found)
    assert again.facts["frames fitted"] == 1000
    assert len(again.facts["inertia of all starts"]) == 3


def test_clusters_ignore_constant_dimensions_and_refuse_constant_layers() -> None:
    rows = np.concatenate([blobs(), np.full((1000, 1), 3.0, np.float32)], axis=1)
    made = StateClusters("clusters=3", 3, "m/1")
    made.learn([rows], starts=2)
    moved = rows.copy()
    moved[:, 3] += 1e6  # a dimension that never varied says nothing
    np.testing.assert_array_equal(
        made.codes("u", *frames(1000), [torch.from_numpy(rows)]),
        made.codes("u", *frames(1000), [torch.from_numpy(moved)]),
    )
    with pytest.raises(NumericsError, match="constant"):
        StateClusters("c", 2, "m/1").learn([np.ones((50, 4))])
    with pytest.raises(UsageError):
        StateClusters("c", 0, "m/1")
    with pytest.raises(UsageError):
        StateClusters("c", 4, "m/1").learn([blobs()[:3]])


def test_pitch_falls_into_thirds_with_a_bound_below() -> None:
    hertz = np.arange(100, 201, dtype=float)  # 33rd and 66th percentiles: 133 and 166 Hz
    pitch = np.concatenate([np.log2(hertz), np.full(50, 1.0)])[:, None]
    voiced = np.concatenate([np.ones(101), np.zeros(50)])[:, None]
    made = PitchThirds()
    with pytest.raises(UsageError, match="no bounds yet"):
        made.codes("u", *frames(1), [torch.zeros(1, 1)] * 2)
    made.learn([pitch, voiced])
    low, high = made.tensors()["bounds"].tolist()
    np.testing.assert_allclose([2**low, 2**high], [133, 166], rtol=1e-12)
    values = [low - 1e-6, low, low + 1e-6, high, high + 1e-6, low]
    asked = torch.tensor(values, dtype=torch.float64)[:, None]
    said = torch.tensor([1.0, 1, 1, 1, 1, 0])[:, None]
    assert made.codes("u", *frames(6), [asked, said]).tolist() == [0, 0, 1, 1, 2, -1]
    again = PitchThirds()
    again.restore(made.tensors(), made.facts)
    assert again.codes("u", *frames(6), [asked, said]).tolist() == [0, 0, 1, 1, 2, -1]
    assert made.facts["frames"] == 101
    with pytest.raises(NumericsError, match="too few voiced frames"):
        PitchThirds().learn([pitch[:120], np.arange(120)[:, None] < 99])


def made_counts(seen: list[list[int]]) -> UnitCounts:
    from scipy.sparse import csr_array

    found = np.array(seen)
    rng = np.random.default_rng(0)
    active = rng.integers(0, 2, (found.size, 5)) * (found.reshape(-1, 1) > 0)
    return UnitCounts(
        "c", ("a", "b"), tuple(f"u{i}" for i in range(len(seen))), found,
        {"x": csr_array(active)}, {"x": 0.2}, {"x": 1},
    )  # fmt: skip


def test_an_empty_cell_counts_as_a_row_and_an_empty_group_is_refused() -> None:
    """Rows without a frame stay rows, as published; a group without any frame is an error."""
    labels = Labels("g", ("F", "M"), {"u0": 0, "u1": 1, "u2": 1})
    contrast = Contrast("g/c", Everything(), ("F", "M"), labels=labels)
    members = {f"u{i}": f"u{i}" for i in range(3)}
    counts = contrast.counts(made_counts([[9, 0], [4, 5], [1, 0]]), members)
    assert counts.empty() == ["F | b"]
    assert len(counts.rows_of(0)) == 2
    with pytest.raises(LabelError, match="without a frame") as error:
        contrast.counts(made_counts([[0, 0], [4, 5], [1, 0]]), members)
    assert error.value.got == "F"
    assert "leave the group out" in error.value.fix
    rowwise = Contrast("c", Everything(), ("a", "b"), group_of=(0, 1))
    with pytest.raises(LabelError, match="without a frame"):
        rowwise.counts(made_counts([[9, 0], [4, 0], [1, 0]]), members)
