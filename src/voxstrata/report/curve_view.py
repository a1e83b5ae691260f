"""Properties of layers, read from the table: a curve for each model, controls beside it.

Nothing is measured here: rows are only put where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ResultsError
from voxstrata.report.reading import mappings, slug
from voxstrata.report.words import ESTIMATORS, estimator_label, property_measure

if TYPE_CHECKING:
    import pandas as pd

JOB = "properties"
PROBING = "probing"
"""The jobs whose results folders hold curves."""

SCREEN, ON_TEST = "screen", "test-selected"
"""Estimators of probing: heads trained shortly to choose a layer; chosen on test."""

GROUPS = (
    *("acoustic", "phonetic", "lexical", "semantic", "speaker"),
    *("disentanglement", "task"),
)
"""Headings in the order of the page; unknown groups follow."""

LOWER_IS_BETTER = (
    *("error", "error-rate", "distance", "eer", "per", "wer", "wer-lm", "cer", "der", "loss"),
    *("cross-entropy", "cross-entropy-bits"),
)
"""Endings of measures of which less is better."""

NEITHER_IS_BETTER = (
    *("gap", "overlap", "angle-smallest", "phone-in-speaker", "speaker-in-phone"),
    *("share-rest", "share-rest-corrected", "share-interaction", "share-interaction-corrected"),
    *("layer-weight", "layer-weight-by-norm", "lost-without-layer"),
)
"""Measures that describe a layer without ranking it: figures and sentences give their values and
controls, and no verdict against controls."""

Place = Mapping[tuple[str, str], tuple[int, int]]
"""(model spec, layer name) to positions in ``View.models`` and ``View.layers``."""


@dataclass(frozen=True)
class Point:
    """One number about one layer.

    Attributes:
        layer: position in ``View.layers``.
        value, low, high: value and ends of the 95 % interval; NaN where there is none.
        n: rows (or pairs) that entered.
        groups: independent groups behind the interval.
        d, other_d: widths of the layer as it entered and of the other side.
        other: what the layer was held against, if that was a layer.
    """

    layer: int
    value: float
    low: float
    high: float
    n: int
    groups: int
    d: int
    other_d: int
    other: str = ""

    @property
    def has_value(self) -> bool:
        """Whether the value is finite."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Curve:
    """Points of one model, in order of depth.

    Attributes:
        model: position in ``View.models``.
        control: "" for the values, else which control.
        points: one a layer.
    """

    model: int
    control: str
    points: tuple[Point, ...]

    @property
    def known(self) -> list[Point]:
        """Points with a value."""
        return [p for p in self.points if p.has_value]


@dataclass(frozen=True)
class Variant:
    """One measure of a property by one estimator.

    Attributes:
        key: identifies it within its property.
        measure, estimator, unit: as in the table.
        label: for axes and lists.
        higher_is_better: ``False`` for error rates and distances.
        is_ranking: ``False`` where neither high nor low is better.
        curves: values, one a model, in stack order.
        controls: controls, by model and name.
    """

    key: str
    measure: str
    estimator: str
    unit: str
    label: str
    higher_is_better: bool
    is_ranking: bool
    curves: tuple[Curve, ...]
    controls: tuple[Curve, ...]

    @property
    def axis(self) -> str:
        """Title of an axis."""
        return self.label if self.higher_is_better else f"{self.label} (lower is better)"

    def curve(self, model: int) -> Curve | None:
        """The values of one model."""
        return next((c for c in self.curves if c.model == model), None)

    def controls_of(self, model: int) -> list[Curve]:
        """The controls of one model, in the order of the table."""
        return [c for c in self.controls if c.model == model]


@dataclass(frozen=True)
class PropertyCurves:
    """One property of all models.

    Attributes:
        key: anchor and file name.
        name: what the user typed.
        title: for headings.
        group: heading it belongs under.
        unit: the unit it was drawn from.
        variants: its measures; the one its curve shows comes first.
        facts: facts of each draw.
        notices: what the run said about it.
    """

    key: str
    name: str
    title: str
    group: str
    unit: str
    variants: tuple[Variant, ...]
    facts: tuple[Mapping[str, Any], ...] = field(default=())
    notices: tuple[str, ...] = field(default=())

    @property
    def main(self) -> Variant:
        """The measure that is shown first."""
        return self.variants[0]


