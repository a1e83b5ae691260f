"""The jobs of the soak test (``soak.py``): each from Python, and as a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import voxstrata
from voxstrata.config import Config
from voxstrata.files import sha256_file
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.probing.settings import ProbeConfig
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.results import Results
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.training.settings import TrainConfig
from voxstrata.verification.settings import VerifyConfig

CORPUS = "synthetic:tiny"
SMALL = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"

STUDY: Mapping[str, Any] = {
    "name": "soak",
    "title": "The study quickstart, small",
    "corpora": {"speech": CORPUS},
    "models": {
        "hubert": {"spec": "melhubert-small", "roles": ["speech", "hubert"]},
        "log-mel": {"spec": "log-mel", "roles": ["plain"]},
    },
    "analyses": {
        "properties": {
            "job": "properties", "models": "all", "corpus": "speech", "scale": "small",
            "properties": ["linear-phone", "cca-phone"], "phones_per_type": 10, "folds": 3,
        },
        "similarity": {
            "job": "similarity", "models": "all", "corpus": "speech", "units": ["utterance"],
            "folds": 3,
        },
    },
}  # fmt: skip

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "similarity": {
        "models": [SMALL, "log-mel"], "corpus": CORPUS, "units": ["frame", "utterance"],
        "measures": ["cka", "pwcca", "mutual-knn"], "folds": 4, "max_rows": 300,
    },
    "properties": {
        "models": [SMALL, "log-mel"], "corpus": CORPUS, "scale": "small", "folds": 3,
        "properties": ["linear-phone", "cca-phone", "mi-phone", "variance-shares", "abx-phone"],
        "phones_per_type": 10, "sequence_s": 30,
    },
    "probe": {
        "models": [SMALL], "corpus": CORPUS, "tasks": ["sid", "gender"], "steps": 20, "seeds": 1,
        "lrs": [0.1], "twins": False,
    },
    "neurons": {
        "models": [SMALL], "corpus": CORPUS, "contrasts": ["gender"], "rule": "top=0.1",
        "draws": 20, "splits": 2, "twins": False, "rankings": False,
    },
    "verify": {
        "models": ["random:ecapa,channels=16,mfa=48,embed=24"], "corpus": CORPUS,
        "as_norm": CORPUS, "top": 3, "replicates": 50,
    },
    "train": {
        "name": "soak",
        "model": {
            "family": "ecapa", "preset": "wespeaker",
            "options": {"channels": 16, "mfa": 48, "embed": 24, "attention": 8, "se": 8},
        },
        "data": {"corpus": CORPUS, "min_s": 0.5, "speeds": [1.0, 0.9], "batch": 8, "workers": 1},
        "augment": {"preset": "channels"},
        "objective": {"name": "aam", "crop_s": 1.0},
        "schedule": {"kind": "constant", "lr": 0.001},
        "run": {"steps": 6, "seed": 1, "log_every": 2, "save_every_s": 0.5},
    },
    "study": STUDY,
}  # fmt: skip

_RUNS: Mapping[str, tuple[type[Config], Callable[..., Results]]] = {
    "similarity": (SimilarityConfig, voxstrata.run_similarity),
    "properties": (PropertiesConfig, voxstrata.run_properties),
    "probe": (ProbeConfig, voxstrata.run_probing),
    "neurons": (NeuronsConfig, voxstrata.run_neurons),
    "verify": (VerifyConfig, voxstrata.run_verification),
    "train": (TrainConfig, voxstrata.run_training),
}


def write_files(folder: Path) -> dict[str, Path]:
    """The settings of every job as a YAML file, by job."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, settings in SETTINGS.items():
        files[name] = folder / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
    return files


def run_here(name: str, files: Mapping[str, Path], out: Path) -> None:
    """A job and its page, in this process."""
    if name == "study":
        voxstrata.run_study(voxstrata.read_study(str(files[name])), out)
    else:
        config, run = _RUNS[name]
        run(config.model_validate(SETTINGS[name]), out)
    voxstrata.draw_report(out)


def command(name: str, files: Mapping[str, Path], out: Path) -> list[str]:
    """The same as a command line."""
    file = str(files[name])
    words = {"study": ["study", "run", file], "train": ["train", file]}.get(
        name, [name, "--config", file]
    )
    return [sys.executable, "-m", "voxstrata", *words, "-o", str(out), "--quiet"]


def numbers(out: Path) -> list[tuple[Any, ...]]:
    """The values of a finished run (of a training run: its weights), the same for equal runs."""
    if weights := sorted((out / "model").glob("*.safetensors")):
        return [(path.name, sha256_file(path)) for path in weights]
    table = voxstrata.load_results(out).table
    columns = ["model", "layer", "other_model", "other_layer", "unit", "property", "measure",
               "control", "value"]  # fmt: skip
    rows = table[[c for c in columns if c in table]].astype(str)
    return sorted(rows.itertuples(index=False, name=None))
