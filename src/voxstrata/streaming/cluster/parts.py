"""What workers hand each other: the state of some shards as a folder of files.

A folder counts once its ``report.json`` is there; that is written last, so a worker that dies in
between leaves nothing that could be taken for whole, and what is whole need not be made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxstrata.errors import StorageError
from voxstrata.files import read_json, write_json
from voxstrata.streaming.cluster.tree import Node
from voxstrata.streaming.onepass import Sink
from voxstrata.streaming.reducers import load_state, save_state

REPORT, PLAN = "report.json", "plan.json"


def done(place: Path, node: Node) -> bool:
    """Whether a node is finished."""
    return (place / node.name / REPORT).exists()


def save(place: Path, node: Node, sinks: Sequence[Sink], report: Mapping[str, Any]) -> None:
    """Write what reducers hold of a node, and what happened."""
    for sink in sinks:
        save_state(place / node.name / f"{sink.name}.safetensors", sink.reducer)
    write_json(place / node.name / REPORT, dict(report))


def load(place: Path, node: Node, sinks: Sequence[Sink]) -> dict[str, Any]:
    """Have reducers go on from a node.

    Returns:
        what happened.

    Raises:
        StorageError: a file is missing or damaged.
    """
    report: dict[str, Any] = read_json(place / node.name / REPORT)
    for sink in sinks:
        load_state(place / node.name / f"{sink.name}.safetensors", sink.reducer)
    return report


def report_of(place: Path, node: Node) -> dict[str, Any]:
    """What happened in a finished node."""
    found: dict[str, Any] = read_json(place / node.name / REPORT)
    return found


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
