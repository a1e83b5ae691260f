"""The works that voxstrata builds on (``bibliography.yaml``), as bibtex and as text."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Literal

from voxstrata.config import Config, build, read_yaml
from voxstrata.errors import UsageError
from voxstrata.registry import unknown_name

FILE = Path(__file__).parent / "bibliography.yaml"

Format = Literal["bibtex", "text"]

Kind = Literal["article", "inproceedings", "incollection", "book", "misc", "techreport"]

_VENUES = ("journal", "booktitle", "publisher", "institution", "howpublished")
_FIELDS = (
    "author",
    "title",
    "journal",
    "booktitle",
    "publisher",
    "institution",
    "howpublished",
    "volume",
    "number",
    "pages",
    "year",
    "doi",
    "url",
)


class Work(Config):
    """One work. Fields are those of bibtex; what is not known for certain is left out.

    Attributes:
        type: of the entry.
        author: "Family, Given and Family, Given"; "and others" at the end; a name in braces is
            an organisation's.
        arxiv: number of the preprint.
    """

    type: Kind
    author: str
    title: str
    journal: str = ""
    booktitle: str = ""
    publisher: str = ""
    institution: str = ""
    howpublished: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    year: int | None = None
    doi: str = ""
    arxiv: str = ""
    url: str = ""

    @property
    def venue(self) -> str:
        """Where it appeared; empty for a preprint."""
        return next((str(getattr(self, name)) for name in _VENUES if getattr(self, name)), "")


@cache
def bibliography() -> dict[str, Work]:
    """All works by key.

    Raises:
        ConfigError: the file is malformed.
    """
    return {key: build(Work, held, source=f"{FILE.name}: {key}") for key, held in _read().items()}


def _read() -> dict[str, dict[str, object]]:
    return read_yaml(FILE)


def work(key: str) -> Work:
    """The work called ``key``.

    Raises:
        UnknownNameError: there is none.
    """
    known = bibliography()
    if key not in known:
        raise unknown_name("work", key, list(known))
    return known[key]


def shown(key: str, held: Work, style: Format) -> str:
    """A work as ``style`` has it.

    Raises:
        UsageError: no such style.
    """
    if style == "bibtex":
        return bibtex(key, held)
    if style == "text":
        return text(held)
    raise UsageError("no such format of citations", got=str(style), expected="bibtex or text")


def bibtex(key: str, held: Work) -> str:
    """A bibtex entry: ASCII, titles in braces so that styles keep their capitals."""
    lines = []
    for name in _FIELDS:
        value = getattr(held, name)
        if value in ("", None):
            continue
        plain = str(value) if name in ("doi", "url") else tex(str(value))
        if name == "title":
            plain = f"{{{plain}}}"
        if name == "pages":
            plain = plain.replace("-", "--")
        lines.append(f"  {name} = {{{plain}}}")
    if held.arxiv:
        lines.append(f"  eprint = {{{held.arxiv}}}")
        lines.append("  archivePrefix = {arXiv}")
    body = ",\n".join(lines)
    return f"@{held.type}{{{key},\n{body}\n}}"


def text(held: Work) -> str:
    """One line: authors, title, where, year, arXiv."""
    where = held.venue
    if held.volume:
        where += f" {held.volume}" + (f"({held.number})" if held.number else "")
    if held.pages:
        where += f", {held.pages}"
    dated = ", ".join(part for part in (where, str(held.year or "")) if part)
    tail = f"arXiv:{held.arxiv}" if held.arxiv else held.url
    return ". ".join(part for part in (names(held.author), held.title, dated, tail) if part)


def names(author: str) -> str:
    """ "A. Family, B. Family and C. Family", or "... and others"."""
    if author.startswith("{"):
        return author.strip("{}")
    people = []
    for one in author.split(" and "):
        family, _, given = one.partition(", ")
        initials = [
            "-".join(f"{piece[0]}." for piece in part.split("-") if piece) for part in given.split()
        ]
        people.append(" ".join([*initials, family]))
    if len(people) == 1:
        return people[0]
    return f"{', '.join(people[:-1])} and {people[-1]}"


_MARKS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030c": "v",
    "\u0327": "c",
    "\u0328": "k",
}
_SIGNS = {"ł": "{\\l}", "Ł": "{\\L}", "ø": "{\\o}", "ß": "{\\ss}", "–": "--", "’": "'"}


def tex(plain: str) -> str:
    """Text for LaTeX: letters with marks as commands, its own signs escaped (braces are kept).

    Raises:
        UsageError: a character that has no command here.
    """
    out = []
    for letter in plain:
        if letter in _SIGNS:
            out.append(_SIGNS[letter])
            continue
        if letter in "&%$#_":
            out.append(f"\\{letter}")
            continue
        base, *marks = list(unicodedata.normalize("NFD", letter))
        if len(marks) == 1 and marks[0] in _MARKS:
            mark = _MARKS[marks[0]]
            out.append(f"{{\\{mark}{{{base}}}}}")
        elif letter.isascii():
            out.append(letter)
        else:
            raise UsageError(
                "a character of the bibliography has no LaTeX command", got=repr(letter)
            )
    return "".join(out)
