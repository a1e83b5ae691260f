"""voxstrata: what does each layer, and each neuron, of a speech model know?

Importing this package does no I/O and loads neither torch nor lhotse; names below are
imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "VoxstrataError": "voxstrata.errors:VoxstrataError",
    "draw_joined": "voxstrata.report:draw_joined",
    "draw_report": "voxstrata.report:draw_report",
    "load_corpus": "voxstrata.corpora:load_corpus",
    "load_model": "voxstrata.models:load_model",
    "load_results": "voxstrata.results:load_results",
    "read_study": "voxstrata.studies.load:read_study",
    "run_neurons": "voxstrata.neurons.job:run_neurons",
    "run_probing": "voxstrata.probing.job:run_probing",
    "run_properties": "voxstrata.properties.job:run_properties",
    "run_protection": "voxstrata.neurons.protection.job:run_protection",
    "run_pruning": "voxstrata.neurons.pruning.job:run_pruning",
    "run_similarity": "voxstrata.similarity.job:run_similarity",
    "run_study": "voxstrata.studies.run:run_study",
    "run_training": "voxstrata.training.job:run_training",
    "run_verification": "voxstrata.verification.job:run_verification",
}
_ROOMS = (
    "augmentation",
    "corpora",
    "frontend",
    "metrics",
    "models",
    "neurons",
    "numerics",
    "probing",
    "properties",
    "references",
    "report",
    "similarity",
    "streaming",
    "studies",
    "training",
    "verification",
)

if TYPE_CHECKING:
    from voxstrata.corpora import load_corpus
    from voxstrata.errors import VoxstrataError
    from voxstrata.models import load_model
    from voxstrata.neurons.job import run_neurons
    from voxstrata.neurons.protection.job import run_protection
    from voxstrata.neurons.pruning.job import run_pruning
    from voxstrata.probing.job import run_probing
    from voxstrata.properties.job import run_properties
    from voxstrata.report import draw_joined, draw_report
    from voxstrata.results import load_results
    from voxstrata.similarity.job import run_similarity
    from voxstrata.studies.load import read_study
    from voxstrata.studies.run import run_study
    from voxstrata.training.job import run_training
    from voxstrata.verification.job import run_verification

__all__ = [
    "VoxstrataError",
    "__version__",
    "draw_joined",
    "draw_report",
    "load_corpus",
    "load_model",
    "load_results",
    "read_study",
    "run_neurons",
    "run_probing",
    "run_properties",
    "run_protection",
    "run_pruning",
    "run_similarity",
    "run_study",
    "run_training",
    "run_verification",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if name in _ROOMS:
        return importlib.import_module(f"voxstrata.{name}")
    raise AttributeError(f"module 'voxstrata' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
