"""All problems of a corpus in one report, before work starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.corpora.audio import read_headers
from voxstrata.corpora.checks import check_header, check_labels, check_samples, duplicates
from voxstrata.corpora.cuts import files_of, no_collection
from voxstrata.corpora.problems import Problem, listing, raise_all, summary
from voxstrata.corpora.registry import Progress

if TYPE_CHECKING:
    from voxstrata.corpora.corpus import Corpus


@dataclass(frozen=True)
class ValidationReport:
    """What is wrong with a corpus.

    Attributes:
        problems: all of them, in the order of the corpus, the source's first.
        checked: utterances looked at.
        decoded: whether all audio was decoded, or only headers read.
    """

    problems: tuple[Problem, ...]
    checked: int
    decoded: bool

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that make an utterance unusable."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The others."""
        return tuple(p for p in self.problems if p.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.errors

    def raise_if_bad(self, where: str) -> None:
        """Raise one error that lists all errors, if there are any.

        Raises:
            CorpusError: (or AudioError, LabelError where all are of that kind).
        """
        raise_all(self.errors, where)

    def __str__(self) -> str:
        depth = "all audio decoded" if self.decoded else "headers and labels"
        head = (
            f"{self.checked} utterances checked ({depth}): "
            f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        )
        parts = [head]
        for title, found in (("errors", self.errors), ("warnings", self.warnings)):
            if found:
                parts.append(f"{title}: {summary(found)}\n{listing(found)}")
        return "\n".join(parts)


def find_problems(
    cuts: Sequence[Any],
    *,
    min_s: float | None = None,
    max_s: float | None = None,
    need_tiers: Sequence[str] = (),
    decode: bool = False,
    progress: Progress | None = None,
) -> dict[int, list[Problem]]:
    """Problems by index of the cut; cuts without any are left out.

    Headers are read by several threads, each file once. Decoding, where wanted, is threaded
    too, and only done where the header is sound; nothing but the findings is kept in memory.
    """
    found: dict[int, list[Problem]] = {}
    again = duplicates(cuts)
    headers = read_headers(path for cut in cuts for path in files_of(cut))
    if progress is not None:
        progress("headers", len(headers), len(headers))
    sound = []
    with no_collection():
        for index, cut in enumerate(cuts):
            mine = list(check_header(cut, headers, min_s, max_s))
            if not any(p.severity == "error" for p in mine):
                sound.append(index)
            mine += check_labels(cut, need_tiers)
            if index in again:
                file = next(iter(files_of(cut)), "")
                what = f"the id {cut.id!r} came before"
                fix = "give every utterance an id of its own"
                mine.append(Problem(cut.id, file, what, "error", fix, "duplicate-id"))
            if mine:
                found[index] = mine
    if decode:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = pool.map(lambda index: list(check_samples(cuts[index])), sound)
            for done, (index, mine) in enumerate(zip(sound, results, strict=True), 1):
                if mine:
                    found.setdefault(index, []).extend(mine)
                if progress is not None:
                    progress("decoding", done, len(sound))
    return dict(sorted(found.items()))


def validate(
    corpus: Corpus,
    *,
    min_s: float | None = None,
    max_s: float | None = None,
    need_tiers: Sequence[str] = (),
    decode: bool = False,
    progress: Progress | None = None,
) -> ValidationReport:
    """Check every utterance and report all problems.

    Args:
        corpus: opened with ``load_corpus(spec, check="none")`` to see what would be skipped.
        min_s: shortest length allowed, seconds.
        max_s: longest length allowed, seconds.
        need_tiers: tiers every utterance must have.
        decode: also decode all audio (damage within files, NaN, silence, clipping).
        progress: called as ``progress(what, done, total)``.
    """
    cuts = list(corpus.cuts)
    found = find_problems(
        cuts, min_s=min_s, max_s=max_s, need_tiers=need_tiers, decode=decode, progress=progress
    )
    before = dict.fromkeys((*corpus.problems, *corpus.skipped))
    fresh = (p for mine in found.values() for p in mine)
    return ValidationReport(tuple(dict.fromkeys((*before, *fresh))), len(cuts), decode)
