"""What heads that write symbols share: the CTC loss, and its greedy reading.

Connectionist temporal classification: Graves et al., ICML 2006. Class 0 is the blank, as in the
vocabularies of PR, ASR and SF.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.head import valid

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


def greedy_symbols(logits: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    """Best symbol of every frame, repeats merged, blanks dropped; a list for each recording.

    Args:
        logits: [B, T, V].
        lengths: int64 [B].
    """
    path = logits.argmax(2).masked_fill(~valid(lengths, logits.shape[1]), BLANK)
    kept = path != BLANK
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    return [row[keep].tolist() for row, keep in zip(path, kept, strict=True)]
