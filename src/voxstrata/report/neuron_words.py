"""Sentences about neurons that tell groups apart, each written from observed and null counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from voxstrata.report.neuron_view import EVERY, JOB, Count, Match, Selection
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing

RATE = 5
"""False discovery rate of the tests, in per cent, as the run counts them."""

FEW = 100
"""Labellings below which the page says that p cannot be small."""

NAMED = 4
"""Contrasts that the first sentence names with their numbers, of each kind."""

MEASURED = {
    "neurons": "Neurons that pass the published rule for exactly one group (Lin et al. 2025, "
    "arXiv 2506.21712): more active than chance in at least the given share of that group's rows. "
    "Beside them the mean, 2.5 and 97.5 % of the same count with labels dealt anew.",
    "p": "(1 + dealings with at least as many) / (1 + dealings), of each contrast by itself.",
    "tested neurons": "Pairs of a neuron and a group whose recordings (or speakers) use it more, "
    "by rank (AUC), at a false discovery rate of 5 % over all neurons, groups and layers.",
    "Jaccard index of halves": "Neurons found in both halves of the recordings over neurons found "
    "in either; the interval is the spread over random halvings.",
    "silhouette": "How much nearer rows (a phone said by a group, say) are to rows of their own "
    "group than to the nearest other one, -1 to 1 (Rousseeuw 1987).",
}
"""What the numbers of a neurons run are, for the section on the run."""

INTERVALS = (
    "Ranges beside counts are 2.5 to 97.5 % of the dealings: where the count lies if there is "
    "nothing to find. Ranges of halves are the spread over halvings. Intervals of clusters "
    "against classes are 95 % percentile intervals over speakers (or recordings) drawn again."
)


def is_neurons(view: View) -> bool:
    """Whether these are results of ``voxstrata neurons``."""
    return view.record.get("job") == JOB


def trained(view: View) -> list[Selection]:
    """Selections of models that are nobody's twin."""
    return [s for s in view.selections if view.models[s.model].twin_of is None]


def twin_of(view: View, selection: Selection) -> Selection | None:
    """The same contrast of the model's untrained twin, if it is here."""
    twin = view.models[selection.model].twin
    found = (s for s in view.selections if s.model == twin and s.contrast == selection.contrast)
    return next(found, None) if twin is not None else None


def called(value: float) -> str:
    """A count, or the mean of counts, for reading: "135", "15.9", "1,204"."""
    if not math.isfinite(value):
        return "no value"
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.05 else f"{value:.2f}"


def chance(count: Count) -> str:
    """ "101 (80 to 135)": the mean, and the whole numbers inside the band."""
    low, high = math.ceil(count.low), math.floor(count.high)
    if low > high:
        return f"{called(count.mean)} ({called(count.low)} to {called(count.high)})"
    return f"{called(count.mean)} ({low:,} to {high:,})"


def p_value(p: float) -> str:
    """ "p = 0.03"; empty where there is none."""
    if not math.isfinite(p):
        return ""
    return f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def dealt(selection: Selection) -> str:
    """What was dealt anew, and to what."""
    if selection.moved in ("speaker", "recording"):
        return f"labels dealt anew to {selection.moved}s give"
    if selection.moved.startswith("rows"):
        return f"rows dealt anew{selection.moved.removeprefix('rows')} give"
    if selection.moved == "labels of whole speakers":
        return "labels dealt anew, those of a speaker together, give"
    return f"labels dealt anew to {selection.moved} give"


def verdict(count: Count) -> str:
    """What an observed number means beside its null, whichever way it came out."""
    found = count.verdict
    if found == "more":
        return f"about {called(round(count.surplus))} are more than chance gives"
    if found == "unclear":
        return "above most of them, which are too few to tell"
    if found == "fewer":
        return "fewer than chance gives, so nothing is left to explain"
    if found == "within" and count.surplus <= 0:
        return "no more than chance gives, so nothing is left to explain"
    if found == "within":
        return "within what chance gives, so no effect is shown"
    return "how many chance gives is not known, so the number by itself shows nothing"


