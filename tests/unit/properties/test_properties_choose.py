"""Choosing layers: recommendations, held-out checks, rank correlations, cost."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from voxstrata.errors import ResultsError, UnknownNameError, UsageError
from voxstrata.properties.choosing import recommend as choose
from voxstrata.properties.choosing import uses
from voxstrata.properties.choosing.check import choose_and_check, correlate, read_scores
from voxstrata.properties.choosing.cost import cut_spec, layer_cost
from voxstrata.properties.choosing.recommend import alike, curves, evidence_for, recommend
from voxstrata.properties.choosing.uses import Evidence, find_use
from voxstrata.properties.registry import PROPERTIES
from voxstrata.results import Row


def row(layer: str, value: float, **more: Any) -> dict[str, Any]:
    base = Row(
        "s", "m", layer, "", "", "cca-word", "pwcca", "word", value, None, None,
        100, 10, 768, 50, "held-out", 0,
    )  # fmt: skip
    return {**asdict(base), **more}


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    made = pd.DataFrame(rows)
    for name in ("value", "ci_low", "ci_high"):
        made[name] = made[name].astype("float64")
    return made


def curve_rows(values: list[float], half: float | None = None, **more: Any) -> list[dict[str, Any]]:
    ends = [(None, None) if half is None else (v - half, v + half) for v in values]
    return [
        row(str(i), v, ci_low=low, ci_high=high, **more)
        for i, (v, (low, high)) in enumerate(zip(values, ends, strict=True))
    ]


VALUES = [0.10, 0.30, 0.50, 0.62, 0.60, 0.40]


def test_the_peak_is_recommended_with_what_others_lose() -> None:
    r = recommend(table(*curve_rows(VALUES, half=0.03)), "asr")[0]
    assert (r.model, r.layer, r.curve.name, r.curve.measure) == ("m", "3", "cca-word", "pwcca")
    assert (r.value, r.low, r.high) == pytest.approx((0.62, 0.59, 0.65))
    assert r.loss_below == pytest.approx(0.12)
    assert r.loss_above == pytest.approx(0.02)
    assert r.middle == "3"
    assert r.loss_middle == 0.0
    assert r.loss_random == pytest.approx(0.62 - np.mean(VALUES))
    assert (r.alike, r.alike_by, r.cheapest) == (("3", "4"), "intervals", "3")
    assert r.above_control is None
    first = recommend(table(*curve_rows(VALUES[::-1])), "asr")[0]
    assert (first.layer, first.alike, first.alike_by) == ("2", ("2",), "")


def test_ends_have_one_neighbour() -> None:
    top = recommend(table(*curve_rows([0.1, 0.2, 0.3])), "asr")[0]
    assert top.loss_below == pytest.approx(0.1)
    assert math.isnan(top.loss_above)
    bottom = recommend(table(*curve_rows([0.3, 0.2, 0.1])), "asr")[0]
    assert math.isnan(bottom.loss_below)
    assert bottom.loss_above == pytest.approx(0.1)


def test_controls_are_no_evidence_but_warn() -> None:
    shuffled = curve_rows([0.9] * 6, control="shuffled-rows")
    assert recommend(table(*curve_rows(VALUES), *shuffled), "asr")[0].layer == "3"
    assert recommend(table(*curve_rows(VALUES), *shuffled), "asr")[0].above_control is False
    low = curve_rows([0.2] * 6, control="shuffled-rows")
    assert recommend(table(*curve_rows(VALUES), *low), "asr")[0].above_control is True


def test_probing_results_come_before_properties_and_error_rates_are_turned() -> None:
    wer = curve_rows([90.0, 60.0, 40.0, 30.0, 20.0, 35.0], property="ASR", measure="wer")
    other = curve_rows([0.2, 0.9, 0.3, 0.1, 0.1, 0.1], property="cca-phone", measure="pwcca")
    r = recommend(table(*curve_rows(VALUES), *other, *wer), "ASR")[0]
    assert (r.layer, r.curve.name, r.curve.better, r.curve.probing) == ("4", "ASR", "low", True)
    assert r.loss_below == pytest.approx(10.0)
    assert r.others == (("cca-word", "3"), ("cca-phone", "1"))


def test_models_are_recommended_apart_by_what_each_has() -> None:
    rows = curve_rows(VALUES) + curve_rows(VALUES[::-1], model="n", property="cca-phone")
    got = recommend(table(*rows), "speech recognition")
    assert [(r.model, r.layer, r.curve.name) for r in got] == [
        ("m", "3", "cca-word"),
        ("n", "2", "cca-phone"),
    ]


def test_what_speaks_for_nothing_is_refused_with_what_would() -> None:
    with pytest.raises(ResultsError, match="emotion") as caught:
        recommend(table(*curve_rows(VALUES)), "emotion")
    assert "linear:emotion" in str(caught.value.expected)
    assert caught.value.got == "cca-word"
    with pytest.raises(UnknownNameError, match="keyword spotting"):
        find_use("keyword spoting")


def test_the_measure_of_a_curve_is_the_main_one_or_must_be_clear() -> None:
    shares = curve_rows([0.1, 0.2], property="variance-shares", measure="share-phone-corrected")
    rest = curve_rows([0.9, 0.8], property="variance-shares", measure="share-rest")
    got = curves(table(*rest, *shares), Evidence(name="variance-shares"))
    assert [c.measure for c in got] == ["share-phone-corrected"]
    named = Evidence(name="variance-shares", measure="share-rest", better="low")
    got = curves(table(*rest, *shares), named)
    assert (got[0].measure, got[0].layers[got[0].best]) == ("share-rest", "1")
    two = [
        *curve_rows([0.1, 0.2], property="own", measure="a"),
        *curve_rows([0.1, 0.2], property="own", measure="b"),
    ]
    with pytest.raises(ResultsError, match="open which measure"):
        curves(table(*two), Evidence(name="own"))


def test_what_is_held_out_counts_before_what_is_not() -> None:
    inside = curve_rows([0.9, 0.8, 0.7], estimator="in-sample")
    outside = curve_rows([0.1, 0.2, 0.3], estimator="held-out")
    assert recommend(table(*inside, *outside), "asr")[0].layer == "2"
    assert recommend(table(*inside), "asr")[0].layer == "0"


def fold_rows(matrix: np.ndarray, **more: Any) -> pd.DataFrame:
    lines = [
        {"property": "cca-word", "measure": "pwcca", "model": "m", "layer": str(i), "draw": 0,
         "fold": f, "score": matrix[i, f], **more}
        for i in range(matrix.shape[0])
        for f in range(matrix.shape[1])
    ]  # fmt: skip
    return pd.DataFrame(lines)


def test_paired_folds_tell_layers_apart_where_intervals_cannot() -> None:
    g = np.random.default_rng(0)
    shared = g.normal(scale=0.2, size=10)  # folds differ far more than layers do
    scores = np.array(VALUES)[:, None] + shared + g.normal(scale=0.002, size=(6, 10))
    scores[4] += 0.02 + g.normal(scale=0.02, size=10)  # as good as layer 3, give or take
    values = scores.mean(axis=1).tolist()
    made = table(*curve_rows(values, half=0.13))
    curve = evidence_for(made, find_use("asr"))[0]
    assert alike(curve)[0] == ("2", "3", "4")
    got, by = alike(curve, fold_rows(scores))
    assert (got, by) == (("3", "4"), "paired folds")
    # The same decision by a library, for the layers next to the best.
    best = curve.best
    for layer, same in ((2, False), (7 - best, True)):
        p = stats.ttest_rel(scores[best], scores[layer]).pvalue
        assert (p > 0.05) == same
    r = recommend(made, "asr", fold_rows(scores))[0]
    assert (r.cheapest, r.alike_by) == ("3", "paired folds")
    assert recommend(made, "asr", fold_rows(scores, model="other"))[0].alike_by == "intervals"


def test_an_interval_cut_off_at_its_range_is_not_taken_for_a_small_error() -> None:
    """.99 +- .05 in [0, 1] is shown as .94 to 1: as uncertain as .89 +- .05, and not apart."""
    made = table(row("0", 0.89, ci_low=0.84, ci_high=0.94), row("1", 0.95, ci_low=0.90, ci_high=1),
                 row("2", 0.995, ci_low=0.92, ci_high=1.0))  # fmt: skip
    curve = evidence_for(made, find_use("asr"))[0]
    assert curve.error == pytest.approx(np.array([0.05, 0.05, 0.075]) / stats.norm.ppf(0.975))
    assert alike(curve) == (("1", "2"), "intervals")
    near = table(row("0", 0.92, ci_low=0.87, ci_high=0.97), row("1", 1.0, ci_low=0.92, ci_high=1.0))
    assert alike(evidence_for(near, find_use("asr"))[0])[0] == ("0", "1")


def test_a_real_peak_holds_on_other_folds_and_noise_does_not() -> None:
    g = np.random.default_rng(1)
    real = np.array(VALUES)[:, None] + g.normal(scale=0.01, size=(6, 10))
    check = choose_and_check(fold_rows(real))[0]
    assert (check.model, check.layers, check.middle) == ("m", tuple("012345"), "3")
    assert (check.folds, check.splits) == (10, 200)
    assert check.chosen[0][0] == "3"
    assert sum(share for _, share in check.chosen) == pytest.approx(1.0)
    assert check.over_random.value == pytest.approx(0.62 - np.mean(VALUES), abs=0.02)
    assert check.over_random.low > 0.1
    assert check.score.low < 0.62 < check.score.high
    assert check.regret.value < 0.01
    noise = choose_and_check(fold_rows(g.normal(size=(13, 10))))[0]
    assert noise.over_random.low < 0 < noise.over_random.high
    assert noise.regret.value > 0.3


def test_choosing_never_sees_the_folds_it_is_scored_on() -> None:
    # Layer f shines on fold f alone: whoever peeked would gain; who does not, loses.
    check = choose_and_check(fold_rows(np.eye(6)), splits=100)[0]
    assert check.splits == 20  # all choices of 3 of 6
    assert check.score.value == 0.0
    assert check.over_random.value == pytest.approx(-1 / 6)
    assert check.regret.value == pytest.approx(1 / 3)


def test_lower_scores_are_better_where_said() -> None:
    rates = np.array(VALUES)[:, None] + np.zeros((6, 8))
    check = choose_and_check(fold_rows(rates), better="low")[0]
    assert check.chosen == (("0", 1.0),)
    assert check.score.value == pytest.approx(0.10)
    assert check.over_middle.value == pytest.approx(0.52)


def test_a_check_needs_folds() -> None:
    with pytest.raises(ResultsError, match="--group speaker"):
        choose_and_check(fold_rows(np.zeros((3, 3))))
    with pytest.raises(ResultsError, match="lacks columns"):
        choose_and_check(pd.DataFrame({"model": ["m"]}))


@pytest.mark.parametrize("n", [6, 13])
def test_rank_correlations_agree_with_scipy(n: int) -> None:
    g = np.random.default_rng(n)
    x = g.normal(size=n)
    y = x + g.normal(size=n)
    names = [str(i) for i in range(n)]
    curve = dict(zip(names, x.tolist(), strict=True))
    rho, tau = correlate(curve, dict(zip(names, y.tolist(), strict=True)))
    assert rho.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert (rho.exact, rho.layers) == (n <= 8, n)
    exact = stats.kendalltau(x, y, method="exact").pvalue
    assert tau.p == pytest.approx(exact, abs=1e-12 if n <= 8 else 0.01)
    assert rho.low <= rho.value <= rho.high
    ties = [round(v) for v in y.tolist()]
    with_ties = correlate(curve, dict(zip(names, ties, strict=True)))
    assert with_ties[0].value == pytest.approx(stats.spearmanr(x, ties).statistic)
    assert with_ties[1].value == pytest.approx(stats.kendalltau(x, ties).statistic)


def test_correlation_uses_common_layers_and_needs_four() -> None:
    curve = {str(i): float(i) for i in range(13)}
    rho, tau = correlate(curve, {"2": 1.0, "5": 3.0, "7": 2.0, "9": 8.0, "conv1": 4.0})
    assert rho.layers == 4
    assert rho.value == pytest.approx(0.8)
    assert tau.value == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="four layers"):
        correlate(curve, {"1": 1.0, "2": 2.0, "3": 0.0})
    with pytest.raises(UsageError, match="four layers"):
        correlate(curve, {str(i): 1.0 for i in range(6)})


def test_scores_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("model,layer,score\nm,0,0.5\nm,01,0.7\n")
    got = read_scores(file)
    assert got["layer"].tolist() == ["0", "01"]
    assert set(got["task"]) == {"score"}
    file.write_text("model,layer,score\nm,0,0.5\nm,1,high\n")
    with pytest.raises(ResultsError, match="line 3: 'high'"):
        read_scores(file)
    file.write_text("model,score\nm,0\n")
    with pytest.raises(ResultsError, match="lacks columns"):
        read_scores(file)
    with pytest.raises(ResultsError, match="cannot read"):
        read_scores(tmp_path / "none.csv")


def test_uses_are_well_formed_and_found_by_other_names() -> None:
    known = uses.uses()
    wanted = {"asr", "phone recognition", "keyword spotting", "speaker verification",
              "speaker identification", "emotion", "intent", "acoustic"}  # fmt: skip
    assert wanted <= set(known)
    for use in known.values():
        assert use.source
        assert use.properties
        assert find_use(use.name) is use
        for kind in use.properties:
            if kind.measure:  # measures are spelt out for our own properties alone
                assert kind.name in ("phone-gap", "variance-shares", "phone-speaker-angles")
                assert kind.name in PROPERTIES
    assert find_use("Speaker_Verification").name == "speaker verification"
    assert find_use("KS").name == "keyword spotting"
    everyone = [n.lower() for use in known.values() for n in {use.name, *use.also}]
    assert len(everyone) == len(set(everyone))


def test_middle_and_error_rates() -> None:
    assert choose.middle_of(["a", "b"]) == "b"
    assert uses.less_is_better("eer")
    assert uses.less_is_better("test-WER")
    assert not uses.less_is_better("accuracy")


def test_cuts_are_named_like_models() -> None:
    assert cut_spec("wavlm-base", "4") == "wavlm-base@4"
    assert cut_spec("wavlm-base@9", "4") == "wavlm-base@4"
    assert cut_spec("a/b@main,seed=1", "conv3") == "a/b@main@conv3,seed=1"
    with pytest.raises(UsageError, match="cannot be cut"):
        cut_spec("wavlm-base", "block.3.ffn.inner")


def test_cost_counts_what_is_held_and_run(tmp_path: Path) -> None:
    from voxstrata.models.huggingface.save import make_random

    make_random("hubert-base", tmp_path / "m", layers=2)
    spec = str(tmp_path / "m")
    cost = layer_cost(spec, "1", audio_s=0.2, repeats=1)
    assert cost.cut == f"{spec}@1"
    # One of two blocks goes; a block of width 768 has 7.09 million parameters.
    block = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert cost.parameters - cost.cut_parameters == block
    assert min(cost.cut_seconds, cost.seconds) > 0
    assert 0.05 < cost.flops_saved < 0.5
    assert cost.memory_saved == pytest.approx(block / cost.parameters)


def test_cutting_after_the_last_layer_saves_nothing() -> None:
    spec = "random:ecapa,channels=16,mfa=24,embed=8,se=8,attention=8"
    cost = layer_cost(spec, "embedding", measure=False)
    assert math.isnan(cost.time_saved)
    assert (cost.memory_saved, cost.flops_saved) == (0.0, 0.0)
