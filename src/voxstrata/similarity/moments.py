"""First and second moments of two views: all that CCA, Procrustes, regression, ... need."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.numerics.linalg import Whitening, float64, whiten

WEAK = 1e-3
"""Error of correlations from which on a view counts as weak."""


class View:
    """Second moments of one view, with its decompositions kept for reuse.

    A sweep over layer pairs builds one view a layer (and replicate) and hands it to the
    :class:`Moments` of every pair, so that each eigenproblem is solved once.

    Args:
        S: centred sums of products, float64 [D, D].
        rtol: relative rank cut (see :func:`voxstrata.numerics.linalg.whiten`).
    """

    def __init__(self, S: torch.Tensor, rtol: float | None = None) -> None:
        self.S = S
        self.rtol = rtol

    @cached_property
    def trace(self) -> float:
        """Total centred sum of squares, |X|_F^2."""
        return float(self.S.diagonal().sum())

    @cached_property
    def whitening(self) -> Whitening:
        """Rank-revealing whitening of S."""
        return whiten(self.S, self.rtol)

    def weak(self, n: int) -> bool:
        """Whether what was made of the whitening may be off by more than 1e-3, or left directions
        out that are real: rounding of float32 products hides them.

        False where nothing was whitened, and where products are float64.

        Args:
            n: rows.
        """
        made: Whitening | None = self.__dict__.get("whitening")
        if made is None or self.rtol is None:
            return False
        there = min(int((self.S.diagonal() > 0).sum()), n - 1)
        # The cut stands some ten times above the rounding of the products.
        return made.rank < there or 0.1 * self.rtol * made.amplified > WEAK

    @cached_property
    def spectrum(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Eigenvalues [D], largest first and not negative, and eigenvectors [D, D] in columns."""
        values, vectors = torch.linalg.eigh(self.S)
        return values.flip(0).clamp_min(0.0), vectors.flip(1)


@dataclass(frozen=True)
class Moments:
    """Moments of N paired rows; arrays may be given as numpy or torch, kept as torch float64.

    Attributes:
        n: rows N.
        mean_x, mean_y: means of the rows, not shifted, [D1] and [D2].
        Sxx, Syy, Sxy: sums of products of centred rows, [D1, D1], [D2, D2], [D1, D2].
        view_x, view_y: views with cached decompositions; made from Sxx and Syy if not given.
    """

    n: int
    mean_x: torch.Tensor
    mean_y: torch.Tensor
    Sxx: torch.Tensor
    Syy: torch.Tensor
    Sxy: torch.Tensor
    view_x: View = field(default=None, repr=False, compare=False)  # type: ignore[assignment]
    view_y: View = field(default=None, repr=False, compare=False)  # type: ignore[assignment]
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("mean_x", "mean_y", "Sxx", "Syy", "Sxy"):
            object.__setattr__(self, name, float64(getattr(self, name)))
        d1, d2 = len(self.mean_x), len(self.mean_y)
        shapes = [tuple(s.shape) for s in (self.Sxx, self.Syy, self.Sxy)]
        if shapes != [(d1, d1), (d2, d2), (d1, d2)]:
            raise ShapeError(
                "moments do not fit each other",
                got=f"means of {d1} and {d2}; Sxx, Syy, Sxy of {shapes}",
            )
        if self.view_x is None:
            object.__setattr__(self, "view_x", View(self.Sxx))
        if self.view_y is None:
            object.__setattr__(self, "view_y", View(self.Syy))

    @classmethod
    def from_rows(cls, x: Any, y: Any) -> Moments:
        """Moments of rows in memory, x [N, D1] and y [N, D2].

        Raises:
            ShapeError: not two matrices with the same rows.

        Example:
            >>> import numpy as np
            >>> m = Moments.from_rows(np.eye(3), np.arange(6.0).reshape(3, 2))
            >>> m.n, tuple(m.Sxy.shape)
            (3, (3, 2))
        """
        a, b = float64(x), float64(y)
        if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
            raise ShapeError(
                "two matrices with the same number of rows are needed",
                got=f"{tuple(a.shape)} and {tuple(b.shape)}",
            )
        mean_x, mean_y = a.mean(dim=0), b.mean(dim=0)
        a, b = a - mean_x, b - mean_y
        return cls(len(a), mean_x, mean_y, a.T @ a, b.T @ b, a.T @ b)

    @classmethod
    def from_sums(
        cls,
        n: int,
        sum_x: Any,
        sum_y: Any,
        Pxx: Any,
        Pyy: Any,
        Pxy: Any,
        *,
        shift_x: Any = 0.0,
        shift_y: Any = 0.0,
    ) -> Moments:
        """Moments from sums and products of rows that were shifted by ``shift_x``, ``shift_y``.

        S = P - s s' / n, exact for any shift; the nearer the shift is to the mean, the fewer
        digits are lost. Arguments: sums [D], products [D, D], shifts [D] or 0.
        """
        sx, sy = float64(sum_x), float64(sum_y)
        return cls(
            n,
            sx / n + float64(shift_x),
            sy / n + float64(shift_y),
            float64(Pxx) - torch.outer(sx, sx) / n,
            float64(Pyy) - torch.outer(sy, sy) / n,
            float64(Pxy) - torch.outer(sx, sy) / n,
        )

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub, LeVeque 1983, eq. 2.1)."""
        n = self.n + other.n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        w = self.n * other.n / n
        return Moments(
            n,
            self.mean_x + dx * (other.n / n),
            self.mean_y + dy * (other.n / n),
            self.Sxx + other.Sxx + w * torch.outer(dx, dx),
            self.Syy + other.Syy + w * torch.outer(dy, dy),
            self.Sxy + other.Sxy + w * torch.outer(dx, dy),
        )

    def __sub__(self, part: Moments) -> Moments:
        """Moments of the rows that are not in ``part`` (a fold): the inverse of the addition.

        Raises:
            UsageError: nothing would be left.
        """
        n = self.n - part.n
        if n < 1:
            raise UsageError(
                "leaving this fold out leaves no rows", got=f"{self.n} rows, {part.n} in the fold"
            )
        # Both means are relative to the total's, so no large means are subtracted.
        dx, dy = part.mean_x - self.mean_x, part.mean_y - self.mean_y
        rx, ry = dx * (-part.n / n), dy * (-part.n / n)
        ex, ey = dx - rx, dy - ry
        w = n * part.n / self.n
        return Moments(
            n,
            self.mean_x + rx,
            self.mean_y + ry,
            self.Sxx - part.Sxx - w * torch.outer(ex, ex),
            self.Syy - part.Syy - w * torch.outer(ey, ey),
            self.Sxy - part.Sxy - w * torch.outer(ex, ey),
        )

    def swap(self) -> Moments:
        """The same with x and y exchanged; cached decompositions go along."""
        return Moments(
            self.n,
            self.mean_y,
            self.mean_x,
            self.Syy,
            self.Sxx,
            self.Sxy.T,
            self.view_y,
            self.view_x,
        )
