"""Frame heads on the same batch, side by side: frames are read and multiplied once.

The head is Linear(D, 256), Linear(256, V) a frame, without anything between, so its logits are
those of the product of the two maps; gradients reach both factors. A frame then costs D V products
instead of D 256 + 256 V (a quarter for D = 768, V = 74), and all heads on a layer are one product.
Where frames are, gradients are written out: what is left to autograd are the small maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from voxstrata.numerics.ctc import ctc_gradient
from voxstrata.numerics.scratch import Scratch
from voxstrata.probing.linear.heads import Heads
from voxstrata.probing.linear.probes import Plan, Probe


class FrameHeads(Heads):
    """K heads that read the same layers; see :class:`voxstrata.probing.linear.heads.Heads`."""

    def forward(
        self, rows: Sequence[torch.Tensor], scratch: Scratch, out: torch.Tensor
    ) -> list[torch.Tensor]:
        """Write the logits of every head, side by side.

        Args:
            rows: frames of each layer read, [F, D_l].
            scratch: where large arrays lie.
            out: gets them, [F, K V].

        Returns:
            what :meth:`backward` needs.
        """
        p = self.parameters
        both = p[0] @ p[2]
        bias = p[1] @ p[2] + p[3]
        if self.summed:
            share = p[4].softmax(dim=1)
        if self.summed and not self.mapped:
            made = [share, both, bias]
            self._from_sums(rows, made, scratch, out)
            return made
        if self.mapped:
            shares = share[..., None, None].unbind(1)
            whole = [s * (p[5 + 2 * i] @ both) for i, s in enumerate(shares)]
            for i, s in enumerate(shares):
                bias = bias + s * (p[6 + 2 * i] @ both)
        else:
            whole = [both]
        made = [m.transpose(0, 1).flatten(1) for m in whole] + [bias.flatten()]
        with torch.no_grad():
            torch.addmm(made[-1], rows[0], made[0], out=out)
            for x, m in zip(rows[1:], made[1:-1], strict=True):
                out.addmm_(x, m)
        return made

    def backward(
        self,
        rows: Sequence[torch.Tensor],
        made: Sequence[torch.Tensor],
        scratch: Scratch,
        slopes: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Gradients by :attr:`parameters`.

        Args:
            rows, scratch: as of :meth:`forward`, which was called last.
            made: what it returned.
            slopes: gradient by its output, [F, K V].
        """
        if self.summed and not self.mapped:
            above = self._of_sums(rows, made, scratch, slopes)
        else:
            above = [x.t() @ slopes for x in rows] + [slopes.sum(0)]
        return torch.autograd.grad(list(made), self.parameters, above)

    def _from_sums(
        self,
        rows: Sequence[torch.Tensor],
        made: Sequence[torch.Tensor],
        scratch: Scratch,
        out: torch.Tensor,
    ) -> None:
        _, both, bias = (x.detach() for x in made)
        z, _ = self._sums(rows, made, scratch)
        classes = both.shape[2]
        for k, mine in enumerate(z):
            torch.addmm(bias[k], mine, both[k], out=out[:, k * classes : (k + 1) * classes])

    def _of_sums(
        self,
        rows: Sequence[torch.Tensor],
        made: Sequence[torch.Tensor],
        scratch: Scratch,
        slopes: torch.Tensor,
    ) -> list[torch.Tensor]:
        _, both, bias = (x.detach() for x in made)
        z, stacked = self._sums(rows, made, scratch)
        classes, by_map = both.shape[2], torch.empty_like(both)
        for k, mine in enumerate(z):
            slope = slopes[:, k * classes : (k + 1) * classes]
            torch.mm(mine.t(), slope, out=by_map[k])
            torch.mm(slope, both[k].t(), out=mine)
        by_share = z.flatten(1) @ stacked.flatten(1).t()
        return [by_share, by_map, slopes.sum(0).view_as(bias)]

    def _sums(
        self, rows: Sequence[torch.Tensor], made: Sequence[torch.Tensor], scratch: Scratch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weighted sums of layers [K, F, D], and the layers [L, F, D]."""
        share = made[0].detach()
        shape = rows[0].shape
        stacked = _together(rows, scratch)
        z = scratch.take("sums", (len(share), *shape), share)
        torch.mm(share, stacked.flatten(1), out=z.flatten(1))
        return z, stacked


def _together(rows: Sequence[torch.Tensor], scratch: Scratch) -> torch.Tensor:
    """Arrays as one, [L, F, D]; those that follow each other in memory are not copied."""
    first = rows[0]
    apart = first.numel() * first.element_size()
    if all(
        x.is_contiguous() and x.data_ptr() == first.data_ptr() + i * apart
        for i, x in enumerate(rows)
    ):
        return first.as_strided((len(rows), *first.shape), (first.numel(), *first.stride()))
    out = scratch.take("stacked", (len(rows), *first.shape), first)
    return torch.stack(list(rows), out=out)


class Bundle:
    """Heads that read the same recordings in the same batches, each some layers of its own.

    Args:
        probes: the heads, K.
        widths: of all layers of the model.
        classes: V.
        plan: the protocol's constants.
        dtype: of everything.

    Attributes:
        groups: layers read, heads that read them, and their columns among all heads.
        order: position in ``probes`` of each head.
        heads: for each probe its group and place there.
        scratch: where large arrays lie.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        widths: Sequence[int],
        classes: int,
        plan: Plan,
        dtype: torch.dtype,
    ) -> None:
        self.classes, self.clip, self.scratch = classes, plan.clip, Scratch()
        self._like = torch.empty(0, dtype=dtype)
        alike: dict[tuple[int, ...], list[int]] = {}
        for i, probe in enumerate(probes):
            alike.setdefault(probe.layers, []).append(i)
        self.order = [i for mine in alike.values() for i in mine]
        self.groups: list[tuple[tuple[int, ...], FrameHeads, slice]] = []
        self.heads: dict[int, tuple[int, int]] = {}
        begin = 0
        for layers, mine in alike.items():
            read = [widths[i] for i in layers]
            heads = FrameHeads([probes[i] for i in mine], read, classes, plan, dtype)
            end = begin + len(mine) * classes
            self.heads |= {i: (len(self.groups), k) for k, i in enumerate(mine)}
            self.groups.append((layers, heads, slice(begin, end)))
            begin = end

    def logits(self, rows: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """Logits [T, B, K, V] of frames [T, B, D_l] by layer, heads as in :attr:`order`; they are
        overwritten by the next call."""
        with torch.no_grad():
            return self._forward(rows)[0]

    def step(
        self,
        rows: Mapping[int, torch.Tensor],
        lengths: torch.Tensor,
        symbols: torch.Tensor,
        counts: torch.Tensor,
    ) -> None:
        """One step of every head.

        Args:
            rows: frames [T, B, D_l] by layer.
            lengths: int64 [B].
            symbols: targets, int64 [B, K, S], heads as in :attr:`order`, padded at the end.
            counts: how many each has, int64 [B, K].
        """
        logits, made = self._forward(rows)
        # Each head's loss is the mean over recordings of nats a symbol.
        weights = 1 / (counts.clamp_min(1) * len(lengths)).to(logits.dtype)
        _, slopes = ctc_gradient(
            logits.flatten(1, 2),
            lengths.repeat_interleave(counts.shape[1]),
            symbols.flatten(0, 1),
            counts.flatten(),
            weights.flatten(),
            self.scratch,
        )
        flat = slopes.view(-1, len(self.order) * self.classes)
        for (layers, heads, columns), one in zip(self.groups, made, strict=True):
            mine = [rows[i].flatten(0, 1) for i in layers]
            heads.step(heads.backward(mine, one, self.scratch, flat[:, columns]), self.clip)

    def _forward(
        self, rows: Mapping[int, torch.Tensor]
    ) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
        frames, batch = next(iter(rows.values())).shape[:2]
        shape = frames * batch, len(self.order) * self.classes
        out = self.scratch.take("logits", shape, self._like)
        made = [
            heads.forward([rows[i].flatten(0, 1) for i in layers], self.scratch, out[:, columns])
            for layers, heads, columns in self.groups
        ]
        return out.view(frames, batch, len(self.order), self.classes), made
