"""Word and sentence similarity: files, correlations, planted topics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from voxstrata.corpora.synthetic.grammar import sentences, topic_similarity
from voxstrata.corpora.synthetic.lexicon import lexicon
from voxstrata.errors import UsageError
from voxstrata.properties.property import PERMUTED, SHUFFLED, TooFewError
from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.pair_similarity import (
    cross_cosines,
    even_pairs,
    read_scored_pairs,
    spearman,
    spearman_error,
)
from voxstrata.properties.tasks.planted_properties import (
    planted_topics,
    sentences_topics,
    wordsim_topics,
)
from voxstrata.properties.tasks.similarity_properties import (
    cap_instances,
    sentence_similarity,
    wordsim,
)
from voxstrata.properties.tasks.word_similarity import (
    ListScore,
    averages,
    vocabulary,
    word_means,
)
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import FrameGrid, LayerInfo, Utterance

LAYER = StackLayer(0, "m", LayerInfo("1", 8, "frame", FrameGrid(320, 400)))


def settings(**given: object) -> PropertiesConfig:
    return PropertiesConfig(models=("m",), corpus="c", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "cat\tdog\t7.5\ncup\tmug\t9\n",
        "Word 1,Word 2,Human (mean)\ncat,dog,7.5\r\ncup,mug,9\r\n",
        "# a comment\ncat dog 7.5\n\ncup mug 9",
        "word1\tword2\tPOS\tscore\tother\ncat\tdog\tN\t7.5\tx\ncup\tmug\tN\t9\tx\n",
        '"cat";"dog";7.5\n"cup";"mug";9',
    ],
)
def test_lists_of_pairs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list-1.txt"
    path.write_text(text, encoding="utf-8")
    found = read_scored_pairs(path)
    assert (found.name, found.first, found.second) == ("list-1", ("cat", "cup"), ("dog", "mug"))
    assert found.score.tolist() == [7.5, 9.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat dog 1\ncup 2\n", "line 2"),
        ("cat dog 1\ncup mug high\n", "line 2"),
        ("cat dog 1\ncup mug nan\n", "line 2"),
        ("cat dog\n", "empty"),
        ("", "empty"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_scored_pairs(path)


def test_absent_and_binary_lists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_scored_pairs(tmp_path / "absent.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UsageError, match="cannot be read"):
        read_scored_pairs(tmp_path / "binary")


def test_spearman_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 60), rng.integers(0, 7, 60)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_error_over_members_covers_the_spread() -> None:
    """Pairs share words: the spread over new words is what the error must be."""
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.standard_normal((40, 3))
        seen = truth + rng.standard_normal((40, 3))
        pairs = np.stack(np.triu_indices(40, 1), axis=1)
        a, b = ((v[pairs[:, 0]] * v[pairs[:, 1]]).sum(axis=1) for v in (truth, seen))
        values.append(spearman(a, b))
        errors.append(spearman_error(a, b, pairs, rng)[0])
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_cross_cosines_against_every_pair_of_rows(number: int) -> None:
    rng = np.random.default_rng(0)
    x, item = rng.standard_normal((50, 4)), rng.integers(0, 6, 50)
    groupings = [rng.integers(0, 5, 50), rng.integers(0, 7, 50)][:number]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    got = cross_cosines(x, item, *groupings)
    for a in range(6):
        for b in range(6):
            values = [
                unit[i] @ unit[j]
                for i in np.flatnonzero(item == a)
                for j in np.flatnonzero(item == b)
                if i != j and all(g[i] != g[j] for g in groupings)
            ]
            assert got[a, b] == pytest.approx(np.mean(values), abs=1e-10)


def test_cross_cosines_of_items_that_never_meet() -> None:
    got = cross_cosines(np.eye(3), np.array([0, 1, 2]), np.array([0, 0, 1]))
    assert np.isnan(got[0, 1])
    assert got[0, 2] == 0


def test_even_pairs() -> None:
    truth = np.array([0.0] * 90 + [0.5] * 20 + [1.0] * 10)
    chosen = even_pairs(truth, np.random.default_rng(0), 1000)
    assert np.unique(truth[chosen], return_counts=True)[1].tolist() == [10, 10, 10]
    assert len(even_pairs(truth, np.random.default_rng(0), 12)) == 12


def test_vocabulary_means_and_caps() -> None:
    words, word = vocabulary(["Sea", "sea", "LAND", "sea"])
    assert words == ["sea", "land"]
    rows = np.array([[1.0, 0], [3.0, 0], [5.0, 1], [2.0, 3]])
    assert word_means(rows, word).tolist() == [[2.0, 1.0], [5.0, 1.0]]
    kept = cap_instances(word, 2, np.random.default_rng(0))
    assert word[kept].tolist().count(0) == 2
    assert 2 in kept.tolist()


def test_averages_weigh_lists() -> None:
    macro, micro = averages(
        [ListScore("a", 0.2, 0.1, 10, 20, 5), ListScore("b", 0.6, 0.3, 30, 30, 7)]
    )
    assert (macro.value, micro.value) == (pytest.approx(0.4), pytest.approx(0.5))
    assert (macro.error, micro.error) == (pytest.approx(0.2), pytest.approx(0.25))
    assert (micro.n, micro.total, micro.groups) == (40, 50, 5)


def wordsim_sample(tmp_path: Path, count: int = 40) -> tuple[Sample, Path]:
    """Words with vectors of their own, three instances each, and a list of noisy cosines."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((count, 8))
    names = [f"Word{i}" for i in range(count)]
    rows = np.repeat(meaning, 3, axis=0) + 0.2 * rng.standard_normal((3 * count, 8))
    unit = meaning / np.linalg.norm(meaning, axis=1, keepdims=True)
    path = tmp_path / "judged.csv"
    lines = ["first,second,score"]
    for i, j in rng.integers(0, count, (150, 2)):
        if i != j:
            lines.append(f"{names[i].upper()},{names[j].lower()},{unit[i] @ unit[j]:.4f}")
    lines += [f"unheard{i},word1,0.5" for i in range(200)]
    path.write_text("\n".join(lines), encoding="utf-8")
    sample = sample_of(
        [rows],
        layers=[LAYER],
        utterances={"u": Utterance("u", 9.0, {"words": [1]})},
        utterance=["u"] * len(rows),
        fold=[0] * len(rows),
        labels=[n for n in names for _ in range(3)],
        unit="word",
    )
    return sample, path


