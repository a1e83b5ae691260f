"""How a model was trained: curves, what came out, settings, what could not be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from voxstrata.report.charts_training import training_chart
from voxstrata.report.reading import by_reason
from voxstrata.report.section import Section, render
from voxstrata.report.training_view import Log, Panel, finite, is_training, read_training
from voxstrata.report.view import View
from voxstrata.report.words import counted, duration

SLOW = 0.1
"""Share of time spent waiting for data above which the page says so."""

WORSE = 1.1
"""How many times its best value a last error rate is when the page says so."""


def training(view: View) -> Section | None:
    """Curves and tables; nothing for results of another kind."""
    if not is_training(view):
        return None
    log = read_training(view)
    panels = [
        {
            "title": panel.title + (f" ({panel.unit})" if panel.unit else ""),
            "at": at,
            "group": panel.group,
        }
        for at, panel in enumerate(log.panels)
    ]
    bad = view.record.get("bad")
    bad = {str(k): str(v) for k, v in bad.items()} if isinstance(bad, Mapping) else {}
    html = render(
        "sections/training.html",
        groups=[
            {"name": name, "panels": list(mine)}
            for name, mine in groupby(panels, key=lambda panel: str(panel["group"]))
        ],
        metrics=_metrics(view, log),
        settings=_settings(view.record.get("config")),
        card=_card(view.record.get("card")),
        bad=[
            {"reason": reason, "names": names, "count": counted(len(names), "recording")}
            for reason, names in by_reason(
                (name, why.removeprefix(f"{name} ")) for name, why in bad.items()
            )
        ],
    )
    return Section(
        "training",
        "How did training go?",
        "Training",
        html,
        data={"panels": [_packed(panel) for panel in log.panels], "perEpoch": log.per_epoch},
        specs={"training": training_chart()} if log.panels else {},
        scripts=("training.js",) if log.panels else (),
    )


def training_title(view: View) -> str:
    """The page's title."""
    return f"Training of {view.record.get('study') or 'a model'}"


def training_tiles(view: View) -> list[tuple[str, str]]:
    """Number and noun of what was done."""
    log, record = read_training(view), view.record
    found = []
    if log.steps:
        found.append((f"{log.steps[-1]['step']:,}", "steps"))
        if log.per_epoch:
            found.append((f"{log.steps[-1]['step'] / log.per_epoch:,.1f}", "passes"))
    if isinstance(wall := record.get("wall_s"), int | float):
        found.append((duration(float(wall)), "in the last sitting"))
    if isinstance(count := record.get("processes"), int) and count > 1:
        found.append((f"{count:,}", "processes"))
    return found


def training_findings(view: View) -> list[dict[str, Any]]:
    """How the run went in sentences, as the opening's template wants them."""
    if not is_training(view):
        return []
    log = read_training(view)
    told = (_loss_said(log), _likelihood_said(view, log), *_rates_said(log), _speed_said(view))
    says = [text for text in told if text]
    if not says:
        return []
    return [{"about": "how training went", "says": says, "cautions": []}]


def _loss_said(log: Log) -> str:
    points = finite(log.steps, "loss")
    if len(points) < 2:
        return ""
    values = np.array([value for _, value in points])
    end = float(values[-max(1, len(values) // 10) :].mean())
    moved = "fell" if end < values[0] else "rose"
    text = f"The loss {moved} from {values[0]:.3g} to {end:.3g} (mean of the last tenth)."
    if end >= values[0]:
        text += " Nothing was learned by this measure; look at the learning rate."
    return text


def _likelihood_said(view: View, log: Log) -> str:
    """Of what is fitted by expectation-maximisation."""
    points = finite(log.steps, "log_likelihood")
    if len(points) < 2:
        return ""
    (_, begin), (_, end) = points[0], points[-1]
    moved = "rose" if end > begin else "fell"
    text = f"The log-likelihood a frame {moved} from {begin:.2f} to {end:.2f}"
    fell = view.record.get("fell")
    if isinstance(fell, Mapping) and fell:
        return f"{text}; at some steps it fell, by {max(-float(v) for v in fell.values()):.2g}."
    return f"{text}, and fell at no step."


def _rates_said(log: Log) -> list[str]:
    said = []
    for name in dict.fromkeys(n for entry in log.valid for n in entry if n.endswith("_eer")):
        points = finite(log.valid, name)
        if not points:
            continue
        corpus = name.removesuffix("_eer")
        step, last = points[-1]
        text = f"Equal error rate on {corpus}: {last:.2f} % at step {step:,}"
        best_step, best = min(points, key=lambda point: point[1])
        if len(points) > 1:
            text += f", {points[0][1]:.2f} % at step {points[0][0]:,}"
        if last > WORSE * best:
            text += f"; it was best, {best:.2f} %, at step {best_step:,}"
        if isinstance(log.end.get(name), int | float):
            text += f"; {log.end[name]:.2f} % for the mean of the last epochs' weights"
        said.append(text + ".")
    return said


def _speed_said(view: View) -> str:
    speed, waiting = view.record.get("audio_s_per_s"), view.record.get("waiting_share")
    if not isinstance(speed, int | float):
        return ""
    text = f"{speed:,.0f} s of audio were trained on in a second"
    if isinstance(count := view.record.get("processes"), int) and count > 1:
        text += f" by each of {count} processes"
    if isinstance(waiting, int | float):
        text += f"; {100 * waiting:.1f} % of the time went by waiting for data"
        if waiting > SLOW:
            text += ": more loader processes (data.workers) may help"
    return text + "."


def _metrics(view: View, log: Log) -> list[dict[str, str]]:
    """What the last evaluation found, beside the first and the best."""
    rows = []
    for row in view.table.itertuples():
        name = str(row.measure)
        points = finite(log.valid, name)
        better = min if "eer" in name or "loss" in name or "error" in name else max
        best = better(points, key=lambda point: point[1]) if points else None
        rows.append(
            {
                "name": name.replace("_", " ") + (" (%)" if "_eer" in name else ""),
                "value": f"{row.value:.3f}",
                "first": f"{points[0][1]:.3f} (step {points[0][0]:,})" if points else "",
                "best": f"{best[1]:.3f} (step {best[0]:,})" if best else "",
            }
        )
    return rows


def _settings(config: Any) -> list[dict[str, Any]]:
    """Groups of settings as (key, value); what is not set is left out."""
    if not isinstance(config, Mapping):
        return []
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            rows = [(k, _text(v)) for k, v in value.items() if v is not None and v != {}]
            if rows:
                groups[str(name)] = rows
    return [{"name": name.replace("_", " "), "rows": rows} for name, rows in groups.items()]


def _card(card: Any) -> str:
    if not isinstance(card, Mapping) or not card:
        return ""
    return json.dumps(card, indent=2, ensure_ascii=False, default=str)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _packed(panel: Panel) -> dict[str, Any]:
    """A panel as the script draws it; numbers with five digits."""

    def five(values: Any) -> list[float]:
        return [float(f"{value:.5g}") for value in values]

    return {
        "title": panel.title,
        "unit": panel.unit,
        "log": panel.log,
        "zero": panel.unit.startswith("%"),
        "lines": [
            {
                "label": line.label,
                "step": [round(float(step)) for step in line.steps],
                "raw": five(line.values),
                "smooth": None if line.smooth is line.values else five(line.smooth),
                "dots": line.few,
            }
            for line in panel.lines
        ],
    }
