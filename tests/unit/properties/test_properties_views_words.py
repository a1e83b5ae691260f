"""Word vectors and attributes from files: formats, case, damage; PPMI vectors of text."""

from __future__ import annotations

import gzip
import json
import pickle
import tracemalloc
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from voxstrata.corpora.synthetic.grammar import sentences, topic_similarity
from voxstrata.corpora.synthetic.lexicon import lexicon
from voxstrata.errors import UsageError
from voxstrata.properties.views.attributes import parse_oracle_line, read_attributes
from voxstrata.properties.views.text_vectors import TextVectors, text_of, text_vectors, tokens
from voxstrata.properties.views.word_table import WordTable, case_of
from voxstrata.properties.views.word_vectors import read_word_vectors
from voxstrata.types import Segment

ROWS = {
    "the": [0.5, -1.25, 2.0],
    "The": [9.0, 9.0, 9.0],
    "cat": [1e-3, 3.0, -0.0625],
    "new york": [7.0, 8.0, 9.0],
    "naïve": [-1.0, 0.25, 4.0],
    "x\x85y": [3.0, 2.0, 1.0],  # U+0085 counts as a line end in text, not in these files
}


def text_bytes(rows: dict[str, list[float]], header: bool, end: str = "\n") -> bytes:
    lines = [f"{len(rows)} 3"] if header else []
    lines += [word + " " + " ".join(map(str, row)) for word, row in rows.items()]
    return (end.join(lines) + end).encode()


def binary_bytes(rows: dict[str, list[float]], feed: bytes = b"\n") -> bytes:
    out = f"{len(rows)} 3\n".encode()
    for word, row in rows.items():
        out += word.encode() + b" " + np.array(row, "<f4").tobytes() + feed
    return out


# A word ends at its first space there, so none can hold one.
JOINED = {word.replace(" ", "_"): row for word, row in ROWS.items()}
FILES = {
    "glove-text": text_bytes(ROWS, header=False),
    "word2vec-text": text_bytes(ROWS, header=True, end=" \r\n"),
    "word2vec-binary": binary_bytes(JOINED),
    "word2vec-binary-without-feeds": binary_bytes(JOINED, b""),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", FILES)
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str, packed: bool) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(FILES[kind]) if packed else FILES[kind])
    rows = JOINED if "binary" in kind else ROWS
    table = read_word_vectors(path, [*rows, "dog"])
    assert table.facts["format"] == kind.removesuffix("-without-feeds")
    assert table.missing == ("dog",)
    assert table.facts["entries"] == len(ROWS)
    assert set(table.words) == set(rows)
    for word, row in zip(table.words, table.matrix, strict=True):
        np.testing.assert_array_equal(row, np.float32(rows[word]))


