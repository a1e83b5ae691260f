"""Pruning against the original authors' code (golden/neurons/melhubert_pruning)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxstrata import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.conditions.tiers import CLASSES, middles
from voxstrata.neurons.counting import CountReducer
from voxstrata.neurons.counts import Counts
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.heads import prune_heads
from voxstrata.neurons.pruning.intervals import prune_interval
from voxstrata.neurons.pruning.rows import prune_rows
from voxstrata.neurons.pruning.scores import SCORES, Evidence
from voxstrata.neurons.pruning.surgery import cut_weights, prunable, remove_rows
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.sets import NeuronSet, neuron_set
from voxstrata.streaming.reducers import Rows
from voxstrata.training.objectives.masked.distil import distillation_loss

LAYERS = [f"block.{i}.ffn.inner" for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def place(shared: Path) -> Path:
    return shared / "golden" / "neurons" / "melhubert_pruning"


@pytest.fixture(scope="module")
def meta(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "meta.json").read_text())
    return found


@pytest.fixture(scope="module")
def model(place: Path) -> SpeechModel:
    return load_model(place / "melhubert_base_state.safetensors", heads=4)


def network(model: Any) -> Any:
    return model._module


def hidden_states(place: Path, meta: dict[str, Any], model: SpeechModel) -> dict[str, Any]:
    """Block outputs of the golden input, valid frames only."""
    io = load_file(place / "melhubert_base.safetensors")
    valid, lengths = io["pad_mask"].bool(), torch.tensor(meta["base"]["lengths"])
    with torch.no_grad():
        found = network(model).stack(io["input"], lengths, last=3)
    return {str(i): found[str(i)][valid] for i in (1, 2, 3)} | {"valid": valid}


def same_hidden(
    place: Path, meta: dict[str, Any], model: SpeechModel, expected: torch.Tensor, layer: str = "3"
) -> None:
    found = hidden_states(place, meta, model)
    wanted = expected[found["valid"]]
    assert (found[layer] - wanted).abs().max() < 2e-6 * wanted.abs().max()


def test_rows_go_in_the_published_order(
    place: Path, meta: dict[str, Any], model: SpeechModel
) -> None:
    facts = meta["row_pruning"]
    assert model.details["parameters"] == facts["params_before"]
    scores = SCORES.get("l1").rows(model, Evidence())
    for layer, expected in zip(LAYERS, facts["scores_first_step"], strict=True):
        np.testing.assert_allclose(scores[layer], expected, rtol=0, atol=1e-5)
    for step, width in zip(facts["removed_local_index"], facts["ffn_dim_after"], strict=True):
        made = prune_rows(model, facts["rows_each_step"])
        assert [made.removed[layer] for layer in LAYERS] == step
        model = made.model
        assert {i.width for i in model.layers if i.name in LAYERS} == {width}
    assert model.details["parameters"] == facts["params_after"]
    stored = load_file(place / "row_pruned.safetensors")
    for name, value in stored.items():
        if name.startswith("state."):
            own = network(model).state_dict()[name.removeprefix("state.")]
            assert torch.equal(own, value), name
    same_hidden(place, meta, model, stored["last_hidden"])


@pytest.mark.parametrize(("how", "scope"), [("by_layer", "layer"), ("by_whole", "whole")])
def test_heads_go_in_the_published_order(
    place: Path, meta: dict[str, Any], model: SpeechModel, how: str, scope: Any
) -> None:
    facts = meta["head_pruning_l1"][how]
    scores = SCORES.get("l1").heads(model, Evidence())
    for (block, head), expected in facts["scores_first_step"]:
        assert scores[block + 1][head] == pytest.approx(expected, abs=2e-4)
    for step in facts["removed_per_step"]:
        made = prune_heads(model, 1, scope=scope)
        assert {str(b - 1): gone for b, gone in made.removed.items() if gone} == step
        model = made.model
    assert [parts.heads for parts in take_copy(model).blocks] == facts["heads_after"]
    stored = load_file(place / f"head_pruned_{how}.safetensors")
    same_hidden(place, meta, model, stored["last_hidden"])


def test_the_smallest_weights_go(meta: dict[str, Any], model: SpeechModel) -> None:
    ours = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"}
    ours |= {"out": "self_attn.out_proj", "ffn.up": "fc1", "ffn.down": "fc2"}
    for sparsity, facts in meta["weight_pruning_global_l1"].items():
        copy = take_copy(model)
        zeros = cut_weights(copy, float(sparsity))
        assert sum(zeros.values()) == facts["total"]
        assert sum(value.numel() for value in prunable(copy).values()) == facts["of"]
        found = {}
        for name, count in zeros.items():
            _, block, part = name.split(".", 2)
            part, kind = part.rsplit(".", 1)
            found[f"encoder.layers.{int(block) - 1}.{ours[part]}.{kind}_mask"] = count
        assert found == facts["zeros_per_tensor"]


def test_prune_interval(meta: dict[str, Any]) -> None:
    facts = meta["prune_interval"]
    assert prune_interval(25_000, 1000, 4) == facts["int"]
    assert prune_interval([0, 25_000, 75_000], 1000, 3) == facts["list"]


def test_erasing_is_removing(place: Path, meta: dict[str, Any], model: SpeechModel) -> None:
    """Values set to zero, as published, and neurons taken out are the same to the layers above."""
    erased = {f"block.{n}.ffn.inner": indices for n, indices in meta["erase"].items()}
    stored = load_file(place / "erased.safetensors")
    pruned = remove_rows(model, erased)
    for block in (1, 2, 3):
        same_hidden(place, meta, pruned, stored[f"layer_hidden.{block}"], str(block))


def test_distillation_loss(meta: dict[str, Any]) -> None:
    facts = meta["kd"]
    student, teacher = torch.tensor(facts["student"]), torch.tensor(facts["teacher"])
    for case in facts["results"]:
        found = distillation_loss(
            student, teacher, torch.tensor(facts["labels"]), case["T"], case["alpha"]
        )
        for name in ("total", "hard", "soft", "teacher"):
            assert float(getattr(found, name)) == pytest.approx(case[name], abs=1e-6), name


# Protected rows, from features and labels to sizes.


class Phones:
    """Phones of the middle frames."""

    name, layers = "phones", ()
    rows = tuple(map(str, range(41)))

    def __init__(self, labels: Mapping[str, Sequence[int]], pitch: Mapping[str, Sequence[int]]):
        self._labels, self._pitch = labels, pitch

    def codes(self, utterance: str, start_s: Any, end_s: Any, states: Any) -> Any:
        found = middles(np.asarray(self._labels[utterance]))
        full = np.full(len(start_s), -1, np.int64)
        full[: len(found)] = found[: len(full)]
        return full


class PitchPhones(Phones):
    """Pitch of the middle frames, crossed with their phones."""

    name = "pitch/phones"
    rows = tuple(map(str, range(123)))

    def codes(self, utterance: str, start_s: Any, end_s: Any, states: Any) -> Any:
        phones = super().codes(utterance, start_s, end_s, states)
        track = list(self._pitch[utterance])
        gap = len(self._labels[utterance]) - len(track)
        track = ([-1] * gap + track) if gap > 0 else track[-len(self._labels[utterance]) :]
        pitch = np.full(len(phones), -1, np.int64)
        pitch[: len(track)] = track[: len(pitch)]
        return np.where((phones < 0) | (pitch < 0), -1, pitch * 41 + phones)


def protected(place: Path, model: SpeechModel, kinds: Sequence[str]) -> NeuronSet:
    """Property neurons of the model, by our counting and selection."""
    labels = json.loads((place / "protect_labels.json").read_text())
    widths = {i.name: i.width for i in model.layers}
    conditions: list[Any] = [
        Phones(labels["phones"], {}),
        PitchPhones(labels["phones"], labels["pitch"]),
    ]
    with np.load(place / "protect_features.npz") as features:
        names = list(features)
        reducer = CountReducer(
            LAYERS, [widths[n] for n in LAYERS], conditions, [()] * 2,
            {name: i for i, name in enumerate(names)}, names, make_rule("top=0.01"),
        )  # fmt: skip
        for name in names:
            x = torch.from_numpy(features[name]).float()[None]
            with torch.no_grad():
                found = network(model).stack(x, None, last=3, taps=frozenset(LAYERS))
            T = x.shape[1]
            rows = Rows(name, 0, [found[n][0] for n in LAYERS], [0.0] * T, [0.02] * T)
            reducer.update(rows)
    counted = reducer.finish()
    table = {name: row for name, (row, _) in labels["label_table"].items()}
    classes = [[table[p] for p in phones if p in table] for phones in CLASSES.values()]
    every = [row for rows in classes for row in rows]
    total = {layer: set[int]() for layer in LAYERS}
    for kind in kinds:
        counts = _grouped(counted, labels, kind, classes, every, names)
        for layer in LAYERS:
            total[layer] |= set(np.flatnonzero(property_neurons(counts, layer).any(axis=0)))
    return neuron_set("+".join(kinds), model, total)


def _grouped(
    counted: Any,
    labels: dict[str, Any],
    kind: str,
    classes: list[list[int]],
    every: list[int],
    names: list[str],
) -> Counts:
    if kind == "phone-type":
        group_of = np.full(41, -1, np.int64)
        for group, rows in enumerate(classes):
            group_of[rows] = group
        found: Counts = counted["phones"].by_row(group_of, list("abc"))
        return found
    groups = {"gender": 2, "pitch": 3}[kind]
    group_of = np.full(41 * groups, -1, np.int64)
    for group in range(groups):
        group_of[[41 * group + row for row in every]] = group
    if kind == "pitch":
        made: Counts = counted["pitch/phones"].by_row(group_of, list("abc"))
        return made
    sexes = [int(labels["gender"][name.split("-")[0]] == "F") for name in names]
    split = counted["phones"].grouped(sexes, ["M", "F"])
    return Counts(
        split.rows, split.groups, group_of, split.seen, split.active, split.base, split.top
    )


def test_protected_rows_end_to_end(place: Path, meta: dict[str, Any], model: SpeechModel) -> None:
    facts = meta["protected_row_pruning"]
    for case, expected in facts.items():
        kinds = expected["protect_types"]
        kept = protected(place, model, kinds) if kinds else None
        if kept is not None:
            assert [list(kept.of(layer)) for layer in LAYERS] == expected["protected"], case
        made = prune_rows(model, expected["rows_each_step"], protected=kept)
        assert [sorted(made.removed[layer]) for layer in LAYERS] == expected["removed"], case
        widths = {i.name: i.width for i in made.model.layers}
        assert [widths[layer] for layer in LAYERS] == expected["ffn_dim_after"], case
        if kept is not None and made.protected is not None:
            made.protected.check(made.model)
            # The same neurons: their keys and values are those they had.
            for number, layer in enumerate(LAYERS):
                before = network(model).encoder.layers[number].fc1.weight
                after = network(made.model).encoder.layers[number].fc1.weight
                old, new = list(kept.of(layer)), list(made.protected.of(layer))
                assert len(old) == len(new)
                assert torch.equal(before[old], after[new])


def evens(found: NeuronSet) -> dict[str, tuple[int, ...]]:
    return {k: tuple(i for i in indices if i % 2 == 0) for k, indices in found.layers.items()}


def test_each_layer_is_looked_at_after_those_below_were_pruned(
    place: Path, meta: dict[str, Any], model: SpeechModel
) -> None:
    asked: list[list[int]] = []

    def find(now: SpeechModel) -> NeuronSet:
        widths = {i.name: i.width for i in now.layers}
        asked.append([widths[layer] for layer in LAYERS])
        found = protected(place, now, ["phone-type", "gender"])
        return replace(found, groups={"even": evens(found), "none": {}})

    made = prune_rows(model, 60, protected=find, strategy="each")
    assert asked == [[200, 200, 200], [140, 200, 200], [140, 140, 200]]
    # The first layer sees what "all" sees; the second what is left of a model pruned below it.
    first = meta["protected_row_pruning"]["gender+phone-type"]
    assert sorted(made.removed[LAYERS[0]]) == first["removed"][0]
    below = remove_rows(model, {LAYERS[0]: made.removed[LAYERS[0]]})
    again = protected(place, below, ["phone-type", "gender"])
    assert not set(again.of(LAYERS[1])) & set(made.removed[LAYERS[1]])
    assert made.protected is not None
    made.protected.check(made.model)
    assert made.protected.counts()[LAYERS[1]] == len(again.of(LAYERS[1]))
    # Groups go along: the same neurons, by the weights they had.
    gone = sorted(made.removed[LAYERS[1]])
    even = [i for i in again.of(LAYERS[1]) if i % 2 == 0]
    moved = made.protected.groups["even"][LAYERS[1]]
    before = network(below).encoder.layers[1].fc1.weight
    after = network(made.model).encoder.layers[1].fc1.weight
    assert even
    assert moved == tuple(i - sum(g < i for g in gone) for i in even)
    assert moved != tuple(even)
    assert torch.equal(before[even], after[list(moved)])
    assert made.protected.groups["none"] == dict.fromkeys(LAYERS, ())
