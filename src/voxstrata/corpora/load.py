"""Opening a corpus by its spec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from voxstrata.corpora.checks import duplicates
from voxstrata.corpora.corpus import Corpus
from voxstrata.corpora.cuts import need_lhotse, no_collection
from voxstrata.corpora.problems import Problem, raise_all, summary
from voxstrata.corpora.registry import CORPORA, SOURCES, Progress, Source
from voxstrata.corpora.sources._common import missing_path
from voxstrata.corpora.validation import ValidationReport, find_problems
from voxstrata.errors import CorpusError, UnknownNameError, UsageError, VoxstrataError
from voxstrata.files import typed_path
from voxstrata.registry import unknown_name

Check = Literal["none", "header", "decode"]

JOIN = " + "
"""Between corpora that are to be one."""


def load_corpus(
    spec: str | Path,
    *,
    on_error: Literal["skip", "stop"] = "skip",
    limit: int | None = None,
    min_s: float | None = None,
    max_s: float | None = None,
    need_tiers: Sequence[str] = (),
    check: Check = "header",
    progress: Progress | None = None,
) -> Corpus:
    """Open a corpus.

    Args:
        spec: ``synthetic``, ``synthetic:demo,seed=1``; a folder of audio; a JSONL manifest or a
            folder with ``manifest.jsonl``; a lhotse manifest or a folder with some;
            ``NAME:FOLDER`` or the folder of a prepared public corpus; several of these with
            `` + `` between them are one corpus.
        on_error: an utterance with an error is left out and listed in ``.skipped``
            (``"skip"``), or one error lists all that are wrong (``"stop"``).
        limit: read no more than the first so many utterances (of each, where several are joined).
        min_s: shortest utterance, seconds; shorter ones are errors.
        max_s: longest utterance, seconds.
        need_tiers: tiers an utterance must have.
        check: ``"header"`` reads every file's header and all labels, ``"decode"`` all audio
            too, ``"none"`` trusts the manifest.
        progress: called as ``progress(what, done, total)``.

    Raises:
        UnknownNameError: ``spec`` is a name that is not known; or no utterance has a needed tier.
        CorpusError: nothing is at that path, the manifest is unreadable, no usable utterance is
            left; or ``on_error="stop"`` and something is wrong.
        AudioError, LabelError: the same, where all problems are of that kind.
    """
    for name, value, allowed in (
        ("on_error", on_error, ("skip", "stop")),
        ("check", check, ("none", "header", "decode")),
    ):
        if value not in allowed:
            raise unknown_name(f"value of {name}", str(value), list(allowed))
    if limit is not None and limit < 1:
        raise UsageError("limit must be at least 1", got=limit)
    text = str(spec)
    if JOIN in text and not os.path.exists(typed_path(text)):
        parts = [
            load_corpus(
                part.strip(),
                on_error=on_error,
                limit=limit,
                min_s=min_s,
                max_s=max_s,
                need_tiers=need_tiers,
                check=check,
                progress=progress,
            )
            for part in text.split(JOIN)
        ]
        return join_corpora(parts, spec=text)
    source = find_source(text)
    need_lhotse()
    with no_collection():
        opened = source.open(text, limit=limit, progress=progress)
    cuts = list(opened.cuts)
    skipped = [p for p in opened.problems if p.severity == "error"]
    problems = [p for p in opened.problems if p.severity == "warning"]
    if cuts and need_tiers:
        _tiers_exist(opened.name, cuts, need_tiers)
    keep = set(range(len(cuts)))
    if check == "none":
        again = duplicates(cuts)
        for id in again.values():
            fix = "give every utterance an id of its own"
            skipped.append(
                Problem(id, "", f"the id {id!r} came before", "error", fix, "duplicate-id")
            )
        keep -= set(again)
    else:
        found = find_problems(
            cuts,
            min_s=min_s,
            max_s=max_s,
            need_tiers=need_tiers,
            decode=check == "decode",
            progress=progress,
        )
        for index, mine in found.items():
            bad = [p for p in mine if p.severity == "error"]
            skipped += bad
            problems += [p for p in mine if p.severity == "warning"]
            if bad:
                keep.discard(index)
    if on_error == "stop":
        raise_all(skipped, f"corpus {text}")
    if not keep:
        _nothing_left(text, skipped)
    return Corpus(
        opened.name,
        (cuts[i] for i in sorted(keep)),
        spec=text,
        skipped=skipped,
        problems=problems,
        details={"source": source.name, "check": check, **opened.details},
    )


def join_corpora(parts: Sequence[Corpus], *, spec: str = "") -> Corpus:
    """Several corpora as one, in their order.

    Args:
        parts: at least one.
        spec: how the user named them.

    Raises:
        CorpusError: an utterance id is in two of them, or one is given twice.
    """
    seen: dict[str, str] = {}
    for part in parts:
        for utterance in part.utterances:
            if utterance.id in seen:
                raise CorpusError(
                    f"the corpora {seen[utterance.id]} and {part.name} cannot be joined",
                    got=f"the utterance id {utterance.id} in both",
                    expected="ids that are unique over all of them",
                    fix="rename the utterances in one manifest",
                )
        seen.update(dict.fromkeys((u.id for u in part.utterances), part.name))
    return Corpus(
        "+".join(part.name for part in parts),
        (cut for part in parts for cut in part.cuts),
        spec=spec,
        skipped=(problem for part in parts for problem in part.skipped),
        problems=(problem for part in parts for problem in part.problems),
        details={"joined": [dict(part.details) | {"spec": part.spec} for part in parts]},
    )


def inspect_corpus(
    spec: str | Path,
    *,
    limit: int | None = None,
    min_s: float | None = None,
    max_s: float | None = None,
    need_tiers: Sequence[str] = (),
    decode: bool = False,
    progress: Progress | None = None,
) -> ValidationReport:
    """Everything that is wrong with a corpus, whether or not it could be opened.

    Args and errors as for :func:`load_corpus`; a corpus without one usable utterance is a
    report too.
    """
    text = str(spec)
    source = find_source(text)
    need_lhotse()
    opened = source.open(text, limit=limit, progress=progress)
    cuts = list(opened.cuts)
    if cuts and need_tiers:
        _tiers_exist(opened.name, cuts, need_tiers)
    found = find_problems(
        cuts, min_s=min_s, max_s=max_s, need_tiers=need_tiers, decode=decode, progress=progress
    )
    problems = (*opened.problems, *(p for mine in found.values() for p in mine))
    lost = sum(p.severity == "error" for p in opened.problems)
    return ValidationReport(tuple(dict.fromkeys(problems)), len(cuts) + lost, decode)


def _nothing_left(spec: str, skipped: list[Problem]) -> None:
    try:
        raise_all(skipped, f"corpus {spec} has no usable utterance")
    except VoxstrataError as error:
        raise type(error)(
            f"corpus {spec} has no usable utterance: {summary(skipped)}",
            got=str(error.got),
            fix="; ".join(dict.fromkeys(p.fix for p in skipped if p.fix)),
        ) from None
    raise CorpusError(f"corpus {spec} is empty", expected="at least one utterance")


def _tiers_exist(name: str, cuts: Sequence[object], need_tiers: Sequence[str]) -> None:
    from voxstrata.corpora.tiers import Tiers

    held: dict[str, None] = {}
    for cut in cuts:
        held.update(dict.fromkeys(Tiers(cut)))  # type: ignore[arg-type]
        if all(tier in held for tier in need_tiers):
            return
    for tier in need_tiers:
        if tier not in held:
            raise unknown_name(f"tier of corpus {name!r}", tier, sorted(held))


def find_source(spec: str) -> Source:
    """The source that opens ``spec``.

    Raises:
        UnknownNameError: it is a name, and no such name is known.
        CorpusError: it is a path with nothing there, or with nothing that is a corpus.
        UsageError: it is empty.
    """
    if not spec:  # as a path that would be the current folder, which nobody asked for
        raise UsageError(
            "no corpus is named",
            got="an empty text",
            expected="a folder of audio, a manifest or a known name",
            fix="for this folder itself write `.`",
        )
    for name in SOURCES:
        source = SOURCES.get(name)
        if source.recognises(spec):
            return source
    if spec in CORPORA:
        raise CorpusError(
            f"{spec} is a public corpus that has to be prepared from a local copy first",
            fix=f"voxstrata corpora prepare {spec} SOURCE OUT, then use {spec}:OUT/PART",
        )
    path = typed_path(spec)
    if os.path.exists(path):
        raise CorpusError(
            f"{path} is not a corpus",
            got="a file that is no JSONL manifest",
            expected="a folder, or a manifest ending in .jsonl or .jsonl.gz",
        )
    head = spec.partition(":")[0]
    names = ["synthetic", "mixtures", *CORPORA.names()]
    if "/" in head or "\\" in head or head.startswith((".", "~")) or "." in head:
        raise missing_path(path)
    unknown = unknown_name("corpus", head, names)
    raise UnknownNameError(
        unknown.what,
        got="neither a file or folder here nor a known name",
        expected=f"a folder of audio, a manifest, or one of {unknown.expected}",
        fix=unknown.fix or "check the path; `voxstrata corpora list` shows the names",
    )
