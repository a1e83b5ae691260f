"""``voxstrata similarity``: every layer of every model against every other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli.options import (
    MACHINE,
    BatchS,
    Cluster,
    Corpus,
    Device,
    DiskGib,
    DryRun,
    Dtype,
    KeepStore,
    Layers,
    Limit,
    Models,
    OnError,
    Out,
    OverwriteRule,
    Quiet,
    Study,
    check_named,
)
from voxstrata.cli.running import run_job

if TYPE_CHECKING:
    from voxstrata.similarity.prepare import Prepared
    from voxstrata.similarity.settings import SimilarityConfig


def similarity(
    models: Models = None,
    corpus: Corpus = None,
    out: Out = Path("similarity"),
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
    layers: Layers = None,
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
    dtype: Dtype = None,
    device: Device = None,
    batch_s: BatchS = None,
    cluster: Cluster = None,
    memory_gib: Annotated[
        float | None,
        typer.Option(
            help="Memory for rows and products (default: a third of the machine's).",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    disk_gib: DiskGib = None,
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
    limit: Limit = None,
    on_error: OnError = None,
    study: Study = None,
    keep_store: KeepStore = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with the same settings; flags win over it.", exists=False),
    ] = None,
    overwrite: OverwriteRule = "missing",
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Compare every layer of every model with every other layer, within and across models.

    One pass over the audio; results.parquet, results.csv, run.json, figures and report.html go
    to OUT. Stop it with Ctrl-C whenever you like: the same command goes on where it stopped.

    Example: voxstrata similarity hubert-base wavlm-base-plus log-mel -c ~/my-recordings -o out
    """
    from voxstrata.config import load
    from voxstrata.similarity.settings import SimilarityConfig

    check_named("similarity", models, corpus, config)
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
        "cluster": cluster,
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
    settings = load(SimilarityConfig, config, given)
    if page := run(settings, out, overwrite, dry_run=dry_run, quiet=quiet):
        typer.echo(str(page))


def run(
    settings: SimilarityConfig,
    out: Path,
    overwrite: str,
    *,
    dry_run: bool = False,
    quiet: bool = False,
) -> Path | None:
    """Run a similarity job from the command line: plan, compute, report.

    Returns:
        the page; ``None`` if only the plan was asked for.
    """
    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.prepare import prepare

    return run_job(
        run_similarity,
        settings,
        out,
        overwrite,
        prepare=lambda afresh: prepare(settings, out, afresh=afresh),
        show_plan=show_plan,
        dry_run=dry_run,
        quiet=quiet,
    )


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
    from voxstrata.config import split_names

    return None if text is None else split_names(text)
