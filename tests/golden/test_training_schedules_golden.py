"""Learning rates, margins and moving averages against the schedulers of the published recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from voxstrata.training import schedules
from voxstrata.training.schedules import learning_rate, ramp
from voxstrata.training.settings import ScheduleConfig


@pytest.fixture(scope="module")
def supervised(shared: Path) -> dict[str, np.ndarray]:
    return load_file(shared / "golden" / "aam" / "schedules.safetensors")


@pytest.fixture(scope="module")
def dino(shared: Path) -> dict[str, np.ndarray]:
    return load_file(shared / "golden" / "dino" / "schedules" / "io.safetensors")


def _close(found: list[float], expected: np.ndarray, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-15)


GUARD = 2e-7
"""wespeaker and 3D-Speaker take ln(1e-3 / (1 + 1e-6)) for the margin, guarding a division by 1."""


def test_wespeaker_learning_rate(supervised: dict[str, np.ndarray]) -> None:
    config = ScheduleConfig(kind="exponential", lr=0.1, final=5e-5, warmup_epochs=6, scale_to=64)
    rate = learning_rate(config, steps=1500, steps_per_epoch=10, batch_total=256)
    _close([rate(s) for s in range(1500)], supervised["wespeaker_lr"])


def test_3dspeaker_learning_rate(supervised: dict[str, np.ndarray]) -> None:
    found = [schedules.cosine(s, 700, 50, 0.2, 5e-5, start=5e-5, repeat=False) for s in range(700)]
    _close(found, supervised["3dspeaker_lr"])


def test_speechbrain_learning_rate(supervised: dict[str, np.ndarray]) -> None:
    # SpeechBrain changes the rate after a batch: its first value is that of our step 1.
    config = ScheduleConfig(kind="cyclic", lr=1e-3, final=1e-8, half_cycle=65)
    rate = learning_rate(config, steps=301, steps_per_epoch=10, batch_total=1)
    _close([rate(s) for s in range(1, 301)], supervised["speechbrain_cyclic_lr_step65"])


def test_wespeaker_margin_counts_epochs_from_one(supervised: dict[str, np.ndarray]) -> None:
    found = [ramp(s, 0.0, 0.2, 200, "exponential", begin=190) for s in range(450)]
    _close(found, supervised["wespeaker_margin"], GUARD)


def test_3dspeaker_margin(supervised: dict[str, np.ndarray]) -> None:
    found = [ramp(s, 0.0, 0.3, 300, "exponential", begin=200) for s in range(600)]
    _close(found, supervised["3dspeaker_margin"], GUARD)


def test_dino_learning_rates(dino: dict[str, np.ndarray]) -> None:
    for name, config in {
        "lr": ScheduleConfig(kind="cosine", lr=0.2, final=5e-5, warmup_epochs=2, scale_to=256),
        "lr_rdino": ScheduleConfig(
            kind="cosine", lr=0.4 * 208 / 256, final=1e-5, warmup_epochs=2, scale_final=False
        ),
    }.items():
        rate = learning_rate(config, steps=60, steps_per_epoch=10, batch_total=64)
        _close([rate(s) for s in range(60)], dino[name])


def test_dino_momentum_and_decay(dino: dict[str, np.ndarray]) -> None:
    _close([ramp(s, 0.996, 1.0, 60, "cosine") for s in range(60)], dino["momentum"])
    _close([schedules.cosine(s, 60, 0, 5e-5, 5e-5) for s in range(60)], dino["wd"])


def test_rdino_regulariser_weight(dino: dict[str, np.ndarray]) -> None:
    _close([ramp(e, 0.05, 0.2, 9) for e in range(70)], dino["rdino_lambda"])
