"""Angular prototypical loss and its adversary: by hand, learning, two processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import training_contrast as tc
from training_made import settings
from voxstrata.errors import ConfigError, CorpusError
from voxstrata.training.data.crops import CropExamples
from voxstrata.training.objective import Batch
from voxstrata.training.objectives.angular import (
    KIND,
    SMALLEST,
    Adversary,
    AdversaryOptions,
    Angular,
    AngularOptions,
)
from voxstrata.training.registry import OBJECTIVES


def _unit(rows: torch.Tensor) -> np.ndarray:
    found = rows.detach().double().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _by_hand(
    anchors: np.ndarray, others: np.ndarray, names: list[int], w: float, b: float
) -> float:
    losses = []
    for i, anchor in enumerate(anchors):
        kept = [j for j in range(len(names)) if j == i or names[j] != names[i]]
        logits = np.array([w * float(anchor @ others[j]) + b for j in kept])
        losses.append(np.log(np.exp(logits).sum()) - logits[kept.index(i)])
    return float(np.mean(losses))


@pytest.mark.parametrize("names", [[0, 1, 2, 3], [0, 1, 0, 3]])
def test_the_loss_is_a_softmax_over_scaled_cosines(names: list[int]) -> None:
    network = tc.Still()
    objective = Angular(network, 6, AngularOptions())
    batch = tc.Voices(0, 4).batch(4, np.random.default_rng(0))
    batch["item"] = torch.tensor(names)
    rows = _unit(network(batch["crops"]))
    loss = objective(batch)
    assert loss.value.item() == pytest.approx(_by_hand(rows[:4], rows[4:], names, 10, -5), rel=1e-5)
    cosines = rows[:4] @ rows[4:].T
    assert float(loss.logs["positive"]) == pytest.approx(np.diag(cosines).mean(), rel=1e-4)


def test_w_is_learned_and_b_has_no_say() -> None:
    objective = Angular(tc.Still(), 6, AngularOptions()).double()
    batch = tc.Voices(0, 8).batch(8, np.random.default_rng(0))
    batch["crops"] = batch["crops"].double()
    objective(batch).value.backward()
    assert objective.w.grad is not None
    assert objective.b.grad is not None
    rows = _unit(objective.network()(batch["crops"]))
    names = batch["item"].tolist()
    up, down = (_by_hand(rows[:8], rows[8:], names, 10 + e, -5) for e in (1e-5, -1e-5))
    assert objective.w.grad.item() == pytest.approx((up - down) / 2e-5, rel=1e-5)
    assert abs(objective.b.grad.item()) < 1e-12


def test_w_stays_positive_and_free_to_rise_again() -> None:
    """Crops that look like those of others ask for a negative factor; then they do no longer."""

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features[:, 0, :2]

    right = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])[:, None]
    wrong = right[[0, 1, 3, 2]]
    objective = Angular(Given(), 2, AngularOptions(w=0.5))
    item = torch.tensor([0, 1])
    tc.train(objective, lambda step: {"crops": wrong, "item": item}, 3, lr=2.0, kind="sgd")
    assert objective.w.item() == pytest.approx(SMALLEST)
    tc.train(objective, lambda step: {"crops": right, "item": item}, 3, lr=2.0, kind="sgd")
    assert objective.w.item() > 1


def test_w_and_b_do_not_decay() -> None:
    objective = Angular(tc.Still(), 6, AngularOptions(adversary=AdversaryOptions()))
    rest, free = objective.parameter_groups()
    assert free["weight_decay"] == 0
    assert len(free["params"]) == 2
    assert len(rest["params"]) + 2 == len(list(objective.parameters()))


def _adversarial(voices: tc.Voices, count: int, rng: np.random.Generator) -> Batch:
    """Anchor, second crop through the anchor's channel, second crop through another."""
    chosen = rng.choice(len(voices.spectra), count, replace=False)
    first, second = voices.channel(count, rng), voices.channel(count, rng)
    crops = [voices.crop(chosen, rng, channel) for channel in (first, first, second)]
    return {"crops": torch.cat(crops), "item": torch.from_numpy(chosen)}


