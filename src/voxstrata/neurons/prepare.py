"""Everything a neurons run needs before work starts, checked and planned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import CorpusError, NumericsError, UsageError, VoxstrataError
from voxstrata.files import fingerprint
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.base import layer as find_layer
from voxstrata.models.load import find_family
from voxstrata.models.neurons import neuron_layers
from voxstrata.models.spec import parse
from voxstrata.models.twins import add_twins
from voxstrata.neurons.conditions.condition import Contrast, Crossed
from voxstrata.neurons.conditions.files import FileFrames
from voxstrata.neurons.conditions.parse import (
    Sources,
    frame_conditions,
    learners,
    make_contrast,
)
from voxstrata.neurons.conditions.states import StateClusters
from voxstrata.neurons.conditions.tiers import classes_of, spans
from voxstrata.neurons.counting import FrameLabels
from voxstrata.neurons.rules import Rule, make_rule
from voxstrata.neurons.sensitivity import Variant, variants
from voxstrata.neurons.settings import DEFAULT, NeuronsConfig
from voxstrata.neurons.unit_vectors import Vectors
from voxstrata.neurons.units import choose_units
from voxstrata.streaming.batches import Shard, make_shards
from voxstrata.streaming.setup import (
    SHARD_S,
    LeftOut,
    batch_seconds,
    choose_device,
    untrained_notice,
)
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.unit_segment import stress_free
from voxstrata.types import LayerInfo, Segment


@dataclass(frozen=True)
class Analysed:
    """One model of a run.

    Attributes:
        model: the model.
        neurons: its neuron layers.
        contrasts: what its neurons are asked.
        conditions: the frame conditions of those.
        rule: when a neuron is active.
        meetings: clusters of frames, and the labels they are held against.
        variants: the contrasts made otherwise.
    """

    model: SpeechModel
    neurons: tuple[LayerInfo, ...]
    contrasts: list[Contrast]
    conditions: list[FrameLabels]
    rule: Rule
    meetings: list[tuple[FrameLabels, FrameLabels]] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)


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
        left_out: contrasts that cannot be made, with reasons.
        notices: what the reader of the results must know.
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
    left_out: list[LeftOut] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

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


def prepare(config: NeuronsConfig, vectors: Vectors) -> Prepared:
    """Load, check and plan; only labels of recordings that need vectors are computed.

    Args:
        config: the settings.
        vectors: makes labels of recordings from i-vectors or embeddings, and keeps them.

    Raises:
        VoxstrataError: anything in the settings, corpus or models is wrong; no contrast can be
            made.
    """
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
    vectors.corpus, vectors.text = corpus, config.corpus
    analysed = []
    left_out: dict[str, LeftOut] = {}
    for model in models:
        one, gone = _analysed(model, config, corpus, vectors)
        analysed.append(one)
        left_out |= {item.name: item for item in gone}
    helpers = _helpers(analysed, device)
    units = choose_units(config.units, corpus, analysed)
    trained_for = set(twins.values())
    notices = untrained_notice([m for m in models if m.spec not in trained_for]) + without
    if units.by != "recording" and config.units == "auto":
        notices.append(f"Counts are kept by {units.by}: by recording they would not fit in memory.")
    if corpus.skipped:
        notices.append(f"{len(corpus.skipped)} recordings were left out before the run.")
    shards = make_shards(corpus.utterances, [0] * len(corpus), SHARD_S)
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.model_dump(mode="json"),
            "corpus": corpus.fingerprint,
            "models": [model.fingerprint for model in models],
            "labels": [
                [c.name, sorted(c.labels.of.items())]
                for c in analysed[0].contrasts
                if c.labels is not None
            ],
            "frames": [part.digest() for part in _filed(analysed[0].conditions)],
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
        list(left_out.values()),
        notices,
    )


def _analysed(
    model: SpeechModel, config: NeuronsConfig, corpus: Corpus, vectors: Vectors
) -> tuple[Analysed, list[LeftOut]]:
    neurons = neuron_layers(model)
    if config.layers is not None:
        names = {info.name for info in choose_layers(model, config.layers)}
        neurons = tuple(info for info in neurons if info.name in names)
        if not neurons:
            raise UsageError(
                f"none of the layers asked for holds neurons of {model.spec}",
                got=", ".join(config.layers),
                expected=", ".join(info.name for info in neuron_layers(model)),
            )
    rule = make_rule(config.rule)
    for info in neurons:
        rule.top(info.width)  # a share that leaves no neuron is told now
    sources = Sources(
        corpus,
        lambda place: clustered_layer(model, place or config.cluster_layer or ""),
        vectors.labels,
        config.frames,
        config.semivowels,
        config.seed,
    )
    other = config.seed + 1000
    reseeded = replace(sources, seed=other, note=f" (seed {other})")
    if config.cluster_layer is not None:
        clustered_layer(model, config.cluster_layer)  # a name that is wrong is no missing label
    contrasts, left_out = [], []
    for text in dict.fromkeys(config.contrasts or DEFAULT):
        asked = config.contrasts is not None or (config.ivector and text.startswith("ivector"))
        try:
            contrasts.append(make_contrast(text, sources))
        except (CorpusError, NumericsError, UsageError) as error:
            if asked:
                raise
            left_out.append(LeftOut(text, error.what))
    if not contrasts:
        raise UsageError(
            f"the corpus {corpus.name} has no labels that neurons could be asked about",
            got="; ".join(f"{item.name}: {item.reason}" for item in left_out),
            expected="phones, gender, or labels in a file",
            fix="name what is to be told apart: --contrast clusters=3",
        )
    named = frame_conditions(contrasts)
    tried = list(variants(contrasts, rule, neurons, sources, reseeded)) if config.sweep else []
    conditions = frame_conditions([*contrasts, *(v.contrast for v in tried if v.rule is rule)])
    meetings: list[tuple[FrameLabels, FrameLabels]] = [
        (part, classes)
        for part in learners(named)
        if isinstance(part, StateClusters)
        for classes in known_classes(corpus, config.semivowels)
    ]
    return Analysed(model, neurons, contrasts, conditions, rule, meetings, tried), left_out


def _filed(conditions: list[FrameLabels]) -> list[FileFrames]:
    parts = [
        part
        for one in conditions
        for part in ((one.first, one.second) if isinstance(one, Crossed) else (one,))
    ]
    return [part for part in parts if isinstance(part, FileFrames)]


def known_classes(corpus: Corpus, semivowels: bool) -> list[FrameLabels]:
    """What clusters of frames are held against: broad classes, and phones, where there are any."""
    try:
        phones = spans(corpus, "phones")
    except VoxstrataError:
        return []
    found: list[FrameLabels] = [phones]
    try:
        names, of = classes_of(phones.rows, semivowels=semivowels)
    except VoxstrataError:
        return found
    table = dict(zip(phones.rows, of, strict=True))

    def broad(segment: Segment) -> str | None:
        number = table.get(stress_free(segment.label), -1)
        return None if number < 0 else names[number]

    return [spans(corpus, "phones", "classes", row_of=broad, rows=names), *found]


def clustered_layer(model: SpeechModel, place: str) -> str:
    """Key of the layer whose states are clustered.

    Args:
        model: the model.
        place: name of a layer, ``@NAME``, or empty for the middle one of its default layers.

    Raises:
        UnknownNameError: no such layer.
        UsageError: it has no frames.
    """
    name = place.removeprefix("@")
    if name:
        info = find_layer(model, name)
    else:
        frames = [info for info in model.layers if info.default and info.kind == "frame"]
        info = frames[len(frames) // 2]
    if info.kind != "frame":
        raise UsageError(f"the layer {info.name} of {model.spec} has no frames to cluster")
    return f"{model.spec}/{info.name}"


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
