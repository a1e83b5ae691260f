"""Works behind results folders, as lines of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from voxstrata.references.bibliography import shown, work
from voxstrata.references.used import Used, works_used

MANY = 4
"""Reasons named one by one; more are counted."""


def citations(folders: Sequence[Path], style: str) -> list[str]:
    """Works of several folders as lines of one file.

    Args:
        folders: results folders.
        style: "bibtex" or "text".

    Raises:
        ResultsError, StorageError: as :func:`voxstrata.references.used.works_used`.
    """
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
