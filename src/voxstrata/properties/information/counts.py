"""Mutual information between codes (clusters) and labels, with its corrections: pure functions.

Everything here is a function of how often each code meets each label. All information is in
nats. Sources: P2023 and its public code for MI / H(label) (natural logarithms, no correction);
Hsu et al., HuBERT, 2021 (arXiv 2106.07447) for phone purity, cluster purity and phone-normalised
mutual information, which is the same quotient on frames; Miller 1955 for the first-order bias;
Vinh, Epps and Bailey, JMLR 11 (2010), for the mean over permutations and the adjusted index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError


@dataclass(frozen=True)
class Counts:
    """How often each code meets each label, zero cells left out.

    Attributes:
        code, label: code and label of each non-zero cell, int64 [C].
        joint: rows in the cell, int64 [C], all positive.
        codes, labels: number of codes and labels there could be (sizes of the margins).
    """

    code: NDArray[np.int64]
    label: NDArray[np.int64]
    joint: NDArray[np.int64]
    codes: int
    labels: int

    @classmethod
    def of(cls, codes: NDArray[Any], labels: NDArray[Any]) -> Counts:
        """Count codes and labels (whole numbers from 0) of the same rows, [N] each.

        Raises:
            ShapeError: not two vectors of the same length.
            UsageError: no rows, or negative numbers.
        """
        a, b = np.asarray(codes, dtype=np.int64), np.asarray(labels, dtype=np.int64)
        if a.ndim != 1 or a.shape != b.shape:
            raise ShapeError(
                "every row needs one code and one label", got=f"{a.shape} and {b.shape}"
            )
        if not len(a) or min(a.min(), b.min()) < 0:
            raise UsageError(
                "codes and labels are whole numbers from 0, of at least one row",
                got=f"{len(a)} rows" + (f", smallest {min(a.min(), b.min())}" if len(a) else ""),
            )
        width = int(b.max()) + 1
        cell, joint = np.unique(a * width + b, return_counts=True)
        return cls(cell // width, cell % width, joint, int(a.max()) + 1, width)

    @property
    def n(self) -> int:
        """Rows counted, N."""
        return int(self.joint.sum())

    @cached_property
    def by_code(self) -> NDArray[np.float64]:
        """Rows of each code, [codes]."""
        return np.bincount(self.code, self.joint, self.codes).astype(np.float64)

    @cached_property
    def by_label(self) -> NDArray[np.float64]:
        """Rows of each label, [labels]."""
        return np.bincount(self.label, self.joint, self.labels).astype(np.float64)


def entropy(counts: NDArray[Any]) -> float:
    """Plug-in entropy of counts, nats.

    Example:
        >>> round(entropy(np.array([1, 1, 0, 2])), 6)
        1.039721
    """
    p = np.asarray(counts, dtype=np.float64)
    p = p[p > 0] / p.sum()
    return float(-(p * np.log(p)).sum())


def mutual_information(counts: Counts) -> float:
    """Plug-in mutual information of code and label, nats: sum p log(p / (p_code p_label))."""
    n = counts.n
    ratio = counts.joint * n / (counts.by_code[counts.code] * counts.by_label[counts.label])
    # Rounding can leave -1e-17 where code and label are independent.
    return max(0.0, float((counts.joint * np.log(ratio)).sum() / n))


def normalised(counts: Counts) -> float:
    """MI / H(label), in [0, 1]: P2023's number, and HuBERT's PNMI where rows are frames.

    0 where there is one label only (its entropy is 0).
    """
    h = entropy(counts.by_label)
    return mutual_information(counts) / h if h > 0 else 0.0


def miller_madow(counts: Counts) -> float:
    """MI / H(label) with Miller's first-order correction of each entropy.

    H + (m - 1) / (2 N) with m non-empty cells, for codes, labels and pairs; so MI gains
    (m_code + m_label - m_pair - 1) / (2 N), which is negative. Good while cells are well filled;
    it takes off too little where most cells hold one row. Not clipped at 0.
    """
    n = counts.n
    filled = [int((x > 0).sum()) for x in (counts.by_code, counts.by_label, counts.joint)]
    mi = mutual_information(counts) + (filled[0] + filled[1] - filled[2] - 1) / (2 * n)
    h = entropy(counts.by_label) + (filled[1] - 1) / (2 * n)
    return mi / h if h > 0 else 0.0


def expected(counts: Counts) -> float:
    """Mean MI over all permutations of the labels, both margins held fixed, nats (exact).

    Vinh et al. 2010, computed by scikit-learn from the margins.
    """
    from scipy.sparse import coo_matrix
    from sklearn.metrics.cluster import expected_mutual_information

    _, code = np.unique(counts.code, return_inverse=True)
    _, label = np.unique(counts.label, return_inverse=True)
    table = coo_matrix((counts.joint, (code, label))).tocsr()
    return float(expected_mutual_information(table, counts.n))


def adjusted(counts: Counts, chance: float | None = None) -> float:
    """(MI - E) / (H(label) - E), E the mean over permuted labels: 0 by chance, 1 if codes tell all.

    The label's entropy is the upper end (codes may be finer than labels at no loss), unlike in
    :func:`adjusted_symmetric`.

    Args:
        counts: the counts.
        chance: :func:`expected`, if it is known already.
    """
    e = expected(counts) if chance is None else chance
    room = entropy(counts.by_label) - e
    return (mutual_information(counts) - e) / room if room > 1e-12 else 0.0


def adjusted_symmetric(counts: Counts, chance: float | None = None) -> float:
    """AMI: (MI - E) / (mean of H(code) and H(label) - E), as scikit-learn defines it."""
    e = expected(counts) if chance is None else chance
    room = (entropy(counts.by_label) + entropy(counts.by_code)) / 2 - e
    return (mutual_information(counts) - e) / room if room > 1e-12 else 0.0


def symmetric(counts: Counts) -> float:
    """NMI: MI over the arithmetic mean of both entropies; 0 if both are 0."""
    room = (entropy(counts.by_label) + entropy(counts.by_code)) / 2
    return mutual_information(counts) / room if room > 0 else 0.0


def label_purity(counts: Counts) -> float:
    """Share of rows whose label is the commonest of their code (HuBERT's phone purity)."""
    best = np.zeros(counts.codes)
    np.maximum.at(best, counts.code, counts.joint)
    return float(best.sum() / counts.n)


def cluster_purity(counts: Counts) -> float:
    """Share of rows whose code is the commonest of their label (HuBERT's cluster purity)."""
    best = np.zeros(counts.labels)
    np.maximum.at(best, counts.label, counts.joint)
    return float(best.sum() / counts.n)


SIMPLE: dict[str, Callable[[Counts], float]] = {
    "mi": normalised,
    "mi-nats": mutual_information,
    "mi-miller-madow": miller_madow,
    "nmi": symmetric,
    "label-purity": label_purity,
    "cluster-purity": cluster_purity,
}
"""Measures that cost nothing beyond the counts, by name."""

BOUNDS: dict[str, tuple[float, float]] = {
    "mi": (0.0, 1.0),
    "mi-nats": (0.0, np.inf),
    "nmi": (0.0, 1.0),
    "label-purity": (0.0, 1.0),
    "cluster-purity": (0.0, 1.0),
    "mi-adjusted": (-np.inf, 1.0),
    "ami": (-np.inf, 1.0),
}
"""Ranges of the measures; a measure that is not here has none."""


def all_measures(counts: Counts) -> dict[str, float]:
    """Every measure of this file by name: :data:`SIMPLE`, ``mi-adjusted`` and ``ami``."""
    chance = expected(counts)
    found = {name: measure(counts) for name, measure in SIMPLE.items()}
    found["mi-adjusted"] = adjusted(counts, chance)
    found["ami"] = adjusted_symmetric(counts, chance)
    return found


@dataclass(frozen=True)
class Codebook:
    """How codes are made.

    Attributes:
        clusters: k.
        batch: rows of a mini-batch (P2023: 1500 for phones, 4000 for words).
        max_iter: passes over the rows at most (P2023: 500; the fit stops long before).
        seeding_width: principal components on which k-means++ picks its first centres; ``None``
            for all dimensions, as in P2023. The fit itself always uses all dimensions.
    """

    clusters: int
    batch: int
    max_iter: int = 500
    seeding_width: int | None = 64


def cluster(
    train: NDArray[np.float32],
    evaluate: Sequence[NDArray[np.float32]],
    book: Codebook,
    seeds: Sequence[int],
) -> list[list[NDArray[np.int64]]]:
    """Codes of rows by mini-batch k-means that was fitted on other rows.

    scikit-learn's MiniBatchKMeans with one k-means++ start, as in P2023. Centres are invariant to
    a shift of all rows, so the training mean is taken off first (distances of float32 rows with
    large means lose digits). Picking first centres is most of the cost at full width; distances
    between few leading components choose centres as good (docs/properties/mutual_information.md).

    Args:
        train: rows the centres are fitted on, [N, D].
        evaluate: sets of rows to be coded, each [M, D].
        book: how.
        seeds: one fit each.

    Returns:
        for each seed, the codes of each set, int64 [M].

    Raises:
        UsageError: more clusters than training rows.
        NumericsError: rows that are not finite.
    """
    from sklearn.cluster import MiniBatchKMeans

    if len(train) < book.clusters:
        raise UsageError(
            "k-means cannot make more clusters than it has rows",
            got=f"{book.clusters} clusters, {len(train)} rows",
        )
    if not all(np.isfinite(part).all() for part in (train, *evaluate)):
        raise NumericsError("k-means met rows that are not finite")
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = train - mean
    others = [part - mean for part in evaluate]
    leading = _leading(rows, book.seeding_width)
    found = []
    for seed in seeds:
        start: Any = "k-means++"
        if leading is not None:
            start = rows[_first_centres(leading, book, seed)]
        fitted = MiniBatchKMeans(
            n_clusters=book.clusters,
            init=start,
            n_init=1,
            batch_size=book.batch,
            max_iter=book.max_iter,
            random_state=seed,
            compute_labels=False,
        ).fit(rows)
        found.append([fitted.predict(part).astype(np.int64) for part in others])
    return found


def _leading(rows: NDArray[np.float32], width: int | None) -> NDArray[np.float32] | None:
    """Scores of the rows on their leading principal components; ``None`` for all dimensions."""
    if width is None or min(rows.shape) <= width:
        return None
    from sklearn.decomposition import PCA

    scores = PCA(width, svd_solver="covariance_eigh").fit_transform(rows)
    return np.ascontiguousarray(scores, dtype=np.float32)


def _first_centres(leading: NDArray[np.float32], book: Codebook, seed: int) -> NDArray[np.int64]:
    """Rows that k-means++ picks, from as many rows as MiniBatchKMeans itself would look at."""
    from sklearn.cluster import kmeans_plusplus

    size = 3 * book.batch if 3 * book.batch >= book.clusters else 3 * book.clusters
    looked = np.arange(len(leading))
    if size < len(leading):
        looked = np.random.default_rng([seed, 1]).choice(len(leading), size, replace=False)
    _, picked = kmeans_plusplus(leading[looked], book.clusters, random_state=seed)
    return np.asarray(looked[picked], dtype=np.int64)
