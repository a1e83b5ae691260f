"""The i-vector family: model folders that ``voxstrata train`` writes, and their untrained twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voxstrata.config import build
from voxstrata.errors import CheckpointError
from voxstrata.models.card import CARD, bundled, card_folder, open_card, twin_seed
from voxstrata.models.family import ModelSpec

if TYPE_CHECKING:
    from voxstrata.models.ivector.model import IvectorModel


class IvectorFamily:
    """One vector a recording from a factor analysis of its cepstra."""

    name = "ivector"

    def names(self) -> Mapping[str, str]:
        """Registered names: the models that come with the package."""
        return bundled(self.name)

    def recognises(self, spec: ModelSpec) -> bool:
        """A model folder of ours, or a bundled name."""
        return card_folder(spec.base, self.name) is not None

    def load(self, spec: ModelSpec) -> IvectorModel:
        """The model named by ``spec``.

        The twin (``random:FOLDER,seed=N``) keeps the background mixture, without which there are no
        statistics, and draws the total variability matrix as training does before its first
        iteration.

        Raises:
            CheckpointError: the folder is damaged or does not fit together.
            ConfigError: an option is unknown.
        """
        from voxstrata.models.ivector.model import IvectorModel
        from voxstrata.models.ivector.network import IvectorNetwork
        from voxstrata.models.ivector.options import IvectorOptions
        from voxstrata.models.placement import refuse_revision
        from voxstrata.models.weights import load_strictly
        from voxstrata.numerics.variability_fit import random_loading

        refuse_revision(spec.revision, spec.base)
        folder = card_folder(spec.base, self.name)
        if folder is None:
            raise CheckpointError(
                f"{spec.base} is no folder of an i-vector extractor",
                expected="a folder that `voxstrata train ivector-small` wrote",
            )
        seed = twin_seed(spec)
        opened = open_card(folder)
        options = build(IvectorOptions, dict(opened.options), source=str(folder / CARD))
        if options.width != opened.front.width:
            raise CheckpointError(
                f"the front end in {folder / CARD} does not fit the extractor",
                got=f"{opened.front.width} numbers a frame",
                expected=f"{options.width}",
            )
        network = IvectorNetwork(options)
        load_strictly(network, opened.weights(), str(folder))
        facts: dict[str, Any] = opened.facts
        if spec.random:
            mixture, selector = network.mixture, network.aligner.selector
            network.fill(mixture, selector, random_loading(mixture, options.rank, seed))
            facts = {"random": True, "seed": seed, "shape_of": opened.card.get("name")}
        return IvectorModel(spec.text, network, opened.front, facts, spec.cut)


FAMILY = IvectorFamily()