def test_wordsim_finds_what_judges_see(tmp_path: Path) -> None:
    sample, path = wordsim_sample(tmp_path)
    few = tmp_path / "few.txt"
    few.write_text("word1 word2 3\nword2 word3 4\n", encoding="utf-8")
    given = settings(wordsim=(str(path), str(few)), all_words_per_type=2)
    draw = wordsim("").draw(sample, given, seed=0)
    scores = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    main = scores["spearman-macro", ""]
    assert main.value > 0.9
    assert main.value == scores["spearman/judged", ""].value
    assert 0 < main.error < 0.05
    assert abs(scores["spearman-macro", SHUFFLED].value) < 0.3
    assert draw.facts["lists"]["judged"]["found"] == main.n < draw.facts["lists"]["judged"]["pairs"]
    assert draw.facts["rows"] == 80
    assert any("judged" in n for n in draw.notices)
    with pytest.raises(TooFewError, match="20 pairs"):
        wordsim("").draw(sample, settings(wordsim=(str(few),)), seed=0)


def test_wordsim_says_what_is_missing(tmp_path: Path) -> None:
    class Empty:
        utterances = (Utterance("u", 1.0, {}),)

    one = wordsim("")
    assert "no word-similarity list" in one.missing(Empty(), settings())  # type: ignore[arg-type]
    _, path = wordsim_sample(tmp_path)
    given = settings(wordsim=(str(path),))
    assert "words" in one.missing(Empty(), given)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        one.missing(Empty(), settings(wordsim=(str(tmp_path / "no"),)))  # type: ignore[arg-type]
    other = sentence_similarity("")
    assert "no sentence" in other.missing(Empty(), settings())  # type: ignore[arg-type]
    for make in (wordsim_topics, sentences_topics):
        assert make("").missing(Empty(), settings())  # type: ignore[arg-type]


