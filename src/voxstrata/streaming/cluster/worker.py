"""What a worker does: shards become a state on disk, two states become one.

Nothing here knows of other workers. A task is done over again without harm: it ends by writing
the same files, and finds them if they are there already.
"""

from __future__ import annotations

import copy
import os
import socket
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
from voxstrata.streaming.fitting import Room
from voxstrata.streaming.onepass import Pass, Sink, work_shard
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
class Drawn:
    """All of a pass but its recordings.

    Attributes:
        models: what to load.
        stack: chosen layers of all models.
        sinks: units, and reducers that have seen nothing.
        on_error, identity, source: as in the pass.
    """

    models: tuple[Wanted, ...]
    stack: tuple[StackLayer, ...]
    sinks: tuple[Sink, ...]
    on_error: Literal["skip", "stop"]
    identity: str
    source: str


@dataclass(frozen=True)
class Blueprint:
    """Passes over the same recordings, made as one; sent to every worker once.

    Attributes:
        token: names this work on this cluster.
        place: folder of the parts, which all workers see.
        passes: the passes.
        device: as asked for ("auto": each worker's own).
        batch_s: as asked for; ``None`` for what suits the device.
        threads: of a worker's products; ``None`` leaves what its surroundings say.
    """

    token: str
    place: Path
    passes: tuple[Drawn, ...]
    device: str
    batch_s: float | None
    threads: int | None = None

    def fresh(self) -> list[list[Sink]]:
        """Sinks of each pass with reducers of their own that have seen nothing."""
        return [
            [replace(sink, reducer=copy.deepcopy(sink.reducer)) for sink in one.sinks]
            for one in self.passes
        ]


@dataclass(frozen=True)
class View:
    """The recordings of a leaf as one pass has them.

    Attributes:
        utterances, folds: in corpus order; labels are the pass's own.
        shards: its shards, whose members are positions among ``utterances``.
    """

    utterances: tuple[Utterance, ...]
    folds: tuple[int, ...] | None
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Piece:
    """A leaf of the tree.

    Attributes:
        node: the leaf.
        views: for each pass, its recordings.
    """

    node: Node
    views: tuple[View, ...]


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


_BLUEPRINTS: dict[str, Blueprint] = {}
_MODELS: dict[str, list[list[SpeechModel]]] = {}
_ROOMS: dict[str, Room] = {}  # what models take of a GPU is measured once, not in every leaf


def learn(blueprint: Blueprint) -> None:
    """Take in a blueprint (once a process)."""
    _BLUEPRINTS[blueprint.token] = blueprint


def forget(token: str) -> None:
    """Let go of a pass, its models above all."""
    _BLUEPRINTS.pop(token, None)
    _MODELS.pop(token, None)
    _ROOMS.pop(token, None)


def work(token: str, piece: Piece) -> Refused | None:
    """Run the models over some shards.

    Returns:
        nothing once it is done; or why this worker never will (no such model on its disk, another
        version of it, no sight of the output folder).

    Raises:
        VoxstrataError: what a pass raises.
    """
    try:
        blueprint, models = _ready(token)
    except (VoxstrataError, KeyError) as error:
        return _refused(str(error))
    if blueprint.threads is not None:
        torch.set_num_threads(blueprint.threads)  # counts for the thread that calls it
    place, node = blueprint.place, piece.node
    if parts.done(place, node):  # by a worker that was lost before it could say so
        return None
    sinks = blueprint.fresh()
    parts.load_anchors(place, sinks)
    batch_s = batch_seconds(blueprint.batch_s, choose_device(blueprint.device))
    passes = [
        Pass(
            view.utterances,
            models[i],
            drawn.stack,
            sinks[i],
            view.shards,
            batch_s=batch_s,
            on_error=drawn.on_error,
            identity=drawn.identity,
            folds=view.folds,
            source=drawn.source,
        )
        for i, (drawn, view) in enumerate(zip(blueprint.passes, piece.views, strict=True))
    ]
    for one in passes:
        one.room = _ROOMS.setdefault(token, Room())
    for shards in zip(*(view.shards for view in piece.views), strict=True):
        work_shard(passes, shards, lambda _amount: None)
    for one in passes:
        one.report.clock = dict(one.clock.spent)
    parts.keep_anchors(place, sinks)
    parts.save(place, node, sinks, [one.report for one in passes])
    return None


def join(token: str, node: Node) -> Refused | None:
    """Put the parts of a node together, from first to last, and delete them.

    Raises:
        VoxstrataError: a part is missing or damaged.
    """
    blueprint = _BLUEPRINTS.get(token)
    if blueprint is None:
        return _refused("it was never told of this pass")
    place = blueprint.place
    if not parts.done(place, node):
        sinks, others = blueprint.fresh(), blueprint.fresh()
        reports = parts.load(place, node.parts[0], sinks)
        for part in node.parts[1:]:
            for report, later in zip(reports, parts.load(place, part, others), strict=True):
                report.merge(later)
            for mine, theirs in zip(sinks, others, strict=True):
                for to, some in zip(mine, theirs, strict=True):
                    to.reducer.merge(some.reducer)
        parts.save(place, node, sinks, reports)
    for part in node.parts:
        parts.remove(place, part)
    return None


def _refused(reason: str) -> Refused:
    from distributed import get_worker

    return Refused(get_worker().address, socket.gethostname(), reason)


def _ready(token: str) -> tuple[Blueprint, list[list[SpeechModel]]]:
    blueprint = _BLUEPRINTS[token]
    parts.seen(blueprint.place, token)
    if token not in _MODELS:
        _MODELS.clear()  # of an earlier pass
        _MODELS[token] = _load(blueprint)
    return blueprint, _MODELS[token]


def _load(blueprint: Blueprint) -> list[list[SpeechModel]]:
    """Models of each pass; one that several want is loaded once."""
    device = choose_device(blueprint.device)
    known: dict[Wanted, SpeechModel] = {}
    for wanted in dict.fromkeys(w for drawn in blueprint.passes for w in drawn.models):
        model = load_model(wanted.spec, device=device, dtype=wanted.dtype)
        if model.fingerprint != wanted.fingerprint:
            raise ModelError(
                f"the model {wanted.spec} on {socket.gethostname()} is another one",
                got=f"fingerprint {model.fingerprint}",
                expected=wanted.fingerprint,
                fix="have all machines read the same weights, with the same version of voxstrata",
            )
        known[wanted] = model
    return [[known[wanted] for wanted in drawn.models] for drawn in blueprint.passes]


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


def pick(one: Pass, node: Node) -> View:
    """The recordings of a leaf, in corpus order, so that batches are those of the whole pass."""
    mine = one.shards[node.first : node.stop]
    positions = sorted({member for shard in mine for member in shard.members})
    at = {position: i for i, position in enumerate(positions)}
    return View(
        tuple(one.utterances[position] for position in positions),
        None if one.folds is None else tuple(one.folds[position] for position in positions),
        tuple(replace(s, members=tuple(at[m] for m in s.members)) for s in mine),
    )
