"""Passes of several jobs made as one: the same bits as alone, each recording encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import NumericsError, RunInterruptedError, StorageError
from voxstrata.files import lock, read_json, write_json
from voxstrata.streaming import setup
from voxstrata.streaming.batches import make_batches, make_shards
from voxstrata.streaming.moments import MomentsReducer, StackMoments
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.reducers import Reducer
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.runs import NOTE, PLAN, STATE, sit_down
from voxstrata.streaming.setup import (
    batch_seconds,
    fold_recordings,
    order_of_work,
    shard_seconds,
)
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.streaming.together import advance_together, plan_steps, run_together
from voxstrata.types import SAMPLE_RATE, Utterance

COUNT = 14


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and hundreds of small files are written."""
    monkeypatch.setattr("voxstrata.files.os.fsync", lambda _handle: None)


def base() -> FakeModel:
    return FakeModel()


def ten_ms(spec: str = "ten-ms") -> FakeModel:
    return FakeModel(spec, stride=160, widths=(7, 5), seed=3, pooled=True)


def make_pass(
    folder: Path,
    models: Sequence[FakeModel],
    *,
    corpus: Sequence[Utterance] | None = None,
    layers: Sequence[str] | None = None,
    moments: bool = False,
    source: str = "corpus",
    shard_s: float = 2.0,
    **kwargs: object,
) -> Pass:
    """A pass in the style of similarity (moments by fold) or of the other jobs (rows, no folds)."""
    corpus = make_corpus(COUNT) if corpus is None else corpus
    stack = build_stack(models, layers)
    sinks = []
    for name in ("frame", "utterance"):
        unit = make_unit(name)
        unit.prepare(corpus, 0)
        chosen = tuple(i for i, layer in enumerate(stack) if unit.accepts(layer))
        mine = [stack[i] for i in chosen]
        reducer: Reducer = StoreReducer(folder / "store" / name, mine)
        if moments and name == "frame":
            reducer = MomentsReducer([layer.width for layer in mine], 3)
        sinks.append(Sink(unit, chosen, reducer, name))
    shards = make_shards(corpus, [int(u.id[1:]) % 3 for u in corpus], shard_s)
    if not moments:
        kwargs.setdefault("folds", [0] * len(corpus))
    return Pass(
        corpus, models, stack, sinks, shards, batch_s=1.5, state=folder / "state", source=source,
        **kwargs,
    )  # fmt: skip


def one_with_folds(folder: Path, **kwargs: object) -> Pass:
    return make_pass(folder, [base(), ten_ms()], moments=True, **kwargs)


def other_without(folder: Path, **kwargs: object) -> Pass:
    """Another selection of layers; the model it shares comes second; shared rarely checkpointed."""
    return make_pass(folder, [ten_ms("other"), base()], layers=["1"], every=3, **kwargs)


def assert_same(one: Pass, two: Pass) -> None:
    """Equal reports, and equal bits in what reducers kept."""
    assert one.report.facts() == two.report.facts()
    for mine, yours in zip(one.sinks, two.sinks, strict=True):
        a, b = mine.reducer.finish(), yours.reducer.finish()
        if isinstance(a, RowStore):
            assert a.index.equals(b.index)
            for position in range(len(a.widths)):
                assert torch.equal(a.layer(position), b.layer(position))
        else:
            assert isinstance(a, StackMoments)
            for name in ("shift", "n", "s", "a", "v", "q"):
                assert torch.equal(getattr(a, name), getattr(b, name))
            assert all(torch.equal(x, y) for x, y in zip(a.blocks, b.blocks, strict=True))


def finished(made: Callable[..., Pass], folder: Path, **kwargs: object) -> Pass:
    """The pass as its job makes it afterwards: by itself, from where it stands."""
    one = made(folder, **kwargs)
    one.run()
    return one


def alone(made: Callable[..., Pass], folder: Path, **kwargs: object) -> Pass:
    return finished(made, folder / "alone", **kwargs)


def calls(*passes: Pass) -> int:
    found = {id(model): model for one in passes for model in one.models}
    return sum(len(model.calls) for model in found.values())  # type: ignore[attr-defined]


