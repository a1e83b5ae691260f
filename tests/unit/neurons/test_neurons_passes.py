"""The passes of a neurons run: what is learned first, how layers of other models are joined."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from neurons_spoken import write
from voxstrata import load_model
from voxstrata.errors import UsageError
from voxstrata.neurons import passes
from voxstrata.neurons import units as counted_by
from voxstrata.neurons.conditions.parse import learners
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.passes import LEARNED, Counted, count, save_counts
from voxstrata.neurons.prepare import Prepared, describe, prepare
from voxstrata.neurons.rules import Quantile
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.units import count_bytes
from voxstrata.streaming.runs import Hooks

MODEL = "random:melhubert,inputs=80,width=16,layers=2,heads=2,ffn=40,conv_pos=8,conv_groups=2"
OTHER = f"{MODEL},seed=4"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoken") / "c", 8, 4, phones=4)


def planned(corpus: Path, **changes: Any) -> Prepared:
    values: dict[str, Any] = {
        "models": (MODEL,), "corpus": str(corpus), "rule": "top=0.1", "rankings": False,
        "contrasts": ("gender/phones", "clusters=3"), "twins": False, "device": "cpu",
    }  # fmt: skip
    config = NeuronsConfig.model_validate(values | changes)
    return prepare(config)


def run(prepared: Prepared, folder: Path) -> Counted:
    return count(prepared, folder, Hooks())


def entries(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]


def wave(corpus: Path, entry: dict[str, Any]) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(corpus / entry["file"], dtype="float32")[0])


def equal(one: dict[str, UnitCounts], two: dict[str, UnitCounts]) -> bool:
    return set(one) == set(two) and all(
        np.array_equal(one[name].seen, two[name].seen)
        and all((one[name].active[k] != two[name].active[k]).nnz == 0 for k in one[name].layers)
        for name in one
    )


@pytest.mark.parametrize("rule", ["top=0.1", "quantile=0.9"])
def test_what_was_learned_is_taken_by_the_next_sitting(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    first = run(planned(corpus, rule=rule), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / LEARNED).rename(tmp_path / "b" / LEARNED)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "SampleReducer", lambda *_: pytest.fail("sampled again"))
        second = run(planned(corpus, rule=rule), tmp_path / "b")
    assert equal(first.counts[0], second.counts[0])
    (tmp_path / "c").mkdir()
    (tmp_path / "b" / LEARNED).rename(tmp_path / "c" / LEARNED)
    sampled = []
    plain = passes.SampleReducer
    monkeypatch.setattr(
        passes, "SampleReducer", lambda *given: sampled.append(given) or plain(*given)
    )
    third = planned(corpus, seed=1, rule=rule)
    run(third, tmp_path / "c")  # of another run: made anew
    assert len(sampled) == (1 if rule.startswith("top") else 2)


def test_models_side_by_side_are_counted_as_alone(corpus: Path, tmp_path: Path) -> None:
    both = planned(corpus, models=(MODEL, OTHER))
    together = run(both, tmp_path / "both")
    for number, spec in enumerate((MODEL, OTHER)):
        alone = run(planned(corpus, models=(spec,)), tmp_path / str(number))
        assert equal(together.counts[number], alone.counts[0])
        for mine, theirs in zip(together.meetings[number], alone.meetings[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert not equal(together.counts[0], together.counts[1])
    assert [line["model"] for line in describe(both)] == [MODEL, OTHER]
    assert [line["neurons"] for line in describe(both)] == [80, 80]


def test_pitch_is_joined_by_time(corpus: Path, tmp_path: Path) -> None:
    """F0 has a grid of its own: each frame takes the value whose centre is nearest to its own."""
    prepared = planned(corpus, contrasts=("pitch/phones", "pitch"))
    found = run(prepared, tmp_path / "out").counts[0]
    helper = load_model("acoustic")
    model = prepared.analysed[0].model
    grid = model.layers[-1].grid
    f0 = next(info for info in helper.layers if info.name == "f0")
    assert grid is not None
    assert f0.grid is not None
    bounds = load_file(next((tmp_path / "out" / LEARNED).glob("*pitch*.safetensors")))["bounds"]
    expected = np.zeros((8, 3), int)
    values = []
    for number, entry in enumerate(entries(corpus)):
        audio = wave(corpus, entry)
        out = helper.encode([audio], ["f0", "voicing"])[0]
        centres = [f0.grid.centre2(i) for i in range(len(out["f0"]))]
        for frame in range(model.frames("2", len(audio))):
            gap = [abs(c - grid.centre2(frame)) for c in centres]
            if min(gap) > 2 * grid.stride:
                continue
            near = int(np.argmin(gap))
            if out["voicing"][near, 0] > 0.5:
                pitch = float(out["f0"][near, 0])
                values.append(pitch)
                expected[number, sum(pitch > b for b in bounds.tolist())] += 1
    np.testing.assert_allclose(np.percentile(values, [33, 66]), bounds.numpy(), atol=2e-3)
    # Ends of recordings may lack a partner; all else is the same.
    seen = found["pitch"].seen
    assert abs(seen - expected).sum() <= 0.02 * expected.sum()
    assert seen.sum() > 100
    women = [i for i, e in enumerate(entries(corpus)) if e["gender"] == "F"]
    assert seen[women, 2].sum() > 2 * seen[women, 0].sum()


def test_counts_are_kept_as_files_that_can_be_read_back(corpus: Path, tmp_path: Path) -> None:
    found = run(planned(corpus), tmp_path / "out").counts[0]
    save_counts(found, tmp_path / "kept")
    names = {json.loads(p.read_text())["condition"]: p for p in (tmp_path / "kept").glob("*.json")}
    assert set(names) == {"phones", "clusters=3"}
    for name, path in names.items():
        facts, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
        one = found[name]
        assert tuple(facts["rows"]) == one.rows
        assert tuple(facts["units"]) == one.units
        np.testing.assert_array_equal(tensors["seen"], one.seen)
        for layer in facts["layers"]:
            dense = np.zeros(one.active[layer].shape, int)
            ends = tensors[f"{layer}.indptr"].tolist()
            for row, (a, b) in enumerate(pairwise(ends)):
                at = tensors[f"{layer}.indices"][a:b].numpy()
                dense[row, at] = tensors[f"{layer}.data"][a:b].numpy()
            np.testing.assert_array_equal(dense, one.active[layer].todense())


def test_large_counts_go_to_speakers(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = planned(corpus)
    assert small.by == "recording"
    needed = count_bytes(small.corpus, small.analysed)
    found = run(small, tmp_path / "out").counts[0]
    cells = sum(one.active[layer].nnz for one in found.values() for layer in one.layers)
    assert 0 < 16 * cells <= needed  # the bound holds
    monkeypatch.setattr(counted_by, "COUNT_BYTES", needed - 1)
    large = planned(corpus)
    assert large.by == "speaker"
    assert large.units == ("s00", "s01", "s02", "s03")
    assert any("by speaker" in notice for notice in large.notices)
    merged = run(large, tmp_path / "large").counts[0]
    speakers = [large.unit_of[e["id"]] for e in entries(corpus)]
    for name, one in found.items():
        added = one.merged(speakers, large.units)
        np.testing.assert_array_equal(added.seen, merged[name].seen)


def test_layers_may_be_chosen(corpus: Path, tmp_path: Path) -> None:
    one = planned(corpus, layers=("block.2.ffn.inner",))
    assert [info.name for info in one.analysed[0].neurons] == ["block.2.ffn.inner"]
    assert set(run(one, tmp_path / "out").counts[0]["phones"].layers) == {"block.2.ffn.inner"}
    with pytest.raises(UsageError, match="holds neurons") as told:
        planned(corpus, layers=("1",))
    assert "block.1.ffn.inner" in str(told.value.expected)


def test_a_quantile_is_of_the_sample(corpus: Path, tmp_path: Path) -> None:
    """The sample is all frames here: every neuron is active in a tenth of them."""
    prepared = planned(corpus, rule="quantile=0.9", contrasts=("gender",))
    found = run(prepared, tmp_path / "out").counts[0]["all"]
    frames = int(found.seen.sum())
    for layer in found.layers:
        rate = np.asarray(found.active[layer].sum(axis=0)).reshape(-1) / frames
        np.testing.assert_allclose(rate, 0.1, atol=1.5 / frames)
        np.testing.assert_allclose(found.base[layer], rate)
        assert found.top[layer] is None


def test_a_rule_of_quantiles_sees_fewer_frames_than_clusters_do(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All neurons of a model are held at once: their sample is bounded by itself."""
    seen: dict[str, int] = {}

    def learn(self: Quantile, layer: str, sample: np.ndarray) -> None:
        seen[layer] = len(sample)
        plain(self, layer, sample)

    plain = Quantile.learn
    monkeypatch.setattr(Quantile, "learn", learn)
    prepared = planned(corpus, rule="quantile=0.8", contrasts=("clusters=2",), quantile_frames=60)
    found = run(prepared, tmp_path / "out").counts[0]["clusters=2"]
    frames = int(found.seen.sum())
    (part,) = learners(prepared.analysed[0].conditions)
    assert part.facts["frames fitted"] == frames  # of 200,000
    assert frames > 200
    assert set(seen) == set(found.layers)
    (count,) = set(seen.values())
    assert abs(count - 60) < 4 * np.sqrt(60)  # each frame by itself: about so many
