"""DINO and SDPN: the teacher, the centre, schedules, what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import training_dino as planted
import training_made as made
from voxstrata.config import build
from voxstrata.errors import ConfigError, CorpusError, NumericsError
from voxstrata.frontend import front_end
from voxstrata.training.log import read_log
from voxstrata.training.objective import Clock, Context
from voxstrata.training.objectives.dino import kind, sdpn
from voxstrata.training.objectives.dino.head import Head
from voxstrata.training.objectives.dino.kind import Dino, DinoOptions
from voxstrata.training.objectives.dino.sdpn import SdpnOptions
from voxstrata.training.optimise import make_optimiser, set_decay
from voxstrata.training.registry import OBJECTIVES
from voxstrata.training.settings import OptimiserConfig

SMALL = {"hidden": 20, "bottleneck": 8, "prototypes": 32}
CLOCK = Clock(0, 100, 10)


def _dino(**changes: Any) -> Dino:
    o = DinoOptions(**{**SMALL, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = Head(planted.EMBED, hidden=20, bottleneck=8, prototypes=32, norm=o.head_norm)
    return Dino(o, planted.network(), head, decay=0.01).train()


def test_the_regularisers_options_reach_the_loss() -> None:
    batch = planted.Planted().batch(6)
    found = {}
    for divide, std, cov in (("outputs", 0.0, 1.0), ("width", 0.0, 1.0), ("width", 10.0, 0.0)):
        torch.manual_seed(5)
        own = {"width": 16, "divide": divide, "std": std, "cov": cov}
        o = DinoOptions(**SMALL, regulariser=own)
        head = Head(planted.EMBED, hidden=20, bottleneck=8, prototypes=32, wide=16)
        objective = Dino(o, planted.network(), head).train()
        objective.begin_step(Clock(35, 100, 10))
        out = objective(batch)
        found[divide, std] = float(out.logs["regulariser"])
        weight = 0.05 + 0.15 * 3 / 9  # the fourth of ten epochs
        total = float(out.logs["dino_loss"]) + weight * found[divide, std]
        assert float(out.value.detach()) == pytest.approx(total, rel=1e-5)
    assert found["width", 0.0] == pytest.approx(found["outputs", 0.0] * 32 / 16, rel=1e-4)
    assert found["width", 10.0] > 5  # std 10, outputs hardly vary at first


def test_the_teacher_follows_in_parameters_only_and_its_statistics_are_of_global_crops() -> None:
    objective = _dino(momentum=0.8, final_momentum=0.8)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            objective.student.state_dict().values(),
            objective.teacher.state_dict().values(),
            strict=True,
        )
    )
    batch = planted.Planted().batch(6)
    own = planted.network().train()  # what the teacher should have seen
    own(batch["global"])
    before = {k: v.clone() for k, v in objective.teacher.named_parameters()}
    objective.begin_step(CLOCK)
    objective(batch).value.backward()
    with torch.no_grad():
        for p in objective.student.parameters():
            p.add_(torch.randn_like(p))
    objective.after_update(CLOCK)
    student = dict(objective.student.named_parameters())
    for name, p in objective.teacher.named_parameters():
        assert torch.allclose(p, 0.8 * before[name] + 0.2 * student[name], atol=1e-6), name
        assert p.grad is None
    for name, value in objective.network().named_buffers():
        assert torch.allclose(value, dict(own.named_buffers())[name]), name
    theirs = dict(objective.student.network.named_buffers())
    assert int(theirs["stem.bn.num_batches_tracked"]) == 2  # global crops, then local ones
    assert objective.network() is objective.teacher.network


def test_the_centre_takes_the_mean_of_all_batches_of_a_step_after_it() -> None:
    objective, data = _dino(), planted.Planted()
    logits = []
    plain = objective.teacher.head.both

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = plain(x)
        logits.append(found[1])
        return found

    objective.teacher.head.both = both  # type: ignore[method-assign]
    objective.begin_step(CLOCK)
    for _ in range(2):
        objective(data.batch(6))
        assert not objective.centre.any()
    objective.after_update(CLOCK)
    assert torch.allclose(objective.centre, 0.1 * torch.cat(logits).mean(0), atol=1e-7)
    kept = objective.centre.clone()
    objective.eval()
    objective.begin_step(CLOCK)
    with torch.no_grad():
        objective(data.batch(6))
    objective.after_update(CLOCK)
    assert torch.equal(objective.centre, kept)


def test_the_last_layer_stays_in_the_first_epoch_and_its_lengths_always() -> None:
    objective, data = _dino(freeze_last=1.0), planted.Planted()
    config = OptimiserConfig(weight_decay=0.1, momentum=0.9)
    trainer = planted.Trainer(objective, config, steps=40)  # ten epochs of four steps
    last = objective.student.head.last
    assert last is not None
    first, inner = last.direction.detach().clone(), objective.student.head.mlp[0].weight.clone()
    for step in range(4):
        trainer.step(step, data.batch(6), 0.1)
        assert torch.equal(last.direction, first)
    assert not torch.equal(objective.student.head.mlp[0].weight, inner)
    trainer.step(4, data.batch(6), 0.1)
    assert not torch.equal(last.direction, first)
    assert torch.equal(last.length, torch.ones(32, 1))
    assert not last.length.requires_grad
    free = Head(4, hidden=4, bottleneck=4, prototypes=5, fixed_length=False).last
    assert free is not None
    assert free.length.requires_grad


def test_the_order_of_passes_decides_which_crops_share_statistics_of_the_head() -> None:
    batch = planted.Planted().batch(6)
    counts, values = {}, {}
    for passes in ("wespeaker", "3dspeaker"):
        objective = _dino(passes=passes)
        values[passes] = float(objective(batch).value.detach())
        norm = objective.student.head.mlp[1]
        counts[passes] = int(norm.num_batches_tracked)
    assert counts == {"wespeaker": 1, "3dspeaker": 2}
    assert values["wespeaker"] != pytest.approx(values["3dspeaker"], rel=1e-6)


def test_without_local_crops_only_global_ones_are_needed() -> None:
    batch = planted.Planted().batch(6, local=1)
    batch.pop("local")
    objective = _dino(local_crops=0)
    assert objective(batch).value.isfinite()


def test_a_run_that_goes_on_from_its_state_is_the_run_that_did_not_stop() -> None:
    batches = [planted.Planted(seed=9).batch(6) for _ in range(6)]
    config = OptimiserConfig(kind="adamw", weight_decay=0.1)
    whole = planted.Trainer(_dino(final_decay=0.5), config, 6)
    for step, batch in enumerate(batches):
        whole.step(step, batch, 0.01)
    first = planted.Trainer(_dino(final_decay=0.5), config, 6)
    for step in range(3):
        first.step(step, batches[step], 0.01)
    torch.manual_seed(77)
    second = planted.Trainer(_dino(final_decay=0.5), config, 6)
    second.objective.load_state_dict(first.objective.state_dict())
    second.optimiser.load_state_dict(first.optimiser.state_dict())
    for step in range(3, 6):
        second.step(step, batches[step], 0.01)
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(value, second.objective.state_dict()[name]), name


# Schedules


def test_the_temperature_rises_step_by_step_over_its_share_of_the_run() -> None:
    o = DinoOptions(teacher_warmup=0.2)
    found = [o.temperature(Clock(s, 100, 10)) for s in range(100)]
    assert found[0] == 0.04
    assert found[10] == pytest.approx(0.055)
    assert found[20:] == [0.07] * 80
    assert all(b >= a for a, b in pairwise(found))


def test_the_temperature_is_the_one_used() -> None:
    batch = planted.Planted().batch(6)
    found = {}
    for step in (0, 50):
        objective = _dino()
        objective.begin_step(Clock(step, 100, 10))
        found[step] = objective(batch).logs
    assert found[0]["teacher_temperature"] == 0.04
    assert float(found[0]["teacher_entropy"]) < float(found[50]["teacher_entropy"])


def test_weight_decay_goes_to_its_final_value_where_there_is_one() -> None:
    objective = _dino(final_decay=0.2)
    config = OptimiserConfig(weight_decay=0.01, decay_vectors=False)
    optimiser = make_optimiser(objective, config)
    for step, wanted in ((0, 0.01), (50, 0.105), (100, 0.2)):
        set_decay(optimiser, objective.decay(Clock(step, 100, 10)))
        decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
        for p in objective.student.parameters():
            if p.requires_grad:
                assert decay[id(p)] == pytest.approx(wanted if p.ndim > 1 else 0.0)
    assert _dino().decay(CLOCK) is None


def test_the_loop_sets_the_weight_decay_of_an_objective(tmp_path: Path) -> None:
    class Decaying(made.PlantedObjective):
        def decay(self, clock: Clock) -> float | None:
            return 0.1 * (clock.step + 1)

    config = made.settings(optimiser={"weight_decay": 0.7}, run={"steps": 3})
    engine = made.engine(tmp_path, config, Decaying())
    engine.run()
    found = [g["weight_decay"] for g in engine.optimiser.param_groups]
    assert found == pytest.approx([0.3] * len(found))
    other = made.engine(tmp_path / "0", made.settings(run={"steps": 3}), Decaying())
    other.run()  # groups without decay keep none
    assert {g["weight_decay"] for g in other.optimiser.param_groups} == {0.0}


# Registry, data, refusals


def _context(tmp_path: Path, name: str, options: Any, seed: int = 3) -> Context:
    config = made.settings(objective={"name": name}, run={"seed": seed})
    items = made.planted_items()
    front = front_end("wespeaker")
    return Context(config, items, front, lambda: planted.network(seed, inputs=80), tmp_path, 12, 6)


@pytest.mark.parametrize("name", ["dino", "sdpn"])
def test_from_the_registry_to_a_step(tmp_path: Path, name: str) -> None:
    made_kind: Any = OBJECTIVES.get(name)
    assert "ecapa" in made_kind.families
    given = {**SMALL, "global_s": 0.5, "local_s": 0.3, "local_crops": 3}
    options = build(made_kind.Options, given)
    context = _context(tmp_path, name, options)
    made_kind.check(options, context.config, context.items)
    examples = made_kind.examples(options, context)
    rng = np.random.default_rng(0)
    batch = examples.collate([examples.make(context.items[i], rng) for i in range(4)])
    seen = options.global_crops
    assert batch["global"].shape == (seen * 4, 48, 80)
    assert batch["local"].shape == (3 * 4, 28, 80)
    assert examples.seconds == pytest.approx(0.5 * seen + 0.9)
    state = torch.get_rng_state()
    objective = made_kind.build(options, context)
    assert torch.equal(torch.get_rng_state(), state)
    again = made_kind.build(options, context).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in objective.state_dict().items())
    other = made_kind.build(options, _context(tmp_path, name, options, seed=4)).state_dict()
    head = "student.head.mlp.0.weight"
    assert not torch.equal(other[head], again[head])
    out = objective.train()(batch)
    out.value.backward()
    assert out.value.isfinite()
    assert {"teacher_entropy", "teacher_kl", "teacher_information", "spread"} <= set(out.logs)


def test_sdpn_leaves_global_crops_as_they_are_and_prototypes_do_not_decay(tmp_path: Path) -> None:
    options = SdpnOptions(**SMALL)
    context = _context(tmp_path, "sdpn", options)
    wanted: Any = sdpn.KIND.examples(options, context)
    profiles = {c.key: c.profile for c in wanted.wanted}
    assert profiles["global"] is None
    assert profiles["local"] is not None
    objective = sdpn.KIND.build(options, context)
    optimiser = make_optimiser(objective, OptimiserConfig(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay[id(objective.prototypes)] == 0.0
    assert decay[id(objective.student.head.mlp[0].weight)] == 0.1
    assert len(decay) == 1 + len(list(objective.student.parameters()))


def test_short_recordings_are_refused_with_the_remedy() -> None:
    items = made.planted_items()  # 0.5 to 1.6 s
    config = made.settings()
    for one, options in ((kind.KIND, DinoOptions()), (sdpn.KIND, SdpnOptions())):
        with pytest.raises(CorpusError, match="too short") as error:
            one.check(options, config, items)
        assert "u000: 0.50 s" in str(error.value)
        assert "data.min_s=2" in str(error.value)
        one.check(options.model_copy(update={"shortest_s": 0.5}), config, items)
    kind.KIND.check(DinoOptions(local_s=0.5), config, items)
    with pytest.raises(CorpusError, match="too short"):
        kind.KIND.check(DinoOptions(local_s=0.5, local_crops=0), config, items)


def test_labels_are_not_needed() -> None:
    items = made.planted_items()
    for utterance in items.corpus.utterances:
        utterance.tiers.pop("speaker")
    bare = made.Items(items.corpus)
    assert bare[0].label == -1
    kind.KIND.check(DinoOptions(local_s=0.5), made.settings(), bare)


def test_options_that_cannot_work_are_refused() -> None:
    for values, match in (
        ({"global_crops": 1, "local_crops": 0}, "none is left to compare"),
        ({"local_crops": 0, "pairs": "local"}, "none is left to compare"),
        ({"prototypes": 1}, "prototypes"),
        ({"momentun": 0.9}, "momentum"),
        ({"student_temperature": 0}, "student_temperature"),
        ({"regulariser": {"divide": "both"}}, "divide"),
    ):
        with pytest.raises(ConfigError, match=match):
            build(DinoOptions, values)
    with pytest.raises(ConfigError, match="final_decay"):
        kind.KIND.check(
            DinoOptions(local_s=0.5, final_decay=0.4), made.settings(), made.planted_items()
        )


def test_any_network_will_do() -> None:
    """Nothing but an embedding is asked of the network."""
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(planted.EMBED))
    x = torch.randn(4, 3, 5)
    network(x)
    head = Head(planted.EMBED, hidden=20, bottleneck=8, prototypes=32)
    objective = Dino(DinoOptions(**SMALL, local_crops=1), network, head).train()
    assert objective({"global": x, "local": x[:2]}).value.isfinite()


def test_a_collapsed_run_is_stopped_by_the_loop_and_told_why(tmp_path: Path) -> None:
    """The loop itself, from crops of waveforms; centring is off and the teacher very sharp."""
    values = {**SMALL, "global_s": 0.5, "local_s": 0.3, "local_crops": 1, "head_norm": False}
    values |= {"centre_momentum": 1.0, "teacher_temperature": 0.01, "freeze_last": 0.0}
    options = build(
        DinoOptions, {**values, "final_teacher_temperature": 0.01, "watch": {"lines": 2}}
    )
    config = made.settings(
        optimiser={"kind": "adam"}, run={"steps": 60, "log_every": 1}, data={"batch": 6}
    )
    context = _context(tmp_path, "dino", options)
    engine = made.engine(
        tmp_path,
        config,
        kind.KIND.build(options, context),
        kind.KIND.examples(options, context),
        rate=lambda step: 0.02,
    )
    with pytest.raises(NumericsError, match="the teacher collapsed") as error:
        engine.run()
    assert "training stopped at step" in str(error.value)
    lines = [e for e in read_log(tmp_path) if e["kind"] == "step"]
    assert lines[-1]["teacher_information"] < 0.01
    assert len(lines) < 60
