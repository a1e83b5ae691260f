"""Accuracy and macro recall of classes, and what their intervals are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxstrata.errors import ShapeError, UsageError


def correct(labels: ArrayLike, found: ArrayLike) -> NDArray[np.bool_]:
    """Whether each item is right, [N]; with several labels an item, whether all of them are.

    SUPERB counts a command of IC as right where action, object and location are.

    Args:
        labels, found: classes [N], or [N, G] for G labels an item.

    Raises:
        ShapeError: the two do not fit each other.
        UsageError: there are no items.
    """
    wanted, said = np.asarray(labels), np.asarray(found)
    if wanted.shape != said.shape or wanted.ndim not in (1, 2):
        raise ShapeError(
            "labels and answers do not fit each other",
            got=f"{wanted.shape} and {said.shape}",
            expected="[N] or [N, G], twice",
        )
    if not wanted.size:
        raise UsageError("there are no items to be right or wrong about", got=wanted.shape)
    right: NDArray[np.bool_] = (wanted == said).reshape(len(wanted), -1).all(axis=1)
    return right


def accuracy(labels: ArrayLike, found: ArrayLike) -> float:
    """Share of items that are right, as in :func:`correct`.

    Example:
        >>> accuracy(["a", "b", "b", "b"], ["a", "a", "b", "b"])
        0.75
    """
    return float(correct(labels, found).mean())


def recall_counts(
    labels: ArrayLike, found: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Right items and items of each class: columns for :mod:`~voxstrata.metrics.ratios`.

    Args:
        labels, found: classes [N].

    Returns:
        two arrays [N, C] of 0 and 1, C the classes among the labels in sorted order.

    Raises:
        ShapeError: the two do not fit each other.
        UsageError: there are no items.
    """
    right = correct(labels, found)
    wanted = np.asarray(labels)
    if wanted.ndim != 1:
        raise ShapeError("recall is of one label an item", got=wanted.shape, expected="[N]")
    classes, codes = np.unique(wanted, return_inverse=True)
    there = (codes[:, None] == np.arange(len(classes))).astype(np.int64)
    return there * right[:, None], there


def macro_recall(labels: ArrayLike, found: ArrayLike) -> float:
    """Mean over classes of the share of their items that are right (unweighted average recall).

    Classes without items are left out, as in scikit-learn's ``balanced_accuracy_score``.

    Example:
        >>> macro_recall(["a", "b", "b", "b", "b"], ["a", "a", "a", "b", "b"])
        0.75
    """
    right, there = recall_counts(labels, found)
    return float((right.sum(axis=0) / there.sum(axis=0)).mean())
