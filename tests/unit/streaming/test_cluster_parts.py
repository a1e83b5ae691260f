"""Parts of a pass as files: what is damaged is made anew, what is of another run is no part."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import StorageError
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.cluster import here, parts, spread, worker
from voxstrata.streaming.cluster.plan import Plan, begin, blueprint, take
from voxstrata.streaming.cluster.run import run_pass
from voxstrata.streaming.cluster.workers import Crew, Place
from voxstrata.streaming.moments import MomentsReducer, StackMoments
from voxstrata.streaming.onepass import PARTS, Away, Pass, Sink
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import StoreReducer


def make(state: Path, *, identity: str = "one", away: bool = True, store: bool = False) -> Pass:
    utterances = make_corpus(12)
    models = [FakeModel("a")]
    stack = build_stack(models)
    folds = [i % 3 for i in range(12)]
    layers = tuple(range(len(stack)))
    reducers = [MomentsReducer([s.info.width for s in stack], 3)]
    if store:
        reducers.append(StoreReducer(state.parent / "store", stack))  # type: ignore[arg-type]
    sinks = [
        Sink(make_unit("frame"), layers, reducer, f"s{i}") for i, reducer in enumerate(reducers)
    ]
    return Pass(
        utterances, models, stack, sinks, make_shards(utterances, folds, 1.0), batch_s=2.0,
        state=state, identity=identity, source="made", away=Away("local:1") if away else None,
    )  # fmt: skip


def begun(state: Path, leaves: int) -> Plan:
    """A pass of which a cluster has done some leaves."""
    one = make(state)
    one.begin()
    plan = Plan.of([one])
    begin(plan)
    worker.learn(blueprint(Away("local:1", "cpu"), plan, None), models=[list(one.models)])
    for node in plan.pieces[:leaves]:
        settled = parts.anchored(plan.place, plan.sinks)
        worker.do(plan.token, worker.Piece(node, (worker.pick(one, node),), settled))
    return plan


def totals(one: Pass) -> StackMoments:
    found = one.sinks[0].reducer.finish()
    assert isinstance(found, StackMoments)
    return found


def close(found: StackMoments, expected: StackMoments) -> None:
    for name in ("n", "s", "a", "v", "q"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@pytest.fixture
def expected(tmp_path: Path) -> StackMoments:
    one = make(tmp_path / "alone" / "state", away=False)
    one.run()
    return totals(one)


def test_what_a_cluster_began_is_finished_here(
    tmp_path: Path, expected: StackMoments, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "out" / "state"
    plan = begun(state, 4)
    made = []
    plain = worker.work_shard
    monkeypatch.setattr(worker, "work_shard", lambda *a, **b: made.append(plain(*a, **b)))
    one = make(state, away=False)
    report = run_pass(one)
    assert len(made) == len(one.shards) - plan.pieces[3].stop
    assert report.recordings == 12
    close(totals(one), expected)
    assert not (state / PARTS).exists()


def test_parts_of_other_settings_are_no_part(tmp_path: Path) -> None:
    state = tmp_path / "out" / "state"
    plan = begun(state, 3)
    other = make(state, identity="two", away=False)
    other.begin()
    assert not here.finish(other, lambda _amount: None)
    # A cluster run of other settings takes their place, and what still works on them is told.
    second = make(state, identity="two")
    second.begin()
    begin(Plan.of([second]))
    assert [path.name for path in (state / PARTS).iterdir()] == [Plan.of([second]).token]
    missing = plan.pieces[3]
    with pytest.raises(StorageError, match="does not see"):
        worker.do(plan.token, worker.Piece(missing, (worker.pick(plan.passes[0], missing),), True))
    assert not plan.place.exists(), "nothing was written for a run that is no more"


def test_rows_of_a_run_that_is_no_more_are_not_written(tmp_path: Path) -> None:
    state = tmp_path / "out" / "state"
    one = make(state, away=False, store=True)

    def gone() -> None:
        raise StorageError("the run is no more")

    one.still = gone
    with pytest.raises(StorageError, match="no more"):
        one.run()
    assert not list((state.parent / "store").rglob("shard-*"))


@pytest.mark.parametrize("how", ["report", "text", "state", "first"])
def test_a_damaged_part_is_made_anew(how: str, tmp_path: Path, expected: StackMoments) -> None:
    state = tmp_path / "out" / "state"
    plan = begun(state, 5)
    folder = plan.place / plan.pieces[0 if how == "first" else 2].name
    if how == "report":
        path = folder / parts.REPORT
        text = path.read_text()
        assert '"recordings"' in text
        path.write_text(text.replace('"seconds": ', '"seconds": 1', 1))
    elif how == "text":
        (folder / parts.REPORT).write_text('{"a": 1}')
    else:
        path = next(folder.glob("*.safetensors"))
        held = bytearray(path.read_bytes())
        held[-3] ^= 4
        path.write_bytes(held)
    one = make(state, away=False)
    report = run_pass(one)
    assert report.recordings == 12
    close(totals(one), expected)


def test_a_damaged_root_is_told_once_and_made_anew(tmp_path: Path, expected: StackMoments) -> None:
    state = tmp_path / "out" / "state"
    plan = begun(state, 99)
    for node in plan.root.walk():
        if node.parts:
            assert worker.join(plan.token, node) is None
    path = next((plan.place / plan.root.name).glob("*.safetensors"))
    held = bytearray(path.read_bytes())
    held[-3] ^= 4
    path.write_bytes(held)
    with pytest.raises(StorageError, match="again") as told:
        run_pass(make(state, away=False))
    assert path.name in str(told.value)
    one = make(state, away=False)
    run_pass(one)
    close(totals(one), expected)


def test_a_join_done_by_another_worker_is_done(tmp_path: Path) -> None:
    plan = begun(tmp_path / "out" / "state", 8)
    node = next(n for n in plan.root.walk() if n.parts)
    assert worker.join(plan.token, node) is None
    assert not parts.done(plan.place, node.parts[0])
    assert worker.join(plan.token, node) is None, "a second worker that was given it too"
    assert parts.done(plan.place, node)


def test_what_must_be_shared_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine may not see yet what the first leaf wrote; it must not begin without."""
    plan = begun(tmp_path / "out" / "state", 0)
    monkeypatch.setattr(parts, "SHARED_FS_S", 0.1)
    fresh = blueprint(Away("local:1"), plan, None).fresh()
    with pytest.raises(StorageError, match="is missing"):
        parts.load_anchors(plan.place, fresh, settled=True)
    parts.load_anchors(plan.place, fresh, settled=False)


