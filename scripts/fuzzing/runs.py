"""What runs leave behind: results, plans, states, logs and row stores."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzzing.target import Target, dumped


def _moments(path: Path) -> None:
    from voxstrata.streaming.moments import MomentsReducer
    from voxstrata.streaming.reducers import load_state

    load_state(path, MomentsReducer([2, 1], 2))


def _moments_state() -> list[bytes]:
    import torch

    from voxstrata.streaming.moments import MomentsReducer
    from voxstrata.streaming.reducers import Rows, write_tensors

    reducer = MomentsReducer([2, 1], 2)
    rows = [torch.arange(8.0).reshape(4, 2), torch.arange(4.0).reshape(4, 1)]
    reducer.update(Rows("u", 0, rows, [0.0] * 4, [1.0] * 4))
    reducer.end_shard(0)
    tensors, facts = reducer.state()
    held: Any = io.BytesIO()
    write_tensors(held, tensors, {"facts": json.dumps(facts)})
    return [held.getvalue()]


def _results(path: Path) -> None:
    from voxstrata.report.view import read_view
    from voxstrata.results import load_results

    found = load_results(path.parent)
    found._repr_html_()
    read_view(found)


@cache
def _results_files() -> dict[str, bytes]:
    import tempfile

    from voxstrata.results import Row, write_results

    rows = [
        Row("s", "m", a, "m", b, "similarity", "cka", "frame", 0.5, 0.4, 0.6, 9, 3, 2, 2, "d", 0)
        for a in ("0", "1") for b in ("0", "1")
    ]  # fmt: skip
    rows.append(Row("s", "m", "0", "", "", "cca-phone", "cca", "frame", 0.5, None, None,
                    9, 3, 2, 2, "d", 0))  # fmt: skip
    layer = {"name": "0", "width": 2, "kind": "frame"}
    model = {"spec": "m", "family": "f", "fingerprint": "x", "random": False, "details": {},
             "layers": [layer, {**layer, "name": "1"}]}  # fmt: skip
    record = {
        "job": "similarity", "study": "s", "models": [model], "notices": ["n"],
        "corpus": {"spec": "c", "name": "c"}, "measures": [], "properties": [], "config": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_results(Path(folder), rows, record)
        return {p.name: p.read_bytes() for p in Path(folder).iterdir()}


def _all_but(name: str) -> Callable[[Path], None]:
    def beside(folder: Path) -> None:
        for other, data in _results_files().items():
            if other != name:
                (folder / other).write_bytes(data)

    return beside


def _log(path: Path) -> object:
    from voxstrata.training.log import read_log

    return read_log(path.parent)


def _plan(path: Path) -> None:
    from voxstrata.streaming.runs import remember_plan

    remember_plan(path.parents[1], "i", {})


def _note(path: Path) -> None:
    from voxstrata.streaming.runs import sit_down

    (path.parent / "plan.json").write_text('{"identity": "i", "plan": {}}')
    sit_down(path.parents[1], "i", {})


NOTE = {"resumed": False, "taken": False, "ended": True, "served": {"share_s": 1.0}}


def _part(path: Path) -> object:
    from voxstrata.properties.job import _read_part

    return _read_part(path)


PART = {
    "facts": {},
    "notices": [],
    "refused": [],
    "scored": [
        {
            "model": 0,
            "layer": "1",
            "draw": 0,
            "score": {"value": 0.5, "bounds": [None, 1.0], "by_fold": [[0, 0.5]]},
        }
    ],
}


def _cluster_part(path: Path) -> object:
    from voxstrata.streaming.cluster import parts
    from voxstrata.streaming.cluster.tree import Node

    return parts.load(path.parents[1], Node(0, 1), [[]])


@cache
def _cluster_report() -> bytes:
    import tempfile

    from voxstrata.streaming.cluster import parts
    from voxstrata.streaming.cluster.tree import Node
    from voxstrata.streaming.onepass import PassReport

    node = Node(0, 1)
    with tempfile.TemporaryDirectory() as folder:
        report = PassReport(1, 2.5, {"s": 3}, {"s": {"0": 3}}, [{"id": "u", "what": "w"}])
        parts.save(Path(folder), node, [[]], [report])
        return (Path(folder) / node.name / parts.REPORT).read_bytes()


def _kept(path: Path) -> object:
    from voxstrata.probing.kinds.kept import read

    probe: Any = SimpleNamespace(layers=(0, 1))
    return read(path, [probe])


def _npz() -> list[bytes]:
    import numpy as np

    held = io.BytesIO()
    np.savez(
        held, layer=["a"], round=[""], dev=[[0.5]], step=[1], weights=[[0.5, 0.5]],
        diverged=[False], measures=["acc"], scores=[[0.5]], counted=["acc"], above=[[1]],
        below=[[2]], drawn=["acc"], draws=[[0]], on_test=[True], chose=["x"], tie=[0.0],
        lower=[False],
    )  # fmt: skip
    return [held.getvalue()]


def _store(path: Path) -> None:
    from voxstrata.streaming.store import RowStore

    folder = next(p for p in (path, *path.parents) if p.name == "store")
    store = RowStore(folder)
    store.folds()
    store.labels()
    for position in range(len(store.widths)):
        store.layer(position)


@cache
def _store_files() -> dict[str, bytes]:
    import tempfile

    import torch

    from voxstrata.streaming.reducers import Rows
    from voxstrata.streaming.store import StoreReducer

    info: Any = SimpleNamespace(
        key="m/0", name="m", describe=lambda: {"layer": "0", "width": 2, "kind": "frame"}
    )
    with tempfile.TemporaryDirectory() as folder:
        reducer = StoreReducer(Path(folder), [info])
        for fold in range(2):
            rows = [torch.arange(6.0).reshape(3, 2)]
            reducer.update(Rows(f"u{fold}", fold, rows, [0.0] * 3, [1.0] * 3, ["a"] * 3))
            reducer.end_shard(fold)
        reducer.finish()
        return {
            str(p.relative_to(folder)): p.read_bytes()
            for p in Path(folder).rglob("*")
            if p.is_file()
        }


def _store_target(name: str, file: str, json: bool = False) -> Target:
    def beside(folder: Path) -> None:
        for other, data in _store_files().items():
            if other != file:
                path = folder / "store" / other
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    return Target(
        name, f"store/{file}", _store, lambda: [_store_files()[file]], beside=beside, json=json
    )


TARGETS: tuple[Target, ...] = (
    Target("reducer-state", "a.safetensors", _moments, _moments_state),
    Target(
        "run-record",
        "run.json",
        _results,
        lambda: [_results_files()["run.json"]],
        _all_but("run.json"),
        json=True,
    ),
    Target(
        "results-table",
        "results.parquet",
        _results,
        lambda: [_results_files()["results.parquet"]],
        _all_but("results.parquet"),
    ),
    Target(
        "training-log", "train.jsonl", _log, lambda: dumped({"step": 1, "loss": 0.5}), json=True
    ),
    Target(
        "plan", "state/plan.json", _plan, lambda: dumped({"identity": "i", "plan": []}), json=True
    ),
    Target("shared-note", "state/shared.json", _note, lambda: dumped(NOTE), json=True),
    Target("property-part", "p.json", _part, lambda: dumped(PART), json=True),
    Target("kept-heads", "k.npz", _kept, _npz),
    Target(
        "cluster-part",
        "0000000-0000001/report.json",
        _cluster_part,
        lambda: [_cluster_report()],
        json=True,
    ),
    _store_target("store-meta", "meta.json", json=True),
    _store_target("store-index", "index.parquet"),
    _store_target("store-shard", "000-m-0/shard-00000.safetensors"),
)
