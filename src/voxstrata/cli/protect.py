"""``voxstrata protect``: does protecting neurons while pruning keep what they know?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli.options import (
    BatchS,
    Device,
    DryRun,
    Out,
    OverwriteRule,
    Quiet,
    Study,
)
from voxstrata.cli.running import run_job

if TYPE_CHECKING:
    from voxstrata.neurons.protection.prepare import Prepared

FIND = "Neurons"
PRUNE = "Pruning"
MEASURE = "What is measured"


def protect(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="The model.", show_default=False)
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", "-c", help="Where the neurons are found.")
    ] = None,
    corpus_map: Annotated[
        Path | None,
        typer.Option("--corpus-map", "-m", help="YAML file: which corpus each task gets."),
    ] = None,
    out: Out = Path("protection"),
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of settings; flags go before it.")
    ] = None,
    dry_run: DryRun = False,
    contrast: Annotated[
        str | None,
        typer.Option(
            help="What tells the neurons apart (ivector=2/clusters=3).", rich_help_panel=FIND
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Protect this group's neurons alone.", rich_help_panel=FIND)
    ] = None,
    found: Annotated[
        str | None,
        typer.Option(
            help="published: the published rule's; tested: those tested one by one.",
            rich_help_panel=FIND,
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(help="When a neuron is active (top=0.01).", rich_help_panel=FIND),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Share of rows in which a group's neurons are above chance (0.8).",
            rich_help_panel=FIND,
        ),
    ] = None,
    ivector: Annotated[
        str | None,
        typer.Option(help="i-vector model; by default trained here.", rich_help_panel=FIND),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Rows of each feed-forward part that stay, with commas (a quarter, a half and "
            "three quarters).",
            rich_help_panel=PRUNE,
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="What is protected instead: others of nearly the same rank in the pruning score "
            "(score), of the same weight in the residual stream (norm), or any (random).",
            rich_help_panel=PRUNE,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Repeats (2): other control sets and, with --tune, other trainings.",
            rich_help_panel=PRUNE,
        ),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="By which rows go (l1).", rich_help_panel=PRUNE)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Prunings on the way (1).", rich_help_panel=PRUNE)
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE", help="Train between and after the prunings.", rich_help_panel=PRUNE
        ),
    ] = None,
    tune_steps: Annotated[
        int | None, typer.Option(help="Updates after each pruning.", rich_help_panel=PRUNE)
    ] = None,
    base_steps: Annotated[
        int | None,
        typer.Option(
            help="With --tune: updates of the model before it is pruned.", rich_help_panel=PRUNE
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="Change the recipe.", rich_help_panel=PRUNE
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", "-t", help="With commas (sid,pr).", rich_help_panel=MEASURE),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Of the heads (small).", rich_help_panel=MEASURE)
    ] = None,
    lrs: Annotated[
        str | None,
        typer.Option(
            help="Learning rates of the heads with commas, instead of the protocol's.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    probe_seeds: Annotated[
        int | None,
        typer.Option(help="Runs of the heads of each model (1).", rich_help_panel=MEASURE),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(help="Corpus whose pairs are verified too.", rich_help_panel=MEASURE),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(help="Of the trials: random (default) or none.", rich_help_panel=MEASURE),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Layer that is the embedding there (last).", rich_help_panel=MEASURE),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Scoring of the trials, instead of cosine (whose scores are in OUT/verify).",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    backend_from: Annotated[
        str | None, typer.Option(help="Corpus it is learned from.", rich_help_panel=MEASURE)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="First seed.", rich_help_panel=MEASURE)] = None,
    study: Study = None,
    device: Device = None,
    batch_s: BatchS = None,
    overwrite: OverwriteRule = "missing",
    quiet: Quiet = False,
) -> None:
    """Find neurons, prune with and without protecting them, and measure what is left.

    The experiment of Lin et al. (arXiv 2506.21712): does a model that was pruned around its speaker
    neurons know speakers better than one that was pruned by weight alone? At every size there are
    models without protection, with it, and with as many other neurons protected instead, and the
    page says what was found, whichever way it came out. Inside OUT lie whole folders of `voxstrata
    neurons`, `prune`, `probe` and `verify`; a run that is stopped goes on where it was.

    Example: voxstrata protect melhubert-small -c synthetic:demo -m demo -o out

    Example: voxstrata protect melhubert-small -c ../shared/data/speechocean762_l2 -m map.yaml
    --tasks sid,pr --trials ../shared/data/speechocean762_l2 -o out
    """
    from voxstrata.config import load
    from voxstrata.errors import UsageError
    from voxstrata.neurons.protection.job import run_protection
    from voxstrata.neurons.protection.prepare import prepare
    from voxstrata.neurons.protection.settings import ProtectionConfig

    if config is None and not (model and corpus and corpus_map):
        raise UsageError(
            "a model, a corpus and a map of tasks are needed",
            got=", ".join(f"{k}: {v}" for k, v in (("model", model), ("corpus", corpus)) if v)
            or "nothing",
            fix="for example: voxstrata protect melhubert-small -c CORPUS -m map.yaml -o OUT",
        )
    given = {
        "model": model,
        "corpus": corpus,
        "corpus_map": str(corpus_map) if corpus_map else None,
        "contrast": contrast,
        "group": group,
        "found": found,
        "rule": rule,
        "sigma": sigma,
        "ivector": ivector,
        "keep": keep,
        "control": control,
        "seeds": seeds,
        "score": score,
        "steps": steps,
        "tune": tune,
        "tune_steps": tune_steps,
        "base_steps": base_steps,
        "changes": tuple(change) if change else None,
        "tasks": tasks,
        "protocol": protocol,
        "probe_lrs": lrs,
        "probe_seeds": probe_seeds,
        "trials": trials,
        "channel": channel,
        "layer": layer,
        "backend": backend,
        "backend_from": backend_from,
        "seed": seed,
        "study": study,
        "device": device,
        "batch_s": batch_s,
    }
    settings = load(ProtectionConfig, config, given)
    page = run_job(
        run_protection,
        settings,
        out,
        overwrite,
        prepare=lambda _afresh: prepare(settings, out.absolute()),
        show_plan=_show_plan,
        dry_run=dry_run,
        quiet=quiet,
    )
    if page is not None:
        typer.echo(str(page))


def _show_plan(prepared: Prepared, console: Any) -> None:
    from rich.markup import escape

    config = prepared.config
    console.print(
        f"[bold]{escape(config.model)}[/]: neurons of {escape(config.contrast)} on "
        f"{escape(config.corpus)}; {len(prepared.wanted)} pruned models "
        f"({', '.join(map(str, prepared.keep))} rows; {', '.join(config.conditions)}; "
        f"{config.seeds} seeds); then {escape(', '.join(config.tasks))}"
        + (f" and trials of {escape(config.trials)}" if config.trials else ""),
        highlight=False,
    )
    for notice in prepared.notices:
        console.print(f"[yellow]Note:[/] {escape(notice)}", highlight=False)