def test_case_rules(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(text_bytes({k: ROWS[k] for k in ("the", "The", "cat")}, header=False))

    def first(word: str, case: str) -> float | None:
        table = read_word_vectors(path, [word], case=case)  # type: ignore[arg-type]
        return None if table.missing else float(table.matrix[0, 0])

    assert first("The", "fallback") == 9.0
    assert first("The", "lower") == 0.5
    assert first("CAT", "fallback") == pytest.approx(1e-3)
    assert first("CAT", "exact") is None
    table = read_word_vectors(path, ["CAT", "The"])
    assert table.facts["by_other_case"] == 1
    # Corpora in capitals: "THE" is the word "the", whatever the file has under "THE".
    assert case_of(["THE", "IT'S"]) == "lower"
    assert case_of(["THE", "it"]) == "fallback"
    assert case_of(["3", "7"]) == "fallback"


def test_the_first_of_repeated_words_stays(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(b"a 1 2\nb 3 4\na 5 6\n")
    table = read_word_vectors(path, ["a"])
    assert table.matrix.tolist() == [[1.0, 2.0]]
    assert table.facts["repeated"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a 1 2 3\nb 1 2\nc 1 2 3\n", "line 2: too few numbers"),
        (b"a 1 2 3\nb 1 x 3\n", "line 2, number 2: not a number"),
        (b"a 1 2 3\nb 1 2 nan\n", "line 2, number 3: not finite"),
        (b"a 1 2 3\nb 1 2 1_0\n", "line 2, number 3: not a number"),
        (b"3 3\na 1 2 3\nb 1 2 3\n", "not as many entries as its header says"),
        (b"2 3\na 1 2 3\nb 1 2\n", "line 3: too few numbers"),
        (b"0 3\n", "a header without entries"),
        (b"just some prose here\nand more of it\n", "not a word followed by numbers"),
        (b"", "is empty"),
        (b"PK\x03\x04....", "zip archive"),
        (pickle.dumps({"a": [1.0]}), "pickle"),
        (gzip.compress(FILES["glove-text"], mtime=0)[:-12], "gzip file is damaged"),
        (binary_bytes(JOINED)[:-10], "the file ends within entry 6"),
        (binary_bytes(JOINED) + b"more", "more follows"),
        (binary_bytes({"a": [1.0, float("inf"), 2.0]}), "entry 1 ('a'), number 2: not finite"),
    ],
)
def test_damage_is_told_with_its_place(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "vectors.any"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_word_vectors(path, ["a", "b", "c"])
    assert says in str(error.value)
    assert "vectors.any" in str(error.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file of word vectors"):
        read_word_vectors(tmp_path / "none", ["a"])
    with pytest.raises(UsageError, match="cannot be read"):
        read_word_vectors(tmp_path, ["a"])


def test_only_wanted_words_are_held(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    width, count = 300, 10_000
    path = tmp_path / "big.bin"
    block = rng.standard_normal((count, width)).astype("<f4")
    with path.open("wb") as file:
        file.write(f"{count} {width}\n".encode())
        for i in range(count):
            file.write(f"w{i} ".encode() + block[i].tobytes())
    tracemalloc.start()
    table = read_word_vectors(path, ["w17", "w9999"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(table.matrix, block[[17, 9999]])
    assert peak < 4_000_000 < 12_000_000 < path.stat().st_size


def test_word_table_rows_and_coverage() -> None:
    table = WordTable(("a", "b"), np.array([[1.0, 0.0], [0.0, 2.0]]))
    kept, rows = table.rows(["b", "z", "a", "b"])
    assert kept.tolist() == [0, 2, 3]
    assert rows.tolist() == [[0, 2], [1, 0], [0, 2]]
    assert table.coverage(["b", "z", "a", "b", "z", "y"]) == {
        "types": 4, "types_found": 2, "tokens": 6, "tokens_found": 3,
        "most_frequent_missing": ["z", "y"],
    }  # fmt: skip


# -- attributes --------------------------------------------------------------------------------

WEIGHTS = {
    "run": {"verb.motion": 0.75, "noun.act": 0.25},
    "cat": {"noun.animal": 1.0},
    "'s": {'ptb."': 0.5, "ptb.'": 0.5},
}


def _same(table: WordTable, wanted: dict[str, dict[str, float]]) -> None:
    names = table.facts["attributes"]
    for word, row in zip(table.words, table.matrix, strict=True):
        assert {n: w for n, w in zip(names, row, strict=True) if w} == wanted[word]


@pytest.mark.parametrize("form", ["json", "python", "space"])
def test_qvec_oracles(tmp_path: Path, form: str) -> None:
    path = tmp_path / "oracle.supersenses"
    write = repr if form == "python" else json.dumps
    gap = " " if form == "space" else "\t"
    path.write_text("\n".join(f"{w}{gap}{write(a)}" for w, a in WEIGHTS.items()) + "\n\n")
    table = read_attributes(path, [*WEIGHTS, "dog", "Cat"])
    assert table.missing == ("dog",)
    assert set(table.words) == {*WEIGHTS, "Cat"}
    assert table.facts["by_other_case"] == 1
    _same(table, {**WEIGHTS, "Cat": WEIGHTS["cat"]})
    # Columns that none of the wanted words has do not enter the view.
    one = read_attributes(path, ["cat"])
    assert one.facts["attributes"] == ["noun.animal"]
    assert one.facts["unused"] == 4


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "tsv.gz"])
@pytest.mark.parametrize("long", [True, False])
def test_attribute_tables(tmp_path: Path, kind: str, long: bool) -> None:
    weights = {w: a for w, a in WEIGHTS.items() if w != "'s"}
    if long:
        frame = pd.DataFrame(
            [(w, a, x) for w, e in weights.items() for a, x in e.items()],
            columns=["word", "attribute", "weight"],
        )
    else:
        frame = pd.DataFrame(weights).T.rename_axis("word").reset_index()
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
        if not long:  # pandas writes missing values as nulls
            assert frame.isna().any(axis=None)
    else:
        frame.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    _same(read_attributes(path, weights), weights)


def test_normalised_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("word,attribute,weight\na,x,3\na,y,1\nb,x,5\n")
    table = read_attributes(path, ["a", "b"], normalise=True)
    assert table.matrix.tolist() == [[0.75, 0.25], [1.0, 0.0]]
    path.write_text("word,attribute,weight\na,x,3\na,y,-1\n")
    with pytest.raises(UsageError, match="cannot be scaled"):
        read_attributes(path, ["a"], normalise=True)


@pytest.mark.parametrize(
    "line",
    [
        'run\t{"a": __import__("os").system("true")}',
        'run\t{"a": [1]}',
        'run\t{"a": 1} + 2',
        'run\t{"a": 1 "b": 2}',
        "run\t{a: 1}",
        "run\t{}",
        '\t{"a": 1}',
        'run {"a": 1, "a": 2}',
        'run {"a": nan}',
        'run {"a": 1e999}',
        "run",
    ],
)
def test_lines_that_are_no_oracle_are_refused(line: str) -> None:
    with pytest.raises(UsageError, match="f, line 3"):
        parse_oracle_line(line, "f, line 3")


def test_attribute_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "o.txt"
    path.write_text('a\t{"x": 1}\nb\t{"x": 1}\na\t{"y": 1}\n')
    with pytest.raises(UsageError, match=r"line 3: the word 'a' stands there twice(.|\n)*line 1"):
        read_attributes(path, ["a"])
    wide = tmp_path / "w.csv"
    wide.write_text("word,x\na,1\n\nb,inf\n")
    with pytest.raises(UsageError, match=r"column 'x', row 4: not a finite number"):
        read_attributes(wide, ["a"])
    wide.write_text("token,x\na,1\n")
    with pytest.raises(UsageError, match="no column 'word'"):
        read_attributes(wide, ["a"])
    wide.write_text("word,x\na,1,2\n")
    with pytest.raises(UsageError, match="row 2: not as many cells"):
        read_attributes(wide, ["a"])


# -- vectors of the corpus's own text --------------------------------------------------------------


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, ...]]:
    return [tokens(s.text) for s in sentences(20_000, seed=1)]


def _topics(table: WordTable) -> tuple[float, float]:
    topical, alike = lexicon().topics_of(), topic_similarity()
    names = [w for w in table.words if len(topical.get(w, ())) == 1]
    vectors = table.rows(names)[1]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    topics = [next(iter(topical[w])) for w in names]
    i, j = np.triu_indices(len(names), 1)
    truth = np.array([alike[topics[a], topics[b]] for a, b in zip(i, j, strict=True)])
    cosine = vectors @ vectors.T
    wrong = np.random.default_rng(0).permutation(len(names))
    return (
        float(spearmanr(truth, cosine[i, j]).statistic),
        float(spearmanr(truth, cosine[np.ix_(wrong, wrong)][i, j]).statistic),
    )


@pytest.mark.parametrize("window", [None, 5])
def test_text_vectors_recover_planted_topics(
    texts: list[tuple[str, ...]], window: int | None
) -> None:
    table = text_vectors(texts, TextVectors(dim=40, window=window, min_count=30))
    found, shuffled = _topics(table)
    assert found > 0.5  # ties keep a perfect score at 0.65
    assert abs(shuffled) < 0.05
    assert table.width == 40


def test_text_vectors_repeat_and_do_not_depend_on_order(texts: list[tuple[str, ...]]) -> None:
    how = TextVectors(dim=10, min_count=5)
    first = text_vectors(texts[:2000], how)
    again = text_vectors(texts[:2000][::-1], how)
    assert first.words == again.words
    np.testing.assert_allclose(first.matrix, again.matrix, atol=1e-8)
    assert first.width == 10 <= len(first) // 10
    few = text_vectors(texts[:200], TextVectors(dim=40, min_count=3))
    assert few.width == len(few) // 10 < 40  # enough words for each dimension
    # Texts that many speakers read count once, unless asked otherwise.
    repeated = texts[:2000] + texts[:50] * 5
    np.testing.assert_allclose(text_vectors(repeated, how).matrix, first.matrix, atol=1e-8)
    counted = text_vectors(repeated, TextVectors(dim=10, min_count=5, distinct=False))
    assert counted.matrix.shape != first.matrix.shape or not np.allclose(
        counted.matrix, first.matrix, atol=1e-3
    )


@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("shift", [1.0, 1.2])
def test_factors_give_the_ppmi_of_the_definition(window: int | None, shift: float) -> None:
    given = [("a", "b", "a", "c"), ("b", "c", "d"), ("d", "rare", "a"), ("c", "d", "e", "e", "a")]
    given += [("e", "b"), ("rarer", "e")]
    pairs: Counter[tuple[str, str]] = Counter()
    for text in given:
        for i, j in permutations(range(len(text)), 2):
            if window is None or abs(i - j) <= window:
                pairs[text[i], text[j]] += 1
    names = sorted({w for w in "abcde" if sum(w in t for t in given) >= 2})
    n = np.array([[pairs[w, c] for c in names] for w in names], dtype=float)
    p = n.sum(0) ** 0.75 / (n.sum(0) ** 0.75).sum()
    with np.errstate(divide="ignore"):
        ppmi = np.maximum(np.log(n / (n.sum(1, keepdims=True) * p)) - np.log(shift), 0)
    how = TextVectors(dim=99, words_per_dim=1, window=window, min_count=2, shift=shift)
    table = text_vectors(given, how)
    assert list(table.words) == names
    # W W' = U S U' is the square root of PPMI PPMI'.
    gram = table.matrix @ table.matrix.T
    np.testing.assert_allclose(gram @ gram, ppmi @ ppmi.T, atol=1e-10)


def test_text_that_is_too_little() -> None:
    with pytest.raises(UsageError, match="too little text"):
        text_vectors([("yes",), ("no",), ("yes",)], TextVectors(min_count=1))
    with pytest.raises(UsageError, match="too little text"):
        text_vectors([("a", "b")], TextVectors(min_count=3))
    with pytest.raises(UsageError, match="dim of text vectors"):
        TextVectors(dim=0)


def test_text_of_a_recording() -> None:
    spans = (Segment(0, 1, "The"), Segment(1, 2, "cat"))
    assert text_of({"text": "The CAT, sat.", "words": spans}) == ("the", "cat", "sat")
    assert text_of({"words": spans}) == ("the", "cat")
    assert text_of({"speaker": "s"}) == ()
