"""What every recipe shares: rows to cuts, problems, progress, and the files that are written.

A recipe yields :class:`Row` objects, part by part, to a :class:`Job`; the job reads audio
headers (several at once, which network disks need), writes ``<part>/cuts.jsonl.gz`` and counts.
A file that cannot be read is a problem and is left out; a part without a single utterance is a
problem; a corpus without a single part is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from voxstrata.corpora.audio import Header, read_header
from voxstrata.corpora.cuts import need_lhotse, recording_of, write_cuts
from voxstrata.corpora.registry import FileProblem, PartCount, PrepareReport, Progress, Recipe
from voxstrata.corpora.tiers import make_cut
from voxstrata.errors import AudioError, CorpusError, LabelError, StorageError
from voxstrata.files import atomic_write, read_json, write_json
from voxstrata.registry import unknown_name
from voxstrata.types import Segment

if TYPE_CHECKING:
    from lhotse.cut import Cut

T = TypeVar("T")
R = TypeVar("R")

READERS = 4
"""Audio headers read at the same time."""

AHEAD = 256
"""Rows whose headers may be under way."""

SLACK_S = 0.025
"""How far a label may reach beyond its recording before that is worth a problem: published
times are rounded to 10 ms or frames, so the last span often ends a little late."""

CORPUS_FILE = "corpus.json"


@dataclass(frozen=True)
class Row:
    """One utterance before its audio is looked at.

    Attributes:
        id: unique within the corpus, as far as the corpus allows.
        audio: its file.
        tiers: labels by :mod:`voxstrata.corpora.tiers`; empty values are left out.
        start_s: where it begins in the file, seconds.
        duration_s: its length; ``None`` for the rest of the file.
        channel: channel of the file; ``None`` for all (averaged on reading).
    """

    id: str
    audio: Path
    tiers: Mapping[str, Any] = field(default_factory=dict)
    start_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R | Exception]]:
    """Results of ``work`` in the order of ``items``, computed by a few threads, lazily.

    An :class:`AudioError`, :class:`CorpusError` or :class:`OSError` comes in place of its
    result; any other exception is raised.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()

    def take() -> tuple[T, R | Exception]:
        item, future = waiting.popleft()
        try:
            return item, future.result()
        except (CorpusError, OSError) as error:
            return item, error

    with ThreadPoolExecutor(READERS) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= AHEAD:
                    yield take()
            while waiting:
                yield take()
        finally:
            for _, future in waiting:
                future.cancel()


def inside(
    spans: Iterable[Segment], end_s: float, slack_s: float = SLACK_S
) -> tuple[list[Segment], list[Segment]]:
    """Spans fitted into ``[0, end_s]``, and those that were wrong by more than ``slack_s``.

    Ends a little beyond the recording are moved back; spans wholly outside, or that end before
    they begin, are dropped.

    Returns:
        spans to keep, and the offending ones as they were.
    """
    kept, wrong = [], []
    for span in spans:
        start, end = max(0.0, span.start_s), min(end_s, span.end_s)
        if span.start_s < -slack_s or span.end_s > end_s + slack_s or span.end_s < span.start_s:
            wrong.append(span)
        if end > start:
            kept.append(Segment(start, end, span.label))
    return kept, wrong


