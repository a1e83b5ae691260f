"""Registered names: hub id, architecture and input normalisation of each (``architectures.json``).

The table serves untrained twins, listings and offline layer tables. Trained weights always come
with a ``config.json`` of their own, which alone decides how they are built.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """One registered model.

    Attributes:
        name: what the user types.
        hub: its id on the hub.
        model_type: transformers' name of the model type.
        normalize: whether the published preprocessor scales each recording to zero mean and unit
            variance.
        licence: licence of the published weights as its hub page states it, if known.
        summary: one line.
        config: keyword arguments of the configuration class; what is absent has its default.
    """

    name: str
    hub: str
    model_type: str
    normalize: bool
    licence: str | None
    summary: str
    config: dict[str, Any]

    def as_config(self) -> dict[str, Any]:
        """The contents of a ``config.json``."""
        return {"model_type": self.model_type, **self.config}


@functools.cache
def table() -> dict[str, Architecture]:
    """All registered models by name."""
    file = resources.files("voxstrata.models.huggingface").joinpath("architectures.json")
    rows = json.loads(file.read_text(encoding="utf-8"))
    return {row["name"]: Architecture(**row) for row in rows}


def lookup(text: str) -> Architecture | None:
    """The registered model with this name or this hub id."""
    rows = table()
    if text in rows:
        return rows[text]
    return next((row for row in rows.values() if row.hub == text), None)
