"""What the figures show, said in words that the table bears out.

Every function returns whole sentences, or nothing where there is nothing to say. Where
intervals overlap, the sentence says that the data do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxstrata.report.matches import (
    Cell,
    Match,
    best_path,
    cell,
    cross_cells,
    match,
    overlap,
    ranked,
    steps,
)
from voxstrata.report.view import Facet, View
from voxstrata.report.words import base_measure, counted, interval, listing, number

NEAR_DEPTH = 0.1
"""Two layers are at "the same relative depth" within this difference."""

ROWS_PER_DIMENSION = 10
"""Rows a dimension below which plug-in estimates are called into question (spec similarity, 2)."""

FEW_GROUPS = 10
"""Independent groups below which a jackknife interval is itself uncertain."""

_PLUG_IN = ("biased", "in-sample")
_MOMENT_MEASURES = ("cka", "cca", "svcca", "pwcca", "procrustes", "regression")


def strongest_pair(view: View, facet: Facet) -> str:
    """The two most similar layers of different models, and whether that lead is certain."""
    if len(view.models_of(facet)) < 2:
        return "Only one model has layers here, so there is no pair of layers across models."
    order = ranked(facet, cross_cells(view, facet))
    if not order:
        return "No pair of layers of different models has a value."
    best, rest = order[0], order[1:]
    said = (
        f"The two most similar layers of different models are {view.name(facet, best.row)} and "
        f"{view.name(facet, best.column)}: {facet.spoken} {_shown(best)}."
    )
    if not rest:
        return said
    if not best.has_interval:
        return said + " It has no interval, so a lead by chance cannot be told from a real one."
    rivals = sum(overlap(best, other) is True for other in rest)
    unknown = sum(overlap(best, other) is None for other in rest)
    if rivals:
        verb = "interval of one other pair overlaps" if rivals == 1 else "overlap"
        who = f"The {verb}" if rivals == 1 else f"The intervals of {rivals:,} other pairs {verb}"
        return f"{said} {who} this one, so the data do not tell which pair is highest."
    if unknown:
        return f"{said} {counted(unknown, 'other pair')} without an interval cannot be ruled out."
    return f"{said} No other pair's interval overlaps this one."


def cross_range(view: View, facet: Facet) -> str:
    """From where to where similarity runs between layers of different models."""
    values = [c.value for c in cross_cells(view, facet) if np.isfinite(c.value)]
    if len(values) < 2:
        return ""
    return (
        f"Between layers of different models it runs from {number(min(values))} to "
        f"{number(max(values))} (median {number(float(np.median(values)))}, "
        f"{counted(len(values), 'pair')})."
    )


def within_range(view: View, facet: Facet, model: int) -> str:
    """The most and the least alike layers of one model; empty with fewer than three layers."""
    rows = view.rows_of(facet, model)
    if len(rows) < 3:
        return ""
    order = ranked(facet, [cell(facet, a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]])
    if len(order) < 2:
        return ""
    near, far = order[0], order[-1]
    return (
        f"Within {view.models[model].label}, the least alike layers are "
        f"{_names(view, facet, far)}, {_shown(far)}{_or_others(far, order[:-1])}; the most alike "
        f"are {_names(view, facet, near)}, {_shown(near)}{_or_others(near, order[1:])}."
    )


def _or_others(extreme: Cell, rest: Sequence[Cell]) -> str:
    """ " (or one of 3 other pairs: intervals overlap)", where some do."""
    rivals = sum(overlap(extreme, other) is True for other in rest)
    if not rivals:
        return "" if extreme.has_interval else " (no interval)"
    others = "another pair" if rivals == 1 else f"one of {rivals:,} other pairs"
    return f" (or {others}: intervals overlap)"


def neighbours(view: View, facet: Facet, model: int) -> str:
    """How alike neighbouring layers of one model are, and where it changes most."""
    label = view.models[model].label
    rows = view.rows_of(facet, model)
    if len(rows) < 2:
        return f"{label} has a single layer here, so it has no neighbours to compare."
    order = ranked(facet, steps(view, facet, model))
    if not order:
        return f"Within {label}, no pair of neighbouring layers has a value."
    typical = number(float(np.median([c.value for c in order])))
    said = (
        f"Within {label}, neighbouring layers are {typical} "
        f"{'alike' if facet.closer_is_high else 'apart'} "
        f"({facet.spoken}, median of {counted(len(order), 'step')})"
    )
    if len(order) < 2:
        return said + "."
    last, rest = order[-1], order[:-1]
    said += (
        f"; the largest change is from {view.layer(facet, last.row).name} to "
        f"{view.layer(facet, last.column).name}, {_shown(last)}"
    )
    if not last.has_interval:
        return said + ", without an interval."
    rivals = sum(overlap(last, other) is True for other in rest)
    if rivals:
        return (
            f"{said}, though the data do not tell it apart from "
            f"{counted(rivals, 'other step')} whose {'interval' if rivals == 1 else 'intervals'} "
            f"{'overlaps' if rivals == 1 else 'overlap'} it."
        )
    return said + "."


def path(view: View, facet: Facet, model: int, other: int) -> str:
    """How the layers of ``model`` match those of ``other``: range, depth, undecided ones."""
    found = [m for m in best_path(view, facet, model, other) if m is not None]
    name = view.models[other].label
    if not found:
        return f"In {name}: no values."
    values = [m.best.value for m in found]
    low, high = number(min(values)), number(max(values))
    said = f"In {name}: best match {low if low == high else f'{low} to {high}'}"
    if len(view.rows_of(facet, other)) < 2:
        return said + " (it has a single layer, so there is no choice)."
    if len(view.rows_of(facet, model)) > 1:
        near = sum(
            abs(view.layer(facet, m.best.row).depth - view.layer(facet, m.best.column).depth)
            <= NEAR_DEPTH + 1e-9
            for m in found
        )
        said += f"; at the same relative depth (within {NEAR_DEPTH}) for {_of(near, len(found))}"
    known = [m for m in found if m.tie is not None]
    tied = sum(m.tie is True for m in known)
    if not known:
        return said + "; without intervals, so near-ties cannot be told."
    if tied == 0:
        return said + "; each match is clear of its runner-up."
    return f"{said}; undecided for {_of(tied, len(known))} (the runner-up's interval overlaps)."


def favourite(view: View, facet: Facet, model: int) -> str:
    """Which other model the layers of ``model`` are nearest to; empty with fewer than three."""
    others = [m for m in view.models_of(facet) if m != model]
    if len(others) < 2:
        return ""
    columns = [row for other in others for row in view.rows_of(facet, other)]
    rows = view.rows_of(facet, model)
    found = [m for m in (match(facet, row, columns) for row in rows) if m is not None]
    if not found:
        return ""
    owners = [view.layer(facet, m.best.column).model for m in found]
    top = max(others, key=owners.count)
    wins, label = owners.count(top), view.models[model].label
    joint = [other for other in others if owners.count(other) == wins]
    if len(joint) > 1:
        names = listing([view.models[other].label for other in joint])
        return (
            f"No single model is nearest to {label}: {names} each hold the most similar layer "
            f"for {wins} of its {counted(len(found), 'layer')}."
        )
    lead = "The only layer" if len(found) == 1 else f"{_of(wins, len(found)).capitalize()} layers"
    verb = "has" if wins == 1 else "have"
    said = (
        f"{lead} of {label} {verb} the most similar layer of any other model in "
        f"{view.models[top].label}"
    )
    contested = sum(
        owner == top and _contested(view, facet, m) for m, owner in zip(found, owners, strict=True)
    )
    if not contested:
        return said + "."
    return (
        f"{said}; for {_of(contested, wins)} of these a layer of a third model has an interval "
        "that overlaps."
    )


def _contested(view: View, facet: Facet, found: Match) -> bool:
    """Whether a layer of a model other than the match's has an interval that overlaps."""
    mine = view.layer(facet, found.best.row).model, view.layer(facet, found.best.column).model
    return any(
        overlap(found.best, cell(facet, found.best.row, column)) is True
        for column in range(len(facet.layers))
        if view.layer(facet, column).model not in mine
    )