class Job:
    """One run of a recipe.

    Args:
        recipe: whose.
        source: folder of the published corpus.
        out: where the manifests go.
        parts: what the user asked for; ``None`` for all there are.
        progress: see :data:`voxstrata.corpora.registry.Progress`.

    Raises:
        UnknownNameError: a part does not exist.
        CorpusError: ``out`` holds another corpus.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Path,
        out: Path,
        parts: Sequence[str] | None,
        progress: Progress | None,
    ) -> None:
        need_lhotse()
        for part in parts or ():
            if part not in recipe.parts:
                raise unknown_name(f"part of {recipe.name}", part, list(recipe.parts))
        self.recipe = recipe
        self.source = Path(source)
        self.out = Path(out)
        self._real = self.source.resolve()
        self.asked = list(parts) if parts is not None else None
        self.details: dict[str, Any] = {}
        self._progress = progress
        self._problems: dict[FileProblem, None] = {}
        self._counts: dict[str, PartCount] = {}
        self._prints: dict[str, str] = {}
        self._by_part: dict[str, list[FileProblem]] = {}
        self._before = self._earlier()

    def wants(self, part: str) -> bool:
        """Whether to prepare ``part``: it was named, or none was and it is not one of the
        recipe's ``on_request`` (parts that repeat utterances of other parts)."""
        if self.asked is None:
            return part not in getattr(self.recipe, "on_request", ())
        return part in self.asked

    def problem(self, path: Path | str, what: str) -> None:
        """Note something that is wrong but does not stop the work (once)."""
        self._problems.setdefault(FileProblem(str(path), what))

    def write(self, part: str, rows: Iterable[Row]) -> int:
        """Write one part.

        Rows whose audio cannot be read, whose labels are malformed or whose id was there
        before are reported and left out; spans beyond the audio are cut off and reported.

        Returns:
            number of utterances; with none, nothing is written.
        """
        first = len(self._problems)
        seen: set[str] = set()
        speakers: set[str] = set()
        digest = hashlib.sha256()
        seconds = 0.0
        total = len(rows) if isinstance(rows, Sequence) else 0
        target = self.out / part / "cuts.jsonl.gz"

        def cuts() -> Iterator[Cut]:
            nonlocal seconds
            pairs = in_order(lambda row: read_header(row.audio), rows)
            for done, (row, header) in enumerate(pairs, 1):
                if self._progress is not None:
                    self._progress(f"{self.recipe.name} {part}", done, total)
                cut = self._cut(row, header, seen)
                if cut is None:
                    continue
                seconds += cut.duration
                speakers.update(s.speaker for s in cut.supervisions if s.speaker)
                digest.update(self._identity(row, cut))
                yield cut

        stream = cuts()
        start = next(stream, None)
        if start is None:
            if self.asked is not None or len(self._problems) > first:
                self.problem(part, "no utterance of this part could be prepared")
            return 0
        write_cuts(target, _chain(start, stream))
        self._counts[part] = PartCount(len(seen), round(seconds, 3), len(speakers))
        self._prints[part] = digest.hexdigest()[:16]
        self._by_part[part] = list(self._problems)[first:]
        return len(seen)

    def _cut(self, row: Row, header: Header | Exception, seen: set[str]) -> Cut | None:
        if isinstance(header, Exception):
            got = header.got if isinstance(header, AudioError) else None
            reason = str(getattr(header, "what", header)) + (f": {got}" if got else "")
            self.problem(row.audio, f"{row.id} left out: {reason}")
            return None
        if row.id in seen:
            self.problem(row.audio, f"{row.id} left out: the same id came before")
            return None
        length = header.duration_s - row.start_s
        if row.duration_s is not None:
            if row.duration_s > length + SLACK_S:
                self.problem(
                    row.audio,
                    f"{row.id} left out: it ends at {row.start_s + row.duration_s:.3f} s, the "
                    f"recording at {header.duration_s:.3f} s",
                )
                return None
            length = min(length, row.duration_s)
        if length <= 0:
            self.problem(row.audio, f"{row.id} left out: it holds no samples")
            return None
        if header.missing_bytes:
            self.problem(
                row.audio, f"{row.id}: truncated, {header.missing_bytes} bytes are missing"
            )
        try:
            cut = make_cut(
                row.id,
                recording_of(
                    header, row.id if row.start_s == 0 and row.duration_s is None else None
                ),
                self._fitted(row, length),
                start_s=row.start_s,
                duration_s=length,
                channel=row.channel,
            )
        except LabelError as error:
            self.problem(row.audio, f"{row.id} left out: {error.what}")
            return None
        seen.add(row.id)
        return cut

    def _fitted(self, row: Row, length: float) -> dict[str, Any]:
        """The row's tiers with spans inside the utterance and empty values left out."""
        tiers: dict[str, Any] = {}
        for name, value in row.tiers.items():
            if value is None or (value in ("", [], (), {}) and name != "turns"):
                continue
            if isinstance(value, list | tuple) and value and isinstance(value[0], Segment):
                kept, wrong = inside(value, length)
                if wrong:
                    self.problem(
                        row.audio,
                        f"{row.id}: {len(wrong)} span(s) of {name} reach beyond its "
                        f"{length:.3f} s or run backwards, the first at {wrong[0].start_s:.3f} "
                        f"to {wrong[0].end_s:.3f} s ({wrong[0].label}); cut off or dropped",
                    )
                if not kept and name != "turns":
                    continue
                value = kept
            tiers[name] = value
        return tiers

    def _identity(self, row: Row, cut: Cut) -> bytes:
        """What makes this utterance itself wherever the corpus lies on disk."""
        path = Path(row.audio)
        with suppress(ValueError):
            path = path.relative_to(self._real)
        tiers = {k: v for k, v in sorted(row.tiers.items()) if v is not None}
        facts = [row.id, str(path), cut.start, cut.duration, cut.recording.num_samples, tiers]
        return json.dumps(facts, default=_plain, ensure_ascii=False).encode() + b"\n"

    def trials(self, name: str, rows: Iterable[tuple[str, str, str]]) -> None:
        """Write ``trials/NAME.csv``: pairs of utterances and whether they match.

        Args:
            name: name of the list ("veri_test2").
            rows: label ("1" or "0"), first and second utterance id.
        """
        with atomic_write(self.out / "trials" / f"{name}.csv") as file:
            file.write(b"label,first,second\n")
            for row in rows:
                file.write((",".join(row) + "\n").encode())

    def finish(self, layout: str) -> PrepareReport:
        """Write ``corpus.json`` and say what was done.

        Args:
            layout: one line on what the folder should have held, for the message.

        Raises:
            CorpusError: nothing was prepared.
        """
        if not self._counts:
            met = list(self._problems)
            shown = "; ".join(f"{p.path}: {p.what}" for p in met[:5])
            more = f" (and {len(met) - 5} more)" if len(met) > 5 else ""
            raise CorpusError(
                f"{self.recipe.title}: nothing in {self.source} could be prepared",
                got=shown + more or "no audio at all",
                expected=layout,
                fix="give the folder of the unpacked corpus, and check that it is complete",
            )
        mine = {p for found in self._by_part.values() for p in found}
        parts = {
            part: {
                **asdict(count),
                "fingerprint": self._prints[part],
                "problems": [asdict(p) for p in self._by_part[part]],
            }
            for part, count in self._counts.items()
        }
        parts = {**self._before, **parts}
        both = "".join(f"{part}:{parts[part]['fingerprint']};" for part in sorted(parts))
        write_json(
            self.out / CORPUS_FILE,
            {
                "schema": 1,
                "name": self.recipe.name,
                "title": self.recipe.title,
                "licence": self.recipe.licence,
                "homepage": self.recipe.homepage,
                "tiers": list(self.recipe.tiers),
                "source": str(self.source.resolve()),
                "fingerprint": hashlib.sha256(both.encode()).hexdigest()[:16],
                "parts": parts,
                "problems": [asdict(p) for p in self._problems if p not in mine],
                "details": self.details,
            },
        )
        return PrepareReport(dict(self._counts), tuple(self._problems))

    def _earlier(self) -> dict[str, Any]:
        """Parts that an earlier run left in ``out`` and that still have their manifest."""
        file = self.out / CORPUS_FILE
        if not file.exists():
            return {}
        try:
            known = read_json(file)
        except StorageError:
            return {}
        name = known.get("name") if isinstance(known, dict) else None
        if name != self.recipe.name:
            raise CorpusError(
                f"{self.out} holds another corpus",
                got=name,
                expected=f"{self.recipe.name!r}, or an empty folder",
                fix="choose another output folder",
            )
        parts: dict[str, Any] = known.get("parts", {})
        return {p: v for p, v in parts.items() if (self.out / p / "cuts.jsonl.gz").exists()}


def _chain(first: T, rest: Iterator[T]) -> Iterator[T]:
    yield first
    yield from rest


def _plain(value: Any) -> Any:
    if isinstance(value, Segment):
        return [value.start_s, value.end_s, value.label]
    return str(value)


def gender(text: str | None) -> str | None:
    """``"M"`` or ``"F"`` from m, male, F, Female, ...; ``None`` for anything else."""
    first = (text or "").strip()[:1].upper()
    return first if first in ("M", "F") else None
