"""What a claim is: comparisons with intervals and controls, and the verdict that follows from them.

No text of a study's page states a finding that is not made here or in a claim's own function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from voxstrata.studies.claims.evidence import Evidence

Verdict = Literal["supported", "not supported", "cannot tell"]

TWIN, PERMUTATION = "untrained twin", "permutation"
CONTROLS = (TWIN, PERMUTATION)
"""What every effect must exceed: the same number from models that learned nothing, and from labels
(or orders, or memberships) dealt anew."""


@dataclass(frozen=True)
class Effect:
    """One comparison that a claim rests on, turned so that the paper's finding is positive.

    Attributes:
        what: what is compared, in words ("SID accuracy, speaker models less speech models").
        value: the difference, correlation or ratio less one; NaN where it could not be made.
        low, high: ends of its 95 % interval; NaN where there is none.
        controls: the same number under each of :data:`CONTROLS`; a missing or NaN one was not run.
        notes: what a doubt says besides, by control: why it was not run, or why it cannot be
            exceeded.
        n: independent units behind the interval (test speakers, models, layers).
        unit: what ``n`` counts ("speakers", "models").
        missing: why it could not be made; "" where it could.
    """

    what: str
    value: float
    low: float = math.nan
    high: float = math.nan
    controls: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    unit: str = ""
    missing: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Supported or not only where the interval excludes zero and both controls are exceeded."""
        if self.doubt:
            return "cannot tell"
        return "supported" if self.value > 0 else "not supported"

    @property
    def doubt(self) -> str:
        """Why nothing can be told; "" where something can."""
        if self.missing or not math.isfinite(self.value):
            return self.missing or "there is no value"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "there is no interval"
        if self.low <= 0 <= self.high:
            return "the interval holds zero"
        sign = 1.0 if self.value > 0 else -1.0
        for name in CONTROLS:
            control = self.controls.get(name, math.nan)
            note = f": {self.notes[name]}" if self.notes.get(name) else ""
            if not math.isfinite(control):
                return f"the control ({name}) was not run{note}"
            if sign * self.value <= sign * control:
                return f"the control ({name}) shows as much{note}"
        return ""


@dataclass(frozen=True)
class Claimed:
    """A claim held against results.

    Attributes:
        name: of the claim, as a study file names it.
        title: the claim in a few words.
        paper: what the paper found, and where (paper, table or figure).
        effects: the comparisons; a claim is supported if all are, not supported if one is not.
        found: sentences about what this run found, made from the numbers.
        tables: further numbers to look at, by title: lists of flat mappings.
    """

    name: str
    title: str
    paper: str
    effects: tuple[Effect, ...]
    found: tuple[str, ...] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Of all effects together."""
        return joint([effect.verdict for effect in self.effects])


def joint(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: supported if all are, not supported if one is not."""
    if "not supported" in verdicts:
        return "not supported"
    if verdicts and all(one == "supported" for one in verdicts):
        return "supported"
    return "cannot tell"


Claim = Callable[["Evidence"], Claimed]
"""A small function over results."""
