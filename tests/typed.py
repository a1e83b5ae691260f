"""Text as people type it: valid texts with mistakes in them, and how they may be refused."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from voxstrata.errors import VoxstrataError

PIECES = [
    "", " ", ",", ":", "=", "@", "/", "..", "~", "+", " + ", "*", "-", "--", "\0", "\n", "é", "²",
    "random:", "mixtures:", "synthetic:", ",seed=", "nan", "1e999", "-1", "9" * 30, "\ud800",
    "x" * 300,
]  # fmt: skip
"""What a mistake puts in: marks of the grammars, numbers out of range, names no file can have."""


@st.composite
def mutants(draw: st.DrawFn, valid: Sequence[str]) -> str:
    """A valid text in which up to three stretches are gone, or something else stands there."""
    text = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 4)))
        put = draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)))
        text = text[:start] + put + text[end:]
    return text


def refusal(error: Exception) -> None:
    """Anything but an error of the family that says what to do, or what was expected, is raised."""
    if not isinstance(error, VoxstrataError):
        raise error
    assert error.fix or error.expected, f"neither fix nor expected: {error}"
