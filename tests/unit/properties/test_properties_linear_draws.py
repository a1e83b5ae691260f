"""``linear-phone``, ``linear-word``, ``linear-speaker``, ``linear:TIER`` on planted samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from properties_planted import LAYER, recordings, segments, settings

from voxstrata.errors import UsageError
from voxstrata.properties.linear import frames as predict_frames
from voxstrata.properties.linear import labels as predict
from voxstrata.properties.linear.draw import CONTROL_TASK, ClassDraw, RidgeDraw, view_draw
from voxstrata.properties.linear.targets import dealt_folds, permute_over
from voxstrata.properties.property import PERMUTED, SHUFFLED, Score, TooFewError
from voxstrata.properties.sample import sample_of
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import LayerInfo


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    found = {(s.measure, s.control): s for s in scores}
    assert len(found) == len(scores)
    return found


def scored(draw: ClassDraw | RidgeDraw, rows: np.ndarray) -> dict[tuple[str, str], Score]:
    return by_name(draw.score(torch.from_numpy(rows), LAYER))


def test_phones_and_their_controls() -> None:
    sample, rows = segments()
    draw = predict.linear_phone("").draw(sample, settings(), seed=0)
    assert draw.facts["classes"] == 5
    found = scored(draw, rows)
    main = found["balanced-accuracy", ""]
    assert main.value > 0.9
    assert main.error is not None
    assert 0 < main.error < 0.05
    assert found["balanced-accuracy", PERMUTED].value == pytest.approx(0.2, abs=0.06)
    assert found["balanced-accuracy", "chance"].value == pytest.approx(0.2)
    assert found["balanced-accuracy", CONTROL_TASK].value < 0.45
    assert found["selectivity", ""].value == pytest.approx(
        main.value - found["balanced-accuracy", CONTROL_TASK].value
    )
    assert found["information-bits", ""].value > 1.5
    assert abs(found["information-bits", PERMUTED].value) < 0.1
    assert [f for f, _ in main.by_fold] == [0, 1, 2, 3, 4]


def test_a_layer_that_holds_word_types_solves_the_control_task() -> None:
    """Rows that are one-hot in (word, phone) memorise any labelling of it: no selectivity."""
    sample, _ = segments(n=2400)
    draw = predict.linear_phone("").draw(sample, settings(), seed=0)
    words = predict.labels_at(sample, "words")
    names = sorted(set(words))
    phone = [predict.stress_free(x) for x in sample.labels or ()]
    pairs = [f"{w}|{p}" for w, p in zip(words, phone, strict=True)]
    index = {name: i for i, name in enumerate(sorted(set(pairs)))}
    assert len(names) == 25
    onehot = np.eye(len(index), dtype=np.float32)[[index[p] for p in pairs]]
    found = scored(draw, onehot)
    assert found["balanced-accuracy", ""].value > 0.97
    assert found["balanced-accuracy", CONTROL_TASK].value > 0.9
    assert found["balanced-accuracy", PERMUTED].value < 0.35
    assert abs(found["selectivity", ""].value) < 0.1


def test_noise_is_at_chance() -> None:
    sample, _ = segments()
    noise = np.random.default_rng(1).normal(size=(1200, 24)).astype(np.float32)
    found = scored(predict.linear_phone("").draw(sample, settings(), seed=0), noise)
    assert found["balanced-accuracy", ""].value == pytest.approx(0.2, abs=0.05)
    assert abs(found["selectivity", ""].value) < 0.08
    assert found["information-bits", ""].value < 0.01


def test_words_balanced_and_capped() -> None:
    sample, rows = segments()
    draw = predict.linear_word("").draw(sample, settings(words=4, words_per_type=60), seed=0)
    assert draw.facts["classes"] == 4
    assert np.bincount(draw.labels[0]).tolist() == [60] * 4
    assert draw.controls == (PERMUTED,) * 5
    for permuted in draw.labels[1:]:
        assert (permuted != draw.labels[0]).any()
        for f in range(5):
            here = draw.fold == f
            assert sorted(permuted[here]) == sorted(draw.labels[0][here])
    assert scored(draw, rows)["balanced-accuracy", ""].value > 0.55


def test_speakers_are_found_across_their_recordings() -> None:
    sample, rows, _ = recordings()
    draw = predict.linear_speaker("").draw(sample, settings(), seed=0)
    # folds split speakers, although the sample's folds might not
    for speaker in np.unique(draw.labels[0]):
        assert len(set(draw.fold[draw.labels[0] == speaker])) >= 2
    found = scored(draw, rows)
    assert found["balanced-accuracy", ""].value > 0.85
    assert found["balanced-accuracy", PERMUTED].value < 0.12
    lonely = dict(sample.utterances)
    first = next(iter(lonely))
    tiers = {**lonely[first].tiers, "speaker": "nobody"}
    lonely[first] = dataclasses.replace(lonely[first], tiers=tiers)
    fewer = predict.linear_speaker("").draw(
        dataclasses.replace(sample, utterances=lonely), settings(), seed=0
    )
    assert fewer.facts["rows"] == len(sample) - 1
    assert fewer.facts["speakers_left_out"] == 1


def test_one_recording_a_speaker_is_refused() -> None:
    sample, _, _ = recordings(each=1)
    with pytest.raises(TooFewError, match="two recordings"):
        predict.linear_speaker("").draw(sample, settings(), seed=0)


def test_a_coin_of_each_speaker_is_not_read_off_the_speaker() -> None:
    """The probe could learn every speaker; folds of whole speakers keep it from telling coins."""
    sample, rows, _ = recordings(speakers=16, each=20)
    draw = predict.linear_tier("coin").draw(sample, settings(group="utterance"), seed=0)
    assert isinstance(draw, ClassDraw)
    speakers = sample.groups("speaker")[draw.rows]
    assert all(len(set(draw.fold[speakers == s])) == 1 for s in set(speakers))
    assert "folds keep speakers together" in draw.notices[0]
    found = scored(draw, rows)
    assert found["balanced-accuracy", ""].value < 0.75
    # the same with rows split at random would look like knowledge
    leaky = dataclasses.replace(draw, fold=np.arange(len(draw.rows)) % 5)
    assert scored(leaky, rows)["balanced-accuracy", ""].value > 0.85
    sample, rows, _ = recordings(speakers=40, each=8)
    gender = scored(predict.linear_tier("gender").draw(sample, settings(), seed=0), rows)
    assert gender["balanced-accuracy", ""].value > 0.8
    assert gender["selectivity", ""].value > 0.25


def test_numbers_by_ridge() -> None:
    sample, rows, _ = recordings(speakers=40, each=8)
    loud = predict.linear_tier("loud").draw(sample, settings(), seed=0)
    assert isinstance(loud, RidgeDraw)
    found = scored(loud, rows)
    assert found["r2", ""].value > 0.9
    assert found["r2", PERMUTED].value < 0.05
    assert found["selectivity", ""].value == pytest.approx(
        found["r2", ""].value - max(0.0, found["r2", PERMUTED].value)
    )
    height = predict.linear_tier("height").draw(sample, settings(), seed=0)
    assert isinstance(height, RidgeDraw)
    assert height.facts["folds_keep"] == "speaker"
    speakers = sample.groups("speaker")
    assert all(len(set(height.fold[speakers == s])) == 1 for s in set(speakers))
    assert scored(height, rows)["r2", ""].value < 0.3
    # permuted copies keep one value a speaker
    for column in height.targets.T:
        assert all(len(set(column[speakers == s])) == 1 for s in set(speakers))


def test_classes_of_recordings_use_the_folds_of_the_run() -> None:
    sample, rows, _ = recordings()
    draw = predict.linear_tier("mood").draw(sample, settings(), seed=0)
    assert isinstance(draw, ClassDraw)
    assert len(set(zip(draw.fold.tolist(), sample.fold.tolist(), strict=True))) == 5
    assert scored(draw, rows)["balanced-accuracy", ""].value == pytest.approx(1 / 3, abs=0.12)


def test_a_view_of_many_columns() -> None:
    sample, rows = segments()
    rng = np.random.default_rng(0)
    view = np.stack([rows[:, 0] * 3 + 1, np.full(len(rows), 5.0), rng.normal(size=len(rows))], 1)
    draw = view_draw(np.arange(len(rows)), view, sample.fold, 0, names=("first", "flat", "noise"))
    assert draw.facts["constant_targets"] == 1
    found = scored(draw, rows)
    assert found["r2:first", ""].value == pytest.approx(1.0, abs=1e-3)
    assert found["r2:noise", ""].value < 0.02
    assert found["r2", ""].value == pytest.approx(
        (found["r2:first", ""].value + found["r2:noise", ""].value) / 2
    )
    assert found["r2:first", SHUFFLED].value < 0.02
    assert found["r2", ""].other_d == 2


def test_dealt_folds_and_permutation() -> None:
    carriers = np.repeat([f"c{i}" for i in range(11)], 3)
    labels = np.repeat(list("aaaabbbbbcc"), 3)
    fold = dealt_folds(labels, carriers, 5, seed=0)
    assert all(len(set(fold[carriers == c])) == 1 for c in set(carriers))
    assert len(set(fold[labels == "c"])) == 2
    assert len(set(fold[labels == "b"])) == 5
    mixed = permute_over(labels, carriers, np.random.default_rng(1))
    assert all(len(set(mixed[carriers == c])) == 1 for c in set(carriers))
    assert sorted(mixed) == sorted(labels)
    assert (mixed != labels).any()


def test_refusals() -> None:
    sample, _, _ = recordings()
    with pytest.raises(UsageError, match="scalar tier"):
        predict.linear_tier("")
    assert predict.linear_tier("speaker").name == "linear-speaker"
    with pytest.raises(TooFewError, match="does not vary"):
        predict.linear_tier("same").draw(sample, settings(), seed=0)
    mixed = dict(sample.utterances)
    mixed["u3"] = dataclasses.replace(mixed["u3"], tiers={"loud": "very"})
    with pytest.raises(UsageError, match="mixes numbers and names"):
        predict.linear_tier("loud").draw(
            dataclasses.replace(sample, utterances=mixed), settings(), seed=0
        )
    two = dataclasses.replace(sample, fold=sample.fold % 2)
    with pytest.raises(TooFewError, match="at least 3"):
        predict.linear_tier("mood").draw(two, settings(), seed=0)
    with pytest.raises(TooFewError, match="at least 3"):
        predict.linear_tier("loud").draw(two, settings(), seed=0)


def test_frames_predict_helper_layers() -> None:
    base, rows = segments()
    rng = np.random.default_rng(3)
    f0 = rows[:, 1] * 20 + 120 + rng.normal(size=len(rows)) * 5
    voiced = rng.random(len(rows)) < 0.6
    mel = np.stack([rows[:, 2], rng.normal(size=len(rows))], axis=1)
    layers = [
        LAYER,
        StackLayer(1, "acoustic", LayerInfo("f0", 1)),
        StackLayer(1, "acoustic", LayerInfo("voicing", 1)),
        StackLayer(2, "log-mel", LayerInfo("logmel", 2)),
    ]
    sample = sample_of(
        [rows, np.where(voiced, f0, 0)[:, None], voiced[:, None].astype(float), mel],
        layers=layers,
        utterances=base.utterances,
        utterance=list(base.utterance),
        fold=list(base.fold),
        unit="frame",
    )
    pitch = predict_frames.f0("").draw(sample, settings(), seed=0)
    assert pitch.facts["rows"] == voiced.sum()
    found = scored(pitch, rows)
    error = 25 / f0[voiced].var()
    assert found["r2", ""].value == pytest.approx(1 - error, abs=0.02)
    assert found["r2", SHUFFLED].value < 0.01
    both = scored(predict_frames.mel("").draw(sample, settings(), seed=0), rows)
    assert both["r2", ""].value == pytest.approx(0.5, abs=0.02)
    assert predict_frames.mel("").helpers(settings()) == ("log-mel",)


@pytest.mark.parametrize("name", ["phone", "speaker", "gender", "mood", "loud", "height"])
def test_every_draw_has_the_folds_of_the_run(name: str) -> None:
    """Scores of folds are averaged over draws: fold 3 must be the same recordings in all."""
    if name == "phone":
        sample, _ = segments()
        # unequal folds and a cap, so that draws differ in the rows of each fold
        sample = dataclasses.replace(sample, fold=np.arange(len(sample)) % 40 % 7)
        one = predict.linear_phone("")
    else:
        sample, _, _ = recordings(each=30 if name == "speaker" else 6)
        one = predict.linear_speaker("") if name == "speaker" else predict.linear_tier(name)
    folds = np.full((4, len(sample)), -1)
    for seed in range(4):
        draw = one.draw(sample, settings(phones_per_type=60), seed)
        folds[seed, draw.rows] = draw.fold
    for row in folds.T:
        assert len(set(row[row >= 0])) <= 1
