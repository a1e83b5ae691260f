"""``voxstrata properties``: what every layer of every model encodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli.options import (
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
    from voxstrata.properties.settings import PropertiesConfig

Pairs = list[str] | None

FILES = "Files of yours"
DOUBT = "Controls and intervals"
SIZES = "Sizes"
"""Headings of --help."""


def properties(
    models: Models = None,
    corpus: Corpus = None,
    out: Out = Path("properties"),
    wanted: Annotated[
        str | None,
        typer.Option(
            "--properties",
            "-p",
            help="Names with commas (cca-phone, mi-word, abx-phone, linear:emotion, ...), or all "
            "that the corpus allows (default). --list shows them.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="voxstrata (default) or pasad2023, the published protocol."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="published (default): sizes as published, what is too small is refused. "
            "small: sizes fit the corpus, and the report says how."
        ),
    ] = None,
    layers: Layers = None,
    limit: Limit = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with the same settings; flags win over it (docs/properties.md).",
            exists=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    list_them: Annotated[
        bool, typer.Option("--list", help="List the properties with what each asks for, and stop.")
    ] = False,
    vectors: Annotated[
        Pairs,
        typer.Option(
            help="NAME=FILE of word vectors (glove=glove.840B.300d.txt); repeatable.",
            rich_help_panel=FILES,
        ),
    ] = None,
    attributes: Annotated[
        Pairs,
        typer.Option(
            help="NAME=FILE of word attributes (semantic, syntactic, ...).", rich_help_panel=FILES
        ),
    ] = None,
    table: Annotated[
        Pairs,
        typer.Option(
            help="NAME=FILE of values by utterance or speaker (csv, parquet).",
            rich_help_panel=FILES,
        ),
    ] = None,
    wordsim: Annotated[
        Pairs,
        typer.Option(
            help="Word-similarity list (two words and a score a line).", rich_help_panel=FILES
        ),
    ] = None,
    sentences: Annotated[
        str | None,
        typer.Option(
            help="Sentence pairs (two utterance ids and a score a line).", rich_help_panel=FILES
        ),
    ] = None,
    twins: Annotated[
        bool | None,
        typer.Option(
            "--twins/--no-twins",
            help="Also run the untrained twin of each trained model (default): its control.",
            rich_help_panel=DOUBT,
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            help="Seeded draws of rows (default 1); more widen intervals.", rich_help_panel=DOUBT
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Folds of cross-validation (default 5). 10 take twice as long and tell layers "
            "apart a little better.",
            rich_help_panel=DOUBT,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="What folds keep together: utterance (default) or speaker.",
            rich_help_panel=DOUBT,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of draws, folds, controls (default 0).", rich_help_panel=DOUBT),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="Frames in the frame sample (default 20000).", rich_help_panel=SIZES),
    ] = None,
    phones_per_type: Annotated[
        int | None,
        typer.Option(help="Instances of one phone, at most (default 200).", rich_help_panel=SIZES),
    ] = None,
    words: Annotated[
        int | None,
        typer.Option(
            help="Word types for word identity, the most frequent (default 500).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    words_per_type: Annotated[
        int | None,
        typer.Option(help="Instances of each of these words (default 15).", rich_help_panel=SIZES),
    ] = None,
    all_words_per_type: Annotated[
        int | None,
        typer.Option(
            help="Instances of one word for meaning and word vectors, at most (default 200).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    min_s: Annotated[
        float | None,
        typer.Option(
            "--min-seconds",
            help="Shortest phone or word that counts (default 0).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    max_s: Annotated[
        float | None,
        typer.Option(
            "--max-seconds",
            help="Longest phone or word that counts (default: any).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    sequence_s: Annotated[
        float | None,
        typer.Option(
            "--sequence-seconds",
            help="Audio for ABX and segmentation (default 600).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    clusters_phone: Annotated[
        int | None,
        typer.Option(
            help="k of k-means for phones: mi-phone, pnmi (default 500).", rich_help_panel=SIZES
        ),
    ] = None,
    clusters_word: Annotated[
        int | None,
        typer.Option(help="k of k-means for words: mi-word (default 5000).", rich_help_panel=SIZES),
    ] = None,
    kmeans_seeds: Annotated[
        int | None, typer.Option(help="k-means runs a draw (default 3).", rich_help_panel=SIZES)
    ] = None,
    pca: Annotated[
        int | None,
        typer.Option(
            help="Principal components of a layer that CCA keeps (default: all).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    dtype: Dtype = None,
    device: Device = None,
    batch_s: BatchS = None,
    cluster: Cluster = None,
    disk_gib: DiskGib = None,
    on_error: OnError = None,
    study: Study = None,
    keep_store: KeepStore = None,
    overwrite: OverwriteRule = "missing",
    quiet: Quiet = False,
) -> None:
    """Measure what every layer encodes: sound, phones, words, meaning, speaker.

    One pass over the audio for all models and properties; results.parquet, results.csv, run.json,
    figures and report.html go to OUT. Every number has its control (shuffled rows or permuted
    labels) beside it. Stop with Ctrl-C whenever you like: the same command goes on.

    Example: voxstrata properties hubert-base log-mel -c ~/my-corpus -o out

    A first look: voxstrata properties log-mel mfcc -c synthetic:tiny --scale small -o out

    Afterwards: voxstrata layers out --for asr
    """
    from voxstrata.config import load
    from voxstrata.properties.settings import PropertiesConfig

    if list_them:
        _list()
        return
    check_named("properties", models, corpus, config)
    given: dict[str, Any] = {
        "models": tuple(models) if models else None,
        "corpus": corpus,
        "properties": wanted,
        "preset": preset,
        "scale": scale,
        "layers": layers,
        "twins": twins,
        "draws": draws,
        "folds": folds,
        "group": group,
        "seed": seed,
        "frames": frames,
        "phones_per_type": phones_per_type,
        "words": words,
        "words_per_type": words_per_type,
        "all_words_per_type": all_words_per_type,
        "clusters_phone": clusters_phone,
        "clusters_word": clusters_word,
        "kmeans_seeds": kmeans_seeds,
        "pca": pca,
        "min_s": min_s,
        "max_s": max_s,
        "sequence_s": sequence_s,
        "vectors": _pairs("--vectors", vectors),
        "attributes": _pairs("--attributes", attributes),
        "tables": _pairs("--table", table),
        "wordsim": tuple(wordsim) if wordsim else None,
        "sentences": sentences,
        "dtype": dtype,
        "device": device,
        "batch_s": batch_s,
        "cluster": cluster,
        "disk_gib": disk_gib,
        "limit": limit,
        "on_error": on_error,
        "study": study,
        "keep_store": keep_store,
    }
    settings = load(PropertiesConfig, config, given)
    if page := run(settings, out, overwrite, dry_run=dry_run, quiet=quiet):
        typer.echo(str(page))


def run(
    settings: PropertiesConfig,
    out: Path,
    overwrite: str,
    *,
    dry_run: bool = False,
    quiet: bool = False,
) -> Path | None:
    """Run a properties job from the command line: plan, compute, report.

    Returns:
        the page; ``None`` if only the plan was asked for.
    """
    from voxstrata.cli.properties_plan import show_end, show_plan
    from voxstrata.properties.job import run_properties
    from voxstrata.properties.prepare import prepare

    return run_job(
        run_properties,
        settings,
        out,
        overwrite,
        prepare=lambda afresh: prepare(settings, out, afresh=afresh),
        show_plan=show_plan,
        show_end=lambda results, console, before: show_end(results, console, done_before=before),
        dry_run=dry_run,
        quiet=quiet,
    )


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from voxstrata.properties.registry import PROPERTIES, TAKES_ARGUMENT

    table = Table("property", "what it asks of a layer")
    for entry in PROPERTIES.entries():
        name = f"{entry.name}:..." if entry.name in TAKES_ARGUMENT else entry.name
        table.add_row(name, entry.summary)
    console = Console()
    console.print(table)
    console.print(
        "NAME:... takes an argument, as in linear:emotion, cca-tier:channel, cca-model:mfcc; "
        "cca-table:ages goes with --table ages=FILE, cca-vectors:my with --vectors my=FILE. What a "
        "corpus cannot answer is left out with the reason: voxstrata properties MODEL -c CORPUS "
        "--dry-run. docs/properties.md says more.",
        markup=False,
        highlight=False,
        soft_wrap=False,
    )


def _pairs(flag: str, given: Pairs) -> dict[str, str] | None:
    """NAME=FILE flags as a mapping."""
    from voxstrata.errors import UsageError

    if not given:
        return None
    found: dict[str, str] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise UsageError(
                f"{flag} is not understood", got=item, expected="NAME=FILE", fix=f"{flag} my={item}"
            )
        found[name] = path
    return found
