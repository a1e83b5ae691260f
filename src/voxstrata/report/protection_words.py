"""Sentences about a protection run, each written from paired differences and from null counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from voxstrata.report.neuron_words import called, chance, verdict
from voxstrata.report.probing_words import ends, figure, in_percent
from voxstrata.report.protection_tally import (
    KINDS,
    Tally,
    by_score,
    contrast,
    instead,
    model_label,
    tally,
)
from voxstrata.report.protection_view import (
    RIVALS,
    WHOLE,
    Asked,
    found_counts,
    is_protection,
    protected_count,
    says_little,
    scores,
    tasks,
)
from voxstrata.report.view import View
from voxstrata.report.words import capital, counted, listing

INTERVALS = (
    "Intervals are 95 % percentile intervals over speakers (or recordings) drawn again; those of "
    "differences draw the same for both models. Verification is not paired: intervals of scores."
)
"""What the intervals are, for the section on the run."""

MEASURED = {
    "score": "Of each task's main measure, by a head on the learned sum of all layers: trained on "
    "one part, chosen on another, tested on a third. Of trials: the equal error rate.",
    "difference": "Score of one model less that of another on the same test examples, turned on "
    "this page so that above 0 the protected model is better.",
    "neurons": "Neurons that pass the published rule for exactly one group (Lin et al. 2025, "
    "arXiv 2506.21712), beside the mean, 2.5 and 97.5 % of the same count with labels dealt anew.",
    "cost": "All parameters; floating-point operations of a second of audio, estimated; median "
    "time of a second of audio, measured.",
}
"""What the numbers of a protection run are, for the section on the run."""


def neurons_said(view: View) -> str:
    """How many neurons were protected, and how many chance alone would give."""
    count, number = found_counts(view).get("all"), protected_count(view)
    if not math.isfinite(number):
        return ""
    noun = "neuron" if number == 1 else "neurons"
    lead = f"{called(number)} {noun} of {model_label(view)} {'is' if number == 1 else 'are'} "
    if count is None or not math.isfinite(count.observed):
        return f"{lead}protected; how many chance alone would give is not known."
    if count.observed != number:
        lead += (
            f"protected ({contrast(view)}); the published rule finds {called(count.observed)} in "
            "all groups"
        )
    else:
        lead += f"protected: all that pass the published rule for {contrast(view)}"
    if not count.has_null:
        return f"{lead}; how many chance alone would give is not known."
    text = f"{lead}; labels dealt anew give {chance(count)}: {verdict(count)}"
    if count.verdict == "more" and count.mean > 0:
        part = round(100 * count.mean / count.observed)
        text += f"; chance alone would give {part} % of that number" if part else ""
    return f"{text}."


def held_said(view: View, task: Asked, rival: str) -> str:
    """Protection against one rival in one task; empty where they were not compared. Starts small
    and has no full stop."""
    held = tally(view, task, rival)
    if not held.gaps:
        return ""
    text = _against_random(view, held) if rival == "random" else _against_none(view, held)
    return f"{text} ({_size_said(task, held)})"


def lost_said(view: View, task: Asked) -> str:
    """What pruning takes where nothing is protected: without a loss there is nothing to keep."""
    held = tally(view, task, WHOLE, one="none")
    if not held.gaps:
        return ""
    lead = f"Pruned {by_score(view)} alone, the model"
    size = f" ({_size_said(task, held)})"
    if held.kind == "unknown":
        return f"{lead} is not told apart from the unpruned one, for want of intervals{size}."
    if held.kind == "even":
        return (
            f"{lead} loses nothing that {_intervals(held)} can tell{size}, so there is little "
            "that protection could be seen to keep."
        )
    worse, better = held.count("worse"), held.count("better")
    if worse and not better:
        return f"{lead} does worse than unpruned {_of(worse, held.known)}{size}."
    if better and not worse:
        return f"{lead} does better than unpruned {_of(better, held.known)}{size}."
    return (
        f"{lead} does worse than unpruned in {worse} of {counted(held.known, 'comparison')} and "
        f"better in {better}{size}."
    )


def doubts_said(view: View, task: Asked) -> str:
    """What weakens the comparisons of a task; empty for nothing."""
    helds = [held for rival in RIVALS if (held := tally(view, task, rival)).gaps]
    said = []
    if any(not held.is_paired for held in helds):
        said.append(
            "No paired difference was measured here: two models are told apart if their scores' "
            "intervals share no point, which is cautious."
        )
    if any(held.kind in ("partly", "partly-less") for held in helds):
        said.append(
            "Of many intervals one in twenty is clear of 0 by chance alone, so a few are no "
            "finding by themselves."
        )
    return " ".join(said)


def little_said(view: View, task: Asked) -> str:
    """That a task says little, where the unpruned model is no better than plain features."""
    found = scores(view, task)
    if (plain := says_little(task, found)) is None:
        return ""
    return (
        f"Unpruned, the model is no better here than {plain.name} "
        f"({figure(task.measure, plain.score.value)}), so this task says little about what its "
        "neurons know."
    )


def task_said(view: View, task: Asked) -> str:
    """One task in a sentence or two, for the opening."""
    parts = [text for rival in RIVALS if (text := held_said(view, task, rival))]
    if not parts:
        return ""
    said = [f"{task.label}: {'; '.join(parts)}."]
    if tally(view, task, WHOLE, one="none").kind == "even":
        said.append(lost_said(view, task))
    return " ".join(filter(None, [*said, little_said(view, task)]))


def first_sentence(view: View) -> str:
    """The answer: in which tasks protection keeps more than either rival."""
    said = []
    for rival in RIVALS:
        groups: dict[str, list[tuple[Asked, Tally]]] = {}
        for task in tasks(view):
            if (held := tally(view, task, rival)).gaps:
                groups.setdefault(held.kind, []).append((task, held))
        if not groups:
            continue
        parts = [_told(view, rival, kind, groups[kind]) for kind in KINDS if kind in groups]
        said.append(f"{capital('; '.join(parts))}.")
    if not said:
        return "No model with protected neurons can be held against another one here."
    return " ".join(said)


def protection_lead(view: View) -> str:
    """The page's first sentences; empty for results of another kind."""
    if not is_protection(view):
        return ""
    return " ".join(filter(None, [first_sentence(view), neurons_said(view)]))