@pytest.mark.parametrize("grouped", [False, True])
def test_sentence_similarity_averages_over_speakers(tmp_path: Path, grouped: bool) -> None:
    rng = np.random.default_rng(0)
    count, voices = 30, 3
    utterances, names, rows, lines = {}, [], [], []
    voice = 3 * rng.standard_normal((voices, 2, 8))
    for p in range(count):
        score = rng.uniform(0, 1)
        a = rng.standard_normal(8)
        other = rng.standard_normal(8)
        b = score * a + (1 - score) * other
        for side, meaning in enumerate((a, b)):
            for v in range(voices):
                name = f"p{p}{'ab'[side]}{v}"
                tiers = {} if grouped else {"text": f"sentence {p} {side}"}
                utterances[name] = Utterance(name, 1.0, tiers)
                names.append(name)
                rows.append(4 * meaning + voice[v, side])
        for v in range(voices):
            for w in range(voices):
                end = f"\tpair{p}" if grouped else ""
                lines.append(f"p{p}a{v}\tp{p}b{w}\t{score:.4f}{end}")
    lines.append("p0a0\tnobody\t0.5" + ("\tpair0" if grouped else ""))
    path = tmp_path / "sts.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    sample = sample_of(
        [np.array(rows)],
        layers=[LAYER],
        utterances=utterances,
        utterance=names,
        fold=[0] * len(names),
        unit="utterance",
    )
    draw = sentence_similarity("").draw(sample, settings(sentences=str(path)), seed=0)
    scores = {(s.measure, s.control): s for s in draw.score(sample.read(0), LAYER)}
    assert scores["spearman", ""].n == count
    assert scores["spearman-all", ""].n == count * voices**2
    assert scores["spearman", ""].value > 0.6
    assert scores["spearman", ""].error > 0
    assert abs(scores["spearman", SHUFFLED].value) < 0.4
    # The same by hand.
    x = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    at = {n: i for i, n in enumerate(names)}
    human, mean = [], []
    for p in range(count):
        human.append(float(lines[9 * p].split("\t")[2]))
        pairs = [(f"p{p}a{v}", f"p{p}b{w}") for v in range(voices) for w in range(voices)]
        mean.append(np.mean([x[at[a]] @ x[at[b]] for a, b in pairs]))
    expected = spearmanr(human, mean).statistic
    assert scores["spearman", ""].value == pytest.approx(expected, abs=1e-6)
    assert "1 of 271 lines" in draw.notices[0]


def test_planted_topics_are_those_of_the_lexicon() -> None:
    planted = planted_topics()
    lex = lexicon()
    assert planted["baked"] == ("kitchen", frozenset({"bake"}))
    shared = [w for w, topics in lex.topics_of().items() if len(topics) > 1]
    assert shared
    assert not set(shared) & set(planted)


def planted_words(noise: float, texts: int = 400) -> tuple[Sample, dict]:
    """Words of generated sentences read by several speakers; no audio."""
    written = sentences(texts)
    names, labels, speakers, utterances = [], [], [], {}
    for number, text in enumerate(written):
        for reader in range(2):
            name = f"t{number}-{reader}"
            who = f"s{(number * 7 + reader * 3) % 20}"
            utterances[name] = Utterance(
                name, 3.0, {"speaker": who, "text": text.text, "topic": text.topic, "words": [1]}
            )
            for word in text.text.split():
                names.append(name)
                labels.append(word)
                speakers.append(who)
    rng = np.random.default_rng(0)
    groups = {t.name: t.group for t in lexicon().topics}
    topic = {t: rng.standard_normal(24) for t in groups}
    group = {g: rng.standard_normal(24) for g in sorted(set(groups.values()))}
    voice = {s: rng.standard_normal(24) for s in sorted(set(speakers))}
    room = {n: rng.standard_normal(24) for n in utterances}
    planted = planted_topics()
    rows = {"meaning": [], "voice": []}
    for name, word, who in zip(names, labels, speakers, strict=True):
        found = planted.get(word)
        own = topic[found[0]] + group[groups[found[0]]] if found else 0 * topic["sea"]
        rows["meaning"].append(own + 0.5 * voice[who] + noise * rng.standard_normal(24))
        rows["voice"].append(voice[who] + room[name] + noise * rng.standard_normal(24))
    sample = sample_of(
        [np.array(rows["meaning"]), np.array(rows["voice"])],
        layers=[LAYER, LAYER],
        utterances=utterances,
        utterance=names,
        fold=[int(w[1:]) % 10 for w in speakers],
        labels=labels,
        unit="word",
    )
    return sample, utterances


