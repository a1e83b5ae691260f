"""Does protecting neurons keep what a model knows? Figures, differences, tables, how to read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from voxstrata.report import protection_words as words
from voxstrata.report.charts_protection import protection_chart
from voxstrata.report.neuron_words import called, chance
from voxstrata.report.pack import rounded
from voxstrata.report.probing_words import figure
from voxstrata.report.protection_panels import (
    Panel,
    axis_title,
    difference_panel,
    extent,
    score_panel,
)
from voxstrata.report.protection_table import cost_rows, differ_said
from voxstrata.report.protection_tally import by_score, instead, model_label
from voxstrata.report.protection_view import (
    RIVALS,
    Asked,
    copies,
    found_counts,
    is_protection,
    protected_count,
    scores,
    tasks,
    unpruned,
)
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import capital, duration, listing

INSIDE = (
    ("base", "the training of the model before anything was pruned"),
    ("neurons", "which neurons were found, by layer, beside chance"),
    ("probing", "the tasks, with all heads and layers"),
    ("verify", "the trials: error rates, DET curves"),
)
"""Folders of the jobs inside, and what their pages show."""


def protection(view: View) -> Section | None:
    """Scores and differences by task, neurons, costs; nothing for results of another kind."""
    if not is_protection(view):
        return None
    panels: list[dict[str, Any]] = []
    parts = [_task(view, task, panels) for task in tasks(view)]
    html = render(
        "sections/protection.html",
        parts=parts,
        asked=_asked(view),
        seeds=_seeds(view),
        table=cost_rows(view),
        differ=differ_said(view),
        titles=[{"title": task.title, "axis": axis_title(task)} for task in tasks(view)],
        neurons=_neurons(view),
        neurons_said=words.neurons_said(view),
        instead=instead(view),
        alone=by_score(view),
        kinds=_kinds(view),
        inside=_inside(view),
        clock=_clock(view),
    )
    return Section(
        "protection",
        "What is left after pruning, and what protection adds",
        "Protection",
        html,
        data={"panels": panels},
        specs={"protection": protection_chart()} if panels else {},
        scripts=("protection.js",) if panels else (),
        shows=("intervals",) if panels else (),
    )


def protection_tiles(view: View) -> list[tuple[str, str]]:
    """Numbers and nouns of what was made."""
    made = [c for c in view.record.get("costs") or () if isinstance(c, Mapping)]
    models = sum(c.get("condition") != "unpruned" for c in made)
    found = [(f"{models:,}", "pruned model" if models == 1 else "pruned models")] if made else []
    kept = view.record.get("keep")
    if isinstance(kept, list) and kept:
        found.append((f"{len(kept):,}", "size" if len(kept) == 1 else "sizes"))
    number = protected_count(view)
    if math.isfinite(number):
        found.append((called(number), "neuron protected" if number == 1 else "neurons protected"))
    return found


def _config(view: View) -> Mapping[str, Any]:
    config = view.record.get("config")
    return config if isinstance(config, Mapping) else {}


def _task(view: View, task: Asked, panels: list[dict[str, Any]]) -> dict[str, Any]:
    drawn = []
    for panel, caption in (
        (score_panel(view, task), "Score by size"),
        (difference_panel(view, task), "How much better protection is"),
    ):
        if panel is not None:
            drawn.append({"at": len(panels), "caption": caption, "outside": panel.outside,
                          "keys": _keys(task, view, panel)})  # fmt: skip
            panels.append(_packed(panel))
    says = [capital(f"{text}.") for rival in RIVALS if (text := words.held_said(view, task, rival))]
    says.append(words.lost_said(view, task))
    return {
        "title": task.label,
        "says": [text for text in says if text],
        "cautions": [
            *filter(None, [words.doubts_said(view, task), words.little_said(view, task)]),
            *task.notices,
        ],
        "panels": drawn,
    }


def _keys(task: Asked, view: View, panel: Panel) -> list[dict[str, str]]:
    """The legend under a panel's title."""
    keys = [{"kind": one.marker, "colour": one.colour, "label": one.label} for one in panel.series]
    if panel.whole is not None and (score := unpruned(scores(view, task))) is not None:
        text = f"unpruned: {figure(task.measure, score.value)}"
        keys.append({"kind": "line", "colour": "", "label": text})
    if panel.plain is not None:
        label = f"{panel.plain[0]} (plain features)"
        keys.append({"kind": "dashes", "colour": "#8c8c8c", "label": label})
    return keys


