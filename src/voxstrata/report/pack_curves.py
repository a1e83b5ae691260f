"""Curves as compact JSON for the page."""

from __future__ import annotations

from typing import Any

from voxstrata.report.curve_view import Curve, Point, PropertyCurves, Variant
from voxstrata.report.figure_lines import COLOURS
from voxstrata.report.pack import rounded
from voxstrata.report.peaks import Peak, control_names, depths, in_order, looks, peak
from voxstrata.report.view import View
from voxstrata.report.words import CONTROLS, control_label, listing

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
"""Markers (Vega's names): they change where colours begin again."""


def pack_curves(view: View) -> dict[str, Any]:
    """Everything the script of the curves needs beside the shared models and layers."""
    return {
        "looks": [
            {
                "colour": COLOURS[number % len(COLOURS)],
                "shape": SHAPES[number // len(COLOURS) % len(SHAPES)],
                "untrained": untrained,
                "twinOf": view.models[model].twin_of,
                "twinNames": listing([m.label for m in view.models if m.twin == model]),
            }
            for model, (number, untrained) in enumerate(looks(view))
        ],
        "order": in_order(view),
        "at": [[round(x, 4), round(share, 4)] for x, share in depths(view)],
        "controls": [
            {"name": name, "label": control_label(name), "about": CONTROLS.get(name, ("", ""))[1]}
            for name in control_names(view)
        ],
        "properties": [_property(asked) for asked in view.curves],
    }


def _property(asked: PropertyCurves) -> dict[str, Any]:
    return {
        "key": asked.key,
        "title": asked.title,
        "variants": [_variant(variant) for variant in asked.variants],
    }


def _variant(variant: Variant) -> dict[str, Any]:
    tops = [peak(variant, curve.model) for curve in variant.curves]
    return {
        "label": variant.label,
        "axis": variant.axis,
        "estimator": variant.estimator,
        "unit": variant.unit,
        "curves": [_curve(curve) for curve in variant.curves],
        "controls": [_curve(curve) for curve in variant.controls],
        "peaks": [_peak(top) for top in tops if top is not None],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "model": curve.model,
        "control": curve.control,
        "points": [_point(point) for point in curve.points],
    }


def _point(point: Point) -> list[Any]:
    """[layer, value, low, high, n, groups, other], without the last where there is none."""
    numbers = [rounded(point.value), rounded(point.low), rounded(point.high)]
    packed = [point.layer, *numbers, point.n, point.groups]
    return [*packed, point.other] if point.other else packed


def _peak(top: Peak) -> list[Any]:
    """[model, layer, layers not told apart from it, whether figures mark it]."""
    tied = [p.layer for p in (*top.tied, *top.unknown)]
    return [top.model, top.point.layer, tied, top.is_marked]
