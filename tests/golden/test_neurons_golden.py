"""Counting and selection against the original authors' code (golden/neurons)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.neurons.conditions.condition import Crossed, Everything
from voxstrata.neurons.conditions.tiers import CLASSES, middles
from voxstrata.neurons.counting import CountReducer
from voxstrata.neurons.counts import Counts
from voxstrata.neurons.rules import make_rule, tau
from voxstrata.neurons.selection import exclusive, group_neurons, share_above
from voxstrata.streaming.reducers import Rows

PITCH = ["<129.03Hz", "129.03-179.78Hz", ">179.78Hz"]


class Given:
    """A frame condition from codes at hand."""

    layers: tuple[str, ...] = ()

    def __init__(self, name: str, rows: int, codes: dict[str, np.ndarray]) -> None:
        self.name, self.rows, self._codes = name, tuple(map(str, range(rows))), codes

    def codes(self, utterance: str, start_s: Any, end_s: Any, states: Any) -> np.ndarray:
        full = np.full(len(start_s), -1, np.int64)
        given = np.asarray(self._codes[utterance])[: len(full)]
        full[: len(given)] = given
        return full


class Golden:
    """The folder counting/, counted by our reducer."""

    def __init__(self, folder: Path) -> None:
        self.meta = json.loads((folder / "meta.json").read_text())
        self.labels = json.loads((folder / "labels.json").read_text())
        self.talk = json.loads((folder / "utterances.json").read_text())
        self.expected = json.loads((folder / "selected.json").read_text())
        self.clusters = {
            k: json.loads((folder / f"clusters_k{k}.json").read_text()) for k in (3, 5)
        }
        phones = {u: middles(np.asarray(v["phones"])) for u, v in self.talk.items()}
        pitch = {}
        for name, talk in self.talk.items():
            track = np.asarray(talk["pitch"])
            pitch[name] = np.concatenate([np.full(len(talk["phones"]) - len(track), -1), track])
        phone = Given("phones", 41, phones)
        conditions: list[Any] = [phone, Crossed(Given("pitch", 3, pitch), phone), Everything()]
        for k, found in self.clusters.items():
            km = {u: np.asarray(v) for u, v in found["km"].items()}
            conditions.append(Given(f"k{k}", k, km))
        names = list(self.talk)
        width = self.meta["D"]
        layers = [str(i + 1) for i in range(self.meta["layers"])]
        with np.load(folder / "activations.npz") as data:
            rows = [
                Rows(
                    name, 0, [torch.from_numpy(x) for x in data[name]],
                    [0.0] * data[name].shape[1], [0.02] * data[name].shape[1],
                )
                for name in names
            ]  # fmt: skip

        def reducer() -> CountReducer:
            return CountReducer(
                layers, [width] * len(layers), conditions, [()] * len(conditions),
                {name: i for i, name in enumerate(names)}, names, make_rule("top=0.01"),
            )  # fmt: skip

        self.names, self.layers, self.reducer, self.rows = names, layers, reducer, rows
        whole = reducer()
        for one in rows:
            whole.update(one)
        self.whole = whole
        self.found = whole.finish()


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    return Golden(shared / "golden" / "neurons" / "counting")


def phone_groups(order: list[str], table: dict[str, Any], copies: int, rows: int) -> np.ndarray:
    """Group of each row ``g * 41 + phone``: rows of silence and unused labels have none."""
    found = np.full(rows, -1, np.int64)
    for g in range(copies):
        for phone in order:
            found[g * 41 + table[phone][0]] = g
    return found


def counts_of(golden: Golden, case: str) -> tuple[Counts, list[str]]:
    table, order = golden.labels["label_table"], golden.expected["phone_order"]
    per_class = golden.expected["phone_counts_per_type"]
    if case == "phone-type":
        group_of = np.full(41, -1, np.int64)
        bounds = np.cumsum([0, *per_class])
        for g in range(3):
            for phone in order[bounds[g] : bounds[g + 1]]:
                group_of[table[phone][0]] = g
        names = ["vowels", "voiced-consonants", "unvoiced-consonants"]
        return golden.found["phones"].by_row(group_of, names), names
    if case == "pitch":
        group_of = phone_groups(order, table, 3, 123)
        return golden.found["pitch/phones"].by_row(group_of, PITCH), PITCH
    if case == "gender":
        sexes = golden.labels["gender"]
        labels = [int(sexes[golden.talk[n]["speaker"]] == "F") for n in golden.names]
        made = golden.found["phones"].grouped(labels, ["male", "female"])
        group_of = phone_groups(order, table, 2, 82)
        return Counts(
            made.rows, made.groups, group_of, made.seen, made.active, made.base, made.top
        ), ["male", "female"]
    kind, k = case.split("_k")
    found = golden.found[f"k{k}"]
    if kind == "cluster":
        return found.by_row(), [str(i) for i in range(int(k))]
    labels = [golden.clusters[int(k)]["ivector"][n] for n in golden.names]
    return found.grouped(labels, ["0", "1"]), ["0", "1"]


CASES = ["phone-type", "gender", "pitch", "ivector_k3", "cluster_k3", "ivector_k5", "cluster_k5"]


@pytest.mark.parametrize("case", CASES)
def test_activating_probability_is_the_published_one(
    golden: Golden, case: str, shared: Path
) -> None:
    path = shared / "golden" / "neurons" / "counting" / "probabilities.npz"
    with np.load(path) as data:
        expected = data[case]
    counts, _ = counts_of(golden, case)
    for index, layer in enumerate(golden.layers):
        assert np.abs(counts.probability(layer) - expected[index]).max() < 1e-6


@pytest.mark.parametrize("sigma", [0.8, 0.5, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_selected_sets_are_the_published_ones(golden: Golden, case: str, sigma: float) -> None:
    expected = golden.expected[f"{case}|sigma={sigma}"]
    counts, names = counts_of(golden, case)
    for layer in golden.layers:
        members = group_neurons(counts, layer, sigma)
        for g, name in enumerate(names):
            assert np.flatnonzero(members[g]).tolist() == expected["group"][layer][name]
        chosen = exclusive(members).any(axis=0)
        assert np.flatnonzero(chosen).tolist() == expected["property"][layer]


def test_tau_is_rounded_as_published(golden: Golden) -> None:
    assert tau(golden.meta["D"], 0.01) == golden.meta["tau"] == 4
    assert tau(650, 0.01) == 6
    assert tau(3072, 0.01) == 31


def test_merged_and_resumed_counts_are_those_of_one_pass(golden: Golden) -> None:
    first, second = golden.reducer(), golden.reducer()
    for one in golden.rows[:3]:
        first.update(one)
    first.end_shard(0)
    tensors, facts = first.state()
    again = golden.reducer()
    again.restore(tensors, facts)
    for one in golden.rows[3:]:
        second.update(one)
        again.update(one)
    first.merge(second)
    for found in (first.finish(), again.finish()):
        for name, whole in golden.found.items():
            assert (found[name].seen == whole.seen).all()
            for layer in golden.layers:
                assert (found[name].active[layer] != whole.active[layer]).nnz == 0


def test_selection_from_published_probabilities(shared: Path) -> None:
    """Edge cases: values exactly at the baseline, rows never seen, shares of exactly sigma."""
    folder = shared / "golden" / "neurons" / "selection"
    expected = json.loads((folder / "selected.json").read_text())
    table = json.loads((folder / "labels.json").read_text())["label_table"]
    order, per_class = expected["phone_order"], expected["phone_counts_per_type"]
    bounds = np.cumsum([0, *per_class])
    types = np.full(41, -1, np.int64)
    for g in range(3):
        for phone in order[bounds[g] : bounds[g + 1]]:
            types[table[phone][0]] = g
    checked = 0
    with np.load(folder / "probabilities.npz") as data:
        for key, answer in expected.items():
            case, _, text = key.partition("|sigma=")
            if case.startswith(("s3prl", "phone_")) or not text:
                continue
            found = data[case]
            width = found.shape[2]
            base = np.float32(tau(width, 0.01) / width) if found.dtype == np.float32 else (
                tau(width, 0.01) / width
            )  # fmt: skip
            if case == "phone-type":
                group_of = types
            elif case.startswith("ivector"):
                K = int(case.split("_K")[1].split("_")[0])
                group_of = np.repeat(np.arange(found.shape[1] // K), K)
            else:
                copies = found.shape[1] // 41
                group_of = phone_groups(order, table, copies, found.shape[1])
            for index in range(len(found)):
                over = found[index] > base
                members = share_above(over, group_of, int(group_of.max()) + 1, float(text))
                sets = answer["group"][str(index + 1)]
                for g, name in enumerate(sets):
                    assert np.flatnonzero(members[g]).tolist() == sets[name], (key, name)
                chosen = np.flatnonzero(exclusive(members).any(axis=0)).tolist()
                assert chosen == answer["property"][str(index + 1)], key
                checked += 1
    assert checked > 20


def test_broad_classes_are_the_published_ones(golden: Golden) -> None:
    assert [len(members) for members in CLASSES.values()] == [15, 15, 9]
    order, sizes = golden.expected["phone_order"], golden.expected["phone_counts_per_type"]
    bounds = np.cumsum([0, *sizes])
    for g, members in enumerate(CLASSES.values()):
        assert set(order[bounds[g] : bounds[g + 1]]) == set(members)
