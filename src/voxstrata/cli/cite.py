"""``voxstrata cite``: the works behind a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MANY = 4
"""Reasons named one by one; more are counted."""


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

    if style not in ("bibtex", "text"):
        raise UsageError("no such format of citations", got=style, expected="bibtex or text")
    for line in citations(folders, style):
        typer.echo(line)


def citations(folders: list[Path], style: str) -> list[str]:
    """Works of several folders as lines of one file.

    Args:
        folders: results folders.
        style: "bibtex" or "text".

    Raises:
        ResultsError, StorageError: as :func:`voxstrata.references.used.works_used`.
    """
    from voxstrata.references.bibliography import shown, work
    from voxstrata.references.used import Used, works_used

    used = Used()
    for folder in folders:
        more = works_used(folder)
        for key, reasons in more.reasons.items():
            for reason in reasons:
                used.add([key], reason)
        for what in more.unknown:
            used.lack(what)
        used.unfinished += more.unfinished
    lines = []
    for key, reasons in used.reasons.items():
        named = reasons[:MANY]
        if len(reasons) > MANY:
            named.append(f"{len(reasons) - MANY} more")
        said = one_line(f"for {', '.join(named)}")
        entry = shown(key, work(key), "bibtex" if style == "bibtex" else "text")
        lines += [f"% {said}", entry, ""] if style == "bibtex" else [f"{entry} [{said}]"]
    mark = "% " if style == "bibtex" else ""
    for what in used.unknown:
        lines.append(f"{mark}no work is known for {one_line(what)}: cite it by hand")
    for place in used.unfinished:
        lines.append(f"{mark}left out, not finished: {one_line(str(place))}")
    return lines


def one_line(text: str) -> str:
    """Text of models, corpora and folders without line ends and control characters, which would
    leave the comment that it stands in."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
