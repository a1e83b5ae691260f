"""``voxstrata report``: draw results folders again, computing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="OUT...", help="Results folders, as written by the other commands."),
    ],
    page: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="With several folders: the one page that joins them (a file)."
        ),
    ] = None,
) -> None:
    """Draw the page and the figures of a results folder again, without computing.

    Several folders (similarity, properties, probe) are joined into one page, which opens with what
    they say together: voxstrata report out out2 -o both.html
    """
    from voxstrata.errors import UsageError
    from voxstrata.report import draw_joined, draw_report

    if len(folders) == 1 and page is None:
        typer.echo(f"report: {draw_report(folders[0])}")
        return
    if page is None or len(folders) == 1:
        raise UsageError(
            "one folder is drawn into itself, several into a page that is named",
            got=f"{len(folders)} folder{'s' if len(folders) > 1 else ''} "
            f"{'without' if page is None else 'with'} --out",
            expected="voxstrata report OUT, or voxstrata report OUT OUT2 -o page.html",
        )
    typer.echo(f"report: {draw_joined(folders, page)}")
