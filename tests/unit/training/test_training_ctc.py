"""The phone loss: targets of a crop, CTC by hand, error rate, learning, two processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import training_contrast as tc
from training_made import settings
from voxstrata.corpora import load_corpus
from voxstrata.errors import CorpusError
from voxstrata.frontend import front_end
from voxstrata.training.data.crops import CropExamples, Place, crops
from voxstrata.training.data.items import Item, Items
from voxstrata.training.objective import Batch
from voxstrata.training.objectives import simclr, supervised
from voxstrata.training.objectives.ctc import (
    PhoneExamples,
    PhoneLoss,
    PhoneOptions,
    check_phones,
    edit_distances,
    greedy,
    inventory,
)
from voxstrata.training.objectives.simclr import Simclr, SimclrOptions
from voxstrata.types import SAMPLE_RATE, Segment, Utterance

NAMES = ("AA", "B", "K", "S")


def _tier(*parts: tuple[float, float, str]) -> dict[str, Any]:
    return {"phones": tuple(Segment(*part) for part in parts)}


def _item(seconds: float, tiers: dict[str, Any], speed: float = 1.0) -> Item:
    rng = np.random.default_rng(0)
    wave = (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
    return Item(0, Utterance("u", seconds, tiers, lambda: wave), -1, speed)


def _examples(seconds: float, count: int = 1, place: Place = "anywhere", **options: Any) -> Any:
    made = CropExamples(crops("crops", seconds, count), front_end("wespeaker"), place=place)
    return PhoneExamples(made, "crops", NAMES, PhoneOptions(**options))


def _spoken(made: dict[str, Any]) -> list[list[str]]:
    return [
        [NAMES[n - 1] for n in row[:count]]
        for row, count in zip(made["phones"], made["phone_count"], strict=True)
    ]


WORD = _tier(
    (0.0, 0.1, "SIL"), (0.1, 0.3, "B"), (0.3, 0.5, "AA1"), (0.5, 0.6, "K"), (0.6, 0.8, "S"),
    (0.8, 1.0, ""),
)  # fmt: skip


def test_a_crop_of_everything_holds_the_phones_in_order_without_silence_and_stress() -> None:
    made = _examples(1.0).make(_item(1.0, WORD), np.random.default_rng(0))
    assert _spoken(made) == [["B", "AA", "K", "S"]]
    assert "crops.start" not in made


@pytest.mark.parametrize("inside", [0.1, 0.5, 1.0])
def test_the_phones_of_a_crop_are_those_that_lie_in_it(inside: float) -> None:
    """Against the overlap in samples, for many crops whose place is known from their starts."""
    examples = _examples(0.4, 2, inside=inside)
    item = _item(1.0, WORD)
    plain = CropExamples(examples.crops.wanted, examples.front, starts=True)
    seen = set()
    for seed in range(40):
        made = examples.make(item, np.random.default_rng(seed))
        same = plain.make(item, np.random.default_rng(seed))
        np.testing.assert_array_equal(made["crops"], same["crops"])
        for row, start in zip(_spoken(made), same["crops.start"], strict=True):
            expected = []
            for s in item.utterance.segments("phones")[1:-1]:
                whole = np.zeros(SAMPLE_RATE, dtype=bool)
                whole[round(s.start_s * SAMPLE_RATE) : round(s.end_s * SAMPLE_RATE)] = True
                if whole[start : start + 6400].sum() >= inside * whole.sum():
                    expected.append(s.label.rstrip("1"))
            assert row == expected
            seen.add(tuple(row))
    assert len(seen) > 3


def test_starts_are_where_crops_were_cut() -> None:
    class Samples:
        width = 10
        minimum = 1

        def __call__(self, wave: torch.Tensor) -> torch.Tensor:
            return wave.reshape(1, -1, 10)

    ramp = np.arange(1, 2 * SAMPLE_RATE + 1, dtype=np.float32)
    item = Item(0, Utterance("u", 2.0, {}, lambda: ramp), -1)
    for place in ("anywhere", "apart", "adjacent"):
        examples = CropExamples(
            (*crops("x", 0.5, 2), *crops("y", 0.25, 1, first=2)),
            Samples(),  # type: ignore[arg-type]
            place=place,  # type: ignore[arg-type]
            dither=0,
            starts=True,
        )
        made = examples.make(item, np.random.default_rng(3))
        for key in ("x", "y"):
            np.testing.assert_array_equal(made[key][:, 0, 0] - 1, made[f"{key}.start"])


def test_a_short_recording_goes_round_and_so_do_its_phones() -> None:
    made = _examples(2.5).make(_item(1.0, WORD), np.random.default_rng(0))
    word = ["B", "AA", "K", "S"]
    assert _spoken(made) == [[*word, *word, "B", "AA"]]


def test_phones_of_slower_speech_are_longer() -> None:
    examples = _examples(0.8, inside=1.0)
    assert _spoken(examples.make(_item(1.0, WORD), np.random.default_rng(7)))[0].count("B") <= 1
    slow = _item(1.0, WORD, speed=0.5)
    found = [_spoken(examples.make(slow, np.random.default_rng(s)))[0] for s in range(60)]
    # From 0.2 s on: B AA last 0.8 s; K S 0.6 s, silence 0.4 s. Never three of them in 0.8 s.
    assert {tuple(f) for f in found} <= {
        (), ("B",), ("B", "AA"), ("AA",), ("AA", "K"), ("K", "S"), ("S",), ("K",),
    }  # fmt: skip
    assert max(len(f) for f in found) == 2


def test_recordings_without_the_tier_are_marked_and_lists_are_padded() -> None:
    examples = _examples(1.0, 2)
    rng = np.random.default_rng(0)
    made = [
        examples.make(_item(1.0, WORD), rng),
        examples.make(_item(1.0, {}), rng),
        examples.make(_item(1.0, _tier((0.2, 0.4, "K"))), rng),
        examples.make(_item(1.0, _tier((0.2, 0.4, "SIL"))), rng),
    ]
    batch = examples.collate(made)
    assert batch["crops"].shape[0] == 8
    assert batch["phones"].shape == (8, 4)
    assert batch["phone_count"].tolist() == [4, -1, 1, 0] * 2
    assert batch["phones"][2].tolist() == [3, 0, 0, 0]
    assert batch["phones"].dtype == torch.int64


def _ctc_by_hand(logits: np.ndarray, wanted: Sequence[int]) -> float:
    """Minus the logarithm of the sum over all paths that read as ``wanted``."""
    scores = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    total = 0.0
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        if [p for p, _ in groupby(path) if p] == list(wanted):
            total += math.exp(sum(scores[t, p] for t, p in enumerate(path)))
    return -math.log(total) if total else 0.0  # more phones than fit count for nothing


def test_the_loss_is_the_sum_over_all_paths_by_phone() -> None:
    torch.manual_seed(0)
    loss = PhoneLoss(3, ("A", "B"), PhoneOptions(weight=0.5)).double()
    frames = torch.randn(5, 6, 3, dtype=torch.float64)
    phones = torch.tensor([[1, 2, 0, 0], [2, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    counts = torch.tensor([2, 3, 0, -1, 4])  # the fourth has no tier, the last does not fit
    logits = loss.head(frames).detach().numpy()
    wanted = [p[:c].tolist() for p, c in zip(phones, counts, strict=True) if c >= 0]
    by_hand = [_ctc_by_hand(logits[i], w) for i, w in zip((0, 1, 2, 4), wanted, strict=True)]
    assert by_hand[-1] == 0
    value, logs = loss(frames, {"phones": phones, "phone_count": counts})
    assert value.item() == pytest.approx(0.5 * sum(by_hand) / 9, rel=1e-12)
    assert float(logs["phone_loss"]) == pytest.approx(sum(by_hand) / 9)
    best = [[p for p, _ in groupby(row.argmax(1)) if p] for row in logits[[0, 1, 2, 4]]]
    wrong = sum(_distance(tuple(w), tuple(b)) for w, b in zip(wanted, best, strict=True))
    assert float(logs["phone_error_rate"]) == pytest.approx(wrong / 9)


def test_without_a_phone_there_is_no_loss_and_nothing_breaks() -> None:
    loss = PhoneLoss(3, ("A", "B"), PhoneOptions())
    frames = torch.randn(2, 6, 3, requires_grad=True)
    nothing = {
        "phones": torch.zeros(2, 1, dtype=torch.int64),
        "phone_count": torch.tensor([-1, -1]),
    }
    value, logs = loss(frames, nothing)
    value.backward()
    assert value.item() == 0
    assert frames.grad is not None
    assert not frames.grad.any()
    assert float(logs["phone_error_rate"]) == 0


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """By recursion on the definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        _distance(one[1:], other) + 1,
        _distance(one, other[1:]) + 1,
        _distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_edit_distances_are_the_definition_s() -> None:
    rng = np.random.default_rng(0)
    rows = [
        tuple(tuple(rng.integers(1, 4, rng.integers(0, 6)).tolist()) for _ in range(2))
        for _ in range(60)
    ]

    def padded(which: int, width: int) -> np.ndarray:
        return np.array([[*pair[which], *[0] * (width - len(pair[which]))] for pair in rows])

    found = edit_distances(padded(0, 6), padded(1, 9))
    assert found.tolist() == [_distance(*pair) for pair in rows]
    assert len(set(found.tolist())) > 4


