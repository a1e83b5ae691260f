"""What every head is: frames of the weighted sum in, outputs and a loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn

from voxstrata.errors import ShapeError, UsageError


class Head(nn.Module, ABC):
    """A head on frames [B, T, D].

    Padding never reaches what a recording's own frames give: a batch gives what its recordings
    give one at a time.

    Attributes:
        linear_in_means: whether the outputs are a linear function of the mean over a recording's
            frames, so that the head can be trained on means, exactly.
        min_frames: frames below which a recording has no output; the head refuses it.
    """

    linear_in_means: ClassVar[bool] = False
    min_frames: int = 1

    @abstractmethod
    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Outputs.

        Args:
            z: frames [B, T, D]; what lies beyond a length does not matter.
            lengths: int64 [B], frames of each recording.

        Raises:
            ShapeError: shapes do not fit.
            UsageError: a recording is too short.
        """

    @abstractmethod
    def loss(self, outputs: torch.Tensor, lengths: torch.Tensor, targets: Any) -> torch.Tensor:
        """The loss of a batch, a scalar.

        Args:
            outputs: what :meth:`forward` gave.
            lengths: int64 [B], as given to it.
            targets: see the head.
        """

    def at_step(self, step: int) -> None:
        """Say that a step of training begins; random numbers of the head depend on its number."""
        return None

    def _own(self, z: torch.Tensor, lengths: torch.Tensor, width: int) -> torch.Tensor:
        """The frames checked, with zeros for padding: not even a NaN of it may reach a gradient."""
        if z.ndim != 3 or z.shape[2] != width or lengths.shape != z.shape[:1]:
            raise ShapeError(
                "frames do not fit the head",
                got=f"frames {list(z.shape)}, lengths {list(lengths.shape)}",
                expected=f"frames [B, T, {width}], lengths [B]",
            )
        least, most = (int(v) for v in lengths.aminmax()) if len(lengths) else (0, 0)
        if most > z.shape[1]:
            raise ShapeError(
                "a length is larger than there are frames",
                got=most,
                expected=f"at most {z.shape[1]}",
            )
        if least < self.min_frames:
            raise UsageError(
                f"recordings are too short for {type(self).__name__}",
                got=f"{least} frames, {int((lengths < self.min_frames).sum())} recordings of "
                f"{len(lengths)} with fewer than needed",
                expected=f"at least {self.min_frames} frames",
                fix="leave them out (min_frames says how many frames a head needs)",
            )
        return (
            z if least == z.shape[1] else z.masked_fill(~valid(lengths, z.shape[1])[..., None], 0)
        )


def valid(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Which frames are a recording's own: bool [B, T]."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def mean_over_time(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean over each recording's own frames: [B, T, D] to [B, D]."""
    own = x.masked_fill(~valid(lengths, x.shape[1])[..., None], 0)
    return own.sum(1) / lengths[:, None].to(x.dtype)
