"""What workers hand each other: the state of some shards as a folder of files.

A folder counts once its ``report.json`` is there; that is written last, so a worker that dies in
between leaves nothing that could be taken for whole, and what is whole need not be made again. All
of a pass lies in a folder named after everything that it depends on, so that a task which outlived
its run (nothing can stop one) finds that folder gone, and cannot be taken for part of another.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from voxstrata.errors import StorageError
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.onepass import PassReport, Sink
from voxstrata.streaming.reducers import Anchored, load_state, save_state
from voxstrata.sums import read_sealed_json, write_sealed_json

REPORT, PLAN, ANCHORS = "report.json", "plan.json", "anchors"

AGAIN = "run the same command again: what is damaged is made anew"

SHARED_FS_S = 60.0
"""How long a shared file system may go on saying that a file is missing which another machine has
written: what NFS remembers of a folder, by default."""


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
    write_sealed_json(
        place / node.name / REPORT, {"passes": [report.whole() for report in reports]}
    )


def sound(place: Path, node: Node) -> bool:
    """Whether a node that is finished says so in words that are whole."""
    try:
        _reports(place, node)
    except StorageError:
        return False
    return True


def _reports(place: Path, node: Node) -> list[PassReport]:
    path = place / node.name / REPORT
    try:
        return [PassReport.of(whole) for whole in read_sealed_json(path, AGAIN)["passes"]]
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged", got=str(error), expected="the report of a part", fix=AGAIN
        ) from None


def load(place: Path, node: Node, sinks: Sequence[Sequence[Sink]]) -> list[PassReport]:
    """Have reducers go on from a node.

    Returns:
        what happened in each pass.

    Raises:
        StorageError: a file is missing or damaged.
    """
    reports = _reports(place, node)
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


def load_anchors(place: Path, sinks: Sequence[Sequence[Sink]], *, settled: bool) -> None:
    """Have reducers that have seen nothing begin with what is settled.

    Args:
        place: folder of the parts.
        sinks: of each pass.
        settled: all of it is there; what this machine does not see yet is waited for.

    Raises:
        StorageError: it does not come to be seen, or is damaged.
    """
    end = time.monotonic() + SHARED_FS_S
    for path, reducer in _anchors(place, sinks):
        while settled and not path.exists():
            if time.monotonic() > end:
                raise StorageError(
                    f"{path} is missing",
                    got=f"nothing within {SHARED_FS_S:.0f} s",
                    expected="what the first shard settled, on a file system that workers share",
                    fix=AGAIN,
                )
            time.sleep(0.5)
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


def begin(place: Path) -> bool:
    """Make the folder of a pass, if it is not there.

    Returns:
        whether it was made.
    """
    path = place / PLAN
    if path.exists():
        return False
    shutil.rmtree(place, ignore_errors=True)
    if place.parent.exists():
        for other in place.parent.iterdir():  # of a run with other settings
            shutil.rmtree(other, ignore_errors=True)
    write_sealed_json(path, {"token": place.name})
    return True


def seen(place: Path) -> None:
    """See that this process looks at the folder that the run works in, and that it still does.

    Raises:
        StorageError: it does not.
    """
    path = place / PLAN
    if not path.exists():
        raise StorageError(
            f"this worker does not see the run's output folder {place}",
            expected="a folder that all workers share under one path",
            fix="choose an output folder on a shared file system",
        )
