"""``voxstrata models``: what there is, what a model's layers are, untrained twins on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from voxstrata.types import LayerInfo

app = typer.Typer(no_args_is_help=True, help="List models, show their layers, make random ones.")


@app.command("list")
def list_models(
    family: str = typer.Option("", "--family", help="Only models of this family."),
) -> None:
    """All registered model names; hub ids, directories and checkpoint files work as well."""
    from voxstrata.models.family import FAMILIES
    from voxstrata.models.load import broken_families, known_names
    from voxstrata.registry import unknown_name

    if family and family not in FAMILIES:
        raise unknown_name("model family", family, FAMILIES.names())
    rows = {
        name: (kind, summary)
        for name, (kind, summary) in known_names().items()
        if family in ("", kind)
    }
    wide = max((len(name) for name in rows), default=0)
    kinds = max((len(kind) for kind, _ in rows.values()), default=0)
    for name, (kind, summary) in rows.items():
        typer.echo(f"{name:<{wide}}  {kind:<{kinds}}  {summary}")
    for name, reason in broken_families().items():
        typer.echo(f"(the family {name} cannot be imported: {reason})", err=True)
    typer.echo("\nAlso: OWNER/NAME[@REVISION] on the hub, a directory, a checkpoint file;")
    typer.echo("random:NAME for an untrained twin, NAME@K to cut after layer K.")


@app.command("show")
def show(
    spec: str = typer.Argument(..., help="[random:]NAME[@REVISION][@LAYER][,key=value...]"),
    taps: bool = typer.Option(True, "--taps/--no-taps", help="List taps inside blocks, too."),
) -> None:
    """The layers of a model: width, kind, frame step, receptive field, first sample."""
    from voxstrata.models.load import describe

    layers, facts = describe(spec)
    for key, value in facts.items():
        if value not in (None, {}, [], ()):
            typer.echo(f"{key}: {value}")
    typer.echo()
    typer.echo(_table([info for info in layers if taps or not _is_tap(info)]))
    typer.echo("\n* in the set used when no layers are named")


@app.command("make-random")
def make_random(
    name: str = typer.Argument(..., help="Registered name, hub id or directory."),
    out: str = typer.Argument(..., help="New directory for the model."),
    seed: int = typer.Option(0, "--seed", min=0, help="Random seed."),
    layers: int = typer.Option(0, "--layers", min=0, help="Number of blocks; 0: as published."),
) -> None:
    """Save an untrained, seeded twin as a local Hugging Face directory, to be named by path."""
    from pathlib import Path

    from voxstrata.models.huggingface import save

    facts = save.make_random(name, Path(out), seed=seed, layers=layers or None)
    typer.echo(f"{facts['parameters']:,} parameters, blocks: {facts['blocks']}, in {out}")


@app.command("export")
def export(
    spec: str = typer.Argument(..., help="A trained model: a bundled name or a model folder."),
    out: str = typer.Option(..., "--out", "-o", help="File to write (.pt, .ckpt, .model)."),
    layout: str = typer.Option(
        "",
        "--layout",
        help="wespeaker, speechbrain, 3dspeaker or taoruijie (ECAPA-TDNN); melhubert. Default: "
        "that of the model's own variant.",
    ),
) -> None:
    """Write a model as the public toolkits write theirs, so that their code can load it."""
    from pathlib import Path

    from voxstrata.models.export import export_published

    for note in export_published(spec, Path(out), layout or None):
        typer.echo(note)
    typer.echo(out)


def _is_tap(info: LayerInfo) -> bool:
    return info.name.startswith("block.")


def _table(layers: list[LayerInfo]) -> str:
    rows = [("layer", "width", "kind", "step ms", "sees ms", "first sample")]
    for info in layers:
        grid = info.grid
        numbers = (
            (f"{grid.stride / 16:g}", f"{grid.receptive / 16:g}", str(grid.start))
            if grid is not None
            else ("", "", "")
        )
        mark = "*" if info.default else ""
        rows.append((info.name + mark, str(info.width), info.kind, *numbers))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, 2) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
