"""Draws of linear predictability: a target (or view) and folds, asked of one layer after another.

The generic entry points are :func:`view_draw` (a matrix of numbers with one row a unit) and
:func:`class_draw` (labels); the adapters in :mod:`.labels` make targets of tiers and labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.linear.logistic import LogisticFit, cross_validated_logistic
from voxstrata.properties.linear.ridge import cross_validated_ridge
from voxstrata.properties.linear.targets import merged_folds, numbered, permute_over, split_classes
from voxstrata.properties.property import PERMUTED, SHUFFLED, Score, TooFewError
from voxstrata.streaming.stack import StackLayer

CONTROL_TASK = "control-task"
"""Control of Hewitt and Liang (EMNLP 2019): a random label for every type, the same wherever the
type occurs, so that only a probe that memorises types can predict it."""

LARGE = 500
"""From this many rows on one permutation is enough; below, :data:`REPEATS` are averaged."""

REPEATS = 5

CONTROL_COLUMNS = 20
"""Permuted columns of ridge regression, about: one target gets five copies, 80 filters one."""

RIDGE_FOLDS, CLASS_FOLDS = 10, 5
"""Folds of ridge regression and of logistic regression, at most."""


def _enough_folds(fold: NDArray[np.int64], what: str) -> None:
    folds = len(np.unique(fold))
    if folds < 3:
        raise TooFewError(
            f"{what}: too few groups for a penalty chosen inside the training folds",
            got=f"{folds} fold(s) with usable rows",
            expected="at least 3",
            fix="more recordings or speakers, or --group utterance",
        )


@dataclass(frozen=True)
class RidgeDraw:
    """Rows with numeric targets, and the same targets given to other rows.

    Attributes:
        rows: rows of the sample, int64 [n].
        targets: real targets, then R permuted copies, float64 [n, T (1 + R)].
        width: T.
        fold: fold of each row, [n].
        control: name of the control.
        names: names of the targets; scores of each are given if there are any.
        facts, notices: see :class:`.property.Draw`.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.float64]
    width: int
    fold: NDArray[np.int64]
    control: str
    names: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """``r2`` (mean over targets), ``r2-weighted``, each target's, and ``selectivity``."""
        fit = cross_validated_ridge(rows[torch.as_tensor(self.rows)], self.targets, self.fold)
        real = fit.r2(slice(0, self.width))
        null = fit.r2(slice(self.width, None))
        shared: dict[str, Any] = {
            "n": len(self.rows),
            "groups": len(fit.folds),
            "d": layer.width,
            "other_d": self.width,
            "bounds": (-np.inf, 1.0),
        }
        # A control below 0 (it misleads) is no reason to call the layer better.
        gap = real.value - max(0.0, null.value)
        gap_error = float(np.hypot(real.error, null.error if null.value > 0 else 0.0))
        scores = [
            Score("r2", real.value, real.error, by_fold=real.by_fold, **shared),
            Score("r2", null.value, null.error, control=self.control, **shared),
            Score("r2-weighted", real.weighted, real.weighted_error, **shared),
            Score(
                "r2-weighted", null.weighted, null.weighted_error, control=self.control, **shared
            ),
            Score("selectivity", gap, gap_error, **shared),
        ]
        for position, name in enumerate(self.names):
            one = fit.r2(slice(position, position + 1))
            # Copies of this target stand a whole set of targets apart.
            other = fit.r2(slice(self.width + position, None, self.width))
            scores.append(Score(f"r2:{name}", one.value, one.error, **shared))
            scores.append(
                Score(f"r2:{name}", other.value, other.error, control=self.control, **shared)
            )
        return scores


NO_BOUNDS = (-np.inf, np.inf)


