"""CTC with its gradient written out: torch's loss and gradients, and paths counted one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from voxstrata.numerics import ctc as module
from voxstrata.numerics.ctc import ctc


def torchs(
    logits: torch.Tensor, lengths: torch.Tensor, symbols: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    rows = [row[:n] for row, n in zip(symbols, counts.tolist(), strict=True)]
    return torch.nn.functional.ctc_loss(
        logits.log_softmax(2), torch.cat(rows), lengths, counts,
        reduction="none", zero_infinity=True,
    )  # fmt: skip


def both(
    logits: torch.Tensor, lengths: torch.Tensor, symbols: torch.Tensor, counts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses and gradients of a weighted sum of rows, ours and torch's."""
    g = torch.Generator().manual_seed(1)
    weights = torch.rand(len(counts), generator=g, dtype=logits.dtype)
    found = []
    for loss in (ctc, torchs):
        x = logits.detach().clone().requires_grad_()
        each = loss(x, lengths, symbols, counts)
        found += [each.detach(), torch.autograd.grad((each * weights).sum(), x)[0]]
    return found[0], found[2], found[1], found[3]


@pytest.mark.parametrize(
    ("dtype", "loss", "gradient"), [(torch.float64, 1e-14, 1e-12), (torch.float32, 1e-6, 1e-3)]
)
def test_it_is_torchs_loss_and_gradient(dtype: torch.dtype, loss: float, gradient: float) -> None:
    """Random rows: too short, repeated symbols, no symbols, no frames, sharp and flat logits."""
    g = torch.Generator().manual_seed(0)
    kinds = set()
    for _ in range(120):
        frames, rows, classes, size = (
            int(torch.randint(low, high, (1,), generator=g))
            for low, high in ((1, 45), (1, 9), (2, 7), (0, 10))
        )
        scale = 10 ** float(2.5 * torch.rand(1, generator=g) - 1)
        logits = scale * torch.randn(frames, rows, classes, generator=g, dtype=dtype)
        lengths = torch.randint(0, frames + 1, (rows,), generator=g)
        counts = torch.randint(0, size + 1, (rows,), generator=g)
        symbols = torch.randint(1, classes, (rows, size), generator=g)
        ours, its, slope, other = both(logits, lengths, symbols, counts)
        torch.testing.assert_close(ours, its, rtol=loss, atol=loss)
        torch.testing.assert_close(slope, other, rtol=0, atol=gradient)
        assert not slope.masked_fill(
            torch.arange(frames)[:, None, None] < lengths[:, None], 0
        ).any()
        kinds |= {"none" if float(x) == 0 else "some" for x in ours}
    assert kinds == {"none", "some"}


def test_paths_counted_one_by_one() -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 1, 3, generator=g, dtype=torch.float64)
    chances = logits[:, 0].softmax(1).numpy()
    for target in ([1], [2, 1], [1, 1], [1, 2, 2], []):
        total = 0.0
        for path in itertools.product(range(3), repeat=5):
            merged = [s for s, _ in itertools.groupby(path)]
            if [s for s in merged if s] == target:
                total += float(np.prod([chances[t, s] for t, s in enumerate(path)]))
        found = ctc(
            logits, torch.tensor([5]), torch.tensor([target], dtype=torch.int64),
            torch.tensor([len(target)]),
        )  # fmt: skip
        assert float(found) == pytest.approx(-math.log(total), rel=1e-13)


def test_thousands_of_nats_a_frame() -> None:
    """Chances far below what a float holds, over many frames: no row is lost."""
    g = torch.Generator().manual_seed(0)
    logits = 3000 * torch.randn(90, 4, 5, generator=g, dtype=torch.float64)
    symbols = torch.randint(1, 5, (4, 20), generator=g)
    lengths, counts = torch.tensor([90, 80, 70, 60]), torch.tensor([20, 18, 16, 14])
    ours, its, slope, other = both(logits, lengths, symbols, counts)
    assert float(ours.min()) > 1e4
    torch.testing.assert_close(ours, its, rtol=1e-13, atol=0)
    torch.testing.assert_close(slope, other, rtol=0, atol=1e-9)


def test_a_logit_that_is_no_number_spoils_its_row_alone() -> None:
    logits = torch.zeros(6, 2, 3)
    logits[2, 1, 0] = torch.nan
    logits.requires_grad_()
    each = ctc(logits, torch.tensor([6, 6]), torch.tensor([[1, 2], [1, 2]]), torch.tensor([2, 2]))
    assert each.isnan().tolist() == [False, True]
    slope = torch.autograd.grad(each.sum(), logits)[0]
    assert slope[:, 0].isfinite().all()
    assert not slope[:, 1].isfinite().all()


def test_the_recursions_run_as_torchscript_and_give_the_same_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 6, 5, generator=g)
    rows = torch.full((6,), 40), torch.randint(1, 5, (6, 9), generator=g), torch.full((6,), 9)
    compiled = both(logits, *rows)
    assert isinstance(module._without_lock(module._ahead), torch.jit.ScriptFunction)
    monkeypatch.setattr(module, "_without_lock", lambda function: function)
    for one, other in zip(compiled, both(logits, *rows), strict=True):
        assert torch.equal(one, other)
