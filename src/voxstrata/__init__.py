"""voxstrata: what does each layer, and each neuron, of a speech model know?

Importing this package does no I/O and loads neither torch nor lhotse; names below are
imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "load_model": "voxstrata.models:load_model",
    "load_corpus": "voxstrata.corpora:load_corpus",
    "load_results": "voxstrata.results:load_results",
    "VoxstrataError": "voxstrata.errors:VoxstrataError",
}
_ROOMS = ("corpora", "frontend", "models", "streaming", "similarity", "report", "numerics")

if TYPE_CHECKING:
    from voxstrata.corpora import load_corpus
    from voxstrata.errors import VoxstrataError
    from voxstrata.models import load_model
    from voxstrata.results import load_results

__all__ = ["VoxstrataError", "__version__", "load_corpus", "load_model", "load_results"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if name in _ROOMS:
        return importlib.import_module(f"voxstrata.{name}")
    raise AttributeError(f"module 'voxstrata' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
