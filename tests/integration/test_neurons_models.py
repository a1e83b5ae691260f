"""The published selection through our taps and one pass, against a plain loop over activations.

The plain loop shares nothing with the job: transformers' own module and feature extractor, hooks on
its own sub-modules, one recording at a time without padding, counting in Python.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch.nn import functional

from neurons_spoken import PHONES, write
from voxstrata import load_model
from voxstrata.neurons.job import run_neurons
from voxstrata.neurons.sets import load_set
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.numerics.threads import one_torch_thread

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "models"))

from models_hf_small import blocks, extract, reference, write_directory

MELHUBERT = "random:melhubert,inputs=80,width=32,layers=3,heads=4,ffn=48,conv_pos=8,conv_groups=4"
SIGMA, SHARE = 0.75, 0.1
CONTRASTS = ("gender/phones", "classes/phones", "gender/clusters=3", "clusters=3")
CLASSES = {"AA": "vowels", "IY": "vowels", "B": "voiced consonants", "S": "unvoiced consonants"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoken") / "c", 12, 4)


# Activations [T, D] by layer, and the states [T, H] that are clustered, of one waveform.
Plain = Callable[[torch.Tensor], tuple[dict[str, np.ndarray], np.ndarray]]


def by_transformers(name: str) -> Plain:
    module = reference(name)
    caught: dict[str, torch.Tensor] = {}
    for number, block in enumerate(blocks(module), start=1):
        # What enters the dropout is what the activation function gave.
        block.feed_forward.intermediate_dropout.register_forward_pre_hook(
            lambda _m, args, n=number: caught.__setitem__(f"block.{n}.ffn.inner", args[0])
        )

    def run(wave: torch.Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
        with torch.no_grad():
            out = module(extract(name, wave), output_hidden_states=True)
        return {k: v[0].numpy() for k, v in caught.items()}, out.hidden_states[2][0].numpy()

    return run


def by_melhubert(spec: str) -> Plain:
    model: Any = load_model(spec)
    network = model._module
    caught: dict[str, torch.Tensor] = {}
    for number, block in enumerate(network.encoder.layers, start=1):
        block.fc1.register_forward_hook(
            lambda _m, _a, out, n=number: caught.__setitem__(
                f"block.{n}.ffn.inner", functional.gelu(out)
            )
        )
    states: dict[str, torch.Tensor] = {}
    network.encoder.layers[1].register_forward_hook(
        lambda _m, _a, out: states.__setitem__("2", out[0] if isinstance(out, tuple) else out)
    )

    def run(wave: torch.Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
        features = model.front(wave[None])
        with torch.no_grad():
            network(features)
        return {k: v[0].numpy() for k, v in caught.items()}, states["2"][0].numpy()

    return run


def phone_of(spans: list[Any], centre: float) -> int:
    for start, end, label in spans:
        if start <= centre + 1e-9 and centre + 1e-9 < end:
            return sorted(PHONES).index(label)
    return -1


def plain_sets(
    corpus: Path, run: Plain, grid: Any, centres: dict[str, torch.Tensor]
) -> tuple[dict[str, dict[str, dict[str, list[int]]]], dict[str, int]]:
    """Group to layer to property neurons, of every contrast; and frames counted."""
    cells: dict[str, dict[str, dict[tuple[str, Any], np.ndarray]]] = {}
    seen: dict[str, dict[tuple[str, Any], int]] = {}
    total = {"frames": 0, "labelled": 0}
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        wave, _ = soundfile.read(corpus / entry["file"], dtype="float32")
        found, states = run(torch.from_numpy(wave))
        scores = (states.astype(float) - centres["mean"].numpy()) * centres["scale"].numpy()
        gap = ((scores[:, None] - centres["centres"].numpy()) ** 2).sum(axis=2)
        cluster = gap.argmin(axis=1)
        for frame in range(len(states)):
            centre = (grid.start + grid.stride * frame + grid.receptive / 2) / 16000
            phone = phone_of(entry["phones"], centre)
            total["frames"] += 1
            total["labelled"] += phone >= 0
            where: dict[str, tuple[str, Any]] = {
                "gender/clusters=3": (entry["gender"], int(cluster[frame])),
                "clusters=3": (f"cluster {cluster[frame] + 1}", 0),
            }
            if phone >= 0:
                where["gender/phones"] = (entry["gender"], phone)
                where["classes/phones"] = (CLASSES[sorted(PHONES)[phone]], phone)
            for layer, values in found.items():
                row = values[frame]
                count = round(SHARE * len(row))
                largest = sorted(range(len(row)), key=lambda i: -abs(row[i]))[:count]
                for contrast, cell in where.items():
                    table = cells.setdefault(contrast, {}).setdefault(layer, {})
                    table.setdefault(cell, np.zeros(len(row), int))[largest] += 1
            for contrast, cell in where.items():
                table_seen = seen.setdefault(contrast, {})
                table_seen[cell] = table_seen.get(cell, 0) + 1
    chosen: dict[str, dict[str, dict[str, list[int]]]] = {}
    for contrast, layers in cells.items():
        groups = sorted({group for group, _ in seen[contrast]})
        for layer, table in layers.items():
            members: dict[str, set[int]] = {}
            for group in groups:
                mine = [cell for cell in table if cell[0] == group]
                D = len(table[mine[0]])
                above = {
                    cell: {
                        i for i in range(D)
                        if table[cell][i] * D > round(SHARE * D) * seen[contrast][cell]
                    }
                    for cell in mine
                }  # fmt: skip
                rows = {
                    "gender/phones": len(PHONES), "gender/clusters=3": 3, "clusters=3": 1,
                    "classes/phones": sum(c == group for c in CLASSES.values()),
                }[contrast]  # fmt: skip
                members[group] = {
                    i for i in range(D) if sum(i in above[c] for c in mine) / rows >= SIGMA
                }
            for group in groups:
                others = set().union(*(members[g] for g in groups if g != group))
                chosen.setdefault(contrast, {}).setdefault(group, {})[layer] = sorted(
                    members[group] - others
                )
    return chosen, total


@pytest.mark.parametrize(
    "name", ["hubert-base", "wavlm-base", "wav2vec2-base", "wav2vec2-large", "melhubert"]
)
def test_sets_are_those_of_a_plain_loop(name: str, corpus: Path, tmp_path: Path) -> None:
    spec = MELHUBERT if name == "melhubert" else str(write_directory(tmp_path / "model", name))
    run = by_melhubert(spec) if name == "melhubert" else by_transformers(name)
    config = NeuronsConfig(
        models=(spec,), corpus=str(corpus), contrasts=CONTRASTS, rule=f"top={SHARE}", sigma=SIGMA,
        draws=0, splits=0, rankings=False, twins=False, device="cpu", batch_s=8.0,
    )  # fmt: skip
    result = run_neurons(config, tmp_path / "out")
    (learned,) = (tmp_path / "out" / "learned").glob("*.safetensors")
    grid = load_model(spec).layers[-1].grid
    expected, total = plain_sets(corpus, run, grid, load_file(learned))
    every = [load_set(path) for path in (tmp_path / "out" / "sets").glob("*/*.json")]
    places = {one.name: one for one in every if not one.name.endswith(" (tested)")}
    assert set(places) == set(expected) == set(CONTRASTS)
    selected = 0
    for contrast, groups in expected.items():
        one = places[contrast]
        assert set(one.groups) == set(groups)
        for group, layers in groups.items():
            found = {layer: list(indices) for layer, indices in one.groups[group].items()}
            assert found == layers, (contrast, group)
            selected += sum(len(v) for v in layers.values())
    assert selected > 8  # equal sets of nothing would say nothing
    frames = {c["name"]: c["frames"] for c in result.record["contrasts"]}
    assert frames["clusters=3"] == total["frames"]
    assert frames["gender/phones"] == total["labelled"] < total["frames"]


def test_batches_change_nothing(corpus: Path, tmp_path: Path) -> None:
    """Padded side by side, or one recording at a time: the same counts."""
    counts = []
    spec = str(write_directory(tmp_path / "model", "wavlm-base"))
    for seconds in (0.1, 60.0):
        config = NeuronsConfig(
            models=(spec, MELHUBERT), corpus=str(corpus), contrasts=("gender/phones", "gender"),
            rule="top=0.1", draws=0, splits=0, rankings=False, twins=False, device="cpu",
            batch_s=seconds,
        )  # fmt: skip
        out = tmp_path / f"out-{seconds:g}"
        run_neurons(config, out)
        counts.append(
            {str(p.relative_to(out)): load_file(p) for p in (out / "counts").rglob("*.safetensors")}
        )
    assert set(counts[0]) == set(counts[1])
    assert len(counts[0]) == 4
    for name, tensors in counts[0].items():
        assert sum(int(t.sum()) for k, t in tensors.items() if k.endswith(".data")) > 1000
        for key, tensor in tensors.items():
            assert torch.equal(tensor, counts[1][name][key]), (name, key)


@pytest.mark.parametrize("name", ["ecapa", "whisper", "bert", "sew", "data2vec"])
def test_other_shapes_give_every_frame_its_active_neurons(
    name: str, corpus: Path, tmp_path: Path
) -> None:
    """Blocks with two feed-forward parts, squeezed frames, fixed windows, channels."""
    if name == "ecapa":
        spec = "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8,seed=1"
    else:
        spec = str(write_directory(tmp_path / "model", name))
    config = NeuronsConfig(
        models=(spec,), corpus=str(corpus), contrasts=("clusters=2", "gender/phones"),
        rule="top=0.1", draws=0, splits=0, rankings=False, twins=False, device="cpu",
    )  # fmt: skip
    result = run_neurons(config, tmp_path / "out")
    model = load_model(spec)
    entries = [json.loads(x) for x in (corpus / "manifest.jsonl").read_text().splitlines()]
    for path in (tmp_path / "out" / "counts").rglob("*.json"):
        facts, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
        seen = int(tensors["seen"].sum())
        for layer in facts["layers"]:
            total = int(tensors[f"{layer}.data"].sum())
            assert total == seen * round(0.1 * facts["widths"][layer]), (path.name, layer)
        if facts["condition"] == "clusters=2":
            samples = [round(16000 * e["duration"]) for e in entries]
            frames = [model.frames(facts["layers"][0], n) for n in samples]
            assert tensors["seen"].sum(dim=1).tolist() == frames
            assert len(facts["layers"]) == {"ecapa": 5, "bert": 6}.get(name, 3)
    assert len(result.record["contrasts"]) == 2
