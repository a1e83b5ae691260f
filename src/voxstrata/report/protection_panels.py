"""The panels of a protection run, for page and print: scores by size, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxstrata.report.figure_lines import COLOURS
from voxstrata.report.neuron_view import NAN
from voxstrata.report.probing_view import Value
from voxstrata.report.probing_words import ends, figure, in_percent, scale
from voxstrata.report.protection_tally import Tally, by_score, condition_label, instead, tally
from voxstrata.report.protection_view import (
    CONDITIONS,
    RIVALS,
    Asked,
    Scored,
    best_plain,
    scores,
    sizes,
    unpruned,
)
from voxstrata.report.view import View
from voxstrata.report.words import property_measure

LOOKS = {"none": COLOURS[1], "protected": COLOURS[0], "random": COLOURS[2]}
"""Colours of conditions; a difference has that of what protection is held against."""

MARKERS = {"none": "square", "protected": "circle", "random": "triangle-up"}
"""Vega's names of markers, so that conditions are told apart without colour too."""

DOUBLING = 4
"""Sizes that span at least this factor stand on a logarithmic axis."""

LEAST = 0.5
"""Points (of %) that the axis of differences reaches at least, on both sides of 0."""

FAR = 0.75
"""Plain features further away than this share of what is drawn do not stretch the axis."""

SIDE = 0.055
"""Distance between conditions of one size, and half of that between seeds at most, as a share of
the axis."""


@dataclass(frozen=True)
class Spot:
    """One point: a model, or a difference of two.

    Attributes:
        x: on the panel's axis.
        value: in the units shown, with its interval.
        clear: drawn filled; hollow where an interval does not tell.
        lines: what is read by pointing at it.
    """

    x: float
    value: Value
    clear: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Points of one kind, and the line of their means over seeds.

    Attributes:
        key: condition, or what protection is held against.
        label: in the legend.
        spots: all points.
        means: (x, mean over seeds) by size.
    """

    key: str
    label: str
    spots: tuple[Spot, ...]
    means: tuple[tuple[float, float], ...]

    @property
    def colour(self) -> str:
        """The same wherever this condition is drawn."""
        return LOOKS[self.key]

    @property
    def marker(self) -> str:
        """The same wherever this condition is drawn."""
        return MARKERS[self.key]


@dataclass(frozen=True)
class Panel:
    """One small figure.

    Attributes:
        kind: "scores" or "differences".
        title: what is drawn upwards.
        sizes: rows left, in order.
        log: whether the axis of sizes is logarithmic (base 2).
        ticks: their places on the axis.
        ends: of that axis.
        series: what is drawn.
        unit: a point of % in the units drawn: 1, or 0.01 for what is not shown in %.
        whole: the unpruned model; ``None`` where it has no score.
        plain: the best plain features, drawn as a dashed line; ``None`` without any, or where
            they are too far away.
        outside: what was too far away, in words.
    """

    kind: str
    title: str
    sizes: tuple[int, ...]
    log: bool
    ticks: tuple[float, ...]
    ends: tuple[float, float]
    series: tuple[Series, ...]
    unit: float = 1.0
    whole: Value | None = None
    plain: tuple[str, float] | None = None
    outside: str = ""


def score_panel(view: View, task: Asked) -> Panel | None:
    """A task's scores by size, a line a condition; ``None`` where no pruned model has one."""
    found = scores(view, task)
    kept = tuple(sizes(view, [s for s in found if math.isfinite(s.score.value)]))
    if not kept:
        return None
    place, log, ends_ = _axis(kept)
    present = [c for c in CONDITIONS if any(s.condition == c for s in found)]
    series = []
    for at, condition in enumerate(present):
        mine = [s for s in found if s.condition == condition and math.isfinite(s.score.value)]
        offset = _offset(at, len(present), ends_)
        spots = [
            _spot(view, task, s, place(s.keep) + offset + _jitter(s.seed, mine, ends_))
            for s in mine
        ]
        by_size = {
            keep: [_shown(task, s.score).value for s in mine if s.keep == keep] for keep in kept
        }
        means = tuple((place(k) + offset, _mean(held)) for k, held in by_size.items() if held)
        label = condition_label(view, condition)
        series.append(Series(condition, label, tuple(spots), means))
    whole = unpruned(found)
    shown = _shown(task, whole) if whole is not None else None
    plain, outside = _plain(task, found, series, shown)
    return Panel(
        "scores", axis_title(task), kept, log, tuple(map(place, kept)), ends_, tuple(series),
        scale(task.measure) / 100, shown, plain, outside,
    )  # fmt: skip


