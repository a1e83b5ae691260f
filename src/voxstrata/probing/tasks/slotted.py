"""Texts with marked slots: ``B-city PARIS E-city``, as symbols and back.

Symbols are those of SUPERB's slot filling (s3prl at ec8064b, ``dataio``'s character-and-slot
encoder): letters, a mark between words, and two symbols a slot type, which stand right before and
right after the letters of a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from voxstrata.types import Utterance

SPACE = "|"
_MARK = re.compile(r"[BE]-\S+")

TAGGED = "text_slots"
"""Tier of texts whose slots are marked already."""


def is_mark(symbol: str) -> bool:
    """Whether a symbol begins or ends a slot."""
    return len(symbol) > 2 and bool(_MARK.fullmatch(symbol))


def marked(utterance: Utterance) -> tuple[str, str]:
    """The text of a recording with its slots marked, or why there is none.

    It is the tier ``text_slots``; or ``text`` with the values of ``slots`` (name to value) found in
    it.

    Returns:
        the text, upper case outside the marks, and ""; or "" and the reason.
    """
    tiers = utterance.tiers
    if tiers.get(TAGGED):
        return str(tiers[TAGGED]), ""
    text, slots = tiers.get("text"), tiers.get("slots")
    if not text:
        return "", "no text"
    if not isinstance(slots, Mapping) or not slots:
        return "", "no slots"
    return _found(str(text), slots)


def _found(text: str, slots: Mapping[str, Any]) -> tuple[str, str]:
    words = text.upper().replace("\u2019", "'").split()
    held = {
        name: str(value).upper().replace("\u2019", "'").split() for name, value in slots.items()
    }
    of: list[str] = [""] * len(words)
    # The longest value first: "ON MONDAY" takes its "ON" before the value "ON" is sought.
    for name, value in sorted(held.items(), key=lambda item: -len(item[1])):
        size = len(value)
        places = [
            at
            for at in range(len(words) - size + 1)
            if size and words[at : at + size] == value and not any(of[at : at + size])
        ]
        if len(places) != 1:
            return "", "a slot value is not in the text, or more than once"
        of[places[0] : places[0] + size] = [name] * size
    out = []
    for i, (word, name) in enumerate(zip(words, of, strict=True)):
        if name and (i == 0 or of[i - 1] != name):
            out.append(f"B-{name}")
        out.append(word)
        if name and (i + 1 == len(words) or of[i + 1] != name):
            out.append(f"E-{name}")
    return " ".join(out), ""


def symbols_of(text: str, letters: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """A marked text as symbols, and how many characters were dropped.

    Args:
        text: as :func:`marked` gives it.
        letters: characters that are symbols.
    """
    found: list[str] = []
    dropped, open_word = 0, False
    for token in text.split():
        if is_mark(token) and token.startswith("E-"):
            found.append(token)
            continue
        if open_word:
            found.append(SPACE)
            open_word = False
        if is_mark(token):
            found.append(token)
            continue
        kept = [c for c in token.upper() if c in letters and c != SPACE]
        dropped += len(token) - len(kept)
        found += kept
        open_word = bool(kept) or open_word
    return tuple(found), dropped


def text_of(symbols: Sequence[str]) -> str:
    """Symbols as a text whose marks stand between spaces."""
    parts = [f" {s} " if is_mark(s) else " " if s == SPACE else s for s in symbols]
    return " ".join("".join(parts).split())


def spoken_text(symbols: Sequence[str]) -> str:
    """The same without marks: what was said."""
    begins = "".join(
        " " if s == SPACE or (is_mark(s) and s[0] == "B") else s
        for s in symbols
        if not (is_mark(s) and s[0] == "E")
    )
    return " ".join(begins.split())
