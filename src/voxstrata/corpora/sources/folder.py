"""A folder of audio: every file an utterance, its first sub-folder the speaker."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from voxstrata.corpora.audio import SUFFIXES, read_headers
from voxstrata.corpora.cuts import recording_of
from voxstrata.corpora.problems import Problem
from voxstrata.corpora.registry import Progress, SourceResult
from voxstrata.corpora.sources._common import audio_rule, from_error
from voxstrata.corpora.tiers import make_cut
from voxstrata.errors import CorpusError
from voxstrata.files import typed_path


def audio_files(root: Path) -> Iterator[Path]:
    """Audio files below ``root`` in sorted order; hidden ones are left out, links followed once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(place) / name


class FolderSource:
    """Opens folders of audio."""

    name = "folder"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is a folder (asked last, so any folder will do)."""
        return os.path.isdir(typed_path(spec))

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Read the headers of all audio in the folder.

        Ids are paths below the folder without the ending (with it, where two files differ in
        the ending only). Files directly in the folder have no speaker.

        Raises:
            CorpusError: there is no audio in it.
        """
        from lhotse import CutSet

        root = typed_path(spec).absolute()
        files = []
        for file in audio_files(root):
            files.append(file)
            if limit is not None and len(files) >= limit:
                break
        if not files:
            raise CorpusError(
                f"there is no audio in {root}",
                got="no file ending in " + ", ".join(sorted(SUFFIXES)),
                expected="audio, one sub-folder a speaker; or manifest.jsonl; or cuts.jsonl.gz",
            )
        below = [file.relative_to(root) for file in files]
        stems = Counter(path.with_suffix("").as_posix() for path in below)
        found = read_headers([str(file) for file in files])
        cuts, problems = [], []
        for file, path in zip(files, below, strict=True):
            stem = path.with_suffix("").as_posix()
            id = stem if stems[stem] == 1 else path.as_posix()
            header = found[str(file)]
            if isinstance(header, Exception):
                rule = audio_rule(header)
                problems.append(from_error(header, rule, id=id, file=str(file)))
                continue
            if header.frames == 0:
                problems.append(
                    Problem(id, str(file), "holds no samples", "error", "fetch it again", "empty")
                )
                continue
            speaker = path.parts[0] if len(path.parts) > 1 else None
            cuts.append(make_cut(id, recording_of(header, id), {"speaker": speaker}))
        return SourceResult(
            root.name, CutSet.from_cuts(cuts), tuple(problems), {"folder": str(root)}
        )


SOURCE = FolderSource()
