"""Do properties foretell tasks? Rank correlations over the layers of a model (P2023).

Layers are ranked by how much of a property they hold, and by how well a head on each alone does a
task. Signs are turned so that more is better on both sides: a positive correlation says that
layers with more of the property do the task better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.curve_view import JOB, PropertyCurves
from voxstrata.report.join import part_names
from voxstrata.report.peaks import peak
from voxstrata.report.probing_view import (
    LayerScores,
    Task,
    apart,
    best_of,
    is_lower,
    is_probing,
    layer_scores,
    probing_parts,
    tasks,
)
from voxstrata.report.view import View

CLAIMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("cca-phone",), ("pr",)),
    (("cca-word",), ("asr", "sf", "ic")),
    (("cca-speaker", "linear-speaker"), ("sid", "asv")),
)
"""Properties (the first that was measured speaks) and the tasks that they should foretell."""

LEAST = 4
"""Layers below which no correlation is given: of three, every order is likely."""

ORDERS = 50_000
"""Orders of layers that the test draws; where there are fewer, all of them are tried."""


@dataclass(frozen=True)
class Link:
    """A property and a task over the layers of one model.

    Attributes:
        model: its spec.
        asked: the property.
        task: as the record of the probing run has it.
        beside: names of the two folders, where there are several of a kind.
        layers: names of the layers that have both, in order of depth.
        held: what each holds of the property, turned so that more is better, [n].
        done: how well each does the task, turned likewise, [n].
        rho: Spearman's correlation; NaN with fewer than :data:`LEAST` layers or without variation.
        screened: the task's scores are of heads that were trained shortly.
        flat: which side has no layer that is told apart from its best one.
    """

    model: str
    asked: PropertyCurves
    task: Task
    beside: str
    layers: tuple[str, ...]
    held: NDArray[np.float64]
    done: NDArray[np.float64]
    rho: float
    screened: bool
    flat: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Whether there is a correlation."""
        return math.isfinite(self.rho)


def has_both(view: View) -> bool:
    """Whether a page joins probing with properties."""
    return bool(probing_parts(view)) and bool(_properties(view))


def links(view: View) -> list[Link]:
    """Every ranking property with every task, for every model that both were measured of."""
    probed, measured = probing_parts(view), _properties(view)
    named = dict(zip(map(id, view.parts), part_names(view.parts), strict=True))
    several = len(probed) > 1 or len(measured) > 1
    found = []
    for one in measured:
        for other in probed:
            beside = f"{named[id(one)]}, {named[id(other)]}" if several else ""
            shared = [m.spec for m in one.models if any(m.spec == o.spec for o in other.models)]
            found += [
                link
                for spec in shared
                for asked in one.curves
                if asked.main.is_ranking
                for task in tasks(other)
                if (link := _link(one, asked, other, task, spec, beside)) is not None
            ]
    return found


def claimed(found: Sequence[Link]) -> list[Link]:
    """Those that :data:`CLAIMS` names, claim by claim."""
    chosen = []
    for names, asked in CLAIMS:
        for task in asked:
            of = [link for link in found if link.task.get("name") == task]
            first = next((n for n in names if any(link.asked.name == n for link in of)), None)
            chosen += [link for link in of if link.asked.name == first]
    return chosen


def p_value(link: Link) -> float:
    """How often a random order of the layers gives a correlation at least as far from 0: exact
    where there are few layers, else of :data:`ORDERS` drawn orders. Layers beside each other are
    alike, which the test does not know: the value is too small.
    """
    from scipy.stats import permutation_test

    if not link.is_known:
        return math.nan
    held, done = _ranks(link.held), _ranks(link.done)

    def size(x: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(np.abs(np.moveaxis(x, axis, -1) @ done))

    found = permutation_test(
        (held,),
        size,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=ORDERS,
        alternative="greater",
        axis=-1,
        **_seeded(),
    )
    return float(found.pvalue)


def is_exact(link: Link) -> bool:
    """Whether :func:`p_value` tries every order."""
    return math.factorial(len(link.layers)) <= ORDERS


def _seeded() -> dict[str, Any]:
    """SciPy renamed the argument in 1.15."""
    import inspect

    from scipy.stats import permutation_test

    names = inspect.signature(permutation_test).parameters
    return {"rng" if "rng" in names else "random_state": np.random.default_rng(0)}


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks as a vector of length 1 around 0: the product of two is Spearman's correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    ranks = ranks - ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks), dtype=np.float64)


def _properties(view: View) -> list[View]:
    return [part for part in view.parts if part.record.get("job") == JOB]


def _link(
    one: View, asked: PropertyCurves, other: View, task: Task, spec: str, beside: str
) -> Link | None:
    position = next(i for i, model in enumerate(one.models) if model.spec == spec)
    curve = asked.main.curve(position)
    scores = layer_scores(other, task, spec)
    if curve is None or len(scores.values) < 2:
        return None
    known = {one.layers[p.layer].name: p.value for p in curve.known}
    layers = tuple(
        name
        for name, value in scores.values.items()
        if name in known and math.isfinite(value.value)
    )
    if len(layers) < 2:
        return None
    held = np.array([known[name] for name in layers])
    done = np.array([scores.values[name].value for name in layers])
    held = held if asked.main.higher_is_better else -held
    done = -done if is_lower(task) else done
    return Link(
        model=spec,
        asked=asked,
        task=task,
        beside=beside,
        layers=layers,
        held=held,
        done=done,
        rho=_spearman(held, done),
        screened=scores.screened,
        flat=_flat(asked, position, task, scores),
    )


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    from scipy.stats import spearmanr

    if len(x) < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(spearmanr(x, y).statistic)


def _flat(asked: PropertyCurves, position: int, task: Task, scores: LayerScores) -> tuple[str, ...]:
    """The sides of a link whose layers' intervals all overlap that of the best one."""
    found = []
    top = peak(asked.main, position)
    if top is not None and top.rest and top.is_flat:
        found.append("property")
    best = best_of(task, list(scores.values.values()))
    if best is not None and not any(
        apart(best, v) for v in scores.values.values() if v is not best
    ):
        found.append("task")
    return tuple(found)


def by_model(found: Sequence[Link]) -> Mapping[tuple[str, str], list[Link]]:
    """Links by model and folders, in order."""
    grouped: dict[tuple[str, str], list[Link]] = {}
    for link in found:
        grouped.setdefault((link.model, link.beside), []).append(link)
    return grouped


def probes_only(view: View) -> bool:
    """Whether the page is of probing runs without properties beside them."""
    return is_probing(view) or (bool(probing_parts(view)) and not _properties(view))
