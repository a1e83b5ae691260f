"""What is known of pre-trained models by hub id: objective, modality, data (``models.yaml``).

Claims that compare groups of models ask here which group a model belongs to. Every entry names its
source, and whether it was written down from general knowledge of it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, UsageError
from voxstrata.models.huggingface.architectures import lookup
from voxstrata.models.spec import parse

FILE = Path(__file__).with_name("models.yaml")

AMOUNTS = ((100.0, "under 100 h"), (10_000.0, "100 to 10,000 h"))
"""Upper bounds (exclusive) of groups by hours of pre-training, and their names."""

MOST = "10,000 h and more"
"""The group above all bounds."""


class ModelFacts(Config):
    """One pre-trained model.

    Attributes:
        id: hub id; the name of a bundled model, or of one that has neither.
        title: as papers call it.
        family: architecture and recipe.
        objective: what it was trained for.
        modality: what it was trained on; all are given audio here.
        hours: of speech in pre-training.
        data: the corpora.
        paper: whether it is one of the eleven models of P2023 (arXiv 2211.03929).
        transformers: whether transformers, and so voxstrata, can load it by its id.
        source: where the facts are from.
        basis: "general knowledge" of the source, or the "card" of a bundled model.
    """

    id: str
    title: str
    family: str
    objective: str
    modality: Literal["audio", "audio-visual"]
    hours: PositiveFloat
    data: str
    paper: bool = False
    transformers: bool
    source: str
    basis: Literal["general knowledge", "card"]

    @property
    def amount(self) -> str:
        """Its group by hours of pre-training."""
        return next((name for bound, name in AMOUNTS if self.hours < bound), MOST)


@cache
def model_facts() -> dict[str, ModelFacts]:
    """All known models by id.

    Raises:
        ConfigError: the file that comes with the package is damaged, or names a model twice.
    """
    import yaml

    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    if not isinstance(entries, list):
        raise ConfigError(f"{FILE} does not hold a list", got=type(entries).__name__)
    known = [
        build(ModelFacts, entry, source=f"{FILE.name}, entry {number}")
        for number, entry in enumerate(entries, 1)
    ]
    found = {one.id: one for one in known}
    if len(found) < len(known):
        raise ConfigError(f"{FILE} names a model twice")
    return found


def facts_of(spec: str) -> ModelFacts | None:
    """What is known of the model that a text names.

    Registered names stand for their hub ids; revision, cut and options are passed over, since they
    change neither data nor objective. Untrained twins, folders and files have no facts.

    Example:
        >>> facts_of("wavlm-large@12").objective
        'masked prediction'
        >>> facts_of("random:wavlm-large") is None
        True
    """
    try:
        named = parse(spec)
    except UsageError:
        return None
    if named.random:
        return None
    registered = lookup(named.base)
    return model_facts().get(registered.hub if registered is not None else named.base)


def paper_models() -> tuple[ModelFacts, ...]:
    """The eleven models of P2023, in the order of the file."""
    return tuple(one for one in model_facts().values() if one.paper)
