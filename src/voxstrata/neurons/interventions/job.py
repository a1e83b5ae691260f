"""From a set of neurons to folders: the edited model, and its controls beside it."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxstrata.corpora import load_corpus
from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import Kind
from voxstrata.models.load import load_model
from voxstrata.neurons.interventions.activity import POOL, Activity, measure
from voxstrata.neurons.interventions.intervene import intervene, save_intervention
from voxstrata.neurons.interventions.matched import Control, matched_sets
from voxstrata.neurons.sets import NeuronSet
from voxstrata.registry import unknown_name
from voxstrata.streaming.progress import bar


@dataclass(frozen=True)
class Made:
    """A folder that was written.

    Attributes:
        folder: where.
        neurons: the set of neurons that are changed there.
        notes: what a user of it must know.
    """

    folder: Path
    neurons: NeuronSet
    notes: tuple[str, ...]


def restrict(
    neurons: NeuronSet, group: str | None = None, layers: Sequence[str] | None = None
) -> NeuronSet:
    """The part of a set that comes from one group, or lies in some layers.

    Args:
        neurons: the set.
        group: name of a group.
        layers: names or patterns (``block.1.*``).

    Raises:
        UsageError: there is no such group; UnknownNameError: a pattern matches no layer of the set.
    """
    found = neurons if group is None else neurons.group(group)
    if layers is None:
        return found
    if not layers:
        raise UsageError(
            "no layers of the neuron set are chosen",
            got="an empty list",
            expected=", ".join(neurons.widths),
        )
    kept: set[str] = set()
    for item in layers:
        hits = fnmatch.filter(neurons.widths, item)
        if not hits:
            raise unknown_name("layer of the neuron set", item, list(neurons.widths))
        kept.update(hits)
    return replace(
        found,
        name=f"{found.name} in {', '.join(layers)}",
        layers={layer: found.of(layer) if layer in kept else () for layer in found.widths},
        groups={},
    )


def make_edits(
    model: SpeechModel | str,
    neurons: NeuronSet,
    kind: Kind,
    out: Path,
    *,
    group: str | None = None,
    layers: Sequence[str] | None = None,
    corpus: str | None = None,
    limit: int | None = None,
    factor: float | None = None,
    seed: int = 0,
    pool: int = POOL,
    controls: int = 0,
    control: Control = "random",
    as_weights: bool = False,
    progress: bool = False,
) -> list[Made]:
    """Write an edited model to ``out``, and controls to ``out-random-1``, ``out-random-2``, ...

    Args:
        model: the model, or its name.
        neurons: whose parts are changed; see :func:`restrict` for ``group`` and ``layers``.
        kind: what is done; see :func:`voxstrata.neurons.interventions.intervene.intervene`.
        out: folder of the edited model.
        corpus: whose means and frames are taken, for ``mean``, ``resample`` and norm-matched
            controls (random ones then say how well they match, too).
        limit: use a seeded subset of that many recordings.
        factor: for ``scale``.
        seed: of subset, sample, draws and controls.
        pool: frames to draw from.
        controls: number of control sets; changed in the same way.
        control: "random" or "norm"; see :func:`voxstrata.neurons.interventions.matched.matched`.
        as_weights: write ordinary models with the edit in their weights.
        progress: show a bar.

    Returns:
        what was written: the edit, then the controls.

    Raises:
        UsageError: a folder is in use, something the kind needs is missing, too few neurons are
            left for a control; nothing is written then.
        ModelError: the set belongs to another model.
    """
    loaded = load_model(model) if isinstance(model, str) else model
    chosen = restrict(neurons, group, layers)
    chosen.check(loaded)
    folders = [out, *(out.with_name(f"{out.name}-{control}-{i + 1}") for i in range(controls))]
    if taken := [str(f) for f in folders if f.exists() and (f.is_file() or any(f.iterdir()))]:
        raise UsageError(
            "folders to be written are in use", got=", ".join(taken), fix="choose another name"
        )
    if corpus is None and (kind in ("mean", "resample") or (controls and control == "norm")):
        raise UsageError(
            f"{kind if kind in ('mean', 'resample') else 'norm-matched controls'} must be measured "
            "on recordings",
            expected="a corpus",
            fix="--corpus CORPUS; erase, scale and random controls need none",
        )
    activity = None
    if corpus is not None:
        used = [layer for layer in chosen.widths if controls or chosen.of(layer)]
        activity = _measure(loaded, corpus, limit, seed, pool, used, progress)
    sets = [chosen]
    if controls:
        # Neurons of the other groups are no controls of this one.
        sets += matched_sets(
            chosen, loaded, activity, control, many=controls, seed=seed, exclude=[neurons]
        )
    models = [
        intervene(loaded, found, kind, activity=activity, factor=factor, seed=seed)
        for found in sets
    ]
    made = []
    for folder, found, edited in zip(folders, sets, models, strict=True):
        notes = save_intervention(edited, found, folder, as_weights=as_weights)
        made.append(Made(folder, found, tuple(notes)))
    return made


def _measure(
    model: SpeechModel,
    spec: str,
    limit: int | None,
    seed: int,
    pool: int,
    layers: list[str],
    progress: bool,
) -> Activity:
    corpus = load_corpus(spec)
    if limit is not None and limit < len(corpus):
        corpus = corpus.subset(utterances=limit, seed=seed)
    with bar("activity", corpus.seconds, "s of speech", show=progress) as advance:
        return measure(
            model, corpus.utterances, layers=layers, pool=pool, seed=seed, advance=advance
        )
