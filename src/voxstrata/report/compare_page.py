"""The page and the table of two runs, compared."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.files import atomic_write
from voxstrata.report.compare import (
    BEYOND,
    EQUAL,
    FIRST,
    OPEN,
    SECOND,
    VERDICTS,
    WITHIN,
    Comparison,
    compare_results,
)
from voxstrata.report.compare_words import (
    beyond_said,
    caution_said,
    compare_title,
    facts_said,
    numbers_said,
)
from voxstrata.report.section import Section, render
from voxstrata.report.view import View
from voxstrata.report.words import number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST = 200
"""Numbers listed on the page; the table has all."""

PANELS = 12
"""Panels of the figure, a property and measure each."""

MARKS = {
    EQUAL: ("#8c8c8c", "."),
    WITHIN: ("#0072b2", "o"),
    OPEN: ("#cc79a7", "D"),
    BEYOND: ("#d55e00", "s"),
}
"""Colour and marker of each verdict in the figure."""


def draw_comparison(first: str | Path, second: str | Path, page: Path) -> Comparison:
    """Compare two results folders; write a page, and the table beside it.

    Args:
        first, second: as for :func:`voxstrata.report.compare.compare_results`.
        page: the file to write; ``.parquet`` and ``.csv`` of the same name hold the numbers.

    Returns:
        what was found.

    Raises:
        ResultsError: a folder has no results, or damaged ones.
        UsageError: the results are of different kinds.
        StorageError: a file cannot be written.
    """
    found = compare_results(first, second)
    with atomic_write(page) as file:
        file.write(comparison_html(found).encode("utf-8"))
    with atomic_write(page.with_suffix(".parquet")) as file:
        found.table.to_parquet(file, index=False)
    with atomic_write(page.with_suffix(".csv")) as file:
        file.write(found.table.to_csv(index=False).encode("utf-8"))
    return found


def comparison_html(found: Comparison) -> str:
    """The page as text."""
    from voxstrata.report.page import assembled

    sections = [_opening(found), _made(found), *_claims(found), _numbers(found)]
    nothing = View((), (), (), {}, found.table, found.first)
    return assembled(compare_title(found), sections, nothing)


def _opening(found: Comparison) -> Section:
    html = render(
        "sections/opening.html",
        kicker=f"two runs of {', '.join(dict.fromkeys(found.jobs))}",
        title=compare_title(found),
        lead="First and second stand for the two in this order; differences are second less first.",
        notices=[f"{name} is not compared: {reason}." for name, reason in found.alone],
        tiles=[
            (f"{found.count(EQUAL):,}", "equal"),
            (f"{found.count(WITHIN):,}", "differ within intervals"),
            (f"{found.count(BEYOND):,}", "differ beyond intervals"),
            (f"{found.count(FIRST) + found.count(SECOND):,}", "in one run only"),
        ],
        findings=[
            {
                "about": "what differs",
                "says": [*filter(None, [*numbers_said(found), beyond_said(found)]),
                         *facts_said(found)],
            }
        ],
        joined=True,
        absent="",
        skipped=[],
        skipped_title="",
    )  # fmt: skip
    return Section("opening", "", "", html)


def _made(found: Comparison) -> Section:
    html = render(
        "sections/compare_made.html",
        facts=found.facts,
        parts=any(found.parts),
        first=str(found.first),
        second=str(found.second),
    )
    return Section("made", "What was done differently?", "Made", html)


def _claims(found: Comparison) -> list[Section]:
    """Claims of two studies with both verdicts."""
    if not found.claims:
        return []
    html = render("sections/compare_claims.html", claims=found.claims)
    return [Section("claims", "Do the claims fare differently?", "Claims", html)]


def _numbers(found: Comparison) -> Section:
    from voxstrata.report.inline import inline

    drawn = None
    if panels := _panels(found.table):
        more = len(_groups(found.table)) - len(panels)
        alt = f"Values of the second run over those of the first, {len(panels)} panels"
        caption = (
            "Each point is a number, with its 95 % intervals; on the line both runs agree. Grey: "
            "equal; blue: intervals meet; orange: intervals share no point; purple: no interval."
            + (f" {more} more in the table." if more > 0 else "")
        )
        drawn = inline(lambda: _figure(panels), alt, caption)
    html = render(
        "sections/compare_numbers.html",
        figure=drawn,
        caution=caution_said(found),
        verdicts=VERDICTS,
        groups=[_counts(name, rows) for name, rows in _groups(found.table)],
        rows=[_row(row) for row in _largest(found.table)],
        parts=any(found.parts),
        changed=int((found.table["verdict"] != EQUAL).sum()),
    )
    return Section("numbers", "Which numbers differ?", "Numbers", html)


def _groups(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    names = ["part", "property", "measure", "estimator", "unit"]
    return [(tuple(map(str, key)), rows) for key, rows in table.groupby(names, sort=False)]


def _counts(name: tuple[str, ...], rows: pd.DataFrame) -> dict[str, Any]:
    changes = rows["difference"].abs()
    largest = changes.max()
    return {
        "part": name[0],
        "name": name[1],
        "measure": ", ".join(filter(None, name[2:4])),
        "unit": name[4],
        "counts": [int((rows["verdict"] == verdict).sum()) for verdict in VERDICTS],
        "largest": _exact(largest) if math.isfinite(largest) else "",
    }


def _largest(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Numbers that differ: beyond intervals first, then by how far, in widths of the intervals."""
    import numpy as np

    shown = table[~table["verdict"].isin([EQUAL, FIRST, SECOND])].copy()
    wide = [shown[f"ci_high_{s}"] - shown[f"ci_low_{s}"] for s in ("first", "second")]
    width = np.fmax(*(w.to_numpy(dtype=np.float64) for w in wide)) if len(shown) else np.zeros(0)
    change = shown["difference"].abs().to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        shown["_far"] = np.where(width > 0, change / width, change)
    shown["_rank"] = shown["verdict"].map({BEYOND: 0, OPEN: 1, WITHIN: 2})
    shown = shown.sort_values(["_rank", "_far"], ascending=[True, False], kind="stable")
    return [{str(k): v for k, v in row.items()} for row in shown.head(MOST).to_dict("records")]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    other = f"{row['other_model']}/{row['other_layer']}" if row["other_model"] else ""
    return {
        "part": row["part"],
        "what": ", ".join(filter(None, (row["property"], row["measure"], row["estimator"]))),
        "unit": row["unit"],
        "of": f"{row['model']}/{row['layer']}" if row["layer"] else row["model"],
        "other": other,
        "control": row["control"],
        "first": _span(row, "first"),
        "second": _span(row, "second"),
        "difference": _exact(row["difference"]),
        "verdict": row["verdict"],
    }


