"""What heads compute, against the formulas written out without masks or batches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from voxstrata.metrics.edit import collapse
from voxstrata.probing.heads.ctc import best_paths, ctc_loss, frames_needed
from voxstrata.probing.heads.diarization import best_order
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.utterance import UtteranceHead
from voxstrata.probing.heads.xvector import LAYERS, XVectorHead, statistics


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_loss_of_groups_is_the_sum_of_their_cross_entropies() -> None:
    head = UtteranceHead(3, (2, 3))
    outputs, targets = _random(4, 5), [[0, 2], [1, 1], [1, 0], [0, 0]]
    wanted = 0.0
    for row, (first, second) in zip(outputs.tolist(), targets, strict=True):
        wanted -= row[first] - math.log(sum(math.exp(v) for v in row[:2]))
        wanted -= row[2 + second] - math.log(sum(math.exp(v) for v in row[2:]))
    got = head.loss(outputs, torch.ones(4), torch.tensor(targets))
    assert got.item() == pytest.approx(wanted / 4, abs=1e-12)
    assert head.predict(torch.tensor([[0.0, 1, 5, 2, 6]])).tolist() == [[1, 2]]


def test_ctc_is_the_sum_over_all_paths() -> None:
    logits, lengths = _random(3, 4, 3), torch.tensor([4, 3, 2])
    targets = [[1, 2], [1], [2, 2]]
    wanted = []
    for row, length, target in zip(logits, lengths.tolist(), targets, strict=True):
        chances = row[:length].softmax(1).numpy()
        total = 0.0
        for path in itertools.product(range(3), repeat=length):
            merged = [s for s, _ in itertools.groupby(path)]
            if [s for s in merged if s] == target:
                total += math.prod(chances[t, s] for t, s in enumerate(path))
        wanted.append(-math.log(total) / len(target) if total else 0.0)
    assert wanted[2] == 0  # [2, 2] needs three frames
    got = ctc_loss(logits, lengths, [torch.tensor(t) for t in targets])
    assert got.item() == pytest.approx(np.mean(wanted), abs=1e-12)


def test_frames_needed_counts_blanks_between_equal_symbols() -> None:
    assert frames_needed(torch.tensor([1, 1, 2, 2, 2])) == 8
    assert frames_needed(torch.tensor([], dtype=torch.int64)) == 0


def test_greedy_reading_stops_at_the_length() -> None:
    path = torch.tensor([[0, 1, 1, 0, 1, 2, 2], [3, 3, 0, 0, 1, 1, 1]])
    logits = functional.one_hot(path, 4).double()
    paths = best_paths(logits, torch.tensor([7, 4]))
    assert [row.tolist() for row in paths] == [[0, 1, 1, 0, 1, 2, 2], [3, 3, 0, 0]]
    assert [row.tolist() for row in collapse(paths)] == [[1, 1, 2], [3]]


def test_the_recurrent_head_reads_backwards_from_the_last_own_frame() -> None:
    head = RecurrentHead(3, 4, hidden=5).double().eval()
    z = _random(1, 9, 3)
    short = head(z[:, :6], torch.tensor([6]))
    padded = head(z, torch.tensor([6]))[:, :6]
    whole = head(z, torch.tensor([9]))[:, :6]
    torch.testing.assert_close(padded, short, rtol=0, atol=1e-12)
    assert (whole - short).abs().max() > 1e-4


def _time_delay(head: XVectorHead, frames: torch.Tensor) -> torch.Tensor:
    """The layers as linear maps of spliced frames, [T, D] to [T - 14, P]."""
    x = head.project(frames)
    for layer, (context, dilation) in zip(head.delays, LAYERS, strict=True):
        reach = (context - 1) * dilation
        spliced = [x[t : t + len(x) - reach] for t in range(0, reach + 1, dilation)]
        # Conv1d keeps [out, in, context]; a linear map of spliced frames reads context first.
        weight = layer.weight.permute(0, 2, 1).reshape(layer.out_channels, -1)
        x = functional.relu(functional.linear(torch.cat(spliced, 1), weight, layer.bias))
    return x


def _embedded(head: XVectorHead, x: torch.Tensor) -> torch.Tensor:
    return functional.relu(head.embed(torch.cat([x.mean(0), x.std(0)])))


@pytest.mark.parametrize("published", [False, True])
def test_embeddings_are_those_of_spliced_frames_pooled(published: bool) -> None:
    head = XVectorHead(3, 4, hidden=12, pooled=7, published_pooling=published).double()
    for layer in head.parameters():
        layer.data.mul_(3)  # far from 0, so that ReLU matters
    z, lengths = _random(3, 30, 3), torch.tensor([28, 20, 16])
    got, outputs = head.embedding(z, lengths), head(z, lengths)
    for row, length in enumerate(lengths.tolist()):
        frames = z[row, :length]
        if published and length < 28:  # one frame that has seen one frame of zeros
            frames = torch.cat([frames, torch.zeros(1, 3, dtype=torch.float64)])
        x = _time_delay(head, frames)
        assert len(x) == length - 14 + (published and length < 28)
        wanted = _embedded(head, x)
        torch.testing.assert_close(got[row], wanted, rtol=1e-12, atol=1e-12)
        assert 0 < int((wanted == 0).sum()) < 12
        assert 0 < int((x == 0).sum()) < x.numel()
        second = functional.relu(head.second(wanted))
        torch.testing.assert_close(outputs[row], second, rtol=1e-12, atol=1e-12)
        assert 0 < int((second == 0).sum()) < 12


def test_am_softmax_takes_the_margin_off_the_true_cosine() -> None:
    head = XVectorHead(3, 3, hidden=4, pooled=5).double()
    outputs, targets = _random(2, 4), [2, 0]
    weight = head.speakers.weight.detach().numpy()
    wanted = 0.0
    for x, true in zip(outputs.numpy(), targets, strict=True):
        cosines = weight @ x / np.linalg.norm(weight, axis=1) / np.linalg.norm(x)
        own = math.exp(30 * (cosines[true] - 0.4))
        others = sum(math.exp(30 * c) for i, c in enumerate(cosines) if i != true)
        wanted -= math.log(own / (own + others)) / 2
    got = head.loss(outputs, torch.ones(2), torch.tensor(targets))
    assert got.item() == pytest.approx(wanted, abs=1e-12)


def test_a_dimension_that_does_not_vary_has_no_deviation_and_no_gradient_of_it() -> None:
    x = _random(1, 2, 6)
    x[0, 1] = 0
    x.requires_grad_()
    found = statistics(x, torch.tensor([6]))
    torch.testing.assert_close(found[0, 2], x[0, 0].std().detach(), rtol=0, atol=1e-12)
    assert found[0, 3].item() == 0
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, 1], torch.full_like(x[0, 1], 1 / 6), rtol=0, atol=1e-12)


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_the_diarization_loss_is_the_least_over_all_orders(speakers: int) -> None:
    lengths = torch.tensor([7, 4, 6])
    outputs = 3 * _random(3, 7, speakers)
    targets = (_random(3, 7, speakers, seed=1) > 0).double()
    least, order = best_order(outputs, lengths, targets)
    for b, length in enumerate(lengths.tolist()):
        losses = {}
        for way in itertools.permutations(range(speakers)):
            each = functional.binary_cross_entropy_with_logits(
                outputs[b, :length], targets[b, :length][:, list(way)], reduction="none"
            )
            losses[way] = each.mean(1).sum().item()
        best = min(losses, key=lambda way: losses[way])
        assert least[b].item() == pytest.approx(losses[best], abs=1e-12)
        assert tuple(order[b].tolist()) == best


def test_the_diarization_loss_keeps_small_numbers_apart_from_large_logits() -> None:
    targets = torch.tensor([[[1.0, 0.0]] * 50])
    least, order = best_order(40 * (2 * targets - 1), torch.tensor([50]), targets)
    assert least.item() == pytest.approx(50 * math.exp(-40), rel=1e-5)
    assert order.tolist() == [[0, 1]]
