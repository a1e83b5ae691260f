"""cca-intra and cca-inter: CCA of layers with layers (P2023, section 3.2).

``cca-intra`` holds every layer against what enters the first Transformer block of its own model
(how far has the model moved from its local features?); ``cca-inter`` holds every layer against the
layer of the same name, or of the same relative depth, of every other model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from voxstrata.properties.cca.engine import CcaDraw
from voxstrata.properties.property import Property, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.stack import StackLayer

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus

_MIRROR = {"pwcca-x": "pwcca-y", "pwcca-y": "pwcca-x"}


def layers_of(sample: Sample) -> dict[str, list[int]]:
    """Positions of each model's layers, in order of depth; helpers are no models of the run."""
    models: dict[str, list[int]] = {}
    for position, layer in enumerate(sample.layers):
        if position in sample.helpers:
            continue
        models.setdefault(layer.name, []).append(position)
    return models


def base_layer(sample: Sample, model: str) -> int | None:
    """Position of layer "0" of a model, or of its first layer where it has no such layer.

    Convolutions before layer "0" are no base: ``None`` for a sample that holds these alone (those
    at 10 ms).
    """
    found = sample.find(model, "0")
    if found is not None:
        return found
    mine = [p for p in layers_of(sample)[model] if sample.layers[p].info.default]
    return mine[0] if mine else None


def counterpart(sample: Sample, position: int, model: str) -> int:
    """The layer of another model that a layer is held against.

    The layer of the same name where both models have the same layers, else the one whose relative
    depth (first layer 0, last layer 1) is nearest; the shallower of two.
    """
    models = layers_of(sample)
    own, other = models[sample.layers[position].name], models[model]
    names = [[sample.layers[p].info.name for p in part] for part in (own, other)]
    if names[0] == names[1]:
        return other[own.index(position)]
    depth = own.index(position) / max(1, len(own) - 1)
    return min(other, key=lambda p: abs(other.index(p) / max(1, len(other) - 1) - depth))


@dataclass
class LayerDraw:
    """CCA of layers with other layers of the sample.

    Attributes:
        sample: where layers are read.
        settings, seed: as for :class:`CcaDraw`.
        inter: other models' layers instead of the own base layer.
    """

    sample: Sample
    settings: PropertiesConfig
    seed: int
    inter: bool
    _held: dict[int, CcaDraw] = field(default_factory=dict)
    _facts: dict[str, Any] = field(default_factory=dict)
    _notices: dict[str, None] = field(default_factory=dict)
    _scored: dict[tuple[int, int], list[Score]] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the views so far."""
        return {"rows": len(self.sample), **self._facts}

    @property
    def notices(self) -> list[str]:
        """Notices of the views so far."""
        return list(self._notices)

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Scores against the base layer, or against each other model; none for the base itself."""
        own = self.sample.find(layer.name, layer.info.name)
        if own is None:
            return []
        if not self.inter:
            base = base_layer(self.sample, layer.name)
            return [] if base is None or base == own else self._pair(rows, own, base)
        scores = []
        for model in layers_of(self.sample):
            if model != layer.name:
                scores += self._pair(rows, own, counterpart(self.sample, own, model))
        return scores

    def _pair(self, rows: torch.Tensor, own: int, other: int) -> list[Score]:
        known = self._scored.get((other, own))
        if known is None or self.settings.preset == "pasad2023":  # not symmetric there
            draw = self._view(other)
            known = draw.score(rows, self.sample.layers[own])
            self._facts.update({"view": dict(draw.facts)} if not self.inter else {})
            self._notices.update(dict.fromkeys(draw.notices))
        else:
            known = [
                replace(s, measure=_MIRROR.get(s.measure, s.measure), d=s.other_d, other_d=s.d)
                for s in known
            ]
        partner = self.sample.layers[other]
        found = [replace(s, other_model=partner.name, other_layer=partner.info.name) for s in known]
        self._scored[own, other] = found
        return found

    def _view(self, position: int) -> CcaDraw:
        """The view of a layer; one is kept at a time (it holds rows and moments)."""
        if position not in self._held:
            layer = self.sample.layers[position]
            self._held.clear()
            self._held[position] = CcaDraw(
                self.sample.read(position).double().numpy(),
                np.arange(len(self.sample)),
                self.sample.fold,
                self.settings,
                self.seed,
                groups=self.sample.groups(self.settings.group),
                reduce_view=True,
                widths=[layer.width],
                what=f"layer {layer.key}",
            )
        return self._held[position]


@dataclass(frozen=True)
class LayerCca(PropertyFacts):
    """CCA with other layers; ``inter`` says whose."""

    inter: bool = False

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """A second model, where models are compared and one alone, without twin, was asked for."""
        if self.inter and len(settings.models) < 2 and not settings.twins:
            return "it compares models, and one was asked for"
        return super().missing(corpus, settings)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> LayerDraw:
        """All rows of the sample.

        Raises:
            TooFewError: no second layer, or no second model, to compare with.
        """
        models = layers_of(sample)
        if self.inter and len(models) < 2:
            raise TooFewError(
                "cca-inter compares models", got=f"{len(models)} model", expected="at least 2"
            )
        bases = {model: base_layer(sample, model) for model in models}
        named = {model: sample.layers[p].info.name for model, p in bases.items() if p is not None}
        if not self.inter and all(len(models[model]) < 2 for model in named):
            raise TooFewError(
                "cca-intra compares layers of one model",
                got="no model with layer 0 (or another first one) and a second",
                expected="at least 2",
            )
        made = LayerDraw(sample, settings, seed, self.inter)
        if not self.inter:
            made._facts["base"] = named
        return made


def cca_intra(argument: str) -> Property:
    """CCA with the model's own layer 0."""
    no_argument("cca-intra", argument)
    return LayerCca(
        "cca-intra", "closeness to layer 0 (PWCCA)", "acoustic", "frame", "pwcca", (), False
    )


def cca_inter(argument: str) -> Property:
    """CCA with the same layer of other models."""
    no_argument("cca-inter", argument)
    return LayerCca(
        "cca-inter", "agreement with other models (PWCCA)", "acoustic", "frame", "pwcca", (), True
    )
