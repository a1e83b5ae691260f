"""Heads: published sizes, padding, gradients, seeds, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.diarization import DiarizationHead, match_frames
from voxstrata.probing.heads.frame import FrameHead
from voxstrata.probing.heads.head import Head
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.utterance import UtteranceHead
from voxstrata.probing.heads.xvector import XVectorHead

WIDTH, LENGTHS = 6, [23, 17, 20, 23]


def _linear(inside: int, outside: int) -> int:
    return inside * outside + outside


def _lstm(inside: int, hidden: int) -> int:
    """Four gates, each with weights on input and state, and torch's two biases."""
    return 4 * (hidden * (inside + hidden) + 2 * hidden)


def _count(head: Head) -> int:
    return sum(p.numel() for p in head.parameters())


@pytest.mark.parametrize("classes", [(1251,), (12,), (6, 14, 4), (4,)])
def test_utterance_head_has_the_published_size(classes: tuple[int, ...]) -> None:
    wanted = 768 * 256 + 256 + 256 * sum(classes) + sum(classes)
    assert _count(UtteranceHead(768, classes)) == wanted
    if classes == (6, 14, 4):
        assert wanted == 203_032


def test_frame_head_has_the_published_size() -> None:
    assert _count(FrameHead(768, 74)) == _linear(768, 256) + _linear(256, 74) == 215_882


def test_recurrent_head_has_the_published_size() -> None:
    wanted = _linear(768, 1024) + 2 * _lstm(1024, 1024) + 2 * _lstm(2048, 1024) + _linear(2048, 32)
    with torch.device("meta"):
        assert _count(RecurrentHead(768, 32)) == wanted == 42_828_832


def test_x_vector_head_has_the_published_size() -> None:
    wanted = (
        _linear(768, 512)
        + _linear(5 * 512, 512)
        + 2 * _linear(3 * 512, 512)
        + _linear(512, 512)
        + _linear(512, 1500)
        + _linear(3000, 512)
        + _linear(512, 512)
        + 1211 * 512
    )
    head = XVectorHead(768, 1211)
    assert _count(head) == wanted == 6_730_204
    assert head.speakers.scale == 30
    assert head.speakers.margin == 0.4
    assert head.speakers.kind == "additive"


def test_diarization_head_has_the_published_size() -> None:
    assert _count(DiarizationHead(768)) == _lstm(768, 512) + _linear(512, 2) == 2_626_562


@dataclass
class _Case:
    build: Callable[..., Head]
    targets: Any
    """Of each of four recordings."""
    mean: bool = True
    """Whether the loss of a batch is the mean of its recordings' (else it is the mean frame's)."""

    def together(self, which: list[int]) -> Any:
        rows = [self.targets[i] for i in which]
        if isinstance(rows[0], torch.Tensor) and rows[0].ndim == 2:  # speakers a frame
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
        if isinstance(rows[0], torch.Tensor):
            return rows
        return torch.tensor(rows)


SYMBOLS = [torch.tensor(s) for s in ([1, 2, 2], [3], [4, 1, 4, 1], [2, 3])]
TALK = [(torch.arange(n * 2).view(n, 2) % 3 > k % 2).float() for k, n in enumerate(LENGTHS)]
CASES = {
    "utterance": _Case(lambda **k: UtteranceHead(WIDTH, (3, 2), hidden=5, **k),
                       [[0, 1], [2, 0], [1, 1], [0, 0]]),
    "frame": _Case(lambda **k: FrameHead(WIDTH, 5, hidden=7, **k), SYMBOLS),
    "rnn": _Case(lambda **k: RecurrentHead(WIDTH, 5, hidden=4, **k), SYMBOLS),
    "x-vector": _Case(lambda **k: XVectorHead(WIDTH, 3, hidden=8, pooled=10, **k), [0, 2, 1, 1]),
    "diarization": _Case(lambda **k: DiarizationHead(WIDTH, hidden=5, **k), TALK, mean=False),
}  # fmt: skip


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> _Case:
    return CASES[request.param]


