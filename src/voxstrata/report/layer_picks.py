"""Which layers the page's reader may choose among: lists of layers by model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from voxstrata.report.view import View

Offer = tuple[str, tuple[str, ...]]
"""Whose layers, as the page calls it, and their names in order of depth."""


def owner(view: View, model: int) -> str:
    """Label of the model with which the layers of ``model`` are chosen: a twin follows its
    model."""
    of = view.models[model].twin_of
    return view.models[model if of is None else of].label


def offered(view: View) -> tuple[Offer, ...]:
    """All layers of the page's stack."""
    return tuple(
        (owner(view, model), tuple(layer.name for layer in view.layers if layer.model == model))
        for model in range(len(view.models))
    )


def neurons_of(view: View, model: int) -> str:
    """Whose layers of neurons: they are other layers than those of the stack."""
    return f"{owner(view, model)}, neurons"


def merged(offers: Iterable[Offer]) -> list[tuple[str, Sequence[str]]]:
    """One list a model, each layer once; models of a single layer are hidden by their name and
    have none."""
    found: dict[str, dict[str, None]] = {}
    for whose, names in offers:
        found.setdefault(whose, {}).update(dict.fromkeys(names))
    return [(whose, list(names)) for whose, names in found.items() if len(names) > 1]
