"""Front ends against features computed with the public implementations.

Tolerances are absolute, in the unit of the features: natural logarithms 2e-4 (values to 22; the
references are float32 and 16-bit waves with 50 ms of digital silence put some bins at the floor),
decibels 1e-3 (values to 80), normalised MelHuBERT features 5e-5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from voxstrata.frontend import front_end
from voxstrata.frontend.presets import FRONT_ENDS
from voxstrata.frontend.stft import mel_filters, mel_power, preemphasise


def gold(shared: Path, name: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    found = load_file(shared / "golden" / "ecapa" / name / "io.safetensors")
    return found, found["wav_int16"].float()[None] / 32768


@pytest.mark.parametrize(
    ("name", "folder", "normalised", "tolerance"),
    [
        ("wespeaker", "wespeaker_glob_embbn", "wav_fbank_cmn", 2e-4),
        ("3dspeaker", "3dspeaker", "wav_fbank_cmn", 2e-4),
        ("speechbrain", "speechbrain", "wav_fbank_norm", 1e-3),
    ],
)
def test_fbank(shared: Path, name: str, folder: str, normalised: str, tolerance: float) -> None:
    io, wave = gold(shared, folder)
    assert (front_end(name, normalise="none")(wave)[0] - io["wav_fbank"]).abs().max() < tolerance
    assert (front_end(name)(wave)[0] - io[normalised]).abs().max() < tolerance


def test_taoruijie_step_by_step(shared: Path) -> None:
    io, wave = gold(shared, "taoruijie")
    config = FRONT_ENDS.get("taoruijie")
    assert (preemphasise(wave, 0.97) - io["preemph"]).abs().max() < 1e-7
    power = mel_power(wave, config).transpose(1, 2)
    assert (power - io["melspec"]).abs().max() < 1e-5 * io["melspec"].abs().max()
    assert (front_end("taoruijie")(wave).transpose(1, 2) - io["logmel_cmn"]).abs().max() < 2e-4


def test_taoruijie_filters_are_those_in_its_checkpoint(shared: Path) -> None:
    state = load_file(shared / "golden" / "ecapa" / "taoruijie" / "state_dict.safetensors")
    ours = mel_filters(FRONT_ENDS.get("taoruijie"))
    assert (ours - state["torchfbank.1.mel_scale.fb"]).abs().max() < 1e-5


@pytest.mark.parametrize("period", [10, 20])
def test_melhubert(shared: Path, period: int) -> None:
    path = shared / "golden" / "neurons" / "melhubert_pruning" / "frontend.npz"
    with np.load(path) as data:
        wave = torch.from_numpy(data["wav_int16"]).float()[None] / 32768
        found = front_end(f"melhubert-{period}ms")(wave)[0].numpy()
        assert np.abs(found - data[f"fbank_{period}ms"]).max() < 5e-5
        config = FRONT_ENDS.get(f"melhubert-{period}ms")
        assert np.allclose([config.mean, config.std], data["mean_std"], rtol=1e-12)
