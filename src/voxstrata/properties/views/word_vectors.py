"""Word vectors from files: GloVe text, word2vec text and word2vec binary, streamed.

Formats. GloVe: a line is a word and its numbers, separated by spaces, no header (the release
"840B.300d" holds words with spaces inside, so numbers are counted from the right). word2vec text
(also fastText's ``.vec``): the same after a header line "COUNT WIDTH". word2vec binary: the header
line, then for each entry the word, a space and WIDTH little-endian float32. All may be gzipped.
Files are read as bytes and split at line feeds alone: their words hold other characters that
count as line ends in text.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.properties.views.reading import open_bytes
from voxstrata.properties.views.word_table import Case, Spellings, WordTable

_WHAT = "word vectors (GloVe text, word2vec text or word2vec binary)"
_LOOK = 100
"""Lines looked at to find the width of a file without header."""
_PEEK = 1 << 16
"""Bytes looked at to tell text from binary."""
_WORD_BYTES = 10_000
"""Longest word of a binary file; beyond it the file is not what it seems."""


@dataclass
class _Found:
    """What a reader has kept: the row of each wanted spelling (bytes), and counts."""

    wanted: frozenset[bytes]
    width: int
    index: dict[bytes, int]
    rows: list[NDArray[np.float32]]
    entries: int = 0
    repeated: int = 0
    spaced: int = 0

    def wants(self, word: bytes) -> bool:
        """Whether the numbers of ``word`` are needed; counts repetitions (the first one stays)."""
        if word not in self.wanted:
            return False
        if word in self.index:
            self.repeated += 1
            return False
        return True

    def keep(self, word: bytes, row: NDArray[np.float32]) -> None:
        self.index[word] = len(self.rows)
        self.rows.append(row)


def read_word_vectors(
    path: str | Path, wanted: Iterable[str], *, case: Case = "fallback"
) -> WordTable:
    """The vectors of some words; the rest of the file passes by and is not kept.

    Args:
        path: the file.
        wanted: words of the corpus.
        case: how spellings are tried, see :class:`Spellings`.

    Returns:
        a table of the words that have a vector. Facts: ``format``, ``width``, ``entries`` in the
        file, ``repeated`` (later entries of a word, ignored), ``by_other_case``.

    Raises:
        UsageError: no such file, a pickle or archive, another format, a line with too few numbers,
            a number that is none or is not finite, or a file that ends early; with file, line,
            what was found and what was expected.
    """
    place = Path(path).expanduser()
    spellings = Spellings(wanted, case)
    with open_bytes(place, _WHAT) as file:
        kind, found = _read(place, file, frozenset(w.encode("utf-8") for w in spellings.all))
    known = {word.decode("utf-8"): row for word, row in found.index.items()}
    picked, missing = spellings.pick(known)
    matrix = np.zeros((len(picked), found.width))
    for i, row in enumerate(picked.values()):
        matrix[i] = found.rows[row]
    facts: dict[str, Any] = {
        "file": place.name,
        "format": kind,
        "width": found.width,
        "entries": found.entries,
        "repeated": found.repeated,
        "case": case,
        "by_other_case": sum(word not in known or known[word] != picked[word] for word in picked),
    }
    if found.spaced:
        facts["words_with_spaces"] = found.spaced
    return WordTable(tuple(picked), matrix, tuple(missing), facts)


def _read(place: Path, file: io.BufferedReader, wanted: frozenset[bytes]) -> tuple[str, _Found]:
    first = file.readline(1 << 20)
    header = _header(first)
    if header is None:
        return "glove-text", _glove(place, file, first, wanted)
    count, width = header
    if count < 1 or width < 1:
        raise UsageError(
            f"{place}, line 1: a header without entries",
            got=first.decode("latin-1").strip(),
            expected="COUNT WIDTH, both positive",
        )
    found = _Found(wanted, width, {}, [])
    if _is_text(file, width):
        _text(place, _lines(file, 2), found, count)
        return "word2vec-text", found
    _binary(place, file, found, count)
    return "word2vec-binary", found


def _header(line: bytes) -> tuple[int, int] | None:
    parts = line.split()
    if len(parts) == 2 and all(p.isdigit() and len(p) < 16 for p in parts):
        return int(parts[0]), int(parts[1])
    return None


def _is_text(file: io.BufferedReader, width: int) -> bool:
    """Whether what follows a header is lines of numbers: the next line reads as one, or nothing
    in the next block is foreign to text (then it is text, if perhaps damaged)."""
    block = file.peek(_PEEK)[:_PEEK]
    numbers = block.partition(b"\n")[0].split()[-width:]
    if len(numbers) == width and all(_number(n) is not None for n in numbers):
        return True
    if any(byte < 9 or 13 < byte < 32 for byte in block):
        return False
    try:
        # A character may be cut at the end of the block.
        block[: max(len(block) - 4, 0)].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(block) - 8
    return True


def _lines(file: Iterable[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without ends; tabs count as spaces; empty lines are left out."""
    for number, line in enumerate(file, start):
        clean = line.rstrip(b" \r\n\t")
        if clean:
            yield number, clean.replace(b"\t", b" ") if b"\t" in clean else clean