class Done:
    """A task that has ended."""

    status = "finished"

    def __init__(self, result: Any) -> None:
        self._result = result

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self._result


class Now:
    """A client that does what it is given at once; ``meddle`` is told of every finished leaf."""

    status = "running"

    def __init__(self, meddle: Callable[[worker.Piece], None]) -> None:
        self.meddle, self.leaves = meddle, 0

    def submit(self, act: Any, token: str, what: Any, **_options: Any) -> Any:
        result = act(token, what)
        if isinstance(what, worker.Piece):
            self.leaves += 1
            self.meddle(what)
        return Done(result)

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {"a": {"name": "a"}}}

    def as_current(self) -> Any:
        return nullcontext()

    def cancel(self, futures: Any) -> None:
        """Nothing is under way."""


@pytest.mark.parametrize("wrong", ["state", "report", "gone"])
def test_a_part_that_is_spoilt_on_the_way_is_made_again(
    wrong: str, tmp_path: Path, expected: StackMoments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.wait", lambda *_a, **_b: None)
    one = make(tmp_path / "out" / "state")
    one.begin()
    plan = Plan.of([one])
    begin(plan)
    worker.learn(blueprint(Away("local:1", "cpu"), plan, None), models=[list(one.models)])
    spoilt: list[worker.Piece] = []

    def meddle(piece: worker.Piece) -> None:
        if piece.node != plan.pieces[3] or spoilt:
            return
        spoilt.append(piece)
        folder = plan.place / piece.node.name
        path = next(folder.glob("*.safetensors")) if wrong == "state" else folder / parts.REPORT
        if wrong == "gone":
            path.unlink()
            return
        held = bytearray(path.read_bytes())
        held[-3] ^= 4
        path.write_bytes(held)

    client, said, done = Now(meddle), [], []
    crew = Crew(Place("local", "local:1", workers=1), client, ours=False)
    spread._Work(crew, plan, done.append, said.append).all()
    take(plan)
    assert spoilt
    assert client.leaves == len(plan.pieces) + 1, "that leaf, and no other, was made again"
    assert "again" in said[0]
    assert sum(done) == pytest.approx(sum(one.seconds(shard) for shard in one.shards))
    assert one.report.recordings == 12
    close(totals(one), expected)
