"""What sources share: problems from errors, near names of missing files."""

from __future__ import annotations

import difflib
import errno
import os
from pathlib import Path

from voxstrata.corpora.problems import Problem
from voxstrata.errors import CorpusError, VoxstrataError
from voxstrata.files import why_absent


def from_error(error: VoxstrataError, rule: str, *, id: str = "", file: str = "") -> Problem:
    """A problem that says what an error says."""
    what = error.what if error.got is None else f"{error.what}: {error.got}"
    return Problem(id, file, what, "error", error.fix, rule)


def audio_rule(error: VoxstrataError) -> str:
    """Which rule an unreadable recording breaks."""
    if error.what.endswith("is missing"):
        return "missing-file"
    return "empty" if error.what.endswith("is empty") else "unreadable"


def missing_path(path: Path) -> CorpusError:
    """The error for a path that does not exist, with near names beside it."""
    near: list[str] = []
    parent, why = path.parent, why_absent(path)
    if os.path.isdir(parent) and os.access(parent, os.R_OK):
        near = difflib.get_close_matches(path.name, os.listdir(parent), 3, 0.6)
    fix = "check the path"
    if near:
        fix = "did you mean " + " or ".join(repr(str(parent / name)) for name in near) + "?"
    elif not os.path.exists(parent):
        existing = next((p for p in path.parents if os.path.exists(p)), Path("."))
        fix = f"check the path: it exists as far as {existing}"
    return CorpusError(
        f"there is no corpus at {path}",
        got=why if why not in ("", os.strerror(errno.ENOENT)) else "no such file or folder",
        expected="a folder of audio, a manifest, or a prepared corpus",
        fix=fix,
    )


def first_json(path: Path) -> object:
    """The first value of a JSONL(.gz) file; ``None`` where it has none or is not JSON."""
    from voxstrata.corpora.cuts import json_lines

    try:
        for _, value in json_lines(path):
            return None if isinstance(value, ValueError) else value
    except CorpusError:
        return None
    return None


def is_jsonl(path: Path) -> bool:
    """Whether the name is that of a JSONL file, plain or gzipped."""
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def is_lhotse(value: object) -> bool:
    """Whether a manifest line is lhotse's (a cut, a recording or a supervision)."""
    if not isinstance(value, dict):
        return False
    return (
        value.get("type") in ("MonoCut", "MultiCut", "MixedCut", "Cut", "PaddingCut")
        or ("sources" in value and "num_samples" in value)
        or ("recording_id" in value and "start" in value)
    )
