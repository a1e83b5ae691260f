"""What a worker does: shards become a state on disk, two states become one.

Nothing here knows of other workers. A task is done over again without harm: it ends by writing
the same files, and finds them if they are there already.
"""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from voxstrata.errors import ModelError, VoxstrataError
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.cluster import parts
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.onepass import Pass, PassReport, Sink, work_shard
from voxstrata.streaming.reducers import Anchored, load_state, save_state
from voxstrata.streaming.setup import batch_seconds, choose_device
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance


@dataclass(frozen=True)
class Wanted:
    """A model as a worker must find it.

    Attributes:
        spec: its name.
        dtype: of its numbers.
        fingerprint: of its weights and settings.
    """

    spec: str
    dtype: str
    fingerprint: str


@dataclass(frozen=True)
class Blueprint:
    """All of a pass but its recordings; sent to every worker once.

    Attributes:
        token: names this pass on this cluster.
        place: folder of the parts, which all workers see.
        models: what to load.
        device: as asked for ("auto": each worker's own).
        batch_s: as asked for; ``None`` for what suits the device.
        stack: chosen layers of all models.
        sinks: units, and reducers that have seen nothing.
        on_error, identity, source: as in the pass.
        threads: of a worker's products; ``None`` leaves what its surroundings say.
    """

    token: str
    place: Path
    models: tuple[Wanted, ...]
    device: str
    batch_s: float | None
    stack: tuple[StackLayer, ...]
    sinks: tuple[Sink, ...]
    on_error: Literal["skip", "stop"]
    identity: str
    source: str
    threads: int | None = None


@dataclass(frozen=True)
class Piece:
    """The recordings of a leaf.

    Attributes:
        node: the leaf.
        utterances, folds: its recordings, in corpus order.
        shards: its shards, whose members are positions among ``utterances``.
    """

    node: Node
    utterances: tuple[Utterance, ...]
    folds: tuple[int, ...] | None
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Refused:
    """A worker that cannot do this work at all.

    Attributes:
        address: dask's name of it.
        host: its machine.
        reason: why not.
    """

    address: str
    host: str
    reason: str


@dataclass(frozen=True)
class Done:
    """A finished node.

    Attributes:
        recordings: recordings that contributed.
        skipped: recordings that did not.
    """

    recordings: int
    skipped: int


_BLUEPRINTS: dict[str, Blueprint] = {}
_MODELS: dict[str, list[SpeechModel]] = {}


def learn(blueprint: Blueprint) -> None:
    """Take in a blueprint (once a process)."""
    _BLUEPRINTS[blueprint.token] = blueprint


def forget(token: str) -> None:
    """Let go of a pass, its models above all."""
    _BLUEPRINTS.pop(token, None)
    _MODELS.pop(token, None)


def work(token: str, piece: Piece) -> Done | Refused:
    """Run the models over some shards.

    Returns:
        what was done; or why this worker never will (no such model on its disk, another version
        of it, no sight of the output folder).

    Raises:
        VoxstrataError: what the pass raises.
    """
    try:
        blueprint, models = _ready(token)
    except (VoxstrataError, KeyError) as error:
        return _refused(str(error))
    if blueprint.threads is not None:
        torch.set_num_threads(blueprint.threads)  # counts for the thread that calls it
    place, node = blueprint.place, piece.node
    if parts.done(place, node):  # by a worker that was lost before it could say so
        return _told(blueprint, place, node)
    sinks = _fresh(blueprint)
    for sink in sinks:
        anchor = _anchor(place, sink)
        if isinstance(sink.reducer, Anchored) and anchor.exists():
            load_state(anchor, sink.reducer)
    device = choose_device(blueprint.device)
    one = Pass(
        piece.utterances,
        models,
        blueprint.stack,
        sinks,
        piece.shards,
        batch_s=batch_seconds(blueprint.batch_s, device),
        on_error=blueprint.on_error,
        identity=blueprint.identity,
        folds=piece.folds,
        source=blueprint.source,
    )
    for shard in piece.shards:
        work_shard([one], [shard], lambda _amount: None)
    keep_anchors(place, sinks)
    one.report.clock = dict(one.clock.spent)
    parts.save(place, node, sinks, one.report.whole())
    return _told(blueprint, place, node)


