"""Each head learns what is planted in small features, and nothing where nothing is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from voxstrata.metrics.edit import collapse
from voxstrata.metrics.eer import eer
from voxstrata.probing.heads.diarization import DiarizationHead, best_order
from voxstrata.probing.heads.frame import FrameHead
from voxstrata.probing.heads.head import Head, valid
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.utterance import UtteranceHead
from voxstrata.probing.heads.xvector import XVectorHead
from voxstrata.probing.weighting import LayerWeights
from voxstrata.types import FrameGrid, LayerInfo


def _train(head: Head, weights: LayerWeights, batches: Any, steps: int, rate: float = 1e-2) -> None:
    optimiser = torch.optim.Adam([*head.parameters(), *weights.parameters()], lr=rate)
    for step in range(steps):
        xs, lengths, targets = batches(step)
        head.at_step(step)
        z, lengths = weights(xs, lengths)
        loss = head.loss(head(z, lengths), lengths, targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _layers(width: int) -> LayerWeights:
    return LayerWeights([LayerInfo(str(i), width, grid=FrameGrid(320, 400)) for i in range(3)])


def _with_noise(signal: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The signal as layer 1 of three; the others are noise."""
    layers = 0.5 * torch.randn(3, *signal.shape, generator=generator)
    layers[1] += signal
    return layers


def test_the_utterance_head_learns_and_the_weights_find_the_layer() -> None:
    centres = torch.randn(6, 8, generator=torch.Generator().manual_seed(9))

    def batches(step: int) -> Any:
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(6, (32,), generator=generator)
        lengths = torch.randint(3, 13, (32,), generator=generator)
        signal = 0.7 * centres[labels][:, None].expand(-1, 12, -1)
        return _with_noise(signal, generator), lengths, torch.stack([labels // 2, labels % 2], 1)

    head, weights = UtteranceHead(8, (3, 2), hidden=8), _layers(8)
    _train(head, weights, batches, 150)
    xs, lengths, targets = batches(10_000)
    z, lengths = weights(xs, lengths)
    assert (head.predict(head(z, lengths)) == targets).all(1).float().mean() > 0.9
    assert weights.weights().argmax() == 1
    assert weights.weights()[1] > 0.6


def _written(step: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Three symbols of four a recording, each two to four frames long, never twice in a row."""
    generator = torch.Generator().manual_seed(step)
    codes = torch.eye(6)
    rows, targets = [], []
    for _ in range(16):
        symbols = (torch.randperm(4, generator=generator)[:3] + 1).tolist()
        spans = torch.randint(2, 5, (3,), generator=generator).tolist()
        path = list(
            itertools.chain.from_iterable([s] * n for s, n in zip(symbols, spans, strict=True))
        )
        rows.append(2 * codes[torch.tensor(path)])
        targets.append(torch.tensor(symbols))
    lengths = torch.tensor([len(r) for r in rows])
    signal = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return _with_noise(signal, generator), lengths, targets


@pytest.mark.parametrize(
    ("head", "steps"),
    [(FrameHead(6, 5, hidden=16), 200), (RecurrentHead(6, 5, hidden=16), 120)],
)
def test_heads_that_write_symbols_learn_to(head: FrameHead | RecurrentHead, steps: int) -> None:
    weights = _layers(6)
    _train(head, weights, _written, steps, rate=2e-2)
    head.eval()
    xs, lengths, targets = _written(10_000)
    z, lengths = weights(xs, lengths)
    read = collapse(head.predict(head(z, lengths), lengths))
    right = [got.tolist() == t.tolist() for got, t in zip(read, targets, strict=True)]
    assert sum(right) / len(right) > 0.8


def test_the_recurrent_head_learns_what_only_the_other_end_tells() -> None:
    """The symbol stands in the last frame and must be written where the first frame has a mark."""

    def batches(step: int) -> Any:
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(1, 5, (32,), generator=generator)
        lengths = torch.randint(3, 7, (32,), generator=generator)
        signal = torch.zeros(32, 6, 6)
        signal[torch.arange(32), lengths - 1, labels] = 2
        signal[:, 0, 5] = 2
        return [signal], lengths, list(labels[:, None])

    head = RecurrentHead(6, 5, hidden=12)
    weights = LayerWeights([LayerInfo("0", 6, grid=FrameGrid(320, 400))])
    _train(head, weights, batches, 150)
    head.eval()
    xs, lengths, targets = batches(10_000)
    read = collapse(head.predict(head(xs[0], lengths), lengths))
    right = [got.tolist() == t.tolist() for got, t in zip(read, targets, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_the_x_vector_head_tells_speakers_apart_that_it_never_saw() -> None:
    generator = torch.Generator().manual_seed(2)
    voices = torch.randn(40, 8, generator=generator)

    def recordings(step: int, low: int, high: int) -> Any:
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(low, high, (32,), generator=generator)
        lengths = torch.randint(18, 31, (32,), generator=generator)
        signal = voices[labels][:, None].expand(-1, 30, -1)
        noise = torch.randn(signal.shape, generator=generator)
        return _with_noise(signal + noise, generator), lengths, labels

    head, weights = XVectorHead(8, 30, hidden=24, pooled=32), _layers(8)
    _train(head, weights, lambda step: recordings(step, 0, 30), 150, rate=3e-3)
    xs, lengths, labels = recordings(10_000, 30, 40)
    z, lengths = weights(xs, lengths)
    with torch.no_grad():
        unit = torch.nn.functional.normalize(head.embedding(z, lengths), dim=1)
    first, second = torch.triu_indices(32, 32, 1)
    scores = (unit @ unit.T)[first, second].numpy()
    same = (labels[first] == labels[second]).numpy()
    assert eer(scores, same) < 0.2


def test_the_diarization_head_learns_who_talks_whatever_the_order() -> None:
    voices = torch.eye(8)[:2] * 2

    def batches(step: int) -> Any:
        generator = torch.Generator().manual_seed(step)
        talk = (torch.rand(16, 5, 2, generator=generator) > 0.4).float().repeat_interleave(4, 1)
        lengths = torch.randint(12, 21, (16,), generator=generator)
        swapped = torch.rand(16, generator=generator) > 0.5
        signal = talk @ voices
        labels = torch.where(swapped[:, None, None], talk.flip(2), talk)
        return _with_noise(signal, generator), lengths, labels

    head, weights = DiarizationHead(8, hidden=16), _layers(8)
    _train(head, weights, batches, 150)
    xs, lengths, labels = batches(10_000)
    z, lengths = weights(xs, lengths)
    outputs = head(z, lengths)
    _, order = best_order(outputs, lengths, labels)
    sorted_labels = torch.gather(labels, 2, order[:, None].expand(-1, labels.shape[1], -1))
    right = ((outputs > 0).float() == sorted_labels)[valid(lengths, labels.shape[1])]
    assert right.float().mean() > 0.9
