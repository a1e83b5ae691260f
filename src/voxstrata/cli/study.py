"""``voxstrata study``: whole papers, or questions of one's own, as one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxstrata.cli.options import Cluster, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.studies.check import Checked

app = typer.Typer(
    no_args_is_help=True,
    help="Whole papers, or questions of your own, as one command (docs/studies.md).",
)

Name = Annotated[str, typer.Argument(help="A shipped study (see list), or a YAML file.")]
ScaleOf = Annotated[
    str | None,
    typer.Option("--scale", "-s", help="demo (offline, minutes), small (one GPU, an hour), paper."),
]
Corpora = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus", "-c", help="NAME=CORPUS instead of the study's; CORPUS alone replaces all."
    ),
]
ModelsOf = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="NAME=MODEL instead of the study's."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE in the study, dotted: analyses.probing.seeds=3."),
]


@app.command("run")
def run(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for results and report.html (default: NAME)."),
    ] = None,
    scale: ScaleOf = None,
    corpus: Corpora = None,
    model: ModelsOf = None,
    change: Changes = None,
    cluster: Cluster = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, forecast time and disk, and stop."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with what is in OUT (the default: same as --overwrite missing)."
        ),
    ] = False,
    overwrite: Annotated[
        str, typer.Option(help="missing (default), always, never, only-cache.")
    ] = "missing",
    quiet: Quiet = False,
) -> None:
    """Run a study: check it, run its analyses, hold its claims against the results, draw the page.

    Stop with Ctrl-C whenever you like: the same command goes on.

    Example: voxstrata study run ashihara2024 -o out

    With your recordings: voxstrata study run ashihara2024 --corpus speech=FOLDER -o out
    """
    from voxstrata.errors import UsageError

    if resume and overwrite != "missing":
        raise UsageError(
            "--resume is another name for --overwrite missing", got=f"--overwrite {overwrite}"
        )
    source = _source(name, scale, corpus, model, change, cluster)
    folder = out if out is not None else Path(str(source.raw.get("name", "study")))
    if page := run_study_command(source, folder, overwrite, dry_run=dry_run, quiet=quiet):
        typer.echo(str(page))


@app.command("list")
def list_them() -> None:
    """Show the studies that come with voxstrata, and their scales."""
    from rich.console import Console
    from rich.table import Table

    from voxstrata.studies.load import read_study, shipped

    table = Table("study", "scales", "asks", box=None)
    for name in shipped():
        source = read_study(name)
        asks = " ".join(str(source.raw.get("question", "")).split())
        table.add_row(name, ", ".join(source.scales) or "-", asks)
    Console().print(table)


@app.command("show")
def show(name: Name, scale: ScaleOf = None) -> None:
    """Print a study as a YAML file, at one scale: a start for your own."""
    import yaml

    from voxstrata.studies.load import read_study

    source = read_study(name, scale=scale)
    if source.raw.get("needs"):
        typer.echo(f"# Needs: {' '.join(str(source.raw['needs']).split())}")
    typer.echo(yaml.safe_dump(dict(source.raw), sort_keys=False, allow_unicode=True), nl=False)


@app.command("jobs")
def jobs() -> None:
    """Show what an analysis of a study can be, and what settings it takes."""
    from rich.console import Console
    from rich.markup import escape

    from voxstrata.studies.jobs.job import JOBS

    console = Console()
    for entry in JOBS.entries():
        console.print(f"[bold]{escape(entry.name)}[/]: {escape(entry.summary)}")
        fields = JOBS.get(entry.name).settings.model_fields
        console.print("  " + ", ".join(fields), highlight=False, markup=False)


def run_study_command(
    source: Any, out: Path, overwrite: str, *, dry_run: bool = False, quiet: bool = False
) -> Path | None:
    """Run a study from the command line: check, forecast, run, draw.

    Returns:
        the page; ``None`` if only the plan was asked for.

    Raises:
        VoxstrataError: the study has problems, or nothing in it could be done.
        typer.Exit: some analysis failed; the page names it.
    """
    from rich.console import Console

    from voxstrata.cli.options import known_overwrite
    from voxstrata.report import draw_report
    from voxstrata.streaming.runs import Hooks
    from voxstrata.studies.check import checked
    from voxstrata.studies.run import run_study

    console = Console(stderr=True)
    rule = known_overwrite(overwrite)
    if dry_run:
        _show_plan(checked(source, out, afresh=rule == "always"), console)
        return None
    hooks: Hooks[Any] = Hooks(
        progress=not quiet,
        say=lambda text: console.print(text, markup=False, highlight=False),
        planned=lambda found: _show_plan(found, console),
    )
    results = run_study(source, out, overwrite=rule, hooks=hooks)
    for entry in results.record["analyses"]:
        if not entry["failed"]:
            draw_report(out / entry["folder"])
    page = draw_report(out)
    for claim in results.record["claims"]:
        console.print(f"  {claim['verdict']}: {claim['title']}", markup=False, highlight=False)
    if failed := results.record["failed"]:
        typer.echo(str(page))
        console.print(
            f"failed: {', '.join(failed)} (the page says why); the same command tries them again",
            style="red", markup=False, highlight=False,
        )  # fmt: skip
        raise typer.Exit(1)
    return page


def _source(
    name: str,
    scale: str | None,
    corpora: list[str] | None,
    models: list[str] | None,
    changes: list[str] | None,
    cluster: str | None = None,
) -> Any:
    import yaml

    from voxstrata.errors import UsageError
    from voxstrata.studies.load import read_study

    values = {}
    for change in changes or []:
        key, sign, value = change.partition("=")
        if not sign:
            raise UsageError("--set needs KEY=VALUE", got=change, expected="seeds=[0,1]")
        values[key] = yaml.safe_load(value)
    named_models = {}
    for one in models or []:
        key, sign, spec = one.partition("=")
        if not sign:
            raise UsageError("--model needs NAME=MODEL", got=one, expected="mine=hubert-base")
        named_models[key] = spec
    return read_study(
        name,
        scale=scale,
        corpora=dict(map(_corpus, corpora or [])),
        models=named_models,
        changes=values,
        cluster=cluster,
    )


def _corpus(text: str) -> tuple[str, str]:
    """NAME=CORPUS; a bare corpus has the name "". Options of a corpus hold signs of equality too:
    only a plain word before the first is a name."""
    head, sign, rest = text.partition("=")
    return (head, rest) if sign and head.replace("-", "").replace("_", "").isalnum() else ("", text)


def _show_plan(found: Checked, console: Console) -> None:
    """Print the analyses with a rough forecast, and what is left out."""
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.report.words import duration

    study = found.study
    assert study is not None
    config = study.config
    console.print(
        f"[bold]{escape(config.title or config.name)}[/]"
        + (f", scale {study.scale}" if study.scale else ""),
        highlight=False,
    )
    if config.needs:
        console.print(f"needs: {' '.join(config.needs.split())}", markup=False, highlight=False)
    table = Table("analysis", "what", "models", "about", "disk", "memory")
    seconds = memory = alone = shared = 0.0
    without = []
    for i, part in enumerate(study.parts):
        cost = part.job.cost(found.prepared[i])
        seconds += cost.seconds
        if part.job.open_pass is None:
            alone = max(alone, cost.disk_bytes)
        else:  # a shared pass leaves the rows of all of them
            shared += cost.disk_bytes
        memory = max(memory, cost.memory_bytes)
        without += [f"{part.folder.name}: without {cost.without}"] if cost.without else []
        models = getattr(part.settings, "models", None) or (getattr(part.settings, "model", ""),)
        table.add_row(
            escape(part.folder.name),
            part.job.name,
            str(len(models)),
            duration(cost.seconds),
            f"{cost.disk_bytes / 1e9:.2g} GB",
            f"{cost.memory_bytes / 1e9:.2g} GB",
        )
    console.print(table)
    console.print(
        f"in all about {duration(seconds)} (a rough guess: may be three times less or more), "
        f"{max(alone, shared) / 1e9:.2g} GB of disk meanwhile, {memory / 1e9:.2g} GB of memory; "
        f"{len(config.claims)} claims",
        highlight=False,
    )
    for note in [*without, *found.notes]:
        console.print(f"  {note}", style="yellow", markup=False, highlight=False)
