"""Claims of Lin et al. (2025) on made results: true, false, and too little data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from made_tables import HOSTILE, Made
from scipy.stats import poisson
from scipy.stats import t as student

from voxstrata.report.probing_view import Value
from voxstrata.report.protection_view import Gap
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.protected_sid import joined
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.claims.speaker_neurons import share_above

NAMES = (
    "clusters-match-classes",
    "neurons-above-chance",
    "protection-keeps-sid",
    "within-gender",
)
CONTRAST = "ivector=2/clusters=3"
LAYERS = tuple(f"block.{i}.ffn.inner" for i in range(1, 5))
WIDTH = 100


def claim(name: str, made: Made | Evidence) -> Claimed:
    return CLAIMS.get(name)(made.evidence() if isinstance(made, Made) else made)


def doubts(found: Claimed) -> list[str]:
    return [effect.doubt for effect in found.effects]


# ---- clusters and classes


def matched(
    made: Made,
    model: str,
    name: str,
    ari: float,
    half: float | None = 0.05,
    *,
    speakers: int = 20,
    unit: str = "frame",
) -> None:
    """Rows of one clustering against one set of classes."""
    keys = {"model": model, "layer": "2", "property": name, "unit": unit, "groups": speakers}
    made.analysis("neurons", "neurons")
    for measure, value in (("ari", ari), ("nmi", ari + 0.1), ("purity", 0.6 + ari / 3)):
        made.row("neurons", value, half, measure=measure, **keys)
    made.row("neurons", 0.6, None, measure="purity", control="chance", **keys)
    made.row(
        "neurons",
        0.7,
        None,
        measure="share",
        **{**keys, "other_model": "1", "other_layer": "vowel"},
    )


def clustered(
    phones: float = 0.4,
    voices: float = 0.8,
    *,
    twin: float | None = 0.1,
    half: float | None = 0.05,
    speakers: int = 20,
) -> Made:
    """A model whose clusters fit phones and i-vectors that fit gender so well, and its twin."""
    made = Made(twins={"m": "random:m"})
    matched(made, "m", "clusters=3 ~ classes", phones, half, speakers=speakers)
    matched(
        made,
        "ivector-small",
        "ivector=2 ~ gender",
        voices,
        half,
        speakers=speakers,
        unit="utterance",
    )
    matched(made, "m", "clusters=3 ~ gender", 0.99, half, speakers=speakers)
    if twin is not None:
        matched(made, "random:m", "clusters=3 ~ classes", twin, half, speakers=speakers)
        matched(made, "random:m", "clusters=3 ~ gender", twin / 2, half, speakers=speakers)
    return made


def test_clusters_that_match() -> None:
    found = claim("clusters-match-classes", clustered())
    assert found.verdict == "supported", doubts(found)
    phones, voices = found.effects
    assert (phones.value, phones.low, phones.high) == pytest.approx((0.4, 0.35, 0.45))
    assert phones.controls == pytest.approx({PERMUTATION: 0.0, TWIN: 0.1})
    assert voices.controls == pytest.approx({PERMUTATION: 0.0, TWIN: 0.05}), (
        "i-vectors stand against the untrained network's clusters and gender"
    )
    assert "NMI 0.50, 95 %: 0.45 to 0.55" in found.found[0]
    assert "one cluster alone 0.60" in found.found[0]
    measures = [line["measure"] for line in found.tables["Clusters against classes"]]
    assert measures == ["purity", "nmi", "ari"] * 5


def test_clusters_that_go_against_classes() -> None:
    found = claim("clusters-match-classes", clustered(phones=-0.2, twin=0.1))
    assert found.verdict == "not supported", doubts(found)


@pytest.mark.parametrize(
    ("made", "reasons"),
    [
        (clustered(phones=0.03), ["the interval holds zero", ""]),
        (clustered(half=None), ["there is no interval"] * 2),
        (clustered(twin=0.4), ["the control (untrained twin) shows as much", ""]),
        (clustered(twin=None), ["the control (untrained twin) was not run"] * 2),
        (
            clustered(speakers=6),
            ["", "6 speakers, and 8 are needed to tell gender from chance"],
        ),
    ],
)
def test_what_clusters_cannot_be_told_of(made: Made, reasons: list[str]) -> None:
    found = claim("clusters-match-classes", made)
    assert found.verdict == "cannot tell"
    assert doubts(found) == reasons


def test_one_half_of_the_clusters_is_not_enough() -> None:
    made = Made(twins={"m": "random:m"})
    matched(made, "m", "clusters=3 ~ classes", 0.4)
    matched(made, "random:m", "clusters=3 ~ classes", 0.1)
    found = claim("clusters-match-classes", made)
    assert [effect.verdict for effect in found.effects] == ["supported", "cannot tell"]
    assert doubts(found)[1] == "no clusters of i-vectors were held against gender"


# ---- speaker neurons

Counts = Mapping[str, tuple[float, float, float, float, float]]
"""Layer to observed, mean, low, high, p."""


def counted(
    made: Made,
    model: str,
    by_layer: Sequence[tuple[float, float]],
    total: tuple[float, float, float, float, float],
    *,
    contrast: str = CONTRAST,
    survive: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    null: bool = True,
) -> Made:
    """Rows of one contrast.

    Args:
        by_layer: observed and mean by chance, a layer each.
        total: observed, mean, low, high, p of all layers.
        survive: stratum to found again and expected, a layer each.
        null: whether labels were dealt.
    """
    made.analysis("neurons", "neurons")
    told = made.records["neurons"].setdefault("contrasts", [])
    told.append({"model": model, "name": contrast, "groups": ["1", "2"], "units": 20, "draws": 200})
    layers = LAYERS[: len(by_layer)]
    counts: dict[str, tuple[float, float, float, float, float]] = {
        layer: (seen, mean, max(0.0, mean - 3), mean + 3, 0.01 if seen > mean + 3 else 0.5)
        for layer, (seen, mean) in zip(layers, by_layer, strict=True)
    }
    for layer, (seen, mean, low, high, p) in {**counts, "all": total}.items():
        width = WIDTH if layer != "all" else WIDTH * len(layers)
        keys = {
            "model": model, "layer": layer, "property": contrast, "unit": "frame", "d": width,
            "estimator": "published",
        }  # fmt: skip
        made.row("neurons", seen, None, measure="neurons", **keys)
        for group, part in (("1", 0.4), ("2", 0.6)):
            own = {**keys, "other_layer": group}
            made.row("neurons", part * seen, None, measure="neurons", **own)
        if null:
            made.row("neurons", mean, None, measure="neurons", control="permuted-labels", **keys)
            made.rows["neurons"][-1].update(ci_low=low, ci_high=high)
            made.row("neurons", p, None, measure="neurons-p", **keys)
    for stratum, found in (survive or {}).items():
        for layer, (again, expected) in zip(layers, found, strict=True):
            keys = {
                "model": model, "layer": layer, "property": contrast, "measure": "neurons-survive",
                "other_layer": stratum, "unit": "frame", "d": WIDTH, "estimator": "published",
            }  # fmt: skip
            made.row("neurons", again, None, **keys)
            made.row("neurons", expected, None, control="chance", **keys)
    return made


EVENLY = [(30.0, 8.0)] * 4
TOTAL = (120.0, 32.0, 20.0, 45.0, 0.005)
FEW = (34.0, 32.0, 20.0, 45.0, 0.4)


def speakers(
    total: tuple[float, float, float, float, float] = TOTAL,
    twin: tuple[float, float, float, float, float] | None = FEW,
    by_layer: Sequence[tuple[float, float]] = EVENLY,
    *,
    null: bool = True,
) -> Made:
    made = counted(Made(twins={"m": "random:m"}), "m", by_layer, total, null=null)
    return made if twin is None else counted(made, "random:m", EVENLY, twin, null=null)


def test_more_neurons_than_by_chance() -> None:
    found = claim("neurons-above-chance", speakers())
    assert found.verdict == "supported", doubts(found)
    (effect,) = found.effects
    assert (effect.value, effect.low, effect.high) == pytest.approx((0.22, 0.1875, 0.25))
    assert effect.controls == pytest.approx({PERMUTATION: 13 / 400, TWIN: 2 / 400})
    assert "120 of 400 neurons" in found.found[0]
    assert "4 of 4 layers have more than chance" in found.found[0]
    lines = found.tables["Speaker neurons by layer"]
    assert [line["layer"] for line in lines] == [*LAYERS, "all"]
    assert lines[0]["p"] == 0.01


@pytest.mark.parametrize("name", ["neurons-above-chance", "clusters-match-classes"])
def test_twins_are_those_of_the_analysis(name: str) -> None:
    """Another analysis may call the twin otherwise; both names are of untrained networks."""
    made = speakers()
    matched(made, "m", "clusters=3 ~ classes", 0.4)
    matched(made, "random:m", "clusters=3 ~ classes", 0.1)
    made.analysis("probing")
    evidence = made.evidence()
    evidence.records["probing"]["twins"] = {"m": "its twin"}
    effect = claim(name, evidence).effects[0]
    assert effect.verdict == "supported", effect.doubt
    assert evidence.is_untrained("its twin")
    assert evidence.is_untrained("random:m")
    assert not evidence.is_untrained("m")
    assert evidence.names_of_twin("m") == ("random:m", "its twin")
    evidence.records["neurons"]["twins"] = {}
    assert claim(name, evidence).effects[0].doubt == "the control (untrained twin) was not run"


def test_fewer_neurons_than_by_chance() -> None:
    found = claim("neurons-above-chance", speakers((5.0, 32.0, 20.0, 45.0, 1.0)))
    assert found.verdict == "not supported", doubts(found)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (speakers(FEW), "the interval holds zero"),
        (speakers(twin=TOTAL), "the control (untrained twin) shows as much"),
        (speakers(twin=None), "the control (untrained twin) was not run"),
        (speakers(null=False), "labels were not dealt anew"),
        (
            speakers((60.0, 32.0, 20.0, 45.0, 0.1)),
            "too few labels can be dealt for a p of 0.05 (it is 0.1)",
        ),
        (
            counted(Made(), "m", EVENLY, TOTAL, contrast="gender/phones"),
            "no contrast tells speakers (or clusters of i-vectors) apart",
        ),
    ],
)
def test_what_counts_cannot_be_told_of(made: Made, reason: str) -> None:
    found = claim("neurons-above-chance", made)
    assert found.verdict == "cannot tell"
    assert doubts(found) == [reason]


@pytest.mark.parametrize("first", [0, 1])
def test_clusters_of_ivectors_come_before_speakers_themselves(first: int) -> None:
    made, asked = Made(), [("speaker/clusters=3", FEW), (CONTRAST, TOTAL)]
    for contrast, total in (asked[first], asked[1 - first]):
        counted(made, "m", EVENLY, total, contrast=contrast)
    found = claim("neurons-above-chance", made)
    (effect,) = found.effects
    assert CONTRAST in effect.what
    assert effect.value == pytest.approx(0.22)


# ---- within one gender


def gendered(
    again: Sequence[float] = (20, 22, 18, 21),
    twin: Sequence[float] | None = (1, 0, 1, 0),
    expected: float = 0.5,
    contrast: str = CONTRAST,
) -> Made:
    """30 speaker neurons of 100 in a layer, 12 and 18 of a group, and so many found again in each
    gender, where two random sets would share ``expected``."""

    def strata(counts: Sequence[float]) -> dict[str, list[tuple[float, float]]]:
        return {
            "F": [(x + 2, 2 * expected) for x in counts],
            "M": [(x + 3, 2 * expected) for x in counts],
            "every": [(x, expected * 12 / WIDTH) for x in counts],
        }

    made = Made(twins={"m": "random:m"})
    counted(made, "m", [(30, 8)] * len(again), TOTAL, survive=strata(again), contrast=contrast)
    if twin is not None:
        held = [(30, 8)] * len(twin)
        counted(made, "random:m", held, FEW, survive=strata(twin), contrast=contrast)
    return made


def test_neurons_that_remain_within_one_gender() -> None:
    found = claim("within-gender", gendered())
    assert found.verdict == "supported", doubts(found)
    (effect,) = found.effects
    assert effect.value == pytest.approx((81 - 2) / 120)
    assert effect.controls[PERMUTATION] == pytest.approx((poisson.ppf(0.975, 2) - 2) / 120)
    assert effect.controls[TWIN] == pytest.approx(0.0)
    assert effect.unit == "layers"
    assert "81 in each gender (chance 2.0)" in found.found[0]
    genders = [line["gender"] for line in found.tables["Found again within one gender"]]
    assert genders == ["F", "M", "each"]


def test_the_interval_within_one_gender_is_over_layers() -> None:
    counts = np.array([[20, 0.5, 30], [10, 0.5, 25], [5, 0.5, 40], [9, 1.0, 31]])
    share = (counts[:, 0].sum() - counts[:, 1].sum()) / counts[:, 2].sum()
    left = []
    for out in range(4):
        rest = np.delete(counts, out, axis=0)
        left.append((rest[:, 0].sum() - rest[:, 1].sum()) / rest[:, 2].sum())
    error = math.sqrt(3 / 4 * np.sum((np.array(left) - np.mean(left)) ** 2))
    found = share_above(counts)
    assert found.value == pytest.approx(share)
    assert (found.high - found.low) / 2 == pytest.approx(student.ppf(0.975, 3) * error)


def test_neurons_that_are_gender_neurons() -> None:
    """Fewer are found again than random sets would share: what tells speakers was gender."""
    found = claim("within-gender", gendered(again=(1, 0, 0, 1), twin=(8, 7, 9, 8), expected=8))
    assert found.verdict == "not supported", doubts(found)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (gendered(again=(0, 1, 0, 1)), "the interval holds zero"),
        (gendered(twin=None), "the control (untrained twin) was not run"),
        (gendered(twin=(21, 22, 23, 22)), "the control (untrained twin) shows as much"),
        (gendered(again=(20, 21), twin=(1, 0)), "2 layers, and 3 are needed"),
        (
            gendered(contrast="speaker/clusters=3"),
            "every speaker is of one gender: nothing can be found again in the other",
        ),
        (
            speakers(),
            "the selection was not repeated within genders, or a gender holds one group only",
        ),
    ],
)
def test_what_cannot_be_told_within_one_gender(made: Made, reason: str) -> None:
    found = claim("within-gender", made)
    assert found.verdict == "cannot tell"
    assert doubts(found) == [reason]


# ---- protection


def protected(
    made: Made | None = None,
    *,
    model: str = "m",
    none: float = 0.08,
    random: float = 0.06,
    half: float | None = 0.02,
    keep: Sequence[int] = (64, 128),
    seeds: int = 2,
    tasks: Sequence[str] = ("sid", "pr"),
    spread: float = 0.0,
    name: str = "protection",
    conditions: Sequence[str] = ("none", "protected", "random"),
) -> Made:
    """A run of protection: protected models are ahead by so much, other protection by the rest."""
    made = made or Made(twins={"m": "random:m"})
    made.analysis(
        name,
        "protection",
        config={
            "model": model, "score": "l1", "tune": "recipe", "control": "score", "seeds": seeds,
            "contrast": CONTRAST,
        },
        tasks=[
            {"name": t, "title": t.upper(), "measure": "per" if t == "pr" else "accuracy",
             "better": "lower" if t == "pr" else "higher"}
            for t in tasks
        ],
    )  # fmt: skip
    for task in tasks:
        sign, measure = (-1, "per") if task == "pr" else (1, "accuracy")

        def row(layer: str, k: int, s: int, value: float, ends: float | None, of: str) -> None:
            made.row(
                name, value, ends, model=model, layer=layer, other_layer=str(k), property=task,  # noqa: B023
                measure=of, estimator="dev-selected", seed=s, groups=12,
            )  # fmt: skip

        for k in keep:
            for s in range(seeds):
                own = spread * (s - (seeds - 1) / 2)
                base = 0.5 + 0.001 * s
                scores = {"none": base, "protected": base + sign * (none + own)}
                scores["random"] = scores["protected"] - sign * (random + own)
                for condition in conditions:
                    row(condition, k, s, scores[condition], 0.05, measure)
                if "protected" in conditions:
                    for rival, more in (("none", none), ("random", random)):
                        if rival in conditions:
                            of = f"{measure}-over-{rival}"
                            row("protected", k, s, sign * (more + own), half, of)
        row("unpruned", 768, 0, 0.6 if sign > 0 else 0.4, 0.05, measure)
    return made


def with_twin(made: Made, *, none: float = 0.0, random: float = 0.0) -> Made:
    return protected(made, model="random:m", none=none, random=random, name="protection-twin")


def test_protection_that_keeps_sid() -> None:
    found = claim("protection-keeps-sid", with_twin(protected()))
    assert found.verdict == "supported", doubts(found)
    assert len(found.effects) == 4, "two sizes, against none and against other neurons"
    none, random = found.effects[0], found.effects[2]
    assert "64 rows left" in none.what
    assert none.value == pytest.approx(0.08)
    assert (none.low, none.high) == pytest.approx((0.06, 0.10))
    assert none.controls == pytest.approx({PERMUTATION: 0.02, TWIN: 0.0}), (
        "protecting other neurons brings in 0.02"
    )
    assert random.controls == pytest.approx({PERMUTATION: 0.0, TWIN: 0.0})
    assert none.n == 12
    assert "+8.0 points against none" in found.found[0]
    assert found.found[1].startswith("m, PR (phone error rate), + is better"), "PR stands beside it"
    lines = found.tables["Protected models less others, more is better"]
    assert len(lines) == 8
    assert {line["task"] for line in lines} == {"SID (accuracy)", "PR (phone error rate)"}
    assert all(line["better by"] > 0 for line in lines), "less PER is better"


def test_protection_that_harms_sid() -> None:
    found = claim("protection-keeps-sid", with_twin(protected(none=-0.08, random=-0.06)))
    assert found.verdict == "not supported", doubts(found)


def test_without_the_twins_experiment_nothing_is_told() -> None:
    found = claim("protection-keeps-sid", protected(seeds=1))
    assert set(doubts(found)) == {"the control (untrained twin) was not run"}


def test_other_neurons_drawn_once_are_no_control() -> None:
    made = protected(seeds=1)
    protected(made, model="random:m", none=0, random=0, name="protection-twin", seeds=1)
    found = claim("protection-keeps-sid", made)
    assert [effect.verdict for effect in found.effects] == ["supported"] * 2 + ["cannot tell"] * 2
    assert doubts(found)[2] == (
        "the control (permutation) was not run: other neurons were drawn once; two seeds are needed"
    )


def test_other_neurons_that_differ_as_much_among_themselves() -> None:
    """Seed 1's draw of other neurons is 0.1 behind that of seed 0: either may be the control."""
    made = with_twin(protected())
    for row in made.rows["protection"]:
        if row["layer"] == "random" and row["seed"] == 1 and row["property"] == "sid":
            row["value"] -= 0.1
    effects = claim("protection-keeps-sid", made).effects
    assert [e.controls[PERMUTATION] for e in effects[2:]] == pytest.approx([0.1] * 2)
    assert {e.doubt for e in effects[2:]} == {"the control (permutation) shows as much"}


