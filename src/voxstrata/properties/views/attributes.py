"""Word attributes from files: supersenses, parts of speech, or any weights by word.

Formats.

* qvec oracle (Tsvetkov et al., EMNLP 2015; its files ``semcor_noun_verb.supersenses`` and
  ``ptb.pos_tags`` are the semantic and syntactic views of P2023): a line is a word, a tab (or
  space) and ``{"attribute": weight, ...}``; attributes in double or single quotes.
* a table (csv, tsv, parquet): long, with columns ``word``, ``attribute`` and perhaps ``weight``
  (else 1), or wide, with a column ``word`` and one column of numbers an attribute (an empty cell
  is 0).

Nothing is evaluated: the braces are read by a small parser of exactly this form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.errors import UsageError
from voxstrata.properties.views.reading import Columns, as_number, open_bytes, read_columns
from voxstrata.properties.views.word_table import Case, Spellings, WordTable

_WHAT = "word attributes (a qvec oracle or a table)"

_STRING = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_PAIR = re.compile(rf"\s*({_STRING})\s*:\s*([-+0-9.eE]+|[-+]?(?:nan|NaN|inf|Infinity))\s*(,|$)")

Weights = dict[str, dict[str, float]]


def read_attributes(
    path: str | Path,
    wanted: Iterable[str],
    *,
    normalise: bool = False,
    case: Case = "fallback",
) -> WordTable:
    """Attribute weights of some words.

    Args:
        path: the file.
        wanted: words of the corpus.
        normalise: divide each word's weights by their sum (rows of qvec oracles sum to 1 as
            they are); needs weights that are not negative.
        case: how spellings are tried, see :class:`Spellings`.

    Returns:
        a table with one column for each attribute that some wanted word has, in the order of the
        file. Facts: ``attributes`` (names of columns), ``unused`` (how many others the file has),
        ``entries``, ``normalised``, ``by_other_case``.

    Raises:
        UsageError: no such file, malformed, a word (or word and attribute) twice, a weight that is
            not finite; or rows that cannot be normalised. With file, line, found and expected.
    """
    place = Path(path).expanduser()
    if place.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet")):
        kind, weights = _table(read_columns(place, _WHAT))
    else:
        kind, weights = "qvec-oracle", _oracle(place)
    spellings = Spellings(wanted, case)
    order = {word: i for i, word in enumerate(weights)}
    picked, missing = spellings.pick(order)
    entries = list(weights.values())
    every = dict.fromkeys(name for entry in entries for name in entry)
    used = {name for row in picked.values() for name, w in entries[row].items() if w}
    names = [name for name in every if name in used]
    column = {name: j for j, name in enumerate(names)}
    matrix = np.zeros((len(picked), len(names)))
    for i, row in enumerate(picked.values()):
        for name, weight in entries[row].items():
            if name in column:
                matrix[i, column[name]] = weight
    if normalise:
        sums = matrix.sum(axis=1, keepdims=True)
        if (matrix < 0).any() or (sums <= 0).any():
            bad = int(np.flatnonzero((matrix < 0).any(axis=1) | (sums[:, 0] <= 0))[0])
            raise UsageError(
                f"{place}: the weights of {list(picked)[bad]!r} cannot be scaled to sum 1",
                got=str({n: w for n, w in zip(names, matrix[bad].tolist(), strict=True) if w}),
                expected="weights of 0 or more, one of them positive",
                fix="leave the rows as they are",
            )
        matrix /= sums
    facts: dict[str, Any] = {
        "file": place.name,
        "format": kind,
        "entries": len(weights),
        "attributes": names,
        "unused": len(every) - len(names),
        "normalised": normalise,
        "case": case,
        "by_other_case": sum(order.get(word) != row for word, row in picked.items()),
    }
    return WordTable(tuple(picked), matrix, tuple(missing), facts)


def _oracle(place: Path) -> Weights:
    found: Weights = {}
    seen: dict[str, int] = {}
    with open_bytes(place, _WHAT) as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise UsageError(f"{place}, line {number}: not UTF-8", got=str(error)) from None
            if not line.strip():
                continue
            word, entry = parse_oracle_line(line, f"{place}, line {number}")
            if word in found:
                raise UsageError(
                    f"{place}, line {number}: the word {word!r} stands there twice",
                    got=f"also in line {seen[word]}",
                    expected="one line a word",
                )
            found[word], seen[word] = entry, number
    return found


def parse_oracle_line(line: str, where: str) -> tuple[str, dict[str, float]]:
    """One line of a qvec oracle.

    Args:
        line: without its end.
        where: file and line, for messages.

    Raises:
        UsageError: not of the form ``word {"attribute": weight, ...}``.

    Example:
        >>> parse_oracle_line('run\\t{"verb.motion": 0.75, \\'noun.act\\': 0.25}', "line 1")
        ('run', {'verb.motion': 0.75, 'noun.act': 0.25})
    """
    # A word may hold a brace, and so may an attribute; what separates them is a tab or space.
    split = re.match(r"([^\t]+?)[\t ]\s*(\{.*\})\s*$", line)
    if split is None:
        raise _malformed(where, line)
    word, rest = split[1].strip(), split[2][1:-1]
    entry: dict[str, float] = {}
    at = 0
    while rest[at:].strip():
        pair = _PAIR.match(rest, at)
        if pair is None:
            raise _malformed(where, rest[at : at + 60])
        name = _unquote(pair[1], where)
        weight = as_number(pair[2])
        if weight is None or not math.isfinite(weight):
            raise UsageError(f"{where}: the weight of {name!r} is no finite number", got=pair[2])
        if name in entry:
            raise UsageError(f"{where}: the attribute {name!r} stands there twice", got=line[:80])
        entry[name] = weight
        at = pair.end()
    if not word or not entry:
        raise _malformed(where, line)
    return word, entry


def _malformed(where: str, text: str) -> UsageError:
    return UsageError(
        f"{where}: not a word and its attributes",
        got=text[:80],
        expected='word {"attribute": weight, ...}',
    )


def _unquote(text: str, where: str) -> str:
    if text[0] == "'":  # into JSON's quotes, so that one reader of escapes serves both
        inner = text[1:-1].replace("\\'", "'")
        text = '"' + re.sub(r'(?<!\\)"', '\\"', inner) + '"'
    try:
        return str(json.loads(text))
    except json.JSONDecodeError:
        raise _malformed(where, text) from None


def _table(table: Columns) -> tuple[str, Weights]:
    named = {name.lower(): name for name in table.names}
    if "word" not in named:
        raise UsageError(
            f"{table.path} has no column 'word'",
            got=", ".join(table.names),
            expected="word, attribute, weight; or word and a column an attribute",
        )
    words = [_word(table, named["word"], i) for i in range(len(table))]
    found: Weights = {}
    if "attribute" in named and set(named) <= {"word", "attribute", "weight"}:
        weight_column = named.get("weight")
        for i, word in enumerate(words):
            name = table.cells[named["attribute"]][i]
            if name is None:
                raise UsageError(f"{table.place(named['attribute'], i)}: empty")
            entry = found.setdefault(word, {})
            if str(name) in entry:
                raise UsageError(
                    f"{table.place(named['attribute'], i)}: {word!r} has {name!r} twice",
                    expected="one row a word and attribute",
                )
            entry[str(name)] = _weight(table, weight_column, i) if weight_column else 1.0
        return "long-table", found
    columns = [name for name in table.names if name != named["word"]]
    if not columns:
        raise UsageError(f"{table.path} has no column beside 'word'", expected="attributes")
    for i, word in enumerate(words):
        if word in found:
            raise UsageError(
                f"{table.place(named['word'], i)}: the word {word!r} stands there twice",
                expected="one row a word",
            )
        found[word] = {
            name: 0.0 if table.cells[name][i] is None else _weight(table, name, i)
            for name in columns
        }
    return "wide-table", found


def _word(table: Columns, column: str, i: int) -> str:
    word = table.cells[column][i]
    if word is None:
        raise UsageError(f"{table.place(column, i)}: empty", expected="a word")
    return str(word)


def _weight(table: Columns, column: str, i: int) -> float:
    weight = as_number(table.cells[column][i])
    if weight is None or not math.isfinite(weight):
        raise UsageError(
            f"{table.place(column, i)}: not a finite number",
            got=repr(table.cells[column][i]),
            expected="a weight",
        )
    return weight
