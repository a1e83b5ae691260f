"""Damage to files as disks and copies make it: flipped bits, and ends that are missing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from voxstrata.errors import VoxstrataError


def damages(whole: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Copies with one bit flipped, and cut ones; all of them where there are no more than asked."""
    draw = random.Random(seed)
    bits = range(8 * len(whole))
    for bit in bits if len(bits) <= count else sorted(draw.sample(bits, count)):
        held = bytearray(whole)
        held[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit % 8} of byte {bit // 8}", bytes(held)
    ends = range(len(whole))
    for end in ends if len(ends) <= count // 4 else sorted(draw.sample(ends, count // 4)):
        yield f"cut to {end} bytes", whole[:end]


def assert_told(
    path: Path, read: Callable[[], Any], same: Callable[[Any], bool], count: int
) -> tuple[int, int]:
    """Damage a file many times: every time it is told, naming the file, or changes nothing.

    Returns:
        how often it was told, and how often nothing changed.
    """
    whole = path.read_bytes()
    assert same(read()), "the undamaged file"
    told = harmless = 0
    try:
        for what, bad in damages(whole, count):
            path.write_bytes(bad)
            try:
                found = read()
            except VoxstrataError as error:
                named = path.name in str(error) or path.parent.name in str(error)
                if not (named and error.fix):
                    raise AssertionError(f"{what}: no name or no remedy in {error}") from error
                told += 1
            except BaseException as error:
                raise AssertionError(f"{path.name}, {what}: {error!r}") from error
            else:
                assert same(found), f"{path.name}, {what}: a silent wrong value"
                harmless += 1
    finally:
        path.write_bytes(whole)
    return told, harmless