def test_other_neurons_that_keep_as_much() -> None:
    found = claim("protection-keeps-sid", with_twin(protected(random=-0.01)))
    assert found.verdict == "cannot tell"
    assert doubts(found) == [
        *["the control (permutation) shows as much"] * 2,
        *["the interval holds zero"] * 2,
    ]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (protected(tasks=("pr",)), "SID was not probed"),
        (protected(model="random:m"), "no run of protection is of a trained model"),
        (protected(conditions=("none",)), "no protected model stands beside one of the condition"),
        (with_twin(protected(none=0.01, random=0.01)), "the interval holds zero"),
        (with_twin(protected(half=None)), "there is no interval"),
        (with_twin(protected(), none=0.2, random=0.2), "the control (untrained twin) shows as"),
        (with_twin(protected(spread=0.2)), "the interval holds zero"),
    ],
)
def test_what_protection_cannot_be_told_of(made: Made, reason: str) -> None:
    found = claim("protection-keeps-sid", made)
    assert found.verdict == "cannot tell"
    assert all(doubt.startswith(reason) for doubt in doubts(found)), doubts(found)


def test_seeds_are_joined_by_rubins_rules() -> None:
    def gap(value: float, half: float) -> Gap:
        return Gap(64, 0, Value(value, value - half, value + half), "better", paired=True)

    values, half = (0.04, 0.06, 0.11), 0.03
    found = joined([gap(v, half) for v in values])
    within, between = (half / 1.959964) ** 2, 4 / 3 * np.var(values, ddof=1)
    freedom = 2 * (1 + within / between) ** 2
    assert found.value == pytest.approx(0.07)
    expected = student.ppf(0.975, freedom) * math.sqrt(within + between)
    assert found.high - found.value == pytest.approx(expected, rel=1e-6)
    one = joined([gap(0.04, half)])
    assert (one.low, one.high) == pytest.approx((0.01, 0.07))
    same = joined([gap(0.04, half)] * 3)
    assert (same.low, same.high) == pytest.approx((0.01, 0.07))


