"""Scores against plain computations, orders against planted ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata import load_model
from voxstrata.errors import NumericsError, UsageError
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.copies_melhubert import melhubert_blocks
from voxstrata.neurons.pruning.cost import cost_of, summary, timed
from voxstrata.neurons.pruning.heads import prune_heads
from voxstrata.neurons.pruning.intervals import even_parts, prune_interval, segments
from voxstrata.neurons.pruning.order import ascending, lowest_of_all, lowest_of_each
from voxstrata.neurons.pruning.rows import after_removal, choose, prune_rows
from voxstrata.neurons.pruning.scores import SCORES, Evidence
from voxstrata.neurons.pruning.surgery import remove_rows, zero_weights
from voxstrata.neurons.sets import neuron_set

MODEL = (
    "random:melhubert,inputs=80,width=16,layers=2,heads=2,ffn=12,conv_pos=8,conv_groups=4,"
    "clusters=5"
)
LAYERS = ["block.1.ffn.inner", "block.2.ffn.inner"]


class Planted:
    """Losses in float64: cross-entropy of fixed codes on fixed features."""

    def __init__(self, model: Any, batches: int = 3, frames: int = 6, rows: int = 2) -> None:
        self.network = copy.deepcopy(model._module).double()
        self.blocks = melhubert_blocks(self.network, model.options)
        generator = torch.Generator().manual_seed(1)
        self.data = [
            (
                torch.randn(rows, frames, 80, generator=generator).double(),
                torch.randint(0, 5, (rows * frames,), generator=generator),
            )
            for _ in range(batches)
        ]

    def each(self) -> Iterator[torch.Tensor]:
        for features, codes in self.data:
            logits = self.network(features).flatten(0, 1)
            yield torch.nn.functional.cross_entropy(logits, codes)

    def loss(self, batch: int = 0) -> float:
        features, codes = self.data[batch]
        with torch.no_grad():
            logits = self.network(features).flatten(0, 1)
        return float(torch.nn.functional.cross_entropy(logits, codes))


@pytest.fixture
def model() -> Any:
    made: Any = load_model(MODEL)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in made._module.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return made


def test_taylor_of_a_frame_is_the_slope_of_a_gate(model: Any) -> None:
    """With one frame, |a dL/da| is how fast the loss changes as the neuron's value is scaled."""
    planted = Planted(model, batches=1, frames=1, rows=1)
    evidence = Evidence(losses=lambda _model: planted)
    rows = SCORES.get("taylor").rows(model, evidence)
    heads = SCORES.get("taylor").heads(model, evidence)
    step = 1e-4
    slopes = []
    for number, layer in enumerate(LAYERS):
        block = planted.network.encoder.layers[number]
        for i in range(12):
            slopes.append(abs(_slope(planted, block.fc2.weight, [i], step)))
        np.testing.assert_allclose(rows[layer], slopes[-12:], rtol=1e-5, atol=1e-10)
        of_heads = [
            abs(_slope(planted, block.self_attn.out_proj.weight, range(8 * h, 8 * h + 8), step))
            for h in range(2)
        ]
        expected = np.array(of_heads) / np.linalg.norm(of_heads)
        np.testing.assert_allclose(heads[number + 1], expected, rtol=1e-5)
    assert max(slopes) > 1e-3


def _slope(planted: Planted, weight: torch.Tensor, columns: Any, step: float) -> float:
    """Derivative of the loss by a factor on columns of a weight, at factor 1."""
    found = []
    columns = list(columns)
    for factor in (1 + step, 1 - step):
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[:, columns] *= factor
        found.append(planted.loss())
        with torch.no_grad():
            weight.copy_(kept)
    return (found[0] - found[1]) / (2 * step)


def test_taylor_sums_frames_and_averages_batches(model: Any) -> None:
    planted = Planted(model)
    found = SCORES.get("taylor").rows(model, Evidence(losses=lambda _model: planted))[LAYERS[0]]
    expected = np.zeros(12)
    for features, codes in planted.data:
        kept: list[torch.Tensor] = []

        def keep(_module: Any, args: Any, kept: list[torch.Tensor] = kept) -> Any:
            kept.append(args[0].detach().requires_grad_(True))
            return (kept[0],)

        handle = planted.network.encoder.layers[0].fc2.register_forward_pre_hook(keep)
        logits = planted.network(features).flatten(0, 1)
        handle.remove()
        torch.nn.functional.cross_entropy(logits, codes).backward()
        for frame in range(features.shape[1]):
            for row in range(features.shape[0]):
                a, g = kept[0][row, frame], kept[0].grad[row, frame]  # type: ignore[index]
                expected += np.abs((a * g).detach().numpy())
    np.testing.assert_allclose(found, expected / 3, rtol=1e-10)


def test_scores_that_lack_something(model: Any) -> None:
    for name in ("activation", "taylor"):
        with pytest.raises(UsageError, match="needs"):
            SCORES.get(name).rows(model, Evidence())
    with pytest.raises(UsageError, match="for rows"):
        SCORES.get("activation").heads(model, Evidence())

    class Broken(Planted):
        def each(self) -> Iterator[torch.Tensor]:
            for loss in super().each():
                yield loss * float("nan")

    with pytest.raises(NumericsError, match="not finite"):
        SCORES.get("taylor").rows(model, Evidence(losses=lambda m: Broken(m)))
    short = np.zeros(100, dtype=np.float32)
    with pytest.raises(UsageError, match="gives no frame"):
        SCORES.get("activation").rows(model, Evidence(audio=lambda: [[short]]))


