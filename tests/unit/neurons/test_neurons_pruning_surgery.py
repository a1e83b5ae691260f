"""Surgery on every kind of network: exact, on a copy, saved and loaded as the same model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unit.models import models_hf_small as small
from voxstrata import load_model
from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.pruning import surgery
from voxstrata.neurons.pruning.copies import history_of, take_copy

MELHUBERT = "random:melhubert,inputs=80,width=32,layers=3,heads=4,ffn=48,conv_pos=8,conv_groups=4"
KINDS = ["melhubert", *small.SMALL]
WAVES = [small.noise(16000).numpy(), small.noise(9000, 1).numpy()]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, SpeechModel]:
    root = tmp_path_factory.mktemp("models")
    made: dict[str, SpeechModel] = {
        name: load_model(small.write_directory(root / name, name)) for name in small.SMALL
    }
    made["melhubert"] = load_model(MELHUBERT)
    small.stir(made["melhubert"]._module)  # type: ignore[attr-defined]
    return made


def layers_of(model: SpeechModel) -> list[str]:
    return [i.name for i in model.layers if i.name.isdigit() or i.name.endswith("inner")]


def outputs(model: SpeechModel, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    return model.encode(WAVES, names or layers_of(model))


def close(one: list[dict[str, Any]], other: list[dict[str, Any]], tolerance: float = 5e-6) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert small.error(a[name], b[name]) < tolerance, name


def some_rows(model: SpeechModel, seed: int = 0) -> dict[str, list[int]]:
    """Other numbers of neurons in every layer."""
    rng = np.random.default_rng(seed)
    return {
        part.layer: rng.choice(part.width, 3 + 5 * i % 31, replace=False).tolist()
        for i, part in enumerate(feed_forwards(model))
    }


@contextlib.contextmanager
def forced(model: SpeechModel, rows: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """The model with those activations forced to zero where they enter the second map."""
    handles = []
    for part in feed_forwards(model):
        gone = list(rows.get(part.layer, ()))

        def silence(_module: Any, args: Any, gone: list[int] = gone) -> Any:
            changed = args[0].clone()
            changed[..., gone] = 0
            return (changed, *args[1:])

        handles.append(part.down.register_forward_pre_hook(silence))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_without_rows_as_with_silent_ones(models: Mapping[str, SpeechModel], kind: str) -> None:
    model = models[kind]
    before, rows = model.fingerprint, some_rows(models[kind])
    pruned = surgery.remove_rows(model, rows)
    widths = {i.name: i.width for i in model.layers}
    left = {i.name: i.width for i in pruned.layers}
    assert all(left[name] == widths[name] - len(gone) for name, gone in rows.items())
    stack = [i.name for i in model.layers if i.name.isdigit()]
    with forced(model, rows):
        expected = outputs(model, stack)
    close(outputs(pruned, stack), expected)
    changed, own = outputs(pruned, stack)[0], outputs(model, stack)[0]
    assert small.error(changed[stack[-1]], own[stack[-1]]) > 1e-3
    assert model.fingerprint == before
    assert pruned.fingerprint != before
    assert pruned.flops_per_second < model.flops_per_second
    gone_weights = sum(
        len(rows[p.layer]) * (p.up.weight.shape[1] + 1 + p.down.weight.shape[0])
        for p in feed_forwards(model)
    )
    assert model.details["parameters"] - pruned.details["parameters"] == gone_weights


@pytest.mark.parametrize("kind", KINDS)
def test_neurons_that_stay_are_the_same_ones(models: Mapping[str, SpeechModel], kind: str) -> None:
    model = models[kind]
    layer, width = feed_forwards(model)[0].layer, feed_forwards(model)[0].width
    gone = [0, 5, width - 1]
    kept = [i for i in range(width) if i not in gone]
    pruned = surgery.remove_rows(model, {layer: gone})
    found, expected = outputs(pruned, [layer]), outputs(model, [layer])
    close(found, [{layer: one[layer][:, kept]} for one in expected])


def saved(model: SpeechModel, pruned: SpeechModel, folder: Path) -> SpeechModel:
    take_copy(pruned).save(folder, "small", {"summary": "three steps", "steps": [1]})
    assert history_of(folder)["steps"] == [1]
    return load_model(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_is_the_same_one(
    models: Mapping[str, SpeechModel], kind: str, tmp_path: Path
) -> None:
    model = models[kind]
    pruned = surgery.remove_rows(model, some_rows(model, 1))
    if kind not in REFUSED:
        pruned = surgery.remove_heads(pruned, {1: [2], 2: [0, 3]})
    again = saved(model, pruned, tmp_path / "model")
    assert again.layers == pruned.layers
    assert again.fingerprint == pruned.fingerprint
    for a, b in zip(outputs(again), outputs(pruned), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert bool(again.details.get("random")) is (kind == "melhubert")
    twin = load_model(f"random:{tmp_path / 'model'}")
    assert twin.layers == pruned.layers
    assert twin.fingerprint != pruned.fingerprint
    # What is on disk can be pruned on.
    twice = surgery.remove_rows(again, {feed_forwards(again)[1].layer: [0]})
    assert twice.details["parameters"] < again.details["parameters"]


REFUSED = {"wavlm-base", "wavlm-large", "bert", "bert-relative"}


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in REFUSED])
def test_without_heads_as_with_silent_ones(models: Mapping[str, SpeechModel], kind: str) -> None:
    model = models[kind]
    heads = {1: [0, 2], 2: [3]}
    pruned = surgery.remove_heads(model, heads)
    copy = take_copy(model)
    for number, gone in heads.items():
        parts = copy.blocks[number - 1]
        d = parts.head_width
        with torch.no_grad():
            for head in gone:
                parts.map("out").weight[:, head * d : (head + 1) * d] = 0
    close(outputs(pruned), outputs(copy.model("silent")))
    assert [p.heads for p in take_copy(pruned).blocks][:2] == [2, 3]
    assert pruned.flops_per_second < model.flops_per_second
    with pytest.raises(UsageError, match="no heads of block 1 would be left"):
        surgery.remove_heads(pruned, {1: [0, 1]})


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_heads_that_hang_together_are_refused(models: Mapping[str, SpeechModel], kind: str) -> None:
    with pytest.raises(ModelError, match="cannot be pruned"):
        surgery.remove_heads(models[kind], {1: [0]})


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_is_the_nearest(
    models: Mapping[str, SpeechModel], kind: str, tmp_path: Path
) -> None:
    model = models[kind]
    maps = take_copy(model).blocks[0].maps
    part = next(name for name in maps if name.endswith(".up"))
    thin = surgery.reduce_rank(model, {part: 4, "v": 8})
    whole = take_copy(model).blocks[1].map(part).weight.double()
    low = take_copy(thin).blocks[1].map(part)
    assert low.rank == 4
    _, s, _ = torch.linalg.svd(whole)
    left = float((low.weight.double() - whole).square().sum())
    assert left == pytest.approx(float(s[4:].square().sum()), rel=1e-4)
    assert thin.details["parameters"] < model.details["parameters"]
    # At full rank nothing changes.
    full = surgery.reduce_rank(model, {"v": 32, part: 32})
    close(outputs(full), outputs(model), 2e-5)
    again = saved(model, thin, tmp_path / "model")
    assert again.fingerprint == thin.fingerprint
    # Rows of a thin map can go, too.
    rows = some_rows(thin, 2)
    fewer = surgery.remove_rows(thin, rows)
    stack = [i.name for i in model.layers if i.name.isdigit()]
    with forced(thin, rows):
        expected = outputs(thin, stack)
    close(outputs(fewer, stack), expected)


@pytest.mark.parametrize("kind", ["melhubert", "hubert-base", "whisper"])
def test_the_smallest_weights_of_all_maps_go(models: Mapping[str, SpeechModel], kind: str) -> None:
    copy = take_copy(models[kind])
    before = {name: value.detach().clone() for name, value in surgery.prunable(copy).items()}
    zeros = surgery.cut_weights(copy, 0.4)
    after = surgery.prunable(copy)
    every = np.sort(np.concatenate([v.abs().numpy().ravel() for v in before.values()]))
    count = round(0.4 * len(every))
    assert sum(zeros.values()) == count
    threshold = every[count]
    for name, value in after.items():
        big = before[name].abs() >= threshold
        assert torch.equal(value, torch.where(big, before[name], 0.0)), name
        assert zeros[name] == int((value == 0).sum())
    # What is zero already counts among the zeros of the next step.
    assert sum(surgery.cut_weights(copy, 0.5).values()) == round(0.5 * len(every))


@pytest.mark.parametrize("kind", ["melhubert", "hubert-large", "whisper"])
def test_first_blocks(models: Mapping[str, SpeechModel], kind: str) -> None:
    short = surgery.first_blocks(models[kind], 2)
    assert [i.name for i in short.layers if i.name.isdigit()] == ["0", "1", "2"]
    close(outputs(short), outputs(models[kind], layers_of(short)), 1e-6)


def test_what_cannot_be_cut(models: Mapping[str, SpeechModel], tmp_path: Path) -> None:
    model = models["melhubert"]
    with pytest.raises(UsageError, match="no feed-forward neurons called"):
        surgery.remove_rows(model, {"block.9.ffn.inner": [0]})
    with pytest.raises(UsageError, match="different indices from 0 to 47"):
        surgery.remove_rows(model, {"block.1.ffn.inner": [48]})
    with pytest.raises(UsageError, match="would be left"):
        surgery.remove_rows(model, {"block.1.ffn.inner": list(range(48))})
    with pytest.raises(ModelError, match="cannot be pruned"):
        surgery.remove_rows(load_model("log-mel"), {})
    with pytest.raises(UsageError, match="was cut after layer 1"):
        take_copy(load_model(MELHUBERT.replace("melhubert,", "melhubert@1,")))
    with pytest.raises(UsageError, match="not in float32"):
        take_copy(model.to("cpu", "bfloat16"))
    with pytest.raises(UsageError, match="no block 4"):
        surgery.remove_heads(model, {4: [0]})
    with pytest.raises(UsageError, match="no rank"):
        surgery.reduce_rank(model, {"q": 33})
    with pytest.raises(UsageError, match="has rank 4 already"):
        surgery.reduce_rank(surgery.reduce_rank(model, {"q": 4}), {"q": 3})
