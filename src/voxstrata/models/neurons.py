"""Where the neurons of a model are: feed-forward parts of Transformers, channels of ECAPA-TDNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from voxstrata.errors import ModelError
from voxstrata.models.base import SpeechModel

if TYPE_CHECKING:
    from torch import nn

    from voxstrata.types import LayerInfo

ECAPA_LAYERS = ("conv", "block1", "block2", "block3", "mfa")
"""Layers of an ECAPA-TDNN whose channels count as neurons."""


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward part: ``down(a) = sum_i a_i v_i + b`` with ``a = act(up(x))``.

    Neuron i has the key ``up.weight[i]`` [D] and the value ``v_i = down.weight[:, i]`` [D].

    Attributes:
        layer: name of the tap that gives ``a`` [T, F], such as ``"block.3.ffn.inner"``.
        block: number of the block, from 1.
        width: F, number of neurons.
        up: linear map [F, D] before the activation function.
        down: linear map [D, F] after it.
    """

    layer: str
    block: int
    width: int
    up: nn.Linear
    down: nn.Linear


@dataclass(frozen=True)
class Place:
    """Where a neuron layer's activations pass through a module, and can be changed.

    Attributes:
        layer: name of the layer.
        width: number of neurons.
        module: the module.
        side: whether the activations are its first argument ("in") or its output ("out").
        channels: axis of the neurons there: 2 in [B, T, F], 1 in [B, C, T].
        shown: whether the model's output of that name is read after the place, so that it shows
            what a hook there changed.
    """

    layer: str
    width: int
    module: nn.Module
    side: Literal["in", "out"]
    channels: int
    shown: bool


def neuron_layers(model: SpeechModel) -> tuple[LayerInfo, ...]:
    """The layers whose dimensions are neurons, in order of depth.

    Taps ``*.inner`` of Transformers (activations of the feed-forward parts, before the second
    linear map); ``conv``, ``block1``.. and ``mfa`` of ECAPA-TDNN.

    Raises:
        ModelError: the model has none (log-mel features, say).
    """
    known = ECAPA_LAYERS if _ecapa(beneath(model)) else ()
    found = tuple(i for i in model.layers if i.name.endswith(".inner") or i.name in known)
    if not found:
        raise _none(model, "no layer of neurons", [info.name for info in model.layers])
    return found


def feed_forwards(model: SpeechModel) -> tuple[FeedForward, ...]:
    """The feed-forward parts of a Transformer, in order of depth; those beneath, if it is edited.

    The linear maps are the model's own: what is changed there, changes the model.

    Raises:
        ModelError: the model has none that is known.
    """
    inner: Any = beneath(model)
    kept = {info.name for info in model.layers}
    found = [part for part in _feed_forwards(inner) if part.layer in kept]
    if not found:
        raise _none(model, "no feed-forward parts", [type(inner).__name__])
    return tuple(found)


def neuron_places(model: SpeechModel) -> tuple[Place, ...]:
    """Where the activations of every layer of :func:`neuron_layers` can be changed.

    Raises:
        ModelError: the model has none, or is a module of the user's own, whose inside is unknown.
    """
    inner: Any = beneath(model)
    kept = {info.name for info in model.layers}
    if not _ecapa(inner):
        shown = inner.family == "huggingface"  # MelHuBERT's tap is taken before the second map
        return tuple(
            Place(part.layer, part.width, part.down, "in", 2, shown)
            for part in feed_forwards(model)
        )
    network = inner._module
    parts = {"conv": network.stem}
    parts |= {f"block{i}": block for i, block in enumerate(network.blocks, start=1)}
    C, M = inner.options.channels, inner.options.mfa
    places = [Place(name, C, part, "out", 1, True) for name, part in parts.items()]
    if network.mfa_bn is not None:
        places.append(Place("mfa", M, network.mfa_bn, "out", 1, True))
    else:  # a bare ReLU, which is no module: what enters the pooling is the same
        places.append(Place("mfa", M, network.attention, "in", 1, False))
    found = tuple(place for place in places if place.layer in kept)
    if not found:
        raise _none(model, "no layer of neurons", [info.name for info in model.layers])
    return found


def beneath(model: SpeechModel) -> SpeechModel:
    """The model under all edits; the model itself where there are none."""
    while (inner := getattr(model, "unedited", None)) is not None:
        model = inner
    return model


def _feed_forwards(model: Any) -> list[FeedForward]:
    from voxstrata.models.huggingface.model import HuggingFaceModel
    from voxstrata.models.melhubert.model import MelHubertModel

    if isinstance(model, MelHubertModel):
        network: Any = model._module
        return [
            _part("block.{}.ffn.inner", number, block.fc1, block.fc2)
            for number, block in enumerate(network.encoder.layers, start=1)
        ]
    if not isinstance(model, HuggingFaceModel):
        return []
    found = []
    for number in range(1, len(model.shape.blocks) + 1):
        block = model.shape.inside(number)
        for name, tap in model.shape.taps(number).items():
            if name.endswith(".inner"):
                up = _sibling(block, tap.module)
                found.append(_part(f"block.{{}}.{name}", number, up, tap.module))
    return found


def _part(layer: str, number: int, up: Any, down: Any) -> FeedForward:
    return FeedForward(layer.format(number), number, int(down.in_features), up, down)


def _sibling(block: nn.Module, down: nn.Module) -> nn.Module:
    """The first linear map of the feed-forward part that ends with ``down``."""
    for part in block.modules():
        children = dict(part.named_children())
        if down in children.values():
            for name in ("intermediate_dense", "fc1"):
                if name in children:
                    return children[name]
    raise ModelError(
        "a feed-forward part of this model is laid out in a way that is not known",
        got=type(block).__name__,
        expected="intermediate_dense and output_dense, or fc1 and fc2, side by side",
    )


def _ecapa(model: SpeechModel) -> bool:
    from voxstrata.models.ecapa.model import EcapaModel

    return isinstance(model, EcapaModel)


def _none(model: SpeechModel, what: str, got: list[str]) -> ModelError:
    return ModelError(
        f"the model {model.spec!r} has {what}",
        got=", ".join(got[:12]),
        expected="a Transformer with feed-forward parts (taps block.N.ffn.inner), or ECAPA-TDNN",
        fix="choose such a model; `voxstrata models show MODEL --taps` lists what a model has",
    )