def counts_said(view: View, selection: Selection) -> str:
    """Observed and null counts of one contrast of one model, in a sentence."""
    model, count = view.models[selection.model].label, selection.total
    passes = "neuron" if count.observed == 1 else "neurons"
    verb = "passes" if count.observed == 1 else "pass"
    many = "no" if count.observed == 0 else called(count.observed)
    text = f"{selection.contrast}: {many} {passes} of {model} {verb} the published rule"
    if not count.has_null:
        return f"{text}; {verdict(count)}."
    text += f"; {dealt(selection)} {chance(count)}: {verdict(count)}"
    if p := p_value(count.p):
        text += f" ({p})"
    if math.isfinite(selection.labellings) and selection.labellings < FEW:
        least = f"{1 / selection.labellings:.2g}"
        ways = counted(int(selection.labellings), "way")
        verb = "is" if selection.labellings == 1 else "are"
        text += (
            f"; there {verb} only {ways} to deal them, so that p below {least} would mean nothing"
        )
    return text + "."


def twin_said(view: View, selection: Selection) -> str:
    """What the untrained twin gives; empty where there is none."""
    twin = twin_of(view, selection)
    if twin is None:
        return ""
    own, other = selection.total, twin.total
    text = f"Untrained, the same architecture has {called(other.observed)}"
    if not other.has_null:
        return f"{text}; chance was not computed for it."
    text += f", where chance gives {chance(other)}"
    if own.verdict != "more":
        return text + "."
    if other.verdict != "more":
        return f"{text}: no surplus is shown without training."
    if other.surplus >= own.surplus:
        return f"{text}: a surplus as large or larger without any training."
    if other.surplus >= own.surplus / 2:
        return f"{text}: a surplus more than half as large without any training."
    return f"{text}: a surplus, if a smaller one, without any training."


def has_easy_null(view: View, selection: Selection) -> bool:
    """Whether recordings were dealt one by one although speakers have several, and the speaker is
    not what is asked for."""
    corpus = view.record.get("corpus")
    speakers = corpus.get("speakers") if isinstance(corpus, Mapping) else None
    if selection.moved != "recording" or selection.contrast.partition("/")[0] == "speaker":
        return False
    known = isinstance(speakers, int) and 0 < speakers < selection.units
    return known and selection.total.has_null


def easy_null_said(view: View, told: Sequence[Selection]) -> str:
    """For which contrasts chance is understated, and why; empty for none."""
    names = dict.fromkeys(s.contrast for s in told if has_easy_null(view, s))
    if not names:
        return ""
    return (
        f"For {listing(list(names))} labels were dealt to recordings one by one, and speakers have "
        "several. Recordings of one speaker are not independent, so chance can give more than is "
        "said here."
    )


def single_tests_said(selection: Selection) -> str:
    """How many pass the test of single neurons; empty where there was none."""
    if not math.isfinite(selection.tested):
        return ""
    text = f"Tested one by one at a false discovery rate of {RATE} %, "
    if selection.tested == 0:
        return f"{text}no neuron is shown to be more active in any group."
    noun = "neuron is" if selection.tested == 1 else "neurons are"
    if len(selection.groups) > 2:
        noun = f"pairs of a neuron and one of {len(selection.groups)} groups are"
        if selection.tested == 1:
            noun = "pair of a neuron and a group is"
    text += f"{called(selection.tested)} {noun} found"
    if math.isfinite(selection.both):
        text += (
            f"; {called(selection.both)} of the {called(selection.total.observed)} that pass the "
            "rule are among them"
        )
    return text + "."


def all_tests_said(view: View, told: Sequence[Selection]) -> str:
    """How the tests of single neurons came out, all contrasts in a sentence; empty without any."""
    known = [s for s in told if math.isfinite(s.tested)]
    if not known:
        return ""
    several = len({s.model for s in told}) > 1

    def name(s: Selection) -> str:
        return f"{s.contrast} of {view.models[s.model].label}" if several else s.contrast

    parts = []
    if some := [s for s in known if s.tested > 0]:
        parts.append(listing([f"{called(s.tested)} for {name(s)}" for s in some]))
    if none := [s for s in known if s.tested == 0]:
        parts.append(f"none for {listing([name(s) for s in none])}")
    return (
        "Pairs of a neuron and a group that pass a test of their own, at a false discovery rate of "
        f"{RATE} %: {'; '.join(parts)}."
    )