def test_planted_word_topics() -> None:
    sample, _ = planted_words(0.3)
    draw = wordsim_topics("").draw(sample, settings(), seed=0)
    meaning, voice = (
        {(s.measure, s.control): s for s in draw.score(sample.read(i), LAYER)} for i in (0, 1)
    )
    assert meaning["spearman", ""].value > 0.8
    assert abs(meaning["spearman", SHUFFLED].value) < 0.1
    assert 0 < meaning["spearman", ""].error < 0.1
    # Words of a topic share recordings: plain means of voices and rooms look like meaning.
    assert voice["spearman-mean-vectors", ""].value > 3 * voice["spearman", ""].error
    assert abs(voice["spearman", ""].value) < 3 * voice["spearman", ""].error
    # No pair is one base form twice.
    planted = planted_topics()
    words = list(dict.fromkeys(w for w in sample.labels or () if w in planted))
    assert all(not planted[words[i]][1] & planted[words[j]][1] for i, j in draw.pairs)
    alike = topic_similarity()
    i, j = draw.pairs[0]
    assert draw.truth[0] == alike[planted[words[i]][0], planted[words[j]][0]]
    assert np.ptp(np.unique(draw.truth, return_counts=True)[1]) == 0


def test_planted_sentence_topics() -> None:
    words, utterances = planted_words(0.3)
    names = list(utterances)
    place = {n: i for i, n in enumerate(names)}
    index = torch.tensor([place[str(n)] for n in words.utterance])
    count = torch.bincount(index)[:, None]
    rows = [torch.zeros(len(names), 24).index_add(0, index, words.read(i)) / count for i in (0, 1)]
    sample = sample_of(
        rows,
        layers=[LAYER, LAYER],
        utterances=utterances,
        utterance=names,
        fold=[int(utterances[n].tiers["speaker"][1:]) % 10 for n in names],
        unit="utterance",
    )
    draw = sentences_topics("").draw(sample, settings(), seed=0)
    meaning, voice = (
        {(s.measure, s.control): s for s in draw.score(sample.read(i), LAYER)} for i in (0, 1)
    )
    assert meaning["spearman", ""].value > 0.6
    assert abs(meaning["spearman", SHUFFLED].value) < 0.15
    assert abs(voice["spearman", ""].value) < 0.1
    assert meaning["ap-same-text", ""].value > 10 * meaning["ap-same-text", PERMUTED].value
    assert voice["ap-same-text", ""].value < 0.05
    assert meaning["ap-same-text", ""].error > 0


def test_too_few_planted_words() -> None:
    sample, _ = planted_words(0.3)
    kept = [i for i, w in enumerate(sample.labels or ()) if w in ("sea", "ship", "boat", "bread")]
    few = sample_of(
        [sample.read(0)[kept]],
        layers=[LAYER],
        utterances=sample.utterances,
        utterance=sample.utterance[kept],
        fold=sample.fold[kept],
        labels=[(sample.labels or ())[i] for i in kept],
        unit="word",
    )
    for scale in ("published", "small"):
        with pytest.raises(TooFewError, match="planted topic"):
            wordsim_topics("").draw(few, settings(scale=scale), seed=0)
