"""``voxstrata prune``: a smaller model out of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.neurons.pruning.job import Prepared
    from voxstrata.results import Results

TUNING = "Training in between"
SCORES = "What the scores look at"


def prune(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="The model.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output folder; resumed if unfinished."),
    ] = None,
    what: Annotated[
        str,
        typer.Option(
            help="rows: feed-forward neurons. heads: of attention. weights: single numbers become "
            "zero. low-rank: linear maps become products of two thinner ones. layers: fewer "
            "blocks, taught by the whole model."
        ),
    ] = "rows",
    keep: Annotated[
        str | None,
        typer.Option(
            help="Left at the end: rows of each layer, heads of each block, or blocks; "
            "'protected' for the rows of --protect alone."
        ),
    ] = None,
    score: Annotated[
        str, typer.Option(help="Lowest go first: l1, activation, taylor, random (--list).")
    ] = "l1",
    scope: Annotated[
        str,
        typer.Option(help="layer: as many from each. whole: the lowest of all layers together."),
    ] = "layer",
    steps: Annotated[int, typer.Option(min=1, help="In so many steps.")] = 1,
    each_step: Annotated[
        str | None,
        typer.Option(help="Instead of --keep: rows or heads that go from each layer in a step."),
    ] = None,
    sparsity: Annotated[
        str | None,
        typer.Option(help="For weights: share of zeros at the end, or at each step (.2,.4,.5)."),
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="For low-rank: the rank.")] = None,
    share: Annotated[
        float | None, typer.Option(help="For low-rank: share of the parameters that is left.")
    ] = None,
    maps: Annotated[
        str | None,
        typer.Option(help="For low-rank: which maps (q,k,v,out,ffn.up,ffn.down); all by default."),
    ] = None,
    protect: Annotated[
        Path | None,
        typer.Option(help="Rows that stay: a neuron set of this model (OUT/sets/NAME.json)."),
    ] = None,
    protect_by: Annotated[
        str | None,
        typer.Option(
            help="Instead: what --corpus is asked anew before every step, with commas "
            "(gender/phones,clusters=3), as for `voxstrata neurons`."
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="With --protect-by: all: once a step. each: anew for each layer, after those "
            "below were pruned."
        ),
    ] = "all",
    rule: Annotated[
        str, typer.Option(help="When a neuron is active, for --protect-by.")
    ] = "top=0.01",
    sigma: Annotated[
        float, typer.Option(help="Least share of a group's rows, for --protect-by.")
    ] = 0.8,
    ivector: Annotated[
        str | None, typer.Option(help="An i-vector model, for contrasts that need one.")
    ] = None,
    prune_min: Annotated[
        int, typer.Option(min=1, help="Rows that every layer keeps at least.")
    ] = 1,
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus", "-c", help="Speech for activation and --protect-by.", rich_help_panel=SCORES
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How much of it.", rich_help_panel=SCORES)] = 600.0,
    batches: Annotated[
        int,
        typer.Option(min=1, help="Training batches for taylor.", rich_help_panel=SCORES),
    ] = 50,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Train after each step: a recipe of `voxstrata train` for MelHuBERT.",
            rich_help_panel=TUNING,
        ),
    ] = None,
    tune_steps: Annotated[
        str | None,
        typer.Option(
            help="Optimiser steps after each pruning; one number, or one a step.",
            rich_help_panel=TUNING,
        ),
    ] = None,
    warm_up: Annotated[
        int, typer.Option(min=0, help="Before the first pruning.", rich_help_panel=TUNING)
    ] = 0,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="Change the recipe: -s schedule.lr=1e-5 -s data.corpus=/corpora/mine.",
            rich_help_panel=TUNING,
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=0,
            help="How often latency is measured; 0: not.",
            rich_help_panel=options.MACHINE,
        ),
    ] = 5,
    latency_s: Annotated[
        float,
        typer.Option(
            "--latency-seconds", help="On so much audio.", rich_help_panel=options.MACHINE
        ),
    ] = 5.0,
    name: Annotated[
        str, typer.Option(help="Of the model that comes out.", rich_help_panel=options.MACHINE)
    ] = "pruned",
    seed: Annotated[
        int, typer.Option(min=0, help="Of all samples.", rich_help_panel=options.MACHINE)
    ] = 0,
    device: options.Device = None,
    overwrite: options.OverwriteRule = "missing",
    dry_run: options.DryRun = False,
    listing: Annotated[bool, typer.Option("--list", help="Show scores, and end.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a model smaller: MelHuBERT and the Transformers of the huggingface family.

    OUT/model is an ordinary model folder, usable wherever a model is named. Parameters,
    operations and measured time before and after are printed and written to OUT; every step
    stays in OUT/steps. Neurons that matter for something (`voxstrata neurons` finds them) can be
    protected. With --tune a MelHuBERT is trained on by its own objective after every step, with
    an optimiser that starts anew, as published; a run that is stopped goes on in the step it was
    in when the same command is given again.

    Rows: voxstrata prune melhubert-small --keep 256 --steps 4 -o small

    Protected: voxstrata prune melhubert-small --keep 256 --protect out/sets/speaker.json -o safe

    Trained in between: voxstrata prune melhubert-small --keep 256 --steps 4 --tune
    melhubert-small --tune-steps 500 -s schedule.lr=1e-4 -o tuned

    Heads: voxstrata prune hubert-base --what heads --keep 8 -o fewer-heads

    Fewer blocks: voxstrata prune melhubert-small --what layers --keep 2 --tune melhubert-small
    --tune-steps 2000 -o student

    Then: voxstrata probe melhubert-small small/model safe/model -c CORPUS --tasks sid,pr -o probes
    """
    from rich.console import Console

    from voxstrata.config import build
    from voxstrata.errors import UsageError
    from voxstrata.neurons.pruning.settings import PruneConfig

    console = Console()
    if listing:
        _show_scores(console)
        return
    if model is None:
        raise UsageError(
            "no model is named",
            fix="for example: voxstrata prune melhubert-small --keep 256 -o out",
        )
    if out is None and not dry_run:
        raise UsageError("where shall the model go?", fix="give a folder: -o OUT")
    given: dict[str, Any] = {
        "model": model, "what": what, "score": score, "scope": scope, "steps": steps,
        "keep": "protected" if keep == "protected" else _number(keep, "--keep", int),
        "each_step": _numbers(each_step, "--each-step", int),
        "sparsity": _numbers(sparsity, "--sparsity", float),
        "rank": rank, "share": share, "maps": _parts(maps),
        "protect": str(protect) if protect is not None else None, "prune_min": prune_min,
        "protect_by": _parts(protect_by), "strategy": strategy, "ivector": ivector,
        "rule": rule, "sigma": sigma,
        "corpus": corpus, "seconds": seconds, "batches": batches, "tune": tune,
        "changes": tuple(change or ()), "tune_steps": _numbers(tune_steps, "--tune-steps", int),
        "warm_up": warm_up, "repeats": repeats, "latency_s": latency_s, "name": name,
        "seed": seed, "device": device or "auto",
    }  # fmt: skip
    config = build(PruneConfig, given, source="arguments")
    rule = options.known_overwrite(overwrite)
    from voxstrata.neurons.pruning.job import MODEL, prepare, run_pruning
    from voxstrata.streaming.runs import Hooks

    if dry_run:
        _show_plan(console, prepare(config))
        return
    assert out is not None
    hooks: Hooks[Prepared] = Hooks(
        planned=lambda prepared: _show_plan(console, prepared) if not quiet else None,
        progress=not quiet,
        say=lambda text: console.print(text, highlight=False) if not quiet else None,
    )
    found = run_pruning(config, out, overwrite=rule, hooks=hooks)
    if not quiet:
        _show_costs(console, found)
        console.print("the model is in", highlight=False)
    typer.echo(str(out / MODEL))