def survivors_said(selection: Selection) -> str:
    """How many are found again where gender is held fixed; empty where that was not asked."""
    held = {g: pair for g, pair in selection.survive.items() if math.isfinite(pair[0])}
    if not held:
        return ""
    whole, every = called(selection.total.observed), held.pop(EVERY, None)
    if every is not None and every[1] > 0:
        among = listing([f"among {name} alone" for name in held])
        return (
            f"With gender held fixed, {called(every[0])} of the {whole} are found again for the "
            f"same group {among} ({called(every[1])} if sets of these sizes were drawn at random)."
        )
    parts = [
        f"{called(found)} among {name} alone ({called(expected)} at random)"
        for name, (found, expected) in held.items()
    ]
    if not parts:
        return ""
    return f"With gender held fixed, of the {whole} are found again {listing(parts)}."


def meeting_said(name: str, match: Match) -> str:
    """Whether clusters are a known class, by the adjusted Rand index; empty without one.

    Args:
        name: whose vectors were clustered.
        match: the clusters and classes.
    """
    if "ari" not in match.measures:
        return ""
    value, low, high, _ = match.measures["ari"]
    text = f"{match.clusters} of {name} against {match.classes}: "
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{text}ARI {_three(value)}, without an interval."
    text += f"ARI {_three(value)} ({_three(low)} to {_three(high)})"
    if low > 0:
        return f"{text}, more agreement than chance gives."
    return f"{text}, no agreement is shown."


def rule_said(view: View) -> str:
    """Which rule was used, in words."""
    config = view.record.get("config")
    sigma = config.get("sigma") if isinstance(config, dict) else None
    share = f"{100 * sigma:g} %" if isinstance(sigma, int | float) else "a given share"
    return (
        "The published rule gives a neuron to a group if it is active more often than chance in at "
        f"least {share} of that group's rows, and in no other group's."
    )


def first_sentence(view: View) -> str:
    """The page's first sentence: of every trained model, which contrasts beat chance."""
    told = trained(view)
    if len(told) == 1:
        return counts_said(view, told[0])
    texts = []
    for model in dict.fromkeys(s.model for s in told):
        mine = [s for s in told if s.model == model]
        name = view.models[model].label
        if len(mine) == 1:
            texts.append(counts_said(view, mine[0]))
            continue
        more = [s for s in mine if s.total.verdict == "more"]
        level = [s for s in mine if s.total.verdict in ("within", "fewer")]
        unclear = [s for s in mine if s.total.verdict == "unclear"]
        blind = [s for s in mine if s.total.verdict == "unknown"]
        parts = []
        if more:
            parts.append(f"more than chance gives for {_named(more)}")
        if level:
            parts.append(f"no more than chance gives for {_named(level)}")
        if unclear:
            parts.append(
                f"more than most dealings, which are too few to tell, for {_named(unclear)}"
            )
        if blind:
            parts.append(f"a number that nothing can be held against for {_named(blind)}")
        texts.append(f"Of the neurons of {name}, the published rule finds {'; '.join(parts)}.")
    return " ".join(texts)


def neurons_lead(view: View) -> str:
    """The first sentence, and what the rule is."""
    if not is_neurons(view) or not view.selections:
        return ""
    return f"{first_sentence(view)} {rule_said(view)}"


def neurons_title(view: View) -> str:
    """The page's title."""
    labels = [m.label for m in view.models if m.twin_of is None]
    if len(labels) > NAMED:
        labels = [*labels[: NAMED - 1], f"{len(labels) - NAMED + 1} more models"]
    return f"Which neurons of {listing(labels)} tell groups apart?" if labels else "Neurons"


def _three(value: float) -> str:
    """Three decimals: an interval that just reaches below 0 shows that it does."""
    return f"{value:.3f}".replace("-", "−")


def _named(chosen: Sequence[Selection]) -> str:
    shown = [
        f"{s.contrast} ({called(s.total.observed)} against {called(s.total.mean)})"
        if s.total.has_null
        else f"{s.contrast} ({called(s.total.observed)})"
        for s in chosen[:NAMED]
    ]
    if len(chosen) > NAMED:
        shown.append(counted(len(chosen) - NAMED, "other contrast"))
    return listing(shown)
