"""DINO and SDPN learn planted speakers; runs that collapse are told, healthy ones are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import training_dino as planted
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.kind import Dino, DinoOptions
from voxstrata.training.objectives.dino.sdpn import Sdpn, SdpnOptions
from voxstrata.training.settings import OptimiserConfig

ADAM = OptimiserConfig(kind="adamw", decay_vectors=False, clip=3.0, clip_each=True)
SMALL = {"hidden": 64, "bottleneck": 32, "prototypes": 128, "momentum": 0.95}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _dino(**changes: Any) -> Dino:
    o = DinoOptions(**{**SMALL, "freeze_last": 0.2, **changes})
    wide = o.regulariser.width if o.regulariser else 0
    head = Head(
        planted.EMBED,
        hidden=64,
        bottleneck=32,
        prototypes=128,
        norm=o.head_norm,
        wide=wide,
    )
    return Dino(o, planted.network(), head)


def test_dino_learns_planted_speakers() -> None:
    objective, data = _dino(), planted.Planted()
    before = data.error(objective.network())
    _, said = planted.Trainer(objective, ADAM, 80).run(data, 0.005)
    after = data.error(objective.network())
    assert before > 30
    assert after < 13
    assert not said
    assert data.error(objective.student.network) < 13


def test_rdino_learns_planted_speakers() -> None:
    objective, data = _dino(regulariser={"width": 64}), planted.Planted()
    before = data.error(objective.network())
    losses, said = planted.Trainer(objective, ADAM, 80).run(data, 0.005)
    assert before > 30
    assert data.error(objective.network()) < 20
    assert float(losses[-1].logs["regulariser"]) < 0.9 * float(losses[0].logs["regulariser"])
    assert not said


def test_sdpn_learns_planted_speakers() -> None:
    options = SdpnOptions(**{**SMALL, "prototypes": 64})
    head = Head(planted.EMBED, hidden=64, bottleneck=32, prototypes=0)
    objective, data = Sdpn(options, planted.network(), head), planted.Planted()
    before = data.error(objective.network())
    _, said = planted.Trainer(objective, ADAM, 80).run(data, 0.005, seen=1)
    assert before > 30
    assert data.error(objective.network()) < 20
    assert not said


def test_a_teacher_without_centring_collapses_to_one_prototype_and_that_is_told() -> None:
    objective = _dino(centre_momentum=1.0, final_teacher_temperature=0.04, head_norm=False)
    losses, said = planted.Trainer(objective, ADAM, 40).run(planted.Planted(), 0.01)
    assert float(losses[-1].logs["teacher_entropy"]) < 0.01
    assert float(losses[-1].value.detach()) < 0.1  # the loss alone looks fine
    assert "the same single prototype for every recording" in said[0]
    assert "centre_momentum" in said[0]


def test_a_teacher_that_is_not_sharp_collapses_to_the_flat_distribution() -> None:
    objective = _dino(teacher_temperature=0.3, final_teacher_temperature=0.3)
    losses, said = planted.Trainer(objective, ADAM, 40).run(planted.Planted(), 0.01)
    assert float(losses[-1].logs["teacher_entropy_ratio"]) > 0.99
    assert "the flat distribution for every recording" in said[0]


def test_bfloat16_gives_nearly_the_same_loss_and_finite_gradients() -> None:
    batch = planted.Planted().batch(8)
    head = Head(planted.EMBED, hidden=64, bottleneck=32, prototypes=0)
    for make in (
        lambda: _dino(regulariser={"width": 64}),
        lambda: Sdpn(SdpnOptions(**SMALL, global_crops=2), planted.network(), head),
    ):
        torch.manual_seed(1)
        one = make().train()
        plain = float(one(batch).value.detach())
        torch.manual_seed(1)
        two = make().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = two(batch)
        loss.value.backward()
        assert loss.value.dtype == torch.float32
        assert float(loss.value.detach()) == pytest.approx(plain, rel=0.03)
        grads = [p.grad for p in two.student.parameters() if p.requires_grad]
        assert all(g is not None and g.isfinite().all() for g in grads)
