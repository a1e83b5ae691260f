"""Claims of A2024 about layers: true, false and undecided made tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_tables import HOSTILE, Made
from numpy.typing import NDArray

from voxstrata.studies.claims.block_search import find_block, null_excesses
from voxstrata.studies.claims.claim import PERMUTATION, TWIN
from voxstrata.studies.claims.embedding_similar import embedding_similar
from voxstrata.studies.claims.evidence import SHARED, Evidence
from voxstrata.studies.claims.fourth_layer import dealt_names, fourth_layer
from voxstrata.studies.claims.namesakes import sames
from voxstrata.studies.claims.phone_depth import phone_depth
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.claims.similar_block import similar_block

ECAPA = ("conv", "block1", "block2", "block3", "mfa")
MINE = (
    *("speaker-against-speech", "content-speaker-uncorrelated", "phone-depth", "similar-block"),
    *("fourth-layer", "embedding-similar", "contrastive-beside-dino", "hubert-beside-wavlm"),
)


def peaked(layers: tuple[str, ...], at: str, height: float = 0.3) -> dict[str, float]:
    """0.4 everywhere, more by ``height`` in one layer."""
    return {name: 0.4 + (height if name == at else 0) for name in layers}


def phones_made(ecapa: str, speech: str, half: float = 0.02) -> Made:
    """Phones are highest in layer ``ecapa`` of ECAPA and in ``speech`` of a Transformer; twins are
    flat."""
    transformer = tuple(str(i) for i in range(9))
    made = Made(roles={"speaker": ("e",), "speech": ("s",)})
    made.twins = {"e": "random:e", "s": "random:s"}
    for model, layers, top in (("e", ECAPA, ecapa), ("s", transformer, speech)):
        for spec, height in ((model, 0.3), (f"random:{model}", 0.0)):
            curve = peaked(layers, top, height)
            made.curve("cca-phone", spec, curve, half, dealt=0.1)
            made.curve(
                "variance-shares",
                spec,
                curve,
                half,
                measure="share-phone-corrected",
                control="permuted-labels",
                dealt=0.0,
            )
            for layer, good in curve.items():
                made.score("pr", spec, 1 - good, half, layer=layer, dealt=0.95)
            made.score("pr", spec, 0.1, half, dealt=0.95)  # the sum is no layer
    return made


class TestPhoneDepth:
    def test_true(self) -> None:
        found = phone_depth(phones_made("block1", "6").evidence())
        assert found.verdict == "supported"
        assert len(found.effects) == 6
        for effect in found.effects:
            assert effect.value == pytest.approx(0.3)
            assert effect.low == pytest.approx(0.3 - 0.02 * math.sqrt(2))
            assert effect.controls == pytest.approx({TWIN: 0, PERMUTATION: 0}, abs=1e-12)
        table = found.tables["Where phones are best told apart"]
        assert {(line["model"], line["best layer"]) for line in table} == {
            ("e", "block1"),
            ("s", "6"),
        }

    def test_false(self) -> None:
        found = phone_depth(phones_made("mfa", "1").evidence())
        assert [effect.verdict for effect in found.effects] == ["not supported"] * 6

    def test_the_very_middle_is_neither_half(self) -> None:
        found = phone_depth(phones_made("block2", "4").evidence())
        assert all(effect.value == pytest.approx(-0.3) for effect in found.effects)

    def test_too_little(self) -> None:
        assert phone_depth(phones_made("block1", "6", 0.4).evidence()).verdict == "cannot tell"

    def test_twins_with_the_same_peak(self) -> None:
        made = phones_made("block1", "6")
        for row in made.rows["properties"]:
            if row["model"] == "random:e" and row["layer"] == "block1" and not row["control"]:
                row["value"] += 0.5
        effect = phone_depth(made.evidence()).effects[0]
        assert effect.controls[TWIN] == pytest.approx(0.5)
        assert effect.doubt == "the control (untrained twin) shows as much"

    def test_pooled_layers_and_order_of_the_record(self) -> None:
        """A pooled layer with phones repeated in it is not counted; depth follows the record."""
        made = phones_made("block1", "6")
        made.curve("cca-phone", "e", {"embedding": 0.99}, 0.02, dealt=0.1)
        made.rows["properties"].reverse()
        made.records["properties"]["models"] = [
            {"spec": "e", "layers": [{"name": name} for name in (*ECAPA, "pool", "embedding")]},
            {"spec": "s", "layers": [{"name": str(i)} for i in range(9)]},
        ]
        effect = phone_depth(made.evidence()).effects[0]
        assert effect.value == pytest.approx(0.3)

    def test_missing_sources_are_named(self) -> None:
        made = phones_made("block1", "6")
        made.rows.pop("probing"), made.records.pop("probing")
        found = phone_depth(made.evidence())
        assert found.verdict == "cannot tell"
        assert "the task pr on single layers" in found.effects[2].doubt
        assert found.effects[0].verdict == "supported"


def brute_block(values: NDArray[np.float64]) -> tuple[int, int, float]:
    """Every block by loops: inside less across, less the same of means by distance."""
    size = len(values)
    means = {d: float(np.mean([values[i, i + d] for i in range(size - d)])) for d in range(1, size)}
    best = (0, 0, -math.inf)
    for length in range(max(2, math.ceil(size / 4)), math.floor(2 * size / 3) + 1):
        for start in range(size - length + 1):
            block = range(start, start + length)
            sums: list[list[float]] = [[], []]
            plain: list[list[float]] = [[], []]
            for i in range(size):
                for j in range(i + 1, size):
                    here = (i in block) + (j in block)
                    if here:
                        sums[2 - here].append(float(values[i, j]))
                        plain[2 - here].append(means[j - i])
            excess = np.mean(sums[0]) - np.mean(sums[1]) - (np.mean(plain[0]) - np.mean(plain[1]))
            if excess > best[2] + 1e-12:
                best = (start, start + length, float(excess))
    return best


def smooth(size: int, noise: float = 0.01, seed: int = 0) -> NDArray[np.float64]:
    """CKA that falls with the distance of layers."""
    rng = np.random.default_rng(seed)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    drawn = np.triu(rng.normal(0, noise, (size, size)), 1)
    return np.exp(-apart / 8) + drawn + drawn.T


def blocked(size: int, start: int, stop: int, seed: int = 0) -> NDArray[np.float64]:
    """The same, with a block of layers that are all alike."""
    found = smooth(size, seed=seed)
    found[start:stop, start:stop] = np.maximum(found[start:stop, start:stop], 0.9)
    return found


class TestBlockSearch:
    @pytest.mark.parametrize("seed", range(3))
    def test_is_the_best_of_all_blocks(self, seed: int) -> None:
        values = np.random.default_rng(seed).random((9, 9))
        values = (values + values.T) / 2
        found = find_block(values, values, values)
        start, stop, excess = brute_block(values)
        assert (found.start, found.stop) == (start, stop)
        assert found.excess.value == pytest.approx(excess, abs=1e-12)

    def test_finds_a_planted_block(self) -> None:
        values = blocked(25, 13, 23)
        found = find_block(values, values - 0.02, values + 0.02)
        assert (found.start, found.stop) == (13, 23)
        upper = np.triu(np.ones((10, 10), bool), 1)
        assert found.inside == pytest.approx(values[13:23, 13:23][upper].mean())
        outside = np.r_[0:13, 23:25]
        assert found.across == pytest.approx(values[13:23][:, outside].mean())
        assert found.excess.value > np.quantile(null_excesses(values, seed=0), 0.95)

    def test_no_excess_where_distance_explains_all(self) -> None:
        """Shuffling equal cells changes nothing, and no block has an excess."""
        values = smooth(12, noise=0)
        assert find_block(values, values, values).excess.value == pytest.approx(0, abs=1e-12)
        assert null_excesses(values, seed=0, draws=5) == pytest.approx(np.zeros(5), abs=1e-12)

    def test_null_is_the_search_in_shuffled_matrices(self) -> None:
        """Of four layers the null has 3! 2! = 12 matrices; each must be what brute force finds."""
        from itertools import permutations

        values = np.random.default_rng(7).random((4, 4))
        values = (values + values.T) / 2
        known = set()
        for near in permutations(np.diagonal(values, 1)):
            for far in permutations(np.diagonal(values, 2)):
                made = np.diag(near, 1) + np.diag(far, 2) + np.diag(np.diagonal(values, 3), 3)
                known.add(round(brute_block(made + made.T)[2], 9))
        drawn = {round(float(x), 9) for x in null_excesses(values, seed=0, draws=400)}
        assert drawn == known


def block_made(large: NDArray[np.float64], base: NDArray[np.float64], half: float = 0.01) -> Made:
    made = Made(roles={"wavlm-large": ("L",), "wavlm-base": ("B",), "wavlm-base-plus": ("P",)})
    made.twins = {name: f"random:{name}" for name in "LBP"}
    for name, values in (("L", large), ("B", base), ("P", base)):
        names = [str(i) for i in range(len(values))]
        # The local encoder is no part of a block.
        whole = np.full((len(values) + 1,) * 2, 0.05)
        whole[1:, 1:] = values
        made.similar(name, ["conv7", *names], name, ["conv7", *names], whole, half)
        made.similar(f"random:{name}", names, f"random:{name}", names, np.full_like(values, 0.99))
    return made


class TestSimilarBlock:
    def test_true(self) -> None:
        made = block_made(blocked(25, 13, 23), smooth(13))
        curve = {str(i): 0.7 if 13 <= i < 23 else 0.4 for i in range(25)}
        made.curve("cca-phone", "L", curve)
        found = similar_block(made.evidence())
        assert found.verdict == "supported"
        blocks = found.tables["The block that stands out most"]
        assert (blocks[0]["from"], blocks[0]["to"]) == ("13", "22")
        assert found.effects[0].controls[TWIN] == pytest.approx(0, abs=1e-12)
        profile = found.tables["Properties inside and outside the block of L"]
        assert profile[0]["inside"] == pytest.approx(0.7)
        assert profile[0]["outside"] == pytest.approx(0.4)
        assert profile[0]["layers inside"] == 10

    def test_block_in_base_too(self) -> None:
        found = similar_block(
            block_made(blocked(25, 13, 23), blocked(25, 3, 12, seed=1)).evidence()
        )
        assert found.effects[0].verdict == "supported"
        assert [effect.verdict for effect in found.effects[1:]] == ["not supported"] * 2
        assert found.verdict == "not supported"

    def test_no_block_in_large(self) -> None:
        found = similar_block(block_made(smooth(25), smooth(13, seed=1)).evidence())
        assert found.effects[0].verdict == "cannot tell"

    def test_too_little(self) -> None:
        wide = similar_block(block_made(blocked(25, 13, 23), smooth(13), 0.5).evidence())
        assert wide.verdict == "cannot tell"
        few = similar_block(block_made(smooth(3), smooth(3)).evidence())
        assert "too few to search" in few.effects[0].doubt

    def test_a_missing_cell_is_no_zero(self) -> None:
        made = block_made(blocked(25, 13, 23), smooth(13))
        made.rows["similarity"] = [
            row
            for row in made.rows["similarity"]
            if (row["model"], row["layer"], row["other_layer"]) != ("L", "3", "9")
        ]
        found = similar_block(made.evidence())
        assert "some layers of L were not compared" in found.effects[0].doubt
        assert found.verdict == "cannot tell"


def ecapa_made(heights: dict[str, float], half: float = 0.02, pairs: int = 3) -> Made:
    """CKA of supervised and DINO models by layer, 0.8 where none is named; pairs of other layers in
    between. Twins are alike in every layer."""
    made = Made(roles={"supervised": SUPERVISED[:pairs], "dino": DINO[:pairs]})
    for one, other in zip(SUPERVISED[:pairs], DINO[:pairs], strict=True):
        values = np.full((5, 5), 0.45)
        np.fill_diagonal(values, [heights.get(name, 0.8) for name in ECAPA])
        made.similar(one, ECAPA, other, ECAPA, values, half)
        made.twins |= {one: f"random:{one}", other: f"random:{other}"}
        made.similar(f"random:{one}", ECAPA, f"random:{other}", ECAPA, np.full((5, 5), 0.5))
    return made


SUPERVISED, DINO = ("sup", "sup2", "sup3"), ("dino", "dino2", "dino3")
LAST = {"block3": 0.2}


class TestFourthLayer:
    @pytest.mark.parametrize(("lowest", "reading"), [("block3", 0), ("mfa", 1)])
    def test_true_in_one_reading(self, lowest: str, reading: int) -> None:
        found = fourth_layer(ecapa_made({lowest: 0.2}).evidence())
        assert found.verdict == "supported"
        (effect,) = found.effects
        assert lowest in effect.what
        assert effect.value == pytest.approx(0.6)
        assert effect.low == pytest.approx(0.6 - 0.02 * math.sqrt(2))
        # Beside one name on the lowest layer of all pairs (2 of 125 deals): of two pairs.
        assert effect.controls == pytest.approx({TWIN: 0, PERMUTATION: (0.6 + 0.6 - 0.6) / 3})
        readings = found.tables["Readings of the fourth layer"]
        assert readings[reading]["verdict"] == "supported"
        assert readings[1 - reading]["verdict"] == "cannot tell"
        assert readings[1 - reading]["low"] < 0

    def test_false(self) -> None:
        found = fourth_layer(ecapa_made({"block3": 0.95, "conv": 0.2}).evidence())
        assert found.verdict == "not supported"
        (effect,) = found.effects
        assert "block3" in effect.what
        assert effect.value == pytest.approx(-0.75)

    def test_readings_that_differ(self) -> None:
        found = fourth_layer(ecapa_made({"block3": 0.2, "mfa": 0.95}).evidence())
        readings = found.tables["Readings of the fourth layer"]
        assert [line["verdict"] for line in readings] == ["supported", "not supported"]
        assert found.verdict == "cannot tell"
        (effect,) = found.effects
        assert effect.doubt.startswith("the two readings differ (")
        assert "block3" in effect.doubt
        assert "mfa" in effect.doubt
        assert [said.split(":")[0] for said in found.found] == [
            "Read as block3, counting conv as the first layer",
            "Read as mfa, counting block1 as the first layer",
        ]

    def test_too_little(self) -> None:
        found = fourth_layer(ecapa_made(LAST, half=0.5).evidence())
        assert found.verdict == "cannot tell"
        assert len(found.effects) == 2

    @pytest.mark.parametrize(("pairs", "are"), [(1, "is 1"), (2, "are 2")])
    def test_few_pairs_of_models_prove_nothing(self, pairs: int, are: str) -> None:
        """One of five layers is the least alike in any case."""
        found = fourth_layer(ecapa_made(LAST, pairs=pairs).evidence())
        assert found.verdict == "cannot tell"
        assert found.effects[0].controls[PERMUTATION] == pytest.approx(0.6)
        assert found.effects[0].doubt == (
            "the control (permutation) shows as much: one of 5 layers is the least alike in any "
            f"case; 3 pairs of models are needed, and there {are}"
        )

    @pytest.mark.parametrize("pairs", [1, 2, 3])
    def test_names_dealt_anew_are_all_deals(self, pairs: int) -> None:
        """Brute force over both names in every pair."""
        from itertools import permutations, product

        rng = np.random.default_rng(pairs)
        held = [dict(zip(ECAPA, rng.random(5), strict=True)) for _ in range(pairs)]
        made = Made()
        for pair, heights in zip(zip(SUPERVISED, DINO, strict=True), held, strict=False):
            made.similar(pair[0], ECAPA, pair[1], ECAPA, np.diag([*heights.values()]))
        evidence = made.evidence()
        given = [sames(evidence, one, two) for one, two in zip(SUPERVISED, DINO, strict=True)]

        def apart(heights: dict[str, float], name: str) -> float:
            return min(v for k, v in heights.items() if k != name) - heights[name]

        expected = [
            [np.mean([apart(h, d[r]) for h, d in zip(held, deal, strict=True)]) for r in range(2)]
            for deal in product(permutations(ECAPA, 2), repeat=pairs)
        ]
        dealt = dealt_names([one for one in given if one is not None])
        assert dealt.shape == (20**pairs, 2)
        assert np.sort(dealt, axis=0) == pytest.approx(np.sort(expected, axis=0))

    def test_random_matrices_are_rarely_a_finding(self) -> None:
        """Of 200 tables in which no layer is special; intervals alone support about a third."""
        rng, hits, plain = np.random.default_rng(5), 0, 0
        evidence = ecapa_made({}).evidence()
        table = evidence.tables["similarity"]
        table = table[table["layer"] == table["other_layer"]].copy()
        evidence = replace(evidence, tables={"similarity": table})
        alone = {"supervised": ("sup",), "dino": ("dino",)}
        for i in range(200):
            values = rng.uniform(0.2, 0.9, len(table))
            table["value"], table["ci_low"], table["ci_high"] = values, values - 0.02, values + 0.02
            hits += fourth_layer(evidence).verdict == "supported"
            if i < 50:
                one = fourth_layer(replace(evidence, roles=alone))
                assert one.verdict == "cannot tell"
                lines = one.tables["Readings of the fourth layer"]
                plain += any(line["low"] > 0 for line in lines)
        assert hits <= 10
        assert plain > 12

    def test_two_layers_as_unlike_are_no_fourth_layer(self) -> None:
        made = ecapa_made(LAST)
        for row in made.rows["similarity"]:
            if row["layer"] == row["other_layer"] == "mfa" and row["model"] in SUPERVISED:
                row["value"] = row["ci_low"] = row["ci_high"] = 0.21
        found = fourth_layer(made.evidence())
        assert found.effects[0].value == pytest.approx(0.01)
        assert found.effects[0].doubt == "the interval holds zero"

    def test_one_twin_of_both_is_no_control(self) -> None:
        """Another analysis may name the twin that two models share after another model."""
        made = ecapa_made(LAST, pairs=1)
        made.analysis("probing")
        evidence = made.evidence()
        evidence.records["probing"]["twins"] = {"sup": "random:sup", "dino": "random:dino"}
        evidence.records["similarity"]["twins"] = dict.fromkeys(("sup", "dino"), "random:dino")
        effect = fourth_layer(evidence).effects[0]
        assert math.isnan(effect.controls[TWIN])
        assert effect.doubt == (
            "the control (untrained twin) was not run: the models share one untrained twin"
        )

    def test_twins_of_an_analysis_that_does_not_name_them(self) -> None:
        """Similarity has twins among its models; whose they are, other analyses know."""
        made = ecapa_made(LAST, pairs=1)
        made.analysis("probing")
        evidence = made.evidence()
        record = evidence.records["similarity"]
        del record["twins"]
        assert math.isnan(fourth_layer(evidence).effects[0].controls[TWIN])
        specs = ("sup", "dino", "random:sup", "random:dino")
        record["models"] = [{"spec": spec, "fingerprint": f"of {spec}"} for spec in specs]
        assert fourth_layer(evidence).effects[0].controls[TWIN] == 0
        # Two names of one network are one twin.
        record["models"] = [{"spec": spec, "fingerprint": spec[:6]} for spec in specs]
        assert math.isnan(fourth_layer(evidence).effects[0].controls[TWIN])

    def test_twins_of_the_same_frame_layers_are_one_network(self) -> None:
        """What follows the layers that are compared (a norm of the embedding) does not matter."""
        evidence = ecapa_made(LAST, pairs=1).evidence()
        record = evidence.records["similarity"]

        def model(spec: str, seed: int) -> dict[str, object]:
            layers = [{"name": name, "width": 128} for name in (*ECAPA, "embedding")]
            details = {"random": True, "seed": seed}
            return {"spec": spec, "fingerprint": spec, "details": details, "layers": layers}

        record["models"] = [model("random:sup", 0), model("random:dino", 0)]
        assert evidence.twins_apart("similarity", ("sup", "dino"))[1] == ""
        effect = fourth_layer(evidence).effects[0]
        assert effect.notes[TWIN] == SHARED
        assert math.isnan(effect.controls[TWIN])
        record["models"].append(model("random:dino,seed=1", 1))
        layers = frozenset(ECAPA)
        twins = ("random:sup", "random:dino,seed=1")
        assert evidence.twins_apart("similarity", ("sup", "dino"), layers) == (twins, "")
        record["models"][1] = model("random:dino", 3)
        assert fourth_layer(evidence).effects[0].controls[TWIN] == 0

    def test_a_second_untrained_network_stands_for_a_shared_twin(self) -> None:
        made = ecapa_made(LAST, pairs=1)
        for row in made.rows["similarity"]:
            row["model"] = row["model"].replace("random:sup", "random:sup,seed=1")
        evidence = made.evidence()
        record = evidence.records["similarity"]
        record["twins"] = dict.fromkeys(("sup", "dino"), "random:dino")
        specs = ("sup", "dino", "random:dino", "random:other,seed=1")
        record["models"] = [{"spec": spec} for spec in specs]
        assert evidence.twins_apart("similarity", ("sup", "dino")) == ((), SHARED)
        record["models"].append({"spec": "random:sup,seed=1"})
        twins = ("random:dino", "random:sup,seed=1")
        assert evidence.twins_apart("similarity", ("sup", "dino")) == (twins, "")
        assert fourth_layer(evidence).effects[0].controls[TWIN] == 0

    def test_rows_the_other_way_round(self) -> None:
        made = ecapa_made(LAST, pairs=1)
        for row in made.rows["similarity"]:
            row["model"], row["other_model"] = row["other_model"], row["model"]
            row["layer"], row["other_layer"] = row["other_layer"], row["layer"]
        assert fourth_layer(made.evidence()).effects[0].value == pytest.approx(0.6)

    def test_sid_and_ablation_beside_it(self) -> None:
        made = ecapa_made(LAST, pairs=1)
        for i, name in enumerate(ECAPA):
            made.score("sid", "sup", 0.5 + 0.1 * i, layer=name)
            made.score("sid", "dino", 0.5, layer=name)
        lost = {"property": "sid", "measure": "lost-without-layer"}
        made.row("probing", 0.1, 0.05, model="dino", layer="block3", **lost)
        made.row("probing", 0.01, 0.05, model="sup", layer="block3", **lost)
        found = fourth_layer(made.evidence())
        beside = found.tables["CKA of supervised and DINO beside SID, by layer"]
        assert {(line["supervised"], line["DINO"]) for line in beside} == {("sup", "dino")}
        assert [line["layer"] for line in beside] == list(ECAPA)
        assert beside[3]["CKA"] == pytest.approx(0.2)
        assert beside[3]["SID, supervised less DINO"] == pytest.approx(0.3)
        assert any("block3 the sum of dino loses in SID" in said for said in found.found)
        assert any("block3 the sum of sup is not told apart" in said for said in found.found)


def embedding_made(values: list[float], half: float = 0.02) -> Made:
    """CKA of the embedding of a speaker model with each layer of a Transformer."""
    made = Made(roles={"dino": ("d",), "speaker": ("d",), "wavlm": ("w",), "wavlm-large": ("w",)})
    made.twins = {"d": "random:d", "w": "random:w"}
    names = [str(i) for i in range(len(values))]
    both = np.array([[0.1] * len(values), values])
    made.similar("w", names, "d", ["pool", "embedding"], both.T, half, unit="utterance")
    made.similar("w", names, "d", ["embedding"], [[0.9 - v] for v in values], half)  # by frame
    flat = np.full((len(values), 2), 0.5)
    made.similar("random:w", names, "random:d", ["pool", "embedding"], flat, unit="utterance")
    return made


U_SHAPE = [0.8] * 5 + [0.3] * 3 + [0.8] * 5


class TestEmbeddingSimilar:
    def test_true(self) -> None:
        found = embedding_similar(embedding_made(U_SHAPE).evidence())
        effect = found.effects[0]
        assert effect.value == pytest.approx(0.5)
        assert effect.low == pytest.approx(0.5 - 0.02 * math.sqrt(2))
        assert effect.controls[TWIN] == pytest.approx(0)
        assert found.verdict == "supported"

    def test_false(self) -> None:
        upside = [1.1 - value for value in U_SHAPE]
        found = embedding_similar(embedding_made(upside).evidence())
        assert found.effects[0].value == pytest.approx(-0.5)
        assert found.verdict == "not supported"

    def test_one_end_alone_is_not_enough(self) -> None:
        falling = np.linspace(0.9, 0.1, 13).tolist()
        assert embedding_similar(embedding_made(falling).evidence()).effects[0].value < 0

    def test_too_little(self) -> None:
        assert embedding_similar(embedding_made(U_SHAPE, half=0.6).evidence()).verdict == (
            "cannot tell"
        )
        few = embedding_similar(embedding_made([0.8, 0.3, 0.8]).evidence())
        assert "too few layers" in few.effects[0].doubt

    def test_by_frame_alone(self) -> None:
        made = embedding_made(U_SHAPE)
        made.rows["similarity"] = [r for r in made.rows["similarity"] if r["unit"] == "frame"]
        found = embedding_similar(made.evidence())
        assert "by utterance" in found.effects[0].doubt

    @pytest.mark.parametrize("joint", ["d + w", "w + d"])
    def test_layers_of_both(self, joint: str) -> None:
        made = embedding_made(U_SHAPE)
        made.score("sid", "d", 0.8)
        made.score("sid", "w", 0.6)
        made.score("sid", joint, 0.9)
        made.score("sid", "d + x", 0.99)
        found = embedding_similar(made.evidence())
        line, second = found.tables["Layers of both models in one sum"]
        assert (line["alone"], line["the better one"], line["paired"]) == ("d", "yes", "no")
        assert line["gained by both"] == pytest.approx(0.1)
        assert line["low"] == pytest.approx(0.1 - 0.02 * math.sqrt(2))
        assert (second["alone"], second["the better one"]) == ("w", "no")
        assert second["gained by both"] == pytest.approx(0.3)
        assert any("brings more than d alone" in said for said in found.found)

    @pytest.mark.parametrize(
        ("task", "more", "half", "said"),
        [
            ("sid", 0.1, 0.005, "brings more than d alone"),
            ("asv", -0.1, 0.005, "brings more than d alone"),  # an error rate
            ("sid", -0.1, 0.005, "brings less than d alone"),
            ("sid", 0.1, 0.2, "is not told apart from d alone"),
        ],
    )
    def test_layers_of_both_paired_with_each(
        self, task: str, more: float, half: float, said: str
    ) -> None:
        """The paired difference speaks, not the two scores, which overlap."""
        made = embedding_made(U_SHAPE)
        sign = -1 if task == "asv" else 1
        for model, good in (("d", 0.2), ("w", 0.1), ("d + w", 0.25)):
            made.score(task, model, 0.5 + sign * good, 0.4)
        made.more(task, "d + w", "d", more, half)
        made.more(task, "d + w", "w", more + sign * 0.1, half)
        found = embedding_similar(made.evidence())
        first, second = found.tables["Layers of both models in one sum"]
        assert [x["paired"] for x in (first, second)] == ["yes", "yes"]
        assert first["gained by both"] == pytest.approx(sign * more)
        assert first["high"] - first["low"] == pytest.approx(2 * half)
        assert second["gained by both"] == pytest.approx(sign * more + 0.1)
        told = [text for text in found.found if "one sum over" in text]
        assert len(told) == 1
        assert said in told[0]
        assert found.verdict == "supported", "what both bring is no effect of the claim"


@pytest.mark.parametrize("name", MINE)
def test_nothing_at_all_is_cannot_tell(name: str) -> None:
    """No roles, no tables; and roles whose models no analysis has: a reason, never an error."""
    roles = dict.fromkeys(
        ("speech", "speaker", "wavlm", "hubert", "wavlm-base", "wavlm-base-plus", "wavlm-large"),
        (HOSTILE,),
    ) | {"dino": ("d",), "supervised": ("s",), "contrastive": ("c",)}
    made = Made(roles=roles)
    empty = Made(roles=roles)
    for job in ("probing", "properties", "similarity"):
        empty.analysis(job)
    for evidence in (Evidence({}, {}, {}, {}), made.evidence(), empty.evidence()):
        found = CLAIMS.get(name)(evidence)
        assert found.name == name
        assert found.verdict == "cannot tell"
        assert found.effects
        assert all(effect.doubt for effect in found.effects)


def test_hostile_names_in_matrices() -> None:
    """A name with " + ", brackets and markup in it, and layers that are called by it."""
    made = ecapa_made(LAST, pairs=1)
    made.roles = {"supervised": (HOSTILE,), "dino": ("dino",)}
    for row in made.rows["similarity"]:
        row["model"] = row["model"].replace("sup", HOSTILE)
    found = fourth_layer(made.evidence())
    assert found.effects[0].value == pytest.approx(0.6)
    assert HOSTILE in found.effects[0].what
