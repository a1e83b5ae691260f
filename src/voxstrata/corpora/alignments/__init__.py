"""Alignment files: TextGrid, CTM, HTS/HTK labels, pocketsphinx JSON.

:func:`read_alignment` reads one file, :func:`attach_alignments` gives a corpus the spans of a
folder of them or of a CTM file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.corpora.alignments.attach import attach_alignments
    from voxstrata.corpora.alignments.ctm import read_ctm
    from voxstrata.corpora.alignments.read import read_alignment

_LAZY = {"attach_alignments": "attach", "read_alignment": "read", "read_ctm": "ctm"}

__all__ = ["attach_alignments", "read_alignment", "read_ctm"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
