"""Connectionist temporal classification with its gradient written out, for many rows at once.

Graves, Fernandez, Gomez and Schmidhuber, ICML 2006. The gradient of a row's loss by the logits of
a frame is their softmax less the posterior of each class in that frame (equation 16 of the paper),
so nothing has to be kept of the recursions but the posteriors of the row's own symbols; that of the
blank is what these leave. Each frame is one step over all rows, in logarithms.

States of a row of S symbols are S + 1 blanks, b_0 to b_S, and the symbols l_0 to l_{S-1} between
them. With e_i = b_i + l_{i-1} and e_0 = b_0 (chances of either) a frame turns

    b_i into e_i p(blank),    l_i into (l_i + e_i) p(l_i),

where b_i stands in for e_i if symbols i - 1 and i are equal; the way back is its mirror image. A
padded frame is a blank with certainty, so every row ends in b_S after the last frame.

``torch.nn.functional.ctc_loss`` takes row by row, and sums its gradient class by class in
logarithms: on a CPU that is several times as slow (``benchmarks/probing_frames.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from voxstrata.numerics.scratch import Scratch

NEVER = -1e30
"""Logarithm of a chance that is none; finite, so that differences of two are numbers."""

EVERY = 16
"""Frames after which the largest number of a row is taken out: small numbers are kept exactly."""

Recursion = Callable[..., Any]

_COMPILING = Lock()


def ctc(
    logits: torch.Tensor, lengths: torch.Tensor, symbols: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Negative log likelihood of each row's symbols, nats, [N]; differentiable once.

    A row with fewer frames than its symbols need counts as 0 and has no gradient.

    Args:
        logits: [T, N, V], float32 or float64; class 0 is the blank. What lies beyond a row's
            length changes nothing, as long as it is finite.
        lengths: int64 [N], frames of each row.
        symbols: int64 [N, S], each from 1 to V - 1, padded at the end with any class.
        counts: int64 [N], symbols of each row.
    """
    found: torch.Tensor = _Ctc.apply(logits, lengths, symbols, counts)  # type: ignore[no-untyped-call]
    return found