def protection_title(view: View) -> str:
    """The page's title."""
    return f"Does protecting neurons keep what {model_label(view)} knows while it is pruned?"


def protection_findings(view: View) -> list[dict[str, Any]]:
    """A bullet a task, as the opening's template wants them."""
    says = [text for task in tasks(view) if (text := task_said(view, task))]
    if not says:
        return []
    return [{"about": "what protection keeps, task by task", "says": says, "cautions": []}]


def points(task: Asked, value: float, unit: str = " points") -> str:
    """A difference in words: "2.1 points better"."""
    if not math.isfinite(value):
        return "no value"
    text = figure(task.measure, abs(value))
    unit = unit if in_percent(task.measure) else ""
    if float(text) == 0:
        return f"{text}{unit} apart"
    return f"{text}{unit} {'better' if value > 0 else 'worse'}"


def _told(view: View, rival: str, kind: str, of: Sequence[tuple[Asked, Tally]]) -> str:
    """One kind of outcome with its tasks, for the first sentence."""
    named = listing([f"{task.title}{_counts(kind, held)}" for task, held in of])
    if rival == "random":
        other = instead(view)
        return {
            "more": f"protecting these neurons keeps more than protecting {other} in {named}",
            "partly": f"protecting these neurons keeps more than protecting {other} only in some "
            f"comparisons of {named}",
            "even": f"protecting {other} does as well, as far as intervals tell, in {named}",
            "mixed": f"protecting these neurons keeps sometimes more, sometimes less than "
            f"protecting {other} in {named}",
            "partly-less": f"protecting {other} keeps more in some comparisons of {named}",
            "less": f"protecting {other} keeps more in {named}",
            "unknown": f"without intervals these neurons cannot be held against {other} in {named}",
        }[kind]
    alone = f"pruning {by_score(view)} alone"
    return {
        "more": f"protection keeps more than {alone} in {named}",
        "partly": f"protection keeps more than {alone} only in some comparisons of {named}",
        "even": f"between protection and {alone} there is no difference that these intervals can "
        f"tell in {named}",
        "mixed": f"protection keeps sometimes more, sometimes less than {alone} in {named}",
        "partly-less": f"protection keeps less than {alone} in some comparisons of {named}",
        "less": f"protection keeps less than {alone} in {named}",
        "unknown": f"without intervals protection cannot be held against {alone} in {named}",
    }[kind]


