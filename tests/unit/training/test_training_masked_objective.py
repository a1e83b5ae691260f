"""The loss of hidden frames: by hand, padded, in parts, in bfloat16; and that it is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.config import build
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.training import distributed
from voxstrata.training.objective import Batch
from voxstrata.training.objectives.masked.examples import IGNORED, collate
from voxstrata.training.objectives.masked.objective import Masked
from voxstrata.training.objectives.masked.settings import MaskedOptions

CODES, WIDTH = 6, 10


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def _objective(dropout: float = 0.0, **options: Any) -> Masked:
    torch.manual_seed(0)
    shape = MelHubertOptions(
        inputs=WIDTH, width=32, layers=2, heads=2, ffn=64, conv_pos=8, conv_groups=4, clusters=CODES
    )
    network = MelHubert(shape)
    network.set_dropout(dropout)
    return Masked(network, build(MaskedOptions, {"dropout": dropout, **options}))


def _made(frames: int, seed: int) -> dict[str, Any]:
    """Codes that go round in a circle; features are the code's direction and noise."""
    rng = np.random.default_rng(seed)
    codes = (rng.integers(CODES) + np.arange(frames) // 2) % CODES
    directions = np.random.default_rng(99).standard_normal((CODES, WIDTH))
    features = directions[codes] + 0.3 * rng.standard_normal((frames, WIDTH))
    mask = np.zeros(frames, dtype=np.bool_)
    at = int(rng.integers(1, frames - 5))
    mask[at : at + 5] = True
    return {
        "features": features.astype(np.float32),
        "codes": codes.astype(np.int64),
        "mask": mask,
        "seconds": np.array(frames * 0.02, dtype=np.float32),
        "item": np.array(seed),
    }


def _batch(*frames: int, first: int = 0) -> Batch:
    return collate([_made(n, first + i) for i, n in enumerate(frames)])


def test_the_loss_is_that_by_hand() -> None:
    objective = _objective(unmasked_weight=0.25)
    batch = _batch(30, 21, 26)
    total, count = {True: 0.0, False: 0.0}, {True: 0, False: 0}
    right = {True: 0, False: 0}
    for seed, frames in enumerate((30, 21, 26)):
        one = _made(frames, seed)
        seen = one["features"] * ~one["mask"][:, None]
        logits = objective.encoder(torch.from_numpy(seen)[None])[0].detach().double().numpy()
        for row, code, hidden in zip(logits, one["codes"], one["mask"], strict=True):
            total[bool(hidden)] += np.log(np.exp(row - row.max()).sum()) + row.max() - row[code]
            right[bool(hidden)] += int(row.argmax() == code)
            count[bool(hidden)] += 1
    loss = objective(batch)
    masked, unmasked = total[True] / count[True], total[False] / count[False]
    assert loss.value.item() == pytest.approx(masked + 0.25 * unmasked, rel=1e-5)
    assert float(loss.logs["masked_loss"]) == pytest.approx(masked, rel=1e-5)
    assert float(loss.logs["unmasked_loss"]) == pytest.approx(unmasked, rel=1e-5)
    assert float(loss.logs["masked_accuracy"]) == pytest.approx(right[True] / count[True])
    assert float(loss.logs["unmasked_accuracy"]) == pytest.approx(right[False] / count[False])
    assert batch["seconds"].sum() == pytest.approx(77 * 0.02)


def test_hidden_frames_are_not_seen_and_padding_does_not_count() -> None:
    objective = _objective()
    batch = _batch(30, 21)
    value = objective(batch).value.item()
    other = {k: v.clone() for k, v in batch.items()}
    other["features"][batch["mask"]] = 7.0
    other["features"][1, 21:] = -3.0
    assert objective(other).value.item() == value
    other["features"][0, int((~batch["mask"][0]).nonzero()[0])] += 1.0
    assert objective(other).value.item() != value
    assert (batch["codes"][1, 21:] == IGNORED).all()
    assert not batch["mask"][1, 21:].any()


def test_the_diversity_of_predictions() -> None:
    objective = _objective()
    with torch.no_grad():
        objective.encoder.final_proj.weight.zero_()
        objective.encoder.final_proj.bias.copy_(torch.eye(CODES)[2])
    batch = _batch(30, 21, 40)
    logs = objective(batch).logs
    assert float(logs["perplexity"]) == pytest.approx(1.0)
    p = np.bincount(batch["codes"][batch["mask"]].numpy()) / 15
    p = p[p > 0]
    assert float(logs["code_perplexity"]) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)


def test_two_processes_give_the_gradient_of_the_joint_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts with different numbers of hidden frames: each divides by the joint number."""
    objective = _objective()
    parts = [_batch(30, 30), _batch(30, first=2)]
    parts[0]["mask"][0] = True
    parts[0]["mask"][0, :4] = False
    joint = {k: torch.cat([part[k] for part in parts]) for k in parts[0]}
    objective(joint).value.backward()
    wanted = {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}
    hidden = [int(part["mask"].sum()) for part in parts]
    assert hidden[0] != hidden[1]
    totals = {True: float(sum(hidden)), False: float(90 - sum(hidden))}
    monkeypatch.setattr(distributed, "size", lambda: 2)
    objective.zero_grad()
    for part in parts:
        own = float(part["mask"].sum())
        monkeypatch.setattr(
            distributed, "total", lambda x, own=own: torch.tensor(totals[float(x) == own])
        )
        (objective(part).value / 2).backward()
    for name, p in objective.named_parameters():
        if name in wanted:
            torch.testing.assert_close(p.grad, wanted[name], atol=1e-6, rtol=1e-4)


def test_dropout_is_what_was_asked_for_and_off_in_evaluation() -> None:
    batch = _batch(30, 21)
    off, on = _objective(), _objective(dropout=0.5)
    assert off(batch).value.item() == off(batch).value.item()
    assert on(batch).value.item() != on(batch).value.item()
    assert on.eval()(batch).value.item() == off.eval()(batch).value.item()


def test_bfloat16_on_the_cpu() -> None:
    """With the kernel and the groups for which torch's bfloat16 convolution is wrong there."""
    objective = _objective()
    batch = _batch(30, 21)
    exact = objective(batch).value.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(batch)
    assert loss.value.dtype == torch.float32
    assert loss.value.item() == pytest.approx(exact, rel=0.003)
    loss.value.backward()
    assert all(bool(p.grad.isfinite().all()) for p in objective.parameters() if p.grad is not None)


def test_it_learns_what_comes_between() -> None:
    """The hidden codes follow from those around them; frequencies alone give one in six."""
    objective = _objective()
    rng = np.random.default_rng(5)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=4e-3)
    before = float(objective(_batch(*[32] * 32, first=10_000)).logs["masked_accuracy"])
    for step in range(100):
        batch = _batch(*rng.integers(28, 36, size=16).tolist(), first=16 * step)
        optimiser.zero_grad()
        objective(batch).value.backward()
        optimiser.step()
    logs = objective.eval()(_batch(*[32] * 32, first=10_000)).logs
    assert before < 0.4
    assert float(logs["masked_accuracy"]) > 0.95
    assert float(logs["perplexity"]) > 5
