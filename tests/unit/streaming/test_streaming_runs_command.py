"""The command in a run's record."""

from __future__ import annotations

import sys

import pytest

from voxstrata.streaming.runs import command_line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/voxstrata", "train", "r", "-o", "a b"], "voxstrata train r -o 'a b'"),
        (["/lib/voxstrata/__main__.py", "verify", "m"], "python -m voxstrata verify m"),
    ],
)
def test_it_can_be_typed_again(monkeypatch: pytest.MonkeyPatch, argv: list[str], said: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == said
