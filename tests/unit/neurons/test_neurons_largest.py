"""The k largest of every row, and counts by several threads, against straightforward code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from voxstrata.errors import NumericsError
from voxstrata.neurons.counting import CountReducer
from voxstrata.neurons.largest import largest
from voxstrata.neurons.rules import make_rule
from voxstrata.streaming.reducers import Rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("frames", "width", "count"),
    [
        (1, 3072, 31),
        (70, 3072, 31),
        (65, 1000, 1),
        (40, 1007, 10),
        (9, 64, 60),
        (3, 5, 5),
        (5, 7, 1),
    ],
)
def test_largest_are_those_of_a_full_sort(
    frames: int, width: int, count: int, dtype: type[np.floating]
) -> None:
    rng = np.random.default_rng(width)
    # Distinct sizes, so that there is one answer; signs at random.
    sizes = np.stack([rng.permutation(width) + 1 for _ in range(frames)]) / 2048
    values = (sizes * rng.choice([-1, 1], sizes.shape)).astype(dtype)
    expected = np.argsort(-sizes, axis=1)[:, :count]
    found = largest(values, count)
    assert found.shape == (frames, count)
    assert (np.sort(found, axis=1) == np.sort(expected, axis=1)).all()


def test_bunched_values_are_found_all_the_same() -> None:
    """The largest of a row all in one group of columns, whichever group that is."""
    rng = np.random.default_rng(0)
    values = rng.random((96, 3072)).astype(np.float32)
    groups = 3072 // (3072 // (8 * 31))
    for frame in range(96):
        values[frame, frame::groups][:12] += 2
        values[frame, :19] += 1
    expected = np.argsort(-values, axis=1)[:, :31]
    assert (np.sort(largest(values, 31), axis=1) == np.sort(expected, axis=1)).all()


def test_ties_are_cut_at_the_count_and_larger_values_stay() -> None:
    values = np.zeros((80, 3072), np.float32)
    values[:, 100:120] = -1.0
    values[7] = 0.5
    found = largest(values, 31)
    for frame, row in enumerate(found):
        assert len(set(row.tolist())) == 31
        if frame != 7:
            assert set(range(100, 120)) <= set(row.tolist())


def test_a_tie_at_the_bound_keeps_one_of_the_two() -> None:
    values = np.arange(1, 513, dtype=np.float32)[None].repeat(3, axis=0)
    values[1, 507] = values[1, 506]  # fifth and sixth largest are equal
    found = [set(row.tolist()) for row in largest(values, 5)]
    assert found[0] == found[2] == {507, 508, 509, 510, 511}
    assert found[1] in ({506, 508, 509, 510, 511}, {507, 508, 509, 510, 511})


def test_no_frame_gives_no_row() -> None:
    assert largest(np.zeros((0, 50), np.float32), 2).shape == (0, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (69, 1006), (33, 500)])
@pytest.mark.parametrize("rule", ["top=0.01", "threshold=0.5", "quantile=0.9"])
def test_what_is_not_finite_is_told_with_its_recording(
    bad: float, place: tuple[int, int], rule: str
) -> None:
    values = torch.randn(70, 1007, generator=torch.Generator().manual_seed(0))
    made = make_rule(rule)
    made.learn("a", values.numpy())
    made.hits("a", values)
    values[place] = bad
    reducer = CountReducer(["a"], [1007], [], [], {"r": 0}, ["r"], made)
    with pytest.raises(NumericsError, match="recording r ") as caught:
        reducer.update(Rows("r", 0, [values], [0.0] * 70, [0.02] * 70))
    assert caught.value.got == "a"


class Codes:
    """Labels of frames at hand."""

    layers: tuple[str, ...] = ()

    def __init__(self, name: str, rows: int, seed: int) -> None:
        self.name, self.rows, self.seed = name, tuple(map(str, range(rows))), seed

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> np.ndarray:  # fmt: skip
        rng = np.random.default_rng([self.seed, int(utterance)])
        return rng.integers(-1, len(self.rows), len(start_s))


@pytest.mark.parametrize("rule", ["top=0.05", "threshold=1.5", "quantile=0.9"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_counts_are_those_of_a_loop_whatever_the_threads(rule: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    layers, width, frames = ["a", "b", "c"], 80, 23
    recordings = [
        [torch.randn(frames, width, generator=generator).to(dtype) for _ in layers]
        for _ in range(5)
    ]
    unit_of = {str(i): (2, 0, 1, 0, 2)[i] for i in range(5)}
    conditions = [Codes("few", 3, 1), Codes("many", 50, 2)]
    made = make_rule(rule)
    for layer, name in enumerate(layers):
        made.learn(name, torch.cat([r[layer] for r in recordings]).double().numpy())
    bounds = dict(made.learned())

    def count(threads: int) -> CountReducer:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            reducer = CountReducer(
                layers, [width] * 3, conditions, [()] * 2, unit_of, ["x", "y", "z"], made
            )
            for i, values in enumerate(recordings):
                reducer.update(Rows(str(i), 0, values, [0.0] * frames, [0.02] * frames))
        finally:
            torch.set_num_threads(before)
        return reducer

    results = [count(threads).finish() for threads in (1, 3)]
    for condition in conditions:
        rows = len(condition.rows)
        for layer, name in enumerate(layers):
            expected = np.zeros((3 * rows, width), np.int64)
            for i, values in enumerate(recordings):
                codes = condition.codes(str(i), [0.0] * frames, [], [])
                for t in range(frames):
                    size = values[layer][t].double().abs().numpy()
                    if rule.startswith("top"):
                        # Equal values of bfloat16 leave a choice: take what the rule took.
                        chosen = made.hits(name, values[layer])
                        active = chosen[1][chosen[0] == t]
                        assert len(active) == 4
                        assert size[active].min() >= np.delete(size, active).max()
                    elif rule.startswith("threshold"):
                        active = np.flatnonzero(size > 1.5)
                    else:
                        active = np.flatnonzero(size > bounds[name].numpy())
                    if codes[t] >= 0:
                        expected[unit_of[str(i)] * rows + codes[t], active] += 1
            for found in results:
                got = found[condition.name].active[name]
                assert (got.toarray() == expected).all()
    assert expected.sum() > 0
