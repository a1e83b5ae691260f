"""Reading curves: where each model is best, what that is told apart from, what stands beside it.

No number is made here: every value is a value of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.report.curve_view import Point, Variant, positions, relative
from voxstrata.report.view import View


@dataclass(frozen=True)
class Peak:
    """The best layer of one model in one measure.

    Attributes:
        model: position in ``View.models``.
        point: the best layer; the first of equals.
        rest: the other layers with a value, in order of depth.
        tied: those of ``rest`` whose interval overlaps the peak's.
        unknown: those of ``rest`` of which that cannot be told, for want of an interval.
    """

    model: int
    point: Point
    rest: tuple[Point, ...]
    tied: tuple[Point, ...]
    unknown: tuple[Point, ...]

    @property
    def is_flat(self) -> bool:
        """Whether no other layer is told apart from the best one."""
        return len(self.tied) + len(self.unknown) == len(self.rest)

    @property
    def is_marked(self) -> bool:
        """Whether figures mark it: not where all other layers' intervals overlap its own."""
        return len(self.tied) < len(self.rest)


@dataclass(frozen=True)
class Beside:
    """A control of a peak.

    Attributes:
        control: its name.
        point: its value at the peak's layer.
        exceeded: whether the peak is clear of it; ``None`` where it is better but has no
            interval to tell by, and for measures of which neither high nor low is better.
    """

    control: str
    point: Point
    exceeded: bool | None


def overlaps(a: Point, b: Point) -> bool | None:
    """Whether two intervals share a point; ``None`` where one of them is missing."""
    if not (a.has_interval and b.has_interval):
        return None
    return a.low <= b.high and b.low <= a.high


def peak(variant: Variant, model: int) -> Peak | None:
    """The best layer of ``model``; ``None`` where it has no value."""
    curve = variant.curve(model)
    known = curve.known if curve is not None else []
    if not known:
        return None
    best = _best(known, higher=variant.higher_is_better)
    rest = tuple(p for p in known if p is not best)
    return Peak(
        model=model,
        point=best,
        rest=rest,
        tied=tuple(p for p in rest if overlaps(best, p) is True),
        unknown=tuple(p for p in rest if overlaps(best, p) is None),
    )


def peaks(view: View, variant: Variant) -> list[Peak]:
    """The peaks of all trained models, best first; equal values keep the order of the stack."""
    found = [
        top
        for curve in variant.curves
        if view.models[curve.model].twin_of is None
        if (top := peak(variant, curve.model)) is not None
    ]
    sign = -1 if variant.higher_is_better else 1
    return sorted(found, key=lambda top: sign * top.point.value)


def twin_of(view: View, model: int) -> int | None:
    """The untrained twin of ``model`` on the page, if any."""
    return view.models[model].twin


def controls_at(variant: Variant, top: Peak) -> list[Beside]:
    """The controls at the layer of a peak."""
    found = []
    for curve in variant.controls_of(top.model):
        point = next((p for p in curve.known if p.layer == top.point.layer), None)
        if point is not None:
            higher = variant.higher_is_better
            clear = exceeds(top.point, point, higher=higher) if variant.is_ranking else None
            found.append(Beside(curve.control, point, clear))
    return found


def exceeds(value: Point, other: Point, *, higher: bool) -> bool | None:
    """Whether ``value`` is better than ``other`` beyond their intervals.

    A side without an interval counts as exact if the other has one; ``None`` where ``value`` is
    better and neither has.
    """
    better = value.value > other.value if higher else value.value < other.value
    if not better:
        return False
    if not (value.has_interval or other.has_interval):
        return None
    low, high = _ends(value)
    other_low, other_high = _ends(other)
    return low > other_high if higher else high < other_low


def depths(view: View) -> list[tuple[float, float]]:
    """For every layer of the page its place on the numbered and on the relative axis."""
    found: list[tuple[float, float]] = []
    for model in range(len(view.models)):
        at = positions([layer.name for layer in view.layers if layer.model == model])
        found += zip(at, relative(at), strict=True)
    return found


def control_names(view: View) -> list[str]:
    """Every control on the page, in the order of first use: its place gives its line pattern."""
    return list(
        dict.fromkeys(c.control for p in view.curves for v in p.variants for c in v.controls)
    )


def looks(view: View) -> list[tuple[int, bool]]:
    """For every model its number among the trained ones, which a twin shares, and whether it is
    drawn as untrained."""
    trained = [i for i, m in enumerate(view.models) if m.twin_of is None]
    number = {model: k for k, model in enumerate(trained)}
    found = []
    for i, model in enumerate(view.models):
        owner = i if model.twin_of is None else model.twin_of
        found.append((number.get(owner, 0), model.random or model.twin_of is not None))
    return found


def in_order(view: View) -> list[int]:
    """Models with each twin behind its model."""
    models = range(len(view.models))
    owner = {i: view.models[i].twin_of for i in models}
    return sorted(models, key=lambda i: (i if owner[i] is None else owner[i], owner[i] is not None))


def _best(points: Sequence[Point], *, higher: bool) -> Point:
    return max(points, key=lambda p: p.value) if higher else min(points, key=lambda p: p.value)


def _ends(point: Point) -> tuple[float, float]:
    return (point.low, point.high) if point.has_interval else (point.value, point.value)
