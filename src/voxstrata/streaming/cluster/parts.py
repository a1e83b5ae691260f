"""What workers hand each other: the state of some shards as a folder of files.

A folder counts once its ``report.json`` is there; that is written last, so a worker that dies in
between leaves nothing that could be taken for whole, and what is whole need not be made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from voxstrata.errors import StorageError
from voxstrata.files import read_json, write_json
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.onepass import PassReport, Sink
from voxstrata.streaming.reducers import Anchored, load_state, save_state

REPORT, PLAN, ANCHORS = "report.json", "plan.json", "anchors"


def done(place: Path, node: Node) -> bool:
    """Whether a node is finished."""
    return (place / node.name / REPORT).exists()


def save(
    place: Path, node: Node, sinks: Sequence[Sequence[Sink]], reports: Sequence[PassReport]
) -> None:
    """Write what reducers of each pass hold of a node, and what happened."""
    for number, mine in enumerate(sinks):
        for sink in mine:
            save_state(_state(place / node.name, number, sink), sink.reducer)
    write_json(place / node.name / REPORT, [report.whole() for report in reports])


def load(place: Path, node: Node, sinks: Sequence[Sequence[Sink]]) -> list[PassReport]:
    """Have reducers go on from a node.

    Returns:
        what happened in each pass.

    Raises:
        StorageError: a file is missing or damaged.
    """
    reports = [PassReport.of(whole) for whole in read_json(place / node.name / REPORT)]
    for number, mine in enumerate(sinks):
        for sink in mine:
            load_state(_state(place / node.name, number, sink), sink.reducer)
    return reports


def _state(folder: Path, number: int, sink: Sink) -> Path:
    return folder / f"{number}-{sink.name}.safetensors"


def keep_anchors(place: Path, sinks: Sequence[Sequence[Sink]]) -> None:
    """Write what reducers of other shards must share with these, as far as it is settled."""
    for path, reducer in _anchors(place, sinks):
        if not path.exists() and (blank := reducer.anchor()) is not None:
            save_state(path, blank)


def load_anchors(place: Path, sinks: Sequence[Sequence[Sink]]) -> None:
    """Have reducers that have seen nothing begin with what is settled."""
    for path, reducer in _anchors(place, sinks):
        if path.exists():
            load_state(path, reducer)


def anchored(place: Path, sinks: Sequence[Sequence[Sink]]) -> bool:
    """Whether all that must be shared is settled."""
    return all(path.exists() for path, _ in _anchors(place, sinks))


def _anchors(place: Path, sinks: Sequence[Sequence[Sink]]) -> list[tuple[Path, Anchored]]:
    return [
        (_state(place / ANCHORS, number, sink), sink.reducer)
        for number, mine in enumerate(sinks)
        for sink in mine
        if isinstance(sink.reducer, Anchored)
    ]


def remove(place: Path, node: Node) -> None:
    """Delete a node; one that is half gone already is no error."""
    # The report goes first: what is half deleted must not count as whole.
    (place / node.name / REPORT).unlink(missing_ok=True)
    shutil.rmtree(place / node.name, ignore_errors=True)


def seen(place: Path, token: str) -> None:
    """See that this process looks at the folder that the run works in.

    Raises:
        StorageError: it does not.
    """
    path = place / PLAN
    if not path.exists() or read_json(path).get("token") != token:
        raise StorageError(
            f"this worker does not see the run's output folder {place}",
            expected="a folder that all workers share under one path",
            fix="choose an output folder on a shared file system",
        )