def _glove(place: Path, file: io.BufferedReader, first: bytes, wanted: frozenset[bytes]) -> _Found:
    lines = _lines(_Chained(first, file), 1)
    head = list(islice(lines, _LOOK))
    # Words with spaces make lines longer, damage makes them shorter: most lines are right. Of
    # equally many the longer ones: a wrong width then ends in an error, not in wrong rows.
    lengths = Counter(len(line.split()) - 1 for _, line in head)
    width = max(lengths, key=lambda n: (lengths[n], n)) if lengths else 0
    if width < 1 or not all(
        _number(n) is not None for _, line in head[:1] for n in line.split()[-width:]
    ):
        raise UsageError(
            f"{place}, line 1: not a word followed by numbers",
            got=_short(first),
            expected=_WHAT,
        )
    found = _Found(wanted, width, {}, [])
    _text(place, _chain(head, lines), found, None)
    return found


class _Chained:
    """A line that was read already, then the rest of its file."""

    def __init__(self, first: bytes, rest: io.BufferedReader) -> None:
        self.first, self.rest = first, rest

    def __iter__(self) -> Iterator[bytes]:
        # The first read may have stopped within a very long line.
        yield self.first if self.first.endswith(b"\n") else self.first + self.rest.readline()
        yield from self.rest


def _chain(
    head: list[tuple[int, bytes]], rest: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    yield from head
    yield from rest


def _text(
    place: Path, lines: Iterator[tuple[int, bytes]], found: _Found, count: int | None
) -> None:
    width = found.width
    number = 1
    for number, line in lines:
        gaps = line.count(b" ")
        if gaps == width:
            word = line[: line.index(b" ")]
        elif gaps > width:
            word = line.rsplit(b" ", width)[0].strip()
            found.spaced += b" " in word
        else:
            raise UsageError(
                f"{place}, line {number}: too few numbers",
                got=f"{gaps} after {_short(line.partition(b' ')[0])}",
                expected=f"{width}, as in the {'header' if count else 'other lines'}",
                fix="the file may be cut short or damaged there: get it again",
            )
        found.entries += 1
        if found.wants(word):
            found.keep(word, _numbers(place, number, line.rsplit(b" ", width)[1:]))
    if count is not None and found.entries != count:
        raise UsageError(
            f"{place}: not as many entries as its header says",
            got=f"{found.entries} up to line {number}",
            expected=f"{count}",
            fix="the file may be cut short: get it again",
        )


def _numbers(place: Path, line: int, parts: list[bytes]) -> NDArray[np.float32]:
    values = [_number(part) for part in parts]
    for column, (value, part) in enumerate(zip(values, parts, strict=True), start=1):
        if value is None or not math.isfinite(value):
            raise UsageError(
                f"{place}, line {line}, number {column}: "
                + ("not a number" if value is None else "not finite"),
                got=_short(part),
                expected="a finite number",
            )
    return np.array(values, dtype=np.float32)


def _number(part: bytes) -> float | None:
    try:
        return None if b"_" in part else float(part)
    except ValueError:
        return None


def _binary(place: Path, file: io.BufferedReader, found: _Found, count: int) -> None:
    size = 4 * found.width
    for entry in range(1, count + 1):
        word = bytearray()
        while (byte := file.read(1)) not in (b" ", b""):
            word += byte
            if len(word) > _WORD_BYTES:
                raise UsageError(
                    f"{place}, entry {entry}: no end of the word within {_WORD_BYTES} bytes",
                    got=_short(bytes(word[:40])),
                    expected=f"a word, a space and {found.width} float32 numbers",
                )
        block = file.read(size)
        if len(block) < size:
            raise UsageError(
                f"{place}: the file ends within entry {entry}",
                got=f"{len(block)} bytes of numbers",
                expected=f"{count} entries of {size} bytes",
                fix="the file may be cut short: get it again",
            )
        found.entries += 1
        # Some writers put a line feed after each entry, some do not.
        name = bytes(word).lstrip(b"\n")
        if found.wants(name):
            row = np.frombuffer(block, dtype="<f4").astype(np.float32)
            if not np.isfinite(row).all():
                at = int(np.flatnonzero(~np.isfinite(row))[0])
                raise UsageError(
                    f"{place}, entry {entry} ({_short(name)}), number {at + 1}: not finite",
                    got=str(row[at]),
                    expected="a finite number",
                )
            found.keep(name, row)
    if rest := file.read(1 << 10).strip():
        raise UsageError(
            f"{place}: more follows after the entries that its header counts",
            got=_short(rest),
            expected=f"the end of the file after {count} entries of {found.width} numbers",
        )


def _short(text: bytes) -> str:
    shown = text.strip().decode("utf-8", "replace")
    return repr(shown if len(shown) <= 60 else shown[:57] + "...")
