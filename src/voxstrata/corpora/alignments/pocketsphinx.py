"""pocketsphinx alignments: JSON with begin ``b``, duration ``d``, text ``t`` and nested ``w``.

``pocketsphinx -phone_align yes align`` writes one object an utterance: its ``w`` are words, their
``w`` phones.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from voxstrata.corpora.alignments.text import malformed, read_text
from voxstrata.types import Segment

FORM = '{"b": seconds, "d": seconds, "t": text, "w": [...]}'
_VARIANT = re.compile(r"\(\d+\)$")
_FILLER = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")


def read_pocketsphinx(path: Path) -> dict[str, tuple[Segment, ...]]:
    """Tiers ``words`` and, where the file has them, ``phones``.

    Pronunciation variants (``and(2)``) lose their number; fillers (``<sil>``, ``[NOISE]``) are
    no words, but their phones are kept. Ends are begin + duration, to 10 us.

    Raises:
        LabelError: the file is missing or malformed; the line is named.
    """
    words: list[Segment] = []
    phones: list[Segment] = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise malformed(path, line, str(error), FORM) from None
        for word in _inner(value, path, line):
            span = _span(word, path, line)
            if not _FILLER.match(span.label):
                words.append(Segment(span.start_s, span.end_s, _VARIANT.sub("", span.label)))
            if "w" in word:
                phones.extend(_span(phone, path, line) for phone in _inner(word, path, line))
    return {"words": tuple(words)} | ({"phones": tuple(phones)} if phones else {})


def _inner(value: Any, path: Path, line: int) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get("w"), list):
        raise malformed(path, line, str(value)[:80], f'{FORM} with a list "w"')
    found: list[Any] = value["w"]
    return found


def _span(value: Any, path: Path, line: int) -> Segment:
    try:
        begin, length, label = float(value["b"]), float(value["d"]), str(value["t"])
    except (TypeError, KeyError, ValueError):
        raise malformed(path, line, str(value)[:80], FORM) from None
    if not (0 <= begin < 1e9 and 0 <= length < 1e9):
        raise malformed(path, line, f"b {begin}, d {length}", "no negative times")
    return Segment(begin, round(begin + length, 5), label)
