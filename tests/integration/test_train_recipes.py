"""Every recipe of the package begins to train, on small data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxstrata import load_model
from voxstrata.errors import CheckpointError
from voxstrata.training.job import run_training
from voxstrata.training.recipes import names, read_recipe

SMALL = [
    "model.options.channels=16",
    "model.options.mfa=48",
    "model.options.embed=8",
    "data.batch=4",
    "data.workers=0",
    "run.epochs=",
    "run.steps=2",
    "run.accumulate=1",
    "run.average=1",
    "run.device=cpu",
    "run.mean_of=2",
    "data.valid=",
    "data.min_s=",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight noises of six seconds by four speakers."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for i in range(8):
        (folder / f"s{i % 4}").mkdir(exist_ok=True)
        wave = 0.05 * rng.standard_normal(6 * 16000 + 400)
        soundfile.write(folder / f"s{i % 4}" / f"u{i}.flac", wave, 16000)
    return folder


def _changes(name: str, corpus: Path) -> list[str]:
    config = read_recipe(name)
    found = [*SMALL, f"data.corpus={corpus}"]
    if config.model.family == "melhubert":
        found = [c for c in found if not c.startswith("model.options")]
        found += [f"model.options.{c}" for c in ("width=16", "layers=2", "heads=2", "ffn=32")]
        found += ["model.options.conv_pos=8", "model.options.clusters=8"]
        found += ["data.batch_s=", "objective.targets="]
    if config.augment is not None:
        found += ["augment.musan=", "augment.rirs=", "augment.babble_pool=2"]
    if config.objective["name"] in ("dino", "sdpn"):
        found += ["objective.prototypes=16", "objective.hidden=8", "objective.bottleneck=4"]
    if config.objective.get("regulariser") is not None:
        found += ["objective.regulariser.width=16"]
    if config.objective["name"] == "moco":
        found += ["objective.queue=16"]
    if config.model.start is not None:
        found += ["model.start="]
    if config.objective.get("classifier") is not None:
        found += ["objective.classifier="]
    return found


@pytest.mark.parametrize("name", names())
def test_a_recipe_begins_to_train(name: str, corpus: Path, tmp_path: Path) -> None:
    changes = _changes(name, corpus)
    results = run_training(read_recipe(name, changes), tmp_path / "out")
    assert results.record["steps"] == 2
    model = load_model(str(tmp_path / "out" / "model"))
    assert model.family == read_recipe(name).model.family


def test_a_recipe_is_written_out_in_full() -> None:
    found = names()
    for published in ("voxceleb2-wespeaker", "voxceleb2-dino", "librispeech-melhubert-1"):
        config = read_recipe(published)
        assert "/corpora" in str(config.data.corpus)
        assert (config.run.epochs or 0) >= 100
        assert found[published]


def test_large_margin_fine_tuning_goes_on_from_a_first_run(corpus: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run_training(read_recipe("voxceleb2-wespeaker", _changes("voxceleb2-wespeaker", corpus)), first)
    changes = [*SMALL, f"data.corpus={corpus}", "augment="]
    changes += [f"model.start={first}/model", f"objective.classifier={first}/model"]
    changes += ["schedule.lr=1e-9", "schedule.final=1e-9"]
    run_training(read_recipe("voxceleb2-wespeaker-lm", changes), tmp_path / "second")
    one, two = (load_model(str(tmp_path / n / "model")) for n in ("first", "second"))
    wave = np.random.default_rng(1).standard_normal(32000).astype(np.float32) * 0.05
    (ours,), (theirs,) = (m.encode([wave], ["conv"]) for m in (one, two))
    np.testing.assert_allclose(ours["conv"], theirs["conv"], atol=0.3, rtol=0.3)
    wrong = read_recipe("voxceleb2-wespeaker-lm", [*changes, "model.options.channels=24"])
    with pytest.raises(CheckpointError, match="another architecture"):
        run_training(wrong, tmp_path / "third")