def join(token: str, node: Node) -> Done | Refused:
    """Put the parts of a node together, from first to last, and delete them.

    Raises:
        VoxstrataError: a part is missing or damaged.
    """
    blueprint = _BLUEPRINTS.get(token)
    if blueprint is None:
        return _refused("it was never told of this pass")
    place = blueprint.place
    if not parts.done(place, node):
        sinks, others = _fresh(blueprint), _fresh(blueprint)
        report = PassReport.of(parts.load(place, node.parts[0], sinks))
        for part in node.parts[1:]:
            report.merge(PassReport.of(parts.load(place, part, others)))
            for mine, theirs in zip(sinks, others, strict=True):
                mine.reducer.merge(theirs.reducer)
        parts.save(place, node, sinks, report.whole())
    for part in node.parts:
        parts.remove(place, part)
    return _told(blueprint, place, node)


def _told(blueprint: Blueprint, place: Path, node: Node) -> Done:
    report = parts.report_of(place, node)
    return Done(report["recordings"], len(report["skipped"]))


def _refused(reason: str) -> Refused:
    from distributed import get_worker

    return Refused(get_worker().address, socket.gethostname(), reason)


def keep_anchors(place: Path, sinks: Sequence[Sink]) -> None:
    """Write what reducers of other shards must share with these, as far as it is settled."""
    for sink in sinks:
        if isinstance(sink.reducer, Anchored) and not _anchor(place, sink).exists():
            blank = sink.reducer.anchor()
            if blank is not None:
                save_state(_anchor(place, sink), blank)


def anchored(place: Path, sinks: Sequence[Sink]) -> bool:
    """Whether all that must be shared is written."""
    needed = [sink for sink in sinks if isinstance(sink.reducer, Anchored)]
    return all(_anchor(place, sink).exists() for sink in needed)


def _anchor(place: Path, sink: Sink) -> Path:
    return place / f"anchor-{sink.name}.safetensors"


def _fresh(blueprint: Blueprint) -> list[Sink]:
    """Sinks with reducers of their own that have seen nothing."""
    return [replace(sink, reducer=copy.deepcopy(sink.reducer)) for sink in blueprint.sinks]


def _ready(token: str) -> tuple[Blueprint, list[SpeechModel]]:
    blueprint = _BLUEPRINTS[token]
    parts.seen(blueprint.place, token)
    if token not in _MODELS:
        _MODELS.clear()  # of an earlier pass
        _MODELS[token] = _load(blueprint)
    return blueprint, _MODELS[token]


def _load(blueprint: Blueprint) -> list[SpeechModel]:
    device = choose_device(blueprint.device)
    models = []
    for wanted in blueprint.models:
        model = load_model(wanted.spec, device=device, dtype=wanted.dtype)
        if model.fingerprint != wanted.fingerprint:
            raise ModelError(
                f"the model {wanted.spec} on {socket.gethostname()} is another one",
                got=f"fingerprint {model.fingerprint}",
                expected=wanted.fingerprint,
                fix="have all machines read the same weights, with the same version of voxstrata",
            )
        models.append(model)
    return models


def take_gpu(number: int, of: int) -> None:
    """Have this process see one GPU of its machine, before it touches any.

    Args:
        number: of the worker on this machine.
        of: workers on this machine; one alone sees what its surroundings show it.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = shown.split(",") if shown else [str(i) for i in range(torch.cuda.device_count())]
    if of > 1 and len(devices) > 1 and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]


def pick(
    utterances: Sequence[Utterance],
    folds: Sequence[int] | None,
    shards: Sequence[Shard],
    node: Node,
) -> Piece:
    """The recordings of a leaf, in corpus order, so that batches are those of the whole pass."""
    mine = shards[node.first : node.stop]
    positions = sorted({member for shard in mine for member in shard.members})
    at: dict[int, int] = {position: i for i, position in enumerate(positions)}
    return Piece(
        node,
        tuple(utterances[position] for position in positions),
        None if folds is None else tuple(folds[position] for position in positions),
        tuple(replace(s, members=tuple(at[m] for m in s.members)) for s in mine),
    )
