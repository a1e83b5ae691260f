"""From scores to rows of the tidy table, with intervals over speakers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstrata.metrics.bootstrap import (
    Interval,
    SpeakerBootstrap,
    percentile_interval,
    relative_difference,
)
from voxstrata.metrics.curve import ErrorCurve, Floats, SortedTrials
from voxstrata.metrics.dcf import DetectionCost
from voxstrata.metrics.eer import DEFINITIONS, equal_error
from voxstrata.results import Row
from voxstrata.verification.drawn import drawn
from voxstrata.verification.prepare import Prepared, System
from voxstrata.verification.settings import VerifyConfig
from voxstrata.verification.trials import Trials

PROPERTY = "verification"

Statistic = Callable[[ErrorCurve], float]


@dataclass(frozen=True)
class Scored:
    """One system under one way of scoring, without the scores themselves: those are many.

    Attributes:
        system: what was scored.
        scoring: "cosine", "cosine-centred" or "as-norm", perhaps with "-crops".
        eers: equal error rate by definition.
        eer: by the chosen definition, with its interval.
        threshold: score above which a trial is accepted there.
        costs: minDCF by prior.
        replicates: [B], that equal error rate in the draws; empty where there are none.
        drawn: what figures need (:mod:`voxstrata.verification.drawn`).
    """

    system: System
    scoring: str
    eers: dict[str, float]
    eer: Interval
    threshold: float
    costs: dict[float, Interval]
    replicates: Floats
    drawn: dict[str, Any]


def measure(
    system: System,
    scoring: str,
    scores: Floats,
    trials: Trials,
    config: VerifyConfig,
    draws: SpeakerBootstrap | None,
) -> Scored:
    """Error rates of one system's scores.

    Args:
        system, scoring: what was scored and how.
        scores: [N].
        trials: the trials.
        config: definition, costs and level.
        draws: of speakers; ``None`` for no intervals.
    """
    curve = SortedTrials(scores, trials.target).curve()
    statistics = _statistics(config)
    values = [statistic(curve) for statistic in statistics]
    if draws is None:
        intervals = [Interval(value, None, None, 0) for value in values]
        replicates = np.empty((0, len(values)))
    else:
        replicates = draws.replicates(scores, trials.target, statistics)
        intervals = [draws.interval(value, replicates[:, at]) for at, value in enumerate(values)]
    return Scored(
        system,
        scoring,
        {name: equal_error(curve, name).value for name in DEFINITIONS},
        intervals[0],
        equal_error(curve, config.definition).threshold,
        dict(zip(config.p_targets, intervals[1:], strict=True)),
        replicates[:, 0],
        drawn(scores, trials.target, curve),
    )


def _statistics(config: VerifyConfig) -> list[Statistic]:
    found: list[Statistic] = [lambda curve: equal_error(curve, config.definition).value]
    for p_target in config.p_targets:
        cost = DetectionCost(p_target, config.c_miss, config.c_fa)
        found.append(lambda curve, cost=cost: cost.least(curve)[0])  # type: ignore[misc]
    return found


def to_rows(
    scored: list[Scored], prepared: Prepared, trials: Trials, draws: SpeakerBootstrap | None
) -> list[Row]:
    """All rows of a run.

    Equal error rates by every definition (``eer-interpolated``, ...: the chosen one has the
    interval), the threshold at the chosen one, ``mindcf-P`` for each prior, and
    ``eer-relative``: how far a model's equal error rate lies below (-) or above (+) that of its
    twin and of each baseline, scored alike, as a fraction.
    """
    config = prepared.config
    groups = draws.speakers if draws is not None else 0
    rows = []
    for one in scored:
        alone = {f"eer-{name}": value for name, value in one.eers.items()}
        alone["eer-threshold"] = one.threshold
        values = {name: Interval(value, None, None, 0) for name, value in alone.items()}
        values[f"eer-{config.definition}"] = one.eer
        values |= {f"mindcf-{p:g}": cost for p, cost in one.costs.items()}
        rows += [_row(one, name, value, config, trials, groups) for name, value in values.items()]
    for one, other in comparisons(scored, prepared):
        found = compare(one, other, groups)
        if np.isfinite(found.value):
            rows.append(_row(one, "eer-relative", found, config, trials, groups, other))
    return rows


def comparisons(scored: list[Scored], prepared: Prepared) -> list[tuple[Scored, Scored]]:
    """Each model beside its twin and the baselines, scored alike."""
    beside = []
    for one in scored:
        if one.system.role != "model":
            continue
        twin = prepared.twins.get(one.system.name)
        beside += [
            (one, other)
            for other in scored
            if other.scoring == one.scoring
            and other is not one
            and (other.system.name == twin or other.system.role == "baseline")
        ]
    return beside


def compare(one: Scored, other: Scored, speakers: int) -> Interval:
    """(EER - EER of the other) / EER of the other, with its interval within draws."""
    value, reference = one.eer.value, other.eer.value
    if not len(one.replicates):
        none = np.full(1, np.nan)
        if reference == 0:
            return Interval(float("nan"), None, None, 0)
        return percentile_interval(value / reference - 1, none, speakers=speakers)
    return relative_difference(
        value, reference, one.replicates, other.replicates, speakers=speakers
    )


def _row(
    one: Scored,
    name: str,
    value: Interval,
    config: VerifyConfig,
    trials: Trials,
    groups: int,
    other: Scored | None = None,
) -> Row:
    return Row(
        study=config.study,
        model=one.system.name,
        layer=one.system.wanted.layer.name,
        other_model=other.system.name if other else "",
        other_layer=other.system.wanted.layer.name if other else "",
        property=PROPERTY,
        measure=name,
        unit="trial",
        value=value.value,
        ci_low=value.low,
        ci_high=value.high,
        n=len(trials),
        groups=groups,
        d=one.system.wanted.width,
        other_d=other.system.wanted.width if other else 0,
        estimator=one.scoring,
        seed=config.seed,
    )
