"""A JSONL manifest: one JSON object an utterance.

``id``; ``file`` (relative to the manifest's folder); optionally ``start`` and ``duration``
(seconds in the file), ``channel`` (a number; text there is a tier), ``sampling_rate`` (checked),
``textgrid`` or ``alignment`` (alignment files, used for the tiers that the line itself lacks).
Everything else that is not null is a tier; a list of ``[start, end, label]`` is an interval tier,
in seconds from the beginning of the utterance.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.corpora.audio import Header, read_headers
from voxstrata.corpora.cuts import json_lines, recording_of
from voxstrata.corpora.problems import Problem
from voxstrata.corpora.registry import Progress, SourceResult
from voxstrata.corpora.sources._common import (
    audio_rule,
    first_json,
    from_error,
    is_jsonl,
    is_lhotse,
    missing_path,
)
from voxstrata.corpora.tiers import make_cut
from voxstrata.errors import CorpusError, LabelError
from voxstrata.files import typed_path

FILE_KEYS = ("file", "audio", "audio_filepath", "path", "wav")
"""Names under which manifests give the recording; the first that is there counts."""

ALIGNMENT_KEYS = ("textgrid", "alignment")
BOOKKEEPING = frozenset(
    {
        *FILE_KEYS, *ALIGNMENT_KEYS, "id", "start", "offset", "duration", "channel", "channels",
        "sampling_rate", "num_samples",
    }
)  # fmt: skip
NAMES = ("manifest.jsonl", "manifest.jsonl.gz")


@dataclass(frozen=True)
class Entry:
    """One usable line: its number, the utterance's id and recording, and all it says."""

    line: int
    id: str
    file: Path
    says: dict[str, Any]


def manifest_in(folder: Path) -> Path | None:
    """The manifest of a folder, if it has one."""
    return next((folder / name for name in NAMES if os.path.isfile(folder / name)), None)


