"""Speaker verification: trials of held-out speakers, x-vector heads, and what is chosen on what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planted_heads import work_of
from voxstrata.errors import LabelError, UsageError
from voxstrata.metrics.eer import eer
from voxstrata.probing.cells import SUM, best_layer
from voxstrata.probing.kinds.xvector import KIND
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import HeadPlan
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.probing.task import TaskData
from voxstrata.probing.tasks.trials import TrialExamples
from voxstrata.types import Utterance

PLAN = HeadPlan(
    steps=30, batch=12, hidden=16, clip=100, every=10, screen=15, most_s=0.5, margin=0.1, decay=0.01
)


def utterances(part: str, speakers: int, each: int) -> tuple[Utterance, ...]:
    return tuple(
        Utterance(f"{part}{s}-{i}", 1.0, {"speaker": f"{part}{s}"})
        for s in range(speakers)
        for i in range(each)
    )


def material(**source: Any) -> Material:
    parts = {"train": utterances("a", 6, 5), "dev": utterances("b", 4, 4)}
    parts["test"] = utterances("c", 4, 4)
    given = {"train": "a", "dev": "b", "test": "c", **source}
    return Material(TaskSource.model_validate(given), parts)


def planted(data: TaskData, short: str = "") -> dict[str, list[torch.Tensor]]:
    """Three layers: noise, a trace of the speaker, the speaker."""
    rng = np.random.default_rng(0)
    voices: dict[str, np.ndarray] = {}
    held = {}
    for part in data.rounds[0].parts.values():
        for name in part.ids:
            voice = voices.setdefault(name.split("-")[0], rng.standard_normal(8))
            frames = 10 if name == short else int(rng.integers(30, 60))
            held[name] = [
                torch.from_numpy(depth * voice + rng.standard_normal((frames, 8))).float()
                for depth in (0.0, 0.2, 1.5)
            ]
    return held


def test_every_pair_of_test_recordings_is_a_trial() -> None:
    data = get_task("asv").data(material(), 0)
    test = data.rounds[0].parts["test"]
    assert isinstance(test, TrialExamples)
    assert len(test.same) == 16 * 15 // 2
    assert test.same.sum() == 4 * (4 * 3 // 2)
    said = [
        test.ids[a].split("-")[0] == test.ids[b].split("-")[0]
        for a, b in zip(test.first, test.second, strict=True)
    ]
    np.testing.assert_array_equal(said, test.same)
    assert len(data.classes["speaker"]) == 6
    few = get_task("asv").model_copy(update={"trials": 50}).data(material(), 0)  # type: ignore[attr-defined]
    assert len(few.rounds[0].parts["test"].same) == 50


def test_a_list_of_trials_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text("1 c0-0 c0-1\n0 c0-0 c1-1.wav\n0 c0-0 other\n")
    data = get_task("asv").data(material(trials=str(path)), 0)
    test = data.rounds[0].parts["test"]
    assert isinstance(test, TrialExamples)
    assert test.ids == ("c0-0", "c0-1", "c1-1")
    assert test.same.tolist() == [True, False]
    assert any("1 trials" in note for note in data.notes)


def test_a_list_of_trials_fits_recordings_that_were_renamed(tmp_path: Path) -> None:
    """Through a channel of their own, or with the id of another corpus' recording."""
    path = tmp_path / "trials.txt"
    path.write_text("1 c0-0 c0-1\n0 c0-0 c1-1\n")
    told = material(trials=str(path))
    renamed = {
        part: tuple(Utterance(f"corpus2/{u.id}~channel", 1.0, u.tiers) for u in held)
        for part, held in told.parts.items()
    }
    test = get_task("asv").data(Material(told.source, renamed), 0).rounds[0].parts["test"]
    assert isinstance(test, TrialExamples)
    assert test.ids == ("corpus2/c0-0~channel", "corpus2/c0-1~channel", "corpus2/c1-1~channel")
    assert test.same.tolist() == [True, False]


def test_pairs_of_large_parts_are_drawn_among_fewer_recordings() -> None:
    parts = {"train": utterances("a", 300, 2), "dev": utterances("b", 30, 100)}
    parts["test"] = utterances("c", 4, 4)
    data = get_task("asv").data(Material(TaskSource(train="a", dev="b", test="c"), parts), 0)
    dev = data.rounds[0].parts["dev"]
    assert isinstance(dev, TrialExamples)
    assert len(dev.ids) <= 2000
    assert len(dev.same) == 5000
    assert 0 < dev.same.sum() < 5000
    # Where dev is not named no more speakers become dev than are needed.
    del parts["dev"]
    data = get_task("asv").data(Material(TaskSource(train="a", test="c"), parts), 0)
    assert len(set(data.rounds[0].parts["dev"].groups)) == 60