def difference_panel(view: View, task: Asked) -> Panel | None:
    """How much better protection is than each rival, by size and seed; ``None`` without pairs."""
    held = {rival: tally(view, task, rival) for rival in RIVALS}
    held = {rival: one for rival, one in held.items() if one.gaps}
    kept = tuple(sorted({gap.keep for one in held.values() for gap in one.gaps}))
    if not kept:
        return None
    place, log, ends_ = _axis(kept)
    series = []
    for at, (rival, one) in enumerate(held.items()):
        offset = _offset(at, len(held), ends_)
        spots = tuple(
            Spot(
                place(gap.keep) + offset + _jitter(gap.seed, one.gaps, ends_),
                _shown(task, gap.more),
                gap.verdict in ("better", "worse"),
                _difference_lines(view, task, rival, one, gap.keep, gap.seed),
            )
            for gap in one.gaps
        )
        by_size = one.by_size.items()
        means = tuple((place(keep) + offset, scale(task.measure) * v) for keep, v in by_size)
        series.append(Series(rival, rival_label(view, rival), spots, means))
    title = f"protected is better by{' (points)' if in_percent(task.measure) else ''}"
    return Panel(
        "differences", title, kept, log, tuple(map(place, kept)), ends_, tuple(series),
        scale(task.measure) / 100,
    )  # fmt: skip


def axis_title(task: Asked) -> str:
    """ "accuracy, % ↑"."""
    unit = ", %" if in_percent(task.measure) else ""
    return f"{property_measure(task.measure)}{unit} {'↓' if task.lower else '↑'}"


def rival_label(view: View, rival: str) -> str:
    """What protection is held against, in legends."""
    return f"than {instead(view)}" if rival == "random" else f"than pruned {by_score(view)} alone"


def extent(panel: Panel) -> tuple[float, float]:
    """Least and greatest of what is drawn upwards, with a margin."""
    values = _drawn(panel.series, panel.whole)
    if panel.plain is not None:
        values.append(panel.plain[1])
    if panel.kind == "differences":
        # A difference that is nothing must not fill the panel.
        values += [-LEAST * panel.unit, LEAST * panel.unit]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _axis(kept: Sequence[int]) -> tuple[Callable[[int], float], bool, tuple[float, float]]:
    """Place of a size, whether the axis is logarithmic, and its ends."""
    log = min(kept) > 0 and max(kept) >= DOUBLING * min(kept)

    def place(keep: int) -> float:
        return math.log2(keep) if log else float(keep)

    low, high = place(min(kept)), place(max(kept))
    margin = 0.14 * (high - low) if high > low else max(1.0, 0.5 * low)
    return place, log, (low - margin, high + margin)


def _offset(at: int, of: int, ends_: tuple[float, float]) -> float:
    """Conditions of a size stand side by side, so that their intervals can be seen."""
    return (at - (of - 1) / 2) * SIDE * (ends_[1] - ends_[0])


def _jitter(
    seed: int, among: Sequence[Scored] | Sequence[object], ends_: tuple[float, float]
) -> float:
    """Seeds of a condition stand close together."""
    seeds = sorted({int(getattr(one, "seed", 0)) for one in among})
    if len(seeds) < 2:
        return 0.0
    step = min(0.016, 0.5 * SIDE / (len(seeds) - 1)) * (ends_[1] - ends_[0])
    return (seeds.index(seed) - (len(seeds) - 1) / 2) * step


def _spot(view: View, task: Asked, s: Scored, x: float) -> Spot:
    label = condition_label(view, s.condition)
    lines = [f"{s.keep} rows, {label}", f"seed {s.seed}", _read(task, s.score)]
    return Spot(x, _shown(task, s.score), True, tuple(lines))


def _difference_lines(
    view: View, task: Asked, rival: str, one: Tally, keep: int, seed: int
) -> tuple[str, ...]:
    gap = next(g for g in one.gaps if g.keep == keep and g.seed == seed)
    told = {
        "better": "clear of 0",
        "worse": "clear of 0",
        "even": "the interval holds 0" if gap.paired else "the scores' intervals overlap",
        "unknown": "no interval",
    }[gap.verdict]
    return (
        f"protected, {rival_label(view, rival)}",
        f"{keep} rows, seed {seed}",
        _read(task, gap.more, signed=True),
        told,
    )


def _read(task: Asked, value: Value, *, signed: bool = False) -> str:
    text = figure(task.measure, value.value, signed=signed)
    span = ends(task.measure, value, signed=signed)
    return f"{text} (95 %: {span})" if span else f"{text}, no interval"


def _shown(task: Asked, value: Value) -> Value:
    by = scale(task.measure)
    return Value(by * value.value, by * value.low, by * value.high)


def _plain(
    task: Asked, found: Sequence[Scored], series: Sequence[Series], whole: Value | None
) -> tuple[tuple[str, float] | None, str]:
    best = best_plain(task, found)
    if best is None:
        return None, ""
    value = _shown(task, best.score).value
    values = _drawn(series, whole)
    low, high = min(values), max(values)
    room = FAR * (high - low)
    if low - room <= value <= high + room:
        return (best.name, value), ""
    side = "above" if value > high else "below"
    return (
        None,
        f"{best.name} ({figure(task.measure, best.score.value)}) lies {side} what is drawn.",
    )


def _drawn(series: Sequence[Series], whole: Value | None) -> list[float]:
    held = [spot.value for one in series for spot in one.spots]
    held += [whole] if whole is not None else []
    return [x for v in held for x in (v.value, v.low, v.high) if math.isfinite(x)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else NAN