def _counts(kind: str, held: Tally) -> str:
    if kind in ("unknown", "even") or held.known == 1:
        return ""
    if kind == "mixed":
        return f" ({held.count('better')} and {held.count('worse')} of {held.known} comparisons)"
    return f" ({held.count('better') or held.count('worse')} of {held.known} comparisons)"


def _against_none(view: View, held: Tally) -> str:
    alone = f"pruning {by_score(view)} alone"
    more, less = held.count("better"), held.count("worse")
    if held.kind == "unknown":
        return f"without intervals, protection cannot be held against {alone}"
    if held.kind == "even":
        return f"no difference between protection and {alone} that {_intervals(held)} can tell"
    if held.kind == "mixed":
        return (
            f"protection keeps more than {alone} in {more} and less in {less} of "
            f"{counted(held.known, 'comparison')}: no consistent difference"
        )
    word, number = ("more", more) if more else ("less", less)
    return f"protection keeps {word} than {alone} {_of(number, held.known)}"


def _against_random(view: View, held: Tally) -> str:
    other = f"protecting {instead(view)}"
    more, less = held.count("better"), held.count("worse")
    if held.kind == "unknown":
        return f"without intervals, protecting these neurons cannot be held against {other}"
    if held.kind == "even":
        return f"{other} does as well, as far as {_intervals(held)} can tell"
    if held.kind == "mixed":
        return (
            f"protecting these neurons keeps more than {other} in {more} and less in {less} of "
            f"{counted(held.known, 'comparison')}: no consistent difference"
        )
    if more:
        return f"protecting these neurons keeps more than {other} {_of(more, held.known)}"
    return f"{other} keeps more {_of(less, held.known)}"


def _intervals(held: Tally) -> str:
    return "this interval" if held.known == 1 and held.is_paired else "these intervals"


def _of(number: int, known: int) -> str:
    """ "in 4 of 6 comparisons", "in all 6 comparisons"."""
    if known == 1:
        return "in the one comparison"
    if number == known:
        return f"in {'both' if known == 2 else f'all {known}'} comparisons"
    return f"in {number} of {known} comparisons"


def _size_said(task: Asked, held: Tally) -> str:
    """The mean difference, and the sizes where it is least and greatest."""
    if len(held.gaps) == 1:
        more = held.gaps[0].more
        span = ends(task.measure, more, signed=True)
        beside = f"; 95 %: {span}, + is better" if span else _unpaired(held)
        return f"{points(task, more.value)}{beside}"
    number = counted(len(held.gaps), "comparison")
    many = f"{number}, " if held.kind in ("even", "unknown") else ""
    text, by_size = f"{many}on average {points(task, held.mean)}", held.by_size
    if len(by_size) < 2:
        return text + _unpaired(held)
    low, high = min(by_size, key=lambda k: by_size[k]), max(by_size, key=lambda k: by_size[k])
    if low == high:
        return text + _unpaired(held)
    return (
        f"{text}: from {points(task, by_size[low], '')} at {low} rows to "
        f"{points(task, by_size[high], '')} at {high}{_unpaired(held)}"
    )


def _unpaired(held: Tally) -> str:
    return "" if held.is_paired else "; not paired"
