"""Frame heads side by side on shared batches: each is what a plain loop gives it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from planted_symbols import COARSE, FINE, Memory, made, rate
from voxstrata.errors import NumericsError, StorageError, UsageError
from voxstrata.probing.cells import Ran
from voxstrata.probing.frames import FrameFeatures, check_finite
from voxstrata.probing.heads.ctc import best_paths, ctc_loss
from voxstrata.probing.kinds.kept import keep, read
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.heads import Bundle, FrameHeads
from voxstrata.probing.sequences.rows import Rows
from voxstrata.probing.sequences.train import (
    Symbols,
    by_length,
    dealt_symbols,
    decoded,
    ended,
    long_enough,
    spoken,
    train_frame_heads,
)
from voxstrata.probing.task import Round
from voxstrata.types import LayerInfo


class Plain(nn.Module):
    """The published head as one would write it."""

    def __init__(self, start: FrameHeads, k: int) -> None:
        super().__init__()
        self.own = nn.ParameterList(nn.Parameter(p[k].detach().clone()) for p in start.parameters)
        self.mapped = start.mapped

    def forward(self, layers: list[torch.Tensor]) -> torch.Tensor:
        p = list(self.own)
        if self.mapped:
            layers = [x @ p[5 + 2 * i] + p[6 + 2 * i] for i, x in enumerate(layers)]
        z = layers[0]
        if len(p) > 4:
            z = torch.tensordot(p[4].softmax(0), torch.stack(layers), dims=1)
        return (z @ p[0] + p[1]) @ p[2] + p[3]


def alone(
    features: FrameFeatures, division: Round, probe: Probe, plan: Plan, classes: int
) -> tuple[list[float], Symbols, np.ndarray]:
    """One probe with autograd, torch.optim.Adam and clip_grad_norm_."""
    parts = {p: spoken(features, probe.layers, division, p, plan) for p in division.parts}
    train = parts["train"].taken(long_enough(parts["train"], plan))
    if probe.control:
        train, parts["dev"] = (dealt_symbols(x, probe.seed) for x in (train, parts["dev"]))
    widths = [features.widths[i] for i in probe.layers]
    model = Plain(FrameHeads([probe], widths, classes, plan, torch.float64), 0)
    optimiser = torch.optim.Adam(model.parameters(), lr=probe.lr)

    def say(part: str) -> Symbols:
        said = []
        for name in parts[part].ids:
            rows, lengths = features.batch(probe.layers, [name], plan.stride)
            with torch.no_grad():
                said += decoded(best_paths(model([x.double() for x in rows]), lengths), True)
        return said

    batches = by_length(train.lengths, plan.batch, probe.seed)
    seen: list[float] = []
    test, weights = [], np.ones(1)
    for step in range(1, plan.steps + 1):
        at = next(batches)
        rows, lengths = features.batch(probe.layers, [train.ids[i] for i in at], plan.stride)
        loss = ctc_loss(model([x.double() for x in rows]), lengths,
                        [ended(train.symbols[i], plan) for i in at])  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimiser.step()
        if step % plan.every == 0 or step == plan.steps:
            value = rate(parts["dev"].symbols, say("dev"))
            if not seen or value < min(seen):
                test = say("test")
                if len(probe.layers) > 1:
                    weights = list(model.own)[4].detach().softmax(0).numpy()
            seen.append(value)
    return seen, test, weights


@pytest.mark.parametrize("widths", [(6, 6, 6), (4, 6, 6)])
@pytest.mark.parametrize("stride", [None, 320])
def test_side_by_side_is_what_each_gives_alone(widths: tuple[int, ...], stride: int | None) -> None:
    """Layers, sums (with and without maps), rates and controls in one bundle."""
    features, division = made(widths)
    plan = Plan(steps=25, batch=4, hidden=5, clip=0.5, every=5, stride=stride)
    probes = [
        Probe((2,), 0.1, 3), Probe((0, 1, 2), 0.1, 3), Probe((2,), 0.02, 3), Probe((1, 2), 0.02, 3),
        Probe((0, 1, 2), 0.02, 3, control=True), Probe((0,), 0.1, 3, control=True),
    ]  # fmt: skip
    found = train_frame_heads(
        features, division, 7, probes, plan, rate, stops=True, dtype=torch.float64
    )
    for probe, one in zip(probes, found, strict=True):
        seen, test, weights = alone(features, division, probe, plan, 7)
        assert one.probe == probe
        np.testing.assert_allclose(one.dev, seen, atol=1e-12)
        assert [row.tolist() for row in one.test] == [row.tolist() for row in test]
        np.testing.assert_allclose(one.weights, weights, atol=1e-9)
        assert one.step == (1 + int(np.argmin(seen))) * 5


def test_heads_learn_what_is_planted_and_not_dealt_transcripts() -> None:
    features, division = made()
    plan = Plan(steps=150, batch=4, hidden=16, clip=1.0, every=25)
    true, dealt = (
        train_frame_heads(
            features, division, 7, [Probe((2,), 0.05, 0, control=control)], plan, rate, stops=True
        )[0]
        for control in (False, True)
    )
    test = spoken(features, (2,), division, "test", plan)
    assert rate(test.symbols, true.test) < 0.25
    assert rate(test.symbols, dealt.test) > 0.5


def test_a_step_is_the_mean_of_the_recordings_losses() -> None:
    """Recordings of several lengths, one too short for its symbols, against a plain head."""
    g = torch.Generator().manual_seed(0)
    frames = torch.randn(9, 4, 6, generator=g, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 7, 2])
    targets = [torch.tensor(t) for t in ([1, 2, 2], [3], [4, 1], [1, 2, 3])]  # last: too short
    frames = frames * (torch.arange(9)[:, None] < lengths)[..., None]
    table = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    counts = torch.tensor([[len(t)] for t in targets])
    bundle = Bundle([Probe((0,), 0.1, 0)], [6], 5, Plan(1, hidden=3, clip=0.5), torch.float64)
    heads = bundle.groups[0][1]
    plain = Plain(heads, 0)
    optimiser = torch.optim.Adam(plain.parameters(), lr=0.1)
    for _ in range(3):
        bundle.step({0: frames}, lengths, table[:, None], counts)
        optimiser.zero_grad()
        ctc_loss(plain([frames.transpose(0, 1)]), lengths, targets).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimiser.step()
    for one, other in zip(heads.parameters, plain.own, strict=True):
        torch.testing.assert_close(one[0], other, rtol=0, atol=1e-9)


def test_frames_kept_in_memory_are_those_read_again() -> None:
    features, division = made((4, 6, 6))
    ids = division.parts["train"].ids[:3]
    whole, lengths = features.batch((2, 0), ids, 320)
    for memory in (0, 700, 1 << 20):
        rows = Rows(features, 320, torch.float64, memory)
        for _ in range(2):
            found, own = rows.batch((2, 0), ids)
            assert own.tolist() == lengths.tolist()
            assert list(found) == [2, 0]
            for one, wanted in zip(found.values(), whole, strict=True):
                torch.testing.assert_close(one, wanted.transpose(0, 1)[: int(lengths.max())])


def test_batches_of_neighbours_in_length() -> None:
    lengths = np.arange(10, 110)
    batches = by_length(lengths, 8, 1)
    epoch: list[np.ndarray] = []
    while sum(map(len, epoch)) < 100:
        epoch.append(next(batches))
    assert sorted(np.concatenate(epoch).tolist()) == list(range(100))
    assert max(len(b) for b in epoch) == 8
    spread = [np.ptp(lengths[b]) / lengths[b].max() for b in epoch if len(b) == 8]
    assert max(spread) < 0.5
    again, other = by_length(lengths, 8, 1), by_length(lengths, 8, 2)
    np.testing.assert_array_equal(next(again), epoch[0])
    assert sorted(next(other).tolist()) != sorted(epoch[0].tolist())


def test_recordings_too_short_for_their_symbols_are_not_trained_on() -> None:
    features, division = made()
    plan = Plan(steps=1, batch=4, stride=1600)  # a frame every 100 ms: none has enough
    with pytest.raises(UsageError, match="as many frames"):
        train_frame_heads(features, division, 7, [Probe((0,), 0.1, 0)], plan, rate, stops=True)
    held = spoken(features, (0,), division, "train", Plan(steps=1))
    assert long_enough(held, Plan(steps=1)) == list(range(10))


def test_layers_of_two_grids_and_repeated_vectors() -> None:
    g = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(20, 3, generator=g), torch.randn(10, 2, generator=g)
    whole = torch.randn(2, 4, generator=g)
    one: Any = Memory({"a": [fine], "b": [fine[:12]]})
    two: Any = Memory({"a": [coarse], "b": [coarse[:6]]})
    infos = [
        LayerInfo("f", 3, "frame", FINE),
        LayerInfo("c", 2, "frame", COARSE),
        LayerInfo("u", 4, "utterance"),
    ]
    features = FrameFeatures(infos, [(one, 0), (two, 0), whole], {"a": 1, "b": 0})
    rows, lengths = features.batch((0,), ["b", "a"])
    assert lengths.tolist() == [12, 20] == features.lengths((0,), ["b", "a"]).tolist()
    torch.testing.assert_close(rows[0][0, :12], fine[:12])
    rows, lengths = features.batch((0, 1, 2), ["a", "b"])
    assert lengths.tolist() == features.lengths((0, 1, 2), ["a", "b"]).tolist()
    # A coarse frame is the mean of the two fine ones around its centre: [c - 160, c + 160).
    first = rows[1].shape[1] - 1
    at = int((coarse - rows[1][0, 0]).abs().sum(1).argmin())
    torch.testing.assert_close(rows[1][0, : first + 1], coarse[at : at + first + 1])
    torch.testing.assert_close(rows[0][0, 0], fine[2 * at - 1 : 2 * at + 1].mean(0))
    torch.testing.assert_close(rows[2][0, 3], whole[1])
    alone, own = features.batch((0, 1), ["b"])
    torch.testing.assert_close(alone[0][0, : own[0]], rows[0][1, : lengths[1]])


def test_frames_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NumericsError, match="layer 1"):
        check_finite(["0", "1"], [torch.zeros(2, 3), torch.tensor([[0.0, np.nan]])])


def test_kept_heads_are_read_as_they_were(tmp_path: Path) -> None:
    probes = [Probe((0, 1), 0.1, 0), Probe((1,), 0.1, 0)]
    made = [
        Ran(
            layer=name, round="r", probe=probe, dev=(0.5, 0.25), step=2, diverged=False, lower=True,
            weights=np.full(len(probe.layers), 0.5), scores={"wer": 0.5, "cer": 0.1},
            counts={m: (np.array([1.0, i]), np.array([2.0, 0])) for m in ("wer", "cer")},
        )
        for i, (name, probe) in enumerate(zip(("weighted-sum", "1"), probes, strict=True))
    ]  # fmt: skip
    path = tmp_path / "kept.npz"
    keep(path, made)
    for one, back in zip(made, read(path, probes), strict=True):
        assert (back.layer, back.best, back.gain, back.scores) == (
            one.layer,
            0.25,
            -0.25,
            one.scores,
        )
        np.testing.assert_array_equal(back.weights, one.weights)
        for measure in one.counts:
            np.testing.assert_array_equal(back.counts[measure], one.counts[measure])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StorageError, match="damaged"):
        read(path, probes)