def test_what_cannot_be_done_says_why() -> None:
    bare = Material(TaskSource(corpus="x"), {"all": (Utterance("a", 1.0, {"text": "x"}),)})
    with pytest.raises(LabelError, match="needs a tier"):
        get_task("asv").data(bare, 0)
    one = Material(TaskSource(corpus="x"), {"all": utterances("a", 2, 4)})
    with pytest.raises(UsageError, match="too few speakers"):
        get_task("asv").data(one, 0)


def test_the_layer_with_the_speaker_is_found(tmp_path: Path) -> None:
    data = get_task("asv").data(material(), 0)
    work = work_of("asv", data, planted(data), PLAN, tmp_path)
    ran = KIND.run(work)
    screened = [r for r in ran if r.probe.screen]
    assert len(screened) == 3
    assert best_layer(screened, work.names, screen=True) == "2"
    full = {r.layer: r for r in ran if not r.probe.screen and not r.probe.control}
    assert set(full) == {SUM, "2"}
    assert full["2"].scores["eer"] < 0.1
    assert {r.layer: r.scores["eer"] for r in screened}["0"] > 0.3
    assert full["2"].best == min(full["2"].dev)
    for one in ran:
        assert one.draws["eer"].shape == (1000,)
        assert np.nanmean(one.draws["eer"]) == pytest.approx(one.scores["eer"], abs=0.1)
        assert 0 <= one.scores["min-dcf"] <= 1
        assert not one.on_test
    # Kept heads are read as they were.
    again = KIND.run(work)
    assert [r.scores for r in again] == [r.scores for r in ran]
    np.testing.assert_array_equal(again[0].draws["eer"], ran[0].draws["eer"])


def test_published_selection_takes_the_best_look_at_the_test_trials(tmp_path: Path) -> None:
    data = get_task("asv").data(material(), 0)
    held = planted(data)
    strict = KIND.run(work_of("asv", data, held, PLAN, tmp_path / "a"))
    published = KIND.run(work_of("asv", data, held, PLAN, tmp_path / "b", selection="superb"))
    for one, other in zip(strict, published, strict=True):
        if one.probe.screen:
            assert not other.on_test  # a screen chooses the layer, on dev
            assert other.scores == one.scores
        elif one.layer == other.layer:
            assert other.on_test
            assert other.chose == "test-eer"
            assert other.scores["eer"] == pytest.approx(min(other.dev))
            assert other.scores["eer"] <= one.scores["eer"] + 1e-12


def test_recordings_shorter_than_the_context_are_left_out_and_said(tmp_path: Path) -> None:
    data = get_task("asv").data(material(), 0)
    work = work_of("asv", data, planted(data, short="c0-0"), PLAN, tmp_path)
    ((reason, ids),) = KIND.left_out(work).items()
    assert ids == ["c0-0"]
    assert "fewer than 16 frames" in reason
    ran = KIND.run(work)
    assert np.isfinite(ran[0].scores["eer"])


def test_the_error_rate_is_that_of_the_cosines_of_embeddings(tmp_path: Path) -> None:
    from voxstrata.probing.kinds.xvector import _Training
    from voxstrata.probing.linear.probes import Probe

    data = get_task("asv").data(material(), 0)
    work = work_of("asv", data, planted(data), PLAN, tmp_path)
    training = _Training(work, data.rounds[0], Probe((2,), 0.01, 0))
    ran = training.run()
    test = data.rounds[0].parts["test"]
    assert isinstance(test, TrialExamples)
    head: Any = training.model.head
    vectors = []
    with torch.no_grad():
        for name in test.ids:  # one at a time, nothing padded
            rows, lengths = training.features.batch((2,), [name])
            vectors.append(head.embedding(rows[0], lengths)[0].double().numpy())
    unit = np.stack(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = (unit[test.first] * unit[test.second]).sum(1)
    assert eer(scores[test.same], scores[~test.same]) == pytest.approx(ran.scores["eer"], abs=1e-6)
