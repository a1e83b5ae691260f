"""Property curves of models over depth, and how far groups of them are apart.

A curve is put on a common grid of relative depth (0 the first layer, 1 the last) and standardised
(mean 0, variance 1 over the grid), so that its shape is compared and not its height: heights
depend on the width of a model. The distance of two curves is half the mean squared difference,
which is 1 less their correlation. Groups are held against each other as in ANOSIM (Clarke,
Australian Journal of Ecology 18, 1993), with distances in place of their ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.numerics.jackknife import jackknife
from voxstrata.report.curve_view import JOB, positions, relative
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number
from voxstrata.studies.claims.views import analysis_of, seen

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 25)
"""Relative depths at which curves are compared."""

LEAST = 3
"""Layers below which a curve has no shape."""

DEALS = 2000
"""Times that memberships are dealt anew."""


@dataclass(frozen=True)
class Shapes:
    """Curves of one property.

    Attributes:
        name, title: of the property.
        by_model: spec to its curve on :data:`GRID`, standardised; models in order of the study.
        analyses: spec to the analysis that its curve is from.
    """

    name: str
    title: str
    by_model: Mapping[str, Floats]
    analyses: Mapping[str, str]


def shapes(evidence: Evidence) -> tuple[list[Shapes], str]:
    """Curves of every property by its main measure, all models and twins.

    Properties that hold a layer against other models (``cca-inter``, ``cca-model:``) have no curve
    of their own.

    Returns:
        the curves, and why there are none.
    """
    found = seen(evidence, JOB)
    held: dict[str, tuple[str, dict[str, Floats], dict[str, str]]] = {}
    for view in found.views:
        for asked in view.curves:
            if asked.name == "cca-inter" or asked.name.startswith("cca-model:"):
                continue
            _, mine, places = held.setdefault(asked.name, (asked.title, {}, {}))
            for curve in asked.main.curves:
                names = [view.layers[p.layer].name for p in curve.known]
                values = [p.value for p in curve.known]
                spec = view.models[curve.model].spec
                if spec not in mine and (shape := on_grid(names, values)) is not None:
                    mine[spec] = shape
                    places[spec] = analysis_of(view)
    every = [Shapes(name, *parts) for name, parts in held.items() if parts[1]]
    return every, found.missing or ("" if every else "no property has a curve")


def on_grid(names: Sequence[str], values: ArrayLike) -> Floats | None:
    """A curve on :data:`GRID`, standardised; all 0 where it does not vary.

    Layers before layer 0 (the local encoder) are left out; the first and last of the rest stand at
    depths 0 and 1, what lies between grid points is interpolated.

    Args:
        names: of the layers, in order of depth, [L].
        values: [L].

    Returns:
        [len(GRID)]; ``None`` for fewer than :data:`LEAST` layers.
    """
    at, given = np.array(relative(positions(names))), np.asarray(values, dtype=np.float64)
    at, given = at[at >= 0], given[at >= 0]
    if len(at) < LEAST:
        return None
    depth = (at - at[0]) / (at[-1] - at[0])
    curve = np.interp(GRID, depth, given)
    spread = curve.std()
    if spread <= 1e-12 * max(1.0, float(np.abs(curve).max())):
        return np.zeros(len(GRID))
    return np.asarray((curve - curve.mean()) / spread)


def distances(curves: Sequence[Floats]) -> Floats:
    """Distance of every pair, [M, M]: 0 for one shape, 1 for unrelated ones, 2 for opposite ones.

    A flat curve is 0.5 from every other and 0 from another flat one.
    """
    stacked = np.stack(curves)
    return np.asarray(((stacked[:, None] - stacked[None]) ** 2).mean(axis=2) / 2)


def between_within(apart: Floats, groups: ArrayLike) -> tuple[Floats, Floats]:
    """Mean distance of pairs of different groups, and of pairs of one; NaN without such pairs.

    Args:
        apart: [M, M]; pairs whose distance is NaN are left out.
        groups: the group of each model, [..., M].

    Returns:
        two of [...].
    """
    given = np.asarray(groups)
    one, other = np.triu_indices(given.shape[-1], 1)
    known = np.isfinite(apart[one, other])
    one, other = one[known], other[known]
    same = given[..., one] == given[..., other]
    held = apart[one, other]
    with np.errstate(invalid="ignore"):
        within = (same @ held) / same.sum(axis=-1)
        between = (~same @ held) / (~same).sum(axis=-1)
    return np.asarray(between), np.asarray(within)


def separation(apart: Floats, groups: ArrayLike) -> Floats:
    """Mean distance between groups less that within groups, as a share of that of all pairs.

    0 where groups mean nothing; NaN where there is no pair of one kind; 0 where all are alike.
    Arguments are those of :func:`between_within`.
    """
    between, within = between_within(apart, groups)
    held = apart[np.triu_indices(len(apart), 1)]
    held = held[np.isfinite(held)]
    if not len(held):
        return np.full(between.shape, np.nan)
    if not held.any():
        return np.zeros(between.shape)
    return np.asarray((between - within) / held.mean())


Statistic = Callable[[Floats, NDArray[np.str_]], Floats]
"""Of distances [M, M] and memberships [..., M, K] in K groupings, to [...]."""


def over_models(statistic: Statistic, apart: Floats, members: NDArray[np.str_]) -> Number:
    """A statistic with its 95 % interval by the jackknife over models; without interval where it
    is not defined once a model is left out.

    Args:
        statistic: of distances and memberships.
        apart: [M, M].
        members: [M, K].
    """
    size = len(members)
    value = float(statistic(apart, members))
    left = []
    for out in range(size):
        kept = np.delete(np.arange(size), out)
        left.append(float(statistic(apart[np.ix_(kept, kept)], members[kept])))
    if size < LEAST or not np.isfinite([value, *left]).all():
        return Number(value, n=size)
    found = jackknife(value, left, np.ones(size))
    return Number(value, float(found.low), float(found.high), size)


def dealt(statistic: Statistic, apart: Floats, members: NDArray[np.str_], seed: int = 0) -> Floats:
    """The statistic with memberships dealt anew among the models, [:data:`DEALS`]; all groupings
    of a model move together."""
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(len(members)), (DEALS, 1)), axis=1)
    return statistic(apart, members[orders])
