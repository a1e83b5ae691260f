"""A public corpus that ``voxstrata corpora prepare`` has been over: ``NAME:FOLDER`` or the folder.

``FOLDER`` is one part (``.../dev-clean``, with ``cuts.jsonl.gz`` in it) or the folder of all
parts; then every utterance gets the tier ``part``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from voxstrata.corpora.problems import Problem
from voxstrata.corpora.registry import CORPORA, Progress, SourceResult
from voxstrata.corpora.sources._common import missing_path
from voxstrata.corpora.sources.lhotse import read_cuts
from voxstrata.errors import CorpusError, StorageError
from voxstrata.files import read_json, typed_path
from voxstrata.registry import unknown_name

CUTS = "cuts.jsonl.gz"
RECORD = "corpus.json"
"""What a recipe writes beside its parts: name, licence, counts, problems."""


def parts_in(folder: Path) -> list[Path]:
    """Sub-folders that are prepared parts."""
    return sorted(p.parent for p in folder.glob(f"*/{CUTS}"))


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _take_apart(spec: str) -> tuple[str | None, Path]:
    name, colon, rest = spec.partition(":")
    if colon and name in CORPORA:
        return name, typed_path(rest).absolute()
    return None, typed_path(spec).absolute()


def _record(folder: Path) -> dict[str, object]:
    for place in (folder, folder.parent):
        if (place / RECORD).is_file():
            try:
                found = read_json(place / RECORD)
            except StorageError:
                continue
            if isinstance(found, dict) and "parts" in found:
                return found
    return {}


class PreparedSource:
    """Opens prepared public corpora."""

    name = "prepared"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is ``NAME:FOLDER`` with a known name, or a folder of parts."""
        name, folder = _take_apart(spec)
        if name is not None:
            return True
        if not os.path.isdir(folder):
            return False
        if (folder / CUTS).is_file():
            return bool(_record(folder))
        parts = parts_in(folder)
        return bool(parts) and (bool(_record(folder)) or parts == _visible(folder))

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Read the cut manifests of one part, or of all.

        Raises:
            CorpusError: the folder is missing or not prepared, or it holds another corpus.
            UnknownNameError: the folder holds parts, but not the one named.
        """
        from lhotse import CutSet

        name, folder = _take_apart(spec)
        if not os.path.isdir(folder):
            if os.path.isdir(folder.parent) and parts_in(folder.parent):
                known = [p.name for p in parts_in(folder.parent)]
                raise unknown_name(f"part of {folder.parent}", folder.name, known)
            raise missing_path(folder)
        record = _record(folder)
        held = str(record["name"]) if "name" in record else None
        if name is not None and held is not None and held != name:
            raise CorpusError(
                f"{folder} holds another corpus", got=held, expected=name, fix=f"{held}:{folder}"
            )
        name = name or held
        cuts: list[Any] = []
        problems: list[Problem] = []
        if (folder / CUTS).is_file():
            cuts, problems = read_cuts(folder / CUTS, limit)
            parts = [folder]
        else:
            parts = parts_in(folder)
            for part in parts:
                left = None if limit is None else limit - len(cuts)
                if left is not None and left <= 0:
                    break
                more, worse = read_cuts(part / CUTS, left, {"part": part.name})
                cuts += more
                problems += worse
        if not parts:
            raise CorpusError(
                f"{folder} is not a prepared corpus",
                got=f"no {CUTS} in it or in its sub-folders",
                fix=f"voxstrata corpora prepare {name or 'NAME'} SOURCE {folder}",
            )
        label = "+".join(p.name for p in parts)
        details: dict[str, object] = {"corpus": name, "parts": [p.name for p in parts]}
        for key in ("licence", "fingerprint"):
            if key in record:
                details[key] = record[key]
        return SourceResult(
            f"{name}-{label}" if name else label, CutSet.from_cuts(cuts), tuple(problems), details
        )


SOURCE = PreparedSource()
