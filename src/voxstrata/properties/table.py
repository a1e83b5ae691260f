"""From scores of several draws to rows of the tidy table, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from voxstrata.properties.property import Property, Score
from voxstrata.results import Row


@dataclass(frozen=True)
class Scored:
    """One score with the layer and draw it belongs to."""

    model: str
    layer: str
    draw: int
    score: Score


def combine(values: Sequence[float], errors: Sequence[float | None], groups: int) -> float | None:
    """Half the width of the 95 % interval of a mean over draws, or ``None``.

    Rubin's rules (Rubin 1987, ch. 3): the squared error of the mean over m draws is the mean of the
    squared errors within draws plus (1 + 1/m) times the variance between draws. Degrees of
    freedom are those of the groups behind the errors, or m - 1 where draws have no error of their
    own; those need three draws.

    Args:
        values: value of each draw.
        errors: standard error of each draw.
        groups: independent groups behind the errors.
    """
    from scipy.stats import t as student

    m = len(values)
    known = [e for e in errors if e is not None and math.isfinite(e)]
    # Draws share their rows: without errors that some draws lack, the mean of the others' stands.
    within = float(np.mean(np.square(known))) if known else 0.0
    between = float(np.var(values, ddof=1)) if m > 1 else 0.0
    # The spread of two draws alone has one degree of freedom: an interval of 12.7 deviations.
    if not known and m < 3:
        return None
    total = within + (1 + 1 / m) * between
    freedom = max(1, (groups if known else m) - 1)
    return float(student.ppf(0.975, freedom)) * math.sqrt(total)


def to_rows(one: Property, scored: Iterable[Scored], study: str, seed: int) -> list[Row]:
    """One row a layer, measure, estimator and control: the mean over draws with its interval.

    Args:
        one: the property.
        scored: its scores, all draws.
        study: name for the rows.
        seed: of the run.
    """
    together: dict[tuple[str, ...], list[Score]] = {}
    for item in scored:
        s = item.score
        key = (
            item.model,
            item.layer,
            s.other_model,
            s.other_layer,
            s.measure,
            s.estimator,
            s.control,
        )
        together.setdefault(key, []).append(s)
    rows = []
    for (
        model,
        layer,
        other_model,
        other_layer,
        measure,
        estimator,
        control,
    ), found in together.items():
        values = [s.value for s in found]
        value = float(np.mean(values))
        groups = min(s.groups for s in found)
        folds = max(len(s.by_fold) for s in found)
        half = combine(values, [s.error for s in found], min(groups, folds) if folds else groups)
        low_bound, high_bound = found[0].bounds
        defined = half is not None and math.isfinite(half) and math.isfinite(value)
        rows.append(
            Row(
                study=study,
                model=model,
                layer=layer,
                other_model=other_model,
                other_layer=other_layer,
                property=one.name,
                measure=measure,
                unit=one.unit,
                value=value,
                ci_low=max(low_bound, value - half) if defined and half is not None else None,
                ci_high=min(high_bound, value + half) if defined and half is not None else None,
                n=min(s.n for s in found),
                groups=groups,
                d=found[0].d,
                other_d=found[0].other_d,
                estimator=estimator,
                seed=seed,
                control=control,
            )
        )
    return rows