class JsonlSource:
    """Opens JSONL manifests."""

    name = "jsonl"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is a JSONL file that is not lhotse's, or a folder with a manifest."""
        path = typed_path(spec)
        if os.path.isdir(path):
            return manifest_in(path) is not None
        return is_jsonl(path) and os.path.isfile(path) and not is_lhotse(first_json(path))

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Read the manifest and the headers of its recordings.

        Raises:
            CorpusError: it is missing, unreadable, or has no line with an utterance.
        """
        from lhotse import CutSet

        path = typed_path(spec).absolute()
        manifest = manifest_in(path) if path.is_dir() else path
        if manifest is None or not manifest.is_file():
            raise missing_path(path)
        entries, problems = _entries(manifest, limit)
        if not entries and not problems:
            raise CorpusError(
                f"{manifest} holds no utterance", got="no lines", expected="a JSON object a line"
            )
        found = read_headers([str(entry.file) for entry in entries])
        cuts = []
        for entry in entries:
            id, file = entry.id, str(entry.file)
            header = found[file]
            if isinstance(header, Exception):
                problems.append(from_error(header, audio_rule(header), id=id, file=file))
                continue
            try:
                cut, more = _cut(entry, header, manifest.parent)
            except LabelError as error:
                rule = "bad-label"
                problems.append(from_error(error, rule, id=id, file=f"{manifest}:{entry.line}"))
                continue
            problems.extend(more)
            if cut is not None:
                cuts.append(cut)
        name = manifest.parent.name if manifest.name in NAMES else manifest.name.split(".jsonl")[0]
        return SourceResult(
            name, CutSet.from_cuts(cuts), tuple(problems), {"manifest": str(manifest)}
        )


def _entries(manifest: Path, limit: int | None) -> tuple[list[Entry], list[Problem]]:
    """Lines that name an utterance, and problems for those that do not."""
    entries: list[Entry] = []
    problems: list[Problem] = []

    def bad(line: int, what: str, fix: str) -> None:
        problems.append(Problem("", f"{manifest}:{line}", what, "error", fix, "manifest"))

    for line, value in json_lines(manifest):
        if limit is not None and len(entries) >= limit:
            break
        if isinstance(value, ValueError):
            bad(line, f"is not JSON: {value}", "correct or remove the line")
            continue
        if not isinstance(value, dict):
            bad(line, f"is not a JSON object but {type(value).__name__}", "one object a line")
            continue
        file = next((value[key] for key in FILE_KEYS if value.get(key)), None)
        if not isinstance(file, str):
            bad(line, f"names no recording: {file!r}", 'give it a "file"')
            continue
        id = value.get("id")
        name = str(id) if id not in (None, "") else Path(file).with_suffix("").as_posix()
        entries.append(Entry(line, name, manifest.parent / Path(file).expanduser(), value))
    return entries, problems


def _number(entry: Entry, key: str) -> float | None:
    value = entry.says.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise LabelError(f"{entry.id}: {key} is not a number of seconds", got=value)
    return float(value)


def _cut(entry: Entry, header: Header, folder: Path) -> tuple[Any, list[Problem]]:
    """The cut of one line (``None`` where it cannot be one), and what is odd about it."""
    id, file, says = entry.id, str(entry.file), entry.says
    problems: list[Problem] = []

    def problem(what: str, severity: Any, fix: str, rule: str) -> None:
        problems.append(Problem(id, file, what, severity, fix, rule))

    declared = _number(entry, "duration")
    start = _number(entry, "offset" if says.get("start") is None else "start")
    if header.frames == 0:
        problem("holds no samples", "error", "fetch it again", "empty")
        return None, problems
    if start is not None and (start < 0 or start >= header.duration_s):
        what = f"begins at {start:.3f} s of a recording of {header.duration_s:.3f} s"
        problem(what, "error", "correct start", "duration")
        return None, problems
    available = header.duration_s - (start or 0.0)
    off = 0.0 if declared is None else declared - available
    if off > header.tolerance_s or (start is None and off < -header.tolerance_s):
        problem(
            f"is {available:.3f} s long, but the manifest says {declared:.3f} s",
            "error",
            "fetch the recording again, or correct duration",
            "duration",
        )
        return None, problems
    rate = says.get("sampling_rate")
    if rate is not None and rate != header.rate_hz:
        problem(
            f"is sampled at {header.rate_hz} Hz, but the manifest says {rate}",
            "warning",
            "correct sampling_rate",
            "sampling-rate",
        )
    channel = says.get("channel")
    tiers = {k: v for k, v in says.items() if k not in BOOKKEEPING and v is not None}
    if isinstance(channel, str):  # a label: the line or room it was recorded over
        tiers["channel"], channel = channel, None
    if channel is not None and (
        isinstance(channel, bool)
        or not isinstance(channel, int)
        or not 0 <= channel < header.channels
    ):
        problem(
            f"has {header.channels} channel(s), but the manifest asks for channel {channel!r}",
            "error",
            "count channels from 0",
            "channel",
        )
        return None, problems
    whole = start is None
    length = available if whole or declared is None else min(declared, available)
    tiers = {**_from_files(says, folder, tiers), **tiers}
    recording = recording_of(header, id if whole else Path(file).stem)
    return (
        make_cut(id, recording, tiers, start_s=start or 0.0, duration_s=length, channel=channel),
        problems,
    )


def _from_files(says: dict[str, Any], folder: Path, tiers: dict[str, Any]) -> dict[str, Any]:
    """Interval tiers of the alignment files that the line names, where the line lacks them."""
    files: list[str] = []
    for key in ALIGNMENT_KEYS:
        value = says.get(key) or []
        several = [value] if isinstance(value, str) else value
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise LabelError(f"{says.get('id')}: {key} names no file", got=value)
        files.extend(several)
    if not files or not any(tiers.get(name) is None for name in ("words", "phones")):
        return {}
    from voxstrata.corpora.alignments import read_alignment

    found: dict[str, Any] = {}
    for name in files:
        for tier, spans in read_alignment(folder / name).items():
            found.setdefault(tier, spans)
    return found


SOURCE = JsonlSource()
