"""Which frames are hidden from the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_mask(
    frames: int,
    rng: np.random.Generator,
    *,
    probability: float = 0.7,
    length: int = 5,
    min_spans: int = 2,
) -> NDArray[np.bool_]:
    """Spans of fixed length, their starts drawn without replacement; spans may overlap.

    ``int(probability * T / length + u)`` spans, u uniform in [0, 1), and at least ``min_spans``;
    starts are uniform in [0, T - length). The static masks of wav2vec 2.0, HuBERT and MelHuBERT
    (arXiv 2006.11477, 2106.07447, 2211.09944), drawn in the same order of random numbers. In a
    recording that has no room for so many starts, the spans begin in its first frames and are cut
    at its end.

    Args:
        frames: T, at least 1.
        rng: generator (anything with ``random`` and ``choice``).
        probability: share of frames if spans did not overlap.
        length: frames of a span.
        min_spans: fewest spans.

    Returns:
        true where a frame is hidden, [T].
    """
    count = max(min_spans, int(probability * frames / length + rng.random()))
    places = frames - length
    if places <= count:
        places = count + 1
    starts = rng.choice(places, count, replace=False)
    mask = np.zeros(frames, dtype=np.bool_)
    covered = (starts[:, None] + np.arange(length)).ravel()
    mask[covered[covered < frames]] = True
    return mask
