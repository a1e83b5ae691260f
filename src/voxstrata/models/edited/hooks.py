"""Changing activations on their way through a model, and giving layers that show it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from voxstrata.errors import ModelError
from voxstrata.models.base import SpeechModel, Wave
from voxstrata.models.neurons import Place, neuron_places

ChangeOf = Callable[[Tensor], Tensor]
"""From activations [B, T, D] to new ones, of the same shape."""


def encode_changed(
    model: SpeechModel,
    audio: Sequence[Wave],
    layers: Sequence[str],
    changes: Callable[[], Mapping[str, ChangeOf]],
) -> list[dict[str, Tensor]]:
    """Layer outputs of a batch while neurons are changed; later layers see the change.

    Args:
        model: the model; its modules carry hooks meanwhile, which act in this thread only.
        audio: B recordings [S].
        layers: wanted layers.
        changes: makes the changes by layer; asked once for the pass and once more for layers
            whose output is read before the place of the change.

    Returns:
        as :meth:`voxstrata.models.base.SpeechModel.encode`.

    Raises:
        ModelError: a layer to be changed has no place that is known.
    """
    places = places_of(model, changes())
    with changing(places, changes()):
        found = model.encode(audio, layers)
    late = [name for name in layers if name in places and not places[name].shown]
    for outputs in found if late else ():
        again = changes()
        for name in late:
            outputs[name] = again[name](outputs[name][None])[0]
    return found


def places_of(model: SpeechModel, layers: Mapping[str, Any]) -> dict[str, Place]:
    """The places of some layers.

    Raises:
        ModelError: a layer is not one of neurons.
    """
    known = {place.layer: place for place in neuron_places(model)}
    if missing := [layer for layer in layers if layer not in known]:
        raise ModelError(
            f"neurons of the model {model.spec!r} cannot be changed in every layer asked for",
            got=", ".join(missing),
            expected=", ".join(known),
        )
    return {layer: known[layer] for layer in layers}


@contextlib.contextmanager
def changing(places: Mapping[str, Place], changes: Mapping[str, ChangeOf]) -> Iterator[None]:
    """Apply ``changes`` at ``places`` in every forward pass of this thread inside the block.

    A block inside another one, as of an edit beneath an edit, comes first; taps come last.
    """
    owner = threading.get_ident()
    handles = []

    def moved(value: Tensor, place: Place) -> Tensor:
        last = value.movedim(place.channels, -1)
        return changes[place.layer](last).movedim(-1, place.channels)

    def entering(place: Place) -> Callable[..., Any]:
        def hook(_module: Any, given: tuple[Any, ...]) -> Any:
            if threading.get_ident() != owner:
                return None
            return (moved(given[0], place), *given[1:])

        return hook

    def leaving(place: Place) -> Callable[..., Any]:
        def hook(_module: Any, _given: Any, out: Tensor) -> Any:
            return moved(out, place) if threading.get_ident() == owner else None

        return hook

    try:
        for place in places.values():
            module = place.module
            if place.side == "in":
                handles.append(module.register_forward_pre_hook(entering(place), prepend=True))
            else:
                handles.append(module.register_forward_hook(leaving(place), prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
