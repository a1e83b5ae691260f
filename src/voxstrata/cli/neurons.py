"""``voxstrata neurons``: which neurons tell speakers, genders, phones or clusters apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli.options import (
    BatchS,
    Cluster,
    Corpus,
    Device,
    DryRun,
    Dtype,
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
    from voxstrata.neurons.prepare import Prepared

RULES = "What counts as a neuron of a group"
CHANCE = "What is held against chance"


def neurons(
    models: Models = None,
    corpus: Corpus = None,
    out: Out = Path("neurons"),
    contrast: Annotated[
        list[str] | None,
        typer.Option(
            "--contrast",
            help="GROUPS or GROUPS/ROWS, as often as you like: gender/phones, "
            "ivector=2/clusters=3, classes/phones, pitch/phones, speaker/clusters=3, clusters=3, "
            "labels=FILE.csv/phones.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of settings; flags go before it.")
    ] = None,
    dry_run: DryRun = False,
    layers: Layers = None,
    limit: Limit = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="When a neuron is active: top=0.01 (published: the largest 1 % of each frame), "
            "threshold=X, quantile=Q.",
            rich_help_panel=RULES,
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Share of a group's rows in which its neurons are above chance (0.8).",
            rich_help_panel=RULES,
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames of a phone that count: all (default), middle, or published (the middle "
            "one of each run, the last run left out).",
            rich_help_panel=RULES,
        ),
    ] = None,
    cluster_layer: Annotated[
        str | None,
        typer.Option(
            help="Layer that clusters=K clusters (the middle one).", rich_help_panel=RULES
        ),
    ] = None,
    ivector: Annotated[
        str | None,
        typer.Option(
            help="i-vector model for ivector=G; by default one is trained on the corpus.",
            rich_help_panel=RULES,
        ),
    ] = None,
    semivowels: Annotated[
        bool | None,
        typer.Option(
            "--semivowels/--no-semivowels",
            help="L, R, W, Y as a broad class of their own.",
            rich_help_panel=RULES,
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Labellings dealt anew for the null (200).", rich_help_panel=CHANCE),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            help="What is counted by itself: recording, speaker, auto. Labels are shuffled over "
            "whole speakers in any case, where recordings have one.",
            rich_help_panel=CHANCE,
        ),
    ] = None,
    splits: Annotated[
        int | None,
        typer.Option(help="Split halves for stability (20).", rich_help_panel=CHANCE),
    ] = None,
    sweep: Annotated[
        bool | None,
        typer.Option(
            "--sweep/--no-sweep",
            help="The selection with other k, seeds of k-means and shares of neurons too.",
            rich_help_panel=CHANCE,
        ),
    ] = None,
    rankings: Annotated[
        bool | None,
        typer.Option(
            "--rankings/--no-rankings",
            help="Rank neurons by other methods too, and compare.",
            rich_help_panel=CHANCE,
        ),
    ] = None,
    twins: Annotated[
        bool | None,
        typer.Option("--twins/--no-twins", help="Untrained twins too.", rich_help_panel=CHANCE),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random.", rich_help_panel=CHANCE)
    ] = None,
    study: Study = None,
    dtype: Dtype = None,
    device: Device = None,
    batch_s: BatchS = None,
    cluster: Cluster = None,
    on_error: OnError = None,
    overwrite: OverwriteRule = "missing",
    quiet: Quiet = False,
) -> None:
    """Find the neurons that tell groups apart, and say how many chance alone would give.

    A neuron is a dimension of the hidden layer of a feed-forward part (or a channel of ECAPA-TDNN).
    It belongs to a group (a gender, a cluster of speakers, a phone class) if it is active above
    chance in most rows of that group and of no other. The same selection with labels dealt anew
    stands beside every number: without it, a dozen "gender neurons" a layer mean nothing.

    OUT gets a page, the tables, every neuron (neurons.parquet) and the sets (sets/MODEL/*.json),
    which `voxstrata edit` erases and `voxstrata prune` protects.

    Example: voxstrata neurons melhubert-small -c synthetic:demo -o out

    Example: voxstrata neurons hubert-base -c librispeech:/corpora/LibriSpeech,part=dev-clean
    --contrast ivector=2/clusters=3 --contrast gender/phones -o out
    """
    from voxstrata.config import load
    from voxstrata.neurons.job import run_neurons
    from voxstrata.neurons.prepare import prepare
    from voxstrata.neurons.settings import NeuronsConfig

    check_named("neurons", models, corpus, config)
    given = {
        "models": models or None,
        "corpus": corpus,
        "contrasts": contrast or None,
        "rule": rule,
        "sigma": sigma,
        "layers": layers or None,
        "cluster_layer": cluster_layer,
        "ivector": ivector,
        "frames": frames,
        "semivowels": semivowels,
        "draws": draws,
        "units": units,
        "splits": splits,
        "sweep": sweep,
        "rankings": rankings,
        "twins": twins,
        "seed": seed,
        "limit": limit,
        "study": study,
        "dtype": dtype,
        "device": device,
        "batch_s": batch_s,
        "cluster": cluster,
        "on_error": on_error,
    }
    settings = load(NeuronsConfig, config, given)
    page = run_job(
        run_neurons,
        settings,
        out,
        overwrite,
        prepare=lambda _afresh: prepare(settings),
        show_plan=show_plan,
        dry_run=dry_run,
        quiet=quiet,
    )
    if page is not None:
        typer.echo(str(page))


def show_plan(prepared: Prepared, console: Any) -> None:
    """Print what is about to happen: models, contrasts, what is left out."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.neurons.prepare import describe

    console.print(
        f"[bold]{len(prepared.analysed)} models[/] over [bold]{len(prepared.corpus)} recordings[/] "
        f"({prepared.corpus.seconds / 60:.1f} min, {len(prepared.corpus.speakers)} speakers), "
        f"counted by {prepared.by}, on {prepared.device}"
    )
    table = Table("model", "layers", "neurons", "active a frame")
    for line in describe(prepared):
        table.add_row(
            escape(line["model"]),
            str(line["layers"]),
            str(line["neurons"]),
            str(line["active a frame"] or "by rule"),
        )
    console.print(table)
    table = Table("contrast", "groups", "rows", "labels of")
    for contrast in prepared.analysed[0].contrasts:
        labels = contrast.labels
        table.add_row(
            escape(contrast.name),
            escape(", ".join(contrast.groups[:4]) + (", ..." if len(contrast.groups) > 4 else "")),
            str(len(contrast.rows.rows)),
            "frames" if labels is None else f"{len(labels.of) or len(prepared.corpus)} recordings",
        )
    console.print(table)
    for item in prepared.left_out:
        console.print(
            f"  left out: {item.name}: {item.reason}", style="yellow", markup=False, highlight=False
        )
