"""MoCo: queue, key encoder, the loss by hand, learning, two processes."""

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
from voxstrata.training.objective import Batch, Clock
from voxstrata.training.objectives.moco import KIND, Moco, MocoOptions
from voxstrata.training.registry import OBJECTIVES

CLOCK = Clock(0, 10, 5)


def _split(batch: Batch) -> Batch:
    query, key = batch["crops"].chunk(2)
    return {"query": query, "key": key, "item": batch["item"], "label": batch["label"]}


def _batch(seed: int = 0, count: int = 4) -> Batch:
    return _split(tc.Voices(0, 8).batch(count, np.random.default_rng(seed)))


def _unit(rows: torch.Tensor) -> np.ndarray:
    found = rows.detach().double().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_the_loss_is_that_of_the_own_key_among_those_queued() -> None:
    """By hand: other recordings' earlier keys are negatives, the own ones are not."""
    network = tc.Still()
    objective = Moco(network, 6, MocoOptions(queue=8, temperature=0.2))
    rng = np.random.default_rng(4)
    kept = rng.standard_normal((5, 6))
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    objective.enqueue(torch.from_numpy(kept).float(), torch.tensor([7, 1, 5, 2, 2]))
    batch = _batch()
    batch["item"] = torch.tensor([1, 3, 2, 5])
    queries, keys = _unit(network(batch["query"])), _unit(network(batch["key"]))
    for mask in (True, False):
        objective.options = MocoOptions(queue=8, temperature=0.2, mask_copies=mask)
        losses, right = [], []
        for query, key, name in zip(queries, keys, [1, 3, 2, 5], strict=True):
            others = [
                k for k, n in zip(kept, [7, 1, 5, 2, 2], strict=True) if n != name or not mask
            ]
            logits = np.array([query @ key, *[query @ k for k in others]]) / 0.2
            losses.append(-np.log(np.exp(logits[0]) / np.exp(logits).sum()))
            right.append(logits.argmax() == 0)
        loss = objective(batch)
        assert loss.value.item() == pytest.approx(np.mean(losses), rel=1e-5)
        assert float(loss.logs["accuracy"]) == pytest.approx(np.mean(right))
        assert float(loss.logs["queued"]) == 5 / 8


def test_an_empty_queue_offers_no_negatives() -> None:
    loss = Moco(tc.Still(), 6, MocoOptions(queue=8))(_batch())
    assert loss.value.item() == 0
    assert float(loss.logs["queued"]) == 0


def test_the_queue_is_first_in_first_out_at_any_size() -> None:
    objective = Moco(tc.Still(), 2, MocoOptions(queue=5))
    held: list[int] = []
    for start, count in ((0, 3), (3, 3), (6, 1), (7, 4), (11, 9)):
        names = torch.arange(start, start + count)
        objective.enqueue(torch.stack([names, -names], 1).float(), names)
        held = [*held, *names.tolist()][-5:]
        at = int(objective.queue_at)
        order = torch.cat([objective.queue_recording[at:], objective.queue_recording[:at]])
        assert [n for n in order.tolist() if n >= 0] == held
        filled = objective.queue_recording >= 0
        assert torch.equal(objective.queue[filled, 0].long(), objective.queue_recording[filled])


def test_keys_are_queued_after_the_step_that_made_them_and_not_in_evaluation() -> None:
    objective = Moco(tc.Still(), 6, MocoOptions(queue=16))
    batch = _batch()
    for _ in range(2):  # two batches of an accumulated step
        objective(batch)
        assert int(objective.queue_at) == 0
    objective.after_update(CLOCK)
    assert int(objective.queue_at) == 8
    np.testing.assert_allclose(
        objective.queue[:4].numpy(), _unit(objective.key_encoder(batch["key"])), atol=1e-6
    )
    assert objective.queue_recording[:8].tolist() == batch["item"].tolist() * 2
    objective.eval()
    objective(batch)
    objective.after_update(CLOCK)
    assert int(objective.queue_at) == 8


def test_the_key_encoder_follows_slowly_and_is_not_trained() -> None:
    objective = Moco(tc.encoder(), 16, MocoOptions(queue=64, momentum=0.9, projector=(8,)))
    kept = {k: v.clone() for k, v in objective.key_encoder.named_parameters()}
    held = objective.key_projector.state_dict()["0.weight"].clone()
    for (k, v), w in zip(kept.items(), objective.encoder.parameters(), strict=True):
        assert torch.equal(v, w), k
    tc.train(objective, lambda step: _batch(step), 1)
    assert not any(p.requires_grad for p in objective.key_encoder.parameters())
    own = dict(objective.key_encoder.named_parameters())
    for name, query in objective.encoder.named_parameters():
        torch.testing.assert_close(own[name], 0.9 * kept[name] + 0.1 * query)
    now = objective.key_projector.state_dict()["0.weight"]
    torch.testing.assert_close(now, 0.9 * held + 0.1 * objective.projector.state_dict()["0.weight"])
    groups = objective.parameter_groups()
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {
        id(p) for m in (objective.encoder, objective.projector) for p in m.parameters()
    }


