"""``voxstrata corpora``: list, show, prepare and validate corpora."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.corpora.corpus import Corpus
    from voxstrata.corpora.problems import Problem
    from voxstrata.corpora.registry import Progress

app = typer.Typer(no_args_is_help=True, help="List, show, prepare and validate speech corpora.")

SPEC_HELP = (
    "synthetic[:SIZE], a folder of audio, a JSONL manifest (or its folder), lhotse manifests, or "
    "a prepared public corpus (NAME:FOLDER)."
)
Spec = Annotated[str, typer.Argument(help=SPEC_HELP, show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Look at the first so many utterances only.")
]


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on standard error; silent where that is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = _console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield report


@app.command("list")
def list_corpora(as_json: Json = False) -> None:
    """List the kinds of corpora and the public corpora that can be prepared."""
    from voxstrata.corpora.registry import CORPORA, SOURCES

    sources = [{"name": e.name, "summary": e.summary} for e in SOURCES.entries()]
    corpora = [{"name": e.name, "summary": e.summary} for e in CORPORA.entries()]
    if as_json:
        _print_json({"sources": sources, "corpora": corpora})
        return
    from rich.table import Table

    console = _console()
    for title, rows in (
        ("Corpora that can be opened at once", sources),
        ("Public corpora, prepared from a local copy", corpora),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for row in rows:
            table.add_row(row["name"], row["summary"])
        console.print(table)
        console.print()
    console.print("Open one with: voxstrata corpora show SPEC", markup=False)
    console.print("Prepare one with: voxstrata corpora prepare NAME SOURCE OUT", markup=False)


@app.command("show")
def show(spec: Spec, limit: Limit = None, as_json: Json = False) -> None:
    """Show what a corpus holds: counts, lengths, speakers, tiers with an example."""
    from voxstrata.corpora.load import load_corpus

    with _progress() as progress:
        corpus = load_corpus(spec, limit=limit, progress=progress)
    facts = _facts(corpus)
    if as_json:
        _print_json(facts)
        return
    from rich.table import Table
    from rich.text import Text

    console = _console()
    table = Table(
        title=Text(facts["name"], style="table.title"),
        title_justify="left",
        show_header=False,
        box=None,
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    lengths = facts["duration_s"]
    minutes = facts["seconds"] / 60
    for name, value in (
        ("opened by", facts["spec"]),
        ("utterances", f"{facts['utterances']:,}"),
        ("length", f"{facts['seconds']:,.1f} s ({minutes:,.1f} min)"),
        ("speakers", f"{facts['speakers']:,}" if facts["speakers"] else "not labelled"),
        (
            "an utterance",
            f"{lengths['shortest']:.2f} to {lengths['longest']:.2f} s, "
            f"median {lengths['median']:.2f} s",
        ),
        ("left out", _skipped_text(corpus)),
        ("fingerprint", facts["fingerprint"]),
    ):
        table.add_row(name, Text(str(value)))
    console.print(table)
    console.print()
    tiers = Table(title="Tiers", title_justify="left", box=None, expand=True)
    tiers.add_column("tier", style="bold", no_wrap=True)
    tiers.add_column("utterances", justify="right", no_wrap=True)
    tiers.add_column("values", justify="right", no_wrap=True)
    # Takes what the others leave, so that their numbers are never cut.
    tiers.add_column("example", overflow="ellipsis", no_wrap=True, ratio=1)
    for tier in facts["tiers"]:
        counts = (f"{tier['utterances']:,}", f"{tier['values']:,}")
        tiers.add_row(tier["name"], *counts, Text(tier["example"]))
    console.print(tiers)
    console.print()
    longest = max(row["utterances"] for row in facts["histogram"])
    bars = Table(title="Lengths", title_justify="left", show_header=False, box=None)
    bars.add_column(justify="right", no_wrap=True)
    bars.add_column(no_wrap=True)
    bars.add_column(justify="right", no_wrap=True)
    for row in facts["histogram"]:
        width = round(32 * row["utterances"] / longest)
        span = f"{row['from_s']:.1f} to {row['to_s']:.1f} s"
        bars.add_row(
            span, "█" * width or ("▏" if row["utterances"] else ""), str(row["utterances"])
        )
    console.print(bars)


def _skipped_text(corpus: Corpus) -> str:
    from voxstrata.corpora.problems import summary

    if not corpus.skipped:
        return "nothing"
    return f"{summary(corpus.skipped)} (see: voxstrata corpora validate {corpus.spec})"


def _facts(corpus: Corpus) -> dict[str, Any]:
    import numpy as np

    from voxstrata.types import Segment

    lengths = np.array([u.duration_s for u in corpus.utterances])
    held: dict[str, set[str]] = {}
    examples: dict[str, str] = {}
    for u in corpus.utterances:
        for name, value in u.tiers.items():
            spans = isinstance(value, tuple) and all(isinstance(v, Segment) for v in value)
            labels = [s.label for s in value] if spans else [_short(value)]
            held.setdefault(name, set()).update(labels)
            if name not in examples and labels:
                examples[name] = _short(" ".join(labels[:8]) if spans else value)
    counts, edges = np.histogram(lengths, bins=min(10, max(1, len(set(lengths.tolist())))))
    return {
        "name": corpus.name,
        "spec": corpus.spec,
        "fingerprint": corpus.fingerprint,
        "utterances": len(corpus),
        "seconds": round(corpus.seconds, 3),
        "speakers": len(corpus.speakers),
        "duration_s": {
            "shortest": float(lengths.min()),
            "median": float(np.median(lengths)),
            "longest": float(lengths.max()),
        },
        "histogram": [
            {"from_s": float(a), "to_s": float(b), "utterances": int(n)}
            for a, b, n in zip(edges, edges[1:], counts, strict=False)
        ],
        "tiers": [
            {
                "name": name,
                "utterances": count,
                "values": len(held.get(name, ())),
                "example": examples.get(name, ""),
            }
            for name, count in corpus.tiers().items()
        ],
        "skipped": [p.to_dict() for p in corpus.skipped],
        "details": corpus.details,
    }


def _short(value: Any, most: int = 80) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 3] + "..."


@app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(help="A public corpus, see `corpora list`.")],
    source: Annotated[Path, typer.Argument(help="Its folder on this machine, as published.")],
    out: Annotated[Path, typer.Argument(help="Where the manifests go; audio is not copied.")],
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="Prepare this part only; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn a public corpus into manifests that voxstrata opens as NAME:OUT/PART."""
    from voxstrata.corpora.registry import CORPORA

    recipe = CORPORA.get(name)
    with _progress() as progress:
        report = recipe.prepare(
            source.expanduser(), out.expanduser(), parts=part or None, progress=progress
        )
    if as_json:
        from dataclasses import asdict

        _print_json(asdict(report))
        return
    from rich.table import Table

    console = _console()
    table = Table(title=recipe.title, title_justify="left", box=None)
    table.add_column("part", style="bold")
    for column in ("utterances", "hours", "speakers"):
        table.add_column(column, justify="right")
    for label, count in report.parts.items():
        hours = f"{count.seconds / 3600:,.2f}"
        table.add_row(label, f"{count.utterances:,}", hours, f"{count.speakers:,}")
    console.print(table)
    console.print(f"licence: {recipe.licence}", markup=False)
    if report.problems:
        console.print(f"\n{len(report.problems)} problem(s):", style="yellow")
        for problem in report.problems[:50]:
            console.print(f"- {problem.path}: {problem.what}", markup=False)
        if len(report.problems) > 50:
            console.print(f"- ... and {len(report.problems) - 50} more (see {out}/corpus.json)")
    first = next(iter(report.parts), None)
    if first is not None:
        console.print(f"\nOpen it with: {name}:{out / first}", markup=False)