def closest_models(view: View, facet: Facet) -> str:
    """The two models whose layers find the most similar partners; empty with fewer than three.

    Models of a single layer are left out: one layer is easily near some layer of any model.
    """
    models = [m for m in view.models_of(facet) if len(view.rows_of(facet, m)) > 1]
    if len(models) < 3:
        return ""
    scores: dict[tuple[int, int], float] = {}
    for a in models:
        for b in models:
            if a != b:
                found = [m.best.value for m in best_path(view, facet, a, b) if m is not None]
                if found:
                    scores[a, b] = float(np.median(found))
    if not scores:
        return ""
    pick = max if facet.closer_is_high else min
    a, b = pick(scores, key=lambda pair: scores[pair])
    return (
        f"Taken layer by layer, {view.models[a].label} finds its nearest kin in "
        f"{view.models[b].label} (median of best matches "
        f"{number(scores[a, b])}; a summary without an interval)."
    )


def caveats(view: View, facet: Facet) -> list[str]:
    """What weakens the numbers of one facet, most serious first."""
    return [
        said
        for said in (
            "" if facet.closer_is_high else "This is a distance: lower means more alike.",
            _few_rows(view, facet),
            _few_groups(facet),
            _no_interval(facet),
            _no_value(facet),
            _out_of_scale(facet),
        )
        if said
    ]


