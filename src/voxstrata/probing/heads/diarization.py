"""The head of SD: one LSTM layer, a linear layer, and a loss blind to the order of speakers.

Layout (s3prl at ec8064b, ``downstream/diarization``): LSTM(D, 512), one layer in one direction,
Linear(512, 2). Loss: binary cross-entropy, mean over speakers, sum over the frames of a chunk, for
the order of speakers that makes it least (Fujita et al., Interspeech 2019); summed over chunks,
divided by all frames.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.head import Head, valid
from voxstrata.probing.seeded import initial_weights

MOST_SPEAKERS = 4
"""Every order is tried; five speakers would be 120 orders."""


class DiarizationHead(Head):
    """LSTM, linear, permutation-free binary cross-entropy.

    Args:
        width: D.
        speakers: S outputs a frame, at most :data:`MOST_SPEAKERS`.
        hidden: width of the LSTM.
        seed: of the initial weights.

    Raises:
        UsageError: too many speakers, or none.
    """

    def __init__(self, width: int, speakers: int = 2, *, hidden: int = 512, seed: int = 0) -> None:
        super().__init__()
        if not 1 <= speakers <= MOST_SPEAKERS:
            raise UsageError(
                "the diarization head cannot tell so many speakers apart",
                got=speakers,
                expected=f"1 to {MOST_SPEAKERS}",
            )
        self.width, self.speakers = width, speakers
        with initial_weights(seed, "diarization head"):
            self.recurrent = nn.LSTM(width, hidden, batch_first=True)
            self.classify = nn.Linear(hidden, speakers)

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, T, S]; see :meth:`Head.forward`.

        One direction only: padding comes after a chunk's own frames and cannot reach them.
        """
        own = self._own(z, lengths, self.width)
        found: torch.Tensor = self.classify(self.recurrent(own)[0])
        return found

    def loss(
        self, outputs: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Loss of the best order of speakers a chunk, a frame.

        Args:
            outputs: logits [B, T, S].
            lengths: int64 [B].
            targets: 1 where a speaker talks, [B, T, S].

        Raises:
            ShapeError: targets of another shape.
        """
        least, _ = best_order(outputs, lengths, targets)
        return least.sum() / lengths.sum()


def best_order(
    outputs: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each chunk the least loss over all orders of speakers, and that order.

    Args:
        outputs: logits [B, T, S].
        lengths: int64 [B].
        targets: 0 or 1, [B, T, S].

    Returns:
        losses [B]: sum over frames of the mean over speakers; and int64 [B, S]: the target that
        each output stands for (``targets[b][:, order[b]]`` is in the order of the outputs).

    Raises:
        ShapeError: targets of another shape than outputs.
    """
    if targets.shape != outputs.shape:
        raise ShapeError(
            "targets do not fit the outputs",
            got=list(targets.shape),
            expected=list(outputs.shape),
            fix="bring frames to the number of labels first (match_frames)",
        )
    speakers = outputs.shape[2]
    own = valid(lengths, outputs.shape[1])[..., None]
    wanted = targets.to(outputs.dtype).masked_fill(~own, 0)
    logits = outputs.masked_fill(~own, 0)
    # Binary cross-entropy of output i against target j, summed over own frames:
    # y_j softplus(-x_i) + (1 - y_j) softplus(x_i).
    talks = functional.softplus(-logits).transpose(1, 2) @ wanted
    pairs = talks + functional.softplus(logits).transpose(1, 2) @ (own.to(wanted) - wanted)
    orders = torch.tensor(list(itertools.permutations(range(speakers))), device=outputs.device)
    every = pairs[:, torch.arange(speakers, device=outputs.device), orders].mean(2)
    least, which = every.min(1)
    return least, orders[which]


def match_frames(frames: torch.Tensor, count: int) -> torch.Tensor:
    """Frames of a chunk brought to the number of its labels, as published.

    Each is repeated where there are at least 1.5 times as many labels; what is too many is cut off
    the end, and what lacks is the last frame again.

    Args:
        frames: [T, D], T at least 1.
        count: number of labels.

    Raises:
        ShapeError: no frame at all.
    """
    if frames.ndim != 2 or len(frames) == 0:
        raise ShapeError("there are no frames to match", got=list(frames.shape), expected="[T, D]")
    factor = round(count / len(frames))
    if factor > 1:
        frames = frames.repeat_interleave(factor, dim=0)
    if len(frames) < count:
        frames = torch.cat([frames, frames[-1:].expand(count - len(frames), -1)])
    return frames[:count]
