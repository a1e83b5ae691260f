"""Edits as weights: the same numbers without a hook, where neurons are mapped linearly next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.neurons import beneath, feed_forwards


def network_of(model: SpeechModel) -> nn.Module:
    """The module of the model beneath all edits.

    Raises:
        ModelError: it has none of a kind that can be written down.
    """
    from voxstrata.models.huggingface.model import HuggingFaceModel
    from voxstrata.models.placement import PlacedModel

    inner: Any = beneath(model)
    if isinstance(inner, HuggingFaceModel):
        module: nn.Module = inner.shape.module
        return module
    if isinstance(inner, PlacedModel) and inner._module is not None:
        return inner._module
    raise ModelError(
        f"the weights of the model {inner.spec!r} cannot be edited",
        got=type(inner).__name__,
        expected="a transformers encoder, MelHuBERT or ECAPA-TDNN",
    )


def edited_tensors(model: EditedModel) -> dict[str, Tensor]:
    """The tensors of the network beneath that an edit changes, with their new values.

    An edit takes activation ``a_i`` to ``s_i a_i + c_i`` (erase: 0 and 0, mean: 0 and the
    constant, scale: the factor and 0; edits of edits are composed). Where ``y = W a + b`` follows,
    the same ``y`` is ``W' a + b'`` with ``W'[:, i] = s_i W[:, i]`` and ``b' = b + W c``. Channels
    of ECAPA-TDNN that leave a BatchNorm have its weight and bias changed instead.

    Args:
        model: the edited model.

    Returns:
        by name in the network's state dict, in the dtype of the network, computed in float64.

    Raises:
        UsageError: a neuron's new value is no such function (resample).
        ModelError: what follows the neurons is no linear map (blocks of ECAPA-TDNN, whose output
            is a sum).
    """
    edits = _edits(model)
    network = network_of(model)
    names = {id(value): name for name, value in network.named_parameters()}
    found: dict[str, Tensor] = {}
    layers = dict.fromkeys(layer for edit in edits for layer in edit.neurons)
    downs = _downs(model)
    norms = _norms(beneath(model))
    for layer in layers:
        if layer in downs:
            down = downs[layer]
            scale, shift = affine(edits, layer, down.in_features)
            weight = down.weight.double().cpu()
            found[names[id(down.weight)]] = (weight * scale).to(down.weight)
            if down.bias is None:
                raise ModelError(f"the linear map after {layer} has no bias to be changed")
            bias = down.bias.double().cpu() + weight @ shift
            found[names[id(down.bias)]] = bias.to(down.bias)
        elif layer in norms:
            norm = norms[layer]
            scale, shift = affine(edits, layer, norm.num_features)
            for part, added in ((norm.weight, 0.0), (norm.bias, shift)):
                found[names[id(part)]] = (part.double().cpu() * scale + added).to(part)
        else:
            raise ModelError(
                f"changing neurons of {layer} cannot be written as weights",
                got="a layer that is a sum, or is not mapped linearly next",
                expected=", ".join([*downs, *norms]) or "a Transformer's feed-forward parts",
                fix="keep the edit as a folder of its own, without --as-weights",
            )
    return found


def affine(edits: Sequence[Edit], layer: str, width: int) -> tuple[Tensor, Tensor]:
    """What edits, one after the other, make of the neurons of a layer.

    Returns:
        factors s [D] and constants c [D], float64: ``a`` becomes ``s a + c``.

    Raises:
        UsageError: an edit is no such function.
    """
    scale = torch.ones(width, dtype=torch.float64)
    shift = torch.zeros(width, dtype=torch.float64)
    for edit in edits:
        chosen = list(edit.neurons.get(layer, ()))
        if edit.kind == "resample":
            raise UsageError(
                "resampled neurons cannot be written as weights",
                got=edit.kind,
                expected="erase, mean or scale",
                fix="keep the edit as a folder of its own, without --as-weights",
            )
        factor = edit.factor if edit.kind == "scale" else 0.0
        assert factor is not None
        scale[chosen] *= factor
        shift[chosen] *= factor
        if edit.kind == "mean" and chosen:
            shift[chosen] += edit.values[layer].double()
    return scale, shift


def _edits(model: EditedModel) -> list[Edit]:
    """All edits, the innermost first."""
    found: list[Edit] = []
    inner: Any = model
    while isinstance(inner, EditedModel):
        found.insert(0, inner.edit)
        inner = inner.unedited
    return found


def _downs(model: SpeechModel) -> dict[str, nn.Linear]:
    try:
        return {part.layer: part.down for part in feed_forwards(model)}
    except ModelError:
        return {}


def _norms(model: SpeechModel) -> dict[str, nn.BatchNorm1d]:
    from voxstrata.models.ecapa.model import EcapaModel

    if not isinstance(model, EcapaModel):
        return {}
    network: Any = model._module
    found = {"conv": network.stem.bn}
    return found if network.mfa_bn is None else {**found, "mfa": network.mfa_bn}
