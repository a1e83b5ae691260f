"""Gaussian mixtures by expectation-maximisation: a start in memory, then passes over any number of
rows.

The start grows, as that of Kaldi's ``gmm-global-init-from-feats``: half of the Gaussians first,
the others split off while it iterates. The first half stand at k-means++ seeds (Arthur and
Vassilvitskii, SODA 2007), which leave no region of the data without one, where random rows may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.mixture import (
    Aligner,
    Mixture,
    MixtureSums,
    floor_covariance,
)

LEAST_COUNT = 10.0
"""Frames below which a Gaussian keeps its mean and covariance (Kaldi's minimum occupancy)."""

FLOOR = 0.01
"""Least variance, as a share of the variance of all rows."""


SEEDED = 200
"""Rows a Gaussian among which the first means are looked for."""


@dataclass(frozen=True)
class Started:
    """A mixture made from rows in memory.

    Attributes:
        mixture: diagonal.
        log_likelihoods: a row, before each iteration and after the last.
        components: Gaussians in each of them.
    """

    mixture: Mixture
    log_likelihoods: tuple[float, ...]
    components: tuple[int, ...]


def maximise(
    mixture: Mixture, sums: MixtureSums, *, floor: float = FLOOR, least: float = LEAST_COUNT
) -> Mixture:
    """The mixture that expectation-maximisation moves to.

    Args:
        mixture: that the rows were aligned with.
        sums: of all rows; full covariances if ``sums.second`` is [C, D, D].
        floor: least variance, as a share of that of all rows (in any direction).
        least: Gaussians with a smaller count keep mean and covariance.

    Raises:
        NumericsError: the sums are empty or not finite.
    """
    total = sums.count.sum()
    if not bool(total > 0) or not bool(sums.second.sum().isfinite()):
        raise NumericsError(
            "a mixture cannot be fitted", got=f"{sums.rows} rows with sums that are not finite"
        )
    diagonal = sums.second.ndim == 2
    old = mixture.covariances if mixture.diagonal == diagonal else mixture.full().covariances
    safe = sums.count.clamp_min(torch.finfo(torch.float64).tiny)
    means = sums.first / safe[:, None]
    centre = sums.first.sum(dim=0) / total
    if diagonal:
        found = sums.second / safe[:, None] - means.square()
        spread = sums.second.sum(dim=0) / total - centre.square()
    else:
        found = sums.second / safe[:, None, None] - means[:, :, None] * means[:, None, :]
        found = (found + found.mT) / 2
        spread = sums.second.sum(dim=0) / total - torch.outer(centre, centre)
    kept = sums.count < least
    means[kept], found[kept] = mixture.means[kept], old[kept]
    if floor > 0:
        found = floor_covariance(found, floor * spread)
    return Mixture(sums.count / total, means, found)


def start(
    rows: torch.Tensor, components: int, *, seed: int, iterations: int = 20, floor: float = FLOOR
) -> Started:
    """A diagonal mixture of rows in memory.

    Half of the Gaussians begin at k-means++ seeds, with the variance of all rows; over the first
    half of the iterations the heaviest are split until there are enough.

    Args:
        rows: [N, D] float64.
        components: C.
        seed: of the seeds and of the splits.
        iterations: of expectation-maximisation.
        floor: see :func:`maximise`.

    Raises:
        UsageError: fewer rows than Gaussians.
        NumericsError: a dimension has no variance.
    """
    enough(len(rows), components)
    random = torch.Generator().manual_seed(seed)
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    if not bool((variance > 0).all()) or not bool(mean.isfinite().all()):
        raise NumericsError(
            "a mixture needs variance in every dimension",
            got=f"{int((~(variance > 0)).sum())} of {len(variance)} dimensions constant or not "
            "finite",
        )
    count = max(1, components // 2)
    seeds = _seeds((rows - mean) / variance.sqrt(), count, seed)
    mixture = Mixture(
        torch.full((count,), 1 / count, dtype=torch.float64, device=rows.device),
        rows[seeds.to(rows.device)].clone(),
        variance.expand(count, -1).clone(),
    )
    growing = max(1, iterations // 2)
    told, sizes = [], []
    for number in range(iterations):
        wanted = count + (components - count) * min(number + 1, growing) // growing
        sums = _expect(rows, mixture)
        told.append(sums.mean_log_likelihood)
        sizes.append(mixture.components)
        mixture = maximise(mixture, sums, floor=floor)
        mixture = split(mixture, wanted, random)
    told.append(_expect(rows, mixture).mean_log_likelihood)
    sizes.append(mixture.components)
    return Started(mixture, tuple(told), tuple(sizes))


def split(mixture: Mixture, components: int, random: torch.Generator) -> Mixture:
    """Split the heaviest Gaussians of a diagonal mixture until there are ``components``.

    Both halves take half the weight and stand a tenth of a standard deviation, in a random
    direction, on either side of the old mean.
    """
    weights, means = mixture.weights.clone(), mixture.means.clone()
    covariances = mixture.covariances
    while len(weights) < components:
        many = min(components - len(weights), len(weights))
        at = weights.topk(many).indices
        noise = torch.randn(many, means.shape[1], generator=random, dtype=means.dtype)
        shift = 0.1 * covariances[at].sqrt() * noise.to(means.device)
        weights[at] /= 2
        weights = torch.cat([weights, weights[at]])
        means = torch.cat([means, means[at] + shift])
        means[at] -= shift
        covariances = torch.cat([covariances, covariances[at]])
    return replace(mixture, weights=weights, means=means, covariances=covariances)


def enough(rows: int, components: int) -> None:
    """Check that there are frames for every Gaussian.

    Raises:
        UsageError: there are fewer frames than Gaussians.
    """
    if rows < components:
        raise UsageError(
            "there are fewer frames of speech than Gaussians",
            got=f"{rows:,} frames, {components:,} Gaussians",
            expected="fewer Gaussians than frames (a hundred frames each, say)",
            fix=f"ask for at most {max(1, rows // 100)} Gaussians, or give more speech",
        )


def _seeds(rows: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Places of k-means++ seeds among the rows (evenly thinned where they are very many)."""
    from sklearn.cluster import kmeans_plusplus

    step = max(1, len(rows) // (SEEDED * count))
    thin = rows[::step].cpu().numpy()
    _, places = kmeans_plusplus(thin, count, random_state=seed)
    return torch.from_numpy(places.astype("int64")) * step


def _expect(rows: torch.Tensor, mixture: Mixture) -> MixtureSums:
    sums = MixtureSums.of(mixture)
    sums.add(rows, Aligner(mixture))
    return sums
