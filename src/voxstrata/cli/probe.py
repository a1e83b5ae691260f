"""``voxstrata probe``: what simple heads can do with a model's layers."""

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
    KeepStore,
    Layers,
    Limit,
    Models,
    OnError,
    Out,
    OverwriteRule,
    Quiet,
    Study,
)
from voxstrata.cli.running import run_job

if TYPE_CHECKING:
    from voxstrata.probing.prepare import Prepared
    from voxstrata.probing.settings import ProbeConfig

TRAINING = "Training of heads"


def probe(
    models: Models = None,
    corpus: Corpus = None,
    out: Out = Path("probing"),
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            "-t",
            help="Names with commas, all (default), superb, YAML files of your own.",
        ),
    ] = None,
    corpus_map: Annotated[
        Path | None,
        typer.Option(
            "--corpus-map",
            "-m",
            help="YAML file: which corpus each task gets; or synthetic, demo: speech made here.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of settings; flags go before it.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List tasks and stop.")] = False,
    dry_run: DryRun = False,
    layers: Layers = None,
    limit: Limit = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="small (default), demo (minutes), superb (published constants), or a YAML file.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lrs: Annotated[
        str | None,
        typer.Option(
            help="Learning rates with commas, instead of the protocol's.", rich_help_panel=TRAINING
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Runs with other initial weights.", rich_help_panel=TRAINING),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates of every head.", rich_help_panel=TRAINING)
    ] = None,
    subsets: Annotated[
        str | None,
        typer.Option(
            help="Sums of some layers too, with commas; each a range or layers with +: 9-12,0+1.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--apart",
            help="Also sum the layers of all named models in one weighting.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    normalise: Annotated[
        bool | None,
        typer.Option(
            "--normalise/--as-they-are",
            help="Bring every frame of every layer to mean 0 and variance 1 first.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option(
            help="strict chooses on dev alone; superb by the published rules, some on test.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(
            help="ARPA or KenLM file: what ASR heads write is read with this language model too.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            help="With --lm: lines of a word and its letters (default: the ARPA file's words).",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames for heads that need them: disk (made once), live (models run again for "
            "every batch), auto (disk, where they fit).",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    twins: Annotated[
        bool | None,
        typer.Option("--twins/--no-twins", help="Untrained twins too.", rich_help_panel=TRAINING),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Features that stand beside the models (default mfcc); '' for none.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    controls: Annotated[
        bool | None,
        typer.Option(
            "--controls/--no-controls",
            help="Also train on labels dealt anew.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    ablation: Annotated[
        bool | None,
        typer.Option(
            "--ablation/--no-ablation",
            help="Also train the weighted sum without each layer.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    singles: Annotated[
        bool | None,
        typer.Option(
            "--singles/--sum-only",
            help="Also heads on each layer by itself; QbE has no other.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    utterance_layers: Annotated[
        str | None,
        typer.Option(
            help="Layers of one vector a recording, where heads read frames: 'leave out' (default) "
            "or 'repeat'.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of splits and heads.", rich_help_panel=TRAINING)
    ] = None,
    dtype: Dtype = None,
    device: Device = None,
    batch_s: BatchS = None,
    cluster: Cluster = None,
    on_error: OnError = None,
    study: Study = None,
    keep_store: KeepStore = None,
    overwrite: OverwriteRule = "missing",
    quiet: Quiet = False,
) -> None:
    """Probe layers: train small heads on frozen features, as SUPERB does.

    For every task and model: a head on every layer and on the learned sum of all layers, at every
    learning rate and seed; what is reported was chosen on dev speakers. Features are made once.
    results.parquet, probes.parquet (every head), weights.parquet (layer weights), run.json, figures
    and report.html go to OUT. Stop with Ctrl-C whenever you like: the same command goes on.

    Example: voxstrata probe hubert-base wavlm-base --tasks sid,ks,ic -m corpora.yaml -o out

    A first look: voxstrata probe log-mel -c synthetic:demo --tasks gender,channel -o out

    All ten tasks, offline: voxstrata probe melhubert-small log-mel -m demo --protocol demo -o out
    """
    from voxstrata.config import load
    from voxstrata.probing.settings import ProbeConfig

    if list_them:
        _list()
        return
    _check(models, corpus, corpus_map, config)
    given: dict[str, Any] = {
        "models": tuple(models) if models else None,
        "tasks": tasks,
        "corpus": corpus,
        "corpus_map": str(corpus_map) if corpus_map else None,
        "protocol": protocol,
        "layers": layers,
        "lrs": lrs,
        "seeds": seeds,
        "steps": steps,
        "subsets": subsets,
        "together": together,
        "normalise": normalise,
        "selection": selection,
        "lm": _language_model(lm, lexicon),
        "frames": frames,
        "twins": twins,
        "baseline": baseline,
        "controls": controls,
        "ablation": ablation,
        "singles": singles,
        "utterance_layers": utterance_layers,
        "seed": seed,
        "dtype": dtype,
        "device": device,
        "batch_s": batch_s,
        "cluster": cluster,
        "limit": limit,
        "on_error": on_error,
        "study": study,
        "keep_store": keep_store,
    }
    settings = load(ProbeConfig, config, given)
    if page := run(settings, out, overwrite, dry_run=dry_run, quiet=quiet):
        typer.echo(str(page))


def run(
    settings: ProbeConfig, out: Path, overwrite: str, *, dry_run: bool = False, quiet: bool = False
) -> Path | None:
    """Run a probing job from the command line: plan, compute, report.

    Returns:
        the page; ``None`` if only the plan was asked for.
    """
    from voxstrata.probing.job import run_probing
    from voxstrata.probing.prepare import prepare

    return run_job(
        run_probing,
        settings,
        out,
        overwrite,
        prepare=lambda afresh: prepare(settings, out, afresh=afresh),
        show_plan=_show_plan,
        dry_run=dry_run,
        quiet=quiet,
    )


def _check(
    models: list[str] | None, corpus: str | None, corpus_map: Path | None, config: Path | None
) -> None:
    from voxstrata.errors import UsageError

    if config is not None:
        return
    if not models:
        raise UsageError(
            "no model is named",
            expected="one or more models before the options",
            fix="for example: voxstrata probe hubert-base log-mel --corpus FOLDER; "
            "`voxstrata models list` shows names",
        )
    if not corpus and not corpus_map:
        raise UsageError(
            "no corpus is named",
            expected="--corpus with one corpus for all tasks, or --corpus-map with a YAML file",
            fix="for example --corpus synthetic:demo or --corpus-map synthetic; docs/probing.md "
            "says what a map looks like",
        )


def _language_model(lm: Path | None, lexicon: Path | None) -> dict[str, str] | None:
    """The two files as settings have them."""
    from voxstrata.errors import UsageError

    if lm is None and lexicon is not None:
        raise UsageError(
            "--lexicon without --lm",
            expected="the language model that the lexicon is of",
            fix="--lm FILE; or both in the file of --config: lm: {file: ..., lexicon: ...}",
        )
    if lm is None:
        return None
    given = {"file": str(lm)}
    return given if lexicon is None else given | {"lexicon": str(lexicon)}


def _show_plan(prepared: Prepared, console: Any) -> None:
    """Print what is about to happen: tasks with their examples, what is left out, disk."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.probing.task import PARTS

    seconds = sum(utterance.duration_s for utterance in prepared.utterances)
    frames = ""
    if prepared.frame_ids:
        frames = (
            f", {prepared.frame_bytes / 1e6:.1f} MB of them all frames of "
            f"{len(prepared.frame_ids)} recordings"
        )
    console.print(
        f"[bold]{len(prepared.models)} models, {len(prepared.stack)} layers[/] over "
        f"[bold]{len(prepared.utterances)} recordings[/] ({seconds / 60:.1f} min), protocol "
        f"{escape(prepared.protocol.name)}, on {prepared.device}; features take "
        f"{prepared.disk_bytes / 1e6:.1f} MB{frames}"
    )
    table = Table("task", "classes", *PARTS, "rounds", "steps")
    for one in prepared.asked:
        first = one.data.rounds[0].parts
        table.add_row(
            escape(one.task.title),
            escape(" x ".join(str(len(names)) for names in one.data.classes.values())),
            *(str(len(first[part])) for part in PARTS),
            str(len(one.data.rounds)),
            str(prepared.protocol.of(one.task.name).steps) if len(first["train"]) else "-",
        )
    console.print(table)
    if prepared.reader is not None:
        words = f"{len(prepared.reader.vocabulary)} words"
        file = prepared.reader.settings.file
        console.print(f"  read with {file} too: {words}", markup=False, highlight=False)
    for item in prepared.left_out:
        console.print(
            f"  left out: {item.name}: {item.reason}", style="yellow", markup=False, highlight=False
        )


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from voxstrata.probing.registry import TASKS, get_task

    table = Table("task", "asks", "needs the tiers", "test speakers")
    for name in TASKS.names():
        task = get_task(name)
        needed = ", ".join(dict.fromkeys(task.tiers))
        if other := getattr(task, "otherwise", None):
            needed += f"; or {', '.join(other.values())}"
        table.add_row(name, task.summary, needed, task.speakers)
    console = Console()
    console.print(table)
    console.print(
        "A task of your own is a YAML or Python file: --tasks sid,mine.yaml (docs/probing.md).",
        markup=False,
        highlight=False,
    )
