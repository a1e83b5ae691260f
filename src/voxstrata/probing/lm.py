"""Words from a head's outputs with a lexicon and an n-gram language model (flashlight, KenLM).

Greedy reading takes each frame's best symbol, whether or not that makes words. Here the words of a
lexicon are sought whose best path through the frames, weighed with the words' probabilities, is
the best of all:

    score = sum_t log p(s_t | frame t) + weight * log10 P(words) + word_score * number of words

over paths s_1 ... s_T that read, by the rules of CTC, as words of the lexicon with the mark after
each. P is that of the whole sentence, with its beginning and end. KenLM gives logarithms to base 10
and the published decoder (s3prl, ``downstream/asr``, whose defaults are ours) adds them as they
are. Search: ``LexiconDecoder`` of flashlight-text, a beam over the trie of the lexicon.
"""

from __future__ import annotations

import gzip
import math
import os
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ConfigError, MissingDependencyError, ShapeError
from voxstrata.files import sha256_file
from voxstrata.metrics.edit import edit_counts
from voxstrata.probing.settings import LanguageModel
from voxstrata.probing.task import Task, TaskData, Transcripts
from voxstrata.probing.tasks.slotted import SPACE, spoken_text
from voxstrata.probing.tasks.symbols import BLANK, CHARACTERS, SPECIAL, SymbolTask

MEASURE = "wer-lm"
"""Word error rate of what is read this way."""

UNKNOWN_WORD = "<unk>"
ALIKE = 6
"""Words of one spelling that flashlight's trie holds (``kTrieMaxLabel``): the likeliest."""

ARPA, BINARY, ZIPPED = "\\data\\", b"mmap lm http://kheafield.com/code", b"\x1f\x8b"


def reads_words(task: Task) -> bool:
    """Whether the heads of a task write words that a language model can read."""
    return isinstance(task, SymbolTask) and (task.head, task.writes) == ("recurrent", "characters")