# ---- whatever is given


def everything(model: str = "m") -> Made:
    """All analyses of one model and its twin."""
    twin = f"random:{model}"
    made = clustered()
    for rows in made.rows.values():
        for row in rows:
            row["model"] = {"m": model, "random:m": twin}.get(row["model"], row["model"])
    made.twins = {model: twin}
    survive = {"every": [(20.0, 0.5), (22.0, 0.5), (18.0, 0.5), (21.0, 0.5)]}
    counted(made, model, EVENLY, TOTAL, survive=survive)
    counted(made, twin, EVENLY, FEW, survive={"every": [(1.0, 0.5), (0.0, 0.5)] * 2})
    protected(made, model=model)
    return protected(made, model=twin, none=0.0, random=0.0, name="of the twin")


@pytest.mark.parametrize("name", NAMES)
def test_all_four_are_told_side_by_side_whatever_the_name(name: str) -> None:
    plain, hostile = claim(name, everything()), claim(name, everything(HOSTILE))
    assert plain.verdict == "supported", doubts(plain)
    assert hostile.verdict == "supported", doubts(hostile)
    assert [e.value for e in plain.effects] == [e.value for e in hostile.effects]
    assert any(HOSTILE in effect.what for effect in hostile.effects)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_at_all_gives_reasons_and_no_exception(name: str) -> None:
    empty = Made()
    empty.analysis("neurons", "neurons")
    empty.analysis("protection", "protection")
    for evidence in (Evidence({}, {}, {}, {}), empty.evidence()):
        found = claim(name, evidence)
        assert found.name == name
        assert found.verdict == "cannot tell"
        assert found.effects
        assert all(doubts(found))
        assert found.title
        assert "arXiv 2506.21712" in found.paper
    assert "the study has no results of" in doubts(claim(name, Evidence({}, {}, {}, {})))[0]


@pytest.mark.parametrize("name", NAMES)
def test_damaged_tables_are_reasons(name: str) -> None:
    evidence = everything().evidence()
    broken = {k: table.drop(columns="measure") for k, table in evidence.tables.items()}
    given = Evidence(broken, evidence.records, {}, {})
    assert claim(name, given).verdict == "cannot tell"
