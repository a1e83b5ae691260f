"""Praat TextGrids, long and short, as Praat, MFA and ELAN write them.

praatio reads them (extra ``align``). Before it does, :func:`check` walks the file's values as
Praat defines them (free-standing numbers, quoted strings and flags count, everything else is
comment: Praat manual, "TextGrid file formats"), because praatio accepts files that end early
and does not name lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from voxstrata.corpora.alignments.text import malformed, read_text
from voxstrata.corpora.tiers import tier_name
from voxstrata.errors import LabelError, MissingDependencyError
from voxstrata.types import Segment

_DIGITS = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?"
_TEXT = r'"((?:[^"]|"")*)"'
_VALUE = re.compile(rf'{_TEXT}|(<[a-z]+>)|(?<!\S)({_DIGITS})(?!\S)|"')
_NUMBER = re.compile(_DIGITS)
_QUOTED = re.compile(_TEXT)
_NAMED = re.compile(r"\b(xmin|xmax|number|time|size)\s*=\s*(\S*)")
_SPEAKER = re.compile(r"^.+ - (words?|phones?|phonemes?)$", re.IGNORECASE)


class _Values:
    """The values of a TextGrid in order, each with its line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.line = 1
        self._last = text.rstrip().count("\n") + 1
        self._found = self._scan(text)

    def _scan(self, text: str) -> Iterator[tuple[str, str, int]]:
        line, at = 1, 0
        for match in _VALUE.finditer(text):
            line += text.count("\n", at, match.start())
            at = match.start()
            if match[0] == '"':
                raise malformed(self.path, line, "a quote that is never closed", 'text in "quotes"')
            if match[1] is not None:
                yield "text", match[1].replace('""', '"'), line
            elif match[2] is not None:
                yield "flag", match[2], line
            else:
                yield "number", match[3], line

    def take(self, kind: str, what: str) -> str:
        """The next value, which must be of ``kind``.

        Raises:
            LabelError: it is not, or the file ends.
        """
        try:
            found, value, self.line = next(self._found)
        except StopIteration:
            raise malformed(self.path, self._last, "the end of the file", what) from None
        if found != kind:
            raise malformed(self.path, self.line, f"{found} {value!r}", what)
        return value


def check(path: Path, text: str) -> None:
    """Walk a TextGrid from end to end.

    Raises:
        LabelError: it is not one, a value is missing or of the wrong kind, a span ends before
            it begins; the message names the line.
    """
    values = _Values(path, text)
    _named_numbers(path, text)
    for wanted in ("ooTextFile", "TextGrid"):
        if wanted not in values.take("text", f'"{wanted}"'):
            raise malformed(path, values.line, text.splitlines()[0][:60], f'a "{wanted}" header')
    for what in ("xmin of the file", "xmax of the file"):
        values.take("number", what)
    if values.take("flag", "<exists>") != "<exists>":
        return
    for tier in range(1, _count(values, "number of tiers") + 1):
        kind = values.take("text", f'class of tier {tier}, "IntervalTier" or "TextTier"')
        if kind not in ("IntervalTier", "TextTier"):
            raise malformed(path, values.line, repr(kind), '"IntervalTier" or "TextTier"')
        name = values.take("text", f"name of tier {tier}")
        for what in ("xmin", "xmax"):
            values.take("number", f"{what} of tier {name!r}")
        for entry in range(1, _count(values, f"number of entries of tier {name!r}") + 1):
            here = f"entry {entry} of tier {name!r}"
            start = float(values.take("number", f"time of {here}"))
            if kind == "IntervalTier":
                end = float(values.take("number", f"xmax of {here}"))
                if end < start:
                    raise malformed(
                        path, values.line, f"{start} to {end}", f"xmin <= xmax in {here}"
                    )
            values.take("text", f"text of {here}")


def _named_numbers(path: Path, text: str) -> None:
    """Refuse ``xmin = half``: a reader that skips comments would take a later number for it."""
    bare = _QUOTED.sub(lambda match: "\n" * match[0].count("\n"), text)
    for line, content in enumerate(bare.splitlines(), 1):
        named = _NAMED.search(content)
        if named and not _NUMBER.fullmatch(named[2]):
            raise malformed(path, line, repr(content.strip()), f"a number after {named[1]} =")


def _count(values: _Values, what: str) -> int:
    text = values.take("number", what)
    if not (text.isdigit() and len(text) < 10):
        raise malformed(values.path, values.line, repr(text), what)
    return int(text)


def read_textgrid(path: Path) -> dict[str, tuple[Segment, ...]]:
    """Interval tiers of a TextGrid; empty labels (pauses) are kept, point tiers are left out.

    Tier names: ``word``, ``phone``, ``phoneme`` become ``words``, ``phones``, as does
    ``SPEAKER - words`` (MFA) where the file has one speaker.

    Raises:
        LabelError: the file is missing or malformed.
        MissingDependencyError: praatio is not installed.
    """
    text = read_text(path)
    check(path, text)
    try:
        from praatio import textgrid
        from praatio.utilities import errors
    except ImportError as error:
        raise MissingDependencyError(
            "reading TextGrids needs praatio", got=str(error), fix="pip install 'voxstrata[align]'"
        ) from None
    try:
        grid = textgrid.openTextgrid(
            str(path),
            includeEmptyIntervals=True,
            reportingMode="silence",
            duplicateNamesMode="rename",
        )
    except (errors.PraatioException, ValueError, IndexError, KeyError, AttributeError) as error:
        raise LabelError(
            f"{path} is not a TextGrid that praatio reads",
            got=f"{type(error).__name__}: {error}",
            fix="open it in Praat and save it again",
        ) from None
    named = [t for t in grid.tiers if isinstance(t, textgrid.IntervalTier)]
    found: dict[str, tuple[Segment, ...]] = {}
    for tier in named:
        spans = tuple(Segment(e.start, e.end, e.label) for e in tier.entries)
        found[_our_name(tier.name, [t.name for t in named])] = spans
    return found


def _our_name(name: str, all_names: list[str]) -> str:
    match = _SPEAKER.match(name)
    if match:
        same = [
            n for n in all_names if (m := _SPEAKER.match(n)) and m[1].lower() == match[1].lower()
        ]
        if len(same) == 1:
            return tier_name(match[1])
    ours = tier_name(name)
    return name if ours != name and ours in all_names else ours
