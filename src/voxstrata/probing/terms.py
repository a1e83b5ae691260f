"""Queries and documents of spoken term detection: where a corpus has them, or how they are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora.selection import rank
from voxstrata.metrics.spoken_terms import LEAST_FRAMES, QUESST, TermWeights
from voxstrata.probing.divide import grouped
from voxstrata.probing.sources import own_id
from voxstrata.probing.task import Examples
from voxstrata.streaming.unit_segment import SILENCES
from voxstrata.types import Utterance

ROLE, MATCHES = "role", "matches"
"""Tiers of a corpus made for the task: "query" or "document"; the documents a query is in."""

_WORD = re.compile(r"[\w']+")


@dataclass(frozen=True)
class Query:
    """A spoken term that is sought.

    Attributes:
        id: its recording.
        group: what intervals resample it with.
        span: the stretch of the recording that is sought, in seconds; ``None`` for all of it.
        term: the word; "" where the corpus does not say.
        matches: documents that hold it, where the corpus says so.
    """

    id: str
    group: str
    span: tuple[float, float] | None = None
    term: str = ""
    matches: frozenset[str] | None = None


@dataclass(frozen=True)
class Terms(Examples):
    """Queries of one part (the examples; ``targets`` is [N, 0]) and the documents they are sought
    in.

    Attributes:
        spans: the stretch of each recording that is the query; ``None`` for all of it, [N].
        documents: recordings, [M].
        held: whether the document holds the query, [N, M].
        beside: queries that no document holds: they have no miss rate, and count in the
            normalisation of frames alone.
        weights: of errors.
        least_frames: shorter queries score 0.
    """

    spans: tuple[tuple[float, float] | None, ...] = ()
    documents: tuple[str, ...] = ()
    held: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))
    beside: tuple[str, ...] = ()
    weights: TermWeights = QUESST
    least_frames: int = LEAST_FRAMES

    @property
    def recordings(self) -> tuple[str, ...]:
        """Recordings whose features are needed."""
        return (*self.ids, *self.beside, *self.documents)

    def described(self) -> object:
        """What results depend on, JSON-like."""
        weights = self.weights
        return [
            [list(self.ids), list(self.spans), list(self.groups)],
            [list(self.documents), [np.flatnonzero(row).tolist() for row in self.held]],
            list(self.beside),
            [weights.p_target, weights.c_miss, weights.c_fa, self.least_frames],
        ]


@dataclass(frozen=True)
class Search:
    """What is sought in what.

    Attributes:
        queries: all of them, also those in no document.
        documents: recordings.
    """

    queries: tuple[Query, ...]
    documents: tuple[Utterance, ...]

    def holds(self) -> NDArray[np.bool_]:
        """Whether the document holds the query, [queries, documents]."""
        place = {own_id(document.id): i for i, document in enumerate(self.documents)}
        words = [words_of(document) for document in self.documents]
        found = np.zeros((len(self.queries), len(self.documents)), dtype=bool)
        for row, query in zip(found, self.queries, strict=True):
            if query.matches is None:
                row[:] = [query.term in said for said in words]
            else:
                row[[place[name] for name in query.matches if name in place]] = True
        return found


def plain_words(text: str) -> list[str]:
    """Words in lower case, without punctuation but the apostrophe."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def words_of(utterance: Utterance) -> frozenset[str]:
    """Words that are said, from the tier ``words`` where there is one, else from ``text``."""
    spoken = [s.label for s in utterance.segments("words") if s.label not in SILENCES]
    texts = spoken or [str(utterance.tiers.get("text") or "")]
    return frozenset(word for text in texts for word in plain_words(text))


def given(utterances: Iterable[Utterance]) -> Search:
    """Queries and documents as the corpus names them (tiers ``role`` and ``matches``)."""
    queries, documents = [], []
    for utterance in utterances:
        role = utterance.tiers.get(ROLE)
        if role == "document":
            documents.append(utterance)
        elif role == "query":
            matches = utterance.tiers.get(MATCHES) or ()
            names = (matches,) if isinstance(matches, str) else matches
            own = frozenset(str(name) for name in names)
            queries.append(Query(utterance.id, grouped(utterance), matches=own))
    return Search(tuple(queries), tuple(documents))


def lone_word(utterance: Utterance) -> str | None:
    """The word of a recording that holds one word alone."""
    said = utterance.tiers.get("keyword") or utterance.tiers.get("text")
    words = plain_words(str(said or ""))
    return words[0] if len(words) == 1 else None


def alone(utterance: Utterance) -> list[Query]:
    """The recording as a query, where it is of one word."""
    word = lone_word(utterance)
    return [] if word is None else [Query(utterance.id, grouped(utterance), term=word)]


def cutter(shortest_s: float) -> Callable[[Utterance], list[Query]]:
    """Makes queries of the words of a recording (tier ``words``) that last so many seconds."""

    def cut(utterance: Utterance) -> list[Query]:
        found = []
        for span in utterance.segments("words"):
            words = plain_words(span.label)
            # A length on the edge of the limit must not hang on how a sum of floats was rounded.
            if span.label in SILENCES or len(words) != 1:
                continue
            if span.end_s - span.start_s >= shortest_s - 1e-6:
                stretch = (span.start_s, span.end_s)
                found.append(Query(utterance.id, grouped(utterance), stretch, words[0]))
        return found

    return cut


def is_document(utterance: Utterance) -> bool:
    """Whether it holds several words."""
    return lone_word(utterance) is None and len(words_of(utterance)) > 1


def shared_out(
    queries: Mapping[str, Collection[Query]],
    documents: Mapping[str, Collection[Utterance]],
    parts: Sequence[str],
    seed: int,
) -> tuple[dict[str, list[str]], list[str]]:
    """Which groups (speakers) have queries of each part, and which have documents: no group both.

    Groups that could have both are shared out by a seeded order: every other one has documents,
    the next ones in turn have queries of each part.

    Args:
        queries, documents: what each group could bring.
        parts: names of the parts of queries.
        seed: of the order.
    """
    both = sorted(set(queries) & set(documents), key=lambda g: rank(g, seed, "terms"))
    held = sorted(set(documents) - set(queries)) + both[1::2]
    asking = sorted(set(queries) - set(documents), key=lambda g: rank(g, seed, "terms"))
    asking += both[0::2]
    return {part: asking[i :: len(parts)] for i, part in enumerate(parts)}, held


def varied(queries: Sequence[Query], most: int, seed: int) -> list[Query]:
    """At most so many queries, of as many words as there are: one of each in a seeded order, then
    a second of each, ..."""
    by_term: dict[str, list[Query]] = {}
    for query in sorted(queries, key=lambda q: rank(f"{q.id} {q.span}", seed, "terms")):
        by_term.setdefault(query.term, []).append(query)
    terms = sorted(by_term, key=lambda t: rank(t, seed, "terms"))
    deepest = max((len(held) for held in by_term.values()), default=0)
    turns = [by_term[t][turn] for turn in range(deepest) for t in terms if turn < len(by_term[t])]
    return turns[:most]
