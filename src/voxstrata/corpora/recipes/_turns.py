"""Who speaks when, from what is known of single-speaker recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora.audio import read_file
from voxstrata.corpora.recipes._files import Problem, read_lines
from voxstrata.types import SAMPLE_RATE, Segment

JOIN_S = 0.2
"""Pauses up to this long belong to the turn."""
SHORTEST_S = 0.1
"""Shorter voiced spans are taken for clicks."""
WINDOW_S, HOP_S = 0.025, 0.01
BELOW_LOUD_DB = 30.0
"""A frame is voiced if it is at most this much below the recording's loud frames."""
LOUD_PERCENTILE = 95.0


def join_spans(spans: Iterable[Segment], label: str, gap_s: float = JOIN_S) -> list[Segment]:
    """Spans of one speaker in order, those with at most ``gap_s`` between them made one."""
    joined: list[Segment] = []
    for span in sorted(spans, key=lambda s: (s.start_s, s.end_s)):
        if joined and span.start_s - joined[-1].end_s <= gap_s:
            end = max(joined[-1].end_s, span.end_s)
            joined[-1] = Segment(joined[-1].start_s, end, label)
        else:
            joined.append(Segment(span.start_s, span.end_s, label))
    return joined


def voiced_frames(audio: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which 25 ms frames (every 10 ms) of clean speech are voiced, by energy.

    A frame is voiced if its energy is within 30 dB of the 95th percentile of the frames that
    are not digital silence.

    Args:
        audio: [S], 16 kHz.

    Returns:
        [T] with T = 1 + floor((S - 400) / 160), none for S < 400.
    """
    window, hop = round(WINDOW_S * SAMPLE_RATE), round(HOP_S * SAMPLE_RATE)
    if len(audio) < window:
        return np.zeros(0, dtype=bool)
    power = np.concatenate([[0.0], np.cumsum(audio.astype(np.float64) ** 2)])
    starts = np.arange(0, len(audio) - window + 1, hop)
    energy = (power[starts + window] - power[starts]) / window
    audible = energy > 1e-10
    if not audible.any():
        return np.zeros(len(starts), dtype=bool)
    loud = np.percentile(energy[audible], LOUD_PERCENTILE)
    voiced: NDArray[np.bool_] = energy > loud * 10.0 ** (-BELOW_LOUD_DB / 10.0)
    return voiced


def voiced_segments(audio: NDArray[np.float32], label: str) -> list[Segment]:
    """Voiced spans of clean speech of one speaker, by :func:`voiced_frames`.

    Frame ``i`` stands for 10 ms around its centre. Pauses up to 0.2 s are bridged, spans
    under 0.1 s dropped.

    Args:
        audio: [S], 16 kHz.
        label: of the spans.
    """
    voiced = voiced_frames(audio)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    shift = (WINDOW_S - HOP_S) / 2
    spans = [
        Segment(a * HOP_S + shift, b * HOP_S + shift, label)
        for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
    return [s for s in join_spans(spans, label) if s.end_s - s.start_s >= SHORTEST_S]


def voiced_spans(path: Path, label: str) -> list[Segment]:
    """:func:`voiced_segments` of a recording on disk.

    Raises:
        AudioError: it cannot be read.
    """
    return voiced_segments(read_file(path), label)


def read_rttms(paths: Sequence[Path], problem: Problem) -> dict[str, list[Segment]]:
    """Speech of LibriSpeech utterances by utterance id, from RTTM files.

    Lines are ``SPEAKER UTTERANCE CHANNEL START DURATION <NA> <NA> SPEAKER ...``; the
    utterance may stand without its speaker (``8226-0026`` for 3536-8226-0026).
    """
    found: dict[str, list[Segment]] = {}
    for path in paths:
        for line in read_lines(path):
            cells = line.split()
            try:
                if len(cells) < 8 or cells[0] != "SPEAKER":
                    raise ValueError
                start, length = float(cells[3]), float(cells[4])
            except ValueError:
                problem(path, f"malformed line, ignored: {line[:80]}")
                continue
            speaker, name = cells[7], cells[1]
            id = name if name.count("-") == 2 else f"{speaker}-{name}"
            found.setdefault(id, []).append(Segment(start, start + length, speaker))
    return found