def ctc_gradient(
    logits: torch.Tensor,
    lengths: torch.Tensor,
    symbols: torch.Tensor,
    counts: torch.Tensor,
    weights: torch.Tensor,
    scratch: Scratch,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of rows, and the gradient of their weighted sum.

    Args:
        logits, lengths, symbols, counts: as of :func:`ctc`.
        weights: of the rows, [N].
        scratch: where large arrays lie.

    Returns:
        losses [N], and the gradient [T, N, V], which lies in ``scratch`` until the next call.
    """
    frames, rows, _ = logits.shape
    scores = scratch.take("scores", logits.shape, logits)
    torch.log_softmax(logits, 2, out=scores)
    padded = torch.arange(frames, device=logits.device)[:, None] >= lengths
    same = _repeats(symbols, counts)
    possible = lengths >= counts + same.sum(1)
    # Rows come last: the next state of all rows is then the next stretch of memory.
    places = symbols.expand(frames, *symbols.shape)
    gathered = scratch.take("gathered", places.shape, logits)
    torch.gather(scores, 2, places, out=gathered)
    shape = frames, symbols.shape[1], rows
    own = scratch.take("own", shape, logits).copy_(gathered.transpose(1, 2))
    own.masked_fill_(padded[:, None], NEVER)
    blank = scores[:, :, 0].masked_fill(padded, 0.0)
    ways = scratch.take("ways", shape, logits)
    same = same.t().contiguous()
    before, total = _without_lock(_ahead)(own, blank, same, counts, ways)
    after = _without_lock(_back)(own, blank, same, counts, ways)
    ways += (before + after - total.where(possible, 0)).to(own.dtype)[:, None]
    posteriors = _exp(ways)
    gradient = _exp(scores)
    gradient[:, :, 0] -= 1 - posteriors.sum(1)
    gathered.copy_(posteriors.transpose(1, 2))
    gradient.scatter_add_(2, places, gathered.neg_())
    gradient *= torch.where(possible & ~padded, weights, 0)[..., None]
    return (-total).where(possible, 0).to(own.dtype), gradient


class _Ctc(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        lengths: torch.Tensor,
        symbols: torch.Tensor,
        counts: torch.Tensor,
    ) -> torch.Tensor:
        ones = logits.new_ones(logits.shape[1])
        losses, gradient = ctc_gradient(logits, lengths, symbols, counts, ones, Scratch())
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.saved_tensors[0] * above[:, None], None, None, None


def _repeats(symbols: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Whether each symbol is the one before it, bool [N, S]."""
    same = torch.zeros_like(symbols, dtype=torch.bool)
    same[:, 1:] = symbols[:, 1:] == symbols[:, :-1]
    return same & (torch.arange(symbols.shape[1], device=symbols.device) < counts[:, None])


def _exp(x: torch.Tensor) -> torch.Tensor:
    """Exponential in place, of what is no subnormal number: exp is ten times as slow on those."""
    floor = -80.0 if x.dtype == torch.float32 else -700.0
    return x.clamp_min_(floor).exp_()


def _ahead(
    own: torch.Tensor,
    blank: torch.Tensor,
    same: torch.Tensor,
    counts: torch.Tensor,
    ways: torch.Tensor,
    never: float = NEVER,
    every: int = EVERY,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Chances of all beginnings of a row that end with one of its symbols in a frame.

    Args:
        own: log-probability of each of a row's symbols [T, S, N].
        blank: of the blank [T, N].
        same: whether a symbol is the one before it, bool [S, N].
        counts: int64 [N].
        ways: gets their logarithms [T, S, N], less what was taken out of each frame.
        never, every: the constants; TorchScript knows no others of this file.

    Returns:
        what was taken out, float64 [T, N], and the logarithm of the chance of each row's symbols,
        float64 [N].
    """
    frames, size, rows = own.shape
    repeats = bool(same.any())
    blanks = torch.full([size + 1, rows], never, dtype=own.dtype, device=own.device)
    labels = torch.full([size, rows], never, dtype=own.dtype, device=own.device)
    blanks[0] = 0.0
    either, joined = torch.empty_like(blanks), torch.empty_like(labels)
    taken = torch.zeros([frames, rows], dtype=torch.float64, device=own.device)
    whole = torch.zeros([rows], dtype=torch.float64, device=own.device)
    for t in range(frames):
        if t > 0 and t % every == 0:
            largest = torch.cat([blanks, labels]).amax(0)
            blanks, labels, whole = blanks - largest, labels - largest, whole + largest
        taken[t] = whole
        either[0] = blanks[0]
        torch.logaddexp(blanks[1:], labels, out=either[1:])
        into = either[:-1]
        if repeats:
            into = torch.where(same, blanks[:-1], into)
        torch.logaddexp(labels, into, out=joined)
        torch.add(either, blank[t], out=blanks)
        labels = torch.add(joined, own[t], out=ways[t])
    ends = torch.cat([blanks[:1], torch.logaddexp(blanks[1:], labels)])
    return taken, ends.gather(0, counts[None])[0].double() + whole


def _back(
    own: torch.Tensor,
    blank: torch.Tensor,
    same: torch.Tensor,
    counts: torch.Tensor,
    ways: torch.Tensor,
    never: float = NEVER,
    every: int = EVERY,
) -> torch.Tensor:
    """Add the chances of all ends of a row that come after one of its symbols in a frame.

    Args:
        own, blank, same, counts: as of :func:`_ahead`.
        ways: what these are added to, in place, [T, S, N].
        never, every: the constants.

    Returns:
        what was taken out of each frame, float64 [T, N].
    """
    frames, size, rows = own.shape
    repeats = bool(same.any())
    following = torch.zeros_like(same)
    following[:-1] = same[1:]
    place = torch.arange(size + 1, device=own.device)[:, None]
    blanks = torch.full([size + 1, rows], never, dtype=own.dtype, device=own.device)
    blanks.masked_fill_(place == counts, 0.0)
    labels = torch.full([size, rows], never, dtype=own.dtype, device=own.device)
    labels.masked_fill_(place[1:] == counts, 0.0)
    either = torch.empty_like(blanks)
    taken = torch.zeros([frames, rows], dtype=torch.float64, device=own.device)
    whole = torch.zeros([rows], dtype=torch.float64, device=own.device)
    for t in range(frames - 1, -1, -1):
        taken[t] = whole
        ways[t] += labels
        labels += own[t]
        blanks += blank[t]
        torch.logaddexp(blanks[:-1], labels, out=either[:-1])
        either[-1] = blanks[-1]
        onto = either[1:]
        if repeats:
            onto = torch.where(following, blanks[1:], onto)
        torch.logaddexp(labels, onto, out=labels)
        blanks, either = either, blanks
        if t % every == 0:
            largest = torch.cat([blanks, labels]).amax(0)
            blanks -= largest
            labels -= largest
            whole = whole + largest
    return taken


@cache
def _without_lock(function: Recursion) -> Recursion:
    """The same function as TorchScript, which runs without Python's lock.

    Its steps are so many and so small that threads which each run one in Python take turns, and
    two of them do no more work than one (``benchmarks/probing_frames.py``). TorchScript is not
    developed any further; where it is gone the function runs as it is, to the same numbers.
    """
    try:
        with _COMPILING, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found: Recursion = torch.jit.script(function)
    except (AttributeError, RuntimeError):
        return function
    return found
