"""``voxstrata cite``: the works behind a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cite(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="OUT...", help="Results folders, or folders of several."),
    ],
    style: Annotated[
        str, typer.Option("--format", "-f", help="bibtex (default) or text.")
    ] = "bibtex",
) -> None:
    """The works that results rest on: voxstrata, measures, tasks, models, corpora, libraries.

    OUT is what any command or study wrote, or a folder that holds such folders. Ready to be
    appended to a .bib file: voxstrata cite OUT >> paper.bib
    """
    from voxstrata.errors import UsageError
    from voxstrata.references.citations import citations

    if style not in ("bibtex", "text"):
        raise UsageError("no such format of citations", got=style, expected="bibtex or text")
    for line in citations(folders, style):
        typer.echo(line)
