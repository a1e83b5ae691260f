"""One alignment file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from voxstrata.corpora.alignments.ctm import read_ctm
from voxstrata.corpora.alignments.hts import read_hts
from voxstrata.corpora.alignments.pocketsphinx import read_pocketsphinx
from voxstrata.corpora.alignments.text import read_text
from voxstrata.corpora.alignments.textgrid import read_textgrid
from voxstrata.errors import LabelError
from voxstrata.registry import unknown_name
from voxstrata.types import Segment

Tiers = dict[str, tuple[Segment, ...]]


def _ctm(path: Path) -> Tiers:
    found = read_ctm(path)
    if len(found) > 1:
        raise LabelError(
            f"{path} aligns several recordings",
            got=f"{len(found)} recordings",
            expected="one",
            fix="use read_ctm, or attach_alignments, which match recordings by name",
        )
    return {"words": next(iter(found.values()), ())}


READERS: dict[str, Callable[[Path], Tiers]] = {
    "textgrid": read_textgrid,
    "ctm": _ctm,
    "hts": read_hts,
    "pocketsphinx": read_pocketsphinx,
}
SUFFIXES = {
    ".textgrid": "textgrid",
    ".ctm": "ctm",
    ".lab": "hts",
    ".json": "pocketsphinx",
}
"""File endings (lower case) and the formats they mean."""


def format_of(path: Path) -> str:
    """The format of an alignment file, from its ending, else from its first line.

    Raises:
        LabelError: neither tells.
    """
    known = SUFFIXES.get(path.suffix.lower())
    if known:
        return known
    head = read_text(path).lstrip()[:200]
    if "ooTextFile" in head:
        return "textgrid"
    if head.startswith("{"):
        return "pocketsphinx"
    raise LabelError(
        f"cannot tell the format of the alignment {path}",
        got=path.suffix or "no file ending",
        expected=", ".join(SUFFIXES),
        fix="name the format: " + ", ".join(READERS),
    )


def read_alignment(path: str | Path, format: str | None = None) -> Tiers:
    """Interval tiers of an alignment file, times in seconds from its beginning.

    Args:
        path: TextGrid, CTM (of one recording; its tier is called ``words``), HTS/HTK ``.lab``
            or pocketsphinx JSON.
        format: ``"textgrid"``, ``"ctm"``, ``"hts"`` or ``"pocketsphinx"``; ``None`` to tell
            from the file's ending or first line.

    Returns:
        tuples of segments by tier name (``words``, ``phones``, or the file's own name).

    Raises:
        LabelError: the file is missing or malformed; the message names the line.
        UnknownNameError: no such format.
        MissingDependencyError: a TextGrid, and praatio is not installed.
    """
    file = Path(path).expanduser()
    if format is not None and format not in READERS:
        raise unknown_name("alignment format", format, list(READERS))
    return READERS[format or format_of(file)](file)