def _parts(text: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",")) if text else None


def _number(text: str | None, option: str, kind: type) -> Any:
    """A number, or ``None``.

    Raises:
        UsageError: it is none.
    """
    from voxstrata.errors import UsageError

    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise UsageError(
            f"{option} is not understood", got=text, expected="a number" if kind is float
            else "a whole number",
        ) from None  # fmt: skip


def _numbers(text: str | None, option: str, kind: type) -> Any:
    """A number, or several with commas."""
    parts = _parts(text)
    if parts is None or len(parts) == 1:
        return _number(text, option, kind)
    return tuple(_number(part, option, kind) for part in parts)


def _show_plan(console: Console, prepared: Prepared) -> None:
    config, cost = prepared.config, prepared.before
    console.print(
        f"{config.model}: {cost.parameters / 1e6:.3g} million parameters, "
        f"{cost.flops / 1e9:.3g} billion operations a second of audio; "
        f"{_sizes(cost.feed_forward)} neurons a layer, {_sizes(cost.heads)} heads a block",
        highlight=False,
        soft_wrap=True,
    )
    for step in prepared.steps:
        done = (
            "training first"
            if step.amount is None
            else f"step {step.number}: {_goes(config, step)}"
        )
        if prepared.recipe is not None and step.tune != 0:
            steps = step.tune or prepared.recipe.run.steps
            done += f", then {steps} training steps" if steps else ", then training"
        console.print(done, highlight=False, soft_wrap=True)
    if config.protect_by is not None:
        console.print(
            f"protected: neurons of {', '.join(config.protect_by)} in {config.corpus}, found "
            + ("once a step" if config.strategy == "all" else "anew for every layer"),
            highlight=False,
            soft_wrap=True,
        )
    if prepared.protected is not None:
        counts = prepared.protected.counts().values()
        console.print(
            f"protected: {prepared.protected.name}, {_sizes(tuple(counts))} neurons a layer",
            highlight=False,
            soft_wrap=True,
        )


