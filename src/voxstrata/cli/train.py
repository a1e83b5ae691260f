"""``voxstrata train``: train a speech model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.streaming.runs import Overwrite


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help="A YAML file, or a name of --list.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output folder; resumed if unfinished."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="Change a setting: -s data.corpus=/corpora/vox2 -s run.steps=1000.",
        ),
    ] = None,
    overwrite: Annotated[
        str,
        typer.Option(
            help="missing: finish or keep what is there; always: start again; never: refuse; "
            "only-cache: show it."
        ),
    ] = "missing",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show the plan, train nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the recipe as YAML, with changes, and end.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Show recipes and objectives, and end.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Train a speaker encoder (ECAPA-TDNN, i-vectors) or a small speech model (MelHuBERT).

    A recipe says everything: model, corpus, augmentation, objective, schedule. The folder OUT
    then holds the model (OUT/model, usable wherever a model is named), a log (train.jsonl), a
    report page and the record. A run that is stopped, killed or pre-empted goes on when the same
    command is given again, and ends with the very weights of a run that was not.

    Several GPUs or machines: torchrun --nproc-per-node 8 -m voxstrata train RECIPE -o OUT

    Example: voxstrata train ecapa-small-supervised -s run.steps=200 -o out

    Then: voxstrata verify out/model -c CORPUS -o scores
    """
    from rich.console import Console

    from voxstrata.errors import UsageError
    from voxstrata.training.kinds import find_kind

    console = Console()
    if listing:
        _show_list(console)
        return
    if recipe is None:
        raise UsageError("RECIPE is missing", fix="`voxstrata train --list` shows recipes")
    kind = find_kind(recipe)
    config = kind.read(recipe, change or ())
    if show:
        import yaml

        # Of other kinds than networks the kind itself is a default, and must be told.
        named = {"kind": config.kind} if hasattr(config, "kind") else {}
        values = named | config.model_dump(mode="json", exclude_defaults=True)
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
        return
    if out is None and not dry_run:
        raise UsageError("where shall the model go?", fix="give a folder: -o OUT")
    if overwrite not in ("missing", "always", "never", "only-cache"):
        raise UsageError(
            "unknown value of --overwrite",
            got=overwrite,
            expected="missing, always, never or only-cache",
        )
    if dry_run:
        _show_plan(console, kind.plan(kind.prepare(config)))
        return
    assert out is not None
    from voxstrata.report import draw_report
    from voxstrata.streaming.runs import Hooks

    with kind.processes(config) as lead:
        hooks: Hooks[Any] = Hooks(
            planned=lambda prepared: (
                _show_plan(console, kind.plan(prepared)) if not quiet else None
            ),
            progress=not quiet,
            say=lambda text: console.print(text) if lead and not quiet else None,
        )
        found = kind.run(config, out, overwrite=cast("Overwrite", overwrite), hooks=hooks)
        if not lead:
            return
    for row in found.table.itertuples():
        console.print(f"  {row.measure}: {row.value:.3f}")
    bad = found.record.get("bad", {})
    if bad:
        console.print(f"{len(bad)} recordings could not be used; they are listed in run.json")
    console.print(f"the model is in {out / 'model'}; how training went:", soft_wrap=True)
    typer.echo(str(draw_report(out)))


def _show_plan(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _show_list(console: Console) -> None:
    from rich.table import Table

    from voxstrata.training.kinds import recipes
    from voxstrata.training.registry import OBJECTIVES

    for title, rows in (
        ("recipe", list(recipes().items())),
        ("objective", [(e.name, e.summary) for e in OBJECTIVES.entries()]),
    ):
        table = Table(title, "what it is", title_justify="left")
        for name, summary in rows:
            table.add_row(name, summary)
        console.print(table)
