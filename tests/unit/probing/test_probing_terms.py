"""Query by example: what becomes of a corpus, and planted terms found layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.errors import ConfigError, LabelError, NumericsError, UsageError
from voxstrata.metrics.spoken_terms import TermTrials, query_scores
from voxstrata.probing.cells import Features, Ran, Reads, best_layer, chosen, groups_of
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.kinds.kind import KINDS, Work
from voxstrata.probing.kinds.terms import within
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import HeadPlan, ProbeConfig, ProtocolConfig
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.probing.table import Cell, probe_lines, rows_of, weight_lines
from voxstrata.probing.task import Round, TaskData
from voxstrata.probing.tasks.terms import TermTask
from voxstrata.probing.terms import Terms, words_of
from voxstrata.types import FrameGrid, LayerInfo, Segment, Utterance


def task(**changes: Any) -> TermTask:
    found = get_task("qbe")
    assert isinstance(found, TermTask)
    return found.model_copy(update=changes)


def one(name: str, speaker: str | None = None, **tiers: Any) -> Utterance:
    own = {} if speaker is None else {"speaker": speaker}
    return Utterance(name, 2.0, own | tiers)


def alone(*utterances: Utterance) -> Material:
    return Material(TaskSource(corpus="a"), {"all": utterances})


def terms_of(data: TaskData, part: str) -> Terms:
    found = data.rounds[0].parts[part]
    assert isinstance(found, Terms)
    return found


def held(data: TaskData, part: str) -> dict[str, set[str]]:
    found = terms_of(data, part)
    return {
        query: {found.documents[j] for j in np.flatnonzero(row)}
        for query, row in zip(found.ids, found.held, strict=True)
    }


# -- what a corpus says


def test_queries_and_documents_that_the_corpus_names() -> None:
    documents = [one(f"d{i}", role="document") for i in range(3)]
    dev = (
        *documents,
        one("q0", role="query", matches=["d0", "d2"]),
        one("q1", role="query", matches=None),
    )
    test = (*documents, one("q2", role="query", matches=["d1", "elsewhere"]))
    material = Material(TaskSource(dev="a", test="b"), {"dev": dev, "test": test})
    data = task().data(material, 0)
    assert held(data, "dev") == {"q0": {"d0", "d2"}}
    assert held(data, "test") == {"q2": {"d1"}}
    # A query without a document is not scored, but its frames count, as published.
    assert terms_of(data, "dev").beside == ("q1",)
    assert data.dropped == {"queries of dev are in no document and do not count": 1}
    assert sorted(data.ids) == ["d0", "d1", "d2", "q0", "q1", "q2"]
    assert not data.rounds[0].parts["train"].ids
    assert any("beta 12.49" in note for note in data.notes)


def test_one_corpus_with_roles_shares_its_queries_out() -> None:
    documents = [one(f"d{i}", role="document") for i in range(4)]
    queries = [one(f"q{i}", role="query", matches=[f"d{i % 4}"]) for i in range(11)]
    data = task().data(alone(*documents, *queries), 3)
    dev, test = (set(terms_of(data, part).ids) for part in ("dev", "test"))
    assert (len(dev), len(test)) == (6, 5)
    assert dev | test == {q.id for q in queries}
    again = task().data(alone(*reversed(documents), *reversed(queries)), 3)
    assert set(terms_of(again, "dev").ids) == dev
    assert set(terms_of(task().data(alone(*documents, *queries), 4), "dev").ids) != dev


def test_recordings_of_one_word_are_sought_in_longer_ones() -> None:
    keywords = [one(f"k{i}", f"s{i}", keyword=w) for i, w in enumerate(["Up", "left"] * 4)]
    texts = ["go up, now", "the left side", "up and left", "nothing here"]
    longer = [one(f"d{i}", f"t{i}", text=text) for i, text in enumerate(texts)]
    odd = one("k9", "s9", text="zebra")
    data = task(least_queries=2).data(alone(*keywords, *longer, odd), 0)
    assert terms_of(data, "dev").documents == ("d0", "d1", "d2", "d3")
    for part in ("dev", "test"):
        for query, documents in held(data, part).items():
            word = "up" if int(query[1:]) % 2 == 0 else "left"
            assert documents == ({"d0", "d2"} if word == "up" else {"d1", "d2"})
    assert data.classes == {"terms": ("left", "up")}
    assert sum(data.dropped.values()) == 1
    assert "k9" not in data.ids


def test_words_are_cut_out_where_too_few_stand_alone() -> None:
    said = ["cat sat", "cat ran", "dog sat", "dog ran"]

    def recording(number: int) -> Utterance:
        words = said[number % 4].split()
        spans = tuple(Segment(0.4 * i + 0.1, 0.4 * (i + 1) + 0.1, w) for i, w in enumerate(words))
        pause = Segment(0.9, 1.4, "SIL")
        short = Segment(1.4, 1.6, "cat")
        return one(f"r{number:02d}", f"s{number // 4}", words=(*spans, pause, short))

    recordings = [recording(i) for i in range(48)]
    data = task(least_queries=8).data(alone(*recordings), 0)
    speaker = {u.id: str(u.tiers["speaker"]) for u in recordings}
    dev, test = terms_of(data, "dev"), terms_of(data, "test")
    voices = [{speaker[i] for i in ids} for ids in (dev.ids, test.ids, dev.documents)]
    assert [len(v) for v in voices] == [3, 3, 6]
    assert not any(voices[a] & voices[b] for a, b in ((0, 1), (0, 2), (1, 2)))
    assert dev.documents == test.documents
    by_id = {u.id: u for u in recordings}
    for ids, spans, rows in ((dev.ids, dev.spans, dev.held), (test.ids, test.spans, test.held)):
        for name, span, row in zip(ids, spans, rows, strict=True):
            (word,) = (
                s.label for s in by_id[name].segments("words") if (s.start_s, s.end_s) == span
            )
            assert span is not None
            assert span[1] - span[0] > 0.3
            # "cat" is in every recording, if only for a moment: it can be missed, not mistaken
            assert word in {"dog", "sat", "ran"}
            assert row.tolist() == [word in words_of(by_id[d]) for d in dev.documents]
    assert set(dev.groups) == voices[0]
    few = task(least_queries=8, most_queries=10).data(alone(*recordings), 0)
    assert len(terms_of(few, "dev").ids) == 10
    assert few.dropped["queries of dev are beyond the 10 sought"] == len(dev.ids) - 10
    assert len(few.classes["terms"]) == 3


def test_parts_of_the_corpus_map() -> None:
    def part(first: int) -> tuple[Utterance, ...]:
        keywords = [one(f"k{first + i}", f"s{first + i}", text="up") for i in range(2)]
        return (
            *keywords,
            one(f"d{first}", "t", text="up up now"),
            one(f"e{first}", "t", text="a b"),
        )

    parts = {"train": part(0), "dev": part(10), "test": part(20)}
    source = TaskSource(train="a", dev="b", test="c")
    data = task(least_queries=1).data(Material(source, parts), 0)
    assert held(data, "dev") == {"k10": {"d10"}, "k11": {"d10"}}
    assert terms_of(data, "test").documents == ("d20", "e20")
    parts.pop("dev")
    data = task(least_queries=1).data(Material(TaskSource(train="a", test="c"), parts), 0)
    assert held(data, "dev") == {"k0": {"d0"}, "k1": {"d0"}}
    assert any("part train" in note for note in data.notes)


def test_a_task_with_training_needs_a_training_part() -> None:
    parts = {
        p: tuple(one(f"{p}{i}", gender="FM"[i % 2]) for i in range(8)) for p in ("dev", "test")
    }
    with pytest.raises(UsageError, match="no training part"):
        get_task("gender").data(Material(TaskSource(dev="a", test="b"), parts), 0)
    with pytest.raises(ValueError, match="give `corpus`"):
        TaskSource(dev="a")
    with pytest.raises(ValueError, match="give `corpus`"):
        TaskSource(test="a")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="needs a tier"):
        task().data(alone(one("a", gender="F")), 0)
    with pytest.raises(UsageError, match="too few queries") as error:
        task().data(alone(one("a", text="up"), one("b", text="left")), 0)
    assert "alone: no recording of several words" in str(error.value)
    assert "cut: no words" in str(error.value)
    with pytest.raises(UsageError, match="too few queries") as error:
        task().data(alone(one("a", role="query", matches=["d"]), one("d", role="document")), 0)
    assert "every document holds every query of dev" in str(error.value)
    roles = [one("a", role="query", matches=["d"]), *(one(i, role="document") for i in "de")]
    with pytest.raises(UsageError, match="too few queries") as error:
        task().data(alone(*roles), 0)
    assert "given: 0 queries of test" in str(error.value)
    with pytest.raises(UsageError, match="no folds"):
        task().data(Material(TaskSource(folds=("a", "b")), {"fold1": (), "fold2": ()}), 0)
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntitle: M\nsummary: s\nfinds: [nowhere]\n")
    with pytest.raises(ConfigError, match="finds"):
        get_task(str(file))
    file.write_text("name: mine\ntitle: M\nsummary: s\nfinds: [cut]\np_target: 0.5\n")
    mine = get_task(str(file))
    assert isinstance(mine, TermTask)
    assert (mine.weights.beta, mine.tiers) == (pytest.approx(0.01), ("words",))


def test_all_that_results_depend_on_is_described() -> None:
    documents = [one(f"d{i}", role="document") for i in range(3)]
    queries = [one(f"q{i}", role="query", matches=[f"d{i % 3}"]) for i in range(6)]

    def described(*utterances: Utterance, **changes: Any) -> object:
        return terms_of(task(**changes).data(alone(*utterances), 0), "test").described()

    same = described(*documents, *queries)
    assert described(*documents, *queries) == same
    others = [one(f"q{i}", role="query", matches=[f"d{(i + 1) % 3}"]) for i in range(6)]
    assert described(*documents, *others) != same
    assert described(*documents, one("d9", role="document"), *queries) != same
    assert described(*documents, *queries, p_target=0.1) != same
    assert described(*documents, *queries, least_frames=9) != same


# -- planted frames

GRID = FrameGrid(320, 400)


class Held:
    """Frames in memory, as a store gives them."""

    def __init__(self, frames: dict[str, torch.Tensor]) -> None:
        self.frames = frames

    def count(self, recording: str) -> int:
        return len(self.frames[recording])

    def rows(self, position: int, recording: str) -> torch.Tensor:
        return self.frames[recording]


def planted(
    rng: np.random.Generator, noise: dict[str, float], length: int = 12, count: int = 10
) -> tuple[dict[str, torch.Tensor], dict[str, Terms]]:
    """Dev and test queries, each in 3 of 24 documents, with noise by part."""
    names = [f"d{i}" for i in range(24)]
    frames = {n: rng.normal(size=(rng.integers(20, 40), 6)) for n in names}
    parts = {"train": Terms((), np.zeros((0, 0), np.int64), ())}
    for part in ("dev", "test"):
        rows = np.zeros((count, 24), dtype=bool)
        for q in range(count):
            term = rng.normal(size=(length, 6))
            frames[f"{part}{q}"] = term + noise[part] * rng.normal(size=term.shape)
            for d in rng.choice(24, 3, replace=False):
                rows[q, d] = True
                frames[names[d]] = np.concatenate([frames[names[d]], term, rng.normal(size=(4, 6))])
        ids = tuple(f"{part}{q}" for q in range(count))
        parts[part] = Terms(
            ids, np.zeros((count, 0), np.int64), tuple(f"s{q // 2}" for q in range(count)),
            spans=(None,) * count, documents=tuple(names), held=rows,
        )  # fmt: skip
    return {k: torch.from_numpy(v).float() for k, v in frames.items()}, parts


def work(
    folder: Path, layers: list[dict[str, torch.Tensor]], parts: dict[str, Terms], **changes: Any
) -> Work:
    names = tuple(map(str, range(len(layers))))
    place = {name: i for i, name in enumerate(layers[0])}
    infos = [LayerInfo(n, next(iter(x.values())).shape[1], "frame", GRID) for n, x in zip(
        names, layers, strict=True)]  # fmt: skip
    means = [torch.stack([rows.mean(0) for rows in held.values()]) for held in layers]
    sources: Any = [(Held(held), 0) for held in layers]
    said = {
        "task": task(),
        "data": TaskData({}, (Round("", parts),)),
        "spec": "planted",
        "config": ProbeConfig(models=("planted",), corpus="a", **changes),
        "protocol": ProtocolConfig(name="p", lrs=(0.1,), seeds=1),
        "reads": Reads(names),
        "means": Features(names, means, place),
        "frames": FrameFeatures(infos, sources, place),
        "folder": folder,
        "workers": 2,
        "advance": lambda _n: None,
    }
    return Work(**said)


def run(asked: Work) -> list[Ran]:
    return KINDS.get("terms").run(asked)


def test_the_layer_is_chosen_on_dev_and_scored_on_test(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    exact, parts = planted(rng, {"dev": 0.0, "test": 0.0})
    noise = {name: torch.randn(rows.shape, generator=torch.manual_seed(1))
             for name, rows in exact.items()}  # fmt: skip
    # A layer that knows dev queries alone is chosen, though another is better on test.
    only_dev = {
        name: noise[name] if name.startswith("test") else rows for name, rows in exact.items()
    }
    only_test = {
        name: noise[name] if name.startswith("dev") else rows for name, rows in exact.items()
    }
    counted: list[int] = []
    asked = work(tmp_path / "a", [noise, exact], parts)
    found = KINDS.get("terms").run(
        Work(**{**asked.__dict__, "advance": counted.append})  # type: ignore[arg-type]
    )
    kind = KINDS.get("terms")
    assert (
        sum(counted)
        == kind.count(asked.task, asked.reads, asked.config, asked.protocol)
        == 4
        == len(found)
    )
    by = {(r.layer, r.probe.control): r for r in found}
    assert best_layer(found, asked.names) == "1"
    assert by["1", False].scores["mtwv"] == 1.0
    assert by["1", False].dev == (1.0,)
    assert by["0", False].scores["mtwv"] < 0.3
    assert by["1", True].scores["mtwv"] < 0.3
    again = run(work(tmp_path / "b", [only_test, only_dev], parts))
    assert best_layer(again, asked.names) == "1"
    scores = {r.layer: r.scores["mtwv"] for r in again if not r.probe.control}
    assert scores["1"] < 0.3 < scores["0"]


def test_values_and_draws_are_those_of_the_metric(tmp_path: Path) -> None:
    exact, parts = planted(np.random.default_rng(2), {"dev": 0.8, "test": 0.8})
    asked = work(tmp_path, [exact], parts, controls=False, seed=5)
    (found,) = run(asked)
    test = parts["test"]
    queries = [exact[name].double().numpy() for name in test.ids]
    documents = [exact[name].double().numpy() for name in test.documents]
    trials = TermTrials(query_scores(queries, documents), test.held)
    assert found.scores["mtwv"] == trials.maximum()[0]
    assert 0 < found.scores["mtwv"] < 1
    ranked = [np.flatnonzero(row[np.argsort(-own)]) for row, own in zip(
        test.held, query_scores(queries, documents), strict=True)]  # fmt: skip
    precise = [np.mean((np.arange(3) + 1) / (places + 1)) for places in ranked]
    np.testing.assert_allclose(found.counts["map"][0], precise)
    assert found.scores["map"] == pytest.approx(np.mean(precise))
    odd = ProtocolConfig(name="p", lrs=(0.1,), seeds=1, tasks={"qbe": HeadPlan(chooses="wer")})
    with pytest.raises(ConfigError, match="has not"):
        run(Work(**{**asked.__dict__, "protocol": odd}))
    np.testing.assert_array_equal(found.draws["mtwv"], trials.replicates(test.groups, seed=5))
    assert found.draws["mtwv"].shape == (1000,)
    # What is kept on disk is what comes back, without a second search.
    (tmp_path / "other").mkdir()
    broken = work(tmp_path, [{n: rows * 0 for n, rows in exact.items()}], parts,
                  controls=False, seed=5)  # fmt: skip
    (kept,) = run(broken)
    assert kept.scores == found.scores
    np.testing.assert_array_equal(kept.draws["mtwv"], found.draws["mtwv"])
    groups = groups_of(asked.data, asked.means.place)
    cell = Cell("qbe", "planted", asked.reads, (6,), (1.0,), [found], groups, 0, ("mtwv", "map"),
                "higher", "mtwv", {})  # fmt: skip
    row, other = rows_of(cell, "s", 5)
    assert (row.measure, row.n, row.groups, row.layer) == ("mtwv", 10, 5, "0")
    assert other.measure == "map"
    for one_row in (row, other):
        assert one_row.ci_low is not None
        assert one_row.ci_high is not None
        assert one_row.ci_low < one_row.value < one_row.ci_high
    assert not weight_lines(cell)
    assert [line["chosen"] for line in probe_lines(cell)] == [True]
    assert chosen([found], "0") == [found]


def test_short_queries_and_unreadable_recordings(tmp_path: Path) -> None:
    short, parts = planted(np.random.default_rng(3), {"dev": 0.0, "test": 0.0}, length=4)
    found = run(work(tmp_path / "short", [short], parts, controls=False))
    assert found[0].scores["mtwv"] == 0
    exact, parts = planted(np.random.default_rng(3), {"dev": 0.0, "test": 0.0})
    here = {n: rows for n, rows in exact.items() if n not in ("test0", "d5", "d6")}
    here["d7"] = here["d7"][:0] + 0
    asked = work(tmp_path / "some", [here], parts, controls=False)
    asked.means.rows[0][asked.means.place["d7"]] = 0  # the mean of no frames
    assert run(asked)[0].scores["mtwv"] == 1
    (lost,) = KINDS.get("terms").left_out(asked).values()
    assert set(lost) == {"test0", "d5", "d6"}
    none = {n: rows for n, rows in exact.items() if not n.startswith("test")}
    with pytest.raises(UsageError, match="no query left"):
        run(work(tmp_path / "none", [none], parts))
    bad = dict(exact)
    bad["d3"] = bad["d3"] * torch.nan
    with pytest.raises(NumericsError, match="layer 0"):
        run(work(tmp_path / "bad", [bad], parts))


def test_queries_that_are_stretches(tmp_path: Path) -> None:
    """Centres of frames are at 200 + 320 i samples, 12.5 + 20 i ms."""
    assert within(GRID, (0.0125, 0.0525), 9) == slice(0, 2)
    assert within(GRID, (0.0126, 0.0526), 9) == slice(1, 3)
    assert within(GRID, (0.0, 9.0), 9) == slice(0, 9)
    assert within(GRID, (0.5, 0.6), 9) == slice(9, 9)
    exact, parts = planted(np.random.default_rng(4), {"dev": 0.0, "test": 0.0})
    rng = torch.Generator().manual_seed(0)
    spans = {}
    for part in ("dev", "test"):
        for name in parts[part].ids:
            before = torch.randn(30, 6, generator=rng)
            exact[name] = torch.cat([before, exact[name], torch.randn(9, 6, generator=rng)])
        ends = ((0.02 * 30 + 0.005), (0.02 * 42 + 0.005))
        spans[part] = Terms(**{**parts[part].__dict__, "spans": (ends,) * 10})
    (cut,) = run(work(tmp_path / "cut", [exact], parts | spans, controls=False))
    assert cut.scores["mtwv"] == 1
    (whole,) = run(work(tmp_path / "whole", [exact], parts, controls=False))
    assert whole.scores["mtwv"] < 0.9


def test_queries_in_no_document_count_in_the_scale_of_dimensions(tmp_path: Path) -> None:
    exact, parts = planted(np.random.default_rng(5), {"dev": 0.5, "test": 0.5})
    loud = 40 * torch.randn(200, 6, generator=torch.manual_seed(0)) * torch.arange(6)
    more = {part: Terms(**{**parts[part].__dict__, "beside": ("x",)}) for part in ("dev", "test")}
    asked = work(tmp_path, [exact | {"x": loud}], parts | more, controls=False)
    (found,) = run(asked)
    test = parts["test"]
    scores = query_scores(
        [exact[name] for name in test.ids], [exact[name] for name in test.documents], beside=[loud]
    )
    assert found.scores["mtwv"] == pytest.approx(TermTrials(scores, test.held).maximum()[0])
    (without,) = run(work(tmp_path / "without", [exact], parts, controls=False))
    assert found.scores["mtwv"] != without.scores["mtwv"]
    assert "x" in asked.data.ids