def _span(row: dict[str, Any], side: str) -> tuple[str, str]:
    low, high = row[f"ci_low_{side}"], row[f"ci_high_{side}"]
    known = math.isfinite(low) and math.isfinite(high)
    return _exact(row[f"value_{side}"]), f"{_exact(low)} to {_exact(high)}" if known else ""


def _exact(value: float) -> str:
    """Four digits, so that small differences do not vanish."""
    if not math.isfinite(value):
        return number(value)
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return text.replace("-", "−")


def _panels(table: pd.DataFrame) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Groups with numbers of both runs, those with most changes first."""
    found = []
    for name, rows in _groups(table):
        both = rows[rows["value_first"].notna() & rows["value_second"].notna()]
        if len(both):
            found.append((name, both))
    return sorted(found, key=lambda item: -int((item[1]["verdict"] == BEYOND).sum()))[:PANELS]


def _figure(panels: list[tuple[tuple[str, ...], pd.DataFrame]]) -> Figure:
    """Second over first, a panel a property and measure."""
    from matplotlib.figure import Figure

    from voxstrata.report.figure_lines import settle

    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(1.95 * columns, 2.1 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (name, rows) in zip(grid.flat, panels, strict=False):
        values = rows[["value_first", "value_second"]]
        low, high = float(values.min().min()), float(values.max().max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        line = [low - margin, high + margin]
        axes.plot(line, line, color="#bbbbbb", linewidth=0.7)
        for verdict, (colour, marker) in MARKS.items():
            mine = rows[rows["verdict"] == verdict]
            bars = {
                f"{axis}err": [
                    (mine[f"value_{side}"] - mine[f"ci_low_{side}"]).clip(lower=0).fillna(0),
                    (mine[f"ci_high_{side}"] - mine[f"value_{side}"]).clip(lower=0).fillna(0),
                ]
                for axis, side in (("x", "first"), ("y", "second"))
            }
            if len(mine):
                axes.errorbar(mine["value_first"], mine["value_second"], **bars, fmt=marker,
                              color=colour, ms=2.6, elinewidth=0.5, alpha=0.8)  # fmt: skip
        title = " ".join(filter(None, (name[0], name[1], name[2])))
        axes.set_title(title if len(title) < 34 else f"{title[:32]}…", fontsize=6, loc="left")
        axes.set_xlabel("first", fontsize=6)
        axes.set_ylabel("second", fontsize=6)
        axes.tick_params(labelsize=5.5, width=0.5, length=2)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    settle(figure)
    return figure
