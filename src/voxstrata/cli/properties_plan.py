"""What ``voxstrata properties`` prints before and after work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.properties.prepare import Prepared
    from voxstrata.results import Results


def show_plan(prepared: Prepared, console: Any) -> None:
    """Print what is about to happen: samples, properties, what is left out, a rough time."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.properties.forecast import forecast
    from voxstrata.report.reading import by_reason

    corpus = prepared.corpus
    seconds = sum(utterance.duration_s for utterance in corpus.utterances)
    scored = sum(1 for layer in prepared.stack if layer.model < prepared.asked)
    asked, twins = prepared.asked, len(set(prepared.twins.values()))
    beside = f" ({_counted(twins, 'untrained twin')} among them)" if twins else ""
    console.print(
        f"[bold]{_counted(asked, 'model')}, {_counted(scored, 'layer')}[/]{beside} over "
        f"[bold]{_counted(len(corpus), 'recording')}[/] ({seconds / 60:.1f} min) of "
        f"{escape(corpus.name)}, {max(prepared.folds) + 1} folds by {prepared.config.group}, on "
        f"{prepared.device}"
    )
    table = Table("sample", "rows", "layers", "disk", "properties")
    for sample in prepared.samples:
        names = [one.name for one in prepared.properties if one.unit == sample.kind]
        table.add_row(
            sample.name,
            f"{sample.rows}",
            f"{len(sample.scored)}",
            _size(sample.disk_bytes),
            escape(", ".join(names)),
        )
    console.print(table)
    if prepared.left_out:
        left = Table("left out", "why")
        for reason, names in by_reason((item.name, item.reason) for item in prepared.left_out):
            left.add_row(escape(", ".join(names)), escape(reason))
        console.print(left)
    _show_skipped(corpus.skipped, console)
    console.print(forecast(prepared).sentence())


def show_end(results: Results, console: Any, *, done_before: bool) -> None:
    """Print what came of it: what was refused and why, how many values, what was skipped."""
    from voxstrata.report.reading import by_reason

    record = results.record
    refused = record.get("refused", [])
    for reason, names in by_reason((item["name"], item["reason"]) for item in refused):
        console.print(
            f"  no numbers: {', '.join(names)}: {reason}",
            style="yellow",
            markup=False,
            highlight=False,
        )
    if refused and record.get("config", {}).get("scale") == "published":
        console.print(
            "  (sizes are as published; --scale small reduces them to what the corpus holds)",
            style="yellow",
            highlight=False,
        )
    skipped = len(record["corpus"]["skipped"])
    console.print(
        f"{len(results.table)} values "
        + ("were there already" if done_before else f"in {record['wall_s']:.0f} s")
        + (f"; {_counted(skipped, 'recording')} skipped (listed in the report)" if skipped else "")
    )


def _show_skipped(skipped: Iterable[object], console: Any, most: int = 5) -> None:
    listed = list(skipped)
    for problem in listed[:most]:
        console.print(f"  left out: {problem}", style="yellow", markup=False)
    if len(listed) > most:
        console.print(f"  ... and {len(listed) - most} more", style="yellow")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
