"""Runs of the probing job on a simulated upstream; tests import the fixture ``run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

import simulated
from simulated import Recording, Upstream, code, noise, phone_states, turn_states
from voxstrata.probing import prepare
from voxstrata.probing.cells import SUM
from voxstrata.probing.job import PROBES, WEIGHTS, run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.results import Results

TASK = {"name": "mood", "title": "Mood", "summary": "planted", "targets": {"mood": "mood"}}
PROTOCOL: dict[str, Any] = {
    "name": "tiny",
    "lrs": [0.03, 0.003],
    "seeds": 2,
    "default": {"steps": 40, "batch": 8, "hidden": 12, "every": 5},
    "tasks": {
        "pr": {"steps": 16, "batch": 8, "hidden": 12, "every": 4, "lrs": [0.1, 0.02], "seeds": 1},
        "asr": {"steps": 4, "batch": 8, "hidden": 6, "every": 2, "screen": 4, "lrs": [0.02],
                "seeds": 1, "chooses": "cer", "masks": {"feature_masks": 1, "widest_feature": 2,
                                                        "time_masks": 1, "widest_time": 3}},
        "sd": {"steps": 6, "batch": 8, "hidden": 6, "every": 3, "screen": 3, "lrs": [0.05, 0.01],
               "seeds": 1},
        "asv": {"steps": 8, "batch": 16, "hidden": 16, "every": 4, "screen": 4, "decay": 0.01,
                "lrs": [0.01, 0.003], "seeds": 1, "clip": 1000},
    },
}  # fmt: skip

Run = Callable[..., tuple[Results, pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated.write(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the job on an upstream; gives the results, the probes and the weights."""
    (tmp_path / "mood.yaml").write_text(yaml.safe_dump({**TASK, "speakers": "any"}))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PROTOCOL))
    runs = iter(range(99))

    def go(model: Upstream, **changes: Any) -> tuple[Results, pd.DataFrame, pd.DataFrame]:
        monkeypatch.setattr(prepare, "load_model", lambda _spec, **_: model)
        out = changes.pop("out", None) or tmp_path / f"out{next(runs)}"
        tasks = changes.pop("tasks", ("mood",))
        values: dict[str, Any] = {
            "models": (model.spec,),
            "tasks": [str(tmp_path / "mood.yaml") if t == "mood" else t for t in tasks],
            "corpus": str(corpus),
            "protocol": str(tmp_path / "tiny.yaml"),
            "twins": False,
            "baseline": "",
            "controls": False,
            "ablation": False,
            "device": "cpu",
        }
        result = run_probing(ProbeConfig.model_validate(values | changes), out)
        return result, pd.read_parquet(out / PROBES), pd.read_parquet(out / WEIGHTS)

    return go


def planted_in(layer: int, size: float = 2.0, loud: float = 1.0) -> simulated.States:
    """The class in one layer, nothing but noise in the others."""

    def states(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        if at == layer:
            return noise(one, at, frames) + code(one.mood, size)
        return noise(one, at, frames, loud)

    return states


FRAMES = ("pr", "asr", "sd", "asv")
"""Tasks whose heads read frames."""


def planted_for(task: str) -> simulated.States:
    """What a task asks for in layer 1, besides noise."""

    def states(one: Recording, at: int, frames: int) -> NDArray[np.float64]:
        found = noise(one, at, frames, 0.7)
        if task == "asv":  # all layers know: embeddings of noise alone are equal but for rounding
            return 10 * (found + code(one.speaker, 4.0 if at == 1 else 2.0))
        if at != 1:
            return found
        if task == "mood":
            return found + code(one.mood, 0.3)
        return found + (turn_states if task == "sd" else phone_states)(one, frames)

    return states


def accuracy(result: Results, layer: str = SUM, control: str = "") -> float:
    table = result.table
    mine = table[(table["measure"] == "accuracy") & (table["layer"] == layer)]
    return float(mine[mine["control"] == control]["value"].item())
