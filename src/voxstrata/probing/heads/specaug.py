"""Masks and time warping on the weighted sum, in training of ASR and SF (SpecAugment).

Park et al., Interspeech 2019; settings as published for SUPERB (s3prl at ec8064b,
``downstream/asr/config.yaml``, ``downstream/specaug.py``). Widths and places follow the law of
:mod:`voxstrata.augmentation.spec`, which works on arrays that need no gradient; here the gradient
must go on to the layer weights.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional

from voxstrata.config import Config
from voxstrata.errors import ShapeError

Count = Annotated[int, Field(ge=0)]


class FeatureMasks(Config):
    """How much is masked.

    Attributes:
        warp: the point that is moved, and where to, are at most this many frames apart; 0 for none.
        feature_masks: masks on the feature axis.
        widest_feature: largest width of one, numbers of a frame; widths are uniform from 0.
        time_masks: masks on the time axis.
        widest_time: largest width of one, frames.
    """

    warp: Count = 5
    feature_masks: Count = 4
    widest_feature: Count = 49
    time_masks: Count = 2
    widest_time: Count = 39


def spec_augment(
    z: torch.Tensor,
    lengths: torch.Tensor,
    generator: torch.Generator,
    masks: FeatureMasks | None = None,
) -> torch.Tensor:
    """Warp each recording in time, then set stretches of features and of frames to 0.

    Args:
        z: frames [B, T, D]; not changed in place.
        lengths: int64 [B], frames of each recording. Only these are warped, and time masks lie
            among them.
        generator: on the CPU; all random numbers come from it.
        masks: settings; the published ones by default.

    Returns:
        [B, T, D].

    Raises:
        ShapeError: not frames with a length each.
    """
    masks = masks or FeatureMasks()
    if z.ndim != 3 or lengths.shape != z.shape[:1]:
        raise ShapeError(
            "frames to mask do not fit",
            got=f"frames {list(z.shape)}, lengths {list(lengths.shape)}",
            expected="frames [B, T, D], lengths [B]",
        )
    there = lengths.cpu()
    if masks.warp:
        rows = [
            _warped(frames, length, masks.warp, generator)
            for frames, length in zip(z, there.tolist(), strict=True)
        ]
        z = torch.stack(rows)
    wide = torch.full_like(there, z.shape[2])
    features = _masked(wide, z.shape[2], masks.feature_masks, masks.widest_feature, generator)
    frames = _masked(there, z.shape[1], masks.time_masks, masks.widest_time, generator)
    gone = features[:, None, :] | frames[:, :, None]
    return z.masked_fill(gone.to(z.device), 0)


def _warped(
    frames: torch.Tensor, length: int, window: int, generator: torch.Generator
) -> torch.Tensor:
    """Two parts of a recording stretched and squeezed so that their border moves."""
    if length <= 2 * window:
        return frames
    border = window + _below(length - 2 * window, generator)
    moved = border - window + 1 + _below(2 * window, generator)
    parts = (frames[:border], moved), (frames[border:length], length - moved)
    made = [
        functional.interpolate(
            part[None, None], (size, part.shape[1]), mode="bicubic", align_corners=False
        )[0, 0]
        for part, size in parts
    ]
    return torch.cat([*made, frames[length:]])


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (1,), generator=generator))


def _masked(
    sizes: torch.Tensor, width: int, count: int, widest: int, generator: torch.Generator
) -> torch.Tensor:
    """What masks cover, bool [B, width]; never all of a recording's size by one of them."""
    shape = (len(sizes), count)
    limits = (sizes - 1).clamp(0, widest)[:, None]
    spans = _uniform(limits.expand(shape), generator)
    starts = _uniform(sizes[:, None] - spans, generator)
    at = torch.arange(width)
    inside = (at >= starts[..., None]) & (at < (starts + spans)[..., None])
    return inside.any(1)


def _uniform(largest: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Integers from 0 to ``largest``, each as likely."""
    share = torch.rand(largest.shape, dtype=torch.float64, generator=generator)
    return (share * (largest + 1)).floor().to(torch.int64)
