"""The one pass over the recordings: what heads are trained on, made once for all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from voxstrata.files import fingerprint
from voxstrata.probing.cells import Features, Reads
from voxstrata.probing.frames import FrameFeatures, Frames, FrameStore, alike, frame_sinks
from voxstrata.probing.live import LiveFrames
from voxstrata.probing.norms import MeanReducer, NormUnit, Standardised
from voxstrata.probing.prepare import Prepared
from voxstrata.streaming.cluster.run import run_pass
from voxstrata.streaming.onepass import Pass, PassReport, Sink
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import STATE, STORE, Hooks
from voxstrata.streaming.setup import away_of
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.streaming.unit_frame import UtteranceUnit
from voxstrata.streaming.units import Unit


@dataclass(frozen=True)
class Held:
    """What the pass left.

    Attributes:
        means: time means of every layer.
        frames: for each frame layer, by position in the stack, where its frames come from and its
            place there.
        norms: mean norms of layers.
    """

    means: RowStore
    frames: Mapping[int, tuple[Frames, int]]
    norms: Sequence[float]

    @property
    def place(self) -> dict[str, int]:
        """Row of each recording that could be read."""
        return {str(name): i for i, name in enumerate(self.means.index["utterance"])}


@dataclass(frozen=True)
class System:
    """Layers that heads read together: those of one model, or of several.

    Attributes:
        spec: the model, or models with " + " between.
        layers: positions in the stack.
        subsets: positions in the stack of layers whose sum is asked for, by label.
        parts: the models, where these are several.
    """

    spec: str
    layers: tuple[int, ...]
    subsets: Mapping[str, tuple[int, ...]]
    parts: tuple[str, ...] = ()

    @property
    def joint(self) -> bool:
        """Whether the layers are those of several models."""
        return bool(self.parts)


def systems_of(prepared: Prepared) -> list[System]:
    """Every model of a run; and those that were asked for together, where that was asked."""
    found = []
    for number, model in enumerate(prepared.models):
        mine = tuple(i for i, layer in enumerate(prepared.stack) if layer.model == number)
        named = prepared.subsets[number].items()
        subsets = {label: tuple(mine[i] for i in places) for label, places in named}
        found.append(System(model.spec, mine, subsets))
    asked = [s for s in found if s.spec in prepared.config.models]
    if prepared.config.together and len(asked) > 1:
        layers = tuple(i for system in asked for i in system.layers)
        parts = tuple(system.spec for system in asked)
        found.append(System(" + ".join(parts), layers, {}, parts))
    return found


MEANS, NORMS = "means", "norms"
"""Names of what the pass keeps beside frames."""


def extraction(prepared: Prepared, folder: Path) -> Pass:
    """The pass that keeps time means of every layer of every recording, mean norms of layers, and
    the frames that some task needs."""
    stack, identity = prepared.stack, prepared.identity
    normalise = prepared.config.normalise
    every = tuple(range(len(stack)))
    unit: Unit = UtteranceUnit()
    sizes: Unit = NormUnit()
    if normalise:
        unit, sizes = Standardised(unit), Standardised(sizes)
    means = StoreReducer(
        folder / STORE / MEANS, stack, meta={"unit": unit.describe(), "identity": identity}
    )
    norms = MeanReducer(len(stack))
    sinks = [Sink(unit, every, means, MEANS), Sink(sizes, every, norms, NORMS)]
    if prepared.frame_ids and not prepared.live:
        place = folder / STORE / "frames"
        sinks += frame_sinks(place, stack, prepared.frame_ids, identity, normalise=normalise)
    prints = sorted(corpus.fingerprint for corpus in prepared.corpora.values())
    return Pass(
        prepared.utterances,
        prepared.models,
        stack,
        sinks,
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=folder / STATE,
        identity=identity,
        folds=[0] * len(prepared.utterances),
        source=prints[0] if len(prints) == 1 else fingerprint(prints),
        away=away_of(prepared.config),
    )


def extract(prepared: Prepared, folder: Path, hooks: Hooks[Prepared]) -> tuple[PassReport, Held]:
    """Make the pass, and open what it kept."""
    stack, normalise = prepared.stack, prepared.config.normalise
    work = extraction(prepared, folder)
    seconds = sum(utterance.duration_s for utterance in prepared.utterances)
    with bar("models", seconds, "s of speech", show=hooks.progress) as advance:
        report = run_pass(work, advance, hooks.say)
    named = {sink.name: sink for sink in work.sinks}
    means, norms = named.pop(MEANS).reducer.finish(), named.pop(NORMS).reducer.finish()
    kept: dict[int, tuple[Frames, int]] = {}
    for sink in named.values():
        assert isinstance(sink.reducer, StoreReducer)
        store = FrameStore(sink.reducer.finish())
        kept |= {position: (store, i) for i, position in enumerate(sink.layers)}
    if prepared.live:
        needed = {u.id: u for u in prepared.utterances if u.id in prepared.frame_ids}
        for members in alike(stack):
            model = prepared.models[stack[members[0]].model]
            names = [stack[i].info.name for i in members]
            live = LiveFrames(model, names, needed, normalise=normalise)
            kept |= {position: (live, i) for i, position in enumerate(members)}
    return report, Held(means, kept, norms)


def layers_of(prepared: Prepared, system: System, on_frames: bool) -> tuple[int, ...]:
    """Layers of a system that heads read; none where heads on frames would find no frames."""
    if not on_frames:
        return system.layers
    timed = tuple(i for i in system.layers if prepared.stack[i].info.kind == "frame")
    repeated = prepared.config.utterance_layers == "repeat"
    return system.layers if timed and repeated else timed


def reads_of(prepared: Prepared, system: System, layers: Sequence[int]) -> Reads:
    """What heads read of a system, in positions among ``layers``."""
    names = tuple(
        f"{prepared.stack[i].name} {prepared.stack[i].info.name}"
        if system.joint
        else prepared.stack[i].info.name
        for i in layers
    )
    subsets = {}
    for label, members in system.subsets.items():
        if not all(i in layers for i in members):
            continue  # layers without frames: another sum under the same name would mislead
        places = tuple(layers.index(i) for i in members)
        if 2 <= len(places) < len(layers):
            subsets[label] = places
    config = prepared.config
    ablated = config.ablation and config.singles and system.spec in config.models
    return Reads(names, subsets, system.joint or not config.singles, ablated)


def features_of(
    prepared: Prepared, held: Held, reads: Reads, layers: Sequence[int], *, on_frames: bool
) -> tuple[Features, FrameFeatures | None]:
    """Time means of some layers, and their frames where heads read them."""
    place = held.place
    rows: list[torch.Tensor] = [held.means.layer(i) for i in layers]
    means = Features(reads.names, rows, place)
    if not on_frames:
        return means, None
    infos = [
        replace(prepared.stack[i].info, name=name)
        for i, name in zip(layers, reads.names, strict=True)
    ]
    sources = [held.frames.get(i, mean) for i, mean in zip(layers, rows, strict=True)]
    return means, FrameFeatures(infos, sources, place)
