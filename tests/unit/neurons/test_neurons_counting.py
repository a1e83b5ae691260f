"""Counting against a plain loop over frames and neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.neurons import counting
from voxstrata.neurons.conditions.condition import Crossed, Everything, Labels
from voxstrata.neurons.counting import CountReducer
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.meeting import Meeting, MeetReducer
from voxstrata.neurons.rules import make_rule
from voxstrata.streaming.reducers import Rows, load_state, save_state

LAYERS, WIDTHS = ("a", "b"), (30, 50)
SPEAKER = {f"u{i}": i % 3 for i in range(7)}


class Given:
    """Labels at hand, some frames without one."""

    layers: tuple[str, ...] = ()

    def __init__(self, name: str, rows: int, codes: dict[str, np.ndarray]) -> None:
        self.name, self.rows, self._codes = name, tuple(f"{name}{i}" for i in range(rows)), codes

    def codes(self, utterance: str, start_s: Any, end_s: Any, states: Any) -> np.ndarray:
        return self._codes[utterance]


class Reads:
    """The sign of the first value of a layer, so that states must reach the right condition."""

    rows: tuple[str, ...] = ("below", "above")

    def __init__(self, layer: str) -> None:
        self.name, self.layers = f"sign-{layer}", (layer,)

    def codes(
        self, utterance: str, start_s: Any, end_s: Any, states: Sequence[torch.Tensor]
    ) -> np.ndarray:
        (state,) = states
        return (state[:, 0] > 0).long().numpy()


def speech(seed: int = 0) -> tuple[list[Rows], dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows, phones, tones = [], {}, {}
    for name in SPEAKER:
        frames = int(rng.integers(1, 25))
        values = [torch.from_numpy(rng.standard_normal((frames, w)).astype(np.float32))
                  for w in (*WIDTHS, 4)]  # fmt: skip
        rows.append(Rows(name, 0, values, [0.0] * frames, [0.02] * frames))
        phones[name] = rng.integers(-1, 4, frames)
        tones[name] = rng.integers(-1, 2, frames)
    return rows, phones, tones


def conditions(phones: dict[str, np.ndarray], tones: dict[str, np.ndarray]) -> list[Any]:
    first, second = Given("p", 4, phones), Given("t", 2, tones)
    return [first, Everything(), Crossed(first, second), Reads("s"), Crossed(first, Reads("s"))]


READS = [(), (), (), (2,), (2,)]


def reducer(made: list[Any], rule: str = "top=0.1", units: dict[str, int] = SPEAKER) -> Any:
    names = [f"s{i}" for i in range(1 + max(units.values()))]
    return CountReducer(LAYERS, WIDTHS, made, READS, units, names, make_rule(rule))


def active_neurons(values: np.ndarray, rule: str) -> list[int]:
    name, _, number = rule.partition("=")
    if name == "threshold":
        return [n for n, v in enumerate(values) if abs(v) > float(number)]
    count = round(float(number) * len(values))
    return sorted(range(len(values)), key=lambda n: -abs(values[n]))[:count]


def by_loop(rows: list[Rows], made: list[Any], rule: str, units: dict[str, int]) -> dict[str, Any]:
    """Frame by frame, neuron by neuron."""
    count = 1 + max(units.values())
    found: dict[str, Any] = {}
    for condition, places in zip(made, READS, strict=True):
        C = len(condition.rows)
        seen = np.zeros((count, C), int)
        active = {
            name: np.zeros((count, C, w), int) for name, w in zip(LAYERS, WIDTHS, strict=True)
        }
        for one in rows:
            unit = units[one.utterance]
            codes = condition.codes(
                one.utterance, one.start_s, one.end_s, [one.values[p] for p in places]
            )
            for frame in range(len(one)):
                if codes[frame] < 0:
                    continue
                seen[unit, codes[frame]] += 1
                for position, layer in enumerate(LAYERS):
                    values = one.values[position][frame].numpy()
                    for neuron in active_neurons(values, rule):
                        active[layer][unit, codes[frame], neuron] += 1
        found[condition.name] = (seen, active)
    return found


def same(found: dict[str, UnitCounts], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, (seen, active) in expected.items():
        one = found[name]
        np.testing.assert_array_equal(one.seen, seen)
        for layer, dense in active.items():
            np.testing.assert_array_equal(
                one.active[layer].todense().reshape(dense.shape), dense, err_msg=f"{name} {layer}"
            )


@pytest.mark.parametrize("rule", ["top=0.1", "threshold=1.2"])
@pytest.mark.parametrize("each", [True, False], ids=["recordings", "speakers"])
def test_counts_are_those_of_a_plain_loop(rule: str, each: bool) -> None:
    rows, phones, tones = speech()
    units = {name: i for i, name in enumerate(SPEAKER)} if each else SPEAKER
    made = conditions(phones, tones)
    one = reducer(made, rule, units)
    for shard, row in enumerate(rows):
        one.update(row)
        one.end_shard(shard)
    found = one.finish()
    same(found, by_loop(rows, made, rule, units))
    for layer, width in zip(LAYERS, WIDTHS, strict=True):
        counts = found["p"]
        if rule.startswith("top"):
            assert counts.top[layer] == round(0.1 * width)
            assert counts.base[layer] == round(0.1 * width) / width
        else:
            position = LAYERS.index(layer)
            every = torch.cat([row.values[position] for row in rows]).numpy()
            rate = (np.abs(every) > 1.2).mean(axis=0)
            np.testing.assert_allclose(counts.base[layer], rate)  # frames without labels too


def test_shards_merge_and_states_go_on_to_the_same_counts(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, phones, tones = speech(1)
    made = conditions(phones, tones)
    expected = by_loop(rows, made, "top=0.1", SPEAKER)
    monkeypatch.setattr(counting, "_LIMIT", 20)  # recordings of a unit are added up on the way
    first, second = reducer(made), reducer(made)
    for shard, row in enumerate(rows[:3]):
        first.update(row)
        first.end_shard(shard)
    for row in rows[3:]:
        second.update(row)
    save_state(tmp_path / "second", second)
    again = reducer(made)
    load_state(tmp_path / "second", again)
    assert again.state_bytes() == second.state_bytes() > 0
    first.merge(again)
    same(first.finish(), expected)

    cut = reducer(made)
    for row in rows[:4]:
        cut.update(row)
    cut.end_shard(0)
    save_state(tmp_path / "cut", cut)
    later = reducer(made)
    load_state(tmp_path / "cut", later)
    for row in rows[4:]:
        later.update(row)
        cut.update(row)
    same(later.finish(), expected)
    for name, one in cut.finish().items():  # saving a state changes nothing
        other = later.finish()[name]
        for layer in LAYERS:
            assert (one.active[layer] != other.active[layer]).nnz == 0
            np.testing.assert_array_equal(one.base[layer], other.base[layer])


def test_a_state_may_be_saved_before_the_first_recording(tmp_path: Any) -> None:
    rows, phones, tones = speech(2)
    made = conditions(phones, tones)
    save_state(tmp_path / "empty", reducer(made))
    later = reducer(made)
    load_state(tmp_path / "empty", later)
    for row in rows:
        later.update(row)
    same(later.finish(), by_loop(rows, made, "top=0.1", SPEAKER))


def test_what_does_not_fit_is_refused() -> None:
    rows, phones, tones = speech(3)
    made = conditions(phones, tones)
    broken = Rows("u0", 0, [v.clone() for v in rows[0].values], rows[0].start_s, rows[0].end_s)
    broken.values[1][0, 3] = float("nan")
    with pytest.raises(NumericsError, match="not finite") as error:
        reducer(made).update(broken)
    assert error.value.got == "b"
    phones["u1"] = phones["u1"][:-1]
    with pytest.raises(UsageError, match="other frames than u1"):
        reducer(made).update(rows[1])
    with pytest.raises(UsageError, match="cannot be added"):
        reducer(made).merge(reducer(made[:2] + [Everything()] * 3))


def test_grouping_merging_and_choosing_units_are_sums_of_the_counts() -> None:
    rows, phones, tones = speech(4)
    units = {name: i for i, name in enumerate(SPEAKER)}
    made = conditions(phones, tones)
    one = reducer(made, units=units)
    for row in rows:
        one.update(row)
    found = one.finish()["p"]
    dense = found.active["b"].todense().reshape(7, 4, 50)
    labels = np.array([0, 1, -1, 1, 0, 0, -1])
    grouped = found.grouped(labels, ["F", "M"])
    assert grouped.rows[:2] == ("F | p0", "F | p1")
    for g in (0, 1):
        np.testing.assert_array_equal(
            grouped.seen[4 * g : 4 * g + 4], found.seen[labels == g].sum(0)
        )
        np.testing.assert_array_equal(
            grouped.active["b"][4 * g : 4 * g + 4], dense[labels == g].sum(axis=0)
        )
    np.testing.assert_allclose(
        grouped.probability("b"), grouped.active["b"] / np.maximum(1, grouped.seen)[:, None]
    )
    merged = found.merged(labels, ["x", "y"])
    np.testing.assert_array_equal(merged.seen[1], found.seen[labels == 1].sum(axis=0))
    np.testing.assert_array_equal(
        merged.active["b"].todense().reshape(2, 4, 50)[0], dense[labels == 0].sum(axis=0)
    )
    some = found.only([5, 2])
    assert some.units == (found.units[5], found.units[2])
    np.testing.assert_array_equal(some.active["b"].todense().reshape(2, 4, 50), dense[[5, 2]])
    rowwise = found.by_row([0, -1, 1, 0], ["v", "c"])
    np.testing.assert_array_equal(rowwise.active["b"], dense.sum(axis=0))
    assert rowwise.rows_of(0).tolist() == [0, 3]
    with pytest.raises(UsageError, match="none of the groups"):
        found.grouped(np.full(7, 2), ["F", "M"])
    with pytest.raises(UsageError):
        found.grouped(np.zeros(6, int), ["F", "M"])


def test_speakers_counted_are_recordings_added_up() -> None:
    rows, phones, tones = speech(5)
    made = conditions(phones, tones)
    by_recording = reducer(made, units={name: i for i, name in enumerate(SPEAKER)})
    by_speaker = reducer(made)
    for row in rows:
        by_recording.update(row)
        by_speaker.update(row)
    whole = by_speaker.finish()
    for name, one in by_recording.finish().items():
        added = one.merged(list(SPEAKER.values()), ["s0", "s1", "s2"])
        np.testing.assert_array_equal(added.seen, whole[name].seen)
        for layer in LAYERS:
            assert (added.active[layer] != whole[name].active[layer]).nnz == 0


def test_meetings_are_counted_as_a_loop_does(tmp_path: Any) -> None:
    rows, phones, _ = speech(6)
    signs, given = Reads("s"), Given("p", 4, phones)

    def make() -> MeetReducer:
        return MeetReducer([Meeting(signs, given, (2,), ())], SPEAKER, 3)

    first, second = make(), make()
    expected = np.zeros((3, 2, 4), int)
    for number, row in enumerate(rows):
        (first if number < 4 else second).update(row)
        for frame, phone in enumerate(phones[row.utterance]):
            if phone >= 0:
                sign = int(row.values[2][frame, 0] > 0)
                expected[SPEAKER[row.utterance], sign, phone] += 1
    save_state(tmp_path / "m", second)
    again = make()
    load_state(tmp_path / "m", again)
    first.merge(again)
    np.testing.assert_array_equal(first.finish()[0], expected)


def test_labels_of_units_need_recordings_that_agree() -> None:
    labels = Labels("g", ("F", "M"), {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1})
    members = {"a": "s0", "b": "s0", "c": "s1", "d": "s1", "e": "s2", "f": "s2", "g": "s3"}
    assert labels.units(["s0", "s1", "s2", "s3"], members).tolist() == [0, -1, -1, -1]
    assert labels.units(list("abcdefg"), {x: x for x in "abcdefg"}).tolist() == [
        0, 0, 0, 1, 1, -1, -1,
    ]  # fmt: skip
