"""AAM-softmax: margins by hand, learning, fine-tuning, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training_contrast as tc
import training_made as made
from voxstrata.errors import CheckpointError, ConfigError, CorpusError
from voxstrata.frontend import front_end
from voxstrata.models.card import write_model
from voxstrata.training.objective import BESIDE, Batch, Clock
from voxstrata.training.objectives.margin import MarginHead
from voxstrata.training.objectives.supervised import KIND, Supervised, SupervisedOptions


def _labelled(voices: tc.Voices, count: int, rng: np.random.Generator) -> Batch:
    chosen = rng.integers(len(voices.spectra), size=count)
    return {
        "crops": voices.crop(chosen, rng),
        "label": torch.from_numpy(chosen),
        "item": torch.from_numpy(chosen),
    }


def test_it_learns_to_recognise_unseen_speakers_through_channels() -> None:
    train, unseen = tc.Voices(0, 60), tc.Voices(1, 30)
    options = SupervisedOptions(scale=20, margin=0.2, margin_from=0, margin_to=1)
    objective = Supervised(tc.encoder(), 16, 60, options)
    rng = np.random.default_rng(0)
    before = unseen.eer(objective.network())
    logs = tc.train(objective, lambda step: _labelled(train, 64, rng), 80, lr=5e-3)
    after = unseen.eer(objective.network())
    assert before > 25
    assert after < 8
    assert logs[0]["accuracy"] < 0.2
    assert logs[-1]["accuracy"] > 0.95
    assert logs[0]["margin"] == 0
    assert logs[-1]["margin"] == pytest.approx(0.2)


def test_the_margin_is_an_angle() -> None:
    head = MarginHead(2, 2, scale=1.0)
    head.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    head.margin = 0.3
    rows = torch.tensor([[math.cos(0.5), math.sin(0.5)], [0.0, 7.0]])
    found = head(rows, torch.tensor([0, 0]))
    assert found[0].tolist() == pytest.approx([math.cos(0.8), math.cos(math.pi / 2 - 0.5)])
    assert found[1].tolist() == pytest.approx([math.cos(math.pi / 2 + 0.3), 1.0], abs=1e-6)


@pytest.mark.parametrize("beyond", ["continuous", "linear", "easy"])
def test_beyond_pi_minus_m_the_logit_keeps_falling_with_the_cosine(beyond: Any) -> None:
    head = MarginHead(4, 3, scale=1.0, beyond=beyond)
    head.margin = 0.4
    angles = torch.linspace(math.pi - 0.39, math.pi, 50)
    cosines = torch.stack([angles.cos(), torch.zeros(50), torch.zeros(50)], 1)
    found = head.logits(cosines, torch.zeros(50, dtype=torch.long))[:, 0]
    assert bool((found.diff() < 0).all())
    if beyond == "continuous":
        edge = torch.tensor([[math.cos(math.pi - 0.4), 0.0, 0.0]])
        at = head.logits(edge, torch.tensor([0]))[0, 0]
        assert float(at) == pytest.approx(-1.0, abs=1e-5)
        assert float(found[0]) == pytest.approx(-1.0, abs=0.02)


def test_gradients_are_finite_where_an_embedding_equals_its_class() -> None:
    head = MarginHead(3, 2)
    head.margin = 0.2
    for sign in (1.0, -1.0):
        rows = (sign * head.weight[:1].detach()).clone().requires_grad_()
        head(rows, torch.tensor([0]))[0, 0].backward()
        assert rows.grad is not None
        assert bool(rows.grad.isfinite().all())


def test_the_hardest_classes_are_pushed_and_no_others() -> None:
    head = MarginHead(4, 5, scale=1.0, hardest=2)
    head.margin = 0.1  # half the usual margin, so half the penalty
    cosines = torch.tensor([[0.9, 0.5, 0.7, -0.2, 0.1]])
    found = head.logits(cosines, torch.tensor([0]))[0]
    expected = [math.cos(math.acos(c) - 0.03) for c in (0.5, 0.7)]
    assert found[[1, 2]].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[[3, 4]].tolist() == pytest.approx([-0.2, 0.1])
    with pytest.raises(ConfigError, match="more wrong classes"):
        MarginHead(4, 2, hardest=2)


def test_half_precision_leaves_cosines_alone() -> None:
    torch.manual_seed(0)
    head = MarginHead(16, 8)
    head.margin = 0.2
    rows, labels = torch.randn(4, 16), torch.arange(4)
    plain = head(rows, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = head(rows, labels)
    assert torch.equal(plain, cast)


def test_the_margin_follows_its_schedule() -> None:
    options = SupervisedOptions(margin=0.2, margin_from=1, margin_to=3, margin_shape="linear")
    objective = Supervised(tc.Still(), 6, 3, options)
    margins = []
    for step in (0, 10, 20, 30, 40):
        objective.begin_step(Clock(step, 50, 10))
        margins.append(objective.head.margin)
    assert margins == pytest.approx([0, 0, 0.1, 0.2, 0.2])


def _context(speakers: int = 3, **changes: Any) -> Any:
    items = made.planted_items(12, speakers, **changes)
    return tc.context(items)


def test_what_cannot_work_is_refused() -> None:
    config = made.settings()
    options = SupervisedOptions()
    KIND.check(options, config, made.planted_items(12, 3))
    with pytest.raises(CorpusError, match="one speaker"):
        KIND.check(options, config, made.planted_items(12, 1))
    with pytest.raises(CorpusError, match="have no speaker"):
        KIND.check(options, config, tc.items(3.0, 3.0))
    with pytest.raises(ValueError, match="margin_to"):
        SupervisedOptions(margin_from=2, margin_to=1)


def _folder(
    tmp_path: Path, speakers: list[str], centres: int = 1, stated: int | None = None
) -> Path:
    """A model folder with a classifier whose row n k is filled with its number."""
    rows = torch.arange(len(speakers) * centres * 2.0)  # as many again for other speeds
    weight = rows[:, None].expand(-1, 16).contiguous()
    objective = {"name": "aam", "centres": stated or centres}
    training = {"speakers": speakers, "objective": objective}
    about = {"name": "x", "family": "ecapa", "training": training}
    network = tc.encoder()
    beside = {BESIDE: {"classifier.weight": weight}}
    write_model(tmp_path, about, network, front_end("wespeaker"), beside=beside)
    return tmp_path


def test_fine_tuning_takes_over_the_rows_of_its_speakers(tmp_path: Path) -> None:
    folder = _folder(tmp_path, ["other", "s2", "s0", "s1"], centres=2)
    options = SupervisedOptions(classifier=str(folder), centres=2)
    context = _context()
    KIND.check(options, context.config, context.items)
    found = KIND.build(options, context)
    assert found.head.weight[:, 0].tolist() == [4, 5, 6, 7, 2, 3]  # s0, s1, s2
    assert set(found.beside()) == {"classifier.weight"}


def test_fine_tuning_refuses_what_does_not_fit(tmp_path: Path) -> None:
    folder = _folder(tmp_path, ["s0", "s1"])
    options = SupervisedOptions(classifier=str(folder))
    context = _context()
    with pytest.raises(CheckpointError, match="not trained on all speakers"):
        KIND.check(options, context.config, context.items)
    with pytest.raises(ConfigError, match="own speed"):
        KIND.check(options, context.config, made.planted_items(12, 2, speeds=(1.0, 0.9)))
    two = made.planted_items(12, 2)
    # Twice two rows are there: enough, but not the second centres of two speakers.
    with pytest.raises(CheckpointError, match="another number of centres") as caught:
        KIND.check(SupervisedOptions(classifier=str(folder), centres=2), context.config, two)
    assert caught.value.fix == "set objective.centres to 1"
    _folder(tmp_path, ["s0", "s1"], stated=5)
    many = SupervisedOptions(classifier=str(folder), centres=5)
    with pytest.raises(CheckpointError, match="too few rows"):
        KIND.check(many, context.config, two)
    (tmp_path / BESIDE).unlink()
    with pytest.raises(CheckpointError, match="holds no classifier"):
        KIND.check(many, context.config, two)