def test_the_best_path_merges_repeats_and_drops_blanks() -> None:
    paths = [[0, 1, 1, 0, 1, 2], [0] * 6, [3, 3, 2, 2, 0, 0], [1, 2, 3, 1, 2, 3]]
    scores = nn.functional.one_hot(torch.tensor(paths), 4).float()
    wanted = [[1, 1, 2, 0, 0, 0], [0] * 6, [3, 2, 0, 0, 0, 0], [1, 2, 3, 1, 2, 3]]
    assert greedy(scores).tolist() == wanted
    assert greedy(scores[1:2]).tolist() == [[0]]


class _Spoken:
    """Batches of planted phones: each crop is five of them, six frames each, in noise."""

    def __init__(self, seed: int) -> None:
        self.spectra = 2 * np.random.default_rng(seed).standard_normal((len(NAMES), tc.FEATURES))

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        steps = rng.integers(1, len(NAMES), (2 * count, 5))  # so no phone comes twice in a row
        said = steps.cumsum(1) % len(NAMES)
        frames = self.spectra[np.repeat(said, 6, axis=1)]
        frames = frames + rng.standard_normal(frames.shape)
        return {
            "crops": torch.from_numpy(frames.astype(np.float32)),
            "phones": torch.from_numpy(said + 1),
            "phone_count": torch.full((2 * count,), 5),
            "item": torch.arange(count),
            "label": torch.zeros(count, dtype=torch.int64),
        }


