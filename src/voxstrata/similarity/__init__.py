"""Similarity of two views: pure measures, and the job that applies them to all layer pairs.

For one pair of arrays: ``voxstrata.similarity.cka(x, y)`` and its siblings below; by name,
``compare("cka", x, y)``. Nothing heavy is imported before a name is used. See
docs/similarity.md for formulas, sources and how each relates to published code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.similarity.api import (
        cka,
        compare,
        mean_cca,
        mutual_knn,
        procrustes,
        pwcca,
        regression,
        rsa,
        shape_distance,
        svcca,
    )
    from voxstrata.similarity.measure import Measure
    from voxstrata.similarity.moments import Moments
    from voxstrata.similarity.registry import MEASURES
    from voxstrata.similarity.value import Similarity

__all__ = [
    "MEASURES",
    "Measure",
    "Moments",
    "Similarity",
    "cka",
    "compare",
    "mean_cca",
    "mutual_knn",
    "procrustes",
    "pwcca",
    "regression",
    "rsa",
    "shape_distance",
    "svcca",
]

# No module of this room may be called like a function here: importing it would hide the function.
_ELSEWHERE = {
    "MEASURES": "registry",
    "Measure": "measure",
    "Moments": "moments",
    "Similarity": "value",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'voxstrata.similarity' has no attribute {name!r}")
    module = importlib.import_module(f"voxstrata.similarity.{_ELSEWHERE.get(name, 'api')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
