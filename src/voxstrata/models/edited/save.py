"""Edited models as ordinary ones: the network with the edit in its weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxstrata.errors import CheckpointError, UsageError
from voxstrata.files import atomic_write, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.edited.weights import edited_tensors, network_of
from voxstrata.models.family import ModelSpec
from voxstrata.models.neurons import beneath
from voxstrata.models.spec import parse
from voxstrata.types import SAMPLE_RATE


def save_as_weights(model: EditedModel, folder: Path) -> list[str]:
    """Write an edited model as a model folder (MelHuBERT, ECAPA-TDNN) or a Hugging Face directory.

    The result runs anywhere such a model runs, voxstrata or not. Its taps show the neurons before
    the edit: what is gone is their effect.

    Args:
        model: the edited model, on the CPU in float32.
        folder: new or empty.

    Returns:
        what a user of the result must know.

    Raises:
        UsageError: the folder is not empty; the model is cut, or in another precision; the kind
            of edit is no change of weights.
        ModelError: what follows the neurons is no linear map.
        CheckpointError: what was written does not load back as the same numbers.
    """
    from voxstrata.models.huggingface.model import HuggingFaceModel

    inner: Any = beneath(model)
    spec = parse(inner.spec)
    tensors = edited_tensors(model)
    kinds = {p.dtype for p in network_of(model).parameters()}
    if kinds != {torch.float32} or spec.cut is not None:
        raise UsageError(
            f"the model {inner.spec!r} cannot be saved with edited weights as it is",
            got=f"cut at {spec.cut}" if spec.cut else str(kinds),
            expected="the whole model, in float32",
            fix="edit the whole model; cut it, or round it, when loading the result",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists and is not an empty directory", fix="choose another name"
        )
    if isinstance(inner, HuggingFaceModel):
        notes, extra = _directory(inner, spec, tensors, folder)
    else:
        notes, extra = _folder(inner, model, tensors, folder)
    _check(f"{folder}{extra}", model, tensors)
    return notes


def _folder(
    inner: Any, model: EditedModel, tensors: dict[str, Tensor], folder: Path
) -> tuple[list[str], str]:
    """Write a model folder of our own; returns notes, and options it must be loaded with."""
    from voxstrata.models.card import card_folder, read_card, write_model

    spec = parse(inner.spec)
    found = None if spec.random else card_folder(spec.base, inner.family)
    old = read_card(found) if found is not None else {}
    network = copy.deepcopy(inner._module)
    with torch.no_grad():
        for name, value in tensors.items():
            network.get_parameter(name).copy_(value)
    card = {
        "name": f"{old.get('name', Path(spec.base).name)}, {model.edit.name} ({model.edit.kind})",
        "family": inner.family,
        "summary": f"{inner.spec} with {len(model.edit)} neurons changed: {model.edit.kind}",
        "training": old.get("training", {}),
        "edited": model.details["edited"],
        **({"untrained": inner.spec} if inner.details.get("random") else {}),
    }
    write_model(folder, card, network, inner.front)
    notes, extra = [], ""
    if getattr(inner, "final_norm", False):
        extra = ",final_norm=true"
        notes.append(f"load it as {folder}{extra}, as the model it was made of")
    if getattr(inner, "training_mean", None) is not None:
        notes.append("the mean embedding of the training recordings is not kept: it was another")
    return notes, extra


def _directory(
    inner: Any, spec: ModelSpec, tensors: dict[str, Tensor], folder: Path
) -> tuple[list[str], str]:
    """Write a directory that transformers reads; returns notes, and options to load it with."""
    from safetensors.torch import save

    from voxstrata.models.huggingface import source
    from voxstrata.models.huggingface.kinds import kind_of
    from voxstrata.models.huggingface.options import read_options
    from voxstrata.models.huggingface.save import make_random, preprocessor
    from voxstrata.models.huggingface.tensors import read_files
    from voxstrata.models.weights import read_checkpoint

    options = read_options(spec)
    path = folder / "model.safetensors"
    if spec.random:
        make_random(spec.base, folder, seed=options.seed or 0, layers=options.layers)
        state, prefix = read_checkpoint(path), ""
    else:
        found = source.find(spec, options, weights=True)
        state = read_files(found.weights)
        prefixes = kind_of(found.config, found.name).prefixes
        prefix = next((p for p in prefixes if any(k.startswith(p) for k in state)), "")
    for name, value in tensors.items():
        if prefix + name not in state:
            raise CheckpointError(
                f"the weights of {inner.spec} have no tensor {prefix + name} to be replaced",
                expected=", ".join(sorted(state)[:8]),
            )
        state[prefix + name] = value
    with atomic_write(path) as file:
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        file.write(save(plain, metadata={"format": "pt"}))
    if not spec.random:
        # What a built-in table said of the input must now be said in a file.
        usual = preprocessor(inner.shape, {"input_normalisation": inner.shape.normalize})
        write_json(folder / "preprocessor_config.json", {**usual, **(found.preprocessor or {})})
        write_json(folder / "config.json", found.config)
    kept = {k: v for k, v in spec.options.items() if k not in ("seed", "layers", "config")}
    extra = "".join(f",{key}={value}" for key, value in kept.items())
    notes = [f"load it as {folder}{extra}, as the model it was made of"] if kept else []
    return notes, extra


def _check(text: str, model: EditedModel, tensors: dict[str, Tensor]) -> None:
    """Load what was written: every tensor must be there, and noise give the same output."""
    from voxstrata.models.load import load_model

    again: SpeechModel = load_model(text)
    own = network_of(model).state_dict()
    for name, value in network_of(again).state_dict().items():
        if not torch.equal(value, tensors.get(name, own[name])):
            raise CheckpointError(f"{text} does not load back: the tensor {name} differs")
    top = [info.name for info in model.layers if info.default][-1]
    noise = 0.05 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    one, two = (m.encode([noise], [top])[0][top] for m in (model, again))
    if one.shape != two.shape or float((one - two).norm()) > 1e-3 * float(one.norm()):
        raise CheckpointError(f"{text} does not give the outputs of the edited model")
