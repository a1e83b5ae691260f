"""Error rates and scores against values computed with the published toolkits' own functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from voxstrata.metrics.dcf import min_dcf
from voxstrata.metrics.eer import eer
from voxstrata.verification.score import as_norm, cosine


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


def test_cosine_mean_subtraction_and_as_norm(golden) -> None:
    first, second = golden["pairs"].T
    mean, cohort = golden["mean_vec"], golden["cohort"]
    np.testing.assert_allclose(cohort.mean(axis=0), mean, atol=1e-6)
    raw = cosine(golden["emb"], first, second)
    centred = cosine(golden["emb"], first, second, mean=mean)
    np.testing.assert_allclose(raw, golden["cos_raw"], atol=2e-6)
    np.testing.assert_allclose(centred, golden["cos_centred"], atol=2e-6)
    normed = as_norm(centred, golden["emb"], cohort, first, second, top=20, mean=mean)
    np.testing.assert_allclose(normed, golden["asnorm_top20"], atol=2e-5)
    other = as_norm(
        centred, golden["emb"], cohort, first, second, top=20, mean=mean, deviation="sample"
    )
    np.testing.assert_allclose(other, normed * np.sqrt(19 / 20), atol=1e-12)


@pytest.mark.parametrize("toolkit", ["wespeaker", "3dspeaker"])
def test_from_embeddings_to_the_error_rate(golden, toolkit: str) -> None:
    first, second = golden["pairs"].T
    target = golden["label"] == 1
    scores = cosine(golden["emb"], first, second, mean=golden["mean_vec"])
    found = eer(scores[target], scores[~target])
    assert found == pytest.approx(float(golden[f"cos_eer_{toolkit}"]), abs=1e-12)
