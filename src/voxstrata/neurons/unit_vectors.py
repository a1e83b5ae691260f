"""Labels of recordings from vectors: named in the plan, made once a run, kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import VoxstrataError
from voxstrata.files import fingerprint
from voxstrata.models import load_model
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.neurons.conditions.vectors import known_vectors, model_of, vector_clusters
from voxstrata.verification.embed import Embeddings, choose, embed

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus

RECIPE = "ivector-small"
"""Recipe by which an i-vector model is trained where none is named."""

IVECTOR, VECTORS = "ivector", "vectors"
"""Folders, in the output folder, of that model and of vectors."""


class Vectors:
    """Makes labels from a model's vectors; one for all models of a run.

    Args:
        folder: where vectors, and an i-vector model trained on the corpus, are kept.
        ivector: the i-vector model; ``None`` to train one on the corpus.
        seed: of training.
        say: shows a line.
    """

    def __init__(
        self,
        folder: Path,
        ivector: str | None,
        seed: int,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.folder, self.ivector, self.seed, self.say = folder, ivector, seed, say
        self.corpus: Corpus | None = None
        self.text: str | None = None
        self._found: dict[str, Embeddings] = {}
        self._failed: dict[str, VoxstrataError] = {}

    def labels(self, text: str, place: str, groups: int, seed: int) -> Labels:
        """Clusters of the corpus's recordings.

        Args:
            text: of the condition.
            place: ``MODEL`` or ``MODEL@LAYER`` (of ``vectors=``); empty for i-vectors.
            groups: how many.
            seed: of k-means.

        Raises:
            UsageError: ``vectors=`` without a model.
            VoxstrataError: the model cannot be loaded, trained or used.
        """
        known_vectors(text, place, groups)
        spec = place or self.ivector or ""
        if spec in self._failed:  # every model of a run asks
            raise self._failed[spec]
        try:
            found = self._embeddings(spec)
        except VoxstrataError as error:
            self._failed[spec] = error
            raise
        return vector_clusters(text, found, groups, seed)

    def _embeddings(self, spec: str) -> Embeddings:
        assert self.corpus is not None
        if spec not in self._found:
            name, layer = model_of(spec or self._trained())
            self.say(f"vectors of {len(self.corpus)} recordings by {name}")
            self._found[spec] = embed(
                load_model(name), self.corpus, layer=layer, cache=self.folder / VECTORS
            )
        return self._found[spec]

    def _trained(self) -> str:
        """An i-vector model of the corpus itself, in ``ivector/model`` of the run's folder."""
        from voxstrata.training.ivector.job import run_ivector_training

        folder = self.folder / IVECTOR
        self.say(f"no i-vector model was named: training {RECIPE} on {self.text}")
        run_ivector_training(self._recipe(), folder)
        return str(folder / "model")

    def _recipe(self) -> Any:
        """Settings of that training."""
        from voxstrata.training.kinds import KINDS

        assert self.text is not None
        changes = [f"data.corpus={json.dumps(self.text)}", f"run.seed={self.seed}"]
        changes.append("data.valid=null")  # the recipe's own would be made first, for one EER
        return KINDS.get("ivector").read(RECIPE, changes)


class Unmade(Vectors):
    """For plans: labels with no recording, and what they will be made by.

    Attributes:
        by: fingerprint of the model, or of the settings it will be trained with, by what the user
            named (empty for i-vectors of a model that is trained).
    """

    def __init__(self, ivector: str | None = None, seed: int = 0) -> None:
        super().__init__(Path(), ivector, seed)
        self.by: dict[str, str] = {}

    def labels(self, text: str, place: str, groups: int, seed: int) -> Labels:
        """Names of the clusters alone.

        Raises:
            UsageError: fewer than two groups, or fewer recordings than groups.
            VoxstrataError: a model or layer that is not known.
        """
        known_vectors(text, place, groups, None if self.corpus is None else len(self.corpus))
        spec = place or self.ivector or ""
        if spec not in self.by:
            name, layer = model_of(spec)
            if name:
                model = load_model(name)
                choose(model, layer)
                self.by[spec] = model.fingerprint
            else:
                self.by[spec] = fingerprint(self._recipe().model_dump(mode="json"))
        return Labels(text, tuple(f"cluster {i + 1}" for i in range(groups)), {})
