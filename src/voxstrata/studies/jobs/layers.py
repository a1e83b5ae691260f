"""Layers that settings name, looked up one by one in the models of an analysis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial

from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.stack import build_stack
from voxstrata.studies.jobs.job import Look


def layers_named(specs: Sequence[str], layers: Sequence[str] | None) -> Iterator[Look]:
    """For ``layers``: each must be one of some model.

    Args:
        specs: of the models.
        layers: as the settings have them.
    """

    @cache
    def models() -> list[SpeechModel]:
        return [load_model(spec) for spec in specs]

    def look(item: str) -> object:
        return build_stack(models(), (item,))

    for item in layers or ():
        yield "layers", partial(look, item)
