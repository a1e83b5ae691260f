"""The moments reducer: first and second moments of a whole stack, fold by fold.

What it keeps (DESIGN.md, "three algebraic facts"; one set a fold, rows shifted by an early
mean m so that nothing cancels): ``n``, ``s = sum x``, the stacked product ``C = sum x x^T`` as
blocks of layer pairs i <= j, and what debiased HSIC needs besides: ``a = sum |x_l|^2``,
``v[l] = sum |x_l|^2 x`` and ``q[l, k] = sum |x_l|^2 |x_k|^2``. Products run in ``dtype``,
totals are float64.

Cost: n W^2 multiply-adds for a stack of width W (half of them are mirror images and are not
computed), F W^2 / 2 x 8 bytes of memory for F folds, whatever n is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from voxstrata.errors import UsageError
from voxstrata.streaming.reducers import Rows

BUFFER_BYTES = 256 << 20
"""Rows are gathered up to this size before one large product, so that adding products to
their float64 totals (W^2 numbers each time) stays small against the product itself."""

PRODUCT_ROWS = 8192
"""Most rows in one float32 product: its error grows with the rows it sums (6 million rows in one
product were 4e-6 off in CKA, 8192 rows a product 1e-8)."""


@dataclass(frozen=True)
class StackMoments:
    """Moments of a stack, by fold; everything is about the shifted rows x - shift.

    Attributes:
        widths: width of each of the L layers.
        shift: [W] float64.
        n: [F] rows.
        s: [F, W] sums.
        blocks: ``blocks[i]`` is [F, D_i, W - offset_i]: layer i against layers i..L-1.
        a: [F, L] sums of squared norms.
        v: [F, L, W] sums of squared norm of layer l times the row.
        q: [F, L, L] sums of products of squared norms.
    """

    widths: tuple[int, ...]
    shift: torch.Tensor
    n: torch.Tensor
    s: torch.Tensor
    blocks: list[torch.Tensor]
    a: torch.Tensor
    v: torch.Tensor
    q: torch.Tensor

    def offset(self, layer: int) -> int:
        """First column of ``layer`` in the stack."""
        return sum(self.widths[:layer])

    def columns(self, layer: int) -> slice:
        """Columns of ``layer`` in the stack."""
        start = self.offset(layer)
        return slice(start, start + self.widths[layer])

    def block(self, i: int, j: int) -> torch.Tensor:
        """Product of layers i <= j by fold, [F, D_i, D_j] float64."""
        start = self.offset(j) - self.offset(i)
        return self.blocks[i][:, :, start : start + self.widths[j]]


class MomentsReducer:
    """Accumulates :class:`StackMoments` in one pass.

    Args:
        widths: width of each layer of the stack.
        folds: number of folds F.
        dtype: of the products: ``torch.float32`` (default), ``torch.float64`` (tests, small
            data), ``torch.bfloat16`` (rows are centred in float32 first; see docs/similarity.md
            for the error this brings).
        buffer_bytes: size of the row buffer.
        shift: [W] subtracted from every row; by default the mean of the first rows. Reducers
            whose moments are to be merged must be given the same one.
    """

    def __init__(
        self,
        widths: Sequence[int],
        folds: int,
        *,
        dtype: torch.dtype = torch.float32,
        buffer_bytes: int = BUFFER_BYTES,
        shift: torch.Tensor | None = None,
    ) -> None:
        self.widths = tuple(widths)
        self.folds = folds
        self.dtype = dtype
        self.width = sum(self.widths)
        self._row_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        size = 8 if dtype == torch.float64 else 4
        self._chunk = min(PRODUCT_ROWS, max(256, buffer_bytes // (size * self.width)))
        self._buffer: list[torch.Tensor] = []
        self._buffered, self._fold = 0, -1
        self._moments: StackMoments | None = None
        if shift is not None:
            self._moments = self._zeros(shift.float().double())

    def update(self, rows: Rows) -> None:
        """Buffer the rows; a full buffer, or a new fold, becomes one product."""
        if rows.fold != self._fold:
            self._flush()
            self._fold = rows.fold
        if len(rows):
            self._buffer.append(
                torch.cat([value.to(self._row_dtype) for value in rows.values], dim=1)
            )
            self._buffered += len(rows)
        while self._buffered >= self._chunk:
            self._flush(self._chunk)

    def end_shard(self, shard: int) -> None:
        """Empty the buffer."""
        self._flush()
        self._fold = -1

    def _flush(self, rows: int | None = None) -> None:
        if not self._buffered:
            return
        stacked = self._buffer[0] if len(self._buffer) == 1 else torch.cat(self._buffer)
        if rows is not None and rows < len(stacked):
            stacked, rest = stacked[:rows], stacked[rows:]
            self._buffer, self._buffered = [rest], len(rest)
        else:
            self._buffer, self._buffered = [], 0
        moments = self._moments
        if moments is None:
            moments = self._moments = self._empty(stacked)
        elif moments.n.device != stacked.device:  # sums restored from disk, rows on a GPU
            moments = self._moments = moments_on(moments, stacked.device)
        accumulate(moments, stacked, self._fold, self.dtype)

    def _empty(self, first: torch.Tensor) -> StackMoments:
        # The shift must be a number rows can be compared with exactly: round to float32.
        return self._zeros(first.double().mean(dim=0).float().double())

    def _zeros(self, shift: torch.Tensor) -> StackMoments:
        where = shift.device
        layers, total = len(self.widths), self.width

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=where)

        offsets = [sum(self.widths[:i]) for i in range(layers)]
        return StackMoments(
            widths=self.widths,
            shift=shift,
            n=zeros(self.folds),
            s=zeros(self.folds, total),
            blocks=[
                zeros(self.folds, width, total - offset)
                for width, offset in zip(self.widths, offsets, strict=True)
            ],
            a=zeros(self.folds, layers),
            v=zeros(self.folds, layers, total),
            q=zeros(self.folds, layers, layers),
        )

    def merge(self, other: MomentsReducer) -> None:
        """Add another reducer's moments (about the same shift).

        Raises:
            UsageError: widths, folds or shifts differ.
        """
        if (self.widths, self.folds) != (other.widths, other.folds):
            raise UsageError(
                "moments of different stacks cannot be merged",
                got=f"widths {other.widths} in {other.folds} folds",
                expected=f"widths {self.widths} in {self.folds} folds",
            )
        self._flush()
        other._flush()
        if other._moments is None:
            return
        if self._moments is None:
            self._moments = self._zeros(other._moments.shift.clone())
        add_moments(self._moments, moments_on(other._moments, self._moments.n.device))

    def finish(self) -> StackMoments:
        """The moments.

        Raises:
            UsageError: no row came.
        """
        self._flush()
        if self._moments is None or not self._moments.n.any():
            raise UsageError("no rows reached the moments", expected="at least one row")
        return self._moments

    def anchor(self) -> MomentsReducer | None:
        """A reducer about the same shift, with no rows; ``None`` before the first row."""
        m = self._moments
        if m is None:
            return None
        return MomentsReducer(self.widths, self.folds, dtype=self.dtype, shift=m.shift)

    def state(self) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The sums of folds that have rows; empty before the first row."""
        facts: dict[str, Any] = {"widths": list(self.widths), "folds": self.folds}
        m = self._moments
        if m is None:
            return {}, facts
        sums = {"n": m.n, "s": m.s, "a": m.a, "v": m.v, "q": m.q}
        sums |= {f"block{i}": block for i, block in enumerate(m.blocks)}
        present = torch.nonzero(m.n).flatten().tolist()
        # Shards come fold by fold, so that folds with rows lie together: a view, not a copy.
        begin, end = (present[0], present[-1] + 1) if present else (0, 0)
        facts["held"] = [begin, end]
        return {"shift": m.shift, **{k: x[begin:end] for k, x in sums.items()}}, facts

    def restore(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Continue from sums.

        Raises:
            UsageError: they belong to another stack.
        """
        if (tuple(facts["widths"]), facts["folds"]) != (self.widths, self.folds):
            raise UsageError(
                "the saved moments belong to another stack",
                got=f"widths {facts['widths']}",
                expected=f"widths {self.widths}",
            )
        self._buffer, self._buffered, self._fold, self._moments = [], 0, -1, None
        if tensors:
            m = self._moments = self._zeros(tensors["shift"])
            begin, end = facts["held"]
            for name in ("n", "s", "a", "v", "q"):
                getattr(m, name)[begin:end] = tensors[name]
            for i, block in enumerate(m.blocks):
                block[begin:end] = tensors[f"block{i}"]

    def state_bytes(self) -> int:
        """Bytes of the sums."""
        return moments_bytes(self.widths, self.folds)


def moments_on(m: StackMoments, device: torch.device) -> StackMoments:
    """The same moments on another device."""
    return StackMoments(
        widths=m.widths,
        blocks=[block.to(device) for block in m.blocks],
        **{name: getattr(m, name).to(device) for name in ("shift", "n", "s", "a", "v", "q")},
    )


def moments_bytes(widths: Sequence[int], folds: int) -> int:
    """Memory of :class:`StackMoments`, bytes."""
    total, layers = sum(widths), len(widths)
    blocks = sum(width * sum(widths[i:]) for i, width in enumerate(widths))
    return 8 * folds * (blocks + total * (1 + layers) + layers * (layers + 1))


def buffer_bytes(width: int) -> int:
    """Memory of the row buffer and the product made from it, bytes, for a stack this wide."""
    return 2 * min(BUFFER_BYTES, max(256 * 4 * width, PRODUCT_ROWS * 4 * width))


def accumulate(m: StackMoments, rows: torch.Tensor, fold: int, dtype: torch.dtype) -> None:
    """Add rows [N, W] to the moments of one fold, in place.

    Norms and first moments are taken in the rows' own precision with float64 totals; only
    the large products run in ``dtype``.
    """
    x = rows - m.shift.to(rows.dtype)
    norms = torch.stack(
        [
            part.square().sum(dim=1, dtype=torch.float64)
            for part in torch.split(x, list(m.widths), dim=1)
        ],
        dim=1,
    )
    m.n[fold] += len(x)
    m.s[fold] += x.sum(dim=0, dtype=torch.float64)
    m.a[fold] += norms.sum(dim=0)
    m.v[fold] += (norms.to(x.dtype).T @ x).double()
    m.q[fold] += norms.T @ norms
    low = x if x.dtype == dtype else x.to(dtype)
    start = 0
    for i, width in enumerate(m.widths):
        product = low[:, start : start + width].T @ low[:, start:]
        m.blocks[i][fold] += product
        start += width


def add_moments(m: StackMoments, other: StackMoments) -> None:
    """``m += other`` in place.

    Both must be about one shift: products could be moved to another (``C + s d^T + d s^T +
    n d d^T``), but the norm statistics would need third moments.

    Raises:
        UsageError: the shifts differ.
    """
    if not torch.equal(m.shift, other.shift):
        raise UsageError(
            "moments about different shifts cannot be merged exactly",
            expected="reducers that were given one shift before the first row",
            fix="create them with the same `shift`",
        )
    mine = [m.n, m.s, m.a, m.v, m.q, *m.blocks]
    theirs = [other.n, other.s, other.a, other.v, other.q, *other.blocks]
    for fold in torch.nonzero(other.n).flatten().tolist():  # untouched folds take no memory
        for to, some in zip(mine, theirs, strict=True):
            to[fold] += some[fold]
