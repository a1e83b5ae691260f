"""Forecasts of analyses hold what the analyses do."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxstrata.neurons.protection.inside import neurons_config, verify_config
from voxstrata.neurons.protection.prepare import prepare
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.studies.jobs import neurons, probing, protection, verification
from voxstrata.studies.jobs.job import Cost


def _cost(out: Path, **changes: object) -> tuple[ProtectionConfig, Cost]:
    given: dict[str, object] = {
        "model": "melhubert-small",
        "corpus": "synthetic:tiny",
        "contrast": "clusters=2",
        "corpus_map": {"default": "synthetic:tiny"},
        "tasks": ("sid",),
        "protocol": "demo",
        "keep": (64,),
        "seeds": 1,
    }
    config = ProtectionConfig.model_validate(given | changes)
    return config, protection.JOB.cost(prepare(config, out))


def test_protection_is_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (neurons, probing, verification):
        monkeypatch.setattr(module, "product_rate", lambda *_of: 1e11)
    config, plain = _cost(tmp_path)
    found = neurons.cost_of_neurons(neurons.prepare(neurons_config(config)))
    assert plain.seconds > found.seconds > 0
    assert plain.without == ""
    # i-vectors that must be learned, for every second of speech; the clusters are the same two.
    _, learned = _cost(tmp_path, contrast="ivector=2/clusters=2")
    spoken = sum(u.duration_s for u in neurons.prepare(neurons_config(config)).corpus.utterances)
    assert learned.seconds - plain.seconds == pytest.approx(neurons.IVECTOR_S * spoken)
    # Trials: of the model, what stands beside it, and the three that are pruned.
    config, tried = _cost(tmp_path, trials="synthetic:tiny")
    verified = verification.prepare(verify_config(config, (), config.model))
    alone = verification.cost_of_verification(verified).seconds
    three = verification.cost_of_verification(verified, 3).seconds
    own = verified.systems[0].model.flops_per_second / (1e11 * verification.MODEL_EFFICIENCY)
    assert three - alone == pytest.approx(3 * spoken * own)
    assert tried.seconds - plain.seconds == pytest.approx(three)
    _, tuned = _cost(tmp_path, tune="melhubert-small-tune", tune_steps=5)
    assert tuned.without == "training between prunings"
