"""Classes of moments: which frame is read, and that only the layer with the phone knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from planted_heads import features_of, work_of
from voxstrata.errors import LabelError
from voxstrata.probing.cells import SUM
from voxstrata.probing.kinds.spot import KIND
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import HeadPlan
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.probing.tasks.spots import SpotExamples
from voxstrata.types import Segment, Utterance

LABELS = ("AA", "B", "IY")


def material(count: int = 8) -> Material:
    rng = np.random.default_rng(0)
    parts = {}
    for part in ("train", "dev", "test"):
        made = []
        for i in range(count):
            spans = [Segment(0.0, 0.1, "SIL")]
            spans += [
                Segment(0.1 * k, 0.1 * (k + 1), str(rng.choice(LABELS)) + "1") for k in range(1, 9)
            ]
            tiers = {"phones": tuple(spans), "speaker": f"{part}{i}"}
            made.append(Utterance(f"{part}{i}", 1.0, tiers))
        parts[part] = tuple(made)
    return Material(TaskSource(train="a", dev="b", test="c"), parts)


def test_moments_are_the_middles_of_segments_without_silence_and_stress() -> None:
    told = material(2)
    data = get_task("phone").data(told, 0)
    assert data.classes == {"phones": LABELS}
    test = data.rounds[0].parts["test"]
    assert isinstance(test, SpotExamples)
    assert len(test) == 16
    assert sorted(test.times[[n == "test0" for n in test.ids]]) == pytest.approx(
        [0.15 + 0.1 * k for k in range(8)]
    )
    few = get_task("phone").model_copy(update={"most": 2}).data(told, 0)  # type: ignore[attr-defined]
    assert len(few.rounds[0].parts["train"]) == 6
    assert any("over 2 of a class" in why for why in few.dropped)
    bare = Material(TaskSource(corpus="x"), {"all": (Utterance("a", 1.0, {"text": "x"}),)})
    with pytest.raises(LabelError, match="needs a tier"):
        get_task("phone").data(bare, 0)


def test_the_frame_with_the_nearest_centre_is_read() -> None:
    # Centres of the frames are .0125, .0325, .0525 s.
    frames = features_of(
        {"a": [torch.arange(3.0)[:, None]], "b": [10 + torch.arange(2.0)[:, None]]}
    )
    found = frames.at(0, ["a", "b", "a", "a", "b"], np.array([0.0, 0.03, 0.024, 0.9, 0.0124]))
    assert found[:, 0].tolist() == [0, 11, 1, 2, 10]


def test_only_the_layer_with_the_phone_knows_it(tmp_path: Path) -> None:
    told = material()
    data = get_task("phone").data(told, 0)
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((3, 5)) * 3
    held = {}
    for part in told.parts.values():
        for u in part:
            rows = rng.standard_normal((2, 49, 5))
            for span in u.segments("phones")[1:]:
                centres = 0.0125 + 0.02 * np.arange(49)
                here = (centres >= span.start_s) & (centres < span.end_s)
                rows[1, here] += codes[LABELS.index(span.label[:-1])]
            held[u.id] = [torch.from_numpy(x).float() for x in rows]
    plan = HeadPlan(steps=60, batch=32, hidden=8, every=20)
    ran = KIND.run(work_of("phone", data, held, plan, tmp_path, lrs=(0.05,)))
    scores = {r.layer: r.scores["accuracy"] for r in ran if not r.probe.control}
    assert scores["1"] > 0.9 > 0.6 > scores["0"]
    assert scores[SUM] > 0.9
    dealt = {r.layer: r.scores["accuracy"] for r in ran if r.probe.control}
    assert dealt["1"] < 0.6
