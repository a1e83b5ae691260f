"""Moments of paired rows, fold by fold: all that cross-validated CCA needs, in one pass.

The moments of the training rows are those of all rows without the held-out folds, so no fold is
read twice and memory does not grow with the rows.

A control pairs each row of x with another row of y *of the same fold*. Means and products of y
stay what they are in every fold, so the control costs one more cross product and no new
decomposition of either view; within a fold the expected cross covariance is zero whatever the
utterances are, and a held-out fold is always scored about its own mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.similarity.moments import Moments
from voxstrata.similarity.view_folds import Part, ViewFolds, by_fold, check_folds, less


class SweepMoments:
    """Moments of many layers against one view, whose moments and decompositions are shared.

    The cross products of all layers are one stacked product [X_0 ... X_L]' [Y, Z] a fold, where
    Z are the rows of Y in another order.

    Args:
        widths: width of each layer.
        other: the view: its width V, or its moments where they are complete already, to which
            updates then add nothing.
        folds: F; needed with a width.
        control: also hold the cross product with Z.
        dtype: of the products, float64 or float32.

    Attributes:
        layers, y: moments of each layer and of the view.
        C: cross products of shifted rows, float64 [F, sum of D_l, V or 2 V].
        z: sums of the rows of Z, float64 [F, V].
    """

    def __init__(
        self,
        widths: Sequence[int],
        other: int | ViewFolds,
        folds: int = 0,
        *,
        control: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.widths, self.has_control = tuple(widths), control
        self._complete = isinstance(other, ViewFolds)
        if isinstance(other, ViewFolds):
            folds, dtype = other.folds, other.dtype
            self.y = other
        else:
            self.y = ViewFolds(other, folds, dtype=dtype)
        self.layers = [ViewFolds(width, folds, dtype=dtype) for width in widths]
        columns = (2 if control else 1) * self.y.width
        self.C = torch.from_numpy(np.zeros((folds, sum(widths), columns)))
        self.z = torch.zeros_like(self.y.s)

    def update(self, layers: Sequence[Any], y: Any, fold: Any, shuffled: Any = None) -> None:
        """Add rows.

        Args:
            layers: rows of every layer, [N, D_l] each, float32 or float64.
            y: rows of the view, [N, V].
            fold: fold of each row, int [N].
            shuffled: rows of y in another order within each fold (:func:`shuffle_within`), over
                all updates together; needed if a control was asked for.

        Raises:
            ShapeError: rows do not fit.
            UsageError: shuffled rows without a control, or the reverse; a fold out of range.
        """
        xs = [torch.as_tensor(x) for x in layers]
        b = torch.as_tensor(y)
        other = None if shuffled is None else torch.as_tensor(shuffled)
        self._check(xs, b, other)
        labels = check_folds(fold, len(b), self.y.folds)
        for rows, view in zip([b, *xs], [self.y, *self.layers], strict=True):
            view.start(rows)
        for f, index in by_fold(labels):
            pieces = [view.shifted(x[index]) for x, view in zip(xs, self.layers, strict=True)]
            left = torch.cat(pieces, dim=1) if len(pieces) > 1 else pieces[0]
            right = self.y.shifted(b[index])
            if not self._complete:
                self.y.add(f, right)
            if other is not None:
                turned = self.y.shifted(other[index])
                self.z[f] += turned.sum(dim=0)
                right = torch.cat([right, turned], dim=1)
            self.C[f] += left.T @ right
            for view, own in zip(self.layers, pieces, strict=True):
                view.add(f, own)

    def _check(self, xs: list[torch.Tensor], y: torch.Tensor, other: torch.Tensor | None) -> None:
        if len(xs) != len(self.widths):
            raise ShapeError("another number of layers", got=len(xs), expected=len(self.widths))
        if any(len(x) != len(y) for x in xs) or (other is not None and other.shape != y.shape):
            raise ShapeError(
                "layers and view must have the same rows",
                got=f"{[tuple(x.shape) for x in xs]} and {tuple(y.shape)}"
                + ("" if other is None else f", shuffled {tuple(other.shape)}"),
            )
        if self.has_control != (other is not None):
            raise UsageError(
                "shuffled rows go with moments that hold a control",
                got="no shuffled rows" if self.has_control else "shuffled rows, but control=False",
            )

    def pair(self, layer: int) -> FoldMoments:
        """Moments of one layer and the view; nothing is copied.

        Example:
            >>> m = SweepMoments([3, 2], 1, 2)
            >>> m.update([np.eye(4)[:, :3], np.eye(4)[:, :2]], np.ones((4, 1)), [0, 0, 1, 1])
            >>> m.pair(1).but(0).n
            2
        """
        start = sum(self.widths[:layer])
        return FoldMoments._made(
            self.layers[layer],
            self.y,
            self.C[:, start : start + self.widths[layer]],
            self.z,
            self.has_control,
        )

    def merge(self, other: SweepMoments) -> None:
        """Add the rows of ``other``, which is moved to these shifts.

        Raises:
            ShapeError: other layers, view or folds.
            UsageError: moments about a view that was complete cannot be merged.
        """
        if self.widths != other.widths or self.C.shape != other.C.shape:
            raise ShapeError(
                "moments of different views cannot be merged",
                got=f"widths {other.widths}, products {tuple(other.C.shape)}",
                expected=f"widths {self.widths}, products {tuple(self.C.shape)}",
            )
        if self._complete or other._complete:
            raise UsageError("moments about a complete view cannot be merged")
        if other.y.shift is None:
            return
        pairs = list(zip([self.y, *self.layers], [other.y, *other.layers], strict=True))
        moved = []
        for mine, theirs in pairs:
            if mine.shift is None:
                mine.shift = theirs.shift
            assert theirs.shift is not None
            moved.append(theirs.shift - mine.shift)  # type: ignore[operator]
        dy, dx = moved[0], torch.cat(moved[1:])
        sx = torch.cat([view.s for view in other.layers], dim=1)
        n = other.y.n[:, None]
        v = self.y.width
        for start, s in ((0, other.y.s), (v, other.z))[: 1 + self.has_control]:
            part = other.C[:, :, start : start + v]
            part += sx[:, :, None] * dy + dx[:, None] * (s + n * dy)[:, None, :]
        if self.has_control:
            other.z += n * dy
            self.z += other.z
        self.C += other.C
        for mine, theirs in pairs:
            mine.merge(theirs)


class FoldMoments(SweepMoments):
    """Moments of one pair of views, x [N, D] and y [N, V], fold by fold.

    A sweep of one layer, with what cross-validation asks for. Rows are added by
    ``update([x], y, fold)``.

    Example:
        >>> m = FoldMoments.of(np.eye(4), np.arange(8.0).reshape(4, 2), [0, 0, 1, 1])
        >>> m.but(1).n, tuple(m.fold(0).Sxy.shape)
        (2, (4, 2))
    """

    def __init__(
        self,
        d: int,
        other: int | ViewFolds,
        folds: int = 0,
        *,
        control: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__([d], other, folds, control=control, dtype=dtype)
        self._total: tuple[int, torch.Tensor] | None = None

    @classmethod
    def _made(
        cls, x: ViewFolds, y: ViewFolds, C: torch.Tensor, z: torch.Tensor, control: bool
    ) -> FoldMoments:
        made = cls.__new__(cls)
        made.widths, made.has_control, made._complete = (x.width,), control, True
        made.layers, made.y, made.C, made.z = [x], y, C, z
        made._total = None
        return made

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any,
        fold: Any,
        shuffled: Any = None,
        *,
        dtype: torch.dtype = torch.float64,
    ) -> FoldMoments:
        """Moments of rows in memory; see :meth:`SweepMoments.update`."""
        a, b = torch.as_tensor(x), torch.as_tensor(y)
        folds = int(np.max(fold)) + 1
        made = cls(a.shape[1], b.shape[1], folds, control=shuffled is not None, dtype=dtype)
        made.update([a], b, fold, shuffled)
        return made

    @property
    def x(self) -> ViewFolds:
        """Moments of x."""
        return self.layers[0]

    def fold(self, f: int) -> Moments:
        """Moments of one fold."""
        return self._moments(self.x.fold(f), self.y.fold(f), [f])

    def but(self, *removed: int) -> Moments:
        """Moments of all rows but those of some folds (none: all rows).

        By subtraction from the total, except where a removed fold holds most of a column's
        variance: there the others are added up, which loses nothing.
        """
        kept = [f for f in range(self.x.folds) if f not in removed]
        return self._moments(self.x.but(*removed), self.y.but(*removed), kept)

    def total(self) -> Moments:
        """Moments of all rows."""
        return self.but()

    def control(self) -> FoldMoments:
        """The same views, each row of x paired with another row of y of its fold.

        Raises:
            UsageError: no control was asked for.
        """
        if not self.has_control:
            raise UsageError("these moments were made without a control", fix="control=True")
        return FoldMoments._made(self.x, self.y, self.C[:, :, self.y.width :], self.z, False)

    def _moments(self, x: Part, y: Part, folds: list[int]) -> Moments:
        sx, sy = self.x.s[folds].sum(dim=0), self.y.s[folds].sum(dim=0)
        C = self.C[:, :, : self.y.width]
        gone = [f for f in range(len(C)) if f not in folds]
        if len(gone) < len(folds) and not (self.x.apart(gone) or self.y.apart(gone)):
            left = less(self._whole(), C, gone)
        else:
            left = C[folds[0]] if len(folds) == 1 else C[folds].sum(dim=0)
        Sxy = torch.addr(left, sx, sy, alpha=-1.0 / x.n)
        return Moments(x.n, x.mean, y.mean, x.view.S, y.view.S, Sxy, x.view, y.view)

    def _whole(self) -> torch.Tensor:
        """Cross products of all rows."""
        # Every update writes into C and so counts its version up.
        if self._total is None or self._total[0] != self.C._version:
            self._total = (self.C._version, self.C[:, :, : self.y.width].sum(dim=0))
        return self._total[1]
