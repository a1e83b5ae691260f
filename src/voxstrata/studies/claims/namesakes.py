"""Layers of two ECAPA models that have the same name."""

from __future__ import annotations

import math
from dataclasses import dataclass

from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.matrices import Matrix, likeness
from voxstrata.studies.claims.numbers import Number

FRAME_LAYERS = ("conv", "block1", "block2", "block3", "mfa")
"""Layers with a vector for every frame."""


@dataclass(frozen=True)
class Sames:
    """CKA of two models' layers of the same name.

    Attributes:
        matrix: all frame layers that both have, in the same order on both sides.
    """

    matrix: Matrix

    @property
    def numbers(self) -> list[Number]:
        """CKA of each layer with its namesake."""
        found = [self.matrix.at(name, name) for name in self.matrix.layers]
        return [one if one is not None else Number(math.nan) for one in found]


def sames(evidence: Evidence, one: str, other: str) -> Sames | None:
    """CKA of the frame layers that two ECAPA models share by name; ``None`` where they were not
    compared."""
    found = likeness(evidence, one, other)
    if found is None:
        return None
    names = [name for name in FRAME_LAYERS if name in found.layers and name in found.others]
    return Sames(found.part(names, names)) if len(names) > 1 else None
