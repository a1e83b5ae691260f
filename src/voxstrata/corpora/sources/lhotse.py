"""lhotse manifests: cuts, or recordings with supervisions (JSONL, plain or gzipped)."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from voxstrata.corpora.cuts import MALFORMED, cut_from_dict, json_lines, recordings_of
from voxstrata.corpora.manifests import check_recording, check_supervision
from voxstrata.corpora.problems import Problem
from voxstrata.corpora.registry import Progress, SourceResult
from voxstrata.corpora.sources._common import first_json, is_jsonl, is_lhotse
from voxstrata.errors import CorpusError
from voxstrata.files import read_json, typed_path

SAVED = "saved.json"
"""File that :meth:`voxstrata.corpora.Corpus.save` writes beside the cuts."""


def manifests_in(folder: Path, kind: str) -> list[Path]:
    """Manifests of a kind ("cuts", "recordings", "supervisions") in a folder, by their names."""
    return sorted(p for p in folder.iterdir() if is_jsonl(p) and kind in p.name and p.is_file())


def cuts_in(folder: Path) -> Path | None:
    """The cut manifest of a folder; ``None`` where there is none.

    Raises:
        CorpusError: there are several and none is called ``cuts.jsonl(.gz)``.
    """
    found = manifests_in(folder, "cuts")
    plain = [p for p in found if p.name in ("cuts.jsonl.gz", "cuts.jsonl")]
    if plain:
        return plain[0]
    if len(found) > 1:
        raise CorpusError(
            f"{folder} holds several cut manifests",
            got=", ".join(p.name for p in found),
            expected="one corpus",
            fix=f"name one of them, for instance {found[0]}",
        )
    return found[0] if found else None


def read_cuts(
    path: Path, limit: int | None, extra: dict[str, Any] | None = None
) -> tuple[list[Any], list[Problem]]:
    """Cuts of a manifest, and its lines that are none.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``.
        limit: stop after so many cuts.
        extra: tiers that every cut gets (``{"part": "dev-clean"}``).
    """
    cuts: list[Any] = []
    problems: list[Problem] = []
    for line, value in json_lines(path):
        if limit is not None and len(cuts) >= limit:
            break
        where = f"{path}:{line}"
        if not isinstance(value, dict):
            what = f"is not JSON: {value}" if isinstance(value, ValueError) else "is not an object"
            problems.append(
                Problem("", where, what, "error", "correct or remove the line", "manifest")
            )
            continue
        try:
            cut = cut_from_dict(value)
        except CorpusError as error:
            what = f"{error.what}: {error.got}"
            fix = "write the manifest with lhotse"
            problems.append(Problem("", where, what, "error", fix, "manifest"))
            continue
        settle(cut, path.parent)
        if extra:
            cut.custom = {**(cut.custom or {}), **extra}
        cuts.append(cut)
    return cuts, problems


def settle(cut: Any, folder: Path) -> None:
    """Make relative audio paths absolute: beside the manifest if there, else where lhotse looks."""
    for recording in recordings_of(cut):
        settle_recording(recording, folder)


def settle_recording(recording: Any, folder: Path) -> None:
    """The same for one recording."""
    for source in recording.sources:
        if source.type != "file" or Path(source.source).is_absolute():
            continue
        beside = folder / source.source
        try:
            there = beside.exists()
        except OSError:  # a name that no file can have: its header will say so
            there = False
        source.source = str((beside if there else Path(source.source)).absolute())


class LhotseSource:
    """Opens lhotse manifests."""

    name = "lhotse"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is a lhotse manifest or a folder with one."""
        path = typed_path(spec)
        if os.path.isdir(path):
            return bool(manifests_in(path, "cuts") or manifests_in(path, "recordings"))
        return is_jsonl(path) and os.path.isfile(path) and is_lhotse(first_json(path))

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Read the manifest; audio is not touched.

        Raises:
            CorpusError: the manifest is of a kind that cannot stand alone, or there are several.
        """
        from lhotse import CutSet

        path = typed_path(spec).absolute()
        manifest = cuts_in(path) if path.is_dir() else path
        name = path.name.split(".jsonl")[0]
        first = None if manifest is None else first_json(manifest)
        if manifest is not None and isinstance(first, dict) and "recording_id" in first:
            raise CorpusError(
                f"{manifest} holds supervisions alone",
                expected="cuts, or recordings and supervisions in one folder",
                fix=f"give the folder {manifest.parent}, or the recordings manifest",
            )
        if manifest is not None and not (isinstance(first, dict) and "sources" in first):
            cuts, problems = read_cuts(manifest, limit)
            details: dict[str, object] = {"manifest": str(manifest)}
            saved = _saved(manifest.parent)
            name = str(saved.get("name", name))
            details.update({k: saved[k] for k in ("spec", "skipped") if saved.get(k)})
        else:
            recordings = _recordings_in(path) if manifest is None else manifest
            cuts, problems, details = _join(recordings, limit)
            name = path.name.split(".jsonl")[0]
        return SourceResult(name, CutSet.from_cuts(cuts), tuple(problems), details)


def _saved(folder: Path) -> dict[str, Any]:
    """What :meth:`Corpus.save` wrote beside the cuts; empty where it did not."""
    if not (folder / SAVED).is_file():
        return {}
    found = read_json(folder / SAVED)
    return found if isinstance(found, dict) else {}


def _recordings_in(folder: Path) -> Path:
    found = manifests_in(folder, "recordings")
    if len(found) != 1:
        raise CorpusError(
            f"{folder} holds several recording manifests",
            got=", ".join(p.name for p in found) or "none",
            expected="one corpus",
            fix=f"name one of them, for instance {found[0]}" if found else "check the folder",
        )
    return found[0]


def _join(
    recordings: Path, limit: int | None
) -> tuple[list[Any], list[Problem], dict[str, object]]:
    """One cut a supervision; a recording without any is one cut without labels."""
    from lhotse import MonoCut, MultiCut, Recording, SupervisionSegment
    from lhotse.utils import fastcopy

    problems: list[Problem] = []

    def bad(where: str, what: str, id: str = "") -> None:
        fix = "write the manifests with lhotse"
        problems.append(Problem(id, where, what, "error", fix, "manifest"))

    known: dict[str, Any] = {}
    for line, value in json_lines(recordings):
        try:
            if not isinstance(value, dict):
                raise ValueError(value)
            recording = Recording.from_dict(value)
            check_recording(recording)
        except MALFORMED as error:
            bad(f"{recordings}:{line}", f"is not a recording: {error}")
            continue
        settle_recording(recording, recordings.parent)
        known[recording.id] = recording
    beside = recordings.with_name(recordings.name.replace("recordings", "supervisions"))
    spoken = defaultdict(list)
    if beside != recordings and beside.is_file():
        for line, value in json_lines(beside):
            try:
                if not isinstance(value, dict):
                    raise ValueError(value)
                custom = value.pop("custom", None)
                supervision = SupervisionSegment.from_dict(value)
                supervision.custom = custom
                check_supervision(supervision)
            except MALFORMED as error:
                bad(f"{beside}:{line}", f"is not a supervision: {error}")
                continue
            if supervision.recording_id not in known:
                what = f"speaks of a recording that is not there: {supervision.recording_id!r}"
                bad(f"{beside}:{line}", what, supervision.id)
                continue
            spoken[supervision.recording_id].append(supervision)
    cuts: list[Any] = []
    for recording in known.values():
        for supervision in spoken.get(recording.id) or [None]:
            if limit is not None and len(cuts) >= limit:
                break
            channel: Any = recording.channel_ids if supervision is None else supervision.channel
            if not isinstance(channel, int):
                channel = channel[0] if len(channel) == 1 else list(channel)
            start = 0.0 if supervision is None else supervision.start
            cuts.append(
                (MonoCut if isinstance(channel, int) else MultiCut)(
                    id=recording.id if supervision is None else supervision.id,
                    start=start,
                    duration=recording.duration if supervision is None else supervision.duration,
                    channel=channel,
                    recording=recording,
                    supervisions=[] if supervision is None else [fastcopy(supervision, start=0.0)],
                )
            )
    details: dict[str, object] = {"recordings": str(recordings)}
    if spoken:
        details["supervisions"] = str(beside)
    return cuts, problems, details


SOURCE = LhotseSource()
