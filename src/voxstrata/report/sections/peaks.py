"""The best layer of every model for every property, as tables."""

from __future__ import annotations

from typing import Any

from voxstrata.report.curve_view import PropertyCurves
from voxstrata.report.peaks import Peak, controls_at, depths, in_order, peak
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import control_label, interval, number

WIDE = 7
"""Models up to which properties and models stand in one crossed table."""


def peaks_table(view: View) -> Section | None:
    """Peak layer, value, interval, control and relative depth; nothing without curves."""
    if not view.curves:
        return None
    order = in_order(view)
    shares = [share for _, share in depths(view)]
    rows = []
    crossed = []
    for asked in view.curves:
        tops = {m: top for m in order if (top := peak(asked.main, m)) is not None}
        rows += [_row(view, asked, top, shares) for top in tops.values()]
        crossed.append(
            {
                "title": asked.title,
                "key": asked.key,
                "measure": asked.main.label,
                "cells": [_cell(view, tops.get(m)) for m in order],
            }
        )
    html = render(
        "sections/peaks.html",
        models=[view.models[m].label for m in order],
        crossed=crossed if len(order) <= WIDE else [],
        rows=rows,
    )
    return Section("peaks", "Where does each model peak?", "Peaks", html)


def _row(view: View, asked: PropertyCurves, top: Peak, shares: list[float]) -> dict[str, Any]:
    model, point = view.models[top.model], top.point
    held = controls_at(asked.main, top)
    return {
        "title": asked.title,
        "measure": asked.main.label,
        "model": model.label,
        "untrained": model.twin_of is not None or model.random,
        "layer": view.layers[point.layer].name,
        "depth": number(shares[point.layer]) if top.rest else "only layer",
        "value": number(point.value),
        "interval": f"{number(point.low)} to {number(point.high)}"
        if point.has_interval
        else "none",
        "controls": [f"{control_label(b.control)} {number(b.point.value)}" for b in held],
        "short": any(b.exceeded is False for b in held),
        "tied": _tied(view, top),
        "n": f"{point.n:,}",
        "groups": f"{point.groups:,}" if point.groups else "",
    }


def _tied(view: View, top: Peak) -> str:
    if not top.rest:
        return ""
    if len(top.unknown) == len(top.rest):
        return "no intervals"
    return ", ".join(view.layers[p.layer].name for p in top.tied) or "none"


def _cell(view: View, top: Peak | None) -> dict[str, Any] | None:
    if top is None:
        return None
    point = top.point
    return {
        "layer": view.layers[point.layer].name,
        "value": interval(point.value, point.low, point.high),
        "flat": top.is_flat and bool(top.rest),
    }
