"""Halves, overlaps, sweeps, selections within strata: slow counting and planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from neurons_counted import counted
from voxstrata.errors import UsageError
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.sets import NeuronSet
from voxstrata.neurons.statistics.design import by_rows, by_units
from voxstrata.neurons.statistics.draws import halved
from voxstrata.neurons.statistics.stability import (
    halves_table,
    overlap,
    overlap_table,
    sigma_table,
    split_halves,
    sweep_table,
)
from voxstrata.neurons.statistics.within import restricted, within

LAYER = "block.1.ffn.inner"


def jaccard(a: np.ndarray, b: np.ndarray) -> float:  # type: ignore[type-arg]
    return (a & b).sum() / (a | b).sum() if (a | b).any() else float("nan")


@pytest.mark.parametrize("kind", ["units", "rows"])
def test_halves_are_the_published_selection_of_half_the_units(kind: str) -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(5, 60, (30, 4))
    counts = counted(rng.choice([0.02, 0.05, 0.09], (1, 4, 80)), seen, seed=1, base=0.05, top=4)
    labels = rng.integers(0, 3, 30)
    if kind == "units":
        design, dealt = by_units(counts, labels, ["a", "b", "c"], sigma=0.5), labels
    else:
        design, dealt = by_rows(counts, [0, 0, 1, -1], ["x", "y"], sigma=1.0), np.zeros(30, int)
    found = split_halves(counts, design, splits=9, seed=2)[LAYER]
    for s, half in enumerate(halved(dealt, 9, 2)):
        sets = []
        for which in (0, 1):
            part, own = restricted(counts, design, half == which)
            sets.append(property_neurons(own.counts(part), LAYER, own.sigma))
        assert found.jaccard[s] == pytest.approx(jaccard(*sets), nan_ok=True)
        assert found.sizes[s].tolist() == [one.sum() for one in sets]
        shared = sum(a.sum() * b.sum() for a, b in zip(*sets, strict=True)) / 80
        either = found.sizes[s].sum() - shared
        assert found.chance[s] == pytest.approx(
            shared / either if either else float("nan"), nan_ok=True
        )
    assert found.sizes.sum() > 0


def test_strong_neurons_come_back_and_chance_ones_do_not() -> None:
    P, D = 40, 400
    group = np.arange(P) % 2
    strong = np.full((P, 1, D), 0.02)
    strong[:, :, :20] *= np.where(group == 1, 2.0, 0.5)[:, None, None]
    strong[:, :, 20:] = 0.001
    nothing = np.full((P, 1, D), 0.02)
    seen = np.full((P, 1), 300)
    speakers = np.repeat(np.arange(20), 2)
    group_of_speaker = np.repeat(np.arange(20) % 2, 2)
    table = {}
    for name, chance in (("strong", strong), ("nothing", nothing)):
        counts = counted(chance, seen, seed=3, base=0.02)
        design = by_units(counts, group, ["0", "1"])
        table[name] = split_halves(counts, design, splits=20)[LAYER].summary()
    assert table["strong"]["jaccard"] == 1.0
    assert table["strong"]["neurons"] == 20
    assert abs(table["nothing"]["jaccard"] - table["nothing"]["chance"]) < 0.05
    counts = counted(strong, seen, seed=3, base=0.02)
    design = by_units(counts, group_of_speaker, ["0", "1"])
    kept = split_halves(counts, design, splits=5, clusters=speakers)
    assert halves_table(kept).columns.tolist() == [
        "layer",
        "jaccard",
        "low",
        "high",
        "chance",
        "neurons",
    ]
    by_row = split_halves(counts, by_rows(counts), splits=5, clusters=speakers)[LAYER]
    assert by_row.sizes.shape == (5, 2)
    lone = np.where(np.arange(P) == 0, 2, group)
    with pytest.raises(UsageError, match="cannot be halved"):
        split_halves(counts, by_units(counts, lone, ["0", "1", "2"]))


def test_sigma_is_not_monotone() -> None:
    """A neuron in every row of one group and in four of five of the other."""
    chance = np.array([[[0.9]] * 5, [[0.9]] * 4 + [[0.0]]])
    counts = counted(chance, np.full((2, 5), 200), base=0.5)
    both = by_units(counts, [0, 1], ["a", "b"]).counts(counts)
    table = sigma_table(both, [0.8, 0.9, 1.0])
    assert table[table.group == "all"].neurons.tolist() == [0, 1, 1]
    assert table[table.group == "a"].neurons.tolist() == [0, 1, 1]
    for sigma in (0.8, 0.9):
        mine = property_neurons(both, LAYER, sigma).sum()
        assert table[(table.sigma == sigma) & (table.group == "all")].neurons.item() == mine


def made(name: str, *layers: tuple[int, ...], fingerprint: str = "f") -> NeuronSet:
    widths = {f"l{i}": 10 for i in range(len(layers))}
    return NeuronSet(name, "m", fingerprint, widths, dict(zip(widths, layers, strict=True)))


def test_overlaps_of_sets() -> None:
    a, b, c = made("a", (0, 1, 2), ()), made("b", (1, 2, 3, 4), ()), made("c", (5,), (1, 2))
    table = overlap_table({"s0": a, "s1": b, "s2": c})
    first = table[(table.a == "s0") & (table.b == "s1")]
    assert first.layer.tolist() == ["l0", "l1", "all"]
    assert first.shared.tolist() == [2, 0, 2]
    assert first.jaccard.tolist()[0] == pytest.approx(2 / 5)
    assert np.isnan(first.jaccard.tolist()[1])
    assert first.chance.tolist()[0] == pytest.approx(1.2 / (7 - 1.2))
    assert table[(table.a == "s0") & (table.b == "s2") & (table.layer == "all")].jaccard.item() == 0
    swept = sweep_table([({"k": 3, "top": 0.01}, a), ({"k": 39, "top": 0.01}, b)])
    assert swept.columns.tolist()[:4] == ["k", "top", "layer", "neurons"]
    assert swept[swept.layer == "all"].neurons.tolist() == [3, 4]
    assert swept[swept.layer == "l0"].jaccard.tolist() == pytest.approx([1.0, 2 / 5])
    assert overlap([], [], 5)["shared"] == 0
    with pytest.raises(UsageError, match="different models"):
        overlap_table({"a": a, "b": made("b", (1,), (), fingerprint="g")})
    with pytest.raises(UsageError, match="at least two sets"):
        overlap_table({"a": a})
    with pytest.raises(UsageError, match="no such selection"):
        sweep_table([({}, a)], reference=1)


def test_gender_neurons_do_not_survive_within_gender() -> None:
    P, D = 60, 60
    gender = np.arange(P) % 2
    voice = (np.arange(P) // 2) % 2  # a speaker group that is in both genders
    mixed = np.where(np.arange(P) < 44, gender, voice)  # clusters that are mostly the genders
    chance = np.full((P, 1, D), 0.001)
    chance[:, :, :10] = np.where(gender == 1, 0.04, 0.004)[:, None, None]
    chance[:, :, 10:20] = np.where(voice == 1, 0.04, 0.004)[:, None, None]
    counts = counted(chance, np.full((P, 1), 2000), seed=0, base=0.02)
    names = np.where(gender == 1, "M", "F")
    by_voice = within(counts, by_units(counts, voice, ["0", "1"]), names)
    assert by_voice.units.tolist() == [[15, 15], [15, 15]]
    survive = by_voice.survivors(LAYER)
    assert survive[1].nonzero()[0].tolist() == list(range(10, 20))
    by_gender = within(counts, by_units(counts, mixed, ["0", "1"]), names)
    assert by_gender.whole[LAYER][1, :10].all()
    table = by_gender.table()
    assert table.stratum.tolist() == ["F", "M", "every"]
    assert not by_gender.survivors(LAYER)[:, :10].any()
    every = by_voice.table().iloc[-1]
    assert (every.survive, every.whole) == (10, 10)
    assert every.expected == pytest.approx(10**3 / D**2)
    same = within(counts, by_units(counts, gender, ["F", "M"]), names)
    assert same.parts == {}
    assert same.table().empty
    with pytest.raises(UsageError, match="holds fewer than two groups"):
        same.survivors(LAYER)
    with pytest.raises(UsageError, match="fewer than two strata"):
        within(counts, by_units(counts, voice, ["0", "1"]), ["F"] * P)
    with pytest.raises(UsageError, match="rows make"):
        within(counts, by_rows(counts), names)
