"""From a set of neurons to a model in which they are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import KINDS, Edit, Kind
from voxstrata.models.edited.folder import write_edit
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.edited.save import save_as_weights
from voxstrata.neurons.interventions.activity import Activity
from voxstrata.neurons.sets import NeuronSet
from voxstrata.registry import unknown_name

SET = "set.json"
"""The neuron set in the folder of an edit."""


def intervene(
    model: SpeechModel,
    neurons: NeuronSet,
    kind: Kind,
    *,
    activity: Activity | None = None,
    factor: float | None = None,
    seed: int = 0,
) -> EditedModel:
    """A model in which neurons are changed; it can be used wherever a model can.

    Args:
        model: whose neurons they are; not copied, and not changed.
        neurons: which.
        kind: ``erase`` (a_i becomes 0), ``mean`` (its mean over ``activity``'s corpus),
            ``resample`` (its value in another frame of that corpus), ``scale`` (times ``factor``).
        activity: of the model, for ``mean`` and ``resample``.
        factor: for ``scale``.
        seed: of the draws of ``resample``.

    Raises:
        ModelError: the set or the activity belongs to another model.
        UsageError: the set is empty, or something the kind needs is missing.
    """
    if kind not in KINDS:
        raise unknown_name("kind of intervention", str(kind), list(KINDS))
    neurons.check(model)
    chosen = {layer: found for layer, found in neurons.layers.items() if found}
    values: dict[str, torch.Tensor] = {}
    if kind in ("mean", "resample"):
        found = _activity(activity, model, kind)
        for layer, index in chosen.items():
            if layer not in found.mean:
                raise UsageError(
                    f"the activity of {layer} was not measured",
                    got=", ".join(found.mean),
                    expected=", ".join(chosen),
                )
            if kind == "mean":
                values[layer] = torch.from_numpy(found.mean[layer][list(index)])
            else:
                values[layer] = found.pool[layer][:, list(index)]
    edit = Edit(kind, chosen, values, factor, seed, neurons.name)
    amount = f" {factor:g}" if factor is not None else ""
    return EditedModel(model, edit, f"{model.spec} ({kind}{amount} {neurons.name})")


def by_group(
    model: SpeechModel, neurons: NeuronSet, kind: Kind, **rest: Any
) -> dict[str, EditedModel]:
    """One model for each group of the set that has neurons, with that group's neurons changed.

    Args:
        model, neurons, kind, rest: see :func:`intervene`.

    Raises:
        UsageError: the set has no groups.
    """
    if not neurons.groups:
        raise UsageError(
            f"the neuron set {neurons.name!r} does not say which group its neurons belong to",
            expected="groups, as `voxstrata neurons` writes them",
        )
    parts = {name: neurons.group(name) for name in neurons.groups}
    return {name: intervene(model, part, kind, **rest) for name, part in parts.items() if len(part)}


def save_intervention(
    model: EditedModel, neurons: NeuronSet, folder: Path, *, as_weights: bool = False
) -> list[str]:
    """Write an edited model to a folder that can be named wherever a model is named.

    Args:
        model: as :func:`intervene` gives it, on the CPU in float32.
        neurons: the set it was made of; written beside it as ``set.json``.
        folder: new or empty.
        as_weights: write an ordinary model whose weights have the edit in them, not the edit.

    Returns:
        what a user of the result must know.

    Raises:
        UsageError: the folder is in use, or the kind cannot be written as weights.
        ModelError: the model beneath has no name that it could be loaded by.
        StorageError: the disk fails.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder", fix="choose another name")
    details = {"set": neurons.name, "found": dict(neurons.details)}
    if as_weights:
        notes = save_as_weights(model, folder)
    else:
        beneath: Any = model.unedited
        if isinstance(beneath, EditedModel) and not Path(beneath.spec.partition("@")[0]).exists():
            raise ModelError(
                "the model beneath this edit is an edit that is in memory only",
                got=beneath.spec,
                expected="one that was saved, and loaded again",
                fix="save the first edit, and edit what load_model(FOLDER) gives; or "
                "as_weights=True",
            )
        write_edit(folder, beneath.spec, beneath.fingerprint, model.edit, details)
        notes = []
    neurons.save(folder / SET)
    return notes


def _activity(activity: Activity | None, model: SpeechModel, kind: str) -> Activity:
    if activity is None:
        raise UsageError(
            f"{kind} needs to know how active the neurons are",
            expected="activity=measure(model, utterances)",
            fix="on the command line: --corpus CORPUS",
        )
    if activity.fingerprint != model.fingerprint:
        raise ModelError(
            "the activity was measured in another model",
            got=f"{activity.model}, fingerprint {activity.fingerprint}",
            expected=f"{model.spec}, fingerprint {model.fingerprint}",
        )
    return activity
