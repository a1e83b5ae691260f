"""Which neurons each row turns on: patterns, how far they separate the groups, and a map of them.

L2025's predecessor (arXiv 2409.05910) draws rows as points of a two-dimensional MDS of their
binary patterns and gives the silhouette of that map. A map depends on the version and seed of the
program that made it, so the silhouette of the patterns themselves stands beside it.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.counts import Counts, Floats, Ints
from voxstrata.neurons.selection import above

Metric = Literal["euclidean", "jaccard"]


@dataclass(frozen=True)
class Patterns:
    """Binary patterns of the rows that belong to groups.

    Attributes:
        matrix: B [R, N], whether row r holds neuron n above chance.
        neurons: [N], indices of the columns: neurons above chance in at least one row.
        rows: R names.
        group_of: [R], group of each row.
        groups: names of the groups.
    """

    matrix: NDArray[np.bool_]
    neurons: Ints
    rows: tuple[str, ...]
    group_of: Ints
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Separation:
    """How far groups of points are apart.

    Attributes:
        silhouette: mean over points (Rousseeuw 1987), -1 to 1.
        by_group: mean of each group's points, by number.
        davies_bouldin: index of Davies and Bouldin (1979), smaller is better; ``None`` where the
            metric is not Euclidean.
    """

    silhouette: float
    by_group: Mapping[int, float]
    davies_bouldin: float | None


def patterns(counts: Counts, layer: str) -> Patterns:
    """Patterns of a layer; rows of no group are left out, rows without frames are all 0.

    Raises:
        UsageError: no neuron is above chance in any row.
    """
    used = np.flatnonzero(counts.group_of >= 0)
    over = above(counts, layer)[used]
    neurons = np.flatnonzero(over.any(axis=0))
    if not len(neurons):
        raise UsageError(f"no neuron of {layer} is above chance in any row")
    return Patterns(
        over[:, neurons],
        neurons,
        tuple(counts.rows[r] for r in used.tolist()),
        counts.group_of[used],
        counts.groups,
    )


def separation(
    points: NDArray[Any], group_of: NDArray[np.integer], metric: Metric = "euclidean"
) -> Separation:
    """Silhouette and Davies-Bouldin index of points in groups, by scikit-learn.

    Args:
        points: [R, N], coordinates or binary patterns.
        group_of: [R].
        metric: "euclidean" or "jaccard" (binary patterns: 1 - neurons of both rows over neurons of
            either; 0 between two rows without any).

    Raises:
        ShapeError: there is not one group a point.
        UsageError: an unknown metric, or other than 2 to R - 1 groups.
    """
    from sklearn.metrics import davies_bouldin_score, silhouette_samples

    group = np.asarray(group_of)
    if points.ndim != 2 or group.shape != points.shape[:1]:
        raise ShapeError("every point needs a group", got=f"{points.shape} and {group.shape}")
    if metric not in ("euclidean", "jaccard"):
        raise UsageError("unknown metric", got=metric, expected="'euclidean' or 'jaccard'")
    names = np.unique(group)
    if not 2 <= len(names) < len(group):
        raise UsageError(
            "a silhouette needs at least two groups, one of them with two points",
            got=f"{len(names)} group(s) of {len(group)} points",
        )
    cast = points.astype(bool if metric == "jaccard" else np.float64)
    each = silhouette_samples(cast, group, metric=metric)
    return Separation(
        float(each.mean()),
        {int(name): float(each[group == name].mean()) for name in names},
        float(davies_bouldin_score(cast, group)) if metric == "euclidean" else None,
    )


def scaled(matrix: NDArray[Any], seed: int = 0, starts: int = 4) -> Floats:
    """Metric MDS of rows to two dimensions (scikit-learn's SMACOF on Euclidean distances), [R, 2].

    The published map is ``MDS(n_components=2, random_state=0)`` of the scikit-learn of its day:
    the best of four random starts.

    Args:
        matrix: [R, N].
        seed: of the starts.
        starts: random starts, of which the one with the least stress is taken.

    Raises:
        UsageError: fewer than two rows.
    """
    from sklearn.manifold import MDS

    if matrix.ndim != 2 or len(matrix) < 2:
        raise UsageError("a map needs at least two rows", got=matrix.shape)
    if (matrix == matrix[0]).all():
        return np.zeros((len(matrix), 2))
    options: dict[str, Any] = {"n_init": starts, "max_iter": 300, "random_state": seed}
    if "init" in inspect.signature(MDS.__init__).parameters:  # later versions start elsewhere
        options["init"] = "random"
    with warnings.catch_warnings():  # as many rows as neurons are no table of distances
        warnings.filterwarnings("ignore", "The provided input is a square matrix", UserWarning)
        found = MDS(2, normalized_stress=False, **options).fit_transform(matrix.astype(np.float64))
    return np.asarray(found, dtype=np.float64)
