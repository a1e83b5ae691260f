"""The i-vector family: layers, batches, twins, precision, damaged folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ivectors_made as made
from voxstrata import load_model
from voxstrata.errors import AudioError, CheckpointError, ConfigError
from voxstrata.frontend import front_end
from voxstrata.frontend.cmvn import sliding_cmvn
from voxstrata.frontend.vad import log_energy, speech_frames
from voxstrata.models.card import write_model
from voxstrata.models.ivector.network import IvectorNetwork
from voxstrata.models.ivector.options import IvectorOptions
from voxstrata.numerics.mixture import Mixture
from voxstrata.numerics.variability import Statistics
from voxstrata.numerics.variability_fit import random_loading

C, D, R = 4, 60, 3


def _network(covariance: str = "diagonal", select: int | None = None) -> IvectorNetwork:
    options = IvectorOptions(
        gaussians=C, width=D, rank=R, covariance=covariance, select=select,  # type: ignore[arg-type]
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    means = 5 * torch.randn(C, D, generator=random, dtype=torch.float64)
    spread = 20 + 30 * torch.rand(C, D, generator=random, dtype=torch.float64)
    weights = torch.full((C,), 1 / C, dtype=torch.float64)
    flat = Mixture(weights, means, spread)
    mixture = flat.full() if covariance == "full" else flat
    return IvectorNetwork(options).fill(mixture, flat, random_loading(mixture, R, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("model")
    front = front_end("mfcc", deltas=2)
    write_model(found, {"name": "tiny", "family": "ivector"}, _network(), front)
    return found


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    import soundfile

    place = made.write_voices(tmp_path_factory.mktemp("v"), speakers=2, each=2)
    found = [soundfile.read(path, dtype="float32")[0] for path in sorted(place.glob("*.flac"))]
    return [wave[: len(wave) - 1000 * at] for at, wave in enumerate(found)]


def test_layers_are_what_their_parts_give(folder: Path, waves: list[np.ndarray]) -> None:
    model = load_model(str(folder))
    assert [(i.name, i.width, i.kind) for i in model.layers] == [
        ("mfcc", D, "frame"), ("ivector", R, "utterance"),
    ]  # fmt: skip
    network = _network()
    for wave, found in zip(waves, model.encode(waves, ["mfcc", "ivector"]), strict=True):
        audio = torch.from_numpy(wave)
        frames = front_end("mfcc", deltas=2)(audio[None])[0]
        rows = sliding_cmvn(frames.double(), 300)
        torch.testing.assert_close(found["mfcc"], rows.float())
        assert len(found["mfcc"]) == model.frames("mfcc", len(wave))
        assert model.frames("ivector", len(wave)) == 1
        speech = rows[speech_frames(log_energy(audio))]
        assert 0 < len(speech) < len(rows)
        shares = torch.softmax(network.mixture.log_densities(speech), dim=1)
        shares = shares * ((shares >= 0.025) | (shares == shares.amax(1, keepdim=True)))
        shares = shares / shares.sum(1, keepdim=True)
        expected = network.extractor.ivectors(
            Statistics(shares.sum(0)[None], (shares.T @ speech)[None])
        )
        torch.testing.assert_close(found["ivector"], expected.float(), rtol=1e-4, atol=1e-5)


def test_a_batch_changes_nothing(folder: Path, waves: list[np.ndarray]) -> None:
    model = load_model(str(folder))
    together = model.encode(waves, ["ivector"])
    for wave, found in zip(waves, together, strict=True):
        assert torch.equal(model.encode([wave], ["ivector"])[0]["ivector"], found["ivector"])
    assert model.frames("ivector", 399) == model.frames("mfcc", 399) == 0
    with pytest.raises(AudioError, match="too short"):
        model.encode([waves[0][:399]], ["ivector"])


def test_no_speech_is_nan(folder: Path) -> None:
    (found,) = load_model(str(folder)).encode([np.zeros(8000, np.float32)], ["mfcc", "ivector"])
    assert found["ivector"].isnan().all()
    assert found["mfcc"].isfinite().all()


def test_low_precision_rounds_results_alone(folder: Path, waves: list[np.ndarray]) -> None:
    model: Any = load_model(str(folder))
    half = model.to("cpu", "bfloat16")
    exact = model.encode(waves, ["ivector"])[0]["ivector"]
    found = half.encode(waves, ["ivector"])[0]["ivector"]
    assert torch.equal(found, exact.to(torch.bfloat16))
    assert half.fingerprint != model.fingerprint
    double = half.to("cpu", "float64").encode(waves, ["ivector"])[0]["ivector"]
    torch.testing.assert_close(double.float(), exact)


def test_a_twin_keeps_the_mixture_and_draws_the_matrix(
    folder: Path, waves: list[np.ndarray]
) -> None:
    model: Any = load_model(str(folder))
    twin: Any = load_model(f"random:{folder},seed=3")
    own, other = model._module.state_dict(), twin._module.state_dict()
    assert torch.equal(own["ubm_means"], other["ubm_means"])
    assert not torch.equal(own["loading"], other["loading"])
    assert twin.details["random"]
    assert twin.fingerprint != model.fingerprint
    again: Any = load_model(f"random:{folder},seed=3")
    assert again.fingerprint == twin.fingerprint
    a, b = (m.encode(waves[:1], ["ivector"])[0]["ivector"] for m in (twin, again))
    assert torch.equal(a, b)


def test_full_covariances_and_selection_are_stored(tmp_path: Path, waves: list[np.ndarray]) -> None:
    front = front_end("mfcc", deltas=2)
    for name, network in (("all", _network("full")), ("some", _network("full", select=C))):
        write_model(tmp_path / name, {"name": name, "family": "ivector"}, network, front)
    write_model(tmp_path / "flat", {"name": "flat", "family": "ivector"}, _network(), front)
    found = [
        load_model(str(tmp_path / name)).encode(waves, ["ivector"])[1]["ivector"]
        for name in ("all", "some", "flat")
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-5)


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no such option"):
        load_model(f"{folder},rank=2")
    front = front_end("mfcc", deltas=1)
    write_model(tmp_path, {"name": "odd", "family": "ivector"}, _network(), front)
    with pytest.raises(CheckpointError, match="does not fit the extractor"):
        load_model(str(tmp_path))
    write_model(
        tmp_path, {"name": "x", "family": "ivector"}, _network(), front_end("mfcc", deltas=2)
    )
    card = json.loads((tmp_path / "card.json").read_text())
    card["options"]["rank"] = R + 1
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="wrong shape: loading"):
        load_model(str(tmp_path))
    for wrong in ({"rank": C * D}, {"select": 2}, {"least_posterior": 1.0}):
        values = {"gaussians": C, "width": D, "rank": R} | wrong
        with pytest.raises(ValueError, match=r".+"):
            IvectorOptions(**values)
