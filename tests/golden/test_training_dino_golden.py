"""Heads, losses and one whole training step of DINO, RDINO and SDPN against the public code.

Tolerance 1e-5 in float32.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from voxstrata.models.ecapa.checkpoint import understand
from voxstrata.training.objective import Clock
from voxstrata.training.objectives.dino import loss as losses
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.kind import Dino, DinoOptions
from voxstrata.training.objectives.dino.watch import teacher_state
from voxstrata.training.optimise import clip, make_optimiser, set_rate
from voxstrata.training.settings import OptimiserConfig

TOLERANCE = 1e-5
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def dino(shared: Path) -> Path:
    return shared / "golden" / "dino"


def _close(ours: torch.Tensor, theirs: torch.Tensor, what: str = "") -> None:
    assert ours.shape == theirs.shape, what
    worst = (ours.double() - theirs.double()).abs().max()
    assert worst <= TOLERANCE * max(1.0, float(theirs.abs().max())), f"{what}: {worst}"


def _head_state(tensors: Tensors, prefix: str) -> Tensors:
    """The head's tensors under our names."""
    names = {
        "last_layer.weight_g": "last.length",
        "last_layer.weight_v": "last.direction",
        "add_layer.weight": "narrow.weight",
        "add_layer.bias": "narrow.bias",
    }
    found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return {names.get(name, name): value for name, value in found.items()}


# Heads


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wespeaker_dino", {"prototypes": 48}),
        ("wespeaker_dino_nobn", {"prototypes": 48, "norm": False}),
        ("rdino", {"prototypes": 48, "wide": 64}),
        ("sdpn", {"prototypes": 0}),
    ],
)
def test_heads(dino: Path, name: str, options: dict[str, int]) -> None:
    io = load_file(dino / "heads" / "io.safetensors")
    head = Head(24, hidden=40, bottleneck=16, **options)
    head.load_state_dict(_head_state(io, f"{name}::"))
    for mode in ("eval", "train"):
        inner, out = head.train(mode == "train").both(io["x"])
        _close(out, io[f"{name}_{mode}_out"], f"{name} {mode}")
        if name == "rdino":
            _close(inner, io[f"{name}_{mode}_reg"], f"{name} {mode} regularised")
    after = _head_state(io, f"{name}_after_train::")
    assert bool(after) == (name != "wespeaker_dino_nobn")
    for key, value in after.items():
        _close(head.state_dict()[key], value, f"{name} {key}")


# Losses


def _teacher(io: Tensors, i: int, centre: torch.Tensor, options: DinoOptions) -> torch.Tensor:
    clock = Clock(step=10 * int(io[f"epoch_{i}"]), steps=200, steps_per_epoch=10)
    temperature = options.temperature(clock)
    schedule = io["teacher_temp_schedule"][int(io[f"epoch_{i}"])]
    assert temperature == pytest.approx(float(schedule), abs=1e-12)
    return torch.softmax((io[f"teacher_{i}"] - centre) / temperature, dim=1)


def test_loss_gradient_centre_and_temperature_over_three_epochs(dino: Path) -> None:
    io = load_file(dino / "losses" / "io.safetensors")
    options = DinoOptions(prototypes=48, teacher_steps="epoch")
    centre = torch.zeros(1, 48)
    for i in range(3):
        student = io[f"student_{i}"].clone().requires_grad_()
        target = _teacher(io, i, centre, options)
        loss = losses.cross_view(student, target, (2, 4), temperature=0.1)
        loss.backward()
        state = teacher_state(target, torch.randn(10, 3))
        # wespeaker guards its logarithm with a small number, so its entropies are a bit larger.
        entropy = float(io[f"wespeaker_entropy_{i}"][1])
        assert float(state["teacher_entropy"]) == pytest.approx(entropy, abs=1e-4)
        centre = 0.9 * centre + 0.1 * io[f"teacher_{i}"].mean(0, keepdim=True)
        for code in ("wespeaker", "3dspeaker"):
            _close(loss.detach(), io[f"{code}_loss_{i}"], f"{code} {i}")
            _close(student.grad, io[f"{code}_student_grad_{i}"], f"{code} gradient {i}")
            _close(centre, io[f"{code}_center_after_{i}"], f"{code} centre {i}")


def test_the_whole_published_temperature_schedule(dino: Path) -> None:
    schedule = load_file(dino / "losses" / "io.safetensors")["teacher_temp_schedule"]
    options = DinoOptions(teacher_steps="epoch")
    found = [options.temperature(Clock(10 * e + 7, 200, 10)) for e in range(20)]
    assert found == pytest.approx(schedule.tolist(), abs=1e-12)


@pytest.mark.parametrize(("mode", "pairs"), [(0, "cross"), (1, "same"), (2, "local")])
def test_pairs_are_the_modes_of_wespeaker(dino: Path, mode: int, pairs: losses.Pairs) -> None:
    io = load_file(dino / "losses" / "io.safetensors")
    target = torch.softmax(io["teacher_0"] / 0.04, dim=1)
    loss = losses.cross_view(io["student_0"], target, (2, 4), pairs=pairs)
    _close(loss, io[f"wespeaker_mode{mode}_loss"], pairs)


