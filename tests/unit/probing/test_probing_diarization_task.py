"""Speaker diarization: who speaks in which frame, and what chooses step, threshold and filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from planted_heads import work_of
from voxstrata.errors import LabelError
from voxstrata.probing.cells import SUM, best_layer
from voxstrata.probing.kinds.diarization import KIND, active
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import HeadPlan
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.types import FrameGrid, Segment, Utterance

PLAN = HeadPlan(steps=40, batch=5, hidden=8, clip=1.0, every=20, screen=20, most_s=0.8)
GRID = FrameGrid(320, 400)


def talk(rng: np.random.Generator, speakers: int = 2) -> tuple[Segment, ...]:
    found, at = [], rng.uniform(0, 0.9)
    for i in range(4):
        length = rng.uniform(0.1, 0.6)
        found.append(Segment(at, at + length, f"s{i % speakers}"))
        at += length * rng.uniform(0.7, 1.2)
    return tuple(found)


def material(speakers: int = 2) -> Material:
    rng = np.random.default_rng(0)
    parts = {
        part: tuple(
            Utterance(f"{part}{i}", 2.6, {"turns": talk(rng, speakers)}) for i in range(count)
        )
        for part, count in (("train", 10), ("dev", 4), ("test", 4))
    }
    return Material(TaskSource(train="a", dev="b", test="c"), parts)


def planted(told: Material) -> dict[str, list[torch.Tensor]]:
    """Layer 0 is noise; layer 1 shows every speaker."""
    rng = np.random.default_rng(1)
    codes = torch.from_numpy(rng.standard_normal((2, 6))).float() * 3
    held = {}
    for part in told.parts.values():
        for u in part:
            who = active(u.segments("turns"), GRID, 128, 2)
            noise = torch.from_numpy(rng.standard_normal((2, 128, 6))).float()
            held[u.id] = [noise[0], who @ codes + 0.3 * noise[1]]
    return held


def test_a_frame_is_active_where_a_turn_covers_its_centre() -> None:
    turns = (Segment(0.0325, 0.0725, "x"), Segment(0.05, 0.1, "y"))
    found = active(turns, GRID, 5, 3)  # centres .0125, .0325, .0525, .0725, .0925
    # The one who talks longest is first.
    assert found[:, 1].tolist() == [0, 1, 1, 0, 0]
    assert found[:, 0].tolist() == [0, 0, 1, 1, 1]
    assert found[:, 2].sum() == 0
    assert active(turns, GRID, 5, 1)[:, 0].tolist() == [0, 0, 1, 1, 1]


def test_the_layer_that_shows_the_speakers_is_found(tmp_path: Path) -> None:
    told = material()
    data = get_task("sd").data(told, 0)
    assert data.classes == {"outputs": ("speaker 1", "speaker 2")}
    work = work_of("sd", data, planted(told), PLAN, tmp_path)
    ran = KIND.run(work)
    screened = {r.layer: r for r in ran if r.probe.screen}
    assert best_layer(list(screened.values()), work.names, screen=True) == "1"
    full = {r.layer: r for r in ran if not r.probe.screen and not r.probe.control}
    control = next(r for r in ran if r.probe.control)
    assert set(full) == {SUM, "1"}
    assert full["1"].scores["der"] < 0.15 < screened["0"].scores["der"]
    assert control.scores["der"] > 0.3
    errors, speech = full["1"].counts["der"]
    assert errors.sum() / speech.sum() == pytest.approx(full["1"].scores["der"])
    wanted = sum(s.end_s - s.start_s for u in told.parts["test"] for s in u.segments("turns"))
    assert speech.sum() == pytest.approx(wanted)
    assert not full["1"].on_test


def test_published_rules_choose_threshold_and_filter_on_test(tmp_path: Path) -> None:
    told = material()
    data, held = get_task("sd").data(told, 0), planted(told)
    strict = KIND.run(work_of("sd", data, held, PLAN, tmp_path / "a"))
    published = KIND.run(work_of("sd", data, held, PLAN, tmp_path / "b", selection="superb"))
    assert all(r.on_test == (not r.probe.screen) for r in published)
    assert {r.chose for r in published} == {"frame-error", "der"}
    # Steps are chosen by frame accuracy: what a look says is a share of wrong frames.
    assert all(0 <= value <= 1 for r in published for value in r.dev if not r.probe.screen)
    both = [
        (one, other)
        for one, other in zip(strict, published, strict=True)
        if one.layer == other.layer and one.step == other.step and not one.probe.screen
    ]
    assert both
    assert all(other.scores["der"] <= one.scores["der"] + 1e-9 for one, other in both)


def test_a_recording_without_a_frame_is_left_out_and_said(tmp_path: Path) -> None:
    told = material()
    data, held = get_task("sd").data(told, 0), planted(told)
    held["train0"] = [x[:1] for x in held["train0"]]
    work = work_of("sd", data, held, PLAN.model_copy(update={"stride": 640}), tmp_path)
    ((reason, ids),) = KIND.left_out(work).items()
    assert ids == ["train0"]
    assert "no frame" in reason
    assert np.isfinite(KIND.run(work)[0].scores["der"])


def test_recordings_without_turns_or_with_too_many_speakers() -> None:
    told = material(4)
    task = get_task("sd").model_copy(update={"most": 3})  # type: ignore[attr-defined]
    crowded = Material(
        told.source,
        {**told.parts, "train": (*material(2).parts["train"], *told.parts["train"][:2])},
    )
    data = task.data(crowded, 0)
    assert data.dropped["train recording with more than 3 speakers"] == 2
    assert len(data.classes["outputs"]) == 2
    bare = Material(TaskSource(corpus="x"), {"all": (Utterance("a", 1.0, {"speaker": "x"}),)})
    with pytest.raises(LabelError, match="mixtures:"):
        get_task("sd").data(bare, 0)
