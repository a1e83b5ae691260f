"""``voxstrata report``: draw a results folder again, computing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A results folder, as written by the other commands."),
    ],
) -> None:
    """Draw the page and the figures of a results folder again, without computing."""
    from voxstrata.report import draw_report

    typer.echo(f"report: {draw_report(out)}")
