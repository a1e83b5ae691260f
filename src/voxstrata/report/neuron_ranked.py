"""Neurons ranked by several methods: how few are enough, and what the rankings agree on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.report.neuron_view import JOB, NAN
from voxstrata.report.view import View
from voxstrata.report.words import number

if TYPE_CHECKING:
    import pandas as pd

SUBSET, MINIMAL, PROBE, SPEARMAN = (
    "subset-accuracy",
    "minimal-subset",
    "probe-accuracy",
    "ranking-spearman",
)
WHICH = ("top", "random", "bottom")

Curves = Mapping[str, tuple[tuple[int, float], ...]]
"""Which neurons to (number of neurons, accuracy), by number."""

SELECTIVE = 0.05
"""Difference of accuracies below which the page says that a probe knows no more than speakers."""


@dataclass(frozen=True)
class Ranked:
    """One layer of one contrast of one model.

    Attributes:
        model: position in ``View.models``.
        contrast, layer: names.
        trained: accuracy of probes trained anew on some neurons.
        masked: accuracy of the probe of all neurons, the others masked.
        guess: accuracy of always naming the commonest group of the training part, or of naming
            any group, whichever is better; NaN where neither is known.
        minimal: neurons that are enough; NaN where it is not known.
        ranking: by what they were taken.
        accuracy, control: of a probe whose speakers are in training and test alike, with the labels
            as they are, and with random labels of the speakers; NaN where there is none.
        agreement: two rankings to Spearman's correlation of their scores.
        units: recordings or speakers behind it.
        width: neurons of the layer.
    """

    model: int
    contrast: str
    layer: str
    trained: Curves
    masked: Curves
    guess: float
    minimal: float
    ranking: str
    accuracy: float
    control: float
    agreement: Mapping[tuple[str, str], float]
    units: int
    width: int

    @property
    def full(self) -> float:
        """Accuracy of all neurons; NaN where it is not known."""
        points = self.trained.get("top", ())
        return points[-1][1] if points else NAN


def read_ranked(view: View) -> list[Ranked]:
    """Every ranked layer, contrasts in the order of the table; empty without rankings."""
    if view.record.get("job") != JOB:
        return []
    table = view.table
    rows = table[table["measure"].isin([SUBSET, MINIMAL, PROBE, SPEARMAN])]
    place = {model.spec: at for at, model in enumerate(view.models)}
    groups = {(s.model, s.contrast): len(s.groups) for s in view.selections}
    return [
        _layer(place[str(spec)], str(name), str(layer), part, groups)
        for (spec, name, layer), part in rows.groupby(["model", "property", "layer"], sort=False)
        if str(spec) in place
    ]


def methods(found: list[Ranked]) -> list[str]:
    """Names of the rankings, in order of first mention."""
    return list(dict.fromkeys(name for one in found for pair in one.agreement for name in pair))


def mean_agreement(found: list[Ranked], one: str, other: str) -> float:
    """Mean of Spearman's correlation over layers; NaN where it is not known."""
    values = [a.get((one, other), a.get((other, one), NAN)) for a in (f.agreement for f in found)]
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else NAN


def enough_said(view: View, found: list[Ranked]) -> str:
    """How few neurons are enough for one contrast of one model; empty where it is not known."""
    known = [one for one in found if math.isfinite(one.minimal) and math.isfinite(one.full)]
    if not known:
        return ""
    best = max(known, key=lambda one: (one.full, -one.minimal))
    text = (
        f"{best.contrast}: a linear probe on all {best.width:,} neurons of {best.layer}, where it "
        f"is best, is right for {number(best.full)} of recordings"
    )
    if math.isfinite(best.guess):
        text += f" (guessing: {number(best.guess)})"
        if best.full <= best.guess:
            return f"{text}: no better than guessing, so that no number of neurons is enough."
    if best.minimal >= best.width:
        return f"{text}; fewer are not as good."
    top = "top neuron is" if best.minimal == 1 else f"top {int(best.minimal):,} neurons are"
    text += f"; the {top} as good within 0.01"
    at_random = dict(best.trained.get("random", ())).get(int(best.minimal), NAN)
    if math.isfinite(at_random):
        text += f", random ones of that number reach {number(at_random)}"
    return f"{text}."


def selective_said(found: list[Ranked]) -> str:
    """Whether the probe knows the groups or its speakers one by one; empty without a control."""
    known = [f for f in found if math.isfinite(f.accuracy) and math.isfinite(f.control)]
    if not known:
        return ""
    gaps = [one.accuracy - one.control for one in known]
    if max(gaps) < 0:
        span = f"{number(-max(gaps))} to {number(-min(gaps))}"
        return (
            f"{known[0].contrast}: where speakers of the test are in training, a probe learns "
            f"random labels of speakers better than these groups, by {span} over layers: speakers "
            "are told apart more easily."
        )
    low, high = number(min(gaps)), number(max(gaps))
    span = f"{low} to {high}" if low != high else low
    text = (
        f"{known[0].contrast}: where speakers of the test are in training, a probe is right more "
        f"often than one of random labels of speakers by {span} over layers"
    )
    if max(gaps) < SELECTIVE:
        return (
            f"{text}: it can as well have learned each speaker by heart, so that its accuracy says "
            "nothing of the groups."
        )
    return f"{text}."


def _layer(
    model: int,
    contrast: str,
    layer: str,
    part: pd.DataFrame,
    groups: Mapping[tuple[int, str], int],
) -> Ranked:
    subset = part[(part["measure"] == SUBSET) & (part["control"] == "")]
    guess = part[(part["measure"] == SUBSET) & (part["control"] == "majority")]
    minimal = part[part["measure"] == MINIMAL]
    probe = part[part["measure"] == PROBE]
    pairs = part[(part["measure"] == SPEARMAN) & (part["control"] == "")]
    evenly = 1 / groups[model, contrast] if groups.get((model, contrast)) else NAN
    agreement = {}
    for of, value in zip(pairs["other_layer"], pairs["value"], strict=True):
        one, _, other = str(of).partition(" ~ ")
        agreement[one, other] = float(value)
    return Ranked(
        model=model,
        contrast=contrast,
        layer=layer,
        trained=_curves(subset[subset["estimator"] == "trained"]),
        masked=_curves(subset[subset["estimator"] == "masked"]),
        guess=max(evenly, _first(guess["value"]), key=lambda v: v if math.isfinite(v) else -1.0),
        minimal=_first(minimal["value"]),
        ranking=str(minimal["other_layer"].iloc[0]) if len(minimal) else "",
        accuracy=_first(probe[probe["control"] == ""]["value"]),
        control=_first(probe[probe["control"] != ""]["value"]),
        agreement=agreement,
        units=int(part["groups"].max()),
        width=int(part["d"].max()),
    )


def _curves(rows: pd.DataFrame) -> dict[str, tuple[tuple[int, float], ...]]:
    return {
        which: tuple(
            sorted(
                (int(size), float(value))
                for size, value in zip(mine["other_d"], mine["value"], strict=True)
            )
        )
        for which in WHICH
        if len(mine := rows[rows["other_layer"] == which])
    }


def _first(values: Any) -> float:
    return float(values.iloc[0]) if len(values) else NAN
