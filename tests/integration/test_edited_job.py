"""Edited models are models: a similarity run takes them, and shows where the edit acts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from voxstrata.models.load import load_model
from voxstrata.neurons.interventions.job import make_edits
from voxstrata.neurons.sets import neuron_set
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig

MODEL = "random:melhubert,width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"


def test_similarity_sees_an_edit_from_its_layer_on(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for i in range(8):
        wave = generator.standard_normal(8000 + 1000 * i) * np.linspace(0.01, 0.2, 8000 + 1000 * i)
        soundfile.write(tmp_path / "audio" / f"{i}.wav", wave, 16000)
    neurons = neuron_set("half", load_model(MODEL), {"block.2.ffn.inner": range(0, 40, 2)})
    for name, as_weights in (("hook", False), ("weights", True)):
        make_edits(MODEL, neurons, "erase", tmp_path / name, as_weights=as_weights)
    models = (MODEL, str(tmp_path / "hook"), str(tmp_path / "weights"))
    config = SimilarityConfig(
        models=models,
        corpus=str(tmp_path / "audio"),
        units=("frame",),
        measures=("cka-biased",),
        folds=2,
        device="cpu",
    )
    table = run_similarity(config, tmp_path / "out").table
    found = {
        (row.model, row.layer, row.other_model, row.other_layer): row.value
        for row in table.itertuples()
        if row.measure == "cka-biased"
    }

    def between(one: int, other: int, layer: str) -> float:
        keys = (
            (models[one], layer, models[other], layer),
            (models[other], layer, models[one], layer),
        )
        return next(float(found[key]) for key in keys if key in found)

    for layer in ("0", "1"):
        assert abs(between(0, 1, layer) - 1) < 1e-5
    assert between(0, 1, "2") < 1 - 1e-6
    for layer in ("0", "1", "2", "3"):
        assert abs(between(1, 2, layer) - 1) < 1e-6
