"""Small helpers to write miniature corpora and to look at what a recipe made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from voxstrata.corpora.cuts import cut_from_dict, json_lines, read_cut
from voxstrata.corpora.registry import CORPORA, PrepareReport
from voxstrata.corpora.tiers import Tiers

RATE = 16_000


def tone(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A quiet noisy tone, the same for the same seed."""
    n = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(0, 0.01, n)
    return (0.2 * np.sin(2 * np.pi * (200 + 10 * seed) * np.arange(n) / rate) + noise).astype("f4")


def audio(path: Path, seconds: float = 0.5, *, rate: int = RATE, seed: int = 0, **how: Any) -> Path:
    """Write a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(str(path), tone(seconds, rate, seed), rate, **how)
    return path


def text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """Write a text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def stray(folder: Path) -> None:
    """What a Mac leaves behind."""
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def prepare(
    name: str, source: Path, out: Path, parts: Sequence[str] | None = None
) -> PrepareReport:
    """Run a recipe by its registry name."""
    return CORPORA.get(name).prepare(source, out, parts=parts)


def cuts(out: Path, part: str) -> dict[str, Any]:
    """Cuts of a prepared part by id; every one's audio is read and has the right length."""
    found = {}
    for _, value in json_lines(out / part / "cuts.jsonl.gz"):
        cut = cut_from_dict(value)
        assert len(read_cut(cut)) == int(cut.duration * RATE + 0.5)
        found[cut.id] = cut
    return found


def tiers(out: Path, part: str) -> dict[str, dict[str, Any]]:
    """Labels of a prepared part by utterance."""
    return {id: dict(Tiers(cut)) for id, cut in cuts(out, part).items()}


def said(report: PrepareReport, *pieces: str) -> bool:
    """Whether one problem's path and sentence together hold all ``pieces``."""
    return any(all(piece in f"{p.path}: {p.what}" for piece in pieces) for p in report.problems)


def spans(segments: Sequence[Any]) -> list[tuple[float, float, str]]:
    """Segments as plain triples, rounded to a tenth of a millisecond."""
    return [(round(s.start_s, 4), round(s.end_s, 4), s.label) for s in segments]
