"""Shares of a layer's variance: how much is phone, how much speaker, how much their interaction.

A balanced two-way layout: A phones x B speakers x m tokens, the same number in every cell, so that
the sums of squares of both factors and of their interaction add up to the total whatever order
they are taken in (Scheffe, "The Analysis of Variance", 1959, chapter 4). Rows are vectors; every
sum of squares is the trace of the matrix of sums of squares and products, so shares do not change
under rotation, shift or one common scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError

Shuffle = Literal["phones", "speakers", "residuals"]


@dataclass(frozen=True)
class Grid:
    """A complete phone x speaker layout.

    Attributes:
        phones, speakers: row and column indices kept, ascending, [A] and [B].
        tokens: tokens a cell m.
    """

    phones: NDArray[np.int64]
    speakers: NDArray[np.int64]
    tokens: int

    @property
    def cells(self) -> int:
        """A times B."""
        return len(self.phones) * len(self.speakers)


def complete_grid(counts: NDArray[np.int64], tokens: int) -> Grid:
    """Phones and speakers whose every cell holds at least ``tokens``, with as many cells as can
    be found greedily.

    The exact problem (a biclique with the most edges) is NP-hard. Two greedy searches are run,
    one adding the speaker, the other the phone, that leaves the most of the other side complete;
    the larger result is kept and whatever else is complete with it is added.

    Args:
        counts: tokens of each phone (rows) and speaker (columns), [P, Q].
        tokens: wanted tokens a cell, at least 1.

    Returns:
        the grid; empty where no cell is full.
    """
    full = np.asarray(counts) >= tokens
    by_speaker = _grow(full)
    columns, rows = _grow(full.T)
    best = max((by_speaker, (rows, columns)), key=lambda g: len(g[0]) * len(g[1]))
    return Grid(np.sort(best[0]), np.sort(best[1]), tokens)


def _grow(full: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add columns one by one, each time the one that keeps most rows complete; the best stop."""
    alive = np.ones(full.shape[0], dtype=bool)
    left = list(range(full.shape[1]))
    chosen: list[int] = []
    best: tuple[int, NDArray[np.bool_], int] = (0, np.zeros_like(alive), 0)
    while left:
        kept = (full[:, left] & alive[:, None]).sum(axis=0)
        # Ties go to the column that is fuller altogether: it will fit more rows later.
        pick = max(range(len(left)), key=lambda i: (kept[i], full[:, left[i]].sum(), -i))
        chosen.append(left.pop(pick))
        alive = np.logical_and(alive, full[:, chosen[-1]])
        if not alive.any():
            break
        if alive.sum() * len(chosen) > best[0]:
            best = (int(alive.sum()) * len(chosen), alive.copy(), len(chosen))
    rows = best[1]
    if not rows.any():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    columns = np.flatnonzero(full[rows].all(axis=0))
    return np.flatnonzero(full[:, columns].all(axis=1)), columns


