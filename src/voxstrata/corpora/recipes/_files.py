"""Finding one's way in a published tree: the right folder, its files in any casing, its lists."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from voxstrata.errors import CorpusError

Problem = Callable[[Path, str], None]
"""Called as ``problem(path, what)`` for everything that is wrong but not fatal."""


def child(folder: Path, name: str) -> Path | None:
    """The entry ``name`` (may contain "/") of ``folder``, whatever its casing; exact first."""
    place = folder
    for piece in name.split("/"):
        if (place / piece).exists():
            place = place / piece
            continue
        try:
            near = sorted(p for p in place.iterdir() if p.name.lower() == piece.lower())
        except OSError:
            return None
        if not near:
            return None
        place = near[0]
    return place


def folders(place: Path) -> list[Path]:
    """Visible sub-folders, sorted; none where ``place`` cannot be listed."""
    try:
        return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def find_root(
    source: Path,
    fits: Callable[[Path], bool],
    *,
    corpus: str,
    layout: str,
    names: Sequence[str] = (),
) -> Path:
    """The folder of a published tree that a recipe starts from, at or near ``source``.

    Tried in order: ``source``; its entries called ``names``; all folders one and two levels
    down; the two folders above. So a folder one level too high or too low does no harm.

    Args:
        source: what the user gave.
        fits: whether a folder is the right one.
        corpus: title of the corpus, for the message.
        layout: one line on what the right folder holds, for the message.
        names: usual names of the right folder.

    Raises:
        CorpusError: nothing there, not a folder, no folder fits, or two on one level do.
    """
    if not source.is_dir():
        raise CorpusError(
            f"{corpus}: {source} is not a folder",
            got="a file" if source.exists() else "nothing there",
            expected=layout,
            fix="give the folder of the unpacked corpus (unpack archives first)",
        )
    source = source.resolve()
    below = folders(source)
    levels: list[list[Path]] = [
        [source],
        [p for p in (child(source, name) for name in names) if p is not None and p.is_dir()],
        below,
        [deeper for folder in below for deeper in folders(folder)],
        [source.parent],
        [source.parent.parent],
    ]
    for number, level in enumerate(levels):
        hits = [place for place in level if fits(place)]
        if len(hits) == 1 or (hits and number == 1):
            return hits[0]
        if hits:
            raise CorpusError(
                f"{corpus}: several folders below {source} could be meant",
                got=", ".join(str(hit.relative_to(source)) for hit in hits[:6]),
                expected=layout,
                fix=f"give one of them, for instance {hits[0]}",
            )
    raise CorpusError(
        f"{corpus}: {source} is not laid out as published",
        got=listing(source),
        expected=layout,
        fix="give the folder that holds these (archives must be unpacked)",
    )


def listing(folder: Path, most: int = 12) -> str:
    """What a folder holds, shortly, for messages."""
    try:
        names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir())
    except OSError as error:
        return str(error)
    if not names:
        return "an empty folder"
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def tree_files(
    place: Path,
    wanted: Iterable[str],
    problem: Problem,
    *,
    known: Iterable[str] = (),
) -> Iterator[Path]:
    """Files below ``place`` by suffix, sorted; whatever does not belong there is reported.

    Args:
        place: where to look, all the way down (links to folders are followed).
        wanted: lower-case suffixes to yield (".wav").
        problem: told once a folder about strays: hidden files, other suffixes.
        known: further lower-case suffixes or whole names that belong there.
    """
    keep, other = tuple(wanted), tuple(known)
    for top, below, names in os.walk(place, followlinks=True):
        below.sort()
        strays = []
        for name in sorted(names):
            low = name.lower()
            if name.startswith("."):
                strays.append(name)
            elif low.endswith(keep):
                yield Path(top) / name
            elif not low.endswith(other):
                strays.append(name)
        if strays:
            report_strays(Path(top), strays, problem)


def report_strays(folder: Path, names: Sequence[str], problem: Problem) -> None:
    """Report files that do not belong in ``folder``, as one problem."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    problem(folder, f"stray file(s), ignored: {', '.join(names[:3])}{more}")


def read_text(path: Path) -> str:
    """A text file, UTF-8 (with or without a byte-order mark), else Latin-1.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read {path}", got=str(error)) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_lines(path: Path) -> list[str]:
    """Its lines without line ends and surrounding blanks; empty ones left out."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_table(path: Path, problem: Problem, *, needed: Sequence[str]) -> list[dict[str, str]]:
    """A table with a header line, separated by commas or tabs, blanks around cells removed.

    Args:
        path: the file.
        problem: told about lines with too few cells, which are left out.
        needed: columns it must have (compared without regard to case).

    Raises:
        CorpusError: it cannot be read, is no table, or lacks a needed column.
    """
    text = read_text(path)
    first = text.split("\n", 1)[0]
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter="\t" if "\t" in first else ","))
    except csv.Error as error:
        raise CorpusError(
            f"{path} is no table", got=str(error), expected="lines of cells"
        ) from None
    head = [cell.strip() for cell in rows[0]] if rows else []
    lowered = {cell.lower(): cell for cell in head}
    absent = [name for name in needed if name.lower() not in lowered]
    if absent:
        raise CorpusError(
            f"{path} lacks the column(s) {', '.join(absent)}",
            got=", ".join(head) or "an empty file",
            expected=", ".join(needed),
        )
    named = {lowered[name.lower()]: name for name in needed}
    table = []
    for number, row in enumerate(rows[1:], 2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < len(head):
            problem(path, f"line {number} has {len(cells)} of {len(head)} cells, left out")
            continue
        table.append({named.get(key, key): cell for key, cell in zip(head, cells, strict=False)})
    return table