def test_regulariser_of_rdino(dino: Path) -> None:
    io = load_file(dino / "losses" / "io.safetensors")
    student = io["reg_student"].clone().requires_grad_()
    loss = losses.regularity(student, io["reg_teacher"], 2, divisor=64)
    loss.backward()
    _close(loss.detach(), io["reg_loss"])
    _close(student.grad, io["reg_student_grad"])


def test_losses_of_sdpn(dino: Path) -> None:
    io = load_file(dino / "losses" / "io.safetensors")
    anchor = io["sdpn_anchor"].clone().requires_grad_()
    prototypes = io["sdpn_proto"].clone().requires_grad_()
    vectors = normalize(io["sdpn_target"], dim=1)
    target = losses.sharpened(vectors, io["sdpn_proto"], 0.1, 0.25)
    target = losses.sinkhorn(target, 3).repeat(4, 1)
    _close(target, io["sdpn_targets"], "targets")
    logs = losses.assignments(normalize(anchor, dim=1), prototypes, 0.1)
    loss = -(target * logs).sum(1).mean()
    gap = losses.mean_entropy_gap(logs)
    (loss + gap).backward()
    _close(loss.detach(), io["sdpn_ploss"], "loss")
    _close(gap.detach(), io["sdpn_memax"], "me-max")
    _close(anchor.grad, io["sdpn_anchor_grad"], "anchor gradient")
    _close(prototypes.grad, io["sdpn_proto_grad"], "prototype gradient")


def test_koleo(dino: Path) -> None:
    io = load_file(dino / "losses" / "io.safetensors")
    rows = io["koleo_in"].clone().requires_grad_()
    loss = losses.koleo(rows)
    loss.backward()
    _close(loss.detach(), io["koleo_loss"])
    _close(rows.grad, io["koleo_grad"])


# One whole step


def _branch(tensors: Tensors, side: str) -> Tensors:
    """A whole branch under our names, counters left out."""
    branch = "teacher" if side == "t" else "student"
    network = understand(tensors, "golden", branch).state
    head = _head_state(tensors, f"{side}_model.projection_head.")
    return {
        **{f"network.{k}": v for k, v in network.items()},
        **{f"head.{k}": v for k, v in head.items() if not k.endswith("num_batches_tracked")},
    }


def _state(tensors: Tensors) -> Tensors:
    return {
        **{f"student.{k}": v for k, v in _branch(tensors, "s").items()},
        **{f"teacher.{k}": v for k, v in _branch(tensors, "t").items()},
        "centre": tensors["dino_loss_calculator.center"],
    }


def test_one_training_step_of_wespeaker(dino: Path) -> None:
    folder = dino / "wespeaker_step"
    io = load_file(folder / "io.safetensors")
    before = load_file(folder / "state_before.safetensors")
    network = understand(before, "golden", "student").build()
    options = DinoOptions(prototypes=48, hidden=32, bottleneck=16)
    objective = Dino(options, network, Head(24, hidden=32, bottleneck=16, prototypes=48)).train()
    found = objective.load_state_dict(_state(before), strict=False)
    assert not found.unexpected_keys
    assert all(k.endswith("num_batches_tracked") or "watch" in k for k in found.missing_keys)

    config = OptimiserConfig(weight_decay=5e-5, decay_vectors=False, clip=0.05, clip_each=True)
    optimiser = make_optimiser(objective, config)
    set_rate(optimiser, 0.05)
    clock = Clock(step=0, steps=200, steps_per_epoch=10)
    objective.begin_step(clock)
    loss = objective({"global": io["global_feats"], "local": io["local_feats"]})
    loss.value.backward()
    objective.after_backward(clock)
    _close(loss.value.detach(), io["loss"], "loss")

    theirs = {k.removeprefix("grad::"): v for k, v in io.items() if k.startswith("grad::")}
    gradients = _branch({**before, **theirs}, "s")
    ours = {k: p.grad for k, p in objective.student.named_parameters() if p.requires_grad}
    assert len(ours) == len(theirs) == 147
    for name, grad in ours.items():
        assert grad is not None, name
        _close(grad, gradients[name], f"gradient of {name}")
    assert all(p.grad is None for p in objective.teacher.parameters())

    total = clip(objective.parameters(), config)
    assert float(total) == pytest.approx(math.hypot(*io["clip_total"].tolist()), rel=1e-5)
    assert (io["clip_total"] > 0.05).sum() > 20  # clipping mattered
    objective.before_update(clock)
    optimiser.step()
    objective.after_update(clock)
    expected = _state(load_file(folder / "state_after.safetensors"))
    state = objective.state_dict()
    moved = 0
    for name, value in expected.items():
        _close(state[name], value, name)
        moved += not torch.equal(value, _state(before)[name])
    assert moved > 300
    frozen = "student.head.last.direction"
    assert torch.equal(state[frozen], _state(before)[frozen])
    assert normalize(state["centre"]).norm() > 0
