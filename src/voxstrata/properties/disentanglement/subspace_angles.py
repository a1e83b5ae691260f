"""Principal angles between the subspace of the phone means and that of the speaker means.

Orthogonal subspaces mean that one can be projected out without touching the other. The idea, on
principal components of phone and speaker means, is that of Liu, Tang and Goldwater
(Interspeech 2023, arXiv 2305.12464); angles are those of Bjorck and Golub (Math. Comp. 27, 1973,
579-594). Means are marginal means of a balanced phone x speaker layout, so that no phone's mean is
tilted by who happened to say it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from voxstrata.errors import NumericsError, UsageError


def leading_directions(means: torch.Tensor, share: float | None, rank: int | None) -> torch.Tensor:
    """Orthonormal directions of centred means, [D, r].

    Args:
        means: [G, D]; centred here.
        share: keep the fewest directions that hold this share of the variance of the means.
        rank: keep this many instead (at most the number that exist).

    Raises:
        NumericsError: the means do not differ.
        UsageError: the share is not within (0, 1].
    """
    centred = means - means.mean(dim=0)
    if not bool(torch.isfinite(centred).all()):
        raise NumericsError("means that are not finite span no subspace")
    # Few means, many dimensions: the Gram matrix is the small side.
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    values, vectors = values.flip(0), vectors.flip(1)
    top = float(values[0])
    if not np.isfinite(top) or top <= 0:
        raise NumericsError("means that do not differ span no subspace", got=f"variance {top}")
    exist = int((values > 1e-10 * top).sum())
    if rank is None:
        if share is None or not 0 < share <= 1:
            raise UsageError("the kept share of variance", got=share, expected="0 < share <= 1")
        held = values[:exist].cumsum(0) / values[:exist].sum()
        rank = int((held < share - 1e-12).sum()) + 1
    rank = min(rank, exist)
    directions = centred.T @ (vectors[:, :rank] * values[:rank].rsqrt())
    # One more orthonormalisation: small eigenvalues of a Gram matrix lose half their digits.
    basis: torch.Tensor = torch.linalg.qr(directions)[0]
    return basis


@dataclass(frozen=True)
class Angles:
    """Two subspaces held against each other.

    Attributes:
        overlap: mean squared cosine of the principal angles, 0 (orthogonal) to 1 (one contains
            the other).
        smallest: smallest principal angle, degrees.
        ranks: dimensions of the phone and of the speaker subspace.
    """

    overlap: float
    smallest: float
    ranks: tuple[int, int]


def principal_angles(U: torch.Tensor, V: torch.Tensor) -> Angles:
    """Principal angles between the spans of two orthonormal bases, [D, r] and [D, q]."""
    cosines = torch.linalg.svdvals(U.T @ V).clamp(0.0, 1.0)
    # Near 0 degrees the arc cosine loses digits; the sine of the first angle does not.
    left, _, right = torch.linalg.svd(U.T @ V, full_matrices=False)
    first = U @ left[:, 0] - float(cosines[0]) * (V @ right[0])
    angle = float(torch.atan2(first.norm(), cosines[0]))
    return Angles(
        float(cosines.square().mean()), float(np.degrees(angle)), (U.shape[1], V.shape[1])
    )


def random_overlap(width: int, ranks: tuple[int, int]) -> float:
    """Expected overlap of two independent, uniformly random subspaces: max(ranks) / width.

    E|U'V|_F^2 = r q / D, divided by the min(r, q) angles.
    """
    return max(ranks) / width


def random_angles(
    width: int, ranks: tuple[int, int], rng: np.random.Generator, draws: int
) -> list[Angles]:
    """Angles of independent, uniformly random subspaces of the same dimensions."""
    made = []
    for _ in range(draws):
        bases = [torch.linalg.qr(torch.as_tensor(rng.normal(size=(width, r))))[0] for r in ranks]
        made.append(principal_angles(bases[0], bases[1]))
    return made


def mean_angles(
    cells: torch.Tensor, *, share: float = 0.9, ranks: tuple[int, int] | None = None
) -> Angles:
    """Angles between phone means and speaker means.

    Args:
        cells: cell means of a balanced layout, float64 [A, B, D].
        share: share of the variance of each set of means that its subspace holds.
        ranks: fixed dimensions instead (replicates and controls).
    """
    r, q = ranks or (None, None)
    U = leading_directions(cells.mean(dim=1), share, r)
    V = leading_directions(cells.mean(dim=0), share, q)
    return principal_angles(U, V)


def share_inside(first: torch.Tensor, second: torch.Tensor, *, share: float = 0.9) -> float:
    """Share of the variance of the phone means that lies in the speaker subspace, free of noise.

    The tokens of every cell are halved. With phone means p, p' of the halves and the projector S
    on the speaker subspace of the first, it is sum_a p_a' S p'_a / sum_a p_a' p'_a, averaged over
    both orders of the halves: the noise of p' is independent of all else, so what the phone means
    have by chance does not count, as it would in sum_a |S p_a|^2. Can be slightly negative.
    Exchange the first two axes of both arguments for speakers in the phone subspace.

    Args:
        first, second: cell means of the two halves of the tokens, float64 [A, B, D].
        share: share of the variance of the speaker means that their subspace holds.

    Returns:
        the share; NaN where the halves agree on no phone variance at all.
    """
    inside = whole = 0.0
    for one, two in ((first, second), (second, first)):
        V = leading_directions(one.mean(dim=0), share, None)
        p, q = one.mean(dim=1), two.mean(dim=1)
        p, q = p - p.mean(dim=0), q - q.mean(dim=0)
        inside += float(((p @ V) * (q @ V)).sum())
        whole += float((p * q).sum())
    return inside / whole if whole > 0 else float("nan")