def view_draw(
    rows: NDArray[np.int64],
    view: NDArray[Any],
    fold: NDArray[np.int64],
    seed: int,
    *,
    carriers: NDArray[Any] | None = None,
    control: str = SHUFFLED,
    names: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    notices: Sequence[str] = (),
) -> RidgeDraw:
    """How well layers predict a view (mel, F0, a numeric tier, ...) by ridge regression.

    Args:
        rows: rows of the sample, [n].
        view: targets of those rows, [n, T] or [n]; columns that do not vary are left out.
        fold: fold of each row, [n]; more than ten are dealt into ten.
        seed: seed of the control.
        carriers: who carries a target as a whole; ``None`` where every row has its own.
        control: what the control is called.
        names: names of the targets, for a score each.
        facts, notices: to be kept in the draw.

    Raises:
        TooFewError: fewer than three folds, or no column varies.
    """
    matrix = np.asarray(view, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    varies = matrix.std(axis=0) > 1e-9 * np.abs(matrix).max(axis=0)
    if not varies.any():
        raise TooFewError(
            "linear predictability needs a target that varies",
            got=f"{matrix.shape[1]} constant columns over {len(matrix)} rows",
        )
    kept = matrix[:, varies]
    blocks = merged_folds(fold, RIDGE_FOLDS)
    _enough_folds(blocks, "ridge regression")
    copies = [kept]
    repeats = max(1, min(REPEATS, CONTROL_COLUMNS // kept.shape[1]))
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 31, repeat])
        copies.append(kept[permute_over(_carrying(carriers, len(kept)), carriers, rng)])
    facts = {
        "rows": len(rows),
        "targets": int(varies.sum()),
        "constant_targets": int((~varies).sum()),
        "folds": len(np.unique(blocks)),
        **(facts or {}),
    }
    chosen = tuple(n for n, v in zip(names, varies, strict=False) if v)
    return RidgeDraw(
        np.asarray(rows, dtype=np.int64),
        np.hstack(copies),
        kept.shape[1],
        blocks,
        control,
        chosen if len(chosen) > 1 else (),
        facts,
        tuple(notices),
    )


def _carrying(carriers: NDArray[Any] | None, n: int) -> NDArray[np.int64]:
    """A row that stands for each row's carrier: its first, [n]."""
    if carriers is None:
        return np.arange(n)
    _, first, inverse = np.unique(carriers.astype(str), return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


@dataclass(frozen=True)
class ClassDraw:
    """Rows with classes, and control labels of the same rows.

    Attributes:
        rows: rows of the sample, int64 [n].
        labels: real labels, then control labels, int64 [1 + M, n].
        controls: name of the control of each labelling after the first.
        fold: fold of each row, [n].
        facts, notices: see :class:`.property.Draw`.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    controls: tuple[str, ...]
    fold: NDArray[np.int64]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Measures of :meth:`.logistic.LogisticFit.scores`, controls, and ``selectivity``."""
        x = rows[torch.as_tensor(self.rows)]
        fits = cross_validated_logistic(x, self.labels, self.fold)
        classes = int(self.labels[0].max()) + 1
        shared: dict[str, Any] = {
            "n": len(self.rows),
            "groups": len(fits[0].folds),
            "d": layer.width,
            "other_d": classes,
        }
        bounds = {"cross-entropy-bits": (0.0, np.inf), "information-bits": NO_BOUNDS}
        real = fits[0].scores()
        scores = [
            Score(
                name, s.value, s.error, by_fold=s.by_fold, bounds=bounds.get(name, (0, 1)), **shared
            )
            for name, s in real.items()
        ]
        for control in dict.fromkeys(self.controls):
            repeats = [
                fit.scores()
                for fit, name in zip(fits[1:], self.controls, strict=True)
                if name == control
            ]
            for name in real:
                found = [one[name] for one in repeats]
                value = float(np.mean([one.value for one in found]))
                error = float(np.sqrt(np.mean([one.error**2 for one in found]) / len(found)))
                where = bounds.get(name, (0, 1))
                scores.append(Score(name, value, error, control=control, bounds=where, **shared))
        main = "balanced-accuracy"
        # The control task, where there is one, is the first and the stricter.
        against = next(s for s in scores if (s.measure, s.control) == (main, self.controls[0]))
        scores.append(
            Score(
                "selectivity",
                real[main].value - against.value,
                float(np.hypot(real[main].error, against.error or 0.0)),
                bounds=(-1, 1),
                **shared,
            )
        )
        return scores + _majority(fits[0], classes, shared)


def _majority(fit: LogisticFit, classes: int, shared: dict[str, Any]) -> list[Score]:
    """What knowing the class shares alone gives."""
    n = int(fit.sizes.sum())
    return [
        Score("accuracy", int(fit.majority.sum()) / n, control="chance", bounds=(0, 1), **shared),
        Score("balanced-accuracy", 1 / classes, control="chance", bounds=(0, 1), **shared),
        Score(
            "cross-entropy-bits",
            float(fit.prior_loss.sum()) / n,
            control="chance",
            bounds=(0, np.inf),
            **shared,
        ),
    ]


def class_draw(
    rows: NDArray[np.int64],
    labels: NDArray[Any],
    fold: NDArray[np.int64],
    seed: int,
    *,
    what: str,
    carriers: NDArray[Any] | None = None,
    types: Sequence[str] | None = None,
    facts: Mapping[str, Any] | None = None,
    notices: Sequence[str] = (),
) -> ClassDraw:
    """How well layers predict classes by logistic regression.

    Classes that occur in one fold only are left out and counted.

    Args:
        rows: rows of the sample, [n].
        labels: class of each, [n].
        fold: fold of each, [n]; at most five.
        seed: seed of controls.
        what: name of the property, for messages.
        carriers: who carries a label as a whole; ``None`` where every row has its own.
        types: type of each row for the control task of Hewitt and Liang; ``None`` for none.
        facts, notices: to be kept in the draw.

    Raises:
        TooFewError: fewer than three folds, or fewer than two classes in two folds or more.
    """
    fine = split_classes(labels, fold)
    kept, blocks = labels[fine], fold[fine]
    names, number = numbered(kept) if len(kept) else ([], np.zeros(0, dtype=np.int64))
    if len(names) < 2:
        raise TooFewError(
            f"{what}: too few classes that occur in more than one group",
            got=f"{len(names)} of {len(set(labels.astype(str)))} classes",
            expected="at least 2",
            fix="a larger corpus",
        )
    _enough_folds(blocks, what)
    labellings, controls = [number], []
    if types is not None:
        kind = np.array(list(types), dtype=object)[fine]
        rng = np.random.default_rng([seed, 32])
        labellings.append(_learnable(_random_by_type(number, kind, rng), blocks))
        controls.append(CONTROL_TASK)
    here = None if carriers is None else carriers[fine]
    for repeat in range(1 if len(number) >= LARGE else REPEATS):
        labellings.append(
            _permuted(number, here, blocks, np.random.default_rng([seed, 33, repeat]))
        )
        controls.append(PERMUTED)
    return ClassDraw(
        np.asarray(rows, dtype=np.int64)[fine],
        np.stack(labellings),
        tuple(controls),
        blocks,
        {
            "rows": len(number),
            "classes": len(names),
            "classes_left_out": len(set(labels.astype(str))) - len(names),
            "folds": len(np.unique(blocks)),
            **(facts or {}),
        },
        tuple(notices),
    )


def _random_by_type(
    number: NDArray[np.int64], types: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A label for each type, drawn from the labels' shares over rows, [n]."""
    _, of_row = np.unique(types.astype(str), return_inverse=True)
    drawn = number[rng.integers(0, len(number), int(of_row.max()) + 1)]
    return np.asarray(drawn[of_row], dtype=np.int64)


def _permuted(
    number: NDArray[np.int64],
    carriers: NDArray[Any] | None,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Labels of other rows or carriers, so that every class still sits in two folds.

    Rows are permuted within folds, which leaves the classes of every fold as they are. Carriers
    may be too few for that: they are permuted over all folds, again while a class sits in one
    fold only, and such classes are joined to the commonest after a hundred attempts.
    """
    if carriers is None:
        drawn = number.copy()
        for f in np.unique(fold):
            drawn[fold == f] = rng.permutation(number[fold == f])
        return drawn
    for _ in range(100):
        drawn = permute_over(number, carriers, rng)
        if split_classes(drawn, fold).all():
            return drawn
    return _learnable(drawn, fold)


def _learnable(number: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Control labels with classes of one fold only joined to the commonest, numbered anew."""
    fine = split_classes(number, fold)
    joined = np.where(fine, number, np.bincount(number[fine]).argmax() if fine.any() else 0)
    return np.asarray(np.unique(joined, return_inverse=True)[1], dtype=np.int64)
