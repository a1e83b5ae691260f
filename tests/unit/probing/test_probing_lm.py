"""Reading with a language model: the best words by brute force, choices that flip, bad files."""

from __future__ import annotations

import gzip
import itertools
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voxstrata.errors import ConfigError, MissingDependencyError, ShapeError
from voxstrata.probing.lm import PLACE, SYMBOLS, WordReader, read_lexicon, read_unigrams
from voxstrata.probing.settings import LanguageModel, ProbeConfig

pytest.importorskip("flashlight", reason="the extra 'lm' is not installed")

UNIGRAMS = {"A": (-0.6, -0.2), "B": (-0.9, -0.4), "AB": (-1.1, -0.1), "BA": (-1.4, 0.0)}
PAIRS = {("<s>", "A"): -1.2, ("<s>", "AB"): -0.3, ("A", "B"): -0.1, ("B", "A"): -0.5,
         ("AB", "</s>"): -0.2, ("B", "</s>"): -0.8}  # fmt: skip
START, END = -0.3, -0.7
"""Back-off weight of the beginning; the end's probability."""


def arpa(
    folder: Path,
    unigrams: dict[str, tuple[float, float]] = UNIGRAMS,
    pairs: dict[tuple[str, str], float] = PAIRS,
) -> Path:
    lines = ["\\data\\", f"ngram 1={len(unigrams) + 3}", f"ngram 2={len(pairs)}", "", "\\1-grams:",
             f"-99\t<s>\t{START}", f"{END}\t</s>", "-3\t<unk>"]  # fmt: skip
    lines += [f"{p}\t{word}\t{back}" for word, (p, back) in unigrams.items()]
    lines += ["", "\\2-grams:", *(f"{p}\t{a} {b}" for (a, b), p in pairs.items()), "", "\\end\\"]
    file = folder / "model.arpa"
    file.write_text("\n".join(lines) + "\n")
    return file


def sentence(words: Sequence[str]) -> float:
    """log10 of its probability, by the rule of back-off."""
    total = 0.0
    for one, other in itertools.pairwise(["<s>", *words, "</s>"]):
        back = START if one == "<s>" else UNIGRAMS[one][1]
        alone = END if other == "</s>" else UNIGRAMS[other][0]
        total += PAIRS.get((one, other), back + alone)
    return total


def outputs(seed: int, frames: int = 7, spread: float = 1.5) -> NDArray[np.float32]:
    """Log probabilities that leave A, B, the mark and the blank open."""
    rows = np.full((frames, len(SYMBOLS)), -20.0)
    open_ = [0, PLACE["|"], PLACE["A"], PLACE["B"]]
    rows[:, open_] = spread * np.random.default_rng(seed).standard_normal((frames, 4))
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows.astype(np.float32)


def every_reading(rows: NDArray[np.float32]) -> dict[tuple[str, ...], float]:
    """The best path of every list of words, over all paths of the four symbols."""
    marks = [SYMBOLS[0], "|", "A", "B"]
    places = [0, PLACE["|"], PLACE["A"], PLACE["B"]]
    found: dict[tuple[str, ...], float] = {}
    for path in itertools.product(range(4), repeat=len(rows)):
        text = "".join(marks[k] for k, _ in itertools.groupby(path) if k)
        if text and not text.endswith("|"):
            continue  # the last word is not finished
        words = tuple(word for word in text.split("|") if word)
        if not set(words) <= set(UNIGRAMS):
            continue
        score = sum(float(rows[t, places[k]]) for t, k in enumerate(path))
        found[words] = max(score, found.get(words, -np.inf))
    return found


@pytest.mark.parametrize(("weight", "word_score"), [(0.0, 0.0), (2.0, -1.0), (0.7, 0.5)])
def test_the_best_words_of_all(tmp_path: Path, weight: float, word_score: float) -> None:
    wide = LanguageModel(file=str(arpa(tmp_path)), weight=weight, word_score=word_score,
                         beam=100_000, beam_threshold=1e6)  # fmt: skip
    reader = WordReader(wide)
    seen = set()
    for seed in range(20):
        rows = outputs(seed, spread=2.5)
        score = {
            words: acoustic + weight * sentence(words) + word_score * len(words)
            for words, acoustic in every_reading(rows).items()
        }
        want = max(score, key=lambda words: score[words])
        runner_up = sorted(score.values())[-2]
        assert score[want] - runner_up > 1e-4  # rounding decides nothing
        assert reader.read(rows) == want
        seen.add(want)
    assert len(seen) > 2


def said(*frames: dict[str, float]) -> NDArray[np.float32]:
    """Log probabilities of frames with these probabilities; the rest is shared."""
    rows = np.full((len(frames), len(SYMBOLS)), 1e-6)
    for t, frame in enumerate(frames):
        for symbol, p in frame.items():
            rows[t, PLACE[symbol]] = p
    return np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_model_decides_what_the_frames_leave_open(tmp_path: Path) -> None:
    rows = said({"A": 0.55, "B": 0.45}, {"|": 1.0}, {"<blank>": 1.0}, {"A": 0.45, "B": 0.55},
                {"|": 1.0})  # fmt: skip
    alike = {"A": (-0.5, 0.0), "B": (-0.5, 0.0)}
    for first, second in itertools.product("AB", repeat=2):
        pairs = {("<s>", first): -0.1, (first, second): -0.1, (second, "</s>"): -0.1}
        model = str(arpa(tmp_path, alike, pairs))
        assert WordReader(LanguageModel(file=model)).read(rows) == (first, second)
        deaf = WordReader(LanguageModel(file=model, weight=0.0))
        assert deaf.read(rows) == ("A", "B")
    # a word that the model all but forbids
    forbids = str(arpa(tmp_path, {"A": (-40.0, 0.0), "B": (-0.5, 0.0)}, {("<s>", "B"): -0.5}))
    assert WordReader(LanguageModel(file=forbids)).read(rows) == ("B", "B")
    # a score for words that none is worth
    dear = LanguageModel(file=forbids, word_score=-1000.0)
    assert WordReader(dear).read(rows) == ()