def _goes(config: Any, step: Any) -> str:
    amount = step.amount
    if amount == -1:
        return "every row that is not protected goes"
    if config.what in ("rows", "heads"):
        where = (
            "of each layer" if config.scope == "layer" else "a layer on average, the lowest of all"
        )
        return f"{_sizes(tuple(amount))} {config.what} {where} go, by {config.score}"
    if config.what == "weights":
        return f"{amount:.1%} of the weights of all blocks are zero"
    if config.what == "low-rank":
        return ", ".join(f"{name} of rank {rank}" for name, rank in amount.items())
    return f"the first {amount} blocks stay"


def _sizes(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return "no"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _show_costs(console: Console, found: Results) -> None:
    from rich.table import Table

    before, after = found.record["before"], found.record["after"]
    table = Table("", "before", "after", "ratio", title_justify="left")
    for name, key, scale, form in (
        ("parameters", "parameters", 1, "{:,.0f}"),
        ("not zero", "nonzero", 1, "{:,.0f}"),
        ("operations a second of audio", "flops", 1, "{:.3g}"),
        ("milliseconds a second of audio", "latency_s", 1e3, "{:.3g}"),
    ):
        old, new = before[key], after[key]
        if old is None or new is None:
            continue
        table.add_row(name, form.format(old * scale), form.format(new * scale), f"{new / old:.3f}")
    for name, key in (("neurons a layer", "feed_forward"), ("heads a block", "heads")):
        table.add_row(name, _sizes(tuple(before[key])), _sizes(tuple(after[key])), "")
    console.print(table)


def _show_scores(console: Console) -> None:
    from rich.table import Table

    from voxstrata.neurons.pruning.scores import SCORES as KNOWN_SCORES

    table = Table("score", "what it is", title_justify="left")
    for entry in KNOWN_SCORES.entries():
        table.add_row(entry.name, entry.summary)
    console.print(table)