class WordReader:
    """A lexicon and a language model, loaded; its methods may be called from several threads.

    Args:
        settings: files, weights and beam.

    Raises:
        MissingDependencyError: flashlight-text is not installed.
        ConfigError: a file is missing, is neither ARPA nor KenLM binary, or holds no word that our
            characters spell.
    """

    def __init__(self, settings: LanguageModel) -> None:
        decoder, dictionary, kenlm = _library()
        self.settings, self._decoder = settings, decoder
        file = _existing(settings.file, "language model")
        binary = _is_binary(file)
        if settings.lexicon is not None:
            lexicon = _existing(settings.lexicon, "lexicon")
            spelled = read_lexicon(lexicon)
        elif binary:
            raise ConfigError(
                "a KenLM binary file does not tell its words",
                got=str(file),
                expected="a lexicon beside it",
                fix="--lexicon FILE with a line a word: WORD W O R D; or the ARPA file",
            )
        else:
            spelled = read_unigrams(file)
        if not spelled:
            raise ConfigError(
                "no word of the language model can be spelled",
                got=str(settings.lexicon or file),
                expected="words of the letters A to Z and the apostrophe",
            )
        self.digests = {
            name: sha256_file(Path(path).expanduser())
            for name, path in (("file", settings.file), ("lexicon", settings.lexicon))
            if path is not None
        }
        """SHA-256 of the files."""
        words = list(dict.fromkeys(word for word, _ in spelled))
        self.vocabulary = tuple(as_read(word) for word in words)
        """Every word as error rates compare it, in the order of the lexicon's words."""
        known = dictionary.Dictionary()
        for word in [*words, UNKNOWN_WORD]:
            known.add_entry(word)
        self._unknown = len(words)
        self._lm = _load(kenlm.KenLM, file, known)
        self._trie = self._tree(spelled, {word: i for i, word in enumerate(words)})

    def read(self, outputs: NDArray[np.float32]) -> tuple[str, ...]:
        """The words of one recording.

        Args:
            outputs: log probabilities of the symbols (:data:`SYMBOLS`), [T, V].

        Raises:
            ShapeError: there are not as many outputs as symbols.
        """
        if outputs.ndim != 2 or outputs.shape[1] != len(SYMBOLS):
            raise ShapeError(
                "outputs are not of the symbols", got=outputs.shape, expected=f"[T, {len(SYMBOLS)}]"
            )
        if not len(outputs):
            return ()
        outputs = np.ascontiguousarray(outputs, dtype=np.float32)
        mine, its = self.settings, self._decoder
        options = its.LexiconDecoderOptions(
            beam_size=mine.beam,
            beam_size_token=len(SYMBOLS),
            beam_threshold=mine.beam_threshold,
            lm_weight=mine.weight,
            word_score=mine.word_score,
            unk_score=-math.inf,
            sil_score=mine.silence_score,
            log_add=False,
            criterion_type=its.CriterionType.CTC,
        )
        # Decoders hold the beam: one each call, so that threads do not share it.
        search = its.LexiconDecoder(
            options, self._trie, self._lm, PLACE[SPACE], BLANK, self._unknown, [], False
        )
        best = search.decode(outputs.ctypes.data, *outputs.shape)[0]
        return tuple(self.vocabulary[i] for i in best.words if i >= 0)

    def counts(
        self,
        names: Sequence[str],
        wanted: Sequence[NDArray[np.int64]],
        heard: Sequence[tuple[str, ...]],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Edits and reference words of each recording, [N] each.

        Args:
            names: of the symbols.
            wanted: symbols of each reference.
            heard: words as read.
        """
        truth = [spoken_text([names[i] for i in row]).split() for row in wanted]
        counted = edit_counts(truth, heard)
        return counted.edits.astype(np.float64), counted.lengths.astype(np.float64)

    def unheard(self, data: TaskData) -> tuple[int, int]:
        """Different words of the test recordings that the lexicon has not, and all of them."""
        names, known = next(iter(data.classes.values())), set(self.vocabulary)
        said: set[str] = set()
        for division in data.rounds:
            test = division.parts["test"]
            assert isinstance(test, Transcripts)
            for row in test.symbols:
                said.update(spoken_text([names[i] for i in row]).split())
        return len(said - known), len(said)

    def _tree(self, spelled: Sequence[tuple[str, str]], place: Mapping[str, int]) -> Any:
        """Words by their letters; each path has the best score of a word that it can become."""
        start = self._lm.start(False)
        alike: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for word, letters in spelled:
            alike[letters][place[word]] = self._lm.score(start, place[word])[1]
        trie = self._decoder.Trie(len(SYMBOLS), PLACE[SPACE])
        for letters, words in alike.items():
            path = [PLACE[letter] for letter in letters + SPACE]
            for i in sorted(words, key=lambda i: -words[i])[:ALIKE]:
                trie.insert(path, i, words[i])
        trie.smear(self._decoder.SmearingMode.MAX)
        return trie


SYMBOLS = (*SPECIAL, *CHARACTERS)
"""Symbols of heads that write characters, in the order of their outputs."""

PLACE = {symbol: i for i, symbol in enumerate(SYMBOLS)}


def as_read(word: str) -> str:
    """A word as references have it: upper case, and nothing but letters and apostrophes."""
    upper = word.upper().replace("\u2019", "'")
    return "".join(c for c in upper if c in CHARACTERS and c != SPACE)


def read_unigrams(file: Path) -> list[tuple[str, str]]:
    """Words of an ARPA file with their letters; those without a letter are left out.

    Raises:
        ConfigError: the file is not ARPA.
    """
    found: list[tuple[str, str]] = []
    inside = False
    try:
        with _opened(file) as lines:
            for line in lines:
                text = line.strip()
                if text == "\\1-grams:":
                    inside = True
                elif inside and text.startswith("\\"):
                    break
                elif inside and text:
                    # log10 of the probability, the word, and a back-off weight or none
                    word = (text.split("\t") if "\t" in text else text.split())[1].strip()
                    if not (word.startswith("<") and word.endswith(">")) and as_read(word):
                        found.append((word, as_read(word)))
    except (UnicodeDecodeError, IndexError, OSError, EOFError, zlib.error) as error:
        raise _no_arpa(file, str(error)) from None
    return found


def read_lexicon(file: Path) -> list[tuple[str, str]]:
    """Words with their letters, from lines such as ``WORD W O R D |``.

    Letters may stand apart or together, the mark at the end may be missing, and a word may have
    several lines.

    Raises:
        ConfigError: a line has no letters, or something that is none.
    """
    found: list[tuple[str, str]] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the lexicon {file} cannot be read", got=str(error)) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, *rest = line.split()
        letters = "".join(rest).upper().replace("\u2019", "'").removesuffix(SPACE)
        odd = sorted(set(letters) - set(CHARACTERS[1:]))
        if odd or not letters or word.startswith("<") or not as_read(word):
            raise ConfigError(
                f"line {number} of the lexicon {file} is no word with its letters",
                got=repr(line),
                expected="a word of letters, then its letters, A to Z and apostrophes: "
                "WORD W O R D",
            )
        found.append((word, letters))
    return list(dict.fromkeys(found))


def _library() -> tuple[Any, Any, Any]:
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except ImportError as error:
        raise MissingDependencyError(
            "a language model needs flashlight-text, which is not installed or does not load",
            got=str(error).strip(),
            fix="pip install 'voxstrata[lm]'",
        ) from None
    return decoder, dictionary, kenlm


def _existing(name: str, what: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no {what} {path}", expected="a file", fix="check the path")
    return path


def _is_binary(file: Path) -> bool:
    """Whether it is a KenLM binary file; else it begins as an ARPA file does.

    Raises:
        ConfigError: it is neither.
    """
    with file.open("rb") as opened:
        if opened.read(len(BINARY)) == BINARY:
            return True
    try:
        with _opened(file) as lines:
            first = next((line.strip() for _, line in zip(range(100), lines, strict=False)
                          if line.strip()), "")  # fmt: skip
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise _no_arpa(file, str(error)) from None
    if first != ARPA:
        raise _no_arpa(file, f"a file that begins with {first[:40]!r}")
    return False


def _opened(file: Path) -> IO[str]:
    with file.open("rb") as opened:
        zipped = opened.read(2) == ZIPPED
    return gzip.open(file, "rt", encoding="utf-8") if zipped else file.open(encoding="utf-8")


def _no_arpa(file: Path, got: str) -> ConfigError:
    return ConfigError(
        f"{file} is no language model that KenLM reads",
        got=got,
        expected="an ARPA file (plain or gzip, UTF-8) of bigrams or longer, or a KenLM binary file",
    )


def _load(kind: Any, file: Path, words: Any) -> Any:
    try:
        with _without_progress():
            return kind(str(file), words)
    except RuntimeError as error:
        # The first line names places in KenLM's sources.
        raise _no_arpa(file, str(error).strip().splitlines()[-1]) from None


@contextmanager
def _without_progress() -> Iterator[None]:
    """KenLM draws a progress bar on the process's standard error while it loads ARPA files."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
