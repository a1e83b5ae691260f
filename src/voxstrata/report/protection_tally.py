"""Comparisons of a protection run, counted, and what its conditions are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voxstrata.report.neuron_view import NAN
from voxstrata.report.protection_view import BY, PROTECTED, WHOLE, Asked, Gap, gaps
from voxstrata.report.view import View
from voxstrata.report.words import short_label

KINDS = ("more", "partly", "even", "mixed", "partly-less", "less", "unknown")
"""How the comparisons of a task came out, in the order in which the first sentence tells them."""

INSTEAD = {"norm": "other neurons of the same weight", "score": "other neurons of like score"}
"""What is protected instead, where it is not drawn at random."""


@dataclass(frozen=True)
class Tally:
    """All comparisons of two conditions in one task.

    Attributes:
        gaps: by size and seed.
    """

    gaps: tuple[Gap, ...]

    def count(self, verdict: str) -> int:
        """How many came out so."""
        return sum(gap.verdict == verdict for gap in self.gaps)

    @property
    def known(self) -> int:
        """Comparisons that have intervals."""
        return len(self.gaps) - self.count("unknown")

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`; "partly" where at most half of the intervals are clear of 0."""
        more, less = self.count("better"), self.count("worse")
        if not self.known:
            return "unknown"
        if more and less:
            return "mixed"
        if more:
            return "more" if 2 * more > self.known else "partly"
        if less:
            return "less" if 2 * less > self.known else "partly-less"
        return "even"

    @property
    def is_paired(self) -> bool:
        """Whether the intervals are of differences."""
        return all(gap.paired for gap in self.gaps)

    @property
    def mean(self) -> float:
        """Mean difference over sizes and seeds; above 0: the first is better."""
        return sum(gap.more.value for gap in self.gaps) / len(self.gaps) if self.gaps else NAN

    @property
    def by_size(self) -> dict[int, float]:
        """Rows left to the mean difference over seeds."""
        found: dict[int, list[float]] = {}
        for gap in self.gaps:
            found.setdefault(gap.keep, []).append(gap.more.value)
        return {keep: sum(values) / len(values) for keep, values in sorted(found.items())}


def tally(view: View, task: Asked, rival: str, one: str = PROTECTED) -> Tally:
    """Protection (or another condition) held against a rival in one task."""
    return Tally(tuple(gaps(view, task, one, rival)))


def model_label(view: View) -> str:
    """The model's short name."""
    config, model = view.record.get("config"), view.record.get("model")
    spec = config.get("model") if isinstance(config, Mapping) else None
    spec = spec or (model.get("spec") if isinstance(model, Mapping) else None)
    return short_label(str(spec)) if spec else "the model"


def contrast(view: View) -> str:
    """What tells the protected neurons apart, with the group where it is one alone."""
    config = view.record.get("config")
    config = config if isinstance(config, Mapping) else {}
    group = f", group {config['group']}" if config.get("group") is not None else ""
    return f"{config.get('contrast') or 'a contrast'}{group}"


def by_score(view: View) -> str:
    """How rows are chosen to go: "by weight"."""
    config = view.record.get("config")
    score = str(config.get("score", "")) if isinstance(config, Mapping) else ""
    return BY.get(score, f"by {score}" if score else "by its score")


def instead(view: View) -> str:
    """What the condition "random" protects."""
    config = view.record.get("config")
    control = config.get("control") if isinstance(config, Mapping) else None
    return INSTEAD.get(str(control), "random neurons")


def condition_label(view: View, condition: str) -> str:
    """A condition as tables and legends call it."""
    return {
        "none": f"pruned {by_score(view)} alone",
        PROTECTED: "protected",
        "random": f"{instead(view)} protected",
        WHOLE: "unpruned",
    }.get(condition, condition)