def test_words_are_those_of_the_lexicon(tmp_path: Path) -> None:
    model = str(arpa(tmp_path))
    rows = said(*({letter: 1.0} for letter in "AAB|"))  # "AA" without a blank is one A
    assert WordReader(LanguageModel(file=model)).read(rows) == ("AB",)
    file = tmp_path / "lexicon.txt"
    file.write_text("A A |\nb\tB\nBA a b\n")
    reader = WordReader(LanguageModel(file=model, lexicon=str(file)))
    assert reader.vocabulary == ("A", "B", "BA")
    assert reader.read(rows) == ("BA",)  # as the lexicon spells it
    assert set(reader.digests) == {"file", "lexicon"}
    assert reader.read(rows[:0]) == ()
    with pytest.raises(ShapeError):
        reader.read(rows[:, :5])
    assert read_lexicon(file) == [("A", "A"), ("b", "B"), ("BA", "AB")]


def test_words_of_an_arpa_file_are_spelled_as_references_are(tmp_path: Path) -> None:
    words = dict.fromkeys(["it\u2019s", "CO-OP", "co-op", "12", "Zoë"], (-1.0, 0.0))
    file = arpa(tmp_path, words, {("<s>", "CO-OP"): -0.1})
    assert read_unigrams(file) == [
        ("it\u2019s", "IT'S"), ("CO-OP", "COOP"), ("co-op", "COOP"), ("Zoë", "ZO")
    ]  # fmt: skip
    zipped = tmp_path / "model.arpa.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes()))
    for name in (file, zipped):
        reader = WordReader(LanguageModel(file=str(name)))
        rows = said(*({letter: 1.0} for letter in ("C", "O", "<blank>", "O", "P", "|")))
        assert reader.read(rows) == ("COOP",)


def test_threads_do_not_share_a_beam(tmp_path: Path) -> None:
    reader = WordReader(LanguageModel(file=str(arpa(tmp_path)), beam=50))
    rows = [outputs(seed, 60) for seed in range(40)]
    want = [reader.read(row) for row in rows]
    assert len(set(want)) > 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reader.read, rows)) == want


def test_edits_are_of_words(tmp_path: Path) -> None:
    reader = WordReader(LanguageModel(file=str(arpa(tmp_path))))
    wanted = [np.array([PLACE[c] for c in text]) for text in ("AB|A|", "B|")]
    above, below = reader.counts(SYMBOLS, wanted, [("AB",), ("A", "B")])
    assert (above.tolist(), below.tolist()) == ([1, 1], [2, 1])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("hello\n", "begins with 'hello'"),
        ("", "begins with ''"),
        ("\\data\\\nngram 1=9\n\n\\1-grams:\n-1\tA\n", "no language model that KenLM reads"),
        ("\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\tA\n\n\\end\\\n", "bigram"),
        ("\\data\\\nngram 1=1\n\n\\1-grams:\n-1\t12\n\n\\end\\\n", "no word of the language model"),
        ("mmap lm http://kheafield.com/code format version 5\n", "does not tell its words"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, text: str, match: str) -> None:
    file = tmp_path / "odd.arpa"
    file.write_text(text)
    with pytest.raises(ConfigError, match=match):
        WordReader(LanguageModel(file=str(file)))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no language model"):
        WordReader(LanguageModel(file=str(tmp_path / "none.arpa")))
    model, lexicon = str(arpa(tmp_path)), tmp_path / "lexicon.txt"
    with pytest.raises(ConfigError, match="there is no lexicon"):
        WordReader(LanguageModel(file=model, lexicon=str(lexicon)))
    for line in ("WORD", "W0RD W 0 R D", "12 O N E", "<unk> U N K", "A A | B"):
        lexicon.write_text(f"A A\n\n{line}\n")
        with pytest.raises(ConfigError, match="line 3 of the lexicon"):
            WordReader(LanguageModel(file=model, lexicon=str(lexicon)))
    lexicon.write_text("\n")
    with pytest.raises(ConfigError, match="no word of the language model"):
        WordReader(LanguageModel(file=model, lexicon=str(lexicon)))
    binary = tmp_path / "model.bin"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0\0")
    lexicon.write_text("A A\n")
    with pytest.raises(ConfigError, match="KenLM reads"):
        WordReader(LanguageModel(file=str(binary), lexicon=str(lexicon)))
    strange = tmp_path / "latin.arpa"
    strange.write_bytes(Path(model).read_bytes().replace(b"BA", b"B\xe4"))
    with pytest.raises(ConfigError, match="KenLM reads"):
        WordReader(LanguageModel(file=str(strange)))


def test_the_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(MissingDependencyError, match=r"voxstrata\[lm\]"):
        WordReader(LanguageModel(file=str(arpa(tmp_path))))


def test_settings_take_a_file_or_all(tmp_path: Path) -> None:
    short = ProbeConfig(models=("mfcc",), corpus="synthetic:demo", lm="some.arpa")  # type: ignore[arg-type]
    # the published constants (specs/superb.md)
    assert short.lm == LanguageModel(
        file="some.arpa", lexicon=None, weight=2, word_score=-1, silence_score=0, beam=5,
        beam_threshold=25,
    )  # fmt: skip
    given = {"models": ["mfcc"], "corpus": "x", "lm": {"file": "some.arpa", "beam": 50}}
    whole = ProbeConfig.model_validate(given).lm
    assert whole is not None
    assert whole.beam == 50