def test_planted_neurons_go_first(model: Any) -> None:
    """Rows made small go by l1; one that is silent on speech goes by activation."""
    with torch.no_grad():
        block = model._module.encoder.layers[0]
        for i in (3, 8):
            block.fc1.weight[i] *= 0.01
            block.fc1.bias[i] *= 0.01
            block.fc2.weight[:, i] *= 0.01
        block = model._module.encoder.layers[1]
        block.fc1.bias[5] = -50.0  # GELU of it is zero, though its weights are large
    gone = prune_rows(model, 2).removed
    assert set(gone[LAYERS[0]]) == {3, 8}
    assert 5 not in gone[LAYERS[1]]
    wave = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    silent = prune_rows(model, 1, score="activation", evidence=Evidence(audio=lambda: [[wave]]))
    assert silent.removed[LAYERS[1]] == [5]
    # Over all layers the small ones are the lowest of all.
    whole = prune_rows(model, 1, scope="whole").removed
    assert sorted(whole[LAYERS[0]]) == [3, 8]
    assert whole[LAYERS[1]] == []


def test_random_is_a_control(model: Any) -> None:
    one, again = (prune_rows(model, 4, score="random", seed=1).removed for _ in range(2))
    other = prune_rows(model, 4, score="random", seed=2).removed
    assert one == again != other
    assert prune_heads(model, 1, score="random").model.details["parameters"] > 0


def test_orders() -> None:
    assert ascending(np.array([2.0, 1.0, 1.0, 0.0]), [1]) == [3, 2, 0]
    scores = {"a": np.array([1.0, 5.0, 2.0]), "b": np.array([0.1, 0.2, 0.3])}
    assert lowest_of_each(scores, {"a": 2, "b": 1}, {"b": [0]}) == {"a": [0, 2], "b": [1]}
    # The best of each stay, though all of b lies below a.
    assert lowest_of_all(scores, 3) == {"a": [0], "b": [0, 1]}
    assert lowest_of_all(scores, 3, {"b": [0]}) == {"a": [0], "b": [1, 2]}
    assert lowest_of_all(scores, 2, {"b": [0]}, keep=2) == {"a": [0], "b": [1]}
    with pytest.raises(UsageError, match="so many cannot be pruned"):
        lowest_of_all(scores, 5)


def test_rows_of_a_layer() -> None:
    scores = np.array([3.0, 1.0, 2.0, 0.0])
    assert choose(scores, 2, [], 1, [0], "x") == [3, 1]
    assert choose(scores, 2, [3], 1, [0], "x") == [1, 2]
    assert choose(scores, -1, [3, 0], 1, [0], "x") == [1, 2]
    # Fewer are protected than must stay: the best of the others stay too.
    assert choose(scores, -1, [3], 3, [0], "x") == [1]
    sampled = {tuple(sorted(choose(scores, -1, [], 2, [seed], "x"))) for seed in range(40)}
    assert len(sampled) == 6  # every pair of rows is kept by some seed
    with pytest.raises(UsageError, match="3 of 4 rows to go, 2 protected"):
        choose(scores, 3, [0, 1], 1, [0], "x")
    with pytest.raises(UsageError, match="prune_min"):
        choose(scores, 1, [], 5, [0], "x")


def test_sets_in_the_new_numbering(model: Any) -> None:
    found = neuron_set(
        "s", model, {LAYERS[0]: [0, 5, 11], LAYERS[1]: [2, 3]},
        groups={"F": {LAYERS[0]: (5,)}, "M": {LAYERS[1]: (2,)}},
    )  # fmt: skip
    removed = {LAYERS[0]: [9, 1, 4], LAYERS[1]: [2]}
    pruned = remove_rows(model, removed)
    moved = after_removal(found, removed, pruned)
    moved.check(pruned)
    assert dict(moved.layers) == {LAYERS[0]: (0, 3, 8), LAYERS[1]: (2,)}
    assert dict(moved.groups["F"]) == {LAYERS[0]: (3,)}
    assert dict(moved.groups["M"]) == {LAYERS[1]: ()}
    with pytest.raises(UsageError, match="strategy 'each'"):
        prune_rows(model, 1, protected=found, strategy="each")


def test_when_and_how_much() -> None:
    assert segments(prune_interval(25_000, 1000, 20), 510_000) == [1000, *[25_000] * 19, 34_000]
    assert even_parts(10, 4) == [3, 3, 2, 2]
    for wrong in (lambda: prune_interval([5, 5], 0, 2), lambda: prune_interval(10, -1, 2)):
        with pytest.raises(UsageError, match="follow each other"):
            wrong()
    with pytest.raises(UsageError, match="after the end"):
        segments([10], 9)
    with pytest.raises(UsageError, match="so few cannot go"):
        even_parts(2, 3)


def test_cost(model: Any) -> None:
    # Two models in turns: the first takes 9, then 1, 3 and 2 s, the second always half a second.
    ticks = iter(np.cumsum([0, 9, 0, 0.5, 0, 1, 0, 0.5, 0, 3, 0, 0.5, 0, 2, 0, 0.5]).tolist())
    found = timed([model, model], 3, 0.5, clock=lambda: next(ticks))
    assert found == pytest.approx([2.0 / 0.5, 0.5 / 0.5])
    with pytest.raises(UsageError, match="latency needs repeats"):
        timed([model], 0, 1.0)
    before = cost_of(model)
    assert before.parameters == sum(p.numel() for p in model._module.parameters())
    assert (before.feed_forward, before.heads) == ((12, 12), (2, 2))
    sparse = cost_of(zero_weights(model, 0.5))
    assert sparse.parameters == before.parameters
    maps = sum(
        v.numel() for p in take_copy(model).blocks for n in p.maps for v in p.map(n).parameters()
    )
    assert before.nonzero - sparse.nonzero == round(0.5 * maps)
    assert "zero" in summary(before, sparse)
    assert "zero" not in summary(before, cost_of(remove_rows(model, {LAYERS[0]: [1]})))
