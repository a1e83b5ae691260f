"""Choosing layers from a results table: for a use, with what speaks for and against each.

The evidence is a *curve*: one number a layer of one model, with intervals where there are any.
Which curve counts for which use is written in ``uses.yaml``. Whether a choice holds on other
speakers is another question: :mod:`voxstrata.properties.choosing.check`.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ResultsError
from voxstrata.properties.choosing.uses import Better, Evidence, Use, find_use, less_is_better
from voxstrata.properties.registry import PROPERTIES, make_property

if TYPE_CHECKING:
    import pandas as pd

NORMAL_95 = 1.959963984540054
FOLD_COLUMNS = ("property", "model", "layer", "measure", "fold", "score")


@dataclass(frozen=True)
class Curve:
    """One number a layer.

    Attributes:
        model: the model.
        name, measure: property or task, and what of it is shown.
        better: whether high or low values speak for a layer.
        layers: names, in order of depth, [L].
        value, low, high: values and ends of the 95 % intervals (NaN where there is none), [L].
        control: the highest control at each layer ("low": the lowest), NaN without one, [L].
        probing: whether it is a probing result (a task) rather than a property.
    """

    model: str
    name: str
    measure: str
    better: Better
    layers: tuple[str, ...]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    control: NDArray[np.float64]
    probing: bool = False

    @property
    def goodness(self) -> NDArray[np.float64]:
        """Values turned so that more is better, [L]."""
        return self.value if self.better == "high" else -self.value

    @property
    def best(self) -> int:
        """Position of the best layer; the lowest of equals."""
        return int(np.nanargmax(self.goodness))

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard errors from the longer arms of the intervals, [L]; NaN without one.

        The other arm may be cut off at the end of the measure's range.
        """
        return np.maximum(self.value - self.low, self.high - self.value) / NORMAL_95


@dataclass(frozen=True)
class Recommendation:
    """What is recommended for one model.

    Attributes:
        model: the model.
        layer: the best layer by the curve that decides.
        cheapest: the lowest layer that cannot be told from it.
        curve: the curve that decides.
        value, low, high: the best layer's number and interval.
        alike: layers that cannot be told from the best, itself included, in order of depth.
        alike_by: how they were told apart ("paired folds", "intervals", "" where nothing was).
        loss_below, loss_above: what the next layer down and up loses, in the curve's unit, 0 or
            more; NaN at an end.
        middle: the middle layer.
        loss_middle, loss_random: what the middle layer, and a layer drawn at random (the mean
            over layers), lose on the same curve; optimistic, as the choice was made on it.
        above_control: whether the best layer is better than its control; ``None`` without one.
        others: best layer of every other curve that counts for the use, as (property, layer).
    """

    model: str
    layer: str
    cheapest: str
    curve: Curve
    value: float
    low: float
    high: float
    alike: tuple[str, ...]
    alike_by: str
    loss_below: float
    loss_above: float
    middle: str
    loss_middle: float
    loss_random: float
    above_control: bool | None
    others: tuple[tuple[str, str], ...]


