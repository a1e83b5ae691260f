"""Vectors of word types: means over instances, their agreement, a file, and a whole corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.files import atomic_write
from voxstrata.properties.awe.encoder import Encoder
from voxstrata.properties.awe.segments import Segments, cut_segments, long_enough
from voxstrata.properties.awe.train import Training, train_encoder
from voxstrata.properties.property import TooFewError
from voxstrata.properties.views.word_table import WordTable
from voxstrata.streaming.unit_segment import SILENCES
from voxstrata.types import Utterance

LEAST_INSTANCES = 2
"""Instances behind a vector: the mean of one segment is that segment, voice and channel and all."""


def type_vectors(
    vectors: NDArray[np.float64], words: Sequence[str], least: int = LEAST_INSTANCES
) -> WordTable:
    """The mean vector of every word with enough instances.

    Args:
        vectors: of instances, [N, D].
        words: of each, [N].
        least: instances needed.

    Returns:
        words in alphabetical order; those with fewer instances are missing.

    Example:
        >>> found = type_vectors(np.array([[0.0], [2.0], [9.0]]), ["a", "a", "b"])
        >>> found.words, found.matrix.tolist(), found.missing
        (('a',), [[1.0]], ('b',))
    """
    if not len(words):
        return WordTable((), np.zeros((0, vectors.shape[1])))
    names, number, counts = np.unique(np.array(words), return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, number, vectors)
    kept = np.flatnonzero(counts >= least)
    return WordTable(
        tuple(names[kept].tolist()),
        sums[kept] / counts[kept, None],
        tuple(names[counts < least].tolist()),
        {"instances": int(counts[kept].sum()), "least_instances": least},
    )


def agreement(one: WordTable, other: WordTable) -> tuple[float | None, int]:
    """Whether two tables put words in the same relations, and over how many common words.

    Spearman's correlation of the cosines of all pairs of common words. With vectors of training
    segments and vectors of other segments, both from one encoder, a low value says that
    the first are codes of words rather than images of their sound.

    Returns:
        the correlation, ``None`` with fewer than 4 common words.
    """
    from scipy.stats import spearmanr

    common = sorted(set(one.words) & set(other.words))
    if len(common) < 4:
        return None, len(common)
    upper = np.triu_indices(len(common), 1)
    cosines = []
    for table in (one, other):
        rows = table.rows(common)[1]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines.append((unit @ unit.T)[upper])
    return float(spearmanr(*cosines).statistic), len(common)


def save_vectors(path: str | Path, table: WordTable) -> None:
    """Write vectors as word2vec text, which ``--vectors NAME=FILE`` and other tools read.

    A header line "COUNT WIDTH", then a word and its numbers a line, with nine digits (float32).

    Raises:
        UsageError: no words, or a word that the format cannot hold.
        StorageError: the file cannot be written.
    """
    if not len(table):
        raise UsageError("there are no vectors to write", got="0 words")
    for word in table.words:
        if not word or any(c.isspace() for c in word):
            raise UsageError(
                "word2vec text cannot hold this word", got=word, expected="a word without spaces"
            )
    with atomic_write(Path(path)) as file:
        file.write(f"{len(table)} {table.width}\n".encode())
        for word, row in zip(table.words, table.matrix, strict=True):
            file.write(f"{word} {' '.join(f'{value:.9g}' for value in row)}\n".encode())


@dataclass(frozen=True)
class SpokenWords:
    """All usable word segments of some recordings.

    Attributes:
        words, speakers, utterance: of each segment, [N]; words in lower case, the recording's id
            where it has no speaker.
        start_s, end_s: spans, [N].
        segments: their frames.
    """

    words: tuple[str, ...]
    speakers: tuple[str, ...]
    utterance: tuple[str, ...]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    segments: Segments


def spoken_words(utterances: Sequence[Utterance]) -> SpokenWords:
    """The words of the tier ``words`` of 0.1 to 2 s, by recording and time.

    Raises:
        TooFewError: there are none.
        AudioError: a recording cannot be read.
    """
    by_id = {u.id: u for u in utterances}
    spans = [
        (name, span)
        for name in sorted(by_id)
        for span in by_id[name].segments("words")
        if span.label not in SILENCES
        and max(span.start_s, 0.0) < min(span.end_s, by_id[name].duration_s)
    ]
    start, end = (
        np.array([getattr(span, side) for _, span in spans], dtype=np.float64)
        for side in ("start_s", "end_s")
    )
    kept = np.flatnonzero(long_enough(start, end))
    if not len(kept):
        raise TooFewError("no word of these recordings can be embedded", got=f"{len(spans)} spans")
    names = tuple(spans[i][0] for i in kept)
    speakers = tuple(str(by_id[name].tiers.get("speaker", name)) for name in names)
    segments = cut_segments(by_id, names, start[kept], end[kept])
    words = tuple(spans[i][1].label.lower() for i in kept)
    return SpokenWords(words, speakers, names, start[kept], end[kept], segments)


def corpus_vectors(
    utterances: Sequence[Utterance], *, seed: int = 0, training: Training | None = None
) -> tuple[WordTable, Encoder]:
    """Train on all words of a corpus and give the vector of every word spoken at least twice.

    For use on *another* corpus: held against layers on the same recordings these vectors would
    be judged by the audio that they were made from.

    Raises:
        TooFewError: too few words that are spoken twice.
        AudioError: a recording cannot be read.
    """
    spoken = spoken_words(utterances)
    encoder = train_encoder(
        spoken.segments, spoken.words, spoken.speakers, seed=seed, training=training
    )
    table = type_vectors(encoder.embed(spoken.segments), spoken.words)
    facts: dict[str, Any] = {**table.facts, "encoder": dict(encoder.facts)}
    return WordTable(table.words, table.matrix, table.missing, facts), encoder