def test_batchnorm_of_the_key_encoder_has_statistics_of_its_own() -> None:
    objective = Moco(tc.encoder(), 16, MocoOptions(queue=64, momentum=1.0))
    fresh = tc.encoder()
    batch = _batch()
    fresh.train()(batch["key"])
    objective.train()(batch)
    ours, expected = objective.key_encoder.state_dict(), fresh.state_dict()
    assert torch.equal(ours["stem.bn.running_mean"], expected["stem.bn.running_mean"])
    other = objective.encoder.state_dict()["stem.bn.running_mean"]
    assert not torch.equal(ours["stem.bn.running_mean"], other)


def test_a_checkpoint_holds_queue_and_key_encoder() -> None:
    objective = Moco(tc.Still(), 6, MocoOptions(queue=16))
    tc.train(objective, lambda step: _batch(step), 3)
    twin = Moco(tc.Still(1), 6, MocoOptions(queue=16))
    twin.load_state_dict(objective.state_dict())
    batch = _batch(9)
    assert torch.equal(objective(batch).value, twin(batch).value)
    assert int(twin.queue_at) == 12


def test_it_learns_to_recognise_speakers_through_channels_without_labels() -> None:
    train, unseen = tc.Voices(0, 200), tc.Voices(1, 30)
    options = MocoOptions(queue=160, momentum=0.9, temperature=0.1)
    objective = Moco(tc.encoder(), 16, options)
    rng = np.random.default_rng(0)
    before = unseen.eer(objective.network())
    logs = tc.train(objective, lambda step: _split(train.batch(48, rng)), 70)
    after = unseen.eer(objective.network())
    assert before > 25
    assert after < 8
    assert logs[-1]["accuracy"] > 0.7 > logs[2]["accuracy"]
    assert logs[-1]["queued"] == 1


def joint() -> tuple[Moco, list[Batch], float]:
    """Four steps with a queue that wraps; two items are copies of one recording."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        objective = Moco(
            tc.Still(),
            6,
            MocoOptions(queue=19, momentum=0.8, temperature=0.2, projector=(5,)),
            tc.items(*[3.0] * 7, repeats=[2, *[1] * 6]),
        )
    rng = np.random.default_rng(3)
    voices = tc.Voices(0, 8)
    return objective, [_split(voices.batch(8, rng)) for _ in range(4)], 0.5


class _Tagged(nn.Module):
    """An encoder whose last number says which process it ran in."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        from voxstrata.training import distributed

        tag = torch.full((len(features), 1), 1.0 + distributed.rank(), dtype=features.dtype)
        return self.scale * torch.cat([features[:, 0, :4], tag], 1)


def dealt() -> tuple[Moco, list[Batch], float]:
    """One step of a network that tells where keys were made."""
    objective = Moco(_Tagged(), 5, MocoOptions(queue=16))
    rng = np.random.default_rng(3)
    return objective, [_split(tc.Voices(0, 16).batch(16, rng))], 0.0


def test_two_processes_equal_one_with_the_joint_batch() -> None:
    tc.assert_two_equal_one("test_training_moco:joint")


def test_keys_are_made_in_other_processes_and_come_home_in_order() -> None:
    one, other = tc.together("test_training_moco:dealt")
    assert torch.equal(one["queue"], other["queue"])
    (batch,) = dealt()[1]
    made = batch["key"][:, 0, :4].double()
    ratio = one["queue"][:, :4] / made
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 4))  # the right key in every place
    tags = (one["queue"][:, 4] / ratio[:, 0]).round().long()
    assert sorted(tags.tolist()) == [1] * 8 + [2] * 8
    assert 0 < int((tags[:8] == 2).sum()) < 8


def _check(*seconds: float, data: dict[str, Any] | None = None, **options: Any) -> None:
    config = settings(data=data or {}, run={"accumulate": 2})
    KIND.check(MocoOptions(**options), config, tc.items(*seconds))


def test_what_cannot_work_is_refused_before_any_work() -> None:
    _check(3.0, 3.0, queue=8)
    with pytest.raises(ConfigError, match="does not hold the keys of one step") as caught:
        _check(3.0, 3.0, queue=7)
    assert "at least 8" in str(caught.value)
    with pytest.raises(CorpusError, match="no negatives"):
        _check(3.0)


def test_query_and_key_are_crops_in_places_and_with_augmentations_of_their_own() -> None:
    assert OBJECTIVES.get("moco") is KIND
    examples = KIND.examples(MocoOptions(crop_s=1.5), tc.context(tc.items(3.0, 3.0)))
    assert isinstance(examples, CropExamples)
    assert [(c.key, c.seconds) for c in examples.wanted] == [("query", 1.5), ("key", 1.5)]
    assert len({c.position for c in examples.wanted}) == 2
    assert len({c.profile for c in examples.wanted}) == 2
