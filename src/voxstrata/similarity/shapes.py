"""Orthogonal Procrustes and shape metrics, from moments. Distances, angles and similarities are
named apart: peers return all three under one name.
"""

from __future__ import annotations

import math

import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.linalg import nuclear_norm
from voxstrata.similarity.moments import Moments, View

NETREP_FLOOR = 1e-7
"""netrep raises eigenvalues of X'X to at least this before it takes inverse roots."""


def procrustes(m: Moments) -> float:
    """Procrustes similarity |X'Y|_* / (|X|_F |Y|_F) of centred views, 0..1.

    Source: the alignment term of orthogonal Procrustes (Ding, Denain, Steinhardt, NeurIPS 2021;
    Williams et al., NeurIPS 2021); |.|_* is the nuclear norm. 1 if and only if the views are
    equal up to rotation, reflection, isotropic scale and shift.
    """
    found: float | None = m.cache.get("procrustes")
    if found is None:
        if m.view_x.trace <= 0 or m.view_y.trace <= 0:
            raise NumericsError("a view without variance cannot be aligned")
        size = math.sqrt(m.view_x.trace * m.view_y.trace)
        found = min(nuclear_norm(m.Sxy) / size, 1.0)
        m.cache["procrustes"] = found
    return found


def procrustes_distance(m: Moments) -> float:
    """Procrustes distance sqrt(2 - 2 similarity) of views scaled to |.|_F = 1, 0..sqrt(2).

    Ding et al. use its square, ReSi this, anatome half the square (1 - similarity).
    """
    return math.sqrt(max(2.0 - 2.0 * procrustes(m), 0.0))


def procrustes_angle(m: Moments) -> float:
    """Angle arccos(similarity) in radians, a metric (Williams et al. 2021, alpha = 1)."""
    return math.acos(procrustes(m))


def size_and_shape_distance(m: Moments) -> float:
    """Procrustes distance without scaling, sqrt(|X|^2 + |Y|^2 - 2 |X'Y|_*), in the data's units."""
    squared = m.view_x.trace + m.view_y.trace - 2.0 * nuclear_norm(m.Sxy)
    return math.sqrt(max(squared, 0.0))


def _partial_whitening(view: View, alpha: float, width: int) -> torch.Tensor:
    values, vectors = view.spectrum
    lam = values.clamp_min(NETREP_FLOOR)
    gain = alpha + (1.0 - alpha) * lam.rsqrt()
    # netrep pads the narrower view with zero columns; the floor makes them count here.
    padding = width - len(lam)
    floor_gain = alpha + (1.0 - alpha) * NETREP_FLOOR**-0.5
    before = float(lam.sum()) + padding * NETREP_FLOOR
    after = float((lam * gain**2).sum()) + padding * NETREP_FLOOR * floor_gain**2
    return (vectors * gain) @ vectors.T * math.sqrt(before / after)


def shape_metric(m: Moments, alpha: float = 1.0, score: str = "angular") -> float:
    """Generalised shape metric between Procrustes (alpha 1) and CCA-like (alpha 0), as netrep.

    Views are multiplied by Z = alpha I + (1 - alpha) (X'X)^-1/2, scaled so that the total
    variance stays, and then aligned by rotation.

    Args:
        m: moments.
        alpha: 1: invariant to rotations; 0: to invertible linear maps.
        score: ``"angular"``: arccos of the normalised alignment, radians, 0..pi/2;
            ``"euclidean"``: sqrt(|XZx|^2 + |YZy|^2 - 2 |Zx X'Y Zy|_*), in the data's units.

    Raises:
        UsageError: alpha outside 0..1 or an unknown score.

    Source: Williams, Kunz, Kornblith, Linderman, NeurIPS 2021, eq. 9 and 10; conventions (floor
    of eigenvalues, scaling) of the public netrep. With fewer rows than dimensions and alpha
    below 1 the floor decides, and the number means little.
    """
    if not 0.0 <= alpha <= 1.0 or score not in ("angular", "euclidean"):
        raise UsageError(
            "wrong shape metric",
            got=f"alpha={alpha!r}, score={score!r}",
            expected="0 <= alpha <= 1 and 'angular' or 'euclidean'",
        )
    width = max(m.Sxy.shape)
    Zx, Zy = (_partial_whitening(v, alpha, width) for v in (m.view_x, m.view_y))
    aligned = nuclear_norm(Zx @ m.Sxy @ Zy)
    size_x, size_y = (float((Z @ v.S * Z).sum()) for Z, v in ((Zx, m.view_x), (Zy, m.view_y)))
    if size_x <= 0 or size_y <= 0:
        raise NumericsError("a view without variance cannot be aligned")
    if score == "euclidean":
        return math.sqrt(max(size_x + size_y - 2.0 * aligned, 0.0))
    return math.acos(min(aligned / math.sqrt(size_x * size_y), 1.0))
