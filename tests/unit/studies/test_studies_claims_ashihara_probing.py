"""Claims of A2024 that rest on probing: true, false and undecided made tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_tables import HOSTILE, LOWER, Made
from scipy.stats import rankdata, spearmanr

from voxstrata.studies.claims.claim import PERMUTATION, TWIN
from voxstrata.studies.claims.content_speaker import content_speaker_uncorrelated
from voxstrata.studies.claims.model_pairs import contrastive_beside_dino, hubert_beside_wavlm
from voxstrata.studies.claims.scores import CONTENT, SPEAKER, Sides, compared, difference
from voxstrata.studies.claims.scores import asked as asked_of
from voxstrata.studies.claims.speaker_against_speech import speaker_against_speech

LAYERS = ("conv", "block1", "block2", "block3", "mfa")


def _score(made: Made, task: str, model: str, good: float, half: float | None = 0.02) -> None:
    """``good`` is how well it is done; error rates are 1 less that. Dealt labels reach 0.1."""
    lower = task in LOWER
    dealt = 0.9 if lower else 0.1
    made.score(task, model, 1 - good if lower else good, half, dealt=dealt)


def _twinned(made: Made, *models: str) -> None:
    for model in models:
        made.twins[model] = f"random:{model}"


def sides_made(speaker: float, content: float, half: float | None = 0.02) -> Made:
    """Speaker models are better by ``speaker`` in speaker tasks and worse by ``content`` in
    others; twins are alike in all."""
    made = Made(roles={"speaker": ("dino", "sup"), "wavlm": ("wavlm",), "speech": ("wavlm",)})
    _twinned(made, "dino", "sup", "wavlm")
    for task in (*SPEAKER, *CONTENT):
        more = speaker if task in SPEAKER else -content
        for model, good in (("dino", 0.5 + more), ("sup", 0.55 + more), ("wavlm", 0.5)):
            _score(made, task, model, good, half)
            _score(made, task, f"random:{model}", 0.3, half)
    return made


class TestSpeakerAgainstSpeech:
    def test_true(self) -> None:
        found = speaker_against_speech(sides_made(0.2, 0.3).evidence())
        assert found.verdict == "supported"
        assert len(found.effects) == 7
        by_task = dict(zip((*SPEAKER, *CONTENT), found.effects, strict=True))
        # Two pairs: 0.20 and 0.25 for SID; -0.30 and -0.25 for PR, turned. Half: 0.02 sqrt(2).
        assert by_task["sid"].value == pytest.approx(0.225)
        assert by_task["pr"].value == pytest.approx(0.275)
        assert by_task["pr"].low == pytest.approx(0.275 - 0.02 * math.sqrt(2))
        assert by_task["asv"].controls == pytest.approx({TWIN: 0, PERMUTATION: 0}, abs=1e-12)
        assert "SID: of 2 pairs of models the speaker model is better in 2" in found.found[0]

    def test_scores_are_shown_as_measured(self) -> None:
        lines = speaker_against_speech(sides_made(0.2, 0.3).evidence()).tables[
            "Every pair of models"
        ]
        line = next(x for x in lines if x["task"] == "PR" and x["model"] == "dino")
        assert line["score"] == pytest.approx(0.8)  # an error rate, 1 - 0.2
        assert line["better by"] == pytest.approx(-0.3)

    def test_false(self) -> None:
        assert speaker_against_speech(sides_made(-0.2, 0.3).evidence()).verdict == "not supported"

    def test_too_little(self) -> None:
        found = speaker_against_speech(sides_made(0.2, 0.3, half=0.4).evidence())
        assert found.verdict == "cannot tell"
        assert {effect.doubt for effect in found.effects} == {"the interval holds zero"}

    def test_twins_that_differ_as_much(self) -> None:
        made = sides_made(0.2, 0.3)
        for row in made.rows["probing"]:
            if row["model"] == "random:wavlm" and row["property"] == "sid":
                row["value"] = 0.0
        made_effect = speaker_against_speech(made.evidence()).effects[0]
        assert made_effect.controls[TWIN] == pytest.approx(0.3)
        assert made_effect.verdict == "cannot tell"

    def test_controls_that_were_not_run(self) -> None:
        made = sides_made(0.2, 0.3)
        made.twins.pop("dino")
        found = speaker_against_speech(made.evidence()).effects[0]
        assert math.isnan(found.controls[TWIN])
        assert found.doubt == "the control (untrained twin) was not run"

    def test_paired_difference_comes_first_either_way_round(self) -> None:
        made = sides_made(0.2, 0.3)
        made.more("sid", "wavlm", "dino", -0.2, 0.005)
        made.more("asv", "dino", "wavlm", -0.2, 0.005)  # less error
        evidence = made.evidence()
        for name in ("sid", "asv"):
            more = difference(evidence, asked_of(evidence, name)[0], "dino", "wavlm")
            assert more is not None
            assert more.value == pytest.approx(0.2)
            assert (more.low, more.high) == pytest.approx((0.195, 0.205))

    def test_best_layer_speaks_where_there_is_no_sum(self) -> None:
        made = Made(roles={"speaker": ("a",), "speech": ("b",)})
        for layer, good in (("0", 0.4), ("1", 0.8)):
            made.score("sid", "a", good, layer=layer)
        made.score("sid", "b", 0.5)
        made.score("sid", "a", 0.99, layer="1", estimator="screen")
        made.records["probing"]["best"] = {"sid a": "1"}
        found = speaker_against_speech(made.evidence()).effects[0]
        assert found.value == pytest.approx(0.3)

    def test_another_analysis_of_the_same_task_counts_once(self) -> None:
        made = sides_made(0.2, 0.3)
        for model in ("dino", "wavlm", "dino + wavlm"):
            made.score("sid", model, 0.5, analysis="together")
        made.records["together"]["job"] = "probing"
        found = speaker_against_speech(made.evidence())
        assert found.effects[0].value == pytest.approx(0.225)
        lines = found.tables["Every pair of models"]
        assert sum(line["task"] == "SID" for line in lines) == 2

    def test_missing_tasks_are_named(self) -> None:
        made = sides_made(0.2, 0.3)
        made.rows["probing"] = [r for r in made.rows["probing"] if r["property"] != "sf"]
        made.records["probing"]["properties"] = [
            p for p in made.records["probing"]["properties"] if p["name"] != "sf"
        ]
        found = speaker_against_speech(made.evidence())
        assert found.verdict == "cannot tell"
        assert [e.missing for e in found.effects if e.missing] == ["the task sf was not asked"]

    def test_a_pair_without_scores_is_not_passed_over(self) -> None:
        made = sides_made(0.2, 0.3)
        made.rows["probing"] = [
            r for r in made.rows["probing"] if (r["property"], r["model"]) != ("sid", "sup")
        ]
        found = speaker_against_speech(made.evidence()).effects[0]
        assert found.doubt == "only 1 of 2 pairs of models have scores"


def models_made(content: list[float], speaker: list[float], twins: list[float]) -> Made:
    names = [f"m{i}" for i in range(len(content))]
    made = Made(roles={"speech": tuple(names[::2]), "speaker": tuple(names[1::2])})
    _twinned(made, *names)
    for i, name in enumerate(names):
        for task, good in (("pr", content[i]), ("ks", content[i]), ("sid", speaker[i])):
            _score(made, task, name, good)
            # Twins: content goes up with i, speaker as told.
            its = 0.1 + 0.001 * i if task != "sid" else twins[i]
            _score(made, task, f"random:{name}", its)
    return made


def _spread(seed: int, n: int) -> list[float]:
    return (0.2 + 0.6 * np.random.default_rng(seed).permutation(n) / n).tolist()


class TestContentSpeaker:
    def test_true_needs_many_models_and_twins_that_go_together(self) -> None:
        n = 60
        content = _spread(0, n)
        speaker = _spread(2, n)
        assert abs(spearmanr(content, speaker).statistic) < 0.1
        found = content_speaker_uncorrelated(
            models_made(content, speaker, [0.1 + 0.001 * i for i in range(n)]).evidence()
        )
        effect = found.effects[0]
        rho = spearmanr(content, speaker).statistic
        assert effect.value == pytest.approx(0.5 - abs(rho), abs=1e-9)
        assert effect.controls[TWIN] == pytest.approx(-0.5)
        assert effect.n == n
        assert found.verdict == "supported"

    def test_mean_ranks(self) -> None:
        rng = np.random.default_rng(5)
        values = rng.random((8, 4))
        made = Made(roles={"speech": tuple(f"m{i}" for i in range(8))})
        for i in range(8):
            for j, task in enumerate(("pr", "ks", "sid", "asv")):
                _score(made, task, f"m{i}", float(values[i, j]))
        effect = content_speaker_uncorrelated(made.evidence()).effects[0]
        ranks = rankdata(values, axis=0)
        rho = spearmanr(ranks[:, :2].mean(1), ranks[:, 2:].mean(1)).statistic
        assert effect.value == pytest.approx(0.5 - abs(rho), abs=1e-9)

    def test_false(self) -> None:
        n = 30
        line = [0.2 + 0.02 * i for i in range(n)]
        found = content_speaker_uncorrelated(
            models_made(line, line[::-1], _spread(1, n)).evidence()
        )
        assert found.effects[0].value == pytest.approx(-0.5)
        assert found.verdict == "not supported"

    def test_few_models_cannot_tell_and_say_how_many_would_do(self) -> None:
        found = content_speaker_uncorrelated(
            models_made(_spread(0, 6), _spread(3, 6), _spread(2, 6)).evidence()
        )
        assert found.verdict == "cannot tell"
        assert "at least 16 models are needed" in found.found[1]

    def test_models_without_one_side_are_left_out(self) -> None:
        made = models_made(_spread(0, 6), _spread(3, 6), _spread(2, 6))
        made.rows["probing"] = [
            r for r in made.rows["probing"] if (r["model"], r["property"]) != ("m5", "sid")
        ]
        assert content_speaker_uncorrelated(made.evidence()).effects[0].n == 5

    def test_two_models(self) -> None:
        found = content_speaker_uncorrelated(models_made([0.1, 0.2], [0.3, 0.4], [0, 0]).evidence())
        assert found.verdict == "cannot tell"
        assert "only 2 models" in found.effects[0].doubt


def beside_made(dino: float, closer: float, half: float = 0.02) -> Made:
    """DINO better by ``dino`` in speaker tasks, and its layers more like the supervised ones by
    ``closer``."""
    made = Made(
        roles={
            "speaker": ("dino", "sup", "con"),
            "dino": ("dino",),
            "contrastive": ("con",),
            "supervised": ("sup",),
        }
    )
    _twinned(made, "dino", "sup", "con")
    for task in SPEAKER:
        _score(made, task, "dino", 0.5 + dino, half)
        _score(made, task, "con", 0.5, half)
        for model in made.twins.values():
            _score(made, task, model, 0.3, half)
    alike = np.full((5, 5), 0.2)
    for other, height in (("dino", 0.4 + closer), ("con", 0.4)):
        np.fill_diagonal(alike, height + 0.01 * np.arange(5))
        made.similar("sup", LAYERS, other, LAYERS, alike, half)
        made.similar("random:sup", LAYERS, f"random:{other}", LAYERS, np.full((5, 5), 0.5), half)
    return made


class TestContrastiveBesideDino:
    def test_true(self) -> None:
        found = contrastive_beside_dino(beside_made(0.2, 0.3).evidence())
        assert found.verdict == "supported"
        assert found.effects[2].value == pytest.approx(0.3)
        # Every layer alike: the second highest of 32 deals has one layer turned, 3/5 of it.
        assert found.effects[2].controls == pytest.approx({TWIN: 0, PERMUTATION: 0.18})
        assert len(found.tables["CKA with the supervised model, by layer"]) == 5

    def test_false(self) -> None:
        found = contrastive_beside_dino(beside_made(-0.2, -0.3).evidence())
        assert [effect.verdict for effect in found.effects] == ["not supported"] * 3

    def test_too_little(self) -> None:
        assert contrastive_beside_dino(beside_made(0.2, 0.3, half=0.5).evidence()).verdict == (
            "cannot tell"
        )

    def test_one_twin_of_both_is_no_control(self) -> None:
        made = beside_made(0.2, 0.3)
        made.twins = dict.fromkeys(("dino", "sup", "con"), "random:dino")
        found = contrastive_beside_dino(made.evidence())
        assert {effect.doubt for effect in found.effects} == {
            "the control (untrained twin) was not run: the models share one untrained twin"
        }

    def test_without_similarity(self) -> None:
        made = beside_made(0.2, 0.3)
        made.rows.pop("similarity"), made.records.pop("similarity")
        found = contrastive_beside_dino(made.evidence())
        assert found.verdict == "cannot tell"
        assert "not" in found.effects[2].doubt or "no frame layers" in found.effects[2].doubt
        assert [effect.verdict for effect in found.effects[:2]] == ["supported"] * 2


class TestHubertBesideWavlm:
    @staticmethod
    def made(more: float, half: float = 0.02) -> Made:
        made = Made(roles={"wavlm": ("w",), "hubert": ("h",)})
        _twinned(made, "w", "h")
        for task in (*SPEAKER, "pr"):
            _score(made, task, "w", 0.5 + more, half)
            _score(made, task, "h", 0.5, half)
            for model in made.twins.values():
                _score(made, task, model, 0.3, half)
        return made

    def test_true_and_false(self) -> None:
        found = hubert_beside_wavlm(self.made(0.2).evidence())
        assert found.verdict == "supported"
        assert found.effects[0].controls[TWIN] == 0
        assert len(found.tables["Every task"]) == 3
        assert hubert_beside_wavlm(self.made(-0.2).evidence()).verdict == "not supported"

    def test_too_little(self) -> None:
        assert hubert_beside_wavlm(self.made(0.01).evidence()).verdict == "cannot tell"

    def test_one_twin_of_both_is_no_control(self) -> None:
        """The second name of that network is no second network."""
        made = self.made(0.2)
        evidence = made.evidence()
        evidence.records["probing"]["models"] = [
            {"spec": spec, "fingerprint": "same"} for spec in ("random:w", "random:h")
        ]
        found = hubert_beside_wavlm(evidence)
        assert {effect.doubt for effect in found.effects} == {
            "the control (untrained twin) was not run: the models share one untrained twin"
        }

    def test_one_model_in_both_roles(self) -> None:
        made = self.made(0.2)
        made.roles = {"wavlm": ("w",), "hubert": ("w",)}
        found = hubert_beside_wavlm(made.evidence())
        assert found.effects[0].doubt == "both sides are the same model"


def test_hostile_names_pass_through() -> None:
    """Names reach the tables as they are: escaping is the page's, looking up must not break."""
    made = sides_made(0.2, 0.3)
    for row in made.rows["probing"]:
        row["model"] = row["model"].replace("dino", HOSTILE)
    made.roles["speaker"] = (HOSTILE, "sup")
    made.twins[HOSTILE] = f"random:{HOSTILE}"
    found = speaker_against_speech(made.evidence())
    assert found.verdict == "supported"
    assert any(line["model"] == HOSTILE for line in found.tables["Every pair of models"])


def test_rows_of_another_study_of_labels_do_not_count() -> None:
    """Models are found by spec, not by label."""
    made = sides_made(0.2, 0.3)
    made.labels = {"dino": "wavlm", "wavlm": "dino"}
    effect = compared(made.evidence(), "sid", Sides("one", ("dino",), "other", ("wavlm",)))
    assert effect.value == pytest.approx(0.2)
