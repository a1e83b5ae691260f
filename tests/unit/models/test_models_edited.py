"""Edited models: hooks against plain arithmetic, against weights, in batches, on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from models_hf_small import error, noise, write_directory

from voxstrata.errors import (
    AudioError,
    CheckpointError,
    ConfigError,
    ModelError,
    ShapeError,
    StorageError,
    UsageError,
)
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.folder import write_edit
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.load import load_model
from voxstrata.models.neurons import feed_forwards, neuron_layers
from voxstrata.models.twins import add_twins

MELHUBERT = "random:melhubert,width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"
ECAPA = "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8,seed=1,preset="
TRANSFORMERS = ["hubert-base", "hubert-large", "wavlm-base", "wav2vec2-base", "data2vec", "sew"]
TRANSFORMERS += ["whisper", "bert", MELHUBERT, MELHUBERT + ",norm_first=true"]
ALL = [*TRANSFORMERS, ECAPA + "wespeaker", ECAPA + "speechbrain"]
KINDS = ("erase", "mean", "scale", "resample")


def make(name: str, folder: Path) -> SpeechModel:
    return load_model(name if name.startswith("random:") else write_directory(folder, name))


def some(model: SpeechModel, many: int = 7) -> dict[str, tuple[int, ...]]:
    """A few neurons of the first two layers."""
    maker = torch.Generator().manual_seed(3)
    return {
        info.name: tuple(sorted(torch.randperm(info.width, generator=maker)[:many].tolist()))
        for info in neuron_layers(model)[:2]
    }


def edit_of(kind: str, neurons: dict[str, tuple[int, ...]], pool: int = 5) -> Edit:
    maker = torch.Generator().manual_seed(4)
    shape = {"mean": lambda n: (n,), "resample": lambda n: (pool, n)}.get(kind)
    values = {
        layer: torch.randn(shape(len(chosen)), generator=maker, dtype=torch.float64)
        for layer, chosen in neurons.items()
        if shape
    }
    return Edit(kind, neurons, values, factor=-0.5 if kind == "scale" else None, seed=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_taps_and_later_layers_show_the_edit(name: str, kind: str, tmp_path: Path) -> None:
    """The first edited tap is the untouched one but for its neurons, which are what they must
    be; what comes before stays, what comes after differs."""
    model = make(name, tmp_path)
    edit = edit_of(kind, some(model))
    edited = EditedModel(model, edit, "edited")
    names = [info.name for info in model.layers]
    wave = noise(9000)
    before, after = model.encode([wave], names)[0], edited.encode([wave], names)[0]
    tap = next(iter(edit.neurons))
    chosen = list(edit.neurons[tap])
    rest = [i for i in range(before[tap].shape[1]) if i not in chosen]
    assert torch.equal(after[tap][:, rest], before[tap][:, rest])
    found = after[tap][:, chosen]
    if kind == "erase":
        assert not found.any()
    elif kind == "scale":
        assert torch.equal(found, before[tap][:, chosen] * -0.5)
    elif kind == "mean":
        assert torch.equal(found, edit.values[tap].float().expand_as(found))
    else:
        pool = edit.values[tap].float()
        places = [(pool == row).all(1).nonzero().item() for row in found]
        assert len(set(places)) > 1
    ecapa = name.startswith(ECAPA)
    first = ("conv",) if ecapa else ("0", "conv1", "proj", "block.1.attn.out")
    first = first[:3] if name == "bert" else first  # its first feed-forward part comes before
    for layer in first:
        if layer in before and layer != tap:
            assert torch.equal(after[layer], before[layer])
    last = "embedding" if ecapa else str(max(int(n) for n in names if n.isdigit()))
    assert error(after[last], before[last]) > 1e-3
    # A tap alone is the tap among all.
    assert error(edited.encode([wave], [tap])[0][tap], after[tap]) < 1e-5
    # Nothing is left behind.
    again = model.encode([wave], names)[0]
    assert all(torch.equal(again[layer], before[layer]) for layer in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["hubert-large", "whisper", "bert", MELHUBERT, ECAPA + "rdino"])
def test_batched_equals_alone(name: str, kind: str, tmp_path: Path) -> None:
    if name.startswith("random:"):
        model = load_model(name)
    else:
        model = load_model(write_directory(tmp_path, name), batching="padded")
    edited = EditedModel(model, edit_of(kind, some(model)), "edited")
    waves = [noise(9000), noise(5000), noise(9000, 1), noise(36000)]
    names = [info.name for info in model.layers]
    for wave, batched in zip(waves, edited.encode(waves, names), strict=True):
        alone = edited.encode([wave], names)[0]
        assert list(batched) == names
        for layer in names:
            assert batched[layer].shape[0] == edited.frames(layer, len(wave))
            assert error(batched[layer], alone[layer]) < 2e-5, layer


def test_draws_follow_from_recording_seed_and_nothing_else() -> None:
    model = load_model(MELHUBERT)
    edit = edit_of("resample", some(model), pool=50)
    tap, chosen = next((k, list(v)) for k, v in edit.neurons.items())

    def drawn(edit: Edit, wave: torch.Tensor) -> torch.Tensor:
        found = EditedModel(model, edit, "e").encode([wave], list(edit.neurons))[0]
        rows = {}
        for layer, own in edit.neurons.items():
            pool = edit.values[layer].float()
            rows[layer] = [(pool == r).all(1).nonzero().item() for r in found[layer][:, list(own)]]
        # One frame stands in for all layers.
        assert len({tuple(v) for v in rows.values()}) == 1
        return torch.tensor(rows[tap])

    one = drawn(edit, noise(9000))
    assert torch.equal(one, drawn(edit, noise(9000)))
    assert not torch.equal(one, drawn(edit, noise(9000, 1)))
    other = Edit("resample", edit.neurons, edit.values, seed=3)
    assert not torch.equal(one, drawn(other, noise(9000)))
    assert other.digest() != edit.digest()
    many = torch.cat([drawn(edit, noise(32000, i)) for i in range(4)])
    assert len(set(many.tolist())) > 45  # uniform over the 50 frames
    assert len(chosen) == 7


def test_edits_of_edits_come_one_after_the_other(tmp_path: Path) -> None:
    """A mean that is then halved, and a half that is then replaced."""
    for name in ("hubert-base", MELHUBERT, ECAPA + "wespeaker"):
        model = make(name, tmp_path)
        tap, chosen = next(iter(some(model).items()))
        ones = torch.full((len(chosen),), 3.0)
        mean = Edit("mean", {tap: chosen}, {tap: ones})
        half = Edit("scale", {tap: chosen}, factor=0.5)
        wave = noise(9000)
        for first, second, wanted in ((mean, half, 1.5), (half, mean, 3.0)):
            twice = EditedModel(EditedModel(model, first, "a"), second, "b")
            top = [info.name for info in model.layers if info.default][-1]
            found = twice.encode([wave], [tap, top])[0]
            assert torch.equal(found[tap][:, list(chosen)].unique(), torch.tensor([wanted]))
            as_one = EditedModel(model, Edit("mean", {tap: chosen}, {tap: ones * wanted / 3}), "c")
            assert torch.equal(found[top], as_one.encode([wave], [top])[0][top])


def test_fingerprints_tell_edits_apart() -> None:
    model = load_model(MELHUBERT)
    neurons = some(model)
    marks = {model.fingerprint}
    edits = [edit_of(kind, neurons) for kind in KINDS]
    edits.append(Edit("scale", neurons, factor=0.25))
    edits.append(Edit("erase", {k: v[1:] for k, v in neurons.items()}))
    for edit in edits:
        edited = EditedModel(model, edit, "e")
        marks |= {edited.fingerprint, edited.to("cpu", "float64").fingerprint}
    assert len(marks) == 1 + 2 * len(edits)
    renamed = Edit("erase", neurons, name="other")
    assert (
        EditedModel(model, renamed, "x").fingerprint
        == EditedModel(model, edit_of("erase", neurons), "y").fingerprint
    )


def test_other_precisions() -> None:
    model = load_model(MELHUBERT)
    edited = EditedModel(model, edit_of("mean", some(model)), "e")
    wide = edited.to("cpu", "float64")
    assert wide.encode([noise(9000)], ["3"])[0]["3"].dtype == torch.float64
    assert edited.encode([noise(9000)], ["3"])[0]["3"].dtype == torch.float32
    a, b = (m.encode([noise(9000)], ["3"])[0]["3"].double() for m in (edited, wide))
    assert error(a, b) < 1e-5
    assert edited.to("cpu", "float32") is edited


@pytest.mark.parametrize("kind", KINDS)
def test_folders_give_the_same_model_again(kind: str, tmp_path: Path) -> None:
    for number, name in enumerate(("hubert-base", MELHUBERT, ECAPA + "wespeaker")):
        base = name if name.startswith("random:") else str(write_directory(tmp_path / "hf", name))
        model = load_model(base)
        edit = edit_of(kind, some(model))
        folder = tmp_path / f"edit{number}"
        write_edit(folder, base, model.fingerprint, edit, {"how": "test"})
        made, again = EditedModel(model, edit, "e"), load_model(folder)
        assert isinstance(again, EditedModel)
        assert again.fingerprint == made.fingerprint
        assert again.family == "edited"
        assert again.details["edited"]["made"] == {"how": "test"}
        names = [info.name for info in model.layers]
        one, two = (m.encode([noise(9000)], names)[0] for m in (made, again))
        assert all(torch.equal(one[layer], two[layer]) for layer in names)


def test_a_cut_edit_is_the_edit_of_the_cut_model(tmp_path: Path) -> None:
    base = str(write_directory(tmp_path / "hf", "hubert-base"))
    model = load_model(base)
    edit = Edit("erase", {f"block.{i}.ffn.inner": (1, 5, 9) for i in (1, 3)})
    write_edit(tmp_path / "edit", base, model.fingerprint, edit)
    cut = load_model(f"{tmp_path / 'edit'}@2")
    assert [info.name for info in cut.layers if info.default] == ["0", "1", "2"]
    assert cut.details["edited"]["left_out"] == ["block.3.ffn.inner"]
    whole = load_model(tmp_path / "edit").encode([noise(9000)], ["2"])[0]["2"]
    assert torch.equal(cut.encode([noise(9000)], ["2"])[0]["2"], whole)
    only = Edit("erase", {"block.3.ffn.inner": (1,)})
    write_edit(tmp_path / "late", base, model.fingerprint, only)
    with pytest.raises(ModelError, match="lies below the cut"):
        load_model(f"{tmp_path / 'late'}@2")


def test_folders_know_their_model(tmp_path: Path) -> None:
    base = str(write_directory(tmp_path / "hf", "hubert-base"))
    model = load_model(base)
    folder = tmp_path / "edit"
    write_edit(folder, base, model.fingerprint, Edit("erase", {"block.1.ffn.inner": (2,)}))
    with pytest.raises(ModelError, match="no untrained twin"):
        load_model(f"random:{folder}")
    models: list[SpeechModel] = [load_model(folder)]
    assert "no untrained twin" in add_twins(models, device="cpu", dtype="float32")[1][0]
    with pytest.raises(ModelError, match="revision"):
        load_model(f"{folder}@main")
    with pytest.raises(ConfigError, match="seed"):
        load_model(f"{folder},seed=1")
    other = write_directory(tmp_path / "other", "wav2vec2-base")
    with pytest.raises(ModelError, match=r"made for another model than .*other"):
        load_model(f"{folder},base={other}")
    shutil.move(base, tmp_path / "moved")
    with pytest.raises(ModelError, match=r"cannot be loaded(.|\n)*base=MODEL"):
        load_model(folder)
    again = load_model(f"{folder},base={tmp_path / 'moved'}")
    assert again.fingerprint == models[0].fingerprint


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    model = load_model(MELHUBERT)
    edit = edit_of("mean", some(model))
    folder = tmp_path / "edit"

    def fresh() -> dict[str, Any]:
        write_edit(folder, MELHUBERT, model.fingerprint, edit)
        found: dict[str, Any] = json.loads((folder / "edit.json").read_text())
        return found

    def write(card: Any) -> None:
        (folder / "edit.json").write_text(json.dumps(card))

    write({**fresh(), "format": 99})
    with pytest.raises(CheckpointError, match="update voxstrata"):
        load_model(folder)
    write({**fresh(), "surprise": 1})
    with pytest.raises(ConfigError, match="surprise"):
        load_model(folder)
    write({**fresh(), "kind": "explode"})
    with pytest.raises(ConfigError, match="explode"):
        load_model(folder)
    write({**fresh(), "neurons": {k: [4, 2] for k in edit.neurons}})
    with pytest.raises(UsageError, match="not indices"):
        load_model(folder)
    write({**fresh(), "base": str(folder)})
    with pytest.raises(CheckpointError, match="names itself"):
        load_model(folder)
    (folder / "edit.json").write_text("{")
    with pytest.raises(CheckpointError, match="no edit that can be read"):
        load_model(folder)
    fresh()
    blob = bytearray((folder / "values.safetensors").read_bytes())
    blob[-1] ^= 1
    (folder / "values.safetensors").write_bytes(bytes(blob))
    with pytest.raises(CheckpointError, match="not the file its"):
        load_model(folder)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="holds another model"):
        write_edit(tmp_path / "taken", MELHUBERT, model.fingerprint, edit)


def test_bad_edits_are_refused() -> None:
    model = load_model(MELHUBERT)
    layer = "block.1.ffn.inner"
    with pytest.raises(UsageError, match="is empty"):
        Edit("erase", {layer: ()})
    with pytest.raises(UsageError, match="needs factor"):
        Edit("scale", {layer: (1,)})
    with pytest.raises(UsageError, match="takes no factor"):
        Edit("erase", {layer: (1,)}, factor=2.0)
    with pytest.raises(UsageError, match="has no values for"):
        Edit("mean", {layer: (1,)})
    with pytest.raises(ShapeError, match=r"shape \(1,\)"):
        Edit("mean", {layer: (1,)}, {layer: torch.zeros(2)})
    pools = {layer: torch.zeros(4, 1), "block.2.ffn.inner": torch.zeros(3, 1)}
    with pytest.raises(ShapeError, match="do not fit"):
        Edit("resample", dict.fromkeys(pools, (1,)), pools)
    with pytest.raises(UsageError, match="not all finite"):
        Edit("mean", {layer: (1,)}, {layer: torch.full((1,), float("nan"))})
    with pytest.raises(ModelError, match="too few neurons"):
        EditedModel(model, Edit("erase", {layer: (3, 40)}), "e")
    with pytest.raises(ModelError, match=r"every layer asked for(.|\n)*block.9"):
        EditedModel(model, Edit("erase", {"block.9.ffn.inner": (3,)}), "e")
    with pytest.raises(ModelError, match="no feed-forward"):
        EditedModel(load_model("log-mel"), Edit("erase", {"log-mel": (3,)}), "e")
    for kind in ("erase", "resample"):
        with pytest.raises(AudioError, match="recording 1"):
            EditedModel(model, edit_of(kind, some(model)), "e").encode(
                [noise(9000), noise(30)], ["1"]
            )
    assert feed_forwards(EditedModel(model, Edit("erase", {layer: (3,)}), "e"))[0].layer == layer
