"""Giving a corpus the spans of alignment files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from voxstrata.corpora.alignments.ctm import read_ctm
from voxstrata.corpora.alignments.read import SUFFIXES, format_of, read_alignment
from voxstrata.corpora.cuts import files_of, is_plain
from voxstrata.corpora.problems import Problem, raise_all
from voxstrata.corpora.tiers import with_tiers
from voxstrata.errors import LabelError, UsageError
from voxstrata.types import Segment

if TYPE_CHECKING:
    from voxstrata.corpora.corpus import Corpus

Spans = Mapping[str, Sequence[Segment]]


def attach_alignments(
    corpus: Corpus,
    source: str | Path,
    *,
    format: str | None = None,
    rename: Mapping[str, str] | None = None,
    replace: bool = True,
    on_error: Literal["skip", "stop"] = "skip",
) -> Corpus:
    """The corpus with interval tiers from alignment files.

    Files are matched to utterances by name: the file's path below ``source`` without ending, or
    its bare name, equals the utterance's id, the last piece of the id, or the recording's name
    (as long as no other utterance, or recording, claims that name). Several files of one
    utterance (words here, phones there) are put together. A CTM file is matched by its first
    column. Times count from the beginning of the utterance where its id matches, from the
    beginning of the recording where the recording's name does; of the latter, spans whose
    middle lies in another utterance are left out.

    Args:
        corpus: what to label.
        source: a folder (searched all the way down), one CTM file, or one alignment file.
        format: see :func:`read_alignment`; ``None`` to tell file by file.
        rename: tier names in the files -> ours, e.g. ``{"ORT-MAU": "words"}``.
        replace: whether files win over tiers the utterance has already.
        on_error: a malformed file or an utterance without one: ``"skip"`` notes it in the
            corpus's ``problems`` (the utterance stays as it was), ``"stop"`` raises.

    Raises:
        LabelError: nothing matches; or ``on_error="stop"`` and there are problems (all listed).
        UsageError: ``source`` does not exist.
    """
    place = Path(source).expanduser()
    if not place.exists():
        raise UsageError(f"there are no alignments at {place}", fix="check the path")
    names = dict(rename or {})
    problems: list[Problem] = []
    if place.is_file() and (format or format_of(place)) == "ctm":
        tables = {name: [("words", rows)] for name, rows in read_ctm(place).items()}
        files: dict[str, list[Path]] = {}
    else:
        tables, files = {}, _index(place, format)
    claims = _claims(corpus)
    cuts: list[Any] = []
    matched = 0
    for cut in corpus.cuts:
        keys = [(key, shift) for key, shift in _keys(cut) if claims[key] == 1]
        held = tables if tables else files
        key, shift = next((k for k in keys if k[0] in held), ("", None))
        spans: dict[str, Sequence[Segment]] = {}
        bad: list[Problem] = []
        for tier, found in tables.get(key, []):
            spans[names.get(tier, tier)] = found
        for file in files.get(key, []):
            try:
                for tier, found in read_alignment(file, format).items():
                    ours = names.get(tier, tier)
                    if spans.setdefault(ours, found) != found:
                        what = f"another file of this utterance has different {ours}"
                        fix = "give the folder that holds the right ones"
                        bad.append(Problem(cut.id, str(file), what, "error", fix, "alignment"))
            except LabelError as error:
                what = f"{error.what}: {error.got}"
                bad.append(Problem(cut.id, str(file), what, "error", error.fix, "alignment"))
        problems += bad
        if shift is not None:
            spans = {tier: _inside(found, shift, cut.duration) for tier, found in spans.items()}
        if spans and not bad and is_plain(cut):
            matched += 1
            cuts.append(with_tiers(cut, spans, replace=replace))
            continue
        if not spans and not bad:
            what = f"has no alignment in {place}"
            problems.append(Problem(cut.id, "", what, "warning", "add its file", "alignment"))
        cuts.append(cut)
    if on_error == "stop":
        raise_all(problems, f"alignments from {place}")
    if not matched:
        shown = ", ".join(list(tables or files)[:5])
        raise LabelError(
            f"no alignment in {place} belongs to an utterance of {corpus.name}",
            got=f"alignments of {shown or 'nothing'}; " + "; ".join(str(p) for p in problems[:2]),
            expected=f"names like {corpus.utterances[0].id}",
            fix="name the files after the utterances",
        )
    return corpus.derive(cuts, problems=(*corpus.problems, *problems))


def _index(place: Path, format: str | None) -> dict[str, list[Path]]:
    """Alignment files by each name an utterance may know them by."""
    if place.is_file():
        return {place.stem: [place]}
    found: dict[str, list[Path]] = defaultdict(list)
    for top, below, names in os.walk(place):
        below.sort()
        for name in sorted(names):
            file = Path(top) / name
            if format is None and file.suffix.lower() not in SUFFIXES:
                continue
            if name.startswith("."):
                continue
            path = file.relative_to(place).with_suffix("").as_posix()
            for key in dict.fromkeys((path, file.stem)):
                found[key].append(file)
    return dict(found)


def _keys(cut: Any) -> list[tuple[str, float | None]]:
    """Names an utterance's alignment may have, and where in the recording the utterance begins
    if the name is the recording's (``None`` where times count from the utterance)."""
    by_name: dict[str, float | None] = {cut.id: None, cut.id.rsplit("/", 1)[-1]: None}
    if is_plain(cut):
        whole = cut.start == 0 and abs(cut.duration - cut.recording.duration) < 1e-3
        for file in files_of(cut):
            # Of a whole recording nothing is left out: labels beyond its end must be seen.
            by_name.setdefault(Path(file).stem, None if whole else float(cut.start))
    return list(by_name.items())


def _claims(corpus: Corpus) -> Counter[str]:
    """How many different utterances (or, for names of recordings, recordings) have each name."""
    owners: set[tuple[str, str]] = set()
    for cut in corpus.cuts:
        files = files_of(cut)
        stems = {Path(file).stem for file in files}
        for key, _ in _keys(cut):
            owners.add((key, ",".join(files) if key in stems else cut.id))
    return Counter(key for key, _ in owners)


def _inside(spans: Sequence[Segment], start_s: float, length_s: float) -> tuple[Segment, ...]:
    """Spans of a recording as spans of the utterance that begins at ``start_s``."""
    moved = (Segment(s.start_s - start_s, s.end_s - start_s, s.label) for s in spans)
    return tuple(s for s in moved if 0 <= (s.start_s + s.end_s) / 2 < length_s)
