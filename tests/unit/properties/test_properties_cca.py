"""CCA properties on planted samples: the layer that carries a label scores highest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.properties.cca.engine import CcaDraw, one_hot, pick_types
from voxstrata.properties.cca.labels import cca_phone, cca_word
from voxstrata.properties.cca.layers import base_layer, cca_inter, cca_intra, counterpart
from voxstrata.properties.property import SHUFFLED, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import LayerInfo, Utterance

PHONES = ["AA", "AE", "B", "D", "IY", "S", "T", "UW"]


def settings(**how: object) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **how)


def stack(name: str, widths: list[int], model: int = 0) -> list[StackLayer]:
    return [StackLayer(model, name, LayerInfo(str(i), w)) for i, w in enumerate(widths)]


def planted(n: int = 1600, widths: tuple[int, ...] = (12, 12, 12), seed: int = 0) -> Sample:
    """Layer k carries the label with strength 0.3, 2, 0.8; utterances add an offset each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(PHONES), n)
    utterance = np.arange(n) // 16
    code = rng.normal(size=(len(PHONES), 5))
    layers = []
    for width, strength in zip(widths, (0.3, 2.0, 0.8), strict=False):
        rows = rng.normal(size=(n, width)) + 0.5 * rng.normal(size=(n // 16 + 1, width))[utterance]
        rows[:, :5] += strength * code[labels]
        layers.append(rows + 30)
    ids = [f"u{u}" for u in utterance]
    return sample_of(
        layers,
        layers=stack("m", list(widths[: len(layers)])),
        utterances={i: Utterance(i, 1.0, {"speaker": i[:2]}) for i in ids},
        utterance=ids,
        fold=(utterance % 10).tolist(),
        labels=[PHONES[k] + ("1" if r % 2 else "0") for r, k in enumerate(labels)],
    )


def scores(sample: Sample, draw: CcaDraw) -> list[dict[tuple[str, str], float]]:
    return [
        {(s.measure, s.control): s.value for s in draw.score(sample.read(i), layer)}
        for i, layer in enumerate(sample.layers)
    ]


@pytest.mark.parametrize("preset", ["voxstrata", "pasad2023"])
def test_planted_layer_wins_and_controls_are_near_zero(preset: str) -> None:
    sample = planted()
    draw = cca_phone("").draw(sample, settings(preset=preset), 3)
    found = scores(sample, draw)
    main = "pwcca-pasad" if preset == "pasad2023" else "pwcca"
    values = [f[main, ""] for f in found]
    assert values[1] > values[2] + 0.1 > values[0] + 0.2
    names = {m for m, c in found[0] if c == ""}
    assert names == {m for m, c in found[0] if c == SHUFFLED}
    for table in found:
        for (name, control), value in table.items():
            assert -1 <= value <= 1
            if control and name != "pwcca-pasad":
                assert abs(value) < 0.1, name
    groups = {s.groups for s in draw.score(sample.read(1), sample.layers[1])}
    if preset == "voxstrata":
        assert names == {"pwcca", "pwcca-x", "pwcca-y", "cca-mean", "svcca"}
        assert not draw.notices
        assert groups == {100}
    else:
        assert groups == {3}  # trials: the error has two degrees of freedom
        low, high = draw.facts["sign_range"]["m/1"]
        assert low <= values[1] <= high
        assert any("signs of an SVD" in text for text in draw.notices)
        assert any("without variance" in text for text in draw.notices)


def test_stress_digits_are_no_types() -> None:
    draw = cca_phone("").draw(planted(), settings(), 0)
    assert draw.facts["types"] == len(PHONES)
    assert draw.facts["view_width"] == len(PHONES) - 1


def test_errors_widths_folds_and_seeds() -> None:
    sample = planted()
    draw = cca_phone("").draw(sample, settings(phones_per_type=100), 3)
    assert draw.facts["rows"] == 8 * 100
    one = draw.score(sample.read(1), sample.layers[1])[0]
    assert one.n == 800
    assert (one.d, one.other_d, one.groups) == (12, 7, 100)
    assert [f for f, _ in one.by_fold] == list(range(10))
    assert one.value == pytest.approx(np.mean([v for _, v in one.by_fold]))
    spread = np.std([v for _, v in one.by_fold], ddof=1)
    assert one.error == pytest.approx(spread * np.sqrt(0.1 + 1 / 9), rel=0.01)
    again = cca_phone("").draw(sample, settings(phones_per_type=100), 3)
    assert again.score(sample.read(1), sample.layers[1]) == draw.score(
        sample.read(1), sample.layers[1]
    )
    other = cca_phone("").draw(sample, settings(phones_per_type=100), 4)
    assert other.score(sample.read(1), sample.layers[1])[0].value != one.value


def test_refusal_and_the_small_scale() -> None:
    wide = planted(640, (590, 590))
    with pytest.raises(TooFewError, match="590") as caught:
        cca_phone("").draw(wide, settings(), 0)
    assert "576" in str(caught.value.got)  # 640 rows less the largest fold
    assert "598" in str(caught.value.expected)
    assert "--scale small" in caught.value.fix
    draw = cca_phone("").draw(wide, settings(scale="small"), 0)
    found = scores(wide, draw)
    assert draw.facts["reduced"] == {
        "dimensions of layers 590 wide": {"published": 590, "used": 57}
    }
    assert found[1]["pwcca", ""] > 0.3
    assert draw.score(wide.read(0), wide.layers[0])[0].d == 57


def test_few_rows_and_null_directions_are_told() -> None:
    sample = planted(800, (120, 120))
    rows = sample.read(0)
    rows[:, 3] = rows[:, 4]
    draw = cca_phone("").draw(sample, settings(), 0)
    draw.score(rows, sample.layers[0])
    told = " ".join(draw.notices)
    assert "n/d = 6." in told
    assert "rank 119" in told
    rows[0, 0] = torch.nan
    with pytest.raises(Exception, match="not finite"):
        draw.score(rows, sample.layers[0])


def test_words_types_and_caps() -> None:
    rng = np.random.default_rng(1)
    words = [f"w{min(int(k), 60)}" for k in rng.zipf(1.4, 2000)]
    rows, types = pick_types(words, 10, 15, seed=0)
    counts = {t: words.count(t) for t in set(words)}
    assert list(types) == sorted(counts, key=lambda t: (-counts[t], t))[:10]
    picked = [words[i] for i in rows]
    assert {t: picked.count(t) for t in types} == {t: min(15, counts[t]) for t in types}
    assert (np.diff(rows) > 0).all()
    other, _ = pick_types(words, 10, 15, seed=1)
    assert set(other) != set(rows)
    assert set(pick_types(words, None, 15, 0, min_tokens=5)[1]) == {
        t for t, c in counts.items() if c >= 5
    }
    sample = planted()
    with pytest.raises(TooFewError, match="types of words"):
        cca_word("").draw(_as_words(sample), settings(), 0)
    draw = cca_word("").draw(_as_words(sample), settings(scale="small"), 0)
    assert draw.facts["reduced"] == {"word types": {"published": 500, "used": 16}}


def _as_words(sample: Sample) -> Sample:
    from dataclasses import replace

    return replace(sample, unit="word")


def test_one_hot() -> None:
    full, columns = one_hot(["b", "a", "b", "c"], drop_one=False)
    assert columns == ("a", "b", "c")
    assert (full.sum(axis=1) == 1).all()
    less, columns = one_hot(["b", "a", "b", "c"])
    assert columns == ("a", "c")
    np.testing.assert_array_equal(less, full[:, [0, 2]])


def two_models() -> Sample:
    rng = np.random.default_rng(2)
    n = 900
    states = [rng.normal(size=(n, 6))]
    for _ in range(4):
        states.append(0.8 * states[-1] + 0.6 * rng.normal(size=(n, 6)))
    mix = rng.normal(size=(6, 6))
    a = states
    b = [states[0] @ mix, states[2] @ mix, states[4] @ mix]
    utterance = np.arange(n) // 9
    ids = [f"u{u}" for u in utterance]
    return sample_of(
        [*a, *b],
        layers=[*stack("a", [6] * 5), *stack("b", [6] * 3, 1)],
        utterances={i: Utterance(i, 1.0, {}) for i in ids},
        utterance=ids,
        fold=(utterance % 10).tolist(),
        unit="frame",
    )


def test_intra_falls_with_depth_and_skips_the_base() -> None:
    sample = two_models()
    draw = cca_intra("").draw(sample, settings(), 0)
    found = [draw.score(sample.read(i), layer) for i, layer in enumerate(sample.layers)]
    assert found[0] == []
    assert found[5] == []
    curve = [found[i][0].value for i in range(1, 5)]
    assert (np.diff(curve) < -0.03).all()
    assert curve[0] == pytest.approx(0.8, abs=0.05)
    assert {s.other_layer for s in found[3]} == {"0"}
    assert {s.other_model for s in found[7]} == {"b"}
    assert base_layer(sample, "b") == 5
    assert any(s.control == SHUFFLED and abs(s.value) < 0.1 for s in found[2])


def test_inter_meets_layers_of_the_same_depth() -> None:
    sample = two_models()
    assert [counterpart(sample, i, "b") for i in range(5)] == [5, 5, 6, 6, 7]
    assert [counterpart(sample, i, "a") for i in (5, 6, 7)] == [0, 2, 4]
    draw = cca_inter("").draw(sample, settings(), 0)
    found = [draw.score(sample.read(i), layer) for i, layer in enumerate(sample.layers)]
    # b's layers are linear maps of a's 0, 2, 4: nothing but the same subspace.
    for i in (0, 2, 4, 5, 6, 7):
        assert found[i][0].value == pytest.approx(1.0, abs=1e-6)
    assert found[1][0].value < 0.9
    assert (found[5][0].other_model, found[5][0].other_layer) == ("a", "0")
    value = {s.measure: s.value for s in found[2] if not s.control}
    mirror = {s.measure: s.value for s in found[6] if not s.control}
    assert value["pwcca-x"] == mirror["pwcca-y"]
    with pytest.raises(TooFewError, match="compares models"):
        cca_inter("").draw(planted(), settings(), 0)
