"""What single speakers say: stretches of their recordings, with the times at which they speak."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora.recipes._turns import join_spans, voiced_segments
from voxstrata.types import SAMPLE_RATE, Segment, Utterance

PAUSES = frozenset({"", "SIL", "sil", "sp", "<eps>", "<sil>", "[SILENCE]"})
"""Labels of silence. Words and sounds that an aligner did not know (<unk>, SPN) are speech."""

MARGIN_S = 0.1
"""Audio around a stretch that is taken along, where nothing is said in it."""

SHORTEST_S = 0.1
"""Shorter stretches are not used."""

FADE_S = 0.01


@dataclass(frozen=True)
class Clip:
    """A stretch of a recording of one speaker.

    Attributes:
        utterance: the recording.
        begin_s, end_s: in the recording, with margins.
        spans: when the speaker speaks, seconds from ``begin_s``, in order.
        way: what told so: "words", "phones" or "energy".
        rms: root of the mean square of the samples in ``spans``.
    """

    utterance: Utterance
    begin_s: float
    end_s: float
    spans: tuple[Segment, ...]
    way: str
    rms: float

    @property
    def voice_s(self) -> tuple[float, float]:
        """Begin and end of the speech, seconds from ``begin_s``."""
        return self.spans[0].start_s, self.spans[-1].end_s

    @property
    def length_s(self) -> float:
        """From the first to the last speech."""
        return self.voice_s[1] - self.voice_s[0]

    def read(self) -> NDArray[np.float64]:
        """Its samples [S], faded in and out over 10 ms so that cuts do not click.

        Raises:
            AudioError: the recording cannot be read.
        """
        audio = self.utterance.read()
        cut = audio[round(self.begin_s * SAMPLE_RATE) : round(self.end_s * SAMPLE_RATE)]
        faded = cut.astype(np.float64)
        n = min(round(FADE_S * SAMPLE_RATE), len(faded) // 2)
        ramp = (np.arange(n) + 0.5) / n
        faded[:n] *= ramp
        faded[len(faded) - n :] *= ramp[::-1]
        return faded


def clips_of(utterance: Utterance, speaker: str, longest_s: float) -> Iterator[Clip]:
    """Stretches of a recording, one after another: all that is said in it, but for what is shorter
    than 0.1 s or digital silence.

    Args:
        utterance: a recording of one speaker.
        speaker: label of the spans.
        longest_s: no stretch is longer.

    Raises:
        AudioError: it cannot be read.
    """
    audio = utterance.read()
    way, units = spoken(utterance, audio, speaker)
    units = list(_cut(units, longest_s))
    at = 0
    while at < len(units):
        begin, last = units[at].start_s, at
        while last + 1 < len(units) and units[last + 1].end_s - begin <= longest_s:
            last += 1
        mine, before = units[at : last + 1], units[at - 1].end_s if at else 0.0
        end = mine[-1].end_s
        after = units[last + 1].start_s if last + 1 < len(units) else len(audio) / SAMPLE_RATE
        at = last + 1
        # Half a pause: the other half is the neighbour's.
        left = begin - min(MARGIN_S, max(0.0, begin - before) / 2)
        right = end + min(MARGIN_S, max(0.0, after - end) / 2)
        spans = tuple(
            Segment(s.start_s - left, s.end_s - left, speaker) for s in join_spans(mine, speaker)
        )
        rms = _rms(audio, [(s.start_s + left, s.end_s + left) for s in spans])
        if end - begin >= SHORTEST_S and rms > 1e-5:
            yield Clip(utterance, left, right, spans, way, rms)


def spoken(
    utterance: Utterance, audio: NDArray[np.float32], speaker: str
) -> tuple[str, list[Segment]]:
    """When something is said, and what tells so: words, else phones, else energy."""
    for tier in ("words", "phones"):
        found = [
            Segment(max(0.0, s.start_s), min(s.end_s, utterance.duration_s), speaker)
            for s in utterance.segments(tier)
            if s.label not in PAUSES
        ]
        held = [s for s in found if s.end_s > s.start_s]
        if held:
            return tier, join_spans(held, speaker, gap_s=-1e-9)
    return "energy", voiced_segments(audio, speaker)


def _cut(units: Sequence[Segment], longest_s: float) -> Iterator[Segment]:
    """Units, those that are too long in equal pieces."""
    for unit in units:
        pieces = int(np.ceil((unit.end_s - unit.start_s) / longest_s - 1e-9))
        edges = np.linspace(unit.start_s, unit.end_s, pieces + 1).tolist()
        for a, b in itertools.pairwise(edges):
            yield Segment(a, b, unit.label)


def _rms(audio: NDArray[np.float32], spans: Sequence[tuple[float, float]]) -> float:
    parts = [audio[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for a, b in spans]
    voiced = np.concatenate(parts).astype(np.float64)
    return float(np.sqrt(np.mean(voiced**2))) if len(voiced) else 0.0
