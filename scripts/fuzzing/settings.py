"""Settings of jobs, tasks, studies, corpus maps and training recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.target import Target, dumped

YAML = b"""a: &x {b: [1, 2.5, yes, ~, 2020-01-02, 0x1f, 1_000, "t"]}
c: {<<: *x, d: !!str 3}
e: |
  text
"""


def _yaml(path: Path) -> object:
    from voxstrata.config import load
    from voxstrata.similarity.settings import SimilarityConfig

    return load(SimilarityConfig, path, {})


def _configs(path: Path) -> None:
    """Every job's settings from one file."""
    from voxstrata.config import build, read_yaml
    from voxstrata.errors import VoxstrataError
    from voxstrata.neurons.settings import NeuronsConfig
    from voxstrata.probing.settings import ProbeConfig
    from voxstrata.properties.settings import PropertiesConfig
    from voxstrata.similarity.settings import SimilarityConfig
    from voxstrata.training.settings import TrainConfig
    from voxstrata.verification.settings import VerifyConfig

    values = read_yaml(path)
    kinds: tuple[Any, ...] = (
        SimilarityConfig, PropertiesConfig, ProbeConfig, NeuronsConfig, TrainConfig, VerifyConfig,
    )  # fmt: skip
    for kind in kinds:
        try:
            build(kind, dict(values))
        except VoxstrataError as error:
            str(error)


SETTINGS = {
    "models": ["a", "b"], "corpus": "synthetic:demo", "units": ["frame"], "measures": ["cka"],
    "seed": 1, "folds": 5, "device": "cpu", "layers": ["0", "12"], "limit": 3, "out": "x",
    "dtype": "float32", "batch_s": 60.0, "tasks": ["sid"], "rule": "top=0.01",
    "objective": {"name": "aam"}, "run": {"steps": 3}, "data": {"corpus": "x"}, "trials": "t.txt",
}  # fmt: skip


def _task(path: Path) -> object:
    from voxstrata.probing.registry import get_task

    return get_task(str(path))


def _shipped(room: str, *names: str) -> Callable[[], list[bytes]]:
    """Files that come with the package, as JSON (which is YAML), so that values can be changed."""

    def seeds() -> list[bytes]:
        from importlib import resources

        import yaml

        found = []
        for name in names:
            text = (resources.files(room) / name).read_text("utf-8")
            found.append(json.dumps(yaml.safe_load(text), default=str).encode())
        return found

    return seeds


def _study(path: Path) -> object:
    from voxstrata.studies.check import Checked, _config
    from voxstrata.studies.load import read_study

    return _config(read_study(str(path)), Checked())


def _corpus_map(path: Path) -> object:
    from voxstrata.probing.sources import read_map

    return read_map(path, ["sid", "pr"])


def _recipe(path: Path) -> object:
    from voxstrata.training.recipes import read_recipe

    return read_recipe(path)


def _slurm(path: Path) -> object:
    from voxstrata.streaming.cluster.workers import parse_place

    return parse_place(f"slurm:{path}")


SLURM = {
    "workers": 2, "gpus": 1, "memory": "8GiB", "walltime": "01:00:00", "prologue": ["module load"],
    "partition": "gpu", "logs": "logs", "dashboard": 8787, "directives": ["--exclusive"],
}  # fmt: skip


TARGETS: tuple[Target, ...] = (
    Target("slurm-profile", "a.yaml", _slurm, lambda: dumped(SLURM), json=True),
    Target("yaml", "a.yaml", _yaml, lambda: [YAML]),
    Target("configs", "a.yaml", _configs, lambda: dumped(SETTINGS), json=True),
    Target(
        "task",
        "a.yaml",
        _task,
        _shipped("voxstrata.probing.tasks", "sid.yaml", "pr.yaml", "sd.yaml", "qbe.yaml"),
        json=True,
    ),
    Target(
        "study",
        "a.yaml",
        _study,
        _shipped("voxstrata.studies.shipped", "my-model.yaml", "quickstart.yaml"),
        json=True,
    ),
    Target(
        "corpus-map",
        "a.yaml",
        _corpus_map,
        lambda: dumped({"default": "synthetic", "sid": {"train": "a", "dev": "b", "test": "c"}}),
        json=True,
    ),
    Target(
        "training-recipe",
        "a.yaml",
        _recipe,
        _shipped(
            "voxstrata.training.configs", "ecapa-small-supervised.yaml", "melhubert-small.yaml"
        ),
        json=True,
    ),
)
