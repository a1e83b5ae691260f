"""What is asked of each model of a run: its neurons, contrasts, and what these are made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from voxstrata.corpora import Corpus
from voxstrata.errors import CorpusError, NumericsError, UsageError, VoxstrataError
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.base import layer as find_layer
from voxstrata.models.neurons import neuron_layers
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
from voxstrata.streaming.setup import LeftOut
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
        notes: of what could not be made otherwise.
    """

    model: SpeechModel
    neurons: tuple[LayerInfo, ...]
    contrasts: list[Contrast]
    conditions: list[FrameLabels]
    rule: Rule
    meetings: list[tuple[FrameLabels, FrameLabels]] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def analysed_models(
    models: list[SpeechModel], config: NeuronsConfig, corpus: Corpus, vectors: Vectors
) -> tuple[list[Analysed], list[LeftOut]]:
    """What is asked of every model, and contrasts that cannot be.

    Args:
        models: of the run.
        config: its settings.
        corpus: the recordings.
        vectors: makes labels of recordings from vectors, or only names them.

    Raises:
        VoxstrataError: a contrast that was asked for is malformed or names what is not known, or
            none can be made of this corpus.
    """
    vectors.corpus, vectors.text = corpus, config.corpus
    analysed, left_out = [], dict[str, LeftOut]()
    for model in models:
        one, gone = _analysed(model, config, corpus, vectors)
        analysed.append(one)
        left_out |= {item.name: item for item in gone}
    return analysed, list(left_out.values())


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
    sources = sources_of(model, config, corpus, vectors)
    other = config.seed + 1000
    reseeded = replace(sources, seed=other, note=f" (seed {other})")
    if config.cluster_layer is not None:
        clustered_layer(model, config.cluster_layer)  # a name that is wrong is no missing label
    contrasts, left_out = [], []
    wanted = tuple(dict.fromkeys(config.contrasts or DEFAULT))
    for text in wanted:
        asked = config.contrasts is not None or (config.ivector and text.startswith("ivector"))
        try:
            contrasts.append(make_contrast(text, sources))
        except (CorpusError, NumericsError, UsageError) as error:
            # A label that the corpus lacks costs one contrast of several, a slip the run.
            if asked and (len(wanted) == 1 or isinstance(error, UsageError)):
                raise
            left_out.append(
                LeftOut(text, error.what if error.got is None else f"{error.what}: {error.got}")
            )
    if not contrasts:
        raise UsageError(
            f"the corpus {corpus.name} has no labels that neurons could be asked about",
            got="; ".join(f"{item.name}: {item.reason}" for item in left_out),
            expected="phones, gender, or labels in a file",
            fix="name what is to be told apart: --contrast clusters=3",
        )
    named = frame_conditions(contrasts)
    notes: list[str] = []
    tried = (
        list(variants(contrasts, rule, neurons, sources, reseeded, notes)) if config.sweep else []
    )
    conditions = frame_conditions([*contrasts, *(v.contrast for v in tried if v.rule is rule)])
    meetings: list[tuple[FrameLabels, FrameLabels]] = [
        (part, classes)
        for part in learners(named)
        if isinstance(part, StateClusters)
        for classes in known_classes(corpus, config.semivowels)
    ]
    return Analysed(model, neurons, contrasts, conditions, rule, meetings, tried, notes), left_out


def sources_of(
    model: SpeechModel, config: NeuronsConfig, corpus: Corpus, vectors: Vectors
) -> Sources:
    """What contrasts of one model are made of."""
    return Sources(
        corpus,
        lambda place: clustered_layer(model, place or config.cluster_layer or ""),
        vectors.labels,
        config.frames,
        config.semivowels,
        config.seed,
    )


def filed(conditions: list[FrameLabels]) -> list[FileFrames]:
    """The parts of conditions that come from files."""
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
