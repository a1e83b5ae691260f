"""Unsupervised word segmentation: peaks of the change between neighbouring frames.

Source: A. Pasad et al. 2024 (arXiv 2307.00162) and its code (branch of arXiv 2211.03929,
``word_segmentation_*``); R-value: O. Räsänen, U. Laine, T. Altosaar, "An improved speech
segmentation quality measure: the R-value", Interspeech 2009. docs/properties/
word_segmentation.md says where we depart from the published script and why.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError

Floats = NDArray[np.float64]
Metric = Literal["euclidean", "cosine"]
Matching = Literal["one-to-one", "pasad"]

PROMINENCES = (0.0, 1e-5, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0)
WINDOWS = (1, 2, 4, 6, 8, 16)
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")
TOLERANCE_S = 0.02

_HAIR = 1e-9
"""Times are decimal: a boundary exactly at the tolerance is a hit."""


@dataclass(frozen=True)
class Choice:
    """One point of the grid."""

    prominence: float
    metric: Metric
    window: int


def grid() -> list[Choice]:
    """The published grid: 15 prominences, two distances, six windows."""
    return [Choice(p, m, w) for m, w, p in itertools.product(METRICS, WINDOWS, PROMINENCES)]


def column_scale(recordings: Iterable[NDArray[Any]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of every dimension over the frames of all recordings.

    Summed recording by recording in float64, shifted by the first frame. A constant dimension
    gets an infinite deviation, so that it becomes 0.

    Args:
        recordings: frames [T, D] each.

    Raises:
        NumericsError: a value is not finite.
        ShapeError: there are no frames.
    """
    frames, shift = 0, None
    total = squares = np.zeros(0)
    for part in recordings:
        x = np.asarray(part, dtype=np.float64)
        if shift is None and len(x):
            shift, total, squares = x[0], np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if shift is not None:
            x = x - shift
            frames, total = frames + len(x), total + x.sum(axis=0)
            squares = squares + np.einsum("td,td->d", x, x)
    if shift is None:
        raise ShapeError("a scale needs at least one frame")
    if not np.isfinite(squares).all():
        raise NumericsError("frames must be finite to be segmented")
    mean = total / frames
    spread = np.sqrt(np.maximum(squares / frames - mean**2, 0.0))
    alive = spread > 1e-7 * max(float(spread.max()), 1e-300)
    return shift + mean, np.where(alive, spread, np.inf)


def zscore(frames: NDArray[Any], scale: tuple[Floats, Floats] | None = None) -> Floats:
    """Frames [T, D] with mean 0 and variance 1 in every dimension, float64.

    Args:
        frames: what to scale.
        scale: from :func:`column_scale`; ``None`` for that of ``frames``.

    Raises:
        NumericsError: a value is not finite.
    """
    mean, spread = column_scale([frames]) if scale is None else scale
    return np.asarray((np.asarray(frames, dtype=np.float64) - mean) / spread)


def change(frames: Floats, metric: Metric) -> Floats:
    """Distance of each frame of one recording to the next, [T - 1]."""
    a, b = frames[:-1], frames[1:]
    if metric == "euclidean":
        return np.asarray(np.linalg.norm(b - a, axis=1))
    norms = np.linalg.norm(frames, axis=1)
    scale = norms[:-1] * norms[1:]
    dot = np.einsum("td,td->t", a, b)
    return np.asarray(1.0 - np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0))


def smooth(curve: Floats, window: int) -> Floats:
    """Moving average where the window fits, [T - window + 1]; empty if it never does."""
    if window < 1:
        raise UsageError("a window has at least one frame", got=window)
    if len(curve) < window:
        return np.empty(0)
    return np.asarray(np.convolve(curve, np.full(window, 1.0 / window), mode="valid"))


def peaks(curve: Floats) -> tuple[NDArray[np.int64], Floats]:
    """All peaks of a curve and their prominences; a threshold on these is the whole search."""
    from scipy.signal import find_peaks

    if len(curve) < 3:
        return np.empty(0, dtype=np.int64), np.empty(0)
    found, facts = find_peaks(curve, prominence=0.0)
    return found.astype(np.int64), facts["prominences"]


def curve_peaks(curves: Sequence[Floats], window: int) -> list[tuple[NDArray[np.int64], Floats]]:
    """Peaks and prominences of every recording's change curve after smoothing."""
    return [peaks(smooth(curve, window)) for curve in curves]


def boundary_positions(peak: NDArray[np.int64], window: int) -> Floats:
    """Where boundaries lie, in frames: entry p of the smoothed curve averages the ``window``
    steps from p on, whose middle is p + window / 2 (half of 1 being the middle between two
    frames)."""
    return np.asarray(peak + window / 2)


@dataclass(frozen=True)
class Counts:
    """What a segmentation got right; counts of recordings add up.

    Attributes:
        hits: predicted boundaries that hit a gold one.
        predicted, gold: boundaries.
        missed: gold boundaries that nothing hit.
        tokens: predicted words with both edges right.
        predicted_tokens, gold_tokens: words.
    """

    hits: int = 0
    predicted: int = 0
    gold: int = 0
    missed: int = 0
    tokens: int = 0
    predicted_tokens: int = 0
    gold_tokens: int = 0

    def array(self) -> Floats:
        """The counts as a vector, [7]."""
        return np.array(
            [
                self.hits,
                self.predicted,
                self.gold,
                self.missed,
                self.tokens,
                self.predicted_tokens,
                self.gold_tokens,
            ],
            dtype=np.float64,
        )


