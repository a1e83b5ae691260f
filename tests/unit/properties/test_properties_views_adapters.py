"""cca-* properties over words and recordings: planted truth, controls, folds, what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata.corpora.synthetic.grammar import sentences
from voxstrata.errors import UsageError
from voxstrata.properties.cca.engine import CcaDraw
from voxstrata.properties.property import PERMUTED, SHUFFLED, Draw, Property, Score, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views import lexical
from voxstrata.properties.views import tier_properties as tier_views
from voxstrata.properties.views.tiers import tier_view, view_folds
from voxstrata.similarity.crossval import cross_validate
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.view_folds import ViewFolds
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo, Segment, Utterance


class Heard:
    """As much of a corpus as ``missing`` looks at."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self.utterances = tuple(utterances)


def config(**more: Any) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **{"scale": "small", "folds": 5, **more})


def layer(name: str, width: int, model: str = "m", kind: Any = "frame") -> StackLayer:
    grid = FrameGrid(320, 400) if kind == "frame" else None
    return StackLayer(0, model, LayerInfo(name, width, kind, grid))


def values(draw: Draw, sample: Sample, position: int = 0) -> dict[str, Score]:
    scores = draw.score(sample.read(position), sample.layers[position])
    found = {s.control: s for s in scores if s.measure in ("pwcca", "pwcca-pasad")}
    assert {"", SHUFFLED} <= set(found)
    return found


# -- words -----------------------------------------------------------------------------------------

WORDS = [f"w{i}" for i in range(40)]


