"""Property statistics against long double on the same inputs; part of ``numerics.py``.

Each statistic is a function of a pair of views to its values by name, once as the package computes
them and once from the definition.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numerics_inputs import Made
from numerics_reference import LONG, Rows, centred, gram_schmidt, jacobi, thin

from voxstrata.errors import VoxstrataWarning
from voxstrata.properties.disentanglement.subspace_angles import mean_angles
from voxstrata.properties.disentanglement.variance_shares import variance_shares
from voxstrata.properties.information.counts import Counts, all_measures
from voxstrata.properties.linear.ridge import cross_validated_ridge
from voxstrata.similarity.crossval import cross_validate
from voxstrata.similarity.fold_moments import FoldMoments

Values = dict[str, float]
FOLDS = 3
NOTED = "the property's notes say that a rank is below its width"


def folds(n: int) -> Any:
    return np.arange(n) % FOLDS


def cells(x: Rows) -> Any:
    """Rows as a layout of phones by speakers by tokens, [A, B, m, D]."""
    a, b = (5, 4) if len(x) >= 200 else (3, 2)
    return np.asarray(x).reshape(a, b, -1, x.shape[1])


def crossval(dtype: torch.dtype) -> Callable[[Made], Values]:
    """Held-out CCA from fold moments."""

    def values(made: Made) -> Values:
        x, y = (torch.as_tensor(np.asarray(v)) for v in made)
        m = FoldMoments.of(x.to(dtype), y.to(dtype), folds(len(x)), dtype=dtype)
        out = cross_validate(m, side="x")
        if out.rank_x < out.d or out.rank_y < out.other_d:
            warnings.warn(NOTED, VoxstrataWarning, stacklevel=2)
        found = out.measures
        return {name: found[name].value for name in ("pwcca-x", "cca-mean")}

    return values


def crossval_reference(made: Made) -> Values:
    fold = folds(len(made[0]))
    scores, means = [], []
    for f in range(FOLDS):
        bases, maps = [], []
        for v in made:
            a = np.asarray(v, LONG)[fold != f]
            a = centred(a)
            size = np.sqrt((a * a).sum(0))
            alive = size > LONG(1e-11) * size.max()
            u, s, w = thin(a[:, alive] / size[alive])
            keep = s > LONG(1e-11) * s[0]
            full = np.zeros((v.shape[1], int(keep.sum())), dtype=LONG)
            full[alive] = w[:, : len(s)][:, keep] / s[keep] / size[alive][:, None]
            bases.append(u[:, keep])
            maps.append(full)
        u, _, w = thin(bases[0].T @ bases[1])
        k = min(b.shape[1] for b in bases)
        tests = [centred(np.asarray(v, LONG)[fold == f]) for v in made]
        h, g = (t @ m @ d[:, :k] for t, m, d in zip(tests, maps, (u, w), strict=True))
        own, other = np.sqrt((h * h).sum(0)), np.sqrt((g * g).sum(0))
        rho = (h * g).sum(0) / (own * other)
        weights = np.abs((h / own).T @ tests[0]).sum(1)
        scores.append((weights * rho).sum() / weights.sum())
        means.append(rho.mean())
    return {"pwcca-x": float(np.mean(scores)), "cca-mean": float(np.mean(means))}


def ridge(made: Made) -> Values:
    x, y = made
    fit = cross_validated_ridge(x, y[:, :4].astype(np.float64), folds(len(x)), (1e-4,))
    return {"R2": fit.r2().value}


def ridge_reference(made: Made) -> Values:
    x, y = np.asarray(made[0], LONG), np.asarray(made[1], LONG)[:, :4]
    fold = folds(len(x))
    lost = there = LONG(0)
    for f in range(FOLDS):
        train, test = fold != f, fold == f
        mean = x[train].mean(0)
        sd = np.sqrt(((x[train] - mean) ** 2).mean(0))
        flat = sd <= 1e-7 * np.abs(mean)
        scale = np.where(flat, 0, 1 / np.where(flat, 1, sd))
        a, b = (x[train] - mean) * scale, y[train] - y[train].mean(0)
        d = a.shape[1]
        root = np.sqrt(LONG(1e-4) * train.sum())
        tall = np.vstack([a, root * np.eye(d, dtype=LONG)])
        q = gram_schmidt(tall)
        r = q.T @ tall
        right = q.T @ np.vstack([b, np.zeros((d, b.shape[1]), dtype=LONG)])
        weights = np.zeros((d, b.shape[1]), dtype=LONG)
        for i in range(d - 1, -1, -1):
            weights[i] = (right[i] - r[i, i + 1 :] @ weights[i + 1 :]) / r[i, i]
        guess = ((x[test] - mean) * scale) @ weights + y[train].mean(0)
        lost = lost + ((guess - y[test]) ** 2).sum(0)
        there = there + ((y[test] - y[train].mean(0)) ** 2).sum(0)
    with np.errstate(invalid="ignore"):  # a target that does not vary
        return {"R2": float((1 - lost / there).mean())}


def shares(made: Made) -> Values:
    found = variance_shares(torch.as_tensor(cells(made[0])))
    return {name: getattr(found, name) for name in ("phone", "speaker", "interaction", "rest")}


def shares_reference(made: Made) -> Values:
    x = np.asarray(cells(made[0]), LONG)
    x = x - x.mean((0, 1, 2))
    x = x - x.mean((0, 1, 2))
    phone, speaker, cell = x.mean((1, 2)), x.mean((0, 2)), x.mean(2)
    parts = {
        "phone": np.broadcast_to(phone[:, None, None], x.shape),
        "speaker": np.broadcast_to(speaker[None, :, None], x.shape),
        "interaction": np.broadcast_to(
            (cell - phone[:, None] - speaker[None])[:, :, None], x.shape
        ),
        "rest": x - cell[:, :, None],
    }
    total = (x * x).sum()
    return {name: float((part * part).sum() / total) for name, part in parts.items()}


def angles(made: Made) -> Values:
    means = torch.as_tensor(cells(made[0])).double().mean(dim=2)
    found = mean_angles(means, ranks=(2, 2))
    return {"overlap": found.overlap, "smallest angle": found.smallest}


def angles_reference(made: Made) -> Values:
    means = np.asarray(cells(made[0]), LONG).mean(2)
    bases = []
    for axis in (1, 0):
        _, s, v = jacobi(centred(means.mean(axis)))
        bases.append(v[:, : min(2, int((s > 1e-5 * s[0]).sum()))])  # those that exist
    u, s, v = thin(bases[0].T @ bases[1])
    first, second = bases[0] @ u[:, 0], bases[1] @ v[:, 0]
    sine = first - s[0] * second
    angle = np.degrees(np.arctan2(np.sqrt((sine * sine).sum()), s[0]))
    return {"overlap": float((s**2).mean()), "smallest angle": float(angle)}


def codes(made: Made) -> tuple[Any, Any]:
    """Codes and labels of the rows: which of several columns is the largest."""
    return tuple(np.asarray(v, np.float64)[:, 10:].argmax(1) for v in made)  # type: ignore[return-value]


def information(made: Made) -> Values:
    found = all_measures(Counts.of(*codes(made)))
    return {name: found[name] for name in ("mi", "mi-nats", "nmi", "mi-miller-madow")}


def information_reference(made: Made) -> Values:
    a, b = codes(made)
    n = LONG(len(a))

    def entropy(keys: list[Any]) -> tuple[Any, int]:
        counts = np.array([keys.count(k) for k in dict.fromkeys(keys)], dtype=LONG)
        return -((counts / n) * np.log(counts / n)).sum(), len(counts)

    (code, p), (label, q) = entropy(a.tolist()), entropy(b.tolist())
    both, cells_filled = entropy(list(zip(a.tolist(), b.tolist(), strict=True)))
    mi = code + label - both
    corrected = mi + (p + q - cells_filled - 1) / (2 * n)
    found = {"mi": mi / label, "mi-nats": mi, "nmi": 2 * mi / (code + label),
             "mi-miller-madow": corrected / (label + (q - 1) / (2 * n))}  # fmt: skip
    return {name: float(value) for name, value in found.items()}


STATISTICS: Mapping[str, tuple[Callable[[Made], Values], Callable[[Made], Values]]] = {
    "held-out CCA, float64 products": (crossval(torch.float64), crossval_reference),
    "held-out CCA, float32 products": (crossval(torch.float32), crossval_reference),
    "ridge R2 (linear-*)": (ridge, ridge_reference),
    "variance-shares": (shares, shares_reference),
    "phone-speaker-angles": (angles, angles_reference),
    "mutual information (mi-*, pnmi)": (information, information_reference),
}
"""What properties compute, and the same from the definition."""
