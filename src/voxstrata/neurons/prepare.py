"""Everything a neurons run needs before work starts, checked and planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.files import fingerprint
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.base import layer as find_layer
from voxstrata.models.load import find_family
from voxstrata.models.neurons import neuron_layers
from voxstrata.models.spec import parse
from voxstrata.models.twins import add_twins
from voxstrata.neurons.analysed import Analysed, analysed_models, filed
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.unit_vectors import Unmade, Vectors
from voxstrata.neurons.units import choose_units
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.setup import (
    LeftOut,
    away_of,
    batch_seconds,
    choose_device,
    order_of_work,
    untrained_notice,
)
from voxstrata.streaming.stack import StackLayer


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        corpus: the recordings.
        analysed: its models, twins last.
        twins: trained model to its untrained twin.
        helpers: models that conditions read (pitch).
        units: names of what is counted by itself.
        unit_of: number of the unit of each recording.
        by: "recording", "speaker" or "speaker and label" (:mod:`.units`).
        speakers: speaker of each unit; ``None`` where a recording has none.
        shards: order of work.
        batch_s: seconds of audio a batch.
        device: where models run.
        identity: digest of all that numbers depend on.
        vectors: what labels of recordings are made from: fingerprint of the model, or of the
            settings it is trained with, by what the user named.
        left_out: contrasts that cannot be made, with reasons.
        general: what the reader must know of models and corpus.
    """

    config: NeuronsConfig
    corpus: Corpus
    analysed: list[Analysed]
    twins: dict[str, str]
    helpers: list[SpeechModel]
    units: tuple[str, ...]
    unit_of: dict[str, int]
    by: str
    speakers: tuple[str | None, ...]
    shards: list[Shard]
    batch_s: float
    device: str
    identity: str
    vectors: Mapping[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    general: list[str] = field(default_factory=list)

    @property
    def notices(self) -> list[str]:
        """What the reader of the results must know."""
        found = list(self.general)
        if self.by != "recording" and self.config.units == "auto":
            found.append(
                f"Counts are kept by {self.by}: by recording they would not fit in memory."
            )
        for one in self.analysed:
            found += unlabelled(one, len(self.corpus)) + one.notes
        return list(dict.fromkeys(found))

    @property
    def members(self) -> dict[str, str]:
        """Name of the unit of each recording."""
        return {name: self.units[at] for name, at in self.unit_of.items()}

    @property
    def models(self) -> list[SpeechModel]:
        """All models of the pass: those analysed, then helpers."""
        return [one.model for one in self.analysed] + self.helpers

    def stack(self) -> list[StackLayer]:
        """Layers the pass reads: of each model its neurons and the layers that are clustered."""
        found = []
        for number, one in enumerate(self.analysed):
            wanted = [*(info.name for info in one.neurons)]
            own = f"{one.model.spec}/"
            for condition in one.conditions:
                for key in condition.layers:
                    if key.startswith(own) and key[len(own) :] not in wanted:
                        wanted.append(key[len(own) :])
            found += [
                StackLayer(number, one.model.spec, find_layer(one.model, name)) for name in wanted
            ]
        for number, helper in enumerate(self.helpers, start=len(self.analysed)):
            found += [StackLayer(number, helper.spec, info) for info in helper.layers]
        return found


def prepare(config: NeuronsConfig) -> Prepared:
    """Load, check and plan; nothing is computed or written.

    Labels of recordings that come from vectors have names and no recordings yet:
    :func:`with_vectors` makes them.

    Args:
        config: the settings.

    Raises:
        VoxstrataError: anything in the settings, corpus or models is wrong; no contrast can be
            made.
    """
    away_of(config)  # a wrong --cluster is told before anything is read
    for spec in config.models:
        find_family(parse(spec))
    make_rule(config.rule)
    corpus = load_corpus(config.corpus, on_error=config.on_error)
    if config.limit is not None and config.limit < len(corpus):
        corpus = corpus.subset(utterances=config.limit, seed=config.seed)
    device = choose_device(config.device)
    models = [load_model(spec, device=device, dtype=config.dtype) for spec in config.models]
    for model in models:
        neuron_layers(model)  # a model without neurons is told before its twin is built
    twins, without = (
        add_twins(models, device=device, dtype=config.dtype) if config.twins else ({}, [])
    )
    unmade = Unmade(config.ivector, config.seed)
    analysed, left_out = analysed_models(models, config, corpus, unmade)
    helpers = _helpers(analysed, device)
    units = choose_units(config.units, corpus, analysed)
    trained_for = set(twins.values())
    notices = untrained_notice([m for m in models if m.spec not in trained_for]) + without
    if corpus.skipped:
        notices.append(f"{len(corpus.skipped)} recordings were left out before the run.")
    shards = order_of_work(corpus.utterances, config.seed)
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.model_dump(mode="json", exclude={"cluster"}),
            "corpus": corpus.fingerprint,
            "models": [model.fingerprint for model in models],
            "labels": _labelled(analysed),
            "vectors": unmade.by,
            "frames": [part.digest() for part in filed(analysed[0].conditions)],
            "shards": [shard.members for shard in shards],
        }
    )
    return Prepared(
        config,
        corpus,
        analysed,
        twins,
        helpers,
        units.names,
        units.of,
        units.by,
        units.speakers,
        shards,
        batch_seconds(config.batch_s, device),
        device,
        identity,
        unmade.by,
        left_out,
        notices,
    )