@pytest.fixture(scope="module")
def spoken() -> tuple[Sample, np.ndarray]:
    """60 recordings of 20 words; a layer that knows how words relate, and one that knows which
    word it is but nothing of how words relate."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(WORDS), 4))
    said = [rng.choice(len(WORDS), 20) for _ in range(60)]
    utterances = {
        f"u{i}": Utterance(
            f"u{i}",
            20.0,
            {"speaker": f"s{i % 6}", "words": tuple(Segment(j, j + 1, WORDS[w]) for j, w in
                                                    enumerate(words))},
        )
        for i, words in enumerate(said)
    }  # fmt: skip
    which = np.concatenate(said)
    noise = rng.standard_normal((len(which), 45))
    related = vectors[which] @ rng.standard_normal((4, 6)) + 0.3 * noise[:, :6]
    identity = np.hstack([np.eye(len(WORDS))[which] * 3, noise[:, :5]]) + 0.1 * noise
    sample = sample_of(
        [related, identity],
        layers=[layer("1", 6), layer("2", 45)],
        utterances=utterances,
        utterance=[f"u{i}" for i in range(60) for _ in range(20)],
        fold=[i % 5 for i in range(60) for _ in range(20)],
        labels=[WORDS[w] for w in which],
        unit="word",
    )
    return sample, vectors


def glove_file(folder: Path, vectors: np.ndarray, words: Sequence[str] = WORDS) -> str:
    path = folder / "glove.txt"
    rows = (" ".join([w, *map(str, v)]) for w, v in zip(words, vectors.tolist(), strict=True))
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_word_vectors_find_relations_and_controls_find_identity(
    spoken: tuple[Sample, np.ndarray], tmp_path: Path
) -> None:
    sample, vectors = spoken
    settings = config(vectors={"glove": glove_file(tmp_path, vectors)})
    draw = lexical.glove("").draw(sample, settings, 0)
    related, identity = values(draw, sample), values(draw, sample, 1)
    assert related[""].value > 0.9
    assert abs(related[SHUFFLED].value) < 0.15
    # The control's error rests on as many folds as the value's.
    assert len(related[PERMUTED].by_fold) == len(related[""].by_fold) == 5
    # Vectors of other words: a layer of relations cannot know them, one of identities can.
    assert related[PERMUTED].value < related[""].value - 0.3
    assert identity[""].value > 0.9
    assert identity[PERMUTED].value > 0.9
    assert draw.facts["coverage"]["types_found"] == len(WORDS)
    assert draw.facts["types"] == len(WORDS)
    assert draw.facts["folds_keep_together"]["by"] == "utterance"
    assert related[""].n == len(sample)
    assert related[""].groups == 60


def test_words_without_a_vector_and_more_than_the_cap_are_left_out(
    spoken: tuple[Sample, np.ndarray], tmp_path: Path
) -> None:
    sample, vectors = spoken
    path = glove_file(tmp_path, vectors[:30], WORDS[:30])
    settings = config(vectors={"mine": path}, all_words_per_type=10)
    one = lexical.vectors("mine")
    assert one.name == "cca-vectors:mine"
    draw = one.draw(sample, settings, 0)
    assert draw.facts["rows"] == 300
    assert draw.facts["coverage"]["types_found"] == 30
    again, other = one.draw(sample, settings, 0), one.draw(sample, settings, 1)
    assert values(draw, sample)[""] == values(again, sample)[""]
    assert values(draw, sample)[""].value != values(other, sample)[""].value


def test_the_published_protocol(spoken: tuple[Sample, np.ndarray], tmp_path: Path) -> None:
    sample, vectors = spoken
    settings = config(
        vectors={"agwe": glove_file(tmp_path, vectors)}, preset="pasad2023", scale="published"
    )
    found = values(lexical.agwe("").draw(sample, settings, 0), sample)
    assert found[""].measure == "pwcca-pasad"
    assert found[""].value > 0.9
    assert found[PERMUTED].value < 0.7


def test_attributes(spoken: tuple[Sample, np.ndarray], tmp_path: Path) -> None:
    sample, vectors = spoken
    path = tmp_path / "oracle.txt"
    path.write_text(
        "".join(
            f"{w}\t{{'big': {max(v[0], 0):.6f}, 'red': {max(v[1], 0):.6f}, 'any': 1.0}}\n"
            for w, v in zip(WORDS, vectors, strict=True)
        )
    )
    settings = config(attributes={"semantic": str(path)})
    one = lexical.semantic("")
    draw = one.draw(sample, settings, 0)
    assert draw.facts["view"]["attributes"] == ["big", "red", "any"]
    assert values(draw, sample)[""].value > 0.7
    # The attribute that all words have says nothing.
    assert any("rank 2" in notice for notice in draw.notices)
    assert lexical.syntactic("").name == "cca-syntactic"


def test_text_vectors_keep_texts_in_one_fold() -> None:
    texts = [s.text for s in sentences(150, seed=2)] * 2  # each read by two speakers
    utterances, labels, owner = {}, [], []
    for i, text in enumerate(texts):
        words = text.split()
        spans = tuple(Segment(j, j + 1, w.upper()) for j, w in enumerate(words))
        name = f"u{i}"
        utterances[name] = Utterance(name, 30.0, {"speaker": f"s{i // 150}", "words": spans})
        labels += [w.upper() for w in words]
        owner += [name] * len(words)
    rng = np.random.default_rng(0)
    sample = sample_of(
        [rng.standard_normal((len(labels), 8))],
        layers=[layer("1", 8)],
        utterances=utterances,
        utterance=owner,
        fold=[i % 5 for i in range(len(labels))],
        labels=labels,
        unit="word",
    )
    one = lexical.text("")
    assert one.missing(Heard(list(utterances.values())), config()) == ""  # type: ignore[arg-type]
    draw = one.draw(sample, config(), 3)
    assert draw.facts["folds_keep_together"]["by"] == "text"
    assert draw.facts["view"]["distinct_texts"] == 150
    inner = draw.true  # type: ignore[attr-defined]
    where: dict[str, set[int]] = {}
    for row, fold in zip(inner._rows.tolist(), inner._fold.tolist(), strict=True):
        where.setdefault(texts[int(owner[row][1:])], set()).add(fold)
    assert len(where) > 100
    assert {len(found) for found in where.values()} == {1}
    assert inner.groups == len(where)
    # Labels that say nothing of the layer score nothing.
    assert abs(values(draw, sample)[""].value) < 0.15


def test_what_is_missing_is_named(spoken: tuple[Sample, np.ndarray], tmp_path: Path) -> None:
    sample, vectors = spoken
    corpus: Any = Heard(list(sample.utterances.values()))
    silent: Any = Heard([Utterance("a", 1.0, {"speaker": "s"})])
    assert "--vectors glove=FILE" in lexical.glove("").missing(corpus, config())
    assert "--attributes semantic=FILE" in lexical.semantic("").missing(corpus, config())
    assert "tier 'words'" in lexical.glove("").missing(silent, config())
    gone = config(vectors={"glove": str(tmp_path / "none.txt")})
    assert "none.txt" in lexical.glove("").missing(corpus, gone)
    path = glove_file(tmp_path, vectors, [f"x{i}" for i in range(40)])
    assert "rows for 0 of the 40 words" in lexical.glove("").missing(
        corpus, config(vectors={"glove": path})
    )
    Path(path).write_text("w0 1 2 3 4\nw1 1 2 3\n")
    with pytest.raises(UsageError, match="line 2: too few numbers"):  # before any work
        lexical.glove("").missing(corpus, config(vectors={"glove": path}))
    assert lexical.glove("").missing(corpus, config(vectors={"glove": glove_file(tmp_path, vectors)}
                                                    )) == ""  # fmt: skip
    assert "too little text" in lexical.text("").missing(silent_words(), config())


def silent_words() -> Any:
    return Heard([Utterance("a", 1.0, {"words": (Segment(0, 1, "yes"),)})])


def test_arguments() -> None:
    for make in (lexical.glove, lexical.text, tier_views.speaker, tier_views.channel):
        with pytest.raises(UsageError, match="takes no argument"):
            make("x")
    for make in (lexical.vectors, lexical.attributes, tier_views.tier, tier_views.table,
                 tier_views.model):  # fmt: skip
        with pytest.raises(UsageError, match="needs"):
            make("")


# -- recordings ------------------------------------------------------------------------------------

SPEAKERS, EACH = 20, 12


@pytest.fixture(scope="module")
def recordings() -> Sample:
    """A layer that knows who speaks and the level, and nothing else; an embedding of the same."""
    rng = np.random.default_rng(5)
    voices = rng.standard_normal((SPEAKERS, 30)) * 4
    who = np.repeat(np.arange(SPEAKERS), EACH)
    gender = rng.permutation(["F", "M"] * (SPEAKERS // 2))
    level = rng.standard_normal(len(who))
    rows = voices[who] + rng.standard_normal((len(who), 30))
    rows[:, 0] += 6 * level
    embedding = np.hstack([voices[who][:, :5], rng.standard_normal((len(who), 1))])
    utterances = {
        f"u{i}": Utterance(
            f"u{i}",
            2.0,
            {
                "speaker": f"s{s}",
                "gender": str(gender[s]),
                "level": float(level[i]),
                "loud": "yes" if level[i] > 0 else "no",
            },
        )
        for i, s in enumerate(who)
    }
    return sample_of(
        [rows, rng.standard_normal((len(who), 3)), embedding],
        layers=[
            layer("1", 30),
            layer("conv", 3, "spk"),
            layer("embedding", 6, "spk", "utterance"),
        ],
        utterances=utterances,
        utterance=list(utterances),
        fold=[i % 5 for i in range(len(who))],
        unit="utterance",
    )


def test_gender_is_not_read_off_known_speakers(recordings: Sample) -> None:
    draw = tier_views.gender("").draw(recordings, config(), 0)
    found = values(draw, recordings)
    assert draw.facts["folds_keep_together"]["by"] == "speaker"
    # Genders were given to speakers at random, so the layer cannot know them ...
    assert found[""].value < 0.5
    assert abs(found[""].value - found[PERMUTED].value) < 0.5
    assert found[""].groups == SPEAKERS
    # ... but with the speakers of the test in training it seems to.
    hot = np.array([[float(g == "F")] for g in recordings.tier("gender")])
    naive = CcaDraw(hot, np.arange(len(recordings)), recordings.fold, config(), 0)
    assert values(naive, recordings)[""].value > 0.85


def test_held_out_speakers_have_chance_level_zero() -> None:
    found: dict[str, list[float]] = {"speaker": [], "utterance": []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(20), 6)
        rows = torch.from_numpy(
            rng.standard_normal((20, 15))[who] * 4 + rng.standard_normal((len(who), 15))
        )
        gender = rng.permutation(["F", "M"] * 10)[who].tolist()
        ids, speakers = [f"u{i}" for i in range(len(who))], [f"s{i}" for i in who]
        right = tier_view(gender, speakers, "gender", ids)
        for view in (right, dataclasses.replace(right, grouping="utterance")):
            fold = view_folds(view, ids, speakers, 5, seed)
            y = ViewFolds(1, 5)
            y.update(view.matrix, fold)
            m = FoldMoments(15, y)
            m.update([rows], view.matrix, fold)
            score = cross_validate(m, measures=["pwcca"]).measures["pwcca"].value
            found[view.grouping].append(score)
    assert abs(np.mean(found["speaker"])) < 4 * np.std(found["speaker"]) / np.sqrt(30)
    assert abs(np.mean(found["speaker"])) < 0.25
    assert np.mean(found["utterance"]) > 0.7


def test_speaker_is_scored_with_every_speaker_in_training(recordings: Sample) -> None:
    draw = tier_views.speaker("").draw(recordings, config(folds=4), 0)
    found = values(draw, recordings)
    assert draw.facts["folds_keep_together"]["by"] == "utterance"
    assert draw.facts["columns_of_view"] == SPEAKERS - 1
    assert found[""].value > 0.8
    assert abs(found[SHUFFLED].value) < 0.2


def test_numbers_and_classes_that_vary_within_speakers(recordings: Sample) -> None:
    level = tier_views.tier("level").draw(recordings, config(), 0)
    assert values(level, recordings)[""].value > 0.8
    loud = tier_views.tier("loud").draw(recordings, config(), 0)
    assert values(loud, recordings)[""].value > 0.6
    assert level.facts["folds_keep_together"]["by"] == "utterance"
    held_out = tier_views.tier("level").draw(recordings, config(group="speaker"), 0)
    assert held_out.facts["folds_keep_together"]["by"] == "speaker"
    # Speakers do not carry the level: giving one value to a whole speaker is no control of it.
    assert PERMUTED not in values(held_out, recordings)


def test_tables(recordings: Sample, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    level = recordings.tier("level")
    lines = [f"u{i},{level[i]},{('a', 'b')[i % 2]}" for i in range(len(recordings) - 2)]
    path.write_text("\n".join(["utterance,level,other", *lines]) + "\n")
    settings = config(tables={"mine": str(path)})
    corpus: Any = Heard(list(recordings.utterances.values()))
    whole, one = tier_views.table("mine"), tier_views.table("mine.level")
    assert one.missing(corpus, settings) == ""
    draw = one.draw(recordings, settings, 0)
    assert draw.facts["dropped"] == {"not in the table": 2}
    assert any("2 of 240" in notice for notice in draw.notices)
    assert values(draw, recordings)[""].value > 0.8
    assert whole.draw(recordings, settings, 0).facts["columns_of_view"] == 2
    assert "--table other=FILE" in tier_views.table("other").missing(corpus, settings)
    with pytest.raises(UsageError, match="unknown column"):
        tier_views.table("mine.leevl").missing(corpus, settings)
    path.write_text("utterance,level\nz1,1\nz2,2\n")
    assert "none of the recordings" in one.missing(corpus, settings)
    with pytest.raises(TooFewError):
        one.draw(recordings, settings, 0)


def test_another_model_as_the_view(recordings: Sample) -> None:
    one = tier_views.model("spk")
    assert list(one.helpers(config())) == ["spk"]
    draw = one.draw(recordings, config(), 0)
    assert draw.facts["view"] == "spk/embedding"
    found = values(draw, recordings)
    assert found[""].value > 0.6  # five of six dimensions are in the layer
    with pytest.raises(UsageError, match="no layer of the model 'other'"):
        tier_views.model("other").draw(recordings, config(), 0)


def test_what_is_missing_for_recordings(recordings: Sample) -> None:
    corpus: Any = Heard(list(recordings.utterances.values()))
    assert tier_views.gender("").missing(corpus, config()) == ""
    assert "no recording has the tier 'emotion'" in tier_views.emotion("").missing(corpus, config())
    same: Any = Heard([Utterance(f"u{i}", 1.0, {"channel": "c"}) for i in range(4)])
    assert "does not differ" in tier_views.channel("").missing(same, config())
    spans: Any = Heard([Utterance("u", 1.0, {"words": (Segment(0, 1, "a"),)})])
    assert "no single value" in tier_views.tier("words").missing(spans, config())


@pytest.mark.parametrize(
    "one",
    [
        *(make("") for make in (lexical.glove, lexical.agwe, lexical.semantic, lexical.text)),
        *(make("") for make in (tier_views.speaker, tier_views.gender, tier_views.emotion)),
        *(make("x") for make in (lexical.vectors, lexical.attributes, tier_views.table)),
        tier_views.model("x"),
        tier_views.tier("x"),
    ],
    ids=lambda one: one.name,
)
def test_facts_of_every_property(one: Property) -> None:
    assert one.main == "pwcca"
    assert one.unit in ("word", "utterance")
    assert one.title.endswith("(PWCCA)")
    assert one.group in ("acoustic", "lexical", "semantic", "speaker", "task")


def test_every_draw_has_the_folds_of_the_run(
    recordings: Sample, spoken: tuple[Sample, np.ndarray]
) -> None:
    """Scores of folds are averaged over draws: fold 3 must be the same speakers in all."""
    draws = [tier_views.gender("").draw(recordings, config(), seed) for seed in range(3)]
    made = [cca_of(draw)._fold for draw in draws]
    assert all((fold == made[0]).all() for fold in made)
    sample, _ = spoken
    texts = {
        key: dataclasses.replace(u, tiers={**u.tiers, "text": f"t{int(key[1:]) % 13}"})
        for key, u in sample.utterances.items()
    }
    of_text = np.full((3, len(sample)), -1)
    for seed in range(3):
        settings = config(all_words_per_type=20)
        read = dataclasses.replace(sample, utterances=texts)
        rows = np.sort(np.random.default_rng(seed).choice(len(sample), 300, replace=False))
        of_text[seed, rows] = lexical._folds_of_texts(read, rows, settings)[0]
    for row in of_text.T:
        assert len(set(row[row >= 0])) <= 1


def cca_of(draw: Any) -> CcaDraw:
    found = draw.true if isinstance(draw, lexical.BesidePermuted) else draw
    assert isinstance(found, CcaDraw)
    return found
