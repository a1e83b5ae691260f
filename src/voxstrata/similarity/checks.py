"""What arrays must be like before anything is computed from them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from voxstrata.errors import NumericsError, ShapeError, UsageError, VoxstrataWarning

FEW_ROWS = 10
"""Rows per dimension below which in-sample CCA-like numbers are mostly bias (docs)."""


def as_rows(array: Any, name: str) -> torch.Tensor:
    """Validate one view and bring it to float64 [N, D] (kept on its device if that has float64).

    Args:
        array: numpy array, torch tensor, or nested lists of real numbers.
        name: what to call it in messages.

    Raises:
        UsageError: not real numbers.
        ShapeError: not a matrix, or empty.
        NumericsError: NaN or infinity (the first place is named), or no variance at all.
    """
    if isinstance(array, torch.Tensor):
        rows = array.detach()
        if rows.device.type == "mps":
            rows = rows.cpu()
        wrong = rows.is_complex()
    else:
        plain = np.asarray(array)
        wrong = plain.dtype.kind not in "fiub"
        rows = torch.from_numpy(np.array(plain, dtype=np.float64)) if not wrong else torch.empty(0)
    if wrong:
        raise UsageError(
            f"{name} does not hold real numbers",
            got=str(getattr(array, "dtype", type(array).__name__)),
            expected="a floating-point numpy array or torch tensor",
        )
    shape = tuple(rows.shape)
    if rows.ndim != 2 or 0 in shape:
        raise ShapeError(
            f"{name} must be a matrix of rows by dimensions, not empty",
            got=f"shape {shape}",
            expected="[N, D]",
            fix=f"{name}.reshape(-1, 1) makes one dimension of a vector" if rows.ndim == 1 else "",
        )
    rows = rows.to(torch.float64)
    bad = ~torch.isfinite(rows)
    if bool(bad.any()):
        i, j = (int(v) for v in torch.nonzero(bad)[0])
        raise NumericsError(
            f"{name} is not finite in {int(bad.sum())} places",
            got=f"{name}[{i}, {j}] = {float(rows[i, j])}",
            fix="find out why the model gives NaN or infinity there (half precision?)",
        )
    if bool((rows == rows[0]).all()):
        raise NumericsError(
            f"{name} has no variance: all {shape[0]} rows are the same",
            fix="check that the right layer was taken, and more than one unit",
        )
    return rows


def as_pair(x: Any, y: Any, least: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Validate two views with the same rows.

    Raises:
        ShapeError: row counts differ, or there are fewer than ``least``.
        Others: see :func:`as_rows`.
    """
    a, b = as_rows(x, "x"), as_rows(y, "y")
    if len(a) != len(b):
        raise ShapeError(
            "x and y must have the same rows, in the same order",
            got=f"x {tuple(a.shape)}, y {tuple(b.shape)}",
            expected="equal first dimensions",
            fix="compare the same units of the same recordings; pass them transposed if "
            "dimensions come first",
        )
    if len(a) < least:
        raise ShapeError("too few rows for this measure", got=len(a), expected=f"at least {least}")
    return a, b.to(a.device)


def warn_few_rows(n: int, d: int, measure: str, *, stacklevel: int = 4) -> None:
    """Warn where n rows are few for d dimensions (:data:`FEW_ROWS`)."""
    if n < FEW_ROWS * d:
        warnings.warn(
            f"{measure}: {n} rows for {d} dimensions (n/d = {n / d:.1f}, below {FEW_ROWS}): the "
            "in-sample value is biased upwards; use more rows, fewer dimensions, or debiased CKA",
            VoxstrataWarning,
            stacklevel=stacklevel,
        )