def _features(dtype: torch.dtype, padding: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(4, max(LENGTHS) + 2, WIDTH, generator=generator, dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        z[row, length:] = padding
    return z.to(dtype)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_a_batch_gives_what_its_recordings_give_one_at_a_time(
    case: _Case, dtype: torch.dtype, close: float
) -> None:
    head = case.build().to(dtype).eval()
    z, lengths = _features(dtype, padding=50.0), torch.tensor(LENGTHS)
    outputs = head(z, lengths)
    loss = head.loss(outputs, lengths, _padded(case.together([0, 1, 2, 3]), z.shape[1]))
    alone = []
    for row, length in enumerate(LENGTHS):
        one = torch.tensor([length])
        found = head(z[row : row + 1, :length], one)
        batched = outputs[row : row + 1]
        batched = batched[:, :length] if batched.ndim == 3 else batched
        torch.testing.assert_close(batched, found, rtol=close, atol=close)
        part = head.loss(found, one, case.together([row]))
        alone.append(part if case.mean else part * length)
    wanted = sum(alone) / (len(LENGTHS) if case.mean else sum(LENGTHS))
    torch.testing.assert_close(loss, wanted, rtol=close, atol=close)


def test_not_even_a_nan_of_the_padding_reaches_a_gradient(case: _Case) -> None:
    lengths, targets = torch.tensor(LENGTHS), case.together([0, 1, 2, 3])
    gradients = []
    for padding in (0.0, float("nan")):
        head = case.build().double().eval()
        z = _features(torch.float64, padding).requires_grad_()
        loss = head.loss(head(z, lengths), lengths, _padded(targets, z.shape[1]))
        gradients.append(torch.autograd.grad(loss, [*head.parameters(), z]))
    for clean, other in zip(*gradients, strict=True):
        assert bool(torch.isfinite(other).all())
        torch.testing.assert_close(clean, other, rtol=0, atol=0)
    for row, length in enumerate(LENGTHS):
        assert bool((gradients[1][-1][row, length:] == 0).all())


def _padded(targets: Any, frames: int) -> Any:
    if isinstance(targets, torch.Tensor) and targets.ndim == 3:
        return torch.nn.functional.pad(targets, (0, 0, 0, frames - targets.shape[1]))
    return targets


def test_gradients_are_those_of_differences(case: _Case) -> None:
    head = case.build().double().eval()
    lengths = torch.tensor(LENGTHS[:2])
    targets = case.together([0, 1])
    z = _features(torch.float64)[:2, : max(LENGTHS)].requires_grad_()
    names = [name for name, _ in head.named_parameters()]

    def loss(z: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(
            head, dict(zip(names, weights, strict=True)), (z, lengths)
        )
        return head.loss(found, lengths, targets)

    if isinstance(head, XVectorHead):  # its last weights are read in the loss, not in the forward
        assert torch.autograd.gradcheck(lambda z: loss(z, *head.parameters()), (z,), fast_mode=True)
    else:
        assert torch.autograd.gradcheck(loss, (z, *head.parameters()), fast_mode=True)
    assert torch.autograd.grad(loss(z, *head.parameters()), z)[0].abs().max() > 1e-5


def test_weights_come_from_the_seed_and_torch_s_own_state_stays(case: _Case) -> None:
    before = torch.get_rng_state()
    first, again, other = case.build(seed=1), case.build(seed=1), case.build(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    for one, two, three in zip(
        first.parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)


def test_shapes_that_do_not_fit_are_refused(case: _Case) -> None:
    head = case.build()
    with pytest.raises(ShapeError, match=r"\[B, T, 6\]"):
        head(torch.zeros(2, 20, 5), torch.tensor([20, 20]))
    with pytest.raises(ShapeError, match=r"lengths \[B\]"):
        head(torch.zeros(2, 20, 6), torch.tensor([20]))
    with pytest.raises(ShapeError, match="larger than there are frames"):
        head(torch.zeros(2, 20, 6), torch.tensor([20, 21]))
    short = head.min_frames - 1
    with pytest.raises(UsageError, match=f"{short} frames, 1 recordings of 2"):
        head(torch.zeros(2, 20, 6), torch.tensor([20, short]))
    enough = head(torch.randn(2, 20, 6), torch.tensor([20, head.min_frames]))
    assert bool(torch.isfinite(enough).all())


def test_only_the_utterance_head_can_be_trained_on_means() -> None:
    heads = {name: case.build() for name, case in CASES.items()}
    assert [name for name, head in heads.items() if head.linear_in_means] == ["utterance"]
    assert {name: head.min_frames for name, head in heads.items() if head.min_frames > 1} == {
        "x-vector": 16
    }


def test_targets_that_do_not_fit_are_refused() -> None:
    lengths = torch.tensor([4, 4])
    head = UtteranceHead(3, (2, 2))
    with pytest.raises(ShapeError, match=r"\[2, 2\]"):
        head.loss(torch.zeros(2, 4), lengths, torch.zeros(2, dtype=torch.int64))
    frame = FrameHead(3, 5)
    with pytest.raises(UsageError, match="from 1 to 4"):
        frame.loss(torch.zeros(2, 4, 5), lengths, [torch.tensor([1]), torch.tensor([0])])
    with pytest.raises(UsageError, match="from 1 to 4"):
        frame.loss(torch.zeros(2, 4, 5), lengths, [torch.tensor([1]), torch.tensor([5])])
    with pytest.raises(ShapeError, match="one list"):
        frame.loss(torch.zeros(2, 4, 5), lengths, [torch.tensor([1])])
    with pytest.raises(ShapeError, match="match_frames"):
        DiarizationHead(3).loss(torch.zeros(2, 4, 2), lengths, torch.zeros(2, 5, 2))
    with pytest.raises(UsageError, match="1 to 4"):
        DiarizationHead(3, speakers=5)


def test_dropout_has_its_own_numbers_a_step() -> None:
    z, lengths = _features(torch.float32), torch.tensor(LENGTHS)
    head = RecurrentHead(WIDTH, 5, hidden=16, seed=4).train()
    before = torch.get_rng_state()

    def at(step: int) -> torch.Tensor:
        head.at_step(step)
        made: torch.Tensor = head(z, lengths).detach()
        return made

    first, second = at(0), at(1)
    assert not torch.equal(first, second)
    assert torch.equal(at(0), first)
    torch.rand(3)
    assert torch.equal(at(1), second)
    before_again = torch.get_rng_state()
    at(2)
    assert torch.equal(before_again, torch.get_rng_state())
    assert not torch.equal(before, before_again)  # the draw of three above
    head.eval()
    assert torch.equal(at(0), at(1))


def test_frames_are_matched_to_labels_as_published() -> None:
    frames = torch.arange(4.0)[:, None]
    assert match_frames(frames, 3)[:, 0].tolist() == [0, 1, 2]
    assert match_frames(frames, 5)[:, 0].tolist() == [0, 1, 2, 3, 3]
    assert match_frames(frames, 9)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert match_frames(frames, 7)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3]
    with pytest.raises(ShapeError, match="no frames"):
        match_frames(frames[:0], 2)


PUBLISHED: dict[str, Callable[[], Head]] = {
    "utterance": lambda: UtteranceHead(768, (3, 2)),
    "frame": lambda: FrameHead(768, 74),
    "rnn": lambda: RecurrentHead(768, 32),
    "x-vector": lambda: XVectorHead(768, 1211),
    "diarization": lambda: DiarizationHead(768),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_step_at_published_size_lowers_the_loss_of_its_batch(name: str) -> None:
    head = PUBLISHED[name]()
    generator = torch.Generator().manual_seed(0)
    z, lengths = torch.randn(4, 23, 768, generator=generator), torch.tensor(LENGTHS)
    targets = CASES[name].together([0, 1, 2, 3])
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-4)
    losses = []
    for _ in range(2):
        head.at_step(0)
        loss = head.loss(head(z, lengths), lengths, targets)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in head.parameters())
        optimiser.step()
    assert losses[1] < losses[0]
