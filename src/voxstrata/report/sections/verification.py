"""How well speakers are told apart: tables, DET curves and score histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from voxstrata.report.figure_verification import JOB, det_plot, entries, histograms, scorings
from voxstrata.report.inline import inline
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import counted, listing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS = {
    "cosine": "Plain cosine",
    "cosine-crops": "Plain cosine, averaged with 5 x 5 crops",
    "cosine-centred": "Cosine after subtracting {mean}",
    "cosine-centred-crops": "Cosine after subtracting {mean}, averaged with 5 x 5 crops",
    "as-norm": "AS-norm",
    "lda": "LDA learned from {backend}, then cosine",
    "wccn": "WCCN learned from {backend}, then cosine",
    "lda-wccn": "LDA, length normalisation and WCCN learned from {backend}, then cosine",
    "plda": "PLDA after length normalisation, learned from {backend}",
    "lda-plda": "PLDA after LDA and length normalisation, learned from {backend}",
}
"""Ways of scoring, in words."""

FIRST = ("cosine-centred", "cosine")
"""The scoring that the opening speaks of: the first of these that there is."""

INTERVALS = (
    "Intervals are 95 % percentile intervals over speakers drawn again with replacement; a trial "
    "of two speakers counts as often as the product of their draws. Models are compared within "
    "draws. With ten speakers or fewer such intervals are somewhat too narrow."
)


def is_verification(view: View) -> bool:
    """Whether these are results of ``voxstrata verify``."""
    return view.record.get("job") == JOB


def verification(view: View) -> Section | None:
    """Tables and figures, one of each a way of scoring; nothing for results of another kind."""
    if not is_verification(view):
        return None
    drawn = scorings(view)
    ways = [
        {
            "title": way_title(view, scoring),
            "rows": _rows(view, scoring),
            "figures": [_image(view, scoring, det_plot, "DET curves"),
                        _image(view, scoring, histograms, "Densities of scores")]
            if scoring in drawn else [],
        }
        for scoring in _scorings(view)
    ]  # fmt: skip
    trials = view.record.get("trials")
    html = render(
        "sections/verification.html",
        ways=ways,
        costs=[name.removeprefix("mindcf-") for name in _costs(view)],
        definition=_definition(view),
        trials=trials if isinstance(trials, dict) else {},
        channels=view.record.get("channels"),
    )
    return Section("verification", "How well are speakers told apart?", "Verification", html)


def verification_title(view: View) -> str:
    """The page's title."""
    asked = [m.label for m in view.models if _role(view, m.spec) == "model"]
    return f"Speaker verification with {listing(asked)}" if asked else "Speaker verification"


def verification_findings(view: View) -> list[dict[str, Any]]:
    """One sentence a model, as the opening's template wants them."""
    if not is_verification(view):
        return []
    scoring = next((name for name in FIRST if name in _scorings(view)), "")
    says = []
    for row in _rows(view, scoring):
        if row["role"] != "model":
            continue
        span = f" (95 %: {row['interval']})" if row["interval"] else ""
        text = f"{row['model']}: EER {row['eer']} %{span}"
        says.append("; ".join([text, *row["beside"]]) + ".")
    if not says:
        return []
    about = way_title(view, scoring)
    return [{"about": about[:1].lower() + about[1:], "says": says, "cautions": []}]


def way_title(view: View, scoring: str) -> str:
    """A way of scoring in words."""
    return way_words(view.record, scoring)


def way_words(record: Mapping[str, Any], scoring: str) -> str:
    """A way of scoring in words, from a run's record."""
    source = str(record.get("mean_from", "trials"))
    mean = "the mean of the trial recordings" if source == "trials" else f"the mean of {source}"
    backend = record.get("backend")
    learned = backend.get("spec") if isinstance(backend, Mapping) else None
    return WAYS.get(scoring, scoring).format(mean=mean, backend=learned or "another corpus")


def _scorings(view: View) -> list[str]:
    return [str(name) for name in view.table["estimator"].drop_duplicates()]


def _costs(view: View) -> list[str]:
    names = [str(name) for name in view.table["measure"].drop_duplicates()]
    return [name for name in names if name.startswith("mindcf-")]


def _definition(view: View) -> str:
    config = view.record.get("config")
    return str(config.get("definition", "interpolated")) if isinstance(config, dict) else ""


def _role(view: View, spec: str) -> str:
    return next((str(m.record.get("role", "")) for m in view.models if m.spec == spec), "")


def _rows(view: View, scoring: str) -> list[dict[str, Any]]:
    """Lines of the table of one way of scoring."""
    table = view.table[view.table["estimator"] == scoring]
    labels = {model.spec: model.label for model in view.models}
    chosen = f"eer-{_definition(view)}"
    found = []
    for spec in (str(name) for name in table["model"].drop_duplicates()):
        mine: list[dict[str, Any]] = [
            dict(row) for _, row in table[table["model"] == spec].iterrows()
        ]
        of = {row["measure"]: row for row in mine if not row["other_model"]}
        if chosen not in of:
            continue
        rate = of[chosen]
        held = [
            beside(row, labels.get(row["other_model"], row["other_model"]))
            for row in mine
            if row["measure"] == "eer-relative"
        ]
        has_interval = math.isfinite(rate["ci_low"]) and math.isfinite(rate["ci_high"])
        found.append(
            {
                "model": labels.get(spec, spec),
                "layer": rate["layer"],
                "role": _role(view, spec),
                "eer": f"{100 * rate['value']:.2f}",
                "interval": f"{100 * rate['ci_low']:.2f} to {100 * rate['ci_high']:.2f}"
                if has_interval
                else "",
                "costs": [f"{of[name]['value']:.3f}" for name in _costs(view) if name in of],
                "threshold": f"{of['eer-threshold']['value']:.4f}" if "eer-threshold" in of else "",
                "others": [
                    f"{name.removeprefix('eer-')} {100 * row['value']:.2f}"
                    for name, row in of.items()
                    if name.startswith("eer-") and name not in (chosen, "eer-threshold")
                ],
                "beside": held,
            }
        )
    return found


def beside(row: dict[str, Any], other: str) -> str:
    """ "61 % below random:model (95 %: 52 % below to 68 % below)"."""
    text = f"{share(row['value'])} {other}"
    if math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"]):
        text += f" (95 %: {share(row['ci_low'])} to {share(row['ci_high'])})"
    return text


def share(value: float) -> str:
    """A relative difference in words: "61 % below", "3.2 times"."""
    if value >= 1:
        return f"{1 + value:.1f} times"
    return f"{100 * abs(value):.0f} % {'below' if value < 0 else 'above'}"


def _image(
    view: View, scoring: str, draw: Callable[[View, str], Figure], title: str
) -> dict[str, str]:
    """A figure as an address that needs no file."""
    systems = counted(sum(e.get("scoring") == scoring for e in entries(view)), "system")
    alt = f"{title} of {systems}: {way_title(view, scoring)}"
    return inline(lambda: draw(view, scoring), alt)
