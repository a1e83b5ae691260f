"""A draw of mutual information: codes fitted on half of the groups meet labels in the other half,
both ways.

The error of a value has two parts: which groups were coded (jackknife over folds, codes held
fixed) and where k-means started (spread over seeds).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.numerics.jackknife import jackknife
from voxstrata.properties.information.counts import BOUNDS, Codebook, Counts, all_measures, cluster
from voxstrata.properties.property import PERMUTED, Score
from voxstrata.streaming.stack import StackLayer


@dataclass(frozen=True)
class Half:
    """Rows that codes are fitted on and the other rows that are coded.

    Attributes:
        train: rows of the sample for k-means, int64.
        evaluate: rows that are coded, of other groups, int64 [M].
        labels: label numbers of the coded rows, int64 [M].
        permuted: the same for each k-means seed, permuted, int64 [seeds, M].
        fold: fold of the coded rows, int64 [M].
    """

    train: NDArray[np.int64]
    evaluate: NDArray[np.int64]
    labels: NDArray[np.int64]
    permuted: NDArray[np.int64]
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class MiDraw:
    """Both halves, and how codes are made."""

    halves: tuple[Half, Half]
    book: Codebook
    seeds: tuple[int, ...]
    main: str
    facts: Mapping[str, Any]
    notices: Sequence[str] = ()

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """All measures of codes and labels, with their values for permuted labels."""
        x = np.asarray(rows, dtype=np.float32)
        values, nulls, group_error = [], [], []
        by_fold: dict[int, list[dict[str, float]]] = {}
        for half in self.halves:
            coded = cluster(x[half.train], [x[half.evaluate]], self.book, self.seeds)
            codes = [found[0] for found in coded]
            whole = [all_measures(Counts.of(c, half.labels)) for c in codes]
            values.append(whole)
            nulls.append(
                [
                    all_measures(Counts.of(c, labels))
                    for c, labels in zip(codes, half.permuted, strict=True)
                ]
            )
            group_error.append(_group_errors(codes, half, whole))
            for fold in np.unique(half.fold).tolist():
                here = half.fold == fold
                by_fold[fold] = [all_measures(Counts.of(c[here], half.labels[here])) for c in codes]
        sizes = np.array([len(half.evaluate) for half in self.halves], dtype=np.float64)
        n, folds = int(sizes.sum()), len(by_fold)
        scores = []
        real, null = _table(values), _table(nulls)
        weights = sizes / sizes.sum()
        for name in real:
            per_seed = weights @ real[name]
            error = _error(real[name], [g.get(name) for g in group_error], weights)
            shared: dict[str, Any] = {
                "measure": "pnmi" if (name, self.main) == ("mi", "pnmi") else name,
                "n": n,
                "groups": folds,
                "d": layer.width,
                "other_d": self.book.clusters,
                "estimator": "held-out",
                "bounds": BOUNDS.get(name, (-np.inf, np.inf)),
            }
            # In one fold alone the plain number is further up still: for comparing layers only.
            apart = tuple(
                (fold, float(np.mean([one[name] for one in found])))
                for fold, found in sorted(by_fold.items())
            )
            scores.append(Score(value=float(per_seed.mean()), error=error, by_fold=apart, **shared))
            chance = float((weights @ null[name]).mean())
            scores.append(Score(value=chance, control=PERMUTED, **shared))
            if name == "mi":
                gain = {**shared, "measure": f"{self.main}-selectivity", "bounds": (-1.0, 1.0)}
                scores.append(Score(value=float(per_seed.mean()) - chance, error=error, **gain))
        return scores


def _table(found: Sequence[Sequence[dict[str, float]]]) -> dict[str, NDArray[np.float64]]:
    """Values by measure, [halves, seeds]."""
    names = found[0][0]
    return {name: np.array([[one[name] for one in half] for half in found]) for name in names}


def _group_errors(
    codes: Sequence[NDArray[np.int64]], half: Half, whole: Sequence[dict[str, float]]
) -> dict[str, float]:
    """Jackknife error over the folds of the coded rows, codes held fixed, by measure.

    Empty where the half has one fold only.
    """
    folds, sizes = np.unique(half.fold, return_counts=True)
    if len(folds) < 2:
        return {}
    left_out: dict[str, list[float]] = {name: [] for name in whole[0]}
    for fold in folds:
        kept = half.fold != fold
        found = [all_measures(Counts.of(c[kept], half.labels[kept])) for c in codes]
        for name, list_of in left_out.items():
            list_of.append(float(np.mean([one[name] for one in found])))
    return {
        name: float(
            jackknife(float(np.mean([one[name] for one in whole])), replicates, sizes).error
        )
        for name, replicates in left_out.items()
    }


def _error(
    table: NDArray[np.float64], groups: Sequence[float | None], weights: NDArray[np.float64]
) -> float:
    """Standard error of the mean over halves and seeds.

    Variance over groups (jackknife in each half; the difference of the halves where a half has
    one fold only) plus variance over k-means seeds / seeds.
    """
    if any(g is None for g in groups):
        means = table.mean(axis=1)
        variance = float((means[0] - means[1]) ** 2 / 4)
    else:
        variance = float(sum((w * g) ** 2 for w, g in zip(weights, groups, strict=True) if g))
    seeds = table.shape[1]
    if seeds > 1:
        variance += float((weights @ table).var(ddof=1)) / seeds
    return float(np.sqrt(variance))
