"""Speech and its labels: sources, recipes, alignments, validation, splits.

Everything here is imported on first use; lhotse takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.corpora.corpus import Corpus
    from voxstrata.corpora.load import load_corpus
    from voxstrata.corpora.validation import validate

_LAZY = {
    "Corpus": "voxstrata.corpora.corpus",
    "load_corpus": "voxstrata.corpora.load",
    "validate": "voxstrata.corpora.validation",
}

__all__ = ["Corpus", "load_corpus", "validate"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'voxstrata.corpora' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