def balanced_rows(
    phone: NDArray[np.int64], speaker: NDArray[np.int64], grid: Grid, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of a grid, drawn at random within each cell, [A, B, m].

    Args:
        phone, speaker: phone and speaker index of every row, [N].
        grid: from :func:`complete_grid` on the counts of the same rows.
        rng: the draw.
    """
    order = rng.permutation(len(phone))
    cells: dict[tuple[int, int], list[int]] = {}
    for row in order.tolist():
        cells.setdefault((int(phone[row]), int(speaker[row])), []).append(row)
    return np.array(
        [
            [cells[int(a), int(b)][: grid.tokens] for b in grid.speakers.tolist()]
            for a in grid.phones.tolist()
        ],
        dtype=np.int64,
    )


@dataclass(frozen=True)
class Shares:
    """The decomposition of one layer.

    Attributes:
        phone, speaker, interaction, rest: shares of the total sum of squares; they sum to 1.
            ``rest`` is what differs between tokens of one phone and speaker.
        phone_corrected, ...: shares of the sum of the variance components, free of the noise that
            few tokens a cell put into the first three; unbiased before division, so an effect
            that is not there comes out around 0, below as often as above. They sum to 1.
        total: total sum of squares.
        A, B, m: phones, speakers, tokens a cell.
    """

    phone: float
    speaker: float
    interaction: float
    rest: float
    phone_corrected: float
    speaker_corrected: float
    interaction_corrected: float
    rest_corrected: float
    total: float
    A: int
    B: int
    m: int


@dataclass(frozen=True)
class CellSums:
    """What the decomposition needs of the rows.

    Attributes:
        means: cell means, centred on the grand mean, float64 [A, B, D].
        within: sum of squares around each cell's mean, [A, B].
        m: tokens a cell.
    """

    means: torch.Tensor
    within: torch.Tensor
    m: int

    @classmethod
    def of(cls, rows: torch.Tensor) -> CellSums:
        """Cell sums of rows [A, B, m, D].

        Raises:
            ShapeError: not four axes, or fewer than two phones, speakers or tokens.
        """
        if rows.ndim != 4 or min(rows.shape[:3]) < 2:
            raise ShapeError(
                "shares of variance need at least two phones, two speakers, two tokens a cell",
                got=f"rows of shape {tuple(rows.shape)}",
                expected="[A, B, m, D] with A, B, m of 2 or more",
            )
        x = rows.to(torch.float64)
        x = x - x.mean(dim=(0, 1, 2))
        means = x.mean(dim=2)
        within = x.square().sum(dim=(2, 3)) - x.shape[2] * means.square().sum(dim=2)
        return cls(means, within.clamp_min(0.0), x.shape[2])

    def without_speaker(self, b: int) -> CellSums:
        """The same without speaker ``b``."""
        keep = [i for i in range(self.means.shape[1]) if i != b]
        means = self.means[:, keep]
        return CellSums(means - means.mean(dim=(0, 1)), self.within[:, keep], self.m)


def shares_of(sums: CellSums) -> Shares:
    """Shares of variance from cell sums.

    Sums of squares (centred on the grand mean): SS_p = B m sum_a |y_a..|^2,
    SS_s = A m sum_b |y_.b.|^2, SS_i = m sum_ab |y_ab. - y_a.. - y_.b.|^2, and SS_w within cells.
    Variance components by expected mean squares, phones and speakers random (Searle, Casella,
    McCulloch, "Variance Components", 1992, section 4.3): s_w = MS_w, s_i = (MS_i - MS_w)/m,
    s_p = (MS_p - MS_i)/(B m), s_s = (MS_s - MS_i)/(A m). The corrected shares divide them by
    their sum.

    Raises:
        NumericsError: the rows have no variance.
    """
    y, m = sums.means, sums.m
    A, B = y.shape[:2]
    phone, speaker = y.mean(dim=1), y.mean(dim=0)
    ss_p = B * m * float(phone.square().sum())
    ss_s = A * m * float(speaker.square().sum())
    ss_i = m * float((y - phone[:, None] - speaker[None]).square().sum())
    ss_w = float(sums.within.sum())
    total = ss_p + ss_s + ss_i + ss_w
    if not np.isfinite(total) or total <= 0:
        raise NumericsError("rows without variance have no shares of it", got=f"total {total}")
    ms_w = ss_w / (A * B * (m - 1))
    ms_i = ss_i / ((A - 1) * (B - 1))
    parts = np.array(
        [
            (ss_p / (A - 1) - ms_i) / (B * m),
            (ss_s / (B - 1) - ms_i) / (A * m),
            (ms_i - ms_w) / m,
            ms_w,
        ]
    )
    whole = float(parts.sum())
    # All variance in effects below their own noise would leave nothing to divide by.
    p, s, i, w = (parts / whole).tolist() if whole > 0 else [float("nan")] * 4
    return Shares(
        ss_p / total, ss_s / total, ss_i / total, ss_w / total, p, s, i, w, total, A, B, m
    )


def variance_shares(rows: torch.Tensor) -> Shares:
    """Shares of variance of balanced rows [A, B, m, D].

    Raises:
        ShapeError: not four axes, or fewer than two phones, speakers or tokens.
        NumericsError: the rows have no variance.

    Example:
        >>> import torch
        >>> a = torch.tensor([0.0, 1.0])[:, None, None, None]
        >>> s = variance_shares(a.expand(2, 3, 2, 1))
        >>> (s.phone, s.speaker, s.interaction)
        (1.0, 0.0, 0.0)
    """
    return shares_of(CellSums.of(rows))


def jackknife_speakers(sums: CellSums) -> list[Shares]:
    """The decomposition without each speaker in turn, B of them.

    Raises:
        UsageError: there are fewer than three speakers.
    """
    B = sums.means.shape[1]
    if B < 3:
        raise UsageError("leaving a speaker out needs at least three", got=B, expected="3 or more")
    return [shares_of(sums.without_speaker(b)) for b in range(B)]


def shuffled_cells(
    A: int, B: int, m: int, what: Shuffle, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A permutation of the A B m rows (in order of phone, speaker, token) that keeps the layout
    balanced, [A B m].

    ``"phones"``: each speaker's tokens are dealt anew to the phones (no phone effect, no
    interaction, speakers untouched). ``"speakers"``: each phone's tokens are dealt anew to the
    speakers. ``"residuals"``: all tokens are dealt anew; to be used on what the two main effects
    leave, which gives the null of the interaction alone (Freedman and Lane 1983; Anderson and
    ter Braak, J. Stat. Comput. Simul. 73, 2003, 85-113).
    """
    index = np.arange(A * B * m).reshape(A, B, m)
    if what == "phones":
        flat = index.transpose(1, 0, 2).reshape(B, A * m)
        return rng.permuted(flat, axis=1).reshape(B, A, m).transpose(1, 0, 2).reshape(-1)
    if what == "speakers":
        return rng.permuted(index.reshape(A, B * m), axis=1).reshape(-1)
    if what == "residuals":
        return rng.permutation(index.reshape(-1))
    raise UsageError("unknown shuffle", got=what, expected="'phones', 'speakers' or 'residuals'")


def shuffled_shares(rows: torch.Tensor, what: Shuffle, orders: NDArray[np.int64]) -> list[Shares]:
    """The decomposition after each permutation of tokens.

    Args:
        rows: [A, B, m, D].
        what: see :func:`shuffled_cells`; for ``"residuals"`` both main effects are taken out
            before the shuffle and put back after it.
        orders: permutations, [R, A B m].
    """
    x = rows.to(torch.float64)
    A, B, m, D = x.shape
    x = x - x.mean(dim=(0, 1, 2))
    effects = torch.zeros(A, B, D, dtype=torch.float64)
    if what == "residuals":
        effects = x.mean(dim=(1, 2))[:, None] + x.mean(dim=(0, 2))[None]
        x = x - effects[:, :, None]
    flat = x.reshape(A * B * m, D)
    whole = flat.square().sum(dim=1)
    made = []
    for order in orders:
        index = torch.as_tensor(order)
        means = flat[index].view(A, B, m, D).mean(dim=2)
        square = whole[index].view(A, B, m).sum(dim=2) - m * means.square().sum(dim=2)
        made.append(shares_of(CellSums(means + effects, square.clamp_min(0.0), m)))
    return made