def test_together_gives_the_bits_of_each_alone_with_one_forward_a_recording(tmp_path: Path) -> None:
    a, b = one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")
    c = make_pass(tmp_path / "c", [base()], layers=["0"])
    done = run_together([a, b, c])
    assert done.partners == [{1, 2}, {0, 2}, {0, 1}]
    assert done.shards == [len(a.shards)] * 3
    # five models asked, of two kinds
    assert (done.forwards.asked, done.forwards.run) == (5 * COUNT, 2 * COUNT)
    assert calls(a, b, c) == 2 * COUNT
    assert not done.failed
    lone = make_pass(tmp_path / "lone", [base()], layers=["0"])
    lone.run()
    after = make_pass(tmp_path / "c", [base()], layers=["0"])
    after.run()
    assert_same(after, lone)
    for made, name in ((one_with_folds, "a"), (other_without, "b")):
        again = finished(made, tmp_path / name)
        assert calls(again) == 0  # nothing was left to do
        assert_same(again, alone(made, tmp_path / f"{name}-alone"))


def test_folds_are_each_pass_s_own(tmp_path: Path) -> None:
    a, b = one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")
    run_together([a, b])
    assert set(a.report.fold_rows["frame"]) == {"0", "1", "2"}
    assert set(b.report.fold_rows["frame"]) == {"0"}
    assert set(a.sinks[1].reducer.finish().folds()) == {0, 1, 2}
    assert set(b.sinks[0].reducer.finish().folds()) == {0}


def test_labels_are_each_pass_s_own(tmp_path: Path) -> None:
    """Corpora of equal recordings may have other tiers for another job."""
    plain = make_corpus(COUNT)
    renamed = [replace(u, tiers={"speaker": f"{u.tiers['speaker']}-new"}) for u in plain]
    seen: list[str] = []

    class Watching(type(make_unit("utterance"))):  # type: ignore[misc]
        def rows(self, utterance: Utterance, *rest: object) -> object:
            seen.append(str(utterance.tiers["speaker"]))
            return super().rows(utterance, *rest)

    a = make_pass(tmp_path / "a", [base()], corpus=plain)
    b = make_pass(tmp_path / "b", [base()], corpus=renamed)
    b.sinks[1] = replace(b.sinks[1], unit=Watching())  # type: ignore[index]
    run_together([a, b])
    assert len(seen) == COUNT
    assert all(name.endswith("-new") for name in seen)


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_pass_that_is_behind_catches_up(tmp_path: Path, ahead: int) -> None:
    a = one_with_folds(tmp_path / "a")
    for shard in a.shards[:ahead]:
        a.work(shard, lambda _: None)
    a, b = one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")
    done = run_together([a, b])
    assert done.shards == [len(a.shards) - ahead, len(a.shards)]
    early = sum(len(shard.members) for shard in a.shards[:ahead])
    assert len(b.models[1].calls) == early  # type: ignore[attr-defined]
    assert_same(finished(one_with_folds, tmp_path / "a"), alone(one_with_folds, tmp_path / "x"))
    assert_same(finished(other_without, tmp_path / "b"), alone(other_without, tmp_path / "y"))


