"""Neurons to protect, found in a model as it stands: before every step, or before every layer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from voxstrata.config import build
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.job import SETS, run_neurons
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.rows import Find
from voxstrata.neurons.sets import NeuronSet, load_set
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.streaming.runs import Hooks


def search(model: str, contrasts: Sequence[str], corpus: str, **settings: Any) -> NeuronsConfig:
    """Settings of the analysis that finds neurons to protect: the selection alone.

    Args:
        model: text of the model.
        contrasts: what is told apart.
        corpus: corpus it is looked for in.
        settings: others of :class:`NeuronsConfig`.
    """
    alone = {"draws": 0, "splits": 0, "rankings": False, "twins": False}
    given = {"models": (model,), "contrasts": tuple(contrasts), "corpus": corpus}
    return build(NeuronsConfig, given | alone | settings)


def finder(
    contrasts: Sequence[str],
    corpus: str,
    folder: Path,
    *,
    ivector: str | None = None,
    rule: str = "top=0.01",
    sigma: float = 0.8,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> Find:
    """A function that gives the union of the property neurons of some contrasts.

    Its groups are those of the contrasts, with the contrast's name before them where there are
    several ("gender/phones: F").

    Each model it is asked about gets a folder of its own, by its fingerprint: what was found once
    is read again, also by a run that goes on.

    Args:
        contrasts: what is told apart ("gender/phones"), as for ``voxstrata neurons``.
        corpus: corpus it is looked for in.
        folder: for counts and sets.
        ivector: an i-vector model, where contrasts need one.
        rule: when a neuron is active.
        sigma: least share of rows.
        limit: use a seeded subset of this many recordings.
        seed: of subsets and clusters.
        device: where models run.
        progress: show bars.
        say: shows a line.
    """

    def find(model: SpeechModel) -> NeuronSet:
        place = folder / model.fingerprint
        done = place / "union.json"
        if not done.exists():
            if (place / "model").exists():  # perhaps not whole
                shutil.rmtree(place / "model")
            take_copy(model).save(place / "model", "model", {})
            config = search(
                str(place / "model"), contrasts, corpus, ivector=ivector, rule=rule, sigma=sigma,
                limit=limit, seed=seed, device=device,
            )  # fmt: skip
            run_neurons(config, place / "found", hooks=Hooks(progress=progress))
            paths = sorted((place / "found" / SETS).glob("*/*.json"))
            sets = [load_set(path) for path in paths if not path.stem.endswith("-tested")]
            union = reduce(lambda one, other: one.union(other), sets)
            groups = {
                group if len(sets) == 1 else f"{one.name}: {group}": members
                for one in sets
                for group, members in one.groups.items()
            }
            replace(union, name=" or ".join(contrasts), groups=groups).save(done)
            say(
                f"protected: {', '.join(contrasts)}: "
                + ", ".join(str(n) for n in union.counts().values())
                + " neurons"
            )
            shutil.rmtree(place / "model")
        return replace(load_set(done), model=model.spec, fingerprint=model.fingerprint)

    return find
