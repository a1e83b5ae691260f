"""SimCLR: the loss by hand, who opposes whom, learning, two processes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import training_contrast as tc
from training_made import settings
from voxstrata.errors import ConfigError, CorpusError
from voxstrata.training.objective import Batch
from voxstrata.training.objectives.simclr import KIND, Simclr, SimclrOptions, nt_xent
from voxstrata.training.registry import OBJECTIVES


def _by_hand(rows: np.ndarray, recordings: list[int], temperature: float) -> float:
    """NT-Xent as a sum over anchors, term by term, in float64."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(recordings)
    names = recordings * 2
    losses = []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        top = math.exp(unit[i] @ unit[partner] / temperature)
        others = [
            math.exp(unit[i] @ unit[j] / temperature)
            for j in range(2 * count)
            if names[j] != names[i]
        ]
        losses.append(-math.log(top / (top + sum(others))))
    return float(np.mean(losses))


@pytest.mark.parametrize("recordings", [[0, 1, 2, 3, 4], [0, 1, 0, 2, 0]])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_is_the_sum_over_anchors(recordings: list[int], temperature: float) -> None:
    rows = np.random.default_rng(1).standard_normal((10, 7))
    loss, _ = nt_xent(torch.from_numpy(rows), torch.tensor(recordings), temperature)
    assert float(loss) == pytest.approx(_by_hand(rows, recordings, temperature), rel=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    rows = torch.from_numpy(np.random.default_rng(2).standard_normal((8, 5))).requires_grad_()
    names = torch.tensor([0, 1, 2, 1])
    assert torch.autograd.gradcheck(lambda x: nt_xent(x, names, 0.3)[0], rows)


def test_what_is_logged_is_what_it_says() -> None:
    """Two pairs at right angles; in the second pair the crops differ by 60 degrees."""
    half = [math.cos(math.pi / 3), math.sin(math.pi / 3)]
    rows = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, *half]])
    _, logs = nt_xent(rows * torch.tensor([[1.0], [5], [2], [3]]), torch.tensor([0, 1]), 0.07)
    assert float(logs["accuracy"]) == 1
    assert float(logs["positive"]) == pytest.approx(0.75)
    assert float(logs["negative"]) == pytest.approx(0, abs=1e-7)
    crossed = rows[[0, 1, 3, 2]]
    _, logs = nt_xent(crossed, torch.tensor([0, 1]), 0.07)
    assert float(logs["accuracy"]) == 0
    assert float(logs["positive"]) == pytest.approx(0, abs=1e-7)
    assert float(logs["negative"]) == pytest.approx(0.375)


def test_copies_of_a_recording_do_not_oppose_each_other_unless_asked() -> None:
    repeated = tc.items(3.0, 3.0, 3.0, repeats=[2, 1, 1])
    batch = tc.Voices(0, 4).batch(4, np.random.default_rng(0))
    batch["item"] = torch.tensor([0, 1, 2, 3])  # of which 0 and 1 are the same recording
    network = tc.Still()
    found = {}
    for mask in (True, False):
        objective = Simclr(network, 6, SimclrOptions(mask_copies=mask), repeated)
        found[mask] = objective(batch).value.item()
    rows = network(batch["crops"]).detach().double().numpy()
    assert found[True] == pytest.approx(_by_hand(rows, [0, 0, 1, 2], 0.07), rel=1e-4)
    assert found[False] == pytest.approx(_by_hand(rows, [0, 1, 2, 3], 0.07), rel=1e-4)
    assert found[True] < found[False]


def test_a_recording_at_another_speed_is_another_voice() -> None:
    both = tc.items(3.0, 3.0, speeds=(1.0, 0.9))
    assert [one.id for one in both] == ["u0", "u1", "u0@0.9", "u1@0.9"]
    objective = Simclr(tc.Still(), 6, SimclrOptions(), both)
    assert len(set(objective.recordings(torch.arange(4)).tolist())) == 4


def test_a_batch_of_one_recording_alone_teaches_nothing_and_breaks_nothing() -> None:
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss, logs = nt_xent(rows, torch.tensor([7, 7, 7]), 0.07)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert rows.grad is not None
    assert float(rows.grad.abs().max()) == 0
    assert all(math.isfinite(float(v)) for v in logs.values())


