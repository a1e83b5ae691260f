"""Losses of DINO, RDINO and SDPN: functions of logits and vectors.

Rows are crop-major: all recordings' first crop, then all second ones, and so on.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn.functional import log_softmax, normalize

from voxstrata.training import distributed

Pairs = Literal["cross", "same", "local"]
"""Which student crops learn from which teacher crop: all but itself (DINO); itself only; the
local ones only. The second and third are wespeaker's modes 1 and 2."""


def cross_view(
    student: torch.Tensor,
    target: torch.Tensor,
    crops: tuple[int, int],
    *,
    temperature: float = 0.1,
    pairs: Pairs = "cross",
) -> torch.Tensor:
    """Cross entropy between teacher and student crops, mean over pairs and recordings.

    ``-sum_k p_u(k) log q_v(k)`` with ``p_u`` the teacher's distribution of global crop u and
    ``q_v = softmax(student logits / temperature)`` of crop v (DINO, arXiv 2104.14294, eq. 3).

    Args:
        student: logits [(G + L) x B, K], the G crops the teacher sees first.
        target: probabilities [G x B, K] without gradient.
        crops: G and L.
        temperature: of the student.
        pairs: see :data:`Pairs`.
    """
    seen, local = crops
    targets = target.float().chunk(seen)
    total = torch.stack(targets).sum(0)
    loss = torch.zeros((), device=student.device)
    count = 0
    for v, logits in enumerate(student.chunk(seen + local)):
        own = targets[v] if v < seen else None
        if pairs == "cross":
            wanted, terms = (total, seen) if own is None else (total - own, seen - 1)
        elif pairs == "same":
            wanted, terms = (total, 0) if own is None else (own, 1)
        else:
            wanted, terms = (total, seen if own is None else 0)
        if terms:
            logs = log_softmax(logits.float() / temperature, dim=1)
            loss = loss - (wanted * logs).sum(1).mean()
            count += terms
    return loss / count


def regularity(
    student: torch.Tensor,
    teacher: torch.Tensor,
    crops: int,
    *,
    divisor: int,
    std: float = 10.0,
    cov: float = 1.0,
) -> torch.Tensor:
    """RDINO's regulariser (arXiv 2211.04168): outputs that vary, and whose columns differ.

    Of the mean over the global crops of a recording, for student and teacher and summed:
    ``std mean_j relu(1 - sqrt(var_j + 1e-4)) / 2 + cov sum_{i != j} C_ij^2 / divisor``, C the
    covariance (VICReg's terms, arXiv 2105.04906). Over the joint batch of all processes.

    Args:
        student, teacher: outputs [crops x B, D] of the global crops.
        crops: how many.
        divisor: of the covariance term: D in VICReg; RDINO's code has K there.
        std, cov: weights.
    """
    loss = torch.zeros((), device=student.device)
    for rows in (student, teacher):
        x = distributed.joined(rows.float().reshape(crops, -1, rows.shape[1]).mean(0))
        x = x - x.mean(0)
        deviation = (x.var(0) + 1e-4).sqrt()
        covariance = x.T @ x / (len(x) - 1)
        spill = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + std * torch.relu(1 - deviation).mean() / 2 + cov * spill / divisor
    return loss


def sinkhorn(p: torch.Tensor, iterations: int = 3) -> torch.Tensor:
    """Rows whose columns sum to equal shares (Sinkhorn-Knopp), over all processes' rows.

    Columns and rows are brought to equal sums in turn, rows last (SwAV, arXiv 2006.09882).

    Args:
        p: probabilities [N, K].
        iterations: how often.

    Returns:
        [N, K]; rows sum to 1.
    """
    p = p / distributed.total(p.sum())
    for _ in range(iterations):
        p = p / distributed.total(p.sum(0)).clamp_min(torch.finfo(p.dtype).tiny) / p.shape[1]
        p = p / p.sum(1, keepdim=True)
    return p


def assignments(
    vectors: torch.Tensor, prototypes: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Logarithms of the soft assignment of vectors to prototypes.

    Args:
        vectors: [N, D], of length 1.
        prototypes: [K, D], of any length.
        temperature: of the softmax over cosines.

    Returns:
        log-probabilities [N, K], float32.
    """
    cosines = vectors @ normalize(prototypes, dim=1).T
    return log_softmax(cosines.float() / temperature, dim=1)


def sharpened(
    vectors: torch.Tensor, prototypes: torch.Tensor, temperature: float, power: float
) -> torch.Tensor:
    """Assignments ``p^(1 / power)``, scaled to sum to 1, [N, K]; arguments as :func:`assignments`.

    Args:
        vectors, prototypes, temperature: see there.
        power: T; below 1 the largest assignment grows.
    """
    return torch.softmax(assignments(vectors, prototypes, temperature) / power, dim=1)


def mean_entropy_gap(logs: torch.Tensor) -> torch.Tensor:
    """``log K - H(mean p)``, 0 where all prototypes are used alike (me-max of MSN, arXiv
    2204.07141); the mean is over all processes' rows.

    Args:
        logs: log-probabilities [N, K].
    """
    mean = distributed.joined(logs.exp().mean(0, keepdim=True)).mean(0)
    gap: torch.Tensor = math.log(logs.shape[1]) - torch.special.entr(mean).sum()
    return gap


def koleo(rows: torch.Tensor) -> torch.Tensor:
    """Minus the mean log distance to the nearest other row, rows on the unit sphere.

    Kozachenko-Leonenko estimate of the entropy, up to constants (Sablayrolles et al.,
    arXiv 1806.03198); distances are ``|x - y + 1e-8|`` and 1e-8 is added to them, as in public
    code.

    Args:
        rows: [N, D], N at least 2.
    """
    unit = normalize(rows.float(), dim=1)
    with torch.no_grad():
        cosine = unit @ unit.T
        cosine.fill_diagonal_(-2)
        nearest = cosine.argmax(1)
    distance: torch.Tensor = torch.linalg.vector_norm(unit - unit[nearest] + 1e-8, dim=1)
    return -(distance + 1e-8).log().mean()