def match(predicted: Floats, gold: Floats, tolerance_s: float = TOLERANCE_S) -> int:
    """Largest number of one-to-one hits within the tolerance; both sorted ascending."""
    hits = i = j = 0
    while i < len(predicted) and j < len(gold):
        gap = predicted[i] - gold[j]
        if abs(gap) <= tolerance_s + _HAIR:
            hits, i, j = hits + 1, i + 1, j + 1
        elif gap < 0:
            i += 1
        else:
            j += 1
    return hits


def near(values: Floats, others: Floats, tolerance_s: float = TOLERANCE_S) -> NDArray[np.bool_]:
    """Whether each of ``values`` lies within the tolerance of one of the sorted ``others``."""
    if not len(others):
        return np.zeros(len(values), dtype=bool)
    after = np.searchsorted(others, values).clip(1, len(others) - 1) if len(others) > 1 else 0
    left = np.abs(values - others[np.maximum(after - 1, 0)])
    right = np.abs(values - others[after])
    return np.asarray(np.minimum(left, right) <= tolerance_s + _HAIR)


def count(
    predicted: Floats,
    words: Sequence[tuple[float, float]],
    duration_s: float,
    *,
    matching: Matching = "one-to-one",
    tolerance_s: float = TOLERANCE_S,
) -> Counts:
    """Compare one recording's boundaries with its words.

    ``one-to-one``: a gold edge is hit once and a boundary hits once; edges that touch (end of one
    word, start of the next) are one; edges at the recording's own ends are given, not found.
    ``pasad``: every boundary within the tolerance of some edge is a hit, and recall is hits over
    hits + edges that nothing came near (the published count, so two boundaries at one edge count
    twice). A predicted word is the stretch between two neighbouring boundaries (the ends of the
    recording included) whose middle lies in some word: pauses are not words.

    Args:
        predicted: boundary times, ascending, seconds.
        words: start and end of each word, in order, seconds.
        duration_s: length of the recording.
        matching: how hits are counted.
        tolerance_s: largest distance of a hit.
    """
    edges = np.unique(np.array([t for word in words for t in word], dtype=np.float64).round(6))
    given = np.array([0.0, duration_s])
    if matching == "pasad":
        scored = edges
        hits = int(near(predicted, scored, tolerance_s).sum())
        missed = int((~near(scored, predicted, tolerance_s)).sum())
    elif matching == "one-to-one":
        scored = edges[~near(edges, given, tolerance_s)]
        predicted = predicted[~near(predicted, given, tolerance_s)]
        hits = match(predicted, scored, tolerance_s)
        missed = len(scored) - hits
    else:
        raise UsageError("unknown matching", got=matching, expected="'one-to-one' or 'pasad'")
    right, found = _tokens(np.unique(np.concatenate([given, predicted])), words, tolerance_s)
    return Counts(hits, len(predicted), len(scored), missed, right, found, len(words))


def _tokens(
    cuts: Floats, words: Sequence[tuple[float, float]], tolerance_s: float
) -> tuple[int, int]:
    """Right words and predicted words among the stretches between cuts."""
    if not words or len(cuts) < 2:
        return 0, 0
    starts = np.array([start for start, _ in words])
    ends = np.array([end for _, end in words])
    middle = (cuts[:-1] + cuts[1:]) / 2
    inside = np.searchsorted(starts, middle, side="right") - 1
    spoken = (inside >= 0) & (middle <= ends[inside.clip(0)])
    at = inside.clip(0)
    reach = tolerance_s + _HAIR
    right = spoken & (np.abs(cuts[:-1] - starts[at]) <= reach)
    right &= np.abs(cuts[1:] - ends[at]) <= reach
    # A word shorter than the tolerance may have several stretches; it is found once.
    return len(np.unique(at[right])), int(spoken.sum())


@dataclass(frozen=True)
class Quality:
    """Scores from counts; each in [0, 1] but ``r_value``, which may be negative."""

    precision: float
    recall: float
    f1: float
    r_value: float
    token_precision: float
    token_recall: float
    token_f1: float


def quality(total: Floats, matching: Matching = "one-to-one") -> Quality:
    """Precision, recall, F1 and R-value from summed :meth:`Counts.array`.

    R = 1 - (|r1| + |r2|) / 2, r1 = sqrt((1 - HR)^2 + OS^2), r2 = (HR - 1 - OS) / sqrt 2, where HR
    is recall and OS = predicted / gold - 1 (Räsänen et al. 2009).

    Raises:
        ShapeError: not seven counts.
    """
    if total.shape != (7,):
        raise ShapeError("seven counts make a quality", got=total.shape)
    hits, predicted, gold, missed, tokens, found, words = (float(v) for v in total)
    precision = hits / predicted if predicted else 0.0
    reference = hits + missed if matching == "pasad" else gold
    recall = hits / reference if reference else 0.0
    over = predicted / gold - 1.0 if gold else 0.0
    r1 = math.hypot(1.0 - recall, over)
    r2 = (recall - 1.0 - over) / math.sqrt(2.0)
    token_precision = tokens / found if found else 0.0
    token_recall = tokens / words if words else 0.0
    return Quality(
        precision,
        recall,
        f_measure(precision, recall),
        1.0 - (abs(r1) + abs(r2)) / 2.0,
        token_precision,
        token_recall,
        f_measure(token_precision, token_recall),
    )


def f_measure(precision: float, recall: float) -> float:
    """Harmonic mean; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