def test_spread_is_one_for_independent_embeddings_and_none_where_all_are_one() -> None:
    class Given(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features[:, 0, :16]

    objective = Simclr(Given(), 16, SimclrOptions())
    rows = torch.randn(2000, 1, 80, generator=torch.Generator().manual_seed(0))
    item = torch.arange(1000)
    wide = objective({"crops": rows, "item": item}).logs
    unit = nn.functional.normalize(rows[:, 0, :16], dim=1)
    by_hand = float(unit.var(0, unbiased=False).mean().sqrt() * 4)
    assert float(wide["spread"]) == pytest.approx(by_hand, rel=1e-4)
    assert by_hand == pytest.approx(1, abs=0.01)
    narrow = objective({"crops": 0.001 * rows + 1, "item": item}).logs
    assert float(narrow["spread"]) < 0.01
    assert objective.judge({k: float(v) for k, v in wide.items()}) is None
    why = objective.judge({k: float(v) for k, v in narrow.items()})
    assert why is not None
    assert "collapsed" in why
    assert objective.judge({"valid_eer": 50.0}) is None


def test_the_projector_takes_the_loss_and_stays_out_of_the_network() -> None:
    torch.manual_seed(0)
    objective = Simclr(tc.Still(), 6, SimclrOptions(projector=(8, 5)))
    kinds = [type(m).__name__ for m in objective.projector.children()]
    assert kinds == ["Linear", "ReLU", "Linear"]
    batch = tc.Voices(0, 4).batch(4, np.random.default_rng(0))
    rows = objective.projector(objective.network()(batch["crops"])).detach().double().numpy()
    assert rows.shape == (8, 5)
    loss = objective(batch).value.item()
    assert loss == pytest.approx(_by_hand(rows, [0, 1, 2, 3], 0.07), rel=1e-4)
    assert set(objective.network().state_dict()) == set(tc.Still().state_dict())


def test_it_learns_to_recognise_speakers_through_channels_without_labels() -> None:
    train, unseen = tc.Voices(0, 200), tc.Voices(1, 30)
    objective = Simclr(tc.encoder(), 16, SimclrOptions(temperature=0.1))
    rng = np.random.default_rng(0)
    before = unseen.eer(objective.network())
    logs = tc.train(objective, lambda step: train.batch(48, rng), 50)
    after = unseen.eer(objective.network())
    assert before > 25
    assert after < 7
    assert logs[-1]["accuracy"] > 0.7 > logs[0]["accuracy"]
    assert logs[-1]["positive"] > logs[-1]["negative"] + 0.5
    assert logs[-1]["spread"] > 0.8


def joint() -> tuple[Simclr, list[Batch], float]:
    """Three steps, in which two items are copies of one recording and meet across processes."""
    options = SimclrOptions(temperature=0.2, projector=(6,))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        objective = Simclr(tc.Still(), 6, options, tc.items(*[3.0] * 7, repeats=[2, *[1] * 6]))
    rng = np.random.default_rng(3)
    voices = tc.Voices(0, 8)
    batches = [voices.batch(8, rng) for _ in range(3)]
    batches[0]["item"] = torch.tensor([0, 2, 3, 4, 1, 5, 6, 7])
    return objective, batches, 0.5


def test_two_processes_equal_one_with_the_joint_batch() -> None:
    tc.assert_two_equal_one("test_training_simclr:joint")


def _check(*seconds: float, data: dict[str, Any] | None = None, **options: Any) -> None:
    repeats = options.pop("repeats", None)
    config = settings(data=data or {})
    KIND.check(SimclrOptions(**options), config, tc.items(*seconds, repeats=repeats))


def test_what_cannot_work_is_refused_before_any_work() -> None:
    _check(1.0, 2.1)
    _check(1.0, 4.1, place="adjacent")
    with pytest.raises(CorpusError, match="no negatives"):
        _check(3.0, repeats=[4])
    with pytest.raises(CorpusError, match="long enough for two different crops"):
        _check(1.0, 2.0)
    with pytest.raises(CorpusError, match="long enough for two adjacent crops") as caught:
        _check(1.0, 3.9, place="adjacent")
    assert "more than 4 s" in str(caught.value)
    with pytest.raises(ConfigError, match="fixed number of recordings"):
        _check(3.0, 3.0, data={"batch_s": 20.0})


def test_it_is_registered_under_its_name() -> None:
    assert OBJECTIVES.get("simclr") is KIND
