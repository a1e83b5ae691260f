"""Error rates and scores against values computed with the published toolkits' own functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from voxstrata.metrics.dcf import min_dcf
from voxstrata.metrics.eer import eer


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    return load_file(shared / "golden" / "scoring" / "io.safetensors")


def _split(golden: dict[str, np.ndarray], system: str) -> tuple[np.ndarray, np.ndarray]:
    name = {"cos": "cos_centred", "asnorm": "asnorm_top20"}[system]
    target = golden["label"] == 1
    return golden[name][target], golden[name][~target]


@pytest.mark.parametrize("system", ["cos", "asnorm"])
@pytest.mark.parametrize(
    ("definition", "toolkit"),
    [
        ("interpolated", "wespeaker"),
        ("interpolated", "3dspeaker"),
        ("max", "taoruijie"),
        ("mean", "speechbrain"),
    ],
)
def test_equal_error_rates(golden, system, definition, toolkit) -> None:
    found = eer(*_split(golden, system), definition)
    expected = float(golden[f"{system}_eer_{toolkit}"])
    # SpeechBrain counts in float32.
    assert found == pytest.approx(expected, abs=1e-8 if toolkit == "speechbrain" else 1e-12)


@pytest.mark.parametrize("system", ["cos", "asnorm"])
@pytest.mark.parametrize(
    ("name", "p", "normalise"),
    [
        ("0.01_wespeaker", 0.01, True),
        ("0.01_3dspeaker", 0.01, True),
        ("0.05_3dspeaker", 0.05, True),
        ("0.05_taoruijie", 0.05, True),
        ("0.01_speechbrain_unnormalised", 0.01, False),
    ],
)
def test_detection_costs(golden, system, name, p, normalise) -> None:
    found = min_dcf(*_split(golden, system), p, normalise=normalise)
    expected = float(golden[f"{system}_mindcf_{name}"])
    assert found == pytest.approx(expected, abs=1e-8)
