"""LibriSpeech (and Mini LibriSpeech), with the published TextGrid alignments where they lie by.

lhotse's ``prepare_librispeech`` is the reference in our tests but is not called: one broken flac
or one malformed transcript line stops it, and it carries neither gender nor phones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row, gender
from voxstrata.corpora.recipes._files import (
    child,
    find_root,
    folders,
    read_lines,
    tree_files,
)
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import LabelError
from voxstrata.types import Segment

PARTS = (
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean-2",
    "train-clean-5",
)
LAYOUT = (
    "a folder with dev-clean, train-clean-100, ... each SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac "
    "and SPEAKER-CHAPTER.trans.txt, and SPEAKERS.TXT (LibriSpeech/ of the archives)"
)
SILENT = frozenset({"", "sp", "spn"})
"""Labels of the alignments that stand for no phone (``sil`` is kept, as ``SIL``)."""


def fold_phone(label: str) -> str | None:
    """A phone of the published alignments as one of 39 ARPAbet phones or ``SIL``.

    The stress digit goes; ``sp``, ``spn`` and empty labels give ``None`` (P2023 drops them).

    Example: ``"AH0"`` gives ``"AH"``.
    """
    bare = re.sub(r"[0-9]$", "", label.strip())
    if bare.lower() in SILENT:
        return None
    return bare.upper()


def alignment_tiers(words: Sequence[Segment], phones: Sequence[Segment]) -> dict[str, Any]:
    """Tiers ``words`` (without the empty ones), ``phones`` and ``phones_raw`` (as published)."""
    folded = [
        Segment(p.start_s, p.end_s, label)
        for p in phones
        if (label := fold_phone(p.label)) is not None
    ]
    return {
        "words": [w for w in words if w.label.strip() not in ("", "<eps>")],
        "phones": folded,
        "phones_raw": [p for p in phones if p.label.strip()],
    }


def alignment_root(root: Path) -> Path | None:
    """Where the TextGrids (Zenodo 2619474) lie: among the audio, or in a folder in or beside
    the corpus whose name has "align" in it; ``None`` where there are none."""
    places = [root]
    for near in (root, root.parent):
        places += [p for p in folders(near) if "align" in p.name.lower()]
    for place in places:
        for part in PARTS:
            if (place / part).is_dir() and next((place / part).glob("*/*/*.TextGrid"), None):
                return place
            deeper = place / "LibriSpeech" / part
            if deeper.is_dir() and next(deeper.glob("*/*/*.TextGrid"), None):
                return place / "LibriSpeech"
    return None


def read_speakers(path: Path, job: Job) -> dict[str, str]:
    """Gender by speaker from ``SPEAKERS.TXT`` (``ID | SEX | SUBSET | MINUTES | NAME``)."""
    found = {}
    for line in read_lines(path):
        if line.startswith(";"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        sex = gender(cells[1]) if len(cells) > 1 else None
        if sex is None:
            job.problem(path, f"line without a speaker's sex, ignored: {line[:60]}")
            continue
        found[cells[0]] = sex
    return found


@dataclass
class _Reader:
    """Reads one corpus root."""

    job: Job
    root: Path
    genders: dict[str, str]
    alignments: Path | None
    without: dict[str, int] = field(default_factory=dict)

    def rows(self, part: str) -> Iterator[Row]:
        """Rows of one part: transcript by transcript, then what has no transcript."""
        place = self.root / part
        listed: set[Path] = set()
        flacs: list[Path] = []
        for path in tree_files(
            place, (".flac", ".trans.txt"), self.job.problem, known=(".textgrid", ".alignment.txt")
        ):
            if path.suffix.lower() == ".flac":
                flacs.append(path)
                continue
            for line in read_lines(path):
                id, _, text = line.partition(" ")
                audio = child(path.parent, f"{id}.flac")
                if audio is None:
                    self.job.problem(
                        path.parent / f"{id}.flac", f"{id} left out: the recording is missing"
                    )
                    continue
                listed.add(audio)
                if not text.strip():
                    self.job.problem(path, f"{id} has no words in its transcript")
                yield Row(id, audio, self._tiers(part, id, text.strip(), audio))
        for audio in flacs:
            if audio not in listed:
                self.job.problem(audio, f"{audio.stem} left out: no transcript line")
        if part in self.without:
            self.job.problem(
                self.alignments or place,
                f"{self.without[part]} utterance(s) of {part} have no alignment",
            )

    def _tiers(self, part: str, id: str, text: str, audio: Path) -> dict[str, Any]:
        speaker = id.split("-")[0]
        if self.genders and speaker not in self.genders:
            self.job.problem(
                audio.parent.parent, f"speaker {speaker} is not in SPEAKERS.TXT: no gender"
            )
        tiers: dict[str, Any] = {
            "speaker": speaker,
            "gender": self.genders.get(speaker),
            "text": text,
            "language": "English",
            "chapter": audio.parent.name,
        }
        if self.alignments is not None:
            grid = self.alignments / part / speaker / audio.parent.name / f"{id}.TextGrid"
            if not grid.is_file():
                self.without[part] = self.without.get(part, 0) + 1
            else:
                try:
                    tiers.update(read_alignment(grid))
                except LabelError as error:
                    self.job.problem(grid, f"alignment of {id} left out: {error.what}")
        return tiers


def read_alignment(grid: Path) -> dict[str, Any]:
    """Tiers of one published TextGrid (interval tiers ``words`` and ``phones``).

    Raises:
        LabelError: it is not a TextGrid.
    """
    from voxstrata.corpora.alignments.textgrid import read_textgrid

    found = {name.strip().lower(): spans for name, spans in read_textgrid(grid).items()}
    return alignment_tiers(found.get("words", ()), found.get("phones", ()))


class LibriSpeech:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "librispeech"
    title = "LibriSpeech"
    licence = "CC BY 4.0 (alignments: CC BY 4.0)"
    homepage = "https://www.openslr.org/12 (alignments: https://zenodo.org/records/2619474)"
    summary = "read English, with published phone alignments if present"
    parts: tuple[str, ...] = PARTS
    tiers: tuple[str, ...] = (
        "speaker", "gender", "text", "language", "chapter", "words", "phones", "phones_raw",
    )  # fmt: skip

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare what ``source`` holds; given the folder of one part, only that part."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: any((place / part).is_dir() for part in PARTS),
            corpus=self.title,
            layout=LAYOUT,
            names=("LibriSpeech",),
        )
        only = job.source.resolve().name if job.source.resolve().parent == root else None
        genders: dict[str, str] = {}
        table = child(root, "SPEAKERS.TXT")
        if table is None:
            job.problem(root / "SPEAKERS.TXT", "missing: no genders")
        else:
            genders = read_speakers(table, job)
        alignments = alignment_root(root)
        job.details = {"root": str(root), "alignments": str(alignments) if alignments else None}
        reader = _Reader(job, root, genders, alignments)
        for part in PARTS:
            if only in PARTS and parts is None and part != only:
                continue
            if (root / part).is_dir() and job.wants(part):
                job.write(part, reader.rows(part))
            elif job.asked is not None and part in job.asked:
                job.problem(root / part, "this part is not there")
        return job.finish(LAYOUT)


RECIPE = LibriSpeech()