@app.command("validate")
def validate_corpus(
    spec: Spec,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode all audio: damage, NaN, silence, clipping.")
    ] = False,
    need: Annotated[
        list[str] | None,
        typer.Option("--need", help="A tier that every utterance must have; repeatable."),
    ] = None,
    min_s: Annotated[
        float | None, typer.Option("--min-s", help="Shortest length, seconds.")
    ] = None,
    max_s: Annotated[float | None, typer.Option("--max-s", help="Longest length, seconds.")] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Check recordings and labels and list every problem; exit code 1 if there are errors."""
    from voxstrata.corpora.load import inspect_corpus

    with _progress() as progress:
        report = inspect_corpus(
            spec,
            limit=limit,
            min_s=min_s,
            max_s=max_s,
            need_tiers=tuple(need or ()),
            decode=decode,
            progress=progress,
        )
    if as_json:
        _print_json(
            {
                "checked": report.checked,
                "decoded": report.decoded,
                "errors": [p.to_dict() for p in report.errors],
                "warnings": [p.to_dict() for p in report.warnings],
            }
        )
    else:
        console = _console()
        depth = "all audio decoded" if decode else "headers and labels; --decode reads all audio"
        console.print(f"{report.checked:,} utterances checked ({depth})", markup=False)
        for title, style, found in (
            ("error", "red", report.errors),
            ("warning", "yellow", report.warnings),
        ):
            _print_problems(console, title, style, found)
        if report.ok:
            console.print("no errors", style="green")
    if not report.ok:
        raise typer.Exit(1)


def _print_problems(
    console: Console, title: str, style: str, found: tuple[Problem, ...], most: int = 200
) -> None:
    from rich.table import Table
    from rich.text import Text

    from voxstrata.corpora.problems import summary

    if not found:
        return
    console.print(f"\n{len(found)} {title}(s): {summary(found)}", style=style, markup=False)
    table = Table(box=None)
    for column in ("rule", "utterance", "what", "file"):
        table.add_column(column, overflow="fold")
    for p in found[:most]:
        table.add_row(p.rule, Text(p.id or "-"), Text(p.what), Text(p.file))
    console.print(table)
    if len(found) > most:
        console.print(f"... and {len(found) - most} more (--json lists all)")
    for fix in dict.fromkeys(p.fix for p in found if p.fix):
        console.print(f"fix: {fix}", markup=False)
