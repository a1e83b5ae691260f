"""Linear probes trained side by side: each is the one that training it alone, plainly, gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.probing.linear import train as training
from voxstrata.probing.linear.heads import Heads
from voxstrata.probing.linear.probes import Part, Plan, Probe
from voxstrata.probing.linear.train import dealt, order, score, side_by_side, train_linear


def made(
    widths: tuple[int, ...] = (6, 6, 6), classes: tuple[int, ...] = (3, 2), n: int = 60
) -> dict[str, Part]:
    """Layers of which the later ones tell more of the classes."""
    g = torch.Generator().manual_seed(0)
    targets = torch.stack([torch.randint(c, (3 * n,), generator=g) for c in classes], dim=1)
    layers = []
    for depth, width in enumerate(widths):
        rows = torch.randn(3 * n, width, generator=g, dtype=torch.float64)
        for group, count in enumerate(classes):
            centres = torch.randn(count, width, generator=g, dtype=torch.float64)
            rows += depth * centres[targets[:, group]]
        layers.append(rows)
    cut = {"train": slice(0, n), "dev": slice(n, 2 * n), "test": slice(2 * n, 3 * n)}
    return {p: Part([x[at] for x in layers], targets[at]) for p, at in cut.items()}


class Plain(nn.Module):
    """The published head as one would write it, with the layer weights before it."""

    def __init__(self, start: Heads, k: int, mapped: bool) -> None:
        super().__init__()
        own = [nn.Parameter(p[k].detach().clone()) for p in start.parameters]
        self.own = nn.ParameterList(own)
        self.mapped, self.summed = mapped, len(own) > 4

    def forward(self, layers: list[torch.Tensor]) -> torch.Tensor:
        p = list(self.own)
        if self.mapped:
            layers = [x @ p[5 + 2 * i] + p[6 + 2 * i] for i, x in enumerate(layers)]
        z = layers[0]
        if self.summed:
            z = torch.tensordot(p[4].softmax(0), torch.stack(layers), dims=1)
        return (z @ p[0] + p[1]) @ p[2] + p[3]


def alone(
    parts: dict[str, Part], classes: tuple[int, ...], probe: Probe, plan: Plan
) -> tuple[list[float], np.ndarray, np.ndarray]:
    """One probe with autograd, torch.optim.Adam and clip_grad_norm_."""
    train, dev, test = parts["train"], parts["dev"], parts["test"]
    widths = [train.layers[i].shape[1] for i in probe.layers]
    start = Heads([probe], widths, sum(classes), plan, torch.float64)
    model = Plain(start, 0, len(set(widths)) > 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=probe.lr)
    labels = {
        name: dealt(p.targets, probe.seed) if probe.control and name != "test" else p.targets
        for name, p in parts.items()
    }
    batches = order(len(train.targets), plan, probe.seed, None)
    seen, said, weights = [], np.zeros(0), np.zeros(0)

    def answer(part: Part) -> torch.Tensor:
        with torch.no_grad():
            pieces = model([part.layers[i] for i in probe.layers]).split(list(classes), dim=1)
        return torch.stack([piece.argmax(1) for piece in pieces], dim=1)

    for step in range(1, plan.steps + 1):
        at = next(batches)
        pieces = model([train.layers[i][at] for i in probe.layers]).split(list(classes), dim=1)
        loss = sum(
            nn.functional.cross_entropy(piece, labels["train"][at, g])
            for g, piece in enumerate(pieces)
        )
        optimiser.zero_grad()
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimiser.step()
        if step % plan.every == 0 or step == plan.steps:
            value = score(answer(dev).numpy(), labels["dev"].numpy(), plan.measure)
            if not seen or value > max(seen):
                said = answer(test).numpy()
                if len(probe.layers) > 1:
                    weights = list(model.own)[4].detach().softmax(0).numpy()
                else:
                    weights = np.ones(1)
            seen.append(value)
    return seen, said, weights


PROBES = [
    Probe((0,), 1e-1, 0),
    Probe((2,), 1e-1, 0),
    Probe((2,), 1e-3, 5),
    Probe((2,), 1e-2, 0, control=True),
    Probe((0, 1, 2), 1e-1, 0),
    Probe((0, 1, 2), 1e-2, 5),
    Probe((0, 2), 1e-1, 0),
]


@pytest.mark.parametrize("widths", [(6, 6, 6), (4, 6, 6)])
@pytest.mark.parametrize("clip", [1.0, 0.05])
def test_side_by_side_is_what_each_gives_alone(widths: tuple[int, ...], clip: float) -> None:
    parts = made(widths)
    plan = Plan(steps=23, batch=16, hidden=5, clip=clip, every=4)
    found = train_linear(parts, (3, 2), PROBES, plan, dtype=torch.float64)
    for probe, one in zip(PROBES, found, strict=True):
        seen, said, weights = alone(parts, (3, 2), probe, plan)
        assert one.probe == probe
        np.testing.assert_allclose(one.dev, seen, atol=1e-12)
        np.testing.assert_array_equal(one.test, said)
        np.testing.assert_allclose(one.weights, weights, atol=1e-10)


def test_parameters_follow_the_plain_loop_to_the_last_digits() -> None:
    parts = made()
    probe = Probe((0, 1, 2), 0.05, 3)
    plan = Plan(steps=12, batch=16, hidden=5, clip=0.1)
    heads = Heads([probe, Probe((0, 1, 2), 0.5, 4)], [6, 6, 6], 5, plan, torch.float64)
    plain = Plain(heads, 0, mapped=False)
    optimiser = torch.optim.Adam(plain.parameters(), lr=probe.lr)
    rows = [x[:16] for x in parts["train"].layers]
    target = parts["train"].targets[:16, 0]
    for _ in range(12):
        logits = heads.logits([torch.stack([x, x]) for x in rows])
        both = nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.cat([target, target]), reduction="sum"
        )
        heads.update(both / 16, plan.clip)
        optimiser.zero_grad()
        nn.functional.cross_entropy(plain(rows), target).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), plan.clip)
        optimiser.step()
    for mine, its in zip(heads.parameters, plain.own, strict=True):
        torch.testing.assert_close(mine[0], its, rtol=0, atol=1e-12)


def test_means_give_the_loss_and_gradients_of_frames() -> None:
    """The head on frames, then the mean over valid ones, as published; and on their means."""
    g = torch.Generator().manual_seed(1)
    lengths = torch.tensor([7, 3, 5])
    frames = [torch.randn(3, 7, 6, generator=g, dtype=torch.float64) for _ in range(3)]
    valid = (torch.arange(7)[None] < lengths[:, None]).double()[..., None]
    target = torch.tensor([0, 2, 1])
    heads = Heads([Probe((0, 1, 2), 0.1, 0)], [6, 6, 6], 3, Plan(1, hidden=5), torch.float64)
    with torch.no_grad():
        heads.parameters[4].copy_(torch.tensor([[0.3, -0.2, 0.5]]))
    w1, b1, w2, b2, a = (p[0].detach().clone().requires_grad_() for p in heads.parameters)
    z = torch.tensordot(a.softmax(0), torch.stack(frames), dims=1)
    inner = ((z @ w1 + b1) * valid).sum(dim=1) / lengths[:, None]
    loss = nn.functional.cross_entropy(inner @ w2 + b2, target)
    loss.backward()
    means = [(x * valid).sum(dim=1) / lengths[:, None] for x in frames]
    mine = nn.functional.cross_entropy(heads.logits([m[None] for m in means])[0], target)
    assert mine.item() == pytest.approx(loss.item(), abs=1e-14)
    for theirs, ours in zip(
        (w1, b1, w2, b2, a), torch.autograd.grad(mine, heads.parameters), strict=True
    ):
        torch.testing.assert_close(ours[0], theirs.grad, rtol=0, atol=1e-14)


def test_batching_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = made()
    plan = Plan(steps=15, batch=16, hidden=5, every=5)
    one = train_linear(parts, (3, 2), PROBES, plan, dtype=torch.float64)
    monkeypatch.setattr(training, "CACHE_BYTES", 1)
    assert all(len(b) == 1 for b in side_by_side(PROBES, [6, 6, 6], 5, plan, torch.float64))
    two = train_linear(parts, (3, 2), PROBES, plan, dtype=torch.float64, workers=2)
    for a, b in zip(one, two, strict=True):
        assert a.dev == b.dev
        np.testing.assert_array_equal(a.test, b.test)
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-13)


def test_weights_begin_uniform() -> None:
    heads = Heads([Probe((0, 1, 2), 0.1, 0)], [6, 6, 6], 3, Plan(1), torch.float32)
    torch.testing.assert_close(heads.weights(), torch.full((1, 3), 1 / 3))


def test_planted_classes_are_found_and_dealt_ones_are_not() -> None:
    parts = made((8, 8, 8), (4,), n=150)
    plan = Plan(steps=200, batch=32, hidden=16, every=20)
    first, last, control, together = train_linear(
        parts,
        (4,),
        [
            Probe((0,), 0.01, 0),
            Probe((2,), 0.01, 0),
            Probe((2,), 0.01, 0, control=True),
            Probe((0, 1, 2), 0.05, 0),
        ],
        plan,
    )
    truth = parts["test"].targets.numpy()
    assert score(last.test, truth, "accuracy") > 0.9
    assert score(first.test, truth, "accuracy") < 0.45
    assert score(control.test, truth, "accuracy") < 0.5
    assert together.weights.argmax() == 2
    assert together.weights[0] < 0.25


def test_dev_chooses_the_step() -> None:
    """What is kept is the first of the best looks at dev, not the last."""
    parts = made()
    plan = Plan(steps=30, batch=16, hidden=5, every=1)
    (one,) = train_linear(parts, (3, 2), [Probe((1,), 0.5, 0)], plan, dtype=torch.float64)
    assert one.step == int(np.argmax(one.dev)) + 1
    short = Plan(steps=one.step, batch=16, hidden=5, every=1)
    (again,) = train_linear(parts, (3, 2), [Probe((1,), 0.5, 0)], short, dtype=torch.float64)
    np.testing.assert_array_equal(one.test, again.test)


def test_a_step_that_is_not_finite_is_left_out_and_told() -> None:
    parts = made()
    huge = Part([x * 1e200 for x in parts["train"].layers], parts["train"].targets)
    found = train_linear(
        {**parts, "train": huge},
        (3, 2),
        [Probe((0, 1, 2), 0.1, 0)],
        Plan(steps=3, batch=16, hidden=5),
        dtype=torch.float64,
    )
    assert found[0].diverged
    assert np.isfinite(found[0].weights).all()


def test_balanced_batches_hold_every_class_as_often() -> None:
    targets = torch.tensor([[0]] * 90 + [[1]] * 10)
    weights = training._evenly(targets)
    drawn = torch.cat([b for _, b in zip(range(40), order(100, Plan(1), 0, weights), strict=False)])
    assert 0.4 < float((targets[drawn] == 1).double().mean()) < 0.6


def test_scores() -> None:
    said = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    true = np.array([[0, 0], [1, 1], [1, 1], [1, 1]])
    assert score(said, true, "accuracy") == 0.5
    assert score(said, true, "balanced-accuracy") == pytest.approx((1 + 1 / 3) / 2)


def test_groups_are_scored_together_or_each_by_itself() -> None:
    true = np.array([[0, 1, 2], [1, 1, 1]])
    said = np.array([[0, 1, 0], [1, 1, 1]])
    assert score(said, true, "accuracy") == 0.5
    assert score(said, true, "group-accuracy") == pytest.approx(5 / 6)


def test_bad_input_is_refused() -> None:
    parts = made()
    plan = Plan(steps=1)
    short = {**parts, "dev": Part([x[:-1] for x in parts["dev"].layers], parts["dev"].targets)}
    with pytest.raises(ShapeError, match="dev"):
        train_linear(short, (3, 2), PROBES, plan)
    broken = [x.clone() for x in parts["test"].layers]
    broken[1][3, 2] = torch.nan
    with pytest.raises(NumericsError, match="layer 1"):
        train_linear({**parts, "test": Part(broken, parts["test"].targets)}, (3, 2), PROBES, plan)
    with pytest.raises(UsageError, match="class numbers"):
        train_linear(parts, (2, 2), PROBES, plan)
    with pytest.raises(UsageError, match="not there"):
        train_linear(parts, (3, 2), [Probe((7,), 0.1, 0)], plan)
