"""What ``voxstrata verify`` prints before and after work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.results import Results
    from voxstrata.verification.prepare import Prepared


def show_plan(prepared: Prepared, console: Any) -> None:
    """Print what is about to be scored, and on what."""
    facts = prepared.trials.summary(prepared.speakers)
    roles = [system.role for system in prepared.systems]
    kinds = (("model", "model"), ("twin", "untrained twin"), ("baseline", "baseline"))
    told = [
        f"{roles.count(role)} {word}{'' if roles.count(role) == 1 else 's'}"
        for role, word in kinds
        if role in roles
    ]
    console.print(
        f"{', '.join(told)} on {facts['trials']:,} trials ({facts['targets']:,} target) of "
        f"{facts['recordings']:,} recordings ({prepared.corpus.seconds / 60:.1f} min), "
        f"{facts.get('speakers', 'unknown')} speakers, on {prepared.device}",
        highlight=False,
        markup=False,
    )
    if prepared.channels is not None:
        console.print(f"channels: {prepared.channels.key}", highlight=False, markup=False)
    for problem in prepared.corpus.skipped[:5]:
        console.print(f"  left out: {problem}", style="yellow", markup=False)


def show_results(results: Results, console: Any) -> None:
    """Print a table for each way of scoring, then how far models lie from their controls."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.report.sections.verification import beside, way_words
    from voxstrata.report.words import short_labels

    rows: list[dict[str, Any]] = [dict(row) for _, row in results.table.iterrows()]
    record = results.record
    chosen = f"eer-{record['config']['definition']}"
    specs = [str(model["spec"]) for model in record["models"]]
    label = dict(zip(specs, short_labels(specs), strict=True))
    alone = [row for row in rows if not row["other_model"]]
    costs = [m for m in dict.fromkeys(row["measure"] for row in alone) if m.startswith("mindcf-")]
    for scoring in dict.fromkeys(row["estimator"] for row in alone):
        heads = [f"minDCF {name.removeprefix('mindcf-')}" for name in costs]
        title = way_words(record, scoring)
        table = Table("model", "EER %", "95 % interval", *heads, title=escape(title))
        table.title_justify = "left"
        table.columns[0].overflow = "fold"
        for column in table.columns[1:]:
            column.justify = "right"
        mine = [row for row in alone if row["estimator"] == scoring]
        for model in dict.fromkeys(row["model"] for row in mine):
            of = {row["measure"]: row for row in mine if row["model"] == model}
            rate = of[chosen]
            table.add_row(
                escape(label[model]),
                f"{100 * rate['value']:.2f}",
                _span(rate),
                *(f"{of[name]['value']:.3f}" for name in costs),
            )
        console.print(table)
        for row in rows:
            if row["measure"] == "eer-relative" and row["estimator"] == scoring:
                text = f"{label[row['model']]}: EER {beside(row, label[row['other_model']])}"
                console.print(text, highlight=False, markup=False)


def _span(row: dict[str, Any]) -> str:
    if row["ci_low"] != row["ci_low"]:
        return "-"
    return f"{100 * row['ci_low']:.2f} to {100 * row['ci_high']:.2f}"
