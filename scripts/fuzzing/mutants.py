"""Mutants of file contents: bytes flipped, cut and repeated; values of JSON replaced."""

from __future__ import annotations

import json
import random
from typing import Any

DEEP = json.loads("[" * 300 + "]" * 300)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -0.5, float("nan"), float("inf"),
    "", "a", "0", "\x00", "../../etc/passwd", "/dev/zero", "/", "~nobody/x", "é\ud800", "x" * 5000,
    [], [0], ["a"], [[]], [None], {}, {"a": None}, {"": {}}, DEEP,
)  # fmt: skip
"""Values that a reader may not expect."""

TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b'"', b",", b" ", b"-", b"1e999",
    b"nan", b"99999999999999999999", b"&a [*a,*a]", b"!!python/object:x ", b"[" * 3000, b"{",
    b"2020-99-99", b"0b", b"1" * 5000, b"\xed\xa0\x80", b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
)  # fmt: skip
"""Pieces that are put into bytes."""


def mutant(data: bytes, source: random.Random, *, structured: bool) -> bytes:
    """One to four changes to a content.

    Args:
        data: of the file.
        source: of chance.
        structured: whether it is JSON, of which values may be changed (three times in four).
    """
    for _ in range(source.randint(1, 4)):
        if structured and source.random() < 0.75:
            data = _value_changed(data, source)
        else:
            data = _bytes_changed(data, source)
    return data


def _bytes_changed(data: bytes, source: random.Random) -> bytes:
    at = source.randint(0, len(data))
    end = min(len(data), at + source.choice((1, 2, 4, 16, 64)))
    how = source.randrange(6)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + data[end:]
    if how == 2:
        return data[:at] + source.choice(TOKENS) + data[source.choice((at, end)) :]
    if how == 3:
        return data[:end] + data[at:end] * source.randint(1, 3) + data[end:]
    if how == 4:
        return data[:at] + source.randbytes(end - at) + data[end:]
    flipped = bytes(byte ^ (1 << source.randrange(8)) for byte in data[at : at + 1])
    return data[:at] + flipped + data[at + 1 :]


def _value_changed(data: bytes, source: random.Random) -> bytes:
    """One value, key or entry of the JSON changed; bytes where it is none."""
    try:
        lines = [json.loads(line) for line in data.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        try:
            lines = [json.loads(data)]
        except (ValueError, RecursionError):
            return _bytes_changed(data, source)
    held: Any = lines
    places = list(_places(held))
    if not places:
        return _bytes_changed(data, source)
    where, key = source.choice(places)
    how = source.randrange(5)
    if how == 0:
        del where[key]
    elif how == 1 and isinstance(where, dict):
        where[str(source.choice(ODD))[:40]] = where.pop(key)
    elif how == 2:
        other, its = source.choice(places)
        where[key] = json.loads(json.dumps(other[its]))
    else:
        where[key] = source.choice(ODD)
    try:
        return b"\n".join(json.dumps(line).encode() for line in held)
    except (ValueError, RecursionError):
        return data


def _places(value: Any, depth: int = 0) -> Any:
    """Container and key of every value."""
    if depth > 40:
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner, depth + 1)