def middle_of(layers: Sequence[str]) -> str:
    """The middle layer of a list in order of depth (the upper one of two).

    Example:
        >>> middle_of([str(i) for i in range(13)])
        '6'
    """
    return layers[len(layers) // 2]


def curves(table: pd.DataFrame, evidence: Evidence, *, probing: bool = False) -> list[Curve]:
    """The curves of one kind of evidence, one a model and property that matches it.

    Args:
        table: results table; layers are in order of depth, as the jobs write them.
        evidence: which property and measure.
        probing: mark them as probing results.

    Raises:
        ResultsError: the measure is left open and the table has several.
    """
    known = table["property"].unique().tolist()
    names = [p for p in known if p == evidence.name or fnmatch.fnmatchcase(p, evidence.name)]
    made = []
    for name in names:
        rows = table[(table["property"] == name) & (table["layer"] != "")]
        measure = evidence.measure or _main_measure(name, rows[rows["control"] == ""])
        rows = rows[rows["measure"] == measure]
        better: Better = (
            "low" if evidence.better == "low" or less_is_better(measure) else evidence.better
        )
        for model in rows["model"].unique().tolist():
            curve = _curve(rows[rows["model"] == model], name, measure, better, probing)
            if curve is not None:
                made.append(curve)
    return made


def _main_measure(name: str, rows: pd.DataFrame) -> str:
    measures = rows["measure"].unique().tolist()
    if name.partition(":")[0] in PROPERTIES:
        main = make_property(name).main
        if main in measures:
            return main
    if len(measures) == 1:
        return str(measures[0])
    raise ResultsError(
        f"it is open which measure of {name!r} counts",
        got=", ".join(map(str, measures)) or "no measure",
        expected="one measure, or a property that names its main one",
        fix="keep one measure of it in the table",
    )


def _curve(
    rows: pd.DataFrame, name: str, measure: str, better: Better, probing: bool
) -> Curve | None:
    own = rows[rows["control"] == ""]
    # What was estimated in several ways counts as held out, else as it was estimated first.
    ways = own["estimator"].unique().tolist()
    if len(ways) > 1:
        own = own[own["estimator"] == ("held-out" if "held-out" in ways else ways[0])]
    means = own.groupby("layer", sort=False)[["value", "ci_low", "ci_high"]].mean()
    means = means[np.isfinite(means["value"].astype(float))]
    if not len(means):
        return None
    layers = tuple(str(layer) for layer in means.index)
    controls = rows[rows["control"] != ""].groupby("layer")["value"]
    worst = controls.max() if better == "high" else controls.min()
    return Curve(
        str(rows["model"].iloc[0]),
        name,
        measure,
        better,
        layers,
        means["value"].to_numpy(np.float64),
        means["ci_low"].to_numpy(np.float64),
        means["ci_high"].to_numpy(np.float64),
        worst.reindex(list(layers)).to_numpy(np.float64),
        probing,
    )


def evidence_for(table: pd.DataFrame, use: Use) -> list[Curve]:
    """All curves in the table that count for a use, most trusted first."""
    found: list[Curve] = []
    for kind in use.tasks:
        found += curves(table, kind, probing=True)
    for kind in use.properties:
        found += curves(table, kind)
    unique: dict[tuple[str, str, str], Curve] = {}
    for curve in found:
        unique.setdefault((curve.model, curve.name, curve.measure), curve)
    return list(unique.values())


def alike(curve: Curve, folds: pd.DataFrame | None = None) -> tuple[tuple[str, ...], str]:
    """Layers that cannot be told from the best one, and how they were told apart.

    With scores of single folds (columns of ``folds.parquet``), the difference to the best layer
    is taken fold by fold and tested with Student's t at 5 %, Holm's correction over the layers.
    Without, the difference is held against both intervals as if layers were measured
    independently; they share their rows, so this is cautious and names too many.

    Args:
        curve: the curve.
        folds: scores of folds, or ``None``.
    """
    scores = None if folds is None else _fold_matrix(curve, folds)
    best = curve.best
    if scores is not None:
        p = _paired_p(scores, best)
        by = "paired folds"
    elif np.isfinite(curve.error[best]):
        from scipy.stats import norm

        gap = curve.goodness[best] - curve.goodness
        spread = np.sqrt(curve.error**2 + curve.error[best] ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            p = np.where(gap > 0, 2 * norm.sf(gap / spread), 1.0)
        by = "intervals"
    else:
        return (curve.layers[best],), ""
    p[best] = 1.0
    apart = _holm(p, best) if by == "paired folds" else p < 0.05
    return tuple(n for n, away in zip(curve.layers, apart, strict=True) if not away), by


def _fold_matrix(curve: Curve, folds: pd.DataFrame) -> NDArray[np.float64] | None:
    """Scores of every layer (rows) on every fold they all have, at least three; else ``None``."""
    own = folds[
        (folds["property"] == curve.name)
        & (folds["measure"] == curve.measure)
        & (folds["model"] == curve.model)
    ]
    if not len(own):
        return None
    wide = own.pivot_table(index="layer", columns="fold", values="score", aggfunc="mean")
    wide = wide.reindex(list(curve.layers)).dropna(axis=1)
    return wide.to_numpy(np.float64) if wide.shape[1] >= 3 else None


def _paired_p(scores: NDArray[np.float64], best: int) -> NDArray[np.float64]:
    from scipy.stats import t as student

    difference = scores - scores[best]
    F = scores.shape[1]
    error = difference.std(axis=1, ddof=1) / math.sqrt(F)
    mean = np.abs(difference.mean(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * student.sf(mean / error, F - 1)
    return np.where(error > 0, p, np.where(mean > 0, 0.0, 1.0))


def _holm(p: NDArray[np.float64], best: int, level: float = 0.05) -> NDArray[np.bool_]:
    apart = np.zeros(len(p), dtype=bool)
    others = [i for i in np.argsort(p, kind="stable").tolist() if i != best]
    for rank, i in enumerate(others):
        if p[i] > level / (len(others) - rank):
            break
        apart[i] = True
    return apart


def recommend(
    table: pd.DataFrame, use: str | Use, folds: pd.DataFrame | None = None
) -> list[Recommendation]:
    """For each model the layer that a use asks for, with the evidence.

    The most trusted curve that a model has decides: probing results before properties, each in
    the order of ``uses.yaml``. The others are reported beside it.

    Args:
        table: results table (columns of :class:`voxstrata.results.Row`).
        use: name of a use, or a use.
        folds: scores of single folds, or ``None``.

    Raises:
        UnknownNameError: no such use.
        ResultsError: nothing in the table speaks for this use.
    """
    chosen = find_use(use) if isinstance(use, str) else use
    found = evidence_for(table, chosen)
    if not found:
        wanted = [kind.name for kind in (*chosen.tasks, *chosen.properties)]
        raise ResultsError(
            f"nothing in these results says which layer suits {chosen.title}",
            got=", ".join(sorted(map(str, table["property"].unique()))) or "an empty table",
            expected="one of " + ", ".join(wanted),
            fix="measure one of them, for example: voxstrata properties MODEL --corpus CORPUS "
            f"--properties {chosen.properties[0].name.strip('*')}",
        )
    return [
        _one([c for c in found if c.model == model], folds)
        for model in dict.fromkeys(curve.model for curve in found)
    ]


def _one(found: list[Curve], folds: pd.DataFrame | None) -> Recommendation:
    curve = found[0]
    best, good = curve.best, curve.goodness
    same, by = alike(curve, folds)
    middle = middle_of(curve.layers)
    control = curve.control[best] * (1 if curve.better == "high" else -1)
    last = len(curve.layers) - 1
    return Recommendation(
        curve.model,
        curve.layers[best],
        same[0],
        curve,
        float(curve.value[best]),
        float(curve.low[best]),
        float(curve.high[best]),
        same,
        by,
        float(good[best] - good[best - 1]) if best > 0 else math.nan,
        float(good[best] - good[best + 1]) if best < last else math.nan,
        middle,
        float(good[best] - good[curve.layers.index(middle)]),
        float(good[best] - good.mean()),
        bool(good[best] > control) if math.isfinite(control) else None,
        tuple((other.name, other.layers[other.best]) for other in found[1:]),
    )