def _packed(panel: Panel) -> dict[str, Any]:
    """A panel as the script draws it; no value is NaN."""
    low, high = extent(panel)
    levels: list[dict[str, Any]] = []
    if panel.kind == "differences":
        levels.append({"y": 0, "dash": "zero"})
    if panel.whole is not None:
        levels.append({"y": rounded(panel.whole.value), "dash": "whole"})
    if panel.plain is not None:
        levels.append({"y": rounded(panel.plain[1]), "dash": "plain"})
    whole = panel.whole
    return {
        "title": panel.title,
        "x": {"ticks": list(panel.ticks), "ends": list(panel.ends), "log": panel.log},
        "y": [low, high],
        "band": [whole.low, whole.high] if whole is not None and whole.has_interval else None,
        "levels": levels,
        "series": [
            {
                "label": one.label,
                "colour": one.colour,
                "marker": one.marker,
                "means": [[x, rounded(y)] for x, y in one.means],
                "spots": [
                    {
                        "x": spot.x,
                        "y": rounded(spot.value.value),
                        "low": rounded(spot.value.low) if spot.value.has_interval else None,
                        "high": rounded(spot.value.high) if spot.value.has_interval else None,
                        "clear": spot.clear,
                        "lines": list(spot.lines),
                    }
                    for spot in one.spots
                ],
            }
            for one in panel.series
        ],
    }


def _asked(view: View) -> str:
    """What was done, in a sentence or two."""
    config = _config(view)
    kept = [str(n) for n in view.record.get("keep") or ()]
    widths = sorted({str(n) for n in view.record.get("widths") or ()}, key=len)
    text = f"Of each feed-forward part of {model_label(view)}"
    text += f" ({listing(widths, 'or')} rows)" if widths else ""
    text += f", {listing(kept, 'or')} rows were left" if kept else ", rows were pruned"
    text += f": those to go were chosen {by_score(view)}"
    if config.get("tune") is not None:
        text += f", and the models were trained on afterwards (recipe {config['tune']}"
        steps = config.get("tune_steps")
        text += f", {steps} steps)" if steps is not None else ")"
    model = view.record.get("model")
    spec = model.get("spec") if isinstance(model, Mapping) else None
    if spec is not None and config.get("model") not in (None, spec):
        text += (
            ". The model was trained by that recipe first: neurons were found in it, and all were "
            "pruned from it"
        )
    whole = view.record.get("unpruned")
    if config.get("tune") is not None and isinstance(whole, Mapping):
        text += ". The unpruned model was trained on from there as long as the pruned ones"
    return f"{text}."


def _kinds(view: View) -> str:
    """Which kinds of pruned models there are."""
    told = {
        "none": f"pruned {by_score(view)} alone",
        "protected": "pruned with the found neurons protected, which stay whatever their score",
        "random": f"pruned with as many {instead(view)} protected, which tells whether it "
        "matters which neurons stay",
    }
    present = {s.condition for task in tasks(view) for s in scores(view, task)}
    parts = [text for condition, text in told.items() if condition in present]
    if len(parts) < 2:
        return f"All models are {parts[0]}." if parts else ""
    return f"Models are held against each other that are {'; '.join(parts[:-1])}; and {parts[-1]}."


def _seeds(view: View) -> str:
    """How many seeds there were, and whether they say anything."""
    number = _config(view).get("seeds")
    if not isinstance(number, int) or number < 1:
        return ""
    if number == 1:
        return (
            "There was one seed: how much another control set, or another training, would change "
            "the numbers is not known."
        )
    text = f"Everything was done with {number} seeds."
    if copies(view, "none") and copies(view, "protected"):
        text += (
            " Without training between, what is not drawn at random comes out the same with every "
            "seed, so such comparisons are counted once."
        )
    return text


def _neurons(view: View) -> list[dict[str, str]]:
    """The protected neurons by layer, beside what passes the rule and what chance gives."""
    held = view.record.get("protected")
    found = found_counts(view)
    rows = []
    for layer, number in held.items() if isinstance(held, Mapping) else ():
        count = found.get(str(layer))
        rows.append(
            {
                "layer": str(layer),
                "protected": str(number),
                "found": called(count.observed) if count is not None else "",
                "chance": chance(count) if count is not None and count.has_null else "not known",
                "more": "yes" if count is not None and count.verdict == "more" else "",
            }
        )
    return rows


def _inside(view: View) -> list[dict[str, Any]]:
    """Folders of the jobs inside; linked where their page has been drawn."""
    found = []
    for name, about in INSIDE:
        if (view.folder / name).is_dir():
            drawn = (view.folder / name / "report.html").exists()
            found.append({"name": name, "about": about, "drawn": drawn})
    return found


def _clock(view: View) -> str:
    """Where the time went."""
    parts = view.record.get("wall_parts_s")
    if not isinstance(parts, Mapping):
        return ""
    told = [
        f"{name} {duration(float(seconds))}"
        for name, seconds in parts.items()
        if isinstance(seconds, int | float) and math.isfinite(seconds)
    ]
    return f"{listing(told)}" if told else ""
