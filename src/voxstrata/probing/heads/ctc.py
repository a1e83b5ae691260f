"""What heads that write symbols share: the CTC loss, and the best class of each frame.

Connectionist temporal classification: Graves et al., ICML 2006. Class 0 is the blank, as in the
vocabularies of PR, ASR and SF.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from voxstrata.errors import ShapeError, UsageError

BLANK = 0


def ctc_loss(
    logits: torch.Tensor, lengths: torch.Tensor, targets: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Mean over recordings of the loss divided by the number of symbols (at least 1).

    A recording with fewer frames than its symbols need (:func:`frames_needed`) counts as 0 and has
    no gradient, as published (``zero_infinity``).

    Args:
        logits: [B, T, V].
        lengths: int64 [B], frames of each recording.
        targets: for each recording its symbols, int64 [N], each from 1 to V - 1.

    Raises:
        ShapeError: not one target a recording.
        UsageError: a symbol is the blank or unknown.
    """
    if len(targets) != len(logits):
        raise ShapeError(
            "not one list of symbols a recording", got=len(targets), expected=len(logits)
        )
    counts = torch.tensor([len(t) for t in targets], device=lengths.device)
    symbols = torch.cat([t.reshape(-1).to(logits.device, torch.int64) for t in targets])
    if len(symbols) and not (int(symbols.min()) > BLANK and int(symbols.max()) < logits.shape[2]):
        raise UsageError(
            "a target is no symbol of the head",
            got=f"symbols from {int(symbols.min())} to {int(symbols.max())}",
            expected=f"from 1 to {logits.shape[2] - 1} ({BLANK} is the blank)",
        )
    scores = logits.log_softmax(2).transpose(0, 1)
    return functional.ctc_loss(scores, symbols, lengths, counts, blank=BLANK, zero_infinity=True)


def frames_needed(target: torch.Tensor) -> int:
    """Frames that CTC needs for a list of symbols: one each, and a blank between equal ones."""
    return len(target) + int((target[1:] == target[:-1]).sum())


def best_paths(logits: torch.Tensor, lengths: torch.Tensor) -> list[NDArray[np.int64]]:
    """The best class of every own frame, int64 [T_i] a recording.

    :func:`voxstrata.metrics.edit.collapse` makes symbols of them.

    Args:
        logits: [B, T, V].
        lengths: int64 [B].
    """
    paths = logits.detach().argmax(2).cpu().numpy()
    return [path[:length] for path, length in zip(paths, lengths.tolist(), strict=True)]
