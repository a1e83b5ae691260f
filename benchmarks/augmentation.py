"""Cost of each augmentation on one crop.

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py [--seconds 3] [--repeats 200]

Milliseconds a crop, sounds made by voxstrata, after the sounds and rooms in use were made once
(what making them takes is the last column: once a process).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from voxstrata.augmentation.augmenter import Augmenter
from voxstrata.augmentation.config import AugmentConfig, SpecAugmentConfig
from voxstrata.augmentation.registry import STEPS
from voxstrata.augmentation.spec import spec_augment
from voxstrata.augmentation.speed import speed
from voxstrata.types import SAMPLE_RATE


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    wave = np.random.default_rng(0).standard_normal(round(options.seconds * SAMPLE_RATE))
    wave = (0.1 * wave).astype(np.float32)
    features = np.random.default_rng(0).standard_normal((300, 80)).astype(np.float32)

    print(f"{'':24s} {'median ms':>9s} {'95 % ms':>9s} {'warm-up s':>10s}")
    kinds = {k: AugmentConfig(probability=1, kinds={k: 1}) for k in (*STEPS.names(), "room+noise")}
    kinds |= {f"preset {name}": AugmentConfig.preset(name) for name in AugmentConfig.presets}
    for seed, (name, config) in enumerate(kinds.items()):
        augmenter = Augmenter(config.model_copy(update={"seed": seed}))
        _row(name, lambda rng, one=augmenter: one(wave, rng), options.repeats)
    _row("speed 0.9", lambda _rng: speed(wave, 0.9), options.repeats)
    _row("spec_augment", lambda r: spec_augment(features, SpecAugmentConfig(), r), options.repeats)


def _row(name: str, work, repeats: int) -> None:
    rng = np.random.default_rng(1)
    begun = time.perf_counter()
    for _ in range(3 * repeats):
        work(rng)
    warm = time.perf_counter() - begun
    runs = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work(rng)
        runs.append(time.perf_counter() - begun)
    warm = max(0.0, warm - 3 * float(np.sum(runs)))
    print(
        f"{name:24s} {1e3 * np.median(runs):9.2f} {1e3 * np.percentile(runs, 95):9.2f} {warm:10.2f}"
    )


if __name__ == "__main__":
    main()
