"""Views of words: vectors from files, attributes, and vectors of the corpus's own text.

A word's row is the same wherever it stands, so a layer that knows which word it is knows the row
too. The control ``permuted-labels`` therefore gives the rows to other words: what exceeds it
is knowledge of how words relate, not of which they are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, UsageError
from voxstrata.numerics.jackknife import assign_folds, fold_of_rows
from voxstrata.properties.cca.engine import CcaDraw, pick_types, scored_widths
from voxstrata.properties.property import (
    PERMUTED,
    PropertyFacts,
    Score,
    TooFewError,
)
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.views.attributes import read_attributes
from voxstrata.properties.views.text_vectors import TextVectors, text_of, text_vectors
from voxstrata.properties.views.word_table import Case, WordTable, case_of
from voxstrata.properties.views.word_vectors import read_word_vectors
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus
    from voxstrata.properties.settings import PropertiesConfig


class WordSource(Protocol):
    """Where rows of words come from."""

    def missing(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> str:
        """Why there are none; empty if there are."""
        ...

    def table(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> WordTable:
        """Rows of the words of some recordings."""
        ...


FileKind = Literal["vectors", "attributes"]
_WHAT = {"vectors": "word vectors", "attributes": "word attributes"}


@dataclass(frozen=True)
class WordFile:
    """Rows from a file that the settings name.

    Attributes:
        kind: which setting it stands in.
        name: its name there.
    """

    kind: FileKind
    name: str

    def missing(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> str:
        """Names the setting, the file that is not there, or how few words it knows.

        Raises:
            UsageError: the file is damaged; told here, before any work.
        """
        path = self._path(settings)
        if path is None:
            return (
                f"no {_WHAT[self.kind]} called {self.name!r} are given: "
                f"--{self.kind} {self.name}=FILE"
            )
        if not path.is_file():
            return f"the {_WHAT[self.kind]} {self.name!r} are not at {path}"
        found = self.table(utterances, settings)
        if len(found) < 2:
            total = len(found) + len(found.missing)
            return f"{path} has rows for {len(found)} of the {total} words of the corpus"
        return ""

    def table(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> WordTable:
        """Rows of the words in the tier ``words``.

        Raises:
            UsageError: not in the settings, or the file is missing or damaged.
        """
        path = self._path(settings)
        if path is None:
            raise UsageError(f"no {_WHAT[self.kind]} called {self.name!r} are given")
        words = words_of(utterances)
        try:
            stat = path.stat()
        except OSError as error:
            raise UsageError(f"{path} cannot be read", got=str(error)) from None
        return _read(self.kind, path, (stat.st_mtime_ns, stat.st_size), words, case_of(words))

    def _path(self, settings: PropertiesConfig) -> Path | None:
        files: Mapping[str, str] = getattr(settings, self.kind)
        found = files.get(self.name)
        return Path(found).expanduser() if found else None


@functools.lru_cache(maxsize=8)
def _read(
    kind: FileKind, path: Path, stamp: tuple[int, int], words: frozenset[str], case: Case
) -> WordTable:
    """Read a file once for all draws; ``stamp`` changes when it does."""
    read = read_word_vectors if kind == "vectors" else read_attributes
    return read(path, words, case=case)


@dataclass(frozen=True)
class OwnText:
    """Rows from the text of the corpus itself (:func:`text_vectors`).

    Attributes:
        how: settings of the vectors.
        small: the same for the small scale.
    """

    how: TextVectors = field(default_factory=TextVectors)
    small: TextVectors = field(default_factory=lambda: TextVectors(min_count=2))

    def missing(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> str:
        """Too little text."""
        try:
            self.table(utterances, settings)
        except TooFewError as error:
            return f"{error.what}: {error.got}"
        return ""

    def table(self, utterances: Sequence[Utterance], settings: PropertiesConfig) -> WordTable:
        """Rows of the words in the tier ``words``, spelled as there.

        Raises:
            TooFewError: too little text.
        """
        how = self.small if settings.scale == "small" else self.how
        made = _own_text(tuple(text_of(u.tiers) for u in utterances), how)
        row = {word: i for i, word in enumerate(made.words)}
        spelled = sorted(words_of(utterances))
        known = [word for word in spelled if word.lower() in row]
        if len(known) < 2:
            raise TooFewError(
                "too little text for word vectors",
                got=f"{len(known)} aligned words among those frequent enough in the text",
                expected="at least 2",
            )
        matrix = made.matrix[[row[word.lower()] for word in known]]
        missing = tuple(word for word in spelled if word.lower() not in row)
        return WordTable(tuple(known), matrix, missing, made.facts)


@functools.lru_cache(maxsize=4)
def _own_text(texts: tuple[tuple[str, ...], ...], how: TextVectors) -> WordTable:
    return text_vectors(texts, how)


def words_of(utterances: Iterable[Utterance]) -> frozenset[str]:
    """All labels of the tier ``words``."""
    return frozenset(span.label for u in utterances for span in u.segments("words") if span.label)


@dataclass(frozen=True)
class WordView(PropertyFacts):
    """CCA of word segments with rows of their words.

    Every word with a row enters with min(count, ``settings.all_words_per_type``) segments, drawn
    at random (P2023's sample for semantic and syntactic attributes).

    Attributes:
        source: where rows come from.
        by_text: folds keep recordings of one text together (views made of these texts).
    """

    source: WordSource = field(default_factory=OwnText)
    by_text: bool = False

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the tier, the setting or the file that is missing."""
        without = super().missing(corpus, settings)
        return without or self.source.missing(corpus.utterances, settings)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> BesidePermuted:
        """Word segments whose word has a row, capped.

        Raises:
            TooFewError: fewer than two words, or too few rows for the widths.
        """
        table = self.source.table(tuple(sample.utterances.values()), settings)
        labels = list(sample.labels or ())
        known = set(table.words)
        listed = [label if label in known else "" for label in labels]
        rows, found = pick_types(listed, None, settings.all_words_per_type, seed)
        drawn, types = [labels[i] for i in rows.tolist()], sorted(found)
        if len(types) < 2:
            raise TooFewError(
                f"{self.name} needs segments of at least two words that have a row",
                got=f"{len(types)} of {len(set(labels))} words in the sample",
                fix="a corpus with word alignments, or a file that knows its words",
            )
        position = {word: i for i, word in enumerate(types)}
        number = np.array([position[word] for word in drawn], dtype=np.int64)
        of_type = table.rows(types)[1]
        fold, groups = sample.fold[rows], sample.groups(settings.group)[rows]
        grouping = {"by": settings.group, "why": "as the run"}
        if self.by_text:
            fold, groups = _folds_of_texts(sample, rows, settings)
            grouping = {"by": "text", "why": _BY_TEXT}
        facts: dict[str, Any] = {
            "view": dict(table.facts),
            "coverage": table.coverage(labels),
            "rows": len(rows),
            "types": len(types),
            "per_type": settings.all_words_per_type,
            "folds_keep_together": grouping,
        }
        others = of_type[np.random.default_rng([seed, 21]).permutation(len(types))]

        def against(matrix: NDArray[np.float64], control: bool) -> CcaDraw:
            return CcaDraw(
                matrix[number],
                rows,
                fold,
                settings,
                seed,
                groups=groups,
                labels=drawn,
                reduce_view=True,
                widths=scored_widths(sample),
                facts=facts,
                what=f"the view of {self.name}",
                quick=control,
            )

        return BesidePermuted(against(of_type, False), against(others, True))


_BY_TEXT = "the vectors are made of these texts: no text may be in training and test"


def _folds_of_texts(
    sample: Sample, rows: NDArray[np.int64], settings: PropertiesConfig
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Folds that keep recordings of one text together, and the text of each row.

    Texts are dealt over the whole sample by the seed of the run, so that a text is in the same
    fold in every draw.
    """
    said = {key: " ".join(text_of(u.tiers)) for key, u in sample.utterances.items()}
    texts = [said[key] for key in sample.utterance]
    different = len(set(texts))
    if different < 2:
        raise TooFewError("all recordings have the same text", got=f"{different}", expected="2")
    folds = assign_folds(texts, min(settings.folds, different), settings.seed)
    groups = [texts[row] for row in rows.tolist()]
    return fold_of_rows(groups, folds), np.array(groups, dtype=object)


@dataclass(frozen=True)
class BesidePermuted:
    """A draw, and the same with the rows of its view given to other words (speakers, ...).

    Attributes:
        true: the draw itself.
        permuted: whose own scores stand as the control :data:`PERMUTED`.
    """

    true: CcaDraw
    permuted: CcaDraw
    _without: dict[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the draw itself."""
        return self.true.facts

    @property
    def notices(self) -> Sequence[str]:
        """Notices of the draw itself, and layers whose control could not be made."""
        return [*self.true.notices, *self._without.values()]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Scores and controls of the draw, then the permuted control."""
        found = self.true.score(rows, layer)
        try:
            beside = self.permuted.score(rows, layer)
        except NumericsError as error:  # a permuted view may lack variance in some training set
            self._without[layer.key] = f"{layer.key} has no control {PERMUTED}: {error.what}."
            beside = []
        controls = [dataclasses.replace(s, control=PERMUTED) for s in beside if not s.control]
        return [*found, *controls]


_TITLES = {
    "glove": ("GloVe word vectors (PWCCA)", "semantic"),
    "agwe": ("acoustic word embeddings (PWCCA)", "lexical"),
    "semantic": ("semantic word attributes (PWCCA)", "semantic"),
    "syntactic": ("syntactic word attributes (PWCCA)", "semantic"),
}


def _file(name: str, kind: FileKind, given: str) -> WordView:
    default = (f"{_WHAT[kind]} {given} (PWCCA)", "lexical")
    title, group = _TITLES.get(given, default)
    return WordView(
        name=name,
        title=title,
        group=group,
        unit="word",
        main="pwcca",
        tiers=("words",),
        source=WordFile(kind, given),
    )


def _named(name: str, kind: FileKind, argument: str) -> WordView:
    if not argument:
        raise UsageError(
            f"{name} needs the name of a file given with --{kind}",
            got=name,
            expected=f"{name}:NAME with --{kind} NAME=FILE",
        )
    return _file(f"{name}:{argument}", kind, argument)


def glove(argument: str) -> WordView:
    """``cca-glove``: the vectors ``glove`` of the settings."""
    no_argument("cca-glove", argument)
    return _file("cca-glove", "vectors", "glove")


def agwe(argument: str) -> WordView:
    """``cca-agwe``: the vectors ``agwe`` of the settings."""
    no_argument("cca-agwe", argument)
    return _file("cca-agwe", "vectors", "agwe")


def vectors(argument: str) -> WordView:
    """``cca-vectors:NAME``: any word vectors of the settings."""
    return _named("cca-vectors", "vectors", argument)


def semantic(argument: str) -> WordView:
    """``cca-semantic``: the attributes ``semantic`` of the settings."""
    no_argument("cca-semantic", argument)
    return _file("cca-semantic", "attributes", "semantic")


def syntactic(argument: str) -> WordView:
    """``cca-syntactic``: the attributes ``syntactic`` of the settings."""
    no_argument("cca-syntactic", argument)
    return _file("cca-syntactic", "attributes", "syntactic")


def attributes(argument: str) -> WordView:
    """``cca-attributes:NAME``: any word attributes of the settings."""
    return _named("cca-attributes", "attributes", argument)


def text(argument: str) -> WordView:
    """``cca-text``: word vectors of the corpus's own text."""
    no_argument("cca-text", argument)
    return WordView(
        name="cca-text",
        title="word vectors of the corpus's text (PWCCA)",
        group="semantic",
        unit="word",
        main="pwcca",
        tiers=("words",),
        source=OwnText(),
        by_text=True,
    )