def test_it_learns_phones_beside_speakers_in_the_layer_it_stands_on() -> None:
    network = tc.encoder()
    torch.manual_seed(1)
    phones = PhoneLoss(16, NAMES, PhoneOptions(layer="block1", weight=5.0))
    objective = Simclr(network, 16, SimclrOptions(), None, phones)
    spoken, rng = _Spoken(0), np.random.default_rng(0)
    logs = tc.train(objective, lambda step: spoken.batch(8, rng), 45, lr=2e-2)
    assert logs[0]["phone_error_rate"] > 0.6
    assert np.mean([one["phone_error_rate"] for one in logs[-5:]]) < 0.1
    assert logs[-1]["phone_loss"] < 0.3
    assert logs[0]["loss"] > 5 * logs[0]["phone_loss"] + 1  # the speaker loss is there too


@pytest.mark.parametrize(("layer", "width"), [("conv", 16), ("block2", 16), ("mfa", 48)])
def test_its_gradient_reaches_the_layers_below_and_no_other(layer: str, width: int) -> None:
    context = tc.context(_spoken_items())
    options = SimclrOptions.model_validate({"phones": {"layer": layer}})
    objective = simclr.KIND.build(options, context)
    assert objective.phones is not None
    assert objective.phones.head.in_features == width
    batch = _Spoken(0).batch(4, np.random.default_rng(0))
    found = objective.encoder.stack(batch["crops"])  # type: ignore[operator]
    value, _ = objective.phones(found[layer], batch)
    value.backward()
    reached = {
        name.split(".")[0] + (name.split(".")[1] if name.startswith("blocks") else "")
        for name, p in objective.encoder.named_parameters()
        if p.grad is not None and p.grad.any()
    }
    below = {
        "conv": {"stem"},
        "block2": {"stem", "blocks0", "blocks1"},
        "mfa": {"stem", "blocks0", "blocks1", "blocks2", "mfa", "mfa_bn"},
    }[layer]
    assert reached - {"mfa_bn"} == below - {"mfa_bn"}


