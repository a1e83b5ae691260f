"""Recurrent heads: they learn, are the same again, and padding changes nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from planted_symbols import made, rate
from voxstrata.probing.heads.rnn import RecurrentHead
from voxstrata.probing.heads.specaug import FeatureMasks
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.recurrent import Recogniser, train_recogniser
from voxstrata.probing.sequences.train import Written, spoken

MASKS = FeatureMasks(warp=1, feature_masks=1, widest_feature=1, time_masks=1, widest_time=2)
PLAN = Plan(steps=90, batch=5, hidden=12, every=30)


def trained(reads: tuple[int, ...], seed: int = 0, steps: int = 90) -> Written:
    features, division = made(dtype=torch.float32)
    plan = Plan(steps=steps, batch=5, hidden=12, every=30)
    return train_recogniser(
        features, division, 7, Probe(reads, 0.02, seed), plan, MASKS, rate, stops=True
    )


def test_it_learns_what_is_planted() -> None:
    features, division = made(dtype=torch.float32)
    one = trained((2,))
    test = spoken(features, (2,), division, "test", PLAN)
    assert rate(test.symbols, one.test) < 0.5
    assert one.dev[-1] < one.dev[0]
    assert one.step == 30 * (1 + int(np.argmin(one.dev)))
    assert not one.diverged


def test_the_same_again_and_weights_move() -> None:
    one, two, other = trained((0, 1, 2), steps=30), trained((0, 1, 2), steps=30), trained(
        (0, 1, 2), seed=1, steps=30
    )  # fmt: skip
    assert one.dev == two.dev
    np.testing.assert_array_equal(one.weights, two.weights)
    assert not np.array_equal(one.weights, other.weights)
    assert abs(one.weights.sum() - 1) < 1e-6
    assert one.weights[0] == one.weights.min()  # layer 0 is noise alone


def test_a_batch_says_what_its_recordings_say_alone() -> None:
    features, division = made()
    held = spoken(features, (1, 2), division, "test", PLAN)
    model = Recogniser(features, Probe((1, 2), 0.1, 0), 7, PLAN, MASKS).double().eval()
    with torch.no_grad():
        rows, lengths = features.batch((1, 2), held.ids)
        together = model(rows, lengths)
        for i, name in enumerate(held.ids):
            alone, own = features.batch((1, 2), [name])
            torch.testing.assert_close(
                model(alone, own)[0], together[i, : lengths[i]], rtol=0, atol=1e-12
            )


def test_directions_turned_round_are_packed_sequences() -> None:
    head = RecurrentHead(5, 4, hidden=6, dropout=0.0, seed=1).double()
    g = torch.Generator().manual_seed(0)
    z = torch.randn(3, 9, 5, generator=g, dtype=torch.float64)
    lengths = torch.tensor([4, 9, 1])

    def packed(z: torch.Tensor) -> torch.Tensor:
        x = head.project(z)
        for layer in head.recurrent:
            rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            x, _ = pad_packed_sequence(layer(rows)[0], batch_first=True)
        found: torch.Tensor = head.classify(x)
        return found

    wanted, found = packed(z), head(z, lengths)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    own = torch.arange(9) < lengths[:, None]
    weigh = torch.randn(3, 9, 4, generator=g, dtype=torch.float64) * own[..., None]
    parameters = list(head.parameters())
    ours = torch.autograd.grad((found * weigh).sum(), parameters)
    its = torch.autograd.grad((wanted * weigh).sum(), parameters)
    for one, other in zip(ours, its, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
