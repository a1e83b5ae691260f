"""Speech models as stacks of named layers; see ``docs/models.md``.

Names below are imported on first use, so importing this room loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_LAZY = {
    "FAMILIES": "voxstrata.models.family",
    "Family": "voxstrata.models.family",
    "ModelSpec": "voxstrata.models.family",
    "SpeechModel": "voxstrata.models.base",
    "choose_layers": "voxstrata.models.base",
    "from_module": "voxstrata.models.torch_module",
    "layer": "voxstrata.models.base",
    "load_model": "voxstrata.models.load",
    "parse": "voxstrata.models.spec",
}

if TYPE_CHECKING:
    from voxstrata.models.base import SpeechModel, choose_layers, layer
    from voxstrata.models.family import FAMILIES, Family, ModelSpec
    from voxstrata.models.load import load_model
    from voxstrata.models.spec import parse
    from voxstrata.models.torch_module import from_module

__all__ = [
    "FAMILIES",
    "Family",
    "ModelSpec",
    "SpeechModel",
    "choose_layers",
    "from_module",
    "layer",
    "load_model",
    "parse",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'voxstrata.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
