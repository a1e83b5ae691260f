"""What protection changes, and controls by rank: against plain recomputations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protection_made import LAYERS, MODEL
from voxstrata.errors import UnknownNameError, UsageError
from voxstrata.files import write_json
from voxstrata.models import load_model
from voxstrata.neurons.interventions.matched import matched
from voxstrata.neurons.protection.models import unlike
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.swapped import swapped, unchanged
from voxstrata.neurons.protection.variants import Variant
from voxstrata.neurons.sets import neuron_set

WIDTH = 40


def pruned(folder: Path, rng: np.random.Generator, fixed: bool = False) -> dict[str, set[int]]:
    """A made pruning run of three steps; rows that are left, by what is deleted from lists."""
    left = {layer: list(range(WIDTH)) for layer in LAYERS}
    steps: list[dict[str, object]] = []
    for number in range(1, 4):
        removed = {}
        for layer, rows in left.items():
            gone = [0, 1, 2] if fixed else rng.permutation(len(rows))[:7].tolist()
            removed[layer] = gone
            left[layer] = [row for place, row in enumerate(rows) if place not in gone]
        steps += [{"step": number, "removed": removed}, {"step": number, "tuned": 5}]
    after = {"feed_forward": [len(rows) for rows in left.values()]}
    write_json(folder / "run.json", {"steps": steps, "after": after})
    return {layer: set(rows) for layer, rows in left.items()}


def test_rows_that_differ_are_counted_over_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted = [Variant(c, 19, s, tmp_path / f"{c}-{s}") for c in ("none", "protected", "random")
              for s in (0, 1)]  # fmt: skip
    left = {(v.condition, v.seed): pruned(v.folder, rng) for v in wanted}
    found = swapped(wanted)
    assert len(found) == 4
    for one in found:
        mine, plain = left[one["condition"], one["seed"]], left["none", one["seed"]]
        assert one["rows"] == sum(len(mine[layer] - plain[layer]) for layer in LAYERS) > 0
        assert one["of"] == 2 * 19
    assert swapped([v for v in wanted if v.condition != "none"]) == []


def test_that_nothing_changed_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted = [Variant(c, 31, 0, tmp_path / c) for c in ("none", "protected")]
    for one in wanted:
        pruned(one.folder, rng, fixed=True)
    settings = ProtectionConfig(model="m", corpus="c", corpus_map="map.yaml")
    (told,) = unchanged(swapped(wanted), settings)
    assert told.startswith("With 31 rows left, protection changed nothing")
    assert unchanged([{"condition": "protected", "keep": 31, "rows": 1}], settings) == []


def test_controls_by_score_would_have_been_pruned_as_likely() -> None:
    """However skewed the scores: ranks are matched, each partner a few places away."""
    model = load_model(MODEL)
    rng = np.random.default_rng(3)
    scores = {layer: np.exp(rng.normal(0, 4, 48)) for layer in LAYERS}
    ranks = {layer: values.argsort().argsort() for layer, values in scores.items()}
    low = {layer: np.sort(rank.argsort()[[1, 4, 7, 10, 40]]) for layer, rank in ranks.items()}
    found = neuron_set("low", model, low)
    sets = [matched(found, model, kind="score", seed=s, scores=scores) for s in range(4)]
    for one in sets:
        assert one.counts() == found.counts()
        for layer in LAYERS:
            assert not set(one.of(layer)) & set(found.of(layer))
            mine = np.sort(ranks[layer][list(one.of(layer))])
            assert np.abs(mine - [1, 4, 7, 10, 40]).max() <= 6
            match = one.details["match"][layer]
            assert match["set"] == pytest.approx(12.4)
            assert match["control"] == pytest.approx(mine.mean())
    assert len({str(one.layers) for one in sets}) > 1, "seeds have a choice"
    with pytest.raises(UsageError, match="needs the scores") as told:
        matched(found, model, kind="score", scores={LAYERS[0]: scores[LAYERS[0]]})
    assert told.value.got == LAYERS[1]
    with pytest.raises(UnknownNameError):
        matched(found, model, kind="rank")  # type: ignore[arg-type]


def test_controls_of_other_ranks_are_told(tmp_path: Path) -> None:
    """Where the set holds the top of a layer, no other neuron is like it."""
    model = load_model(MODEL)
    scores = {layer: np.arange(48.0) for layer in LAYERS}
    found = neuron_set("top", model, {LAYERS[0]: range(28, 48), LAYERS[1]: [20, 21]})
    one = matched(found, model, kind="score", scores=scores)
    one.save(tmp_path / "score-3.json")
    (told,) = unlike({3: tmp_path / "score-3.json"})
    assert "(seed 3) have another rank in the pruning score" in told
    assert f"in 1 layer ({LAYERS[0]})" in told


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backend": "plda", "trials": "c"}, "go together"),
        ({"backend": "plda", "backend_from": "c"}, "name their corpus"),
        ({"layer": "block1"}, "name their corpus"),
        ({"tune_steps": 5}, "name a recipe"),
        ({"base_steps": 5}, "name a recipe"),
        ({"changes": ("run.steps=5",)}, "name a recipe"),
    ],
)
def test_settings_that_say_nothing_alone_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ProtectionConfig(model="m", corpus="c", corpus_map="map.yaml", **given)  # type: ignore[arg-type]
