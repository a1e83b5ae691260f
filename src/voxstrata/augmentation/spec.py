"""Masks on features: SpecAugment (Park et al., Interspeech 2019) without time warping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation.config import SpecAugmentConfig
from voxstrata.errors import ShapeError


def spec_augment(
    features: NDArray[np.float32], config: SpecAugmentConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Mask frames and bins.

    Widths are uniform from 0 to the largest (never all frames or bins), places uniform.

    Args:
        features: [T, F]; not changed in place.
        config: how many masks and how wide.
        rng: for widths and places.

    Returns:
        [T, F], same type.

    Raises:
        ShapeError: not two dimensions.
    """
    if features.ndim != 2:
        raise ShapeError("features to mask are not a matrix", got=features.shape, expected="[T, F]")
    if rng.random() >= config.probability:
        return features
    fill = 0.0
    if config.fill != "zero":
        fill = float(features.mean() if config.fill == "mean" else features.min())
    made = features.copy()
    for axis, count, widest in (
        (0, config.time_masks, config.max_frames),
        (1, config.freq_masks, config.max_bins),
    ):
        size = features.shape[axis]
        for _ in range(count):
            width = int(rng.integers(0, min(widest, size - 1) + 1))
            start = int(rng.integers(0, size - width + 1))
            made[(slice(None),) * axis + (slice(start, start + width),)] = fill
    return made