def test_a_pass_that_ends_here_is_kept_between_its_checkpoints(tmp_path: Path) -> None:
    a, b = one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")
    a.shards = a.shards[:4]
    assert run_together([a, b]).shards == [4, 4]
    again = other_without(tmp_path / "b")  # every third shard, by itself
    again.begin()
    assert again.done == 4
    assert_same(finished(other_without, tmp_path / "b"), alone(other_without, tmp_path / "y"))


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("again_together", [True, False])
def test_killed_in_the_middle_and_resumed(
    tmp_path: Path, after: int, again_together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, count = Pass._checkpoint, 0

    def dying(self: Pass, done: int) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise KilledError  # after the shard's work, before its checkpoint
        plain(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "_checkpoint", dying)
        with pytest.raises(KilledError):
            run_together([one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")])
    if again_together:
        run_together([one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")])
    assert_same(finished(one_with_folds, tmp_path / "a"), alone(one_with_folds, tmp_path / "x"))
    assert_same(finished(other_without, tmp_path / "b"), alone(other_without, tmp_path / "y"))


def test_ctrl_c_leaves_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Pass._checkpoint

    def stopping(self: Pass, done: int) -> None:
        plain(self, done)
        if done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "_checkpoint", stopping)
        with pytest.raises(RunInterruptedError, match="last checkpoint"):
            run_together([one_with_folds(tmp_path / "a"), other_without(tmp_path / "b")])
    again = one_with_folds(tmp_path / "a")
    again.begin()
    assert again.done == 3
    assert_same(finished(other_without, tmp_path / "b"), alone(other_without, tmp_path / "y"))


def poisoned() -> FakeModel:
    length = len(make_corpus(COUNT)[6].read())
    return FakeModel("sick", seed=9, poison=(length, float("nan")))


def with_sick(folder: Path, **kwargs: object) -> Pass:
    return make_pass(folder, [poisoned(), base()], **kwargs)


def test_a_recording_that_fails_in_one_pass_counts_in_the_others(tmp_path: Path) -> None:
    a, b = one_with_folds(tmp_path / "a"), with_sick(tmp_path / "b")
    run_together([a, b])
    assert not a.report.skipped
    assert [item["id"] for item in b.report.skipped] == ["u006"]
    assert_same(finished(one_with_folds, tmp_path / "a"), alone(one_with_folds, tmp_path / "x"))
    assert_same(finished(with_sick, tmp_path / "b"), alone(with_sick, tmp_path / "y"))


def with_short() -> list[Utterance]:
    corpus = make_corpus(COUNT)
    audio = corpus[4].read()[:1200]
    corpus[4] = Utterance("u004", len(audio) / SAMPLE_RATE, {"speaker": "s0"}, lambda: audio)
    return corpus


def wide(folder: Path, **kwargs: object) -> Pass:
    """Its first model needs 2,000 samples for a frame."""
    models = [FakeModel("wide", receptive=2000, seed=4), base()]
    return make_pass(folder, models, corpus=with_short(), **kwargs)


def narrow(folder: Path, **kwargs: object) -> Pass:
    return make_pass(folder, [base()], corpus=with_short(), moments=True, **kwargs)


def test_a_recording_too_short_for_one_pass_counts_in_the_others(tmp_path: Path) -> None:
    """The batch is then another one for the pass that leaves it out, and so is encoded by itself:
    what else is in a batch may change the last bit."""
    a, b = narrow(tmp_path / "a"), wide(tmp_path / "b")
    done = run_together([a, b])
    assert a.report.recordings == COUNT
    assert [item["id"] for item in b.report.skipped] == ["u004"]
    # one model on 14, one on 13, and again on what lay in a batch with the short one
    assert 2 * COUNT - 1 < done.forwards.run < done.forwards.asked
    assert_same(finished(narrow, tmp_path / "a"), alone(narrow, tmp_path / "x"))
    assert_same(finished(wide, tmp_path / "b"), alone(wide, tmp_path / "y"))


def test_a_pass_that_stops_at_errors_leaves_the_others_alone(tmp_path: Path) -> None:
    a, b = one_with_folds(tmp_path / "a"), with_sick(tmp_path / "b", on_error="stop")
    done = run_together([a, b])
    assert isinstance(done.failed[1], NumericsError)
    assert done.shards[0] == len(a.shards)
    assert done.shards[1] < len(b.shards)
    assert_same(finished(one_with_folds, tmp_path / "a"), alone(one_with_folds, tmp_path / "x"))
    with pytest.raises(NumericsError, match="sick"):  # its job says so itself
        with_sick(tmp_path / "b", on_error="stop").run()


@pytest.mark.parametrize("why", ["source", "no source", "model", "recordings", "batches"])
def test_what_has_nothing_in_common_is_left_to_its_job(tmp_path: Path, why: str) -> None:
    a = one_with_folds(tmp_path / "a", source="" if why == "no source" else "corpus")
    b = {
        "source": lambda: other_without(tmp_path / "b", source="elsewhere"),
        "no source": lambda: other_without(tmp_path / "b", source=""),
        "model": lambda: make_pass(tmp_path / "b", [FakeModel("new", seed=77)]),
        "recordings": lambda: other_without(tmp_path / "b", shard_s=1.0, corpus=make_corpus(13)),
        "batches": lambda: other_without(tmp_path / "b"),
    }[why]()
    if why == "batches":
        b.batch_s = 0.1
        assert any(len(batch) > 1 for shard in a.shards for batch in a.batches(shard))
    met = {number for step in plan_steps([a, b]) if len(step) > 1 for number in step}
    if why in ("recordings", "batches"):  # shards of one recording are still the same
        single = [s for s in a.shards if all(len(batch) == 1 for batch in a.batches(s))]
        assert len([s for s in plan_steps([a, b]) if len(s) == 2]) <= len(single)
    else:
        assert not met
        done = run_together([a, b])
        assert done.shards == [0, 0]
        assert calls(a, b) == 0


def keyed(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make passes' shards letters: "abc cb" are two passes of three and two shards."""
    from voxstrata.streaming import together

    listed = iter(keys.split())
    monkeypatch.setattr(together, "_families", lambda passes: [0 for _ in passes])
    monkeypatch.setattr(together, "_keys", lambda _one, _family: list(next(listed)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("abc abc", "01 01 01"),
        ("abcx abcyz", "01 01 01"),  # what is nobody else's is left to the job
        ("xab ab", "0 01 01"),
        ("xya zwa", "0 0 1 1 01"),
        ("bc abc", "1 01 01"),  # the first waits for the second to catch up
        ("abc bc c", "0 01 012"),
        ("abc def", ""),
        ("ab ba", "0 01"),  # crossed orders: one of both is shared
    ],
)
def test_steps(keys: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed(keys, monkeypatch)
    steps = plan_steps([None] * len(keys.split()))  # type: ignore[list-item]
    assert " ".join("".join(map(str, step)) for step in steps) == expected


@pytest.mark.parametrize("seed", range(20))
def test_steps_of_random_orders_keep_every_order(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    letters = np.array(list("abcdefghij"))
    orders = [
        "".join(random.permutation(letters)[: random.integers(3, 11)])
        if random.random() < 0.5
        else "".join(letters[random.integers(0, 5) :])
        for _ in range(4)
    ]
    keyed(" ".join(orders), monkeypatch)
    place = [0] * 4
    for step in plan_steps([None] * 4):  # type: ignore[list-item]
        now = {orders[number][place[number]] for number in step}
        assert len(now) == 1  # all who move are at the same shard
        for number in step:
            place[number] += 1
    left = [set(order[at:]) for order, at in zip(orders, place, strict=True)]
    assert not any(left[i] & left[j] for i in range(4) for j in range(i))


def test_the_common_order_is_that_of_a_similarity_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs without folds of their own go the way of a similarity run with its default folds."""
    from voxstrata.similarity.settings import SimilarityConfig

    class Corpus:
        utterances = make_corpus(40, speakers=12)

    monkeypatch.setattr(setup, "SHARD_S", 3.0)
    settings = SimilarityConfig(models=("a",), corpus="b")
    groups = {
        "utterance": [u.id for u in Corpus.utterances],
        "speaker": [str(u.tiers["speaker"]) for u in Corpus.utterances],
    }
    for group, names in groups.items():
        folds = fold_recordings(Corpus, names, settings.folds, 5)  # type: ignore[arg-type]
        want = make_shards(Corpus.utterances, folds, 3.0)
        found = order_of_work(Corpus.utterances, 5, group=group)
        assert [s.members for s in found] == [s.members for s in want]
    one = order_of_work(Corpus.utterances[:1], 0)
    assert [s.members for s in one] == [(0,)]


def test_shards_of_a_long_corpus_hold_a_batch_of_a_gpu() -> None:
    """It is the corpus that decides how long they are, so that a run may change its device."""
    few = [replace(u, duration_s=600.0) for u in make_corpus(59)]
    many = [replace(u, duration_s=600.0) for u in make_corpus(60)]
    assert shard_seconds(few) == 60.0
    assert shard_seconds(many) == 300.0 == batch_seconds(None, "cuda:0")
    short = [replace(u, duration_s=20.0) for u in make_corpus(1800)]
    held = {sum(short[m].duration_s for m in s.members) for s in order_of_work(short, 0)}
    assert max(held) == 300.0
    full = next(s for s in order_of_work(short, 0) if len(s.members) == 15)
    assert len(make_batches(short, full.members, batch_seconds(None, "cuda:0"))) == 1


def opened(made: Callable[..., Pass], folder: Path) -> Callable[[], Pass]:
    def opener() -> Pass:
        with pytest.raises(StorageError, match="another run is using"), lock(folder):
            pass  # the folder is held while its pass is open
        write_json(folder / STATE / PLAN, {"identity": "x", "plan": None})
        return made(folder)

    return opener


def test_folders_are_told_what_was_shared(tmp_path: Path) -> None:
    a, b, c, d, e = (tmp_path / name for name in "abcde")

    def failing() -> Pass:
        raise StorageError("this disk is full")

    def unlike(folder: Path) -> Pass:
        return make_pass(folder, [FakeModel("new", seed=77)])

    said: list[str] = []
    report = advance_together(
        [
            (a, opened(one_with_folds, a)),
            (b, opened(other_without, b)),
            (c, failing),
            (d, lambda: None),
            (e, opened(unlike, e)),
        ],
        say=said.append,
    )
    assert report.groups == ((a, b),)
    assert (report.asked, report.run, report.saved) == (4 * COUNT, 2 * COUNT, 2 * COUNT)
    assert set(report.left) == {c, d, e}
    assert report.left[c] == "this disk is full"
    assert "a + b" in said[0]
    assert "50%" in said[0]
    assert report.facts()["forwards"]["saved"] == 2 * COUNT
    total = 0.0
    for folder, other in ((a, "b"), (b, "a")):
        sitting = sit_down(folder, "x", None)
        assert sitting.resumed is False
        assert sitting.shared["with"] == [other]
        assert sitting.shared["shards"] == sitting.shared["of_shards"]
        assert 0 < sitting.shared["share_s"] <= sitting.shared["wall_s"]
        total += sitting.shared["share_s"]
        facts = sitting.timed(2.0, {"rest": 2.0})
        assert facts["wall_s"] == pytest.approx(2.0 + sitting.shared["share_s"], abs=2e-3)
        assert sum(facts["wall_parts_s"].values()) == pytest.approx(facts["wall_s"], abs=2e-3)
        assert facts["shared_pass"]["with"] == [other]
        assert sit_down(folder, "x", None).resumed is True  # the job itself was stopped
    # Shares of a time that went by once do not add up to more than it.
    assert total <= report.wall_s
    plain = sit_down(e, "x", None)
    assert (plain.resumed, plain.shared) == (False, {})
    assert "shared_pass" not in plain.timed(1.0, {})
    assert_same(finished(one_with_folds, a), alone(one_with_folds, tmp_path / "x"))


def test_models_are_held_once(tmp_path: Path) -> None:
    passes: dict[str, Pass] = {}

    def opener(name: str) -> Callable[[], Pass]:
        def call() -> Pass:
            folder = tmp_path / name
            write_json(folder / STATE / PLAN, {"identity": "x", "plan": None})
            passes[name] = make_pass(folder, [base()])
            return passes[name]

        return call

    advance_together([(tmp_path / name, opener(name)) for name in "ab"])
    assert passes["a"].models[0] is passes["b"].models[0]


def test_a_stopped_shared_pass_is_resumed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"

    def both() -> None:
        advance_together([(a, opened(one_with_folds, a)), (b, opened(other_without, b))])

    plain = Pass._checkpoint

    def stopping(self: Pass, done: int) -> None:
        plain(self, done)
        if done == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "_checkpoint", stopping)
        with pytest.raises(RunInterruptedError):
            both()
    note = read_json(a / STATE / NOTE)
    assert note["ended"] is False
    assert note["served"]["shards"] >= 3
    assert sit_down(b, "x", None).resumed is True  # a job that went on from here by itself
    both()
    sitting = sit_down(a, "x", None)
    assert sitting.resumed is True
    assert sitting.shared["shards"] >= sitting.shared["of_shards"]
    assert_same(finished(one_with_folds, a), alone(one_with_folds, tmp_path / "x"))
    assert_same(finished(other_without, b), alone(other_without, tmp_path / "y"))


def test_afresh_deletes_what_is_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    made = [(a, opened(one_with_folds, a)), (b, opened(other_without, b))]
    advance_together(made)
    assert advance_together(made).run == 0
    assert advance_together(made, afresh=True).run == 2 * COUNT
    assert sit_down(a, "x", None).resumed is False
