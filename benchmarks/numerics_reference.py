"""Measures from their definitions, on rows, in long double: the reference of ``numerics.py``.

Nothing here is shared with the package: no moments, no LAPACK, no cut of small eigenvalues but the
one that parts true directions of float32 rows from rounding of the reference itself. Singular
values come from one-sided Jacobi rotations (Hestenes 1958), which find small ones to full relative
accuracy. Where long double is 64 bits wide (not x86) the reference is float64 and says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
LONG = np.longdouble
NOISE = LONG(1e-11)
"""Singular values of columns scaled to length 1 below this are the reference's own rounding."""


def centred(x: Rows) -> Rows:
    a = np.asarray(x, dtype=LONG)
    a = a - a.mean(axis=0)
    return a - a.mean(axis=0)  # what dividing the sum left


def jacobi(a: Rows) -> tuple[Rows, Rows, Rows]:
    """Thin SVD: U [n, d], singular values [d] falling, V [d, d]; U is 0 where they are."""
    u = np.array(a, dtype=LONG)
    d = u.shape[1]
    v = np.eye(d, dtype=LONG)
    even = d + d % 2
    ring = list(range(even))
    for _ in range(60):
        worst = LONG(0)
        for _step in range(even - 1):
            pairs = [(ring[k], ring[even - 1 - k]) for k in range(even // 2)]
            pairs = [(min(p), max(p)) for p in pairs if max(p) < d]
            i, j = np.array(pairs, dtype=int).reshape(-1, 2).T
            x, y = u[:, i], u[:, j]
            xx, yy, xy = (x * x).sum(0), (y * y).sum(0), (x * y).sum(0)
            size = np.sqrt(xx * yy)
            turn = np.abs(xy) > LONG(1e-19) * size
            if turn.any():
                worst = max(worst, (np.abs(xy[turn]) / size[turn]).max())
                zeta = (yy - xx) / np.where(turn, 2 * xy, 1)
                t = np.where(zeta >= 0, 1, -1) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
                t = np.where(turn, t, 0)
                c = 1 / np.sqrt(1 + t * t)
                for m in (u, v):
                    p, q = m[:, i].copy(), m[:, j].copy()
                    m[:, i], m[:, j] = c * p - c * t * q, c * t * p + c * q
            ring = [ring[0], ring[-1], *ring[1:-1]]
        if worst < LONG(1e-17):
            break
    s = np.sqrt((u * u).sum(0))
    order = np.argsort(-s, kind="stable")
    u, s, v = u[:, order], s[order], v[:, order]
    return u / np.where(s > 0, s, 1), s, v


def thin(a: Rows) -> tuple[Rows, Rows, Rows]:
    """:func:`jacobi`, of the transpose where there are fewer rows than columns."""
    if a.shape[0] >= a.shape[1]:
        return jacobi(a)
    u, s, v = jacobi(a.T)
    return v, s, u


def basis(x: Rows) -> Rows:
    """Orthonormal basis of the centred columns, [n, rank]."""
    a = centred(x)
    size = np.sqrt((a * a).sum(0))
    # A constant column is rounding of its mean.
    alive = size > NOISE * np.maximum(size.max(), np.abs(np.asarray(x, dtype=LONG)).max(0))
    u, s, _ = thin(a[:, alive] / size[alive])
    return u[:, s > NOISE * s[0]]


class Pair:
    """Reference values of one pair of views, by measure."""

    def __init__(self, x: Rows, y: Rows) -> None:
        self.x, self.y = x, y
        self.a, self.b = centred(x), centred(y)
        self.qa, self.qb = basis(x), basis(y)
        u, s, v = thin(self.qa.T @ self.qb)
        k = min(self.qa.shape[1], self.qb.shape[1])
        self.rho = np.minimum(s[:k], 1)
        self.hx, self.hy = self.qa @ u[:, :k], self.qb @ v[:, :k]

    def values(self) -> dict[str, float]:
        """Every registered measure."""
        rho, a, b = self.rho, self.a, self.b
        size = np.sqrt((a * a).sum() * (b * b).sum())
        aligned = thin(a.T @ b)[1].sum() / size
        one, two = self._weighted(self.hx, self.qa, a), self._weighted(self.hy, self.qb, b)
        d, e = a.shape[1], b.shape[1]
        found = {
            "cka": hsic(a, b, True), "cka-biased": hsic(a, b, False),
            "cka-rbf": rbf(a, b, True), "cka-rbf-biased": rbf(a, b, False),
            "cca-mean": rho.mean(), "cca-r2": (rho**2).mean(), "svcca": svcca(a, b),
            "pwcca-x": one, "pwcca-y": two,
            "pwcca": (one + two) / 2 if d == e else (one if d < e else two),
            "pwcca-pasad": pasad(self.x, self.y),
            "procrustes": aligned, "procrustes-distance": np.sqrt(max(2 - 2 * aligned, LONG(0))),
            "procrustes-angle": np.arccos(min(aligned, LONG(1))),
            "regression": ((self.qa.T @ b) ** 2).sum() / (b * b).sum(),
            "regression-reverse": ((self.qb.T @ a) ** 2).sum() / (a * a).sum(),
            "rsa": correlation(*(pairs(distances(v)) for v in (a, b))),
            "rsa-spearman": correlation(*(ranks(pairs(distances(v))) for v in (a, b))),
            "mutual-knn": mutual_knn(np.asarray(self.x, LONG), np.asarray(self.y, LONG)),
        }  # fmt: skip
        return {name: float(value) for name, value in found.items()}

    def _weighted(self, h: Rows, q: Rows, a: Rows) -> Any:
        """PWCCA; directions of equal correlation have their mean weight over bases."""
        edges = [0]
        paired = int((self.rho > 1e-5).sum())
        for i in range(1, paired):
            if self.rho[i] < 1 - 1e-5 and self.rho[i - 1] - self.rho[i] > 1e-10:
                edges.append(i)
        top = total = LONG(0)
        for i, j in zip(edges, [*edges[1:], paired], strict=True):
            weight = mean_weight(np.sqrt(((h[:, i:j].T @ a) ** 2).sum(0)), j - i)
            top, total = top + weight * self.rho[i:j].mean(), total + weight
        left = np.maximum(((q.T @ a) ** 2).sum(0) - ((h[:, :paired].T @ a) ** 2).sum(0), 0)
        return top / (total + mean_weight(np.sqrt(left), q.shape[1] - paired))


def mean_weight(lengths: Rows, r: int) -> Any:
    """Sum of |loadings| on r random orthonormal directions, given their lengths."""
    if r == 0:
        return LONG(0)
    gamma = math.exp(math.lgamma(r / 2) - math.lgamma((r + 1) / 2))
    return lengths.sum() * r * gamma / math.sqrt(math.pi)


def hsic(a: Rows, b: Rows, debiased: bool) -> Any:
    """Linear CKA from n x n Gram matrices (Song et al. 2012, eq. 5, where debiased)."""
    return kernel_cka(a @ a.T, b @ b.T, debiased)


def kernel_cka(K: Rows, L: Rows, debiased: bool) -> Any:
    n = len(K)

    def inner(P: Rows, Q: Rows) -> Any:
        if not debiased:
            centre = np.eye(n, dtype=LONG) - LONG(1) / n
            return ((centre @ P @ centre) * Q).sum()
        P, Q = P - np.diag(np.diag(P)), Q - np.diag(np.diag(Q))
        cross = (P.sum(0) * Q.sum(0)).sum()
        return (P * Q).sum() + P.sum() * Q.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)

    own = inner(K, K) * inner(L, L)
    return inner(K, L) / np.sqrt(own) if own > 0 else LONG(np.nan)


def distances(a: Rows) -> Rows:
    """Squared distances from differences, column by column."""
    D = np.zeros((len(a), len(a)), dtype=LONG)
    for column in a.T:
        D += (column[:, None] - column) ** 2
    return D


def rbf(a: Rows, b: Rows, debiased: bool) -> Any:
    kernels = []
    for v in (a, b):
        D = distances(v)
        middle = np.median(D)
        if middle <= 0:
            return LONG(np.nan)
        kernels.append(np.exp(-D / (2 * middle)))
    return kernel_cka(*kernels, debiased)


def pairs(D: Rows) -> Rows:
    return D[np.triu_indices(len(D), 1)]


def ranks(values: Rows) -> Rows:
    """Ranks, ties averaged; what differs by rounding of the reference is a tie."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.r_[True, np.diff(ordered) > LONG(1e-17) * ordered[1:]]
    group = np.cumsum(new) - 1
    ends = np.r_[np.flatnonzero(new), len(values)]
    out = np.empty(len(values), dtype=LONG)
    out[order] = (((ends[:-1] + ends[1:] - 1) / 2)[group]).astype(LONG)
    return out


def correlation(u: Rows, v: Rows) -> Any:
    u, v = u - u.mean(), v - v.mean()
    return (u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum())


def svcca(a: Rows, b: Rows) -> Any:
    kept = []
    for v in (a, b):
        u, s, _ = thin(v)
        share = (s**2).cumsum() / (s**2).sum()
        kept.append(u[:, : int((share < LONG(0.99) - LONG(1e-12)).sum()) + 1])
    return np.minimum(thin(kept[0].T @ kept[1])[1], 1).mean()


def mutual_knn(x: Rows, y: Rows, k: int = 10) -> Any:
    """Mean share of common neighbours; among ties the first row, as good as any other."""
    near = []
    for v in (x, y):
        norms = np.sqrt((v * v).sum(1))
        if (norms == 0).any():
            return LONG(np.nan)
        u = v / norms[:, None]
        C = u @ u.T
        np.fill_diagonal(C, -np.inf)
        near.append(np.argsort(-C, axis=1, kind="stable")[:, :k])
    return LONG(np.mean([len(set(p) & set(q)) / k for p, q in zip(*near, strict=True)]))


def ambiguous_knn(x: Rows, k: int = 10) -> int:
    """Rows whose k-th and next neighbour are equally near in exact arithmetic, or nearly."""
    v = np.asarray(x, LONG)
    u = v / np.sqrt((v * v).sum(1))[:, None]
    C = u @ u.T
    np.fill_diagonal(C, -np.inf)
    ordered = -np.sort(-C, axis=1)
    return int((ordered[:, k - 1] - ordered[:, k] < LONG(1e-16)).sum())


def pasad(x: Rows, y: Rows, eps: float = 1e-10) -> Any:
    """The published recipe (docs/similarity.md), by QR of the variates as the original has it."""
    n = len(x)
    sides = []
    for v in (x, y):
        a = centred(v)
        S = a.T @ a / (n - 1)
        top = np.abs(S).max()
        keep = np.diag(S) / top >= eps
        _, s, V = thin(a[:, keep] / np.sqrt(LONG(n - 1) * top))
        # eigenvalues of the covariance are squares of singular values, 0 where there are none
        values = np.zeros(int(keep.sum()), dtype=LONG)
        values[: len(s)] = s**2
        if V.shape[1] < V.shape[0]:
            return LONG(np.nan)  # fewer rows than columns: null directions are arbitrary
        root = (V / np.sqrt(values + LONG(eps))) @ V.T
        sides.append((a[:, keep], np.asarray(v, LONG)[:, keep], root, np.sqrt(top)))
    (a, raw_a, ra, ta), (b, raw_b, rb, tb) = sides
    u, _, v = thin(ra @ (a.T @ b / (n - 1) / (ta * tb)) @ rb)
    k = min(a.shape[1], b.shape[1])
    px, py = u[:, :k].T @ ra, v[:, :k].T @ rb
    sign = np.sign(px[np.arange(k), np.abs(px).argmax(1)])[:, None]
    px, py = px * sign, py * sign
    corr = ((px @ a.T) * (py @ b.T)).sum(1) / np.sqrt(
        ((px @ a.T) ** 2).sum(1) * ((py @ b.T) ** 2).sum(1)
    )
    scores = []
    for p, c, raw in ((px, a, raw_a), (py, b, raw_b)):
        z = p @ c.T + raw.mean(0)[:k, None]
        weights = np.abs(gram_schmidt(z.T).T @ raw[:, :k]).sum(1)
        scores.append((weights * corr).sum() / weights.sum())
    return scores[0] if a.shape[1] < b.shape[1] else scores[1]


def gram_schmidt(z: Rows) -> Rows:
    """Orthonormal columns, each made so twice (Giraud et al. 2005)."""
    q = np.zeros_like(z)
    for k in range(z.shape[1]):
        v = z[:, k]
        for _ in range(2):
            v = v - q[:, :k] @ (q[:, :k].T @ v)
        q[:, k] = v / np.sqrt((v * v).sum())
    return q
