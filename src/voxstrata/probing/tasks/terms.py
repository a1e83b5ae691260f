"""Query by example: spoken queries are sought in recordings, without training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from voxstrata.config import Config
from voxstrata.corpora.selection import rank
from voxstrata.errors import LabelError, UsageError
from voxstrata.metrics.spoken_terms import LEAST_FRAMES, TermWeights
from voxstrata.probing.divide import grouped
from voxstrata.probing.sources import Material
from voxstrata.probing.task import Round, TaskData
from voxstrata.probing.terms import (
    MATCHES,
    ROLE,
    Query,
    Search,
    Terms,
    alone,
    cutter,
    given,
    is_document,
    shared_out,
    varied,
)
from voxstrata.types import Utterance

Way = Literal["given", "alone", "cut"]
ASKED = ("dev", "test")
"""Parts of this task: layers are chosen with the queries of the first, scored with the second's."""


class TermTask(Config):
    """A task that seeks spoken terms in documents, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        finds: where queries come from; the first that the corpus has enough for. "given": the
            corpus says what is a query, what a document, and which document holds it (tiers
            ``role`` and ``matches``). "alone": recordings of one word are sought in recordings of
            several. "cut": words are cut out of recordings (tier ``words``).
        p_target, c_miss, c_fa: prior probability that a document holds a query, and what a miss and
            a false alarm cost.
        least_frames: queries with fewer frames score 0.
        shortest_s: of a word that is cut out.
        least_queries: queries that some document holds, which each part needs ("alone", "cut").
        most_queries: of a part ("alone", "cut").
        most_documents: of a part ("alone", "cut").
        measures: "mtwv" (maximum term-weighted value) and "map" (mean over queries of the average
            precision of documents); the first one chooses.
        speakers: "apart": no speaker of a query speaks a document, and no speaker has queries in
            both parts ("alone", "cut"); "any": so for recordings only.
    """

    name: str
    title: str
    summary: str
    head: Literal["terms"] = "terms"
    finds: Annotated[tuple[Way, ...], Field(min_length=1)]
    p_target: Annotated[float, Field(gt=0, lt=1)] = 0.0008
    c_miss: PositiveFloat = 100.0
    c_fa: PositiveFloat = 1.0
    least_frames: PositiveInt = LEAST_FRAMES
    shortest_s: PositiveFloat = 0.3
    least_queries: PositiveInt = 10
    most_queries: PositiveInt = 100
    most_documents: PositiveInt = 500
    measures: Annotated[tuple[Literal["mtwv", "map"], ...], Field(min_length=1)] = ("mtwv", "map")
    better: Literal["higher"] = "higher"
    speakers: Literal["apart", "any"] = "apart"

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        wanted = {"given": (ROLE, MATCHES), "alone": ("text",), "cut": ("words",)}
        return tuple(dict.fromkeys(tier for way in self.finds for tier in wanted[way]))

    @property
    def weights(self) -> TermWeights:
        """Of errors."""
        return TermWeights(self.p_target, self.c_miss, self.c_fa)

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        if material.source.folds:
            raise UsageError(
                f"the task {self.name!r} is not trained, so it has no folds",
                got=f"{len(material.source.folds)} folds",
                expected="`corpus`, or `dev` and `test`",
                fix=f"change the entry {self.name} of the corpus map",
            )
        parts = dict(material.parts)
        notes = []
        if "train" in parts:
            spare = parts.pop("train")
            if "dev" not in parts:
                parts["dev"] = spare
                notes.append("Queries that choose the layer are from the part train.")
        failed = []
        for way in self.finds:
            made = self._made(way, parts, seed, notes)
            if isinstance(made, TaskData):
                return made
            failed.append(f"{way}: {made}")
        present = {tier for part in parts.values() for u in part for tier in u.tiers}
        if not present & set(self.tiers):
            raise LabelError(
                f"the task {self.name!r} needs a tier that no recording has",
                got=f"tiers {', '.join(sorted(present)) or '(none)'}",
                expected=f"{ROLE} and {MATCHES}, or text with recordings of one word, or words",
                fix=f"name another corpus for {self.name} in the corpus map, or leave the task out",
            )
        raise UsageError(
            f"the task {self.name!r} finds too few queries",
            got="; ".join(failed),
            expected=f"at least {self.least_queries} queries in dev and in test that occur in some "
            "document but not in all",
            fix="use a larger corpus, or one with the tier words",
        )

    def _made(
        self,
        way: Way,
        parts: dict[str, tuple[Utterance, ...]],
        seed: int,
        notes: Sequence[str],
    ) -> TaskData | str:
        """Examples with queries found in one way, or why there are none."""
        said = list(notes)
        if way == "given":
            searches = self._given(parts, seed, said)
            least = 1
        else:
            searches = self._searched(way, parts, seed, said)
            least = self.least_queries
        if isinstance(searches, str):
            return searches
        dropped: Counter[str] = Counter()
        made: dict[str, Terms] = {}
        terms: set[str] = set()
        for part, search in searches.items():
            made[part] = self._terms(search, way, seed, part, dropped, said, terms)
            if made[part].held.size and made[part].held.all():
                return f"every document holds every query of {part}"
            if len(made[part]) < least:
                return (
                    f"{len(made[part])} queries of {part} are in some but not all of "
                    f"{len(search.documents)} documents"
                )
        weights = self.weights
        said.append(
            f"MTWV with a prior of {weights.p_target:g}, {weights.c_miss:g} for a miss and "
            f"{weights.c_fa:g} for a false alarm (beta {weights.beta:.2f}); queries of fewer than "
            f"{self.least_frames} frames score 0."
        )
        empty = Terms((), np.zeros((0, 0), np.int64), ())
        rounds = (Round("", {"train": empty, **{part: made[part] for part in ASKED}}),)
        classes = {"terms": tuple(sorted(terms))} if terms else {}
        return TaskData(classes, rounds, tuple(said), dict(dropped))

    def _given(
        self, parts: dict[str, tuple[Utterance, ...]], seed: int, notes: list[str]
    ) -> dict[str, Search] | str:
        everything = [u for part in parts.values() for u in part]
        if not any(ROLE in u.tiers for u in everything):
            return f"no tier {ROLE}"
        notes.append(
            f"Queries, documents and which holds which are the corpus's own (tiers {ROLE} and "
            f"{MATCHES})."
        )
        if "all" not in parts:
            return {part: given(parts[part]) for part in ASKED}
        search = given(parts["all"])
        order = sorted(search.queries, key=lambda q: rank(q.id, seed, "terms"))
        notes.append("Half of the queries, by seed, choose the layer; the others are scored.")
        return {part: Search(tuple(order[i::2]), search.documents) for i, part in enumerate(ASKED)}

    def _searched(
        self, way: Way, parts: dict[str, tuple[Utterance, ...]], seed: int, notes: list[str]
    ) -> dict[str, Search] | str:
        """Queries and documents by speakers that have one or the other."""
        found: dict[str, Search] = {}
        finder = alone if way == "alone" else cutter(self.shortest_s)
        speakers = [0, 0]
        for name, utterances in parts.items():
            queries: dict[str, list[Query]] = {}
            documents: dict[str, list[Utterance]] = {}
            for utterance in utterances:
                group = grouped(utterance) if self.speakers == "apart" else utterance.id
                if asked := finder(utterance):
                    queries.setdefault(group, []).extend(asked)
                if is_document(utterance):
                    documents.setdefault(group, []).append(utterance)
            if not queries:
                return "no recording of one word" if way == "alone" else "no words in tier words"
            if not documents:
                return "no recording of several words"
            # Of an odd number of speakers the last one is tested: intervals need them.
            wanted = ("test", "dev") if name == "all" else (name,)
            asking, holding = shared_out(queries, documents, wanted, seed)
            held = [u for group in holding for u in documents[group]]
            held = sorted(held, key=lambda u: rank(u.id, seed, "terms"))[: self.most_documents]
            speakers[1] += len(holding)
            for part, groups in asking.items():
                mine = tuple(query for group in groups for query in queries[group])
                found[part] = Search(mine, tuple(sorted(held, key=lambda u: u.id)))
                speakers[0] += len(groups)
        notes.append(
            "Queries are recordings of one word."
            if way == "alone"
            else f"Queries are words of at least {self.shortest_s:g} s cut out of recordings: "
            "their frames have seen what stands around them."
        )
        notes.append(
            "A document holds a query whose word is said in it. No "
            + ("speaker" if self.speakers == "apart" else "recording")
            + " has queries and documents"
            + (", or queries of both parts" if "all" in parts else " of one part")
            + f" ({speakers[0]} have queries, {speakers[1]} documents)."
        )
        return {part: found[part] for part in ASKED}

    def _terms(
        self,
        search: Search,
        way: Way,
        seed: int,
        part: str,
        dropped: Counter[str],
        notes: list[str],
        terms: set[str],
    ) -> Terms:
        """The queries of a part that count, with the documents that hold them."""
        holds = search.holds()
        count = holds.sum(axis=1)
        some = count > 0
        # Where the corpus is made for the task, a query in every document is scored as published.
        use = some if way == "given" else some & (count < len(search.documents))
        if lost := int((~some).sum()):
            dropped[f"queries of {part} are in no document and do not count"] += lost
        if every := int((some & ~use).sum()):
            dropped[f"queries of {part} are in every document and do not count"] += every
        chosen = [query for query, good in zip(search.queries, use, strict=True) if good]
        if way != "given":
            most = len(chosen)
            chosen = varied(chosen, self.most_queries, seed)
            if most > len(chosen):
                dropped[f"queries of {part} are beyond the {self.most_queries} sought"] += (
                    most - len(chosen)
                )
        final = Search(tuple(chosen), search.documents)
        held = final.holds()
        mean = held.sum(axis=1).mean() if len(chosen) else 0.0
        words = {query.term for query in chosen if query.term}
        terms |= words
        notes.append(
            f"{part}: {len(chosen)} queries"
            + (f" of {len(words)} words" if words else "")
            + f" in {len(search.documents)} documents, of which {mean:.1f} on average hold one"
            + (f"; {lost} other queries are in none and do not count." if lost else ".")
        )
        unused = [query.id for query, good in zip(search.queries, some, strict=True) if not good]
        return Terms(
            ids=tuple(query.id for query in chosen),
            targets=np.zeros((len(chosen), 0), np.int64),
            groups=tuple(query.group for query in chosen),
            spans=tuple(query.span for query in chosen),
            documents=tuple(document.id for document in search.documents),
            held=held,
            beside=tuple(unused) if way == "given" else (),
            weights=self.weights,
            least_frames=self.least_frames,
        )