def test_the_encoder_gets_the_adversary_s_gradient_turned_round() -> None:
    options = AngularOptions(adversary=AdversaryOptions(alpha=2.0, extra_steps=0, hidden=16))
    torch.manual_seed(0)
    objective = Angular(tc.Still(), 6, options).double()
    batch = _adversarial(tc.Voices(0, 8), 8, np.random.default_rng(0))
    batch["crops"] = batch["crops"].double()
    objective(batch).value.backward()
    ours = {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}

    objective.zero_grad()
    plain = Angular(objective.encoder, 6, AngularOptions()).double()
    pair = {**batch, "crops": torch.cat([batch["crops"][:8], batch["crops"][16:]])}
    plain(pair).value.backward()
    speaker = objective.encoder.one.weight.grad.clone()

    objective.zero_grad()
    rows = nn.functional.normalize(objective.encoder(batch["crops"]), dim=1)
    cost, _ = objective.adversary(*rows.chunk(3))  # type: ignore[misc]
    (2.0 * cost).backward()
    adverse = objective.encoder.one.weight.grad
    assert float(adverse.abs().max()) > 1e-4
    torch.testing.assert_close(ours["encoder.one.weight"], speaker - adverse)
    for name, p in objective.adversary.named_parameters():  # type: ignore[union-attr]
        torch.testing.assert_close(ours[f"adversary.{name}"], p.grad)


