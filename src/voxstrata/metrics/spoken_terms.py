"""Query by example: is a spoken term in a document? Scores by warping, and their value.

The scores are SUPERB's (s3prl ``downstream/quesst14_dtw``): every query is warped onto the best
stretch of every document, with no training. Their value is the term-weighted value of NIST's spoken
term detection evaluation (Fiscus et al., 2007) with documents as trials, as in MediaEval's QUESST.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.metrics.bootstrap import REPLICATES, Interval, percentile_interval
from voxstrata.metrics.curve import SortedTrials

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_FRAMES = 5
"""Shorter queries say too little to be sought; all their scores are 0."""

_FLOOR = 1e-9
_CELLS = 1_000_000
"""Cells of one table of distances: a query against as many documents as fit."""


def normalised_dimensions(
    queries: Sequence[ArrayLike], documents: Sequence[ArrayLike]
) -> tuple[list[Floats], list[Floats]]:
    """Frames with every dimension of mean 0 and deviation 1 over all frames of both lists.

    Deviations are of the sample (n - 1) and at least 1e-9.

    Args:
        queries, documents: frames [T_i, D] each.

    Raises:
        ShapeError: the frames differ in width.
        NumericsError: a frame is not finite.
        UsageError: there are no frames.
    """
    mean, deviation = dimensions([queries, documents])
    first, second = (
        [(np.asarray(x, dtype=np.float64) - mean) / deviation for x in side]
        for side in (queries, documents)
    )
    return first, second


def dimensions(sides: Sequence[Sequence[ArrayLike]]) -> tuple[Floats, Floats]:
    """Mean and deviation (of the sample, at least 1e-9) of every dimension over all frames.

    Lists are gone through twice and one recording is held at a time: they may read from disk.

    Args:
        sides: lists of frames [T_i, D].

    Returns:
        both [D].

    Raises:
        as :func:`normalised_dimensions`.
    """
    widths, total, mean = set(), 0, np.zeros(0)
    for frames in _each(sides):
        widths.add(frames.shape[1] if frames.ndim == 2 else -1)
        if len(widths) > 1 or -1 in widths:
            raise ShapeError(
                "frames must be of one width", got=sorted(widths), expected="[T, D] each"
            )
        if not np.isfinite(frames).all():
            raise NumericsError(
                "frames of queries and documents must be finite", got="NaN or infinite"
            )
        mean = frames.sum(axis=0) + (mean if total else 0)
        total += len(frames)
    if not total:
        raise UsageError("queries and documents hold no frames")
    mean = mean / total
    spread = np.zeros_like(mean)
    for frames in _each(sides):
        spread += np.square(frames - mean).sum(axis=0)
    return mean, np.maximum(np.sqrt(spread / max(total - 1, 1)), _FLOOR)


def _each(sides: Sequence[Sequence[ArrayLike]]) -> Iterator[Floats]:
    for side in sides:
        for given in side:
            yield np.asarray(given, dtype=np.float64)


def subsequence_costs(distances: ArrayLike, starts: ArrayLike) -> Floats:
    """Cost of warping a query onto the best stretch of each document, a query frame.

    Every query frame meets one document frame; from one to the next the document goes on by 0, 1
    or 2 frames ("asymmetric" of dtw-python; Sakoe and Chiba 1978), beginning and ending anywhere.
    Query frames follow one another, so one step fills a row of the tables of all documents.

    Args:
        distances: of query frames and the frames of N documents side by side, [n, F].
        starts: first frame of each document, rising from 0, [N].

    Returns:
        cost of the best path divided by n, [N].

    Raises:
        ShapeError: there are no query frames, or a document has none.
    """
    table, first = np.asarray(distances, dtype=np.float64), np.asarray(starts, dtype=np.int64)
    ends = np.append(first[1:], table.shape[-1])
    if table.ndim != 2 or not len(table) or not len(first) or first[0] or (ends <= first).any():
        raise ShapeError(
            "warping needs frames of the query and of every document",
            got=f"distances {table.shape}, documents starting at {first.tolist()[:8]}",
        )
    # A step may not come from the document before: neither into a first frame, nor by two frames
    # into a second one.
    second = first[first + 1 < table.shape[1]] + 1
    cost = table[0].copy()
    best = np.empty_like(cost)
    skipped = np.empty_like(cost)
    for row in table[1:]:
        best[0], best[1:] = np.inf, cost[:-1]
        best[first] = np.inf
        skipped[:2], skipped[2:] = np.inf, cost[:-2]
        skipped[first] = np.inf
        skipped[second] = np.inf
        np.minimum(best, skipped, out=best)
        np.minimum(best, cost, out=cost)
        cost += row
    out: Floats = np.minimum.reduceat(cost, first) / len(table)
    return out


def query_scores(
    queries: Sequence[ArrayLike],
    documents: Sequence[ArrayLike],
    *,
    least_frames: int = LEAST_FRAMES,
    normalise: bool = True,
    beside: Sequence[ArrayLike] = (),
) -> Floats:
    """Scores of queries in documents, by the steps of SUPERB.

    1. Every dimension is normalised over all frames (:func:`normalised_dimensions`).
    2. Distances are exp(1 - cosine) - 1.
    3. In each document, the distances of a query frame are stretched to [0, 1].
    4. The cost is that of :func:`subsequence_costs`; the score its negative.
    5. The scores of a query are normalised over documents to mean 0 and (population) deviation 1;
       those of a query of fewer than ``least_frames`` frames are 0.

    Cost: queries x documents x both lengths cells of 2 D + about 30 operations; 100 queries of 80
    frames in 500 documents of 300 are 1.2e9 cells, a minute or two on one core at D = 768.
    Memory is that of the queries in float64 and some tables of a million cells. Documents are gone
    through three times, one after another: a sequence may read them from disk.

    Args:
        queries, documents: frames of one layer, [T_i, D] each.
        least_frames: of a query.
        normalise: whether to take step 1.
        beside: other frames that count in step 1.

    Returns:
        [queries, documents], higher where the query is likelier to be in the document.

    Raises:
        ShapeError: the frames differ in width, or a document has none.
        NumericsError: a frame is not finite, or has no direction (it equals the mean).
        UsageError: there are no frames.
    """
    mean, deviation = np.zeros(1), np.ones(1)
    if normalise:
        mean, deviation = dimensions([queries, documents, beside])

    def unit(frames: ArrayLike, what: str, number: int) -> Floats:
        return _unit((np.asarray(frames, dtype=np.float64) - mean) / deviation, what, number)

    scores = np.zeros((len(queries), len(documents)))
    long = [i for i, query in enumerate(queries) if len(np.asarray(query)) >= max(1, least_frames)]
    if not long or not len(documents):
        return scores
    units = {i: unit(queries[i], "query", i) for i in long}
    columns = _CELLS // max(len(query) for query in units.values())
    told = (unit(document, "document", n) for n, document in enumerate(documents))
    for first, block in _blocks(told, columns):
        frames = np.concatenate(block)
        lengths = np.array([len(document) for document in block], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        for i, query in units.items():
            table = _stretched(np.expm1(1.0 - query @ frames.T), starts, lengths)
            scores[i, first : first + len(block)] = -subsequence_costs(table, starts)
    rows = scores[long]
    deviation = np.maximum(rows.std(axis=1, keepdims=True), _FLOOR)
    scores[long] = (rows - rows.mean(axis=1, keepdims=True)) / deviation
    return scores


def _unit(frames: Floats, what: str, number: int) -> Floats:
    if frames.ndim != 2 or not len(frames):
        raise ShapeError(f"{what} {number} has no frames", got=frames.shape, expected="[T, D]")
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise NumericsError(
            f"a frame of {what} {number} has no direction",
            got="zero, NaN or infinite",
            fix="leave out the recording; look for layers that are constant",
        )
    unit: Floats = frames / norms
    return unit


def _blocks(documents: Iterable[Floats], columns: int) -> Iterator[tuple[int, list[Floats]]]:
    """Documents that go together, at least one, of no more than so many frames, and the number of
    the first of them."""
    first, block, held = 0, list[Floats](), 0
    for document in documents:
        if block and held + len(document) > columns:
            yield first, block
            first, block, held = first + len(block), [], 0
        block.append(document)
        held += len(document)
    yield first, block


def _stretched(table: Floats, starts: Ints, lengths: Ints) -> Floats:
    """Distances of every query frame from 0 to 1 within each document."""
    least = np.minimum.reduceat(table, starts, axis=1)
    spread = np.maximum(np.maximum.reduceat(table, starts, axis=1) - least, _FLOOR)
    table -= np.repeat(least, lengths, axis=1)
    table /= np.repeat(spread, lengths, axis=1)
    return table


@dataclass(frozen=True)
class TermWeights:
    """What a false alarm costs against a miss.

    Attributes:
        p_target: prior probability that a query is in a document.
        c_miss, c_fa: costs of a miss and of a false alarm.

    Raises:
        UsageError: a setting is out of range.
    """

    p_target: float = 0.0008
    c_miss: float = 100.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.p_target < 1 or not (self.c_miss > 0 and self.c_fa > 0):
            raise UsageError(
                "weights of errors are out of range",
                got=f"p_target={self.p_target:g}, c_miss={self.c_miss:g}, c_fa={self.c_fa:g}",
                expected="0 < p_target < 1 and positive costs",
            )

    @property
    def beta(self) -> float:
        """c_fa / c_miss x (1 / p_target - 1); 12.49 with the costs of QUESST."""
        return self.c_fa / self.c_miss * (1 / self.p_target - 1)


QUESST = TermWeights()


class TermTrials:
    """Scores of queries in documents, and which documents hold which query.

    Queries that no document holds have no miss rate and are left out, as in NIST's evaluation. A
    query that every document holds cannot raise a false alarm.

    Args:
        scores: [queries, documents].
        relevant: whether the document holds the query, [queries, documents].
        weights: of errors.

    Attributes:
        used: queries that count, [queries].

    Raises:
        ShapeError: the two do not fit each other.
        NumericsError: a score is not finite.
        UsageError: no query is in a document, or all queries are in all documents.
    """

    def __init__(
        self, scores: ArrayLike, relevant: ArrayLike, weights: TermWeights = QUESST
    ) -> None:
        values, held = np.asarray(scores, dtype=np.float64), np.asarray(relevant).astype(bool)
        if values.ndim != 2 or values.shape != held.shape:
            raise ShapeError(
                "scores and relevance do not fit each other",
                got=f"{values.shape} and {held.shape}",
                expected="[queries, documents], twice",
            )
        self.used: NDArray[np.bool_] = np.asarray(held.any(axis=1))
        self._scores, self._held = values[self.used], held[self.used]
        self._weights = weights
        self._trials = SortedTrials(self._scores.reshape(-1), self._held.reshape(-1))
        self._targets = self._held.sum(axis=1)
        self._others = np.maximum(held.shape[1] - self._targets, 1)
        # What one error takes from the value of its query.
        self._prices: Floats = np.where(
            self._held, 1 / self._targets[:, None], weights.beta / self._others[:, None]
        )

    def each(self, threshold: float) -> Floats:
        """1 - P_miss - beta P_FA of each query that counts, accepting scores **above** the
        threshold: [used queries]."""
        taken = self._scores > threshold
        missed = (self._held & ~taken).sum(axis=1) / self._targets
        alarms = (taken & ~self._held).sum(axis=1) / self._others
        value: Floats = 1 - missed - self._weights.beta * alarms
        return value

    def actual(self, threshold: float) -> float:
        """Term-weighted value at a threshold (ATWV where that was set beforehand)."""
        return float(self.each(threshold).mean())

    def maximum(self) -> tuple[float, float]:
        """The largest value (MTWV) and a threshold it is reached at; at least 0 (accept nothing).

        The value changes at scores only, so all thresholds that matter are tried.
        """
        threshold = self._best(None)[1]
        return self.actual(threshold), threshold

    def interval(self, draws: int = REPLICATES, seed: int = 0, *, level: float = 0.95) -> Interval:
        """MTWV with its interval over queries; each draw has its own best threshold.

        Args:
            draws, seed: of the bootstrap.
            level: coverage aimed at.
        """
        found = self.replicates(draws=draws, seed=seed)
        return percentile_interval(self.maximum()[0], found, level, speakers=len(self._scores))

    def replicates(
        self, groups: Sequence[str] | None = None, *, draws: int = REPLICATES, seed: int = 0
    ) -> Floats:
        """MTWV in each draw of groups of queries, each at its own best threshold: [draws].

        Args:
            groups: what is drawn, for each query that was given (the speakers, say); the queries
                themselves by default.
            draws, seed: of the bootstrap; equal ones draw the same groups whatever the scores.

        Raises:
            UsageError: there are no draws; ``ShapeError``: not as many groups as queries.
        """
        if draws < 1:
            raise UsageError("a bootstrap needs draws", got=draws)
        names = np.arange(len(self.used)) if groups is None else np.asarray(groups)
        if names.shape != self.used.shape:
            raise ShapeError(
                "there are not as many groups as queries",
                got=f"{len(names)} groups and {len(self.used)} queries",
            )
        codes = np.unique(names[self.used], return_inverse=True)[1]
        many = int(codes.max()) + 1
        counts = np.random.default_rng(seed).multinomial(many, np.full(many, 1 / many), size=draws)
        return np.array([self._best(row[codes])[0] for row in counts])

    def _best(self, counts: Ints | None) -> tuple[float, float]:
        times = np.ones(len(self._scores)) if counts is None else counts
        prices = (self._prices * times[:, None]).reshape(-1)[self._trials.order]
        if not prices[~self._trials.target].any():
            return 1.0, -np.inf  # every document holds every query of the draw
        curve = self._trials.curve(prices)
        lost = curve.missed + curve.accepted
        at = int(np.argmin(lost))
        # To accept nothing is worth 0, and what is no better but for the rounding of sums too.
        value = 1 - float(lost[at]) / float(times.sum())
        return (value if value > 1e-12 else 0.0), float(curve.thresholds[at])


def maximum_term_weighted_value(
    scores: ArrayLike, relevant: ArrayLike, weights: TermWeights = QUESST
) -> tuple[float, float]:
    """MTWV = max over thresholds of 1 - mean over queries of (P_miss + beta P_FA).

    Args:
        scores, relevant, weights: as of :class:`TermTrials`.

    Returns:
        value, and a threshold it is reached at.

    Raises:
        as :class:`TermTrials`.

    Example:
        >>> maximum_term_weighted_value([[2.0, 0.0, 1.0]], [[True, False, False]])
        (1.0, 1.0)
    """
    return TermTrials(scores, relevant, weights).maximum()
