"""Patching: identities that must hold, planted effects, alignments against brute force."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.errors import LabelError, NumericsError, ShapeError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.model import EditedModel
from voxstrata.models.load import load_model
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.interventions.alignment import NONE, by_index, by_phones, by_warping
from voxstrata.neurons.interventions.patching import patch, patch_effect, recovered
from voxstrata.neurons.sets import neuron_set
from voxstrata.types import FrameGrid, Segment

MELHUBERT = "random:melhubert,width=32,layers=3,heads=4,ffn=40,conv_pos=8,conv_groups=4,clusters=9"
WHISPER = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 20,
    "max_source_positions": 50,
}
ECAPA = "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8,seed=1"
FIRST, THIRD = "block.1.ffn.inner", "block.3.ffn.inner"


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return load_model(MELHUBERT)


def test_neurons_take_the_values_of_the_other_recording(model: SpeechModel) -> None:
    corrupt, clean = noise(9000, 1), noise(7000, 2)
    neurons = neuron_set("s", model, {FIRST: (3, 8), "block.2.ffn.inner": ()})
    good, bad, third = patch(model, neurons, corrupt, clean, [FIRST, "1", "3"])
    frames = len(good[FIRST])
    assert torch.equal(third[FIRST][:frames, [3, 8]], good[FIRST][:, [3, 8]])
    assert torch.equal(third[FIRST][frames:], bad[FIRST][frames:])
    rest = [i for i in range(40) if i not in (3, 8)]
    assert torch.equal(third[FIRST][:, rest], bad[FIRST][:, rest])
    assert not torch.allclose(third["3"], bad["3"], atol=1e-4)
    with pytest.raises(ShapeError, match="does not fit"):
        patch(model, neurons, corrupt, clean, ["3"], np.full(3, 0))
    with pytest.raises(ShapeError, match="does not fit"):
        patch(model, neurons, corrupt, clean, ["3"], np.full(len(bad["3"]), frames))
    with pytest.raises(UsageError, match="is empty"):
        patch(model, neuron_set("none", model, {FIRST: ()}), corrupt, clean, ["3"])


def test_what_is_written_is_the_difference_times_the_value(model: SpeechModel) -> None:
    """ffn.out of the patched pass is the corrupt one plus sum (a_i' - a_i) v_i."""
    wide = model.to("cpu", "float64")
    neurons = neuron_set("s", wide, {FIRST: (3, 8, 11)})
    good, bad, third = patch(
        wide, neurons, noise(9000, 1), noise(9000, 2), [FIRST, "block.1.ffn.out"]
    )
    value = feed_forwards(wide)[0].down.weight[:, [3, 8, 11]]
    step = (good[FIRST] - bad[FIRST])[:, [3, 8, 11]] @ value.T
    expected = bad["block.1.ffn.out"] + step
    assert (third["block.1.ffn.out"] - expected).abs().max() < 1e-12


@pytest.mark.parametrize("name", [MELHUBERT, ECAPA])
def test_patching_all_neurons(name: str) -> None:
    """With all neurons of all layers from itself nothing changes; ECAPA-TDNN's aggregation taken
    whole from the other recording gives the other recording's embedding."""
    found = load_model(name)
    layers = {
        info.name: range(info.width)
        for info in found.layers
        if info.name.endswith(".inner") or info.name in ("conv", "block1", "block2", "mfa")
    }
    neurons = neuron_set("all", found, layers)
    top = [info.name for info in found.layers if info.default][-1]
    wave = noise(16000, 1)
    _, bad, third = patch(found, neurons, wave, wave, [top])
    assert torch.equal(bad[top], third[top])
    if name == ECAPA:
        last = neuron_set("mfa", found, {"mfa": range(48)})
        good, _, third = patch(found, last, wave, noise(16000, 2), ["embedding"])
        assert torch.equal(third["embedding"], good["embedding"])
        outcome = patch_effect(
            found, last, wave, noise(16000, 2), lambda o: float(o["embedding"][0, 0]), ["embedding"]
        )
        assert outcome.recovered == 1.0
        assert outcome.frames == 1.0


def test_windows_are_counted_through(tmp_path: Path) -> None:
    """This Whisper hears 1 s at a time, 16 windows in a batch: frames of each window take values
    of the same window."""
    (tmp_path / "config.json").write_text(json.dumps(WHISPER))
    found = load_model(f"random:{tmp_path}")
    neurons = neuron_set("s", found, {FIRST: (0, 7)})
    samples = 17 * 16000 + 8000
    good, bad, third = patch(found, neurons, noise(samples, 1), noise(samples, 2), [FIRST])
    assert len(good[FIRST]) == 17 * 50 + 25
    assert torch.equal(third[FIRST][:, [0, 7]], good[FIRST][:, [0, 7]])
    assert torch.equal(third[FIRST][:, 1:7], bad[FIRST][:, 1:7])


def test_recovered_effect_of_a_planted_neuron(model: SpeechModel) -> None:
    """A metric that reads one neuron comes back whole with it, and not at all with another."""

    def metric(found: Mapping[str, torch.Tensor]) -> float:
        return float(found[THIRD][:, 5].double().mean())

    pair = (noise(9000, 1), noise(9000, 2))
    own = patch_effect(model, neuron_set("s", model, {THIRD: (5,)}), *pair, metric, [THIRD])
    other = patch_effect(model, neuron_set("s", model, {THIRD: (6,)}), *pair, metric, [THIRD])
    assert own.recovered == pytest.approx(1.0)
    assert other.recovered == 0.0
    half = np.arange(27)
    half[9:] = NONE
    part = patch_effect(model, neuron_set("s", model, {THIRD: (5,)}), *pair, metric, [THIRD], half)
    assert part.frames == pytest.approx(1 / 3)
    good, bad = (model.encode([wave], [THIRD])[0][THIRD][:, 5] for wave in reversed(pair))
    expected = (good[:9] - bad[:9]).sum() / (good - bad).sum()
    assert part.recovered == pytest.approx(float(expected), rel=1e-4)
    same = patch_effect(
        model, neuron_set("s", model, {THIRD: (5,)}), pair[0], pair[0], metric, [THIRD]
    )
    with pytest.raises(NumericsError, match="no value"):
        _ = same.recovered
    assert recovered(1.5, 1.0, 3.0) == 0.25


def test_patching_an_edited_model(model: SpeechModel) -> None:
    """The edit beneath comes first: patched neurons win over erased ones."""
    edited = EditedModel(model, Edit("erase", {FIRST: (1, 2)}), "e")
    neurons = neuron_set("s", edited, {FIRST: (2, 3)})
    good, bad, third = patch(edited, neurons, noise(9000, 1), noise(9000, 2), [FIRST, "3"])
    assert not third[FIRST][:, [1, 2]].any()  # the clean pass is edited, too
    assert torch.equal(third[FIRST][:, 3], good[FIRST][:, 3])
    assert torch.equal(third[FIRST][:, 4], bad[FIRST][:, 4])
    one = patch(
        model, neuron_set("s", model, {FIRST: (2, 3)}), noise(9000, 1), noise(9000, 2), ["3"]
    )
    assert not torch.equal(third["3"], one[2]["3"])


def test_by_index() -> None:
    assert by_index(5, 3).tolist() == [0, 1, 2, -1, -1]
    assert by_index(2, 3).tolist() == [0, 1]


def _cheapest(cost: np.ndarray[Any, Any]) -> float:
    """Cost of the best path by trying all."""
    rows, columns = cost.shape
    best = np.inf
    for steps in itertools.product(((1, 0), (0, 1), (1, 1)), repeat=rows + columns - 2):
        i = j = 0
        total = cost[0, 0]
        for down, right in steps:
            if (i, j) == (rows - 1, columns - 1):
                break
            i, j = i + down, j + right
            if i >= rows or j >= columns:
                total = np.inf
                break
            total += cost[i, j]
        if (i, j) == (rows - 1, columns - 1):
            best = min(best, total)
    return best


def test_warping_finds_the_cheapest_path() -> None:
    from voxstrata.neurons.interventions.alignment import _path

    generator = np.random.default_rng(0)
    for rows, columns in ((1, 4), (4, 1), (3, 4), (4, 4)):
        cost = generator.random((rows, columns))
        path = _path(cost)[::-1]
        assert path[0] == (0, 0)
        assert path[-1] == (rows - 1, columns - 1)
        assert sum(cost[cell] for cell in path) == pytest.approx(_cheapest(cost))


def test_warping_undoes_a_warp() -> None:
    generator = np.random.default_rng(1)
    source = generator.normal(size=(60, 8))
    stretch = np.sort(generator.choice(60, size=100))
    stretch[0], stretch[-1] = 0, 59
    found = by_warping(source[stretch] + 0.01 * generator.normal(size=(100, 8)), source)
    # A frame that was left out is next to one that was not: its partner may lie in between.
    assert np.abs(found - stretch).max() <= 2
    assert np.mean(found == stretch) > 0.8
    assert np.all(np.diff(found) >= 0)
    with pytest.raises(ShapeError):
        by_warping(source, source[:, :3])
    with pytest.raises(UsageError, match="no direction"):
        by_warping(source, np.zeros((3, 8)))


def test_phones_stand_for_equal_phones() -> None:
    grid = FrameGrid(320, 320, 0)  # frame t covers [20 t, 20 (t + 1)) ms
    own = [Segment(0.0, 0.1, "a"), Segment(0.1, 0.2, "x"), Segment(0.2, 0.4, "b")]
    other = [Segment(0.1, 0.3, "a"), Segment(0.3, 0.4, "b")]
    found = by_phones(own, other, grid, 25, 20)
    # "a": 5 frames on 10; "x": none; "b": 10 frames on 5; the rest: none.
    assert np.abs(found[:5] - np.array([5.5, 7.5, 9.5, 11.5, 13.5])).max() < 0.51
    assert found[5:10].tolist() == [NONE] * 5
    assert found[10:20].tolist() == [15, 15, 16, 16, 17, 17, 18, 18, 19, 19]
    assert found[20:].tolist() == [NONE] * 5
    assert by_phones(own, own, grid, 20, 20)[:5].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(LabelError, match="share no phones"):
        by_phones(own, [Segment(0, 1, "q")], grid, 20, 20)
    with pytest.raises(LabelError, match="0 segments"):
        by_phones(own, [], grid, 20, 20)