def test_the_adversary_counts_both_kinds_of_pairs() -> None:
    """By hand with its layers taken for the identity: its logits are then known."""
    adversary = Adversary(1, 2).eval()
    linears = [m for m in adversary.layers if isinstance(m, nn.Linear)]
    with torch.no_grad():
        linears[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        linears[1].weight.copy_(torch.tensor([[0.0, 0], [0, 1]]))  # "same" by the second crop
        for one in linears:
            one.bias.zero_()
    keep = float((1 + 1e-5) ** -1)  # two BatchNorms with variance 1 and eps 1e-5
    anchor, same, other = torch.tensor([[1.0], [1]]), torch.tensor([[2.0], [3]]), torch.zeros(2, 1)
    cost, right = adversary(anchor, same, other)
    by_hand = np.mean([np.log1p(np.exp(-2 * keep)), np.log1p(np.exp(-3 * keep)), *[np.log(2)] * 2])
    assert float(cost.detach()) == pytest.approx(by_hand, rel=1e-5)
    assert float(right) == 1  # of equal logits the first, "other", counts


def test_extra_steps_are_gradient_descent_of_the_adversary_alone() -> None:
    def made(extra: int) -> Angular:
        torch.manual_seed(0)
        options = AdversaryOptions(extra_steps=extra, hidden=16, lr=0.1)
        return Angular(tc.Still(), 6, AngularOptions(adversary=options))

    batch = _adversarial(tc.Voices(0, 16), 16, np.random.default_rng(0))
    costs = []
    for extra in (0, 1, 5, 40):
        objective = made(extra).train()
        before = {k: v.clone() for k, v in objective.encoder.state_dict().items()}
        costs.append(float(objective(batch).logs["adversary_loss"]))
        assert all(torch.equal(v, before[k]) for k, v in objective.encoder.state_dict().items())
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.7 * costs[0]
    step, expected = made(1).train(), made(0).train()
    step(batch)
    rows = nn.functional.normalize(expected.encoder(batch["crops"]), dim=1).detach()
    cost, _ = expected.adversary(*rows.chunk(3))  # type: ignore[misc]
    cost.backward()
    for ours, p in zip(step.adversary.parameters(), expected.adversary.parameters(), strict=True):  # type: ignore[union-attr]
        torch.testing.assert_close(ours, p - 0.1 * p.grad)
    still = made(3).eval()
    held = {k: v.clone() for k, v in still.state_dict().items()}
    with torch.no_grad():
        still(batch)
    assert all(torch.equal(v, held[k]) for k, v in still.state_dict().items())


def test_it_learns_to_recognise_speakers_through_channels_without_labels() -> None:
    train, unseen = tc.Voices(0, 200), tc.Voices(1, 30)
    objective = Angular(tc.encoder(), 16, AngularOptions())
    rng = np.random.default_rng(0)
    before = unseen.eer(objective.network())
    logs = tc.train(objective, lambda step: train.batch(48, rng), 50)
    after = unseen.eer(objective.network())
    assert before > 25
    assert after < 8
    assert logs[-1]["accuracy"] > 0.7 > logs[0]["accuracy"]


def test_it_learns_with_an_adversary_too() -> None:
    train, unseen = tc.Voices(0, 200), tc.Voices(1, 30)
    torch.manual_seed(0)
    adversary = AdversaryOptions(hidden=32, lr=0.1)
    objective = Angular(tc.encoder(), 16, AngularOptions(adversary=adversary))
    rng = np.random.default_rng(0)
    before = unseen.eer(objective.network())
    logs = tc.train(objective, lambda step: _adversarial(train, 24, rng), 45)
    assert before > 25
    assert unseen.eer(objective.network()) < 12
    assert np.mean([one["accuracy"] for one in logs[-10:]]) > 0.6 > logs[0]["accuracy"]
    # It has neither given up nor won: what it knows is between nothing (0.69) and everything.
    assert 0.3 < np.mean([one["adversary_loss"] for one in logs[-10:]]) < 0.69


def joint() -> tuple[Angular, list[Batch], float]:
    """Three steps in which copies of a recording meet across processes."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        found = tc.items(*[3.0] * 7, repeats=[2, *[1] * 6])
        objective = Angular(tc.Still(), 6, AngularOptions(), found)
    rng = np.random.default_rng(3)
    voices = tc.Voices(0, 8)
    return objective, [voices.batch(8, rng) for _ in range(3)], 0.3


def joint_adversary() -> tuple[Angular, list[Batch], float]:
    """Three steps with an adversary, whose BatchNorm and extra steps see both processes' rows."""
    options = AngularOptions(adversary=AdversaryOptions(hidden=8, extra_steps=2, lr=0.1))
    with torch.random.fork_rng():
        torch.manual_seed(6)
        objective = Angular(tc.Still(), 6, options)
    rng = np.random.default_rng(3)
    voices = tc.Voices(0, 8)
    return objective, [_adversarial(voices, 8, rng) for _ in range(3)], 0.1


@pytest.mark.parametrize("case", ["joint", "joint_adversary"])
def test_two_processes_equal_one_with_the_joint_batch(case: str) -> None:
    tc.assert_two_equal_one(f"test_training_angular:{case}")


def _check(*seconds: float, augment: dict[str, Any] | None = None, **options: Any) -> None:
    KIND.check(AngularOptions(**options), settings(augment=augment), tc.items(*seconds))


def test_what_cannot_work_is_refused_before_any_work() -> None:
    _check(3.0, 3.0)
    _check(3.0, 3.0, adversary={}, augment={"preset": "channels"})
    with pytest.raises(ConfigError, match="needs augmentation"):
        _check(3.0, 3.0, adversary={})
    with pytest.raises(CorpusError, match="no negatives"):
        _check(3.0)


def test_with_an_adversary_the_second_crop_comes_with_both_augmentations() -> None:
    assert OBJECTIVES.get("angular") is KIND
    given = tc.context(tc.items(3.0, 3.0))
    plain = KIND.examples(AngularOptions(), given)
    both = KIND.examples(AngularOptions(adversary=AdversaryOptions()), given)
    assert isinstance(plain, CropExamples)
    assert isinstance(both, CropExamples)
    assert [(c.position, c.profile) for c in plain.wanted] == [(0, 0), (1, 1)]
    assert [(c.position, c.profile) for c in both.wanted] == [(0, 0), (1, 0), (1, 1)]
    assert plain.place == "apart"
