"""``voxstrata similarity``: every layer of every model against every other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

if TYPE_CHECKING:
    from voxstrata.similarity.prepare import Prepared

Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Models: a registered name (hubert-base), a hub id, a local directory, a checkpoint "
        "file, or random:NAME for the untrained twin. `voxstrata models list` shows names.",
        show_default=False,
    ),
]


def similarity(
    models: Models = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus",
            "-c",
            help="A folder of audio, a manifest, a prepared corpus, synthetic:demo.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, figures and report.html.")
    ] = Path("similarity"),
    unit: Annotated[
        str | None,
        typer.Option(
            help="What one row is: frame, phone, word, utterance; several with commas. "
            r"\[default: utterance]",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help="Measures, with commas: cka (debiased), cka-biased, pwcca-x, svcca, procrustes, "
            r"rsa, ... \[default: cka,cka-biased]",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Layers, with commas: names, ranges (4-8) or patterns (conv*)."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="What folds keep together: utterance (default) or speaker.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of the jackknife (default 10).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of folds, caps and samples.")] = None,
    route: Annotated[
        str | None,
        typer.Option(
            help="auto (default), moments, blocks, gram: same numbers; minibatch: cheaper."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the products: float32 (default), float64, bfloat16.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the models: float32 (default), bfloat16, float16.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda:0.")] = None,
    batch_s: Annotated[
        float | None, typer.Option("--batch-seconds", help="Seconds of audio in a batch.")
    ] = None,
    memory_gib: Annotated[
        float | None,
        typer.Option(help="Memory for rows and products (default: a third)."),
    ] = None,
    disk_gib: Annotated[
        float | None, typer.Option(help="Disk for rows (default: what is free, less 2 GiB).")
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option(help="Rows that rsa-spearman, mutual-knn, cka-rbf use."),
    ] = None,
    span_rule: Annotated[
        str | None, typer.Option(help="How spans meet frames: centre (default) or pasad.")
    ] = None,
    span_part: Annotated[
        str | None, typer.Option(help="Part of a span: whole (default) or middle-third.")
    ] = None,
    per_type: Annotated[
        int | None, typer.Option(help="At most this many rows of one phone or word (seeded).")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Use a seeded subset of this many recordings.")
    ] = None,
    on_error: Annotated[
        str | None, typer.Option(help="A bad recording: skip it and list it (default), or stop.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name written into the results.")] = None,
    keep_store: Annotated[
        bool | None, typer.Option("--keep-store/--no-keep-store", help="Keep the rows on disk.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with the same settings; flags win over it.", exists=False),
    ] = None,
    overwrite: Annotated[
        str,
        typer.Option(
            help="If OUT holds results: missing (keep and finish), always, never, only-cache."
        ),
    ] = "missing",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, compute nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Compare every layer of every model with every other layer, within and across models.

    One pass over the audio; results.parquet, results.csv, run.json, figures and report.html go
    to OUT. Stop it with Ctrl-C whenever you like: the same command goes on where it stopped.

    Example: voxstrata similarity hubert-base wavlm-base-plus log-mel -c ~/my-recordings -o out
    """
    from voxstrata.config import load
    from voxstrata.errors import UsageError
    from voxstrata.similarity.settings import SimilarityConfig

    if config is None and not models:
        raise UsageError(
            "no model is named",
            expected="one or more models before the options",
            fix="for example: voxstrata similarity hubert-base log-mel --corpus FOLDER; "
            "`voxstrata models list` shows names",
        )
    if config is None and not corpus:
        raise UsageError(
            "no corpus is named",
            expected="--corpus with a folder of audio, a manifest or a corpus",
            fix="for example --corpus ~/recordings, or --corpus synthetic:demo; docs/corpora.md",
        )
    given: dict[str, Any] = {
        "models": tuple(models) if models else None,
        "corpus": corpus,
        "units": _split(unit),
        "measures": _split(measure),
        "layers": _split(layers),
        "group": group,
        "folds": folds,
        "seed": seed,
        "route": route,
        "precision": precision,
        "dtype": dtype,
        "device": device,
        "batch_s": batch_s,
        "memory_gib": memory_gib,
        "disk_gib": disk_gib,
        "max_rows": max_rows,
        "span_rule": span_rule,
        "span_part": span_part,
        "per_type": per_type,
        "limit": limit,
        "on_error": on_error,
        "study": study,
        "keep_store": keep_store,
    }
    run(load(SimilarityConfig, config, given), out, overwrite, dry_run=dry_run, quiet=quiet)


def run(
    settings: Any, out: Path, overwrite: str, *, dry_run: bool = False, quiet: bool = False
) -> None:
    """Run a similarity job from the command line: plan, compute, report, say where it is."""
    from rich.console import Console

    from voxstrata.errors import UsageError
    from voxstrata.report import draw_report
    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.prepare import prepare
    from voxstrata.streaming.runs import Hooks, Overwrite

    console = Console(stderr=True)
    if overwrite not in get_args(Overwrite):
        raise UsageError(
            "--overwrite is not understood",
            got=overwrite,
            expected="always, missing, never or only-cache",
        )
    if dry_run:
        show_plan(prepare(settings, out, afresh=overwrite == "always"), console)
        return
    hooks: Hooks[Prepared] = Hooks(
        planned=lambda prepared: show_plan(prepared, console), progress=not quiet
    )
    done_before = (out / "run.json").exists() and overwrite != "always"
    results = run_similarity(settings, out, overwrite=cast(Overwrite, overwrite), hooks=hooks)
    page = draw_report(out)
    skipped = len(results.record["corpus"]["skipped"])
    console.print(
        f"{len(results.table)} values "
        + ("were there already" if done_before else f"in {results.record['wall_s']:.0f} s")
        + (f"; {skipped} recordings skipped (listed in the report)" if skipped else "")
    )
    typer.echo(str(page))


def show_plan(prepared: Prepared, console: Any) -> None:
    """Print what is about to happen: sizes, routes and why, a rough time."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.similarity.estimate import estimate

    corpus = prepared.corpus
    seconds = sum(utterance.duration_s for utterance in corpus.utterances)
    console.print(
        f"[bold]{len(prepared.models)} models, {len(prepared.stack)} layers[/] over "
        f"[bold]{len(corpus)} recordings[/] ({seconds / 60:.1f} min) of {escape(corpus.name)}, "
        f"{max(prepared.folds) + 1} folds by {prepared.config.group}, on {prepared.device}"
    )
    table = Table("unit", "rows", "width", "route", "why")
    for job in prepared.jobs:
        plan = job.plan
        table.add_row(plan.unit, f"{plan.rows}", f"{plan.width}", plan.route, plan.reason)
    console.print(table)
    console.print(estimate(prepared).sentence())
    for problem in corpus.skipped[:5]:
        console.print(f"  left out: {problem}", style="yellow", markup=False)
    if len(corpus.skipped) > 5:
        console.print(f"  ... and {len(corpus.skipped) - 5} more", style="yellow")


def _split(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())