def property_rows(table: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a table that are curves; none for results of another job."""
    if record.get("job") == PROBING:
        # Sums of layers and what they are held against are no points of a curve; sums over
        # several models ("a + b") are no models.
        known = {str(entry.get("spec")) for entry in mappings(record.get("models"))}
        single = ~table["layer"].str.startswith("weighted-sum")
        rows = table[single & ~table["measure"].str.endswith("-over-other-model")]
        return rows[rows["model"].isin(known)] if known else rows
    if record.get("job") != JOB:
        return table.iloc[:0]
    return table[(table["property"] != "similarity") & (table["model"] != "")]


def read_curves(
    rows: pd.DataFrame, record: Mapping[str, Any], place: Place
) -> tuple[PropertyCurves, ...]:
    """Curves of every property, in the order of groups and of the record.

    Args:
        rows: as given by :func:`property_rows`.
        record: the run record.
        place: where each layer stands.

    Raises:
        ResultsError: two values for one layer, measure, estimator and control.
    """
    told = {str(entry.get("name")): entry for entry in mappings(record.get("properties"))}
    present = list(dict.fromkeys(rows["property"]))
    names = [n for n in told if n in present] + [n for n in present if n not in told]
    taken: set[str] = set()
    found = []
    for name in names:
        entry = told.get(name, {})
        part = rows[rows["property"] == name]
        variants = _variants(part, entry, place)
        if not variants:
            continue
        facts = entry.get("facts")
        found.append(
            PropertyCurves(
                key=slug([name], taken),
                name=name,
                title=str(entry.get("title") or name),
                group=str(entry.get("group") or "other"),
                unit=str(entry.get("unit") or variants[0].unit),
                variants=variants,
                facts=tuple(mappings([facts] if isinstance(facts, Mapping) else facts)),
                notices=tuple(str(text) for text in _list(entry.get("notices"))),
            )
        )
    order = [*GROUPS, *dict.fromkeys(p.group for p in found if p.group not in GROUPS)]
    return tuple(sorted(found, key=lambda p: order.index(p.group)))


def _variants(part: pd.DataFrame, entry: Mapping[str, Any], place: Place) -> tuple[Variant, ...]:
    """The main measure first, then as in the table; estimators in the page's order."""
    keys = ["study", "measure", "estimator", "unit", "seed"]
    several = {key for key in ("study", "unit", "seed") if part[key].nunique() > 1}
    taken: set[str] = set()
    found: list[Variant] = []
    for values, mine in part.groupby(keys, sort=False, dropna=False):
        study, measure, estimator, unit, seed = (str(text) for text in values)
        extra = [
            f"{k} {v}"
            for k, v in (("study", study), ("unit", unit), ("seed", seed))
            if k in several
        ]
        for against, cut in _against(mine):
            values_, controls = cut[cut["control"] == ""], cut[cut["control"] != ""]
            if values_.empty:
                continue
            beside = [*filter(None, [estimator_label(estimator), against]), *extra]
            found.append(
                Variant(
                    key=slug([measure, estimator, against, *extra], taken),
                    measure=measure,
                    estimator=estimator,
                    unit=unit,
                    label=", ".join([property_measure(measure), *beside]),
                    higher_is_better=_higher_is_better(measure, entry),
                    is_ranking=measure not in NEITHER_IS_BETTER,
                    curves=_curves(values_, place, measure),
                    controls=_curves(controls, place, measure),
                )
            )
    rank = {name: i for i, name in enumerate(ESTIMATORS)}
    measures = list(dict.fromkeys([str(entry.get("main", "")), *part["measure"]]))
    # A curve of every layer comes before the one layer of each model that was trained at length.
    alone = {v.key: all(len(c.points) == 1 for c in v.curves) for v in found}
    screened = {v.measure for v in found if v.estimator == SCREEN and not alone[v.key]}
    found.sort(
        key=lambda v: (
            measures.index(v.measure),
            v.measure in screened and alone[v.key],
            rank.get(v.estimator, len(rank)),
        )
    )
    return tuple(found)


def _against(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows cut by the other model, or by the other layer, only where one layer would else have
    two values."""
    named = rows["other_model"] != ""
    # A layer held against layers of its own model reads "against 0"; other models are named.
    own = rows["other_layer"].where(rows["other_model"] == rows["model"])
    by_model = rows["other_model"]
    by_layer = own.fillna(rows["other_model"] + "/" + rows["other_layer"]).where(named, "")
    for other in (by_model, by_layer):
        if not rows.duplicated(["model", "layer", "control"]).any():
            break
        parts = [(str(name), part) for name, part in rows.groupby(other, sort=False)]
        if other is by_layer or not any(
            part.duplicated(["model", "layer", "control"]).any() for _, part in parts
        ):
            return [(f"against {name}" if name else "", part) for name, part in parts]
    return [("", rows)]


def _curves(rows: pd.DataFrame, place: Place, measure: str) -> tuple[Curve, ...]:
    found: dict[tuple[int, str], dict[int, Point]] = {}
    columns = (
        *("model", "layer", "control", "value", "ci_low", "ci_high", "n", "groups", "d"),
        *("other_d", "other_model", "other_layer"),
    )
    for row in rows[list(columns)].to_dict("records"):
        model, layer = place[row["model"], row["layer"]]
        points = found.setdefault((model, str(row["control"])), {})
        if layer in points:
            raise ResultsError(
                f"the table gives two values for one layer ({measure})",
                got=f"{row['model']}, layer {row['layer']}, twice",
                expected="one row a layer, property, measure, estimator, unit, seed and control",
                fix="remove the duplicate rows",
            )
        other = f"{row['other_model']}/{row['other_layer']}" if row["other_model"] else ""
        points[layer] = Point(
            layer=layer,
            value=float(row["value"]),
            low=float(row["ci_low"]),
            high=float(row["ci_high"]),
            n=int(row["n"]),
            groups=int(row["groups"]),
            d=int(row["d"]),
            other_d=int(row["other_d"]),
            other=other,
        )
    names = list(dict.fromkeys(control for _, control in found))
    return tuple(
        Curve(model, control, tuple(points[layer] for layer in sorted(points)))
        for (model, control), points in sorted(
            found.items(), key=lambda item: (item[0][0], names.index(item[0][1]))
        )
    )


def _higher_is_better(measure: str, entry: Mapping[str, Any]) -> bool:
    if entry.get("better") in ("low", "lower") and measure == entry.get("main"):
        return False
    return not measure.startswith(("mindcf", "min-dcf")) and not any(
        measure == ending or measure.endswith(f"-{ending}") for ending in LOWER_IS_BETTER
    )


def positions(names: Sequence[str]) -> list[float]:
    """Where the layers of one model stand on a numbered axis.

    A layer whose name is a number stands there (layer 9 of any model at 9); what comes before
    the first of these (the local encoder) stands below it in whole steps; what lies between or
    after them (a final norm) at fractions. Names without numbers are counted from 0.

    Args:
        names: layer names, in order of depth.
    """
    numbered = {i: int(name) for i, name in enumerate(names) if name.isascii() and name.isdigit()}
    if not numbered or list(numbered.values()) != sorted(set(numbered.values())):
        return [float(i) for i in range(len(names))]
    marks = [*numbered, len(names)]
    first = marks[0]
    found = [float(numbered[first] - (first - i)) for i in range(first)]
    for here, after in pairwise(marks):
        step = 1 / (after - here)
        found += [numbered[here] + k * step for k in range(after - here)]
    return found


def relative(at: Sequence[float]) -> list[float]:
    """Positions with 0 for the layer at 0 (or the first above it) and 1 for the last; what lies
    before it is below 0. A single layer is at 0."""
    start = next((x for x in at if x >= 0), 0.0)
    span = at[-1] - start if at else 0.0
    return [(x - start) / span if span > 0 else 0.0 for x in at]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
