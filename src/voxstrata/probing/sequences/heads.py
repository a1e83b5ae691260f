"""K frame heads on the same batch: parameters with a leading axis, frames read and multiplied once.

The head is Linear(D, 256), Linear(256, V) a frame, without anything between, so its logits are
those of the product of the two maps; gradients reach both factors. A frame then costs D V products
instead of D 256 + 256 V (a quarter for D = 768, V = 74), and all heads of a batch are one product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from voxstrata.probing.heads.ctc import BLANK
from voxstrata.probing.linear.heads import Heads


class FrameHeads(Heads):
    """Heads on frames; see :class:`voxstrata.probing.linear.heads.Heads`."""

    def on_frames(self, layers: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits of every head.

        Args:
            layers: for each layer read, frames [B, T, D_l], the same for all heads.

        Returns:
            [K, B, T, V].
        """
        p = self.parameters
        heads, classes = p[3].shape[0], p[3].shape[2]
        shape = layers[0].shape[:2]
        flat = [x.flatten(0, 1) for x in layers]
        both, bias = p[0] @ p[2], p[1] @ p[2] + p[3]
        if not self.summed:
            found = _at_once(flat[0], both)
        elif self.mapped:
            share = p[4].softmax(dim=1)
            maps = [share[:, i, None, None] * (p[5 + 2 * i] @ both) for i in range(len(flat))]
            found = _at_once(torch.cat(flat, dim=1), torch.cat(maps, dim=1))
            for i in range(len(flat)):
                bias = bias + share[:, i, None, None] * (p[6 + 2 * i] @ both)
        else:
            z = torch.tensordot(p[4].softmax(dim=1), torch.stack(flat), dims=1)
            found = z @ both
        return (found + bias).view(heads, *shape, classes)


def _at_once(x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """[F, D] through K maps [K, D, V] in one product: [K, F, V]."""
    heads, width, classes = maps.shape
    joined = x @ maps.transpose(0, 1).reshape(width, heads * classes)
    return joined.view(len(x), heads, classes).transpose(0, 1)


def ctc_losses(
    logits: torch.Tensor, lengths: torch.Tensor, targets: Sequence[torch.Tensor]
) -> torch.Tensor:
    """CTC of each head, [K]: as :func:`voxstrata.probing.heads.ctc.ctc_loss` of it alone.

    Args:
        logits: [K, B, T, V].
        lengths: int64 [B].
        targets: B sequences of symbols.
    """
    heads, batch, frames, classes = logits.shape
    scores = logits.log_softmax(3).permute(2, 0, 1, 3).reshape(frames, heads * batch, classes)
    counts = torch.tensor([len(t) for t in targets])
    each = torch.nn.functional.ctc_loss(
        scores,
        torch.cat(list(targets)).repeat(heads),
        lengths.repeat(heads),
        counts.repeat(heads),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return (each.view(heads, batch) / counts.clamp_min(1)).mean(dim=1)
