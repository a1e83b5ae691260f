"""Labels of recordings from vectors, made once a run and kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from voxstrata.errors import UsageError, VoxstrataError
from voxstrata.models import load_model
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.neurons.conditions.vectors import vector_clusters
from voxstrata.verification.embed import Embeddings, embed

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus

RECIPE = "ivector-small"
"""Recipe by which an i-vector model is trained where none is named."""


class Vectors:
    """Makes labels from a model's vectors; one for all models of a run.

    Args:
        folder: where vectors, and an i-vector model trained on the corpus, are kept.
        ivector: the i-vector model; ``None`` to train one on the corpus.
        seed: of training.
        say: shows a line.
        afresh: do not take over an i-vector model that an earlier run left in the folder.
    """

    def __init__(
        self,
        folder: Path,
        ivector: str | None,
        seed: int,
        say: Callable[[str], None] = lambda _text: None,
        afresh: bool = False,
    ) -> None:
        self.afresh = afresh
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
        spec = self._spec(text, place)
        if spec in self._failed:  # every model of a run asks
            raise self._failed[spec]
        try:
            found = self._embeddings(spec)
        except VoxstrataError as error:
            self._failed[spec] = error
            raise
        return vector_clusters(text, found, groups, seed)

    def _spec(self, text: str, place: str) -> str:
        """The model whose vectors are meant, with its layer; empty for one that is trained."""
        if text.startswith("vectors") and not place:
            raise UsageError(
                f"{text!r} does not say whose vectors",
                expected="for example vectors=2:ecapa-small-supervised",
            )
        return place or self.ivector or ""

    def _embeddings(self, spec: str) -> Embeddings:
        assert self.corpus is not None
        if spec not in self._found:
            name = spec or self._trained()
            self.say(f"vectors of {len(self.corpus)} recordings by {name}")
            layer = None
            if "@" in name:
                name, _, layer = name.rpartition("@")
            self._found[spec] = embed(
                load_model(name), self.corpus, layer=layer, cache=self.folder / "vectors"
            )
        return self._found[spec]

    def _trained(self) -> str:
        """An i-vector model of the corpus itself, in ``ivector/model`` of the run's folder."""
        from voxstrata.training.ivector.job import run_ivector_training
        from voxstrata.training.kinds import KINDS

        assert self.text is not None
        folder = self.folder / "ivector"
        changes = [f"data.corpus={json.dumps(self.text)}", f"run.seed={self.seed}"]
        changes.append("data.valid=null")  # the recipe's own would be made first, for one EER
        config = KINDS.get("ivector").read(RECIPE, changes)
        self.say(f"no i-vector model was named: training {RECIPE} on {self.text}")
        run_ivector_training(config, folder, overwrite="always" if self.afresh else "missing")
        return str(folder / "model")


class Unmade(Vectors):
    """For plans: labels with no recording, since a plan computes nothing."""

    def __init__(self, ivector: str | None = None) -> None:
        super().__init__(Path(), ivector, 0)

    def labels(self, text: str, place: str, groups: int, seed: int) -> Labels:
        """Names of the clusters alone; a model that is not known is told."""
        spec = self._spec(text, place)
        if spec:
            find_family(parse(spec.rpartition("@")[0] if "@" in spec else spec))
        return Labels(text, tuple(f"cluster {i + 1}" for i in range(groups)), {})
