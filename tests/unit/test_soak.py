"""What the soak test calls flat, and what it does not."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def readings() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("soak_readings")
    finally:
        sys.path.remove(str(SCRIPTS))


def rounds(readings: ModuleType, count: int = 12) -> list[Any]:
    """Flat after a warm-up, with a little noise."""
    return [
        readings.Reading(
            minutes=2.0 * (i + 1),
            rss_mb=500.0 + (40 * min(i, 3)) + (-1) ** i * 3,
            objects=400_000 + 2_000 * min(i, 3) + 7 * (i % 2),
            files=16 + (i == 1),
            threads=6,
            processes=0,
            temporary=0,
        )
        for i in range(count)
    ]


def test_what_stays_is_flat_whatever_the_warm_up_takes(readings: ModuleType) -> None:
    lines, wrong = readings.verdict(rounds(readings))
    assert not wrong
    assert len(lines) == 6
    assert all(line.startswith("flat") for line in lines)


@pytest.mark.parametrize(
    ("field", "grown"),
    [
        ("rss_mb", lambda r, i: r.rss_mb + 4 * i),
        ("objects", lambda r, i: r.objects + 400 * i),
        ("files", lambda r, i: r.files + i // 3),
        ("threads", lambda r, i: r.threads + (i == 11)),
        ("processes", lambda r, i: int(i > 6)),
        ("temporary", lambda r, i: int(i == 2)),
    ],
)
def test_what_grows_is_told(readings: ModuleType, field: str, grown: Any) -> None:
    seen = [replace(r, **{field: grown(r, i)}) for i, r in enumerate(rounds(readings))]
    _, wrong = readings.verdict(seen)
    assert len(wrong) == 1
    assert wrong[0].startswith("NOT FLAT")


def test_too_few_rounds_are_no_verdict(readings: ModuleType) -> None:
    _, wrong = readings.verdict(rounds(readings, 4))
    assert "too few" in wrong[0]


def test_slope_does_not_follow_one_reading(readings: ModuleType) -> None:
    values = [2.0 * t for t in range(9)]
    values[4] = 1e6
    assert readings.slope(list(range(9)), values) == pytest.approx(2.0)


def test_an_orphan_and_a_file_left_are_seen(
    readings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("the soak test reads /proc")
    monkeypatch.setenv(readings.MARK, f"test-{tmp_path.name}-{time.monotonic_ns()}")
    assert readings.started() == []
    # The child of a shell that has ended: nobody's child, but it carries the mark.
    shell = subprocess.run(
        ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        text=True,
        check=True,
    )
    orphan = int(shell.stdout)
    try:
        assert readings.started() == [orphan]
    finally:
        subprocess.run(["kill", str(orphan)], check=True)
    deadline = time.monotonic() + 10
    while readings.started() and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".a.abcdefgh.tmp").touch()
    (tmp_path / "left").touch()
    seen = readings.read(time.monotonic(), [tmp_path], tmp_path / "cache")
    assert seen.processes == 0
    assert seen.temporary == 3  # one lies in both
    assert seen.files >= 3
    assert seen.rss_mb > 10
