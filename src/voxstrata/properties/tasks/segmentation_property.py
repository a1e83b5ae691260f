"""Property ``word-segmentation``: word boundaries without training
(docs/properties/word_segmentation.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.numerics.jackknife import jackknife
from voxstrata.properties.property import Property, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.abx import groups_of
from voxstrata.properties.tasks.same_different import codes
from voxstrata.properties.tasks.segmentation import (
    METRICS,
    PROMINENCES,
    TOLERANCE_S,
    WINDOWS,
    Matching,
    Metric,
    Quality,
    boundary_positions,
    change,
    column_scale,
    count,
    curve_peaks,
    grid,
    quality,
    zscore,
)
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.unit_segment import SILENCES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EVEN, RANDOM = "evenly-spaced", "random-boundaries"
"""Controls: as many boundaries in each recording, evenly spaced or drawn at random."""

_HALVES, _RANDOM = 4301, 4302
_HAND_LABELLED = ("timit", "buckeye")
_MEASURES = {
    "boundary-f1": "f1",
    "boundary-precision": "precision",
    "boundary-recall": "recall",
    "r-value": "r_value",
    "token-f1": "token_f1",
    "token-precision": "token_precision",
    "token-recall": "token_recall",
}


@dataclass(frozen=True)
class Recording:
    """One recording to segment.

    Attributes:
        rows: its frames in the sample, in time, [T].
        centres_s: centres of those frames, seconds, [T] (a sequence sample has one frame grid).
        words: start and end of each word, seconds.
        duration_s: length.
        fold: fold of its group.
    """

    rows: Ints
    centres_s: Floats
    words: tuple[tuple[float, float], ...]
    duration_s: float
    fold: int


@dataclass
class _SegmentationDraw:
    recordings: list[Recording]
    half: Ints
    published: bool
    seed: int
    facts: dict[str, Any]
    notices: Sequence[str]

    @property
    def matching(self) -> Matching:
        return "pasad" if self.published else "one-to-one"

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Boundary and word scores, and those of boundaries that look at nothing."""
        boundaries = self._candidates(rows)
        counts = self._counts(boundaries)  # [G, R, 7]
        chosen = self._choose(counts)  # [R]
        choices = grid()
        self.facts["chosen"][layer.key] = [
            {"prominence": c.prominence, "distance": c.metric, "window": c.window}
            for c in dict.fromkeys(choices[g] for g in chosen)
        ]
        each = np.arange(len(self.recordings))
        out = self._scores(counts[chosen, each], rows.shape[1], "")
        predicted = [len(boundaries[g][r]) for r, g in enumerate(chosen)]
        rng = np.random.default_rng([self.seed, _RANDOM])
        for control in (EVEN, RANDOM):
            table = [
                count(
                    self._blind(recording, number, control, rng),
                    recording.words,
                    recording.duration_s,
                    matching=self.matching,
                ).array()
                for recording, number in zip(self.recordings, predicted, strict=True)
            ]
            out += self._scores(np.array(table), rows.shape[1], control)
        return out

    def _blind(
        self, recording: Recording, number: int, control: str, rng: np.random.Generator
    ) -> Floats:
        if control == EVEN:
            return np.linspace(0, recording.duration_s, number + 2)[1:-1]
        return np.sort(rng.uniform(0, recording.duration_s, number))

    def _candidates(self, rows: torch.Tensor) -> list[list[Floats]]:
        """Boundary times for every point of the grid and every recording."""
        pieces = [rows[torch.from_numpy(r.rows)].numpy() for r in self.recordings]
        scale = column_scale(pieces)
        curves: dict[Metric, list[Floats]] = {metric: [] for metric in METRICS}
        for piece in pieces:
            frames = zscore(piece, scale)
            for metric, found in curves.items():
                found.append(change(frames, metric))
        out = []
        for metric in METRICS:
            for window in WINDOWS:
                found_peaks = curve_peaks(curves[metric], window)
                times = [
                    self._times(recording, peak, window)
                    for recording, (peak, _) in zip(self.recordings, found_peaks, strict=True)
                ]
                for prominence in PROMINENCES:
                    out.append(
                        [
                            t[height >= prominence]
                            for t, (_, height) in zip(times, found_peaks, strict=True)
                        ]
                    )
        return out

    def _times(self, recording: Recording, peak: Ints, window: int) -> Floats:
        if self.published:
            step = float(np.median(np.diff(recording.centres_s))) if len(peak) else 0.0
            return np.asarray((peak + window // 2) * round(step, 6))
        place = boundary_positions(peak, window)
        return np.interp(place, np.arange(len(recording.centres_s)), recording.centres_s)

    def _counts(self, boundaries: list[list[Floats]]) -> Floats:
        out = np.empty((len(boundaries), len(self.recordings), 7))
        for g, here in enumerate(boundaries):
            # Higher thresholds keep a subset: equal numbers are equal boundaries.
            fresh = g % len(PROMINENCES) == 0
            for r, (times, recording) in enumerate(zip(here, self.recordings, strict=True)):
                if not fresh and len(times) == len(boundaries[g - 1][r]):
                    out[g, r] = out[g - 1, r]
                    continue
                found = count(times, recording.words, recording.duration_s, matching=self.matching)
                out[g, r] = found.array()
        return out

    def _choose(self, counts: Floats) -> Ints:
        """The grid point used for each recording: the best on the other half, or on all."""
        if self.published:
            return np.full(len(self.recordings), self._best(counts.sum(axis=1)), dtype=np.int64)
        best = [self._best(counts[:, self.half != h].sum(axis=1)) for h in (0, 1)]
        return np.array(best, dtype=np.int64)[self.half]

    def _best(self, totals: Floats) -> int:
        return int(np.argmax([quality(total, self.matching).f1 for total in totals]))

    def _scores(self, table: Floats, d: int, control: str) -> list[Score]:
        """Scores of counts by recording [R, 7], with a jackknife over folds."""
        whole = quality(table.sum(axis=0), self.matching)
        fold = np.array([r.fold for r in self.recordings])
        present = np.unique(fold)
        left = [quality(table[fold != f].sum(axis=0), self.matching) for f in present]
        sizes = [int((fold == f).sum()) for f in present]
        out = []
        for measure, name in _MEASURES.items():
            bounds = (-math.inf, 1.0) if name == "r_value" else (0.0, 1.0)
            error = None
            if len(present) > 1 and not control:
                replicates = [_value(q, name) for q in left]
                error = float(jackknife(_value(whole, name), replicates, sizes).error)
            out.append(
                Score(
                    measure=measure,
                    value=_value(whole, name),
                    error=error,
                    n=int(table[:, 2].sum() if "token" not in measure else table[:, 6].sum()),
                    groups=len(present) if error is not None else 0,
                    d=d,
                    estimator="in-sample" if self.published else "held-out",
                    control=control,
                    bounds=bounds,
                )
            )
        return out


def _value(found: Quality, name: str) -> float:
    return float(getattr(found, name))


@dataclass(frozen=True)
class WordSegmentation(PropertyFacts):
    """Unsupervised word segmentation."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _SegmentationDraw:
        """All recordings of the sequence sample that have words.

        Raises:
            TooFewError: fewer than two recordings with words.
        """
        recordings = recordings_of(sample)
        published = settings.preset == "pasad2023"
        if len(recordings) < 2:
            raise TooFewError(
                f"{self.name} chooses its threshold on one half of the recordings",
                got=f"{len(recordings)} recording(s) with words",
                expected="at least 2",
                fix="give more recordings, or a larger sequence_s",
            )
        rng = np.random.default_rng([seed, _HALVES])
        fold = np.array([r.fold for r in recordings])
        present = rng.permutation(np.unique(fold))
        if len(present) > 1:
            half = np.isin(fold, present[: len(present) // 2]).astype(np.int64)
        else:
            half = rng.permutation(np.arange(len(recordings)) % 2)
        facts: dict[str, Any] = {
            "recordings": len(recordings),
            "words": sum(len(r.words) for r in recordings),
            "seconds": round(sum(r.duration_s for r in recordings), 3),
            "tolerance_s": TOLERANCE_S,
            "grid points": len(grid()),
            "chosen on": "the data that is scored" if published else "the other half",
            "matching": "pasad" if published else "one-to-one",
            "chosen": {},
        }
        notices = []
        if not hand_labelled(settings.corpus, sample):
            notices.append(
                "word boundaries of this corpus are taken as they are; those of forced alignments "
                "are off by about 15 ms in the median, nearly the tolerance of 20 ms: compare "
                "layers, do not quote the figures"
            )
        return _SegmentationDraw(recordings, half, published, seed, facts, notices)


def recordings_of(sample: Sample) -> list[Recording]:
    """The recordings of a sequence sample that have words and at least three frames."""
    out = []
    centre = (sample.start_s + sample.end_s) / 2
    for rows in groups_of(codes([str(u) for u in sample.utterance])):
        utterance = sample.utterances[str(sample.utterance[rows[0]])]
        words = tuple(
            (s.start_s, s.end_s)
            for s in utterance.segments("words")
            if s.label not in SILENCES and s.end_s > s.start_s
        )
        if not words or len(rows) < 3:
            continue
        rows = rows[np.argsort(centre[rows], kind="stable")]
        out.append(
            Recording(rows, centre[rows], words, utterance.duration_s, int(sample.fold[rows[0]]))
        )
    return out


def hand_labelled(spec: str, sample: Sample) -> bool:
    """Whether boundaries are the synthesiser's own or set by hand, as far as names tell."""
    head, _, rest = spec.partition(":")
    if head.partition(",")[0] == "synthetic":
        return True
    if all("phones_ipa" in u.tiers for u in sample.utterances.values()):
        return True  # a saved or selected synthetic corpus
    names = {head.lower(), PurePath(rest or head).name.lower()}
    return any(name.startswith(_HAND_LABELLED) for name in names)


def word_segmentation(argument: str) -> Property:
    """``word-segmentation``."""
    no_argument("word-segmentation", argument)
    return WordSegmentation(
        "word-segmentation",
        "unsupervised word segmentation (boundary F1)",
        "task",
        "sequence",
        "boundary-f1",
        tiers=("words",),
    )