def _few_rows(view: View, facet: Facet) -> str:
    if facet.estimator not in _PLUG_IN or not facet.measure.startswith(_MOMENT_MEASURES):
        return ""
    widths = np.array([view.layers[at].width for at in facet.layers])
    down, across = np.broadcast_arrays(widths[:, None], widths[None, :])
    # Regression fits one coefficient a dimension of the side it predicts from.
    sides = {"regression": down, "regression-reverse": across}
    widest = sides.get(facet.measure, np.maximum(down, across))
    usable = facet.present & (widest > 0)
    if not usable.any():
        return ""
    ratio = np.where(usable, facet.n / np.maximum(widest, 1), np.inf)
    at = np.unravel_index(int(np.argmin(ratio)), ratio.shape)
    if ratio[at] >= ROWS_PER_DIMENSION:
        return ""
    said = (
        f"{int(facet.n[at]):,} rows against a width of {int(widest[at]):,} "
        f"({ratio[at]:.1f} a dimension, {ROWS_PER_DIMENSION} is a usual minimum): this estimator "
        "overstates likeness by chance agreement here."
    )
    better = any(
        f.unit == facet.unit
        and f.estimator == "debiased"
        and base_measure(f.measure, f.estimator) == base_measure(facet.measure, facet.estimator)
        for f in view.facets
    )
    return said + (" Trust the debiased value." if better else "")


def _few_groups(facet: Facet) -> str:
    used = facet.groups[facet.present & np.isfinite(facet.low)]
    fewest = int(used.min()) if used.size else 0
    if not 0 < fewest < FEW_GROUPS:
        return ""
    return f"The intervals rest on {counted(fewest, 'independent group')} only."


def _no_interval(facet: Facet) -> str:
    cells = _once(facet, facet.present & np.isfinite(facet.value))
    lacking = _once(facet, facet.present & np.isfinite(facet.value) & ~np.isfinite(facet.low))
    if not lacking:
        return ""
    if lacking == cells:
        return "No value has an interval, so differences cannot be told from chance."
    return f"{lacking:,} of {counted(cells, 'value')} have no interval."


def _no_value(facet: Facet) -> str:
    empty = _once(facet, facet.present & ~np.isfinite(facet.value))
    absent = _once(facet, ~facet.present)
    parts = []
    if empty:
        parts.append(f"{counted(empty, 'pair')} of layers gave no finite value (shown in grey)")
    if absent:
        parts.append(f"{counted(absent, 'pair')} of layers {_were(absent)} not compared (left out)")
    return "; ".join(parts) + "." if parts else ""


def _out_of_scale(facet: Facet) -> str:
    below = facet.present & (facet.value < facet.low_end)
    above = facet.present & (facet.value > facet.high_end + 1e-6)
    parts = []
    if count := _once(facet, below):
        parts.append(
            f"{counted(count, 'value')} {_were(count)} below {number(facet.low_end)} (lowest "
            f"{number(float(facet.value[below].min()))}) and {_were(count)} drawn in the colour "
            f"of {number(facet.low_end)}; an unbiased estimate of nothing is as often negative "
            "as positive"
            if facet.estimator in ("debiased", "minibatch")
            else f"{counted(count, 'value')} {_were(count)} below {number(facet.low_end)} "
            f"(lowest {number(float(facet.value[below].min()))}) and {_were(count)} drawn in its "
            "colour"
        )
    if count := _once(facet, above):
        parts.append(
            f"{counted(count, 'value')} {_were(count)} above {number(facet.high_end)} (highest "
            f"{number(float(facet.value[above].max()))}) and {_were(count)} drawn in its colour"
        )
    return "; ".join(parts) + "." if parts else ""


def _once(facet: Facet, mask: np.ndarray) -> int:
    """How many cells a mask holds, counting mirrored ones once."""
    return int(np.triu(mask).sum() if facet.symmetric else mask.sum())


def _of(count: int, total: int) -> str:
    """ "3 of 13", "all 13", "none of 13"."""
    if count == total:
        return "both" if total == 2 else f"all {total}" if total > 1 else "its only layer"
    return f"{count} of {total}" if count else f"none of {total}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _names(view: View, facet: Facet, entry: Cell) -> str:
    return f"{view.layer(facet, entry.row).name} and {view.layer(facet, entry.column).name}"


def _shown(entry: Cell) -> str:
    return interval(entry.value, entry.low, entry.high)


def findings(view: View, facet: Facet) -> Sequence[str]:
    """The one or two sentences that open the page."""
    models = view.models_of(facet)
    if len(models) < 2:
        return [neighbours(view, facet, model) for model in models]
    found = (strongest_pair(view, facet), closest_models(view, facet))
    return [said for said in found if said]