def with_vectors(prepared: Prepared, vectors: Vectors) -> Prepared:
    """The run with labels of recordings that come from vectors.

    Its identity holds these labels: they come out of training and k-means, and counts that an
    earlier sitting made by other ones must not be added up with ours.

    Args:
        prepared: the plan.
        vectors: makes the labels, and keeps what they need in the run's folder.

    Raises:
        VoxstrataError: labels cannot be made.
    """
    if not prepared.vectors:
        return prepared
    config, corpus = prepared.config, prepared.corpus
    models = [one.model for one in prepared.analysed]
    analysed, left_out = analysed_models(models, config, corpus, vectors)
    units = choose_units(config.units, corpus, analysed)
    return replace(
        prepared,
        analysed=analysed,
        helpers=_helpers(analysed, prepared.device),
        units=units.names,
        unit_of=units.of,
        by=units.by,
        speakers=units.speakers,
        identity=fingerprint([prepared.identity, _labelled(analysed)]),
        left_out=left_out,
    )


def _labelled(analysed: list[Analysed]) -> list[Any]:
    """Labels of recordings, as JSON."""
    return [
        [c.name, sorted(c.labels.of.items())] for c in analysed[0].contrasts if c.labels is not None
    ]


def unlabelled(one: Analysed, recordings: int) -> list[str]:
    """Sentences on labels that only a part of the recordings have."""
    labels = {c.labels.name: c.labels for c in one.contrasts if c.labels is not None}
    missing = {name: recordings - len(given.of) for name, given in labels.items() if given.of}
    missing |= {part.name: part.unlabelled for part in filed(one.conditions)}
    return [
        f"{name}: {count} of {recordings} recordings have no label; its contrasts leave them out."
        for name, count in missing.items()
        if count
    ]


def _helpers(analysed: list[Analysed], device: str) -> list[SpeechModel]:
    have = {one.model.spec for one in analysed}
    wanted = {
        key.partition("/")[0]
        for one in analysed
        for condition in one.conditions
        for key in condition.layers
        if not any(key.startswith(f"{spec}/") for spec in have)
    }
    return [load_model(spec, device=device) for spec in sorted(wanted)]


def describe(prepared: Prepared) -> list[dict[str, Any]]:
    """The plan, for tables and the record."""
    return [
        {
            "model": one.model.spec,
            "layers": len(one.neurons),
            "neurons": sum(info.width for info in one.neurons),
            "active a frame": one.rule.top(one.neurons[0].width),
            "contrasts": [contrast.name for contrast in one.contrasts],
            "rows": sum(len(condition.rows) for condition in one.conditions),
        }
        for one in prepared.analysed
    ]