def _spoken_items(count: int = 3, **options: Any) -> Items:
    tiers = tuple({**WORD, "speaker": f"s{i}"} for i in range(count))
    found = tc.ItemCorpus(*[3.0] * count, tiers=tiers)
    found.speakers = tuple(f"s{i}" for i in range(count))
    return Items(found, **options)  # type: ignore[arg-type]


def test_the_same_option_serves_supervised_training() -> None:
    options = supervised.SupervisedOptions.model_validate({"phones": {"weight": 0.3}})
    context = tc.context(_spoken_items())
    supervised.KIND.check(options, context.config, context.items)
    assert isinstance(supervised.KIND.examples(options, context), PhoneExamples)
    objective = supervised.KIND.build(options, context).eval()
    batch = _Spoken(0).batch(3, np.random.default_rng(0))
    batch["label"] = torch.tensor([0, 1, 2] * 2)
    both = objective(batch)
    kept, objective.phones = objective.phones, None
    alone = objective(batch)
    assert both.value.item() == pytest.approx(
        alone.value.item() + 0.3 * float(both.logs["phone_loss"]), rel=1e-6
    )
    assert kept is not None
    assert float(both.logs["phone_error_rate"]) >= 0
    assert "phone_loss" not in alone.logs


def joint() -> tuple[Simclr, list[Batch], float]:
    """Two steps; one process has more phones and more recordings with a tier than the other."""
    spoken, rng = _Spoken(0), np.random.default_rng(0)
    batches = [spoken.batch(4, rng) for _ in range(2)]
    for batch in batches:
        batch["phone_count"] = torch.tensor([5, 3, -1, 5, 5, 0, -1, 2])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = _StillFrames()
        phones = PhoneLoss(9, NAMES, PhoneOptions(layer="conv", weight=0.7))
        return Simclr(network, 6, SimclrOptions(), None, phones), batches, 0.2


class _StillFrames(nn.Module):
    """An encoder without BatchNorm with one frame layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(tc.FEATURES, 9), nn.Linear(9, 6)

    def stack(self, features: torch.Tensor, last: str) -> dict[str, torch.Tensor]:
        frames = torch.tanh(self.one(features))
        return {"conv": frames, last: self.two(frames.mean(1))}


def test_two_processes_equal_one_with_the_joint_batch() -> None:
    tc.assert_two_equal_one("test_training_ctc:joint")


def test_corpora_without_phones_are_refused() -> None:
    check_phones(PhoneOptions(), _spoken_items())
    with pytest.raises(CorpusError, match="finds no phones") as caught:
        check_phones(PhoneOptions(tier="phone"), _spoken_items())
    assert "phones, speaker" in str(caught.value)
    with pytest.raises(CorpusError, match="has no times"):
        check_phones(PhoneOptions(tier="speaker"), _spoken_items())
    options = SimclrOptions.model_validate({"phones": {}})
    with pytest.raises(CorpusError, match="finds no phones"):
        simclr.KIND.check(options, settings(), tc.items(3.0, 3.0))


def test_on_real_speech_the_phones_of_crops_stand_in_their_tier(shared: Path) -> None:
    corpus = load_corpus(str(shared / "data" / "librispeech_train_clean_100"))
    found = Items(corpus)
    names = inventory(found, "phones")
    assert 38 <= len(names) <= 39
    assert "SIL" not in names
    context = tc.context(found)
    options = SimclrOptions.model_validate({"phones": {}, "crop_s": 2.0})
    examples = simclr.KIND.examples(options, context)
    made = [examples.make(found[i], np.random.default_rng(i)) for i in range(4)]
    batch = examples.collate(made)
    for row, count, i in zip(batch["phones"], batch["phone_count"], [0, 1, 2, 3] * 2, strict=True):
        tier = [s.label for s in found[i].utterance.segments("phones") if s.label in names]
        said = [names[n - 1] for n in row[: int(count)].tolist()]
        assert 5 <= len(said) <= 45
        text, part = " ".join(tier), " ".join(said)
        assert f" {part} " in f" {text} "
