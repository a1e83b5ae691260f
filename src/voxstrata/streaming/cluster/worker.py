"""What a worker does: shards become a state on disk, two states become one.

Nothing here knows of other workers. A task is done over again without harm: it ends by writing
the same files, and finds them if they are there already.
"""

from __future__ import annotations

import copy
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

import voxstrata
from voxstrata.errors import ClusterError, ModelError, StorageError, VoxstrataError
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.cluster import parts
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.fitting import Room
from voxstrata.streaming.onepass import Pass, PassReport, Sink, work_shard
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
        versions: of the software where the run was started.
        threads: of a worker's products; ``None`` leaves what its surroundings say.
    """

    token: str
    place: Path
    passes: tuple[Drawn, ...]
    device: str
    batch_s: float | None
    versions: Mapping[str, str]
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
        settled: what all leaves must share has been written by an earlier one.
    """

    node: Node
    views: tuple[View, ...]
    settled: bool


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
class Spoilt:
    """A part that is damaged, and gone: it has to be made anew.

    Attributes:
        part: which.
        reason: what was wrong with it.
    """

    part: Node
    reason: str


_BUSY = threading.Lock()
"""A process does one thing at a time, whatever threads dask gives it: models note their layers'
outputs in themselves while they run, so that two threads would mix them up."""

_BLUEPRINTS: dict[str, Blueprint] = {}
_MODELS: dict[str, list[list[SpeechModel]]] = {}
_ROOMS: dict[str, Room] = {}  # what models take of a GPU is measured once, not in every leaf


def learn(blueprint: Blueprint, models: list[list[SpeechModel]] | None = None) -> None:
    """Take in a blueprint (once a process), and the models of each pass if they are loaded."""
    _BLUEPRINTS[blueprint.token] = blueprint
    if models is not None:
        _MODELS[blueprint.token] = models


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
    with _BUSY:
        try:
            blueprint, models = _ready(token)
        except Exception as error:  # a driver, a library, a disk: of this machine, not of the work
            return _refused(error)
        _do(blueprint, models, piece)
    return None


def do(token: str, piece: Piece) -> None:
    """The same in the process that has the models already.

    Raises:
        VoxstrataError: what a pass raises.
    """
    with _BUSY:
        _do(*_ready(token), piece)


def _do(blueprint: Blueprint, models: list[list[SpeechModel]], piece: Piece) -> None:
    if blueprint.threads is not None:
        torch.set_num_threads(blueprint.threads)  # counts for the thread that calls it
    place, node = blueprint.place, piece.node
    if parts.done(place, node):  # by a worker that was lost before it could say so
        return
    sinks = blueprint.fresh()
    parts.load_anchors(place, sinks, settled=piece.settled)
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
            still=partial(parts.seen, place),
        )
        for i, (drawn, view) in enumerate(zip(blueprint.passes, piece.views, strict=True))
    ]
    for one in passes:
        one.room = _ROOMS.setdefault(blueprint.token, Room())
    for shards in zip(*(view.shards for view in piece.views), strict=True):
        work_shard(passes, shards, lambda _amount: None)
    for one in passes:
        one.report.clock = dict(one.clock.spent)
    parts.seen(place)
    parts.keep_anchors(place, sinks)
    parts.save(place, node, sinks, [one.report for one in passes])


def join(token: str, node: Node) -> Refused | Spoilt | None:
    """Put the parts of a node together, from first to last, and delete them.

    Returns:
        nothing once it is done; why this worker cannot; or the part that is damaged.

    Raises:
        VoxstrataError: what reducers raise.
    """
    blueprint = _BLUEPRINTS.get(token)
    if blueprint is None:
        return _refused(ClusterError("it was never told of this pass"))
    place = blueprint.place
    with _BUSY:
        if not parts.done(place, node):
            sinks, others = blueprint.fresh(), blueprint.fresh()
            reports: list[PassReport] = []
            for number, part in enumerate(node.parts):
                try:
                    parts.seen(place)
                    found = parts.load(place, part, others if number else sinks)
                except StorageError as error:
                    if parts.done(place, node):  # by another worker, which has deleted the parts
                        return None
                    parts.seen(place)
                    parts.remove(place, part)
                    return Spoilt(part, str(error))
                if not number:
                    reports = found
                    continue
                for report, later in zip(reports, found, strict=True):
                    report.merge(later)
                for mine, theirs in zip(sinks, others, strict=True):
                    for to, some in zip(mine, theirs, strict=True):
                        to.reducer.merge(some.reducer)
            parts.save(place, node, sinks, reports)
        for part in node.parts:
            parts.remove(place, part)
    return None


def versions() -> dict[str, str]:
    """What workers must have as the process that starts them has it. Builds of one version of
    torch may differ: a login node needs no CUDA."""
    return {"voxstrata": voxstrata.__version__, "torch": torch.__version__.partition("+")[0]}


def _refused(error: Exception) -> Refused:
    from distributed import get_worker

    reason = str(error) if isinstance(error, VoxstrataError) else f"{type(error).__name__}: {error}"
    return Refused(get_worker().address, socket.gethostname(), reason)


def _ready(token: str) -> tuple[Blueprint, list[list[SpeechModel]]]:
    blueprint = _BLUEPRINTS.get(token)
    if blueprint is None:
        raise ClusterError("it was never told of this pass")
    if (mine := versions()) != blueprint.versions:
        raise ClusterError(
            "this worker's software is another",
            got=", ".join(f"{name} {version}" for name, version in mine.items()),
            expected=", ".join(f"{name} {text}" for name, text in blueprint.versions.items()),
            fix="give all machines the same environment",
        )
    parts.seen(blueprint.place)
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
