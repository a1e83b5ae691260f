"""How long a properties run will take: a guess from sizes and the speed of this machine.

Seconds a layer are fitted to runs of 3 layers 768 wide over 1,000 to 18,000 rows on one core that
did :data:`REFERENCE` operations a second. Solvers stop when they have converged, so a guess can be
off by a factor of three; it is there to tell minutes from hours.
"""

from __future__ import annotations

from dataclasses import dataclass

from voxstrata.properties.prepare import Prepared
from voxstrata.properties.property import Property
from voxstrata.properties.samples import SamplePlan
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.similarity.estimate import MODEL_EFFICIENCY, product_rate

REFERENCE = 190e9
"""Operations a second of the core that the constants were measured on."""

LAYER_S = 0.05
WIDTH_S = 0.3e-3
"""What any property costs a layer, whatever its rows, seconds; and a dimension of it."""

CCA_S = 4.6e-10
"""Canonical correlations: times folds times width cubed."""

RIDGE_S = 1.4e-9
"""Linear regression of frames: times folds times width cubed."""

LOGISTIC_S = 3e-6
"""Linear classification: times rows times width."""

KMEANS_S = 2.7e-10
"""k-means: times rows times width times clusters times seeds."""

WARPING_S = 8e-8
"""Distances of warped frames: times rows times width."""

WIDTH_SHARE = 0.1
"""Dimensions a row that CCA keeps where rows are few."""


@dataclass(frozen=True)
class Forecast:
    """A rough forecast.

    Attributes:
        models_s: seconds of forward passes.
        properties_s: seconds of the properties.
    """

    models_s: float
    properties_s: float

    def sentence(self) -> str:
        """In words."""
        return (
            f"a rough guess: {_span(self.models_s)} for the models, then "
            f"{_span(self.properties_s)} for the properties on this machine (may be three times "
            "less or more; longer when it is busy)"
        )


def forecast(prepared: Prepared) -> Forecast:
    """Forecast a prepared run; measures the speed of the machine for some tenths of a second."""
    import torch

    here = product_rate(torch.float32, "cpu")
    there = here if prepared.device == "cpu" else product_rate(torch.float32, prepared.device)
    seconds = sum(
        layer_seconds(one, sample, prepared.stack[position].width, prepared.config)
        for one in prepared.properties
        for sample in prepared.samples
        if sample.kind == one.unit
        for position in sample.scored
    )
    draws = prepared.config.draws
    return Forecast(
        prepared.pass_flops / (there * MODEL_EFFICIENCY), draws * seconds * REFERENCE / here
    )


def layer_seconds(one: Property, sample: SamplePlan, width: int, config: PropertiesConfig) -> float:
    """Seconds of one property on one layer, on the reference core.

    Args:
        one: the property.
        sample: what it draws from.
        width: of the layer.
        config: folds, clusters and seeds.
    """
    name, rows = one.name, sample.rows
    kind = name.partition(":")[0].partition("-")[0]
    least = LAYER_S + WIDTH_S * width
    if kind == "cca":
        kept = min(width, WIDTH_SHARE * rows, config.pca or width)
        return least + CCA_S * config.folds * kept**3
    if kind == "linear" and sample.kind == "frame":
        return least + RIDGE_S * config.folds * width**3
    if kind == "linear":
        return least + LOGISTIC_S * rows * width
    if kind in ("mi", "pnmi"):
        wanted = config.clusters_word if sample.kind == "word" else config.clusters_phone
        clusters = min(wanted, rows / 10 if config.scale == "small" else rows)
        return least + KMEANS_S * rows * width * clusters * config.kmeans_seeds
    if sample.kind == "sequence":
        return least + WARPING_S * rows * width
    return least


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
