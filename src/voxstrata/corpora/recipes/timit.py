"""TIMIT: hand-labelled phones and words, in any casing, NIST SPHERE or converted.

lhotse's lists of development and core-test speakers and its foldings to 48 and 39 phones are
used; its ``prepare_timit`` is not, because it needs ``data/TRAIN`` and upper-case file names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import (
    child,
    find_root,
    folders,
    read_lines,
    report_strays,
)
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.types import SAMPLE_RATE, Segment

PARTS = ("train", "dev", "core-test", "test")
LABELS = (".phn", ".wrd", ".txt")
AUDIO = (".wav", ".wav.wav", ".flac", ".sph")
"""Endings of recordings, best first: Kaggle's copy has ``SA1.WAV`` and ``SA1.WAV.wav``."""
KINDS = {"sa": "dialect", "si": "diverse", "sx": "compact"}
LAYOUT = (
    "a folder with TRAIN/ and TEST/ (any casing), each DR1..DR8/SPEAKER/SENTENCE.WAV, .PHN, "
    ".WRD, .TXT (TIMIT/ of the LDC's disc)"
)


def read_spans(path: Path, job: Job) -> list[Segment]:
    """Lines ``START END LABEL`` in samples of 16 kHz as seconds; malformed lines reported."""
    spans = []
    for line in read_lines(path):
        cells = line.split(None, 2)
        if len(cells) != 3 or not (cells[0].isdigit() and cells[1].isdigit()):
            job.problem(path, f"malformed line, ignored: {line[:60]}")
            continue
        spans.append(
            Segment(int(cells[0]) / SAMPLE_RATE, int(cells[1]) / SAMPLE_RATE, cells[2].lower())
        )
    return spans


def fold(spans: Sequence[Segment], table: dict[str, str]) -> list[Segment]:
    """Phones folded by ``table``; those folded to nothing (the glottal stop) are left out."""
    pairs = [(s, table.get(s.label, s.label)) for s in spans]
    return [Segment(s.start_s, s.end_s, label) for s, label in pairs if label]


class Timit:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "timit"
    title = "TIMIT"
    licence = "LDC user agreement (LDC93S1)"
    homepage = "https://catalog.ldc.upenn.edu/LDC93S1"
    summary = "hand-labelled phones and words"
    parts: tuple[str, ...] = PARTS
    on_request: tuple[str, ...] = ("test",)
    tiers: tuple[str, ...] = (
        "speaker", "gender", "dialect", "text", "language", "sentence", "sentence_type",
        "words", "phones", "phones48", "phones39",
    )  # fmt: skip

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the training set, the 50 development and 24 core-test speakers; named, also
        the whole ``test`` set of 168 speakers, which those two are taken from."""
        from lhotse.recipes.timit import get_phonemes, get_speakers

        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda p: any(_has_dialects(child(p, name)) for name in ("train", "test")),
            corpus=self.title,
            layout=LAYOUT,
            names=("TIMIT", "data", "timit/timit", "timit/data"),
        )
        job.details = {"root": str(root)}
        dev, core = (set(names) for names in get_speakers())
        self._tables = {f"phones{n}": get_phonemes(n) for n in (48, 39)}
        rows: dict[str, list[Row]] = {"train": [], "test": []}
        for name, found in rows.items():
            place = child(root, name)
            if place is None:
                job.problem(root / name.upper(), "missing")
            elif any(job.wants(p) for p in PARTS if (p == "train") == (name == "train")):
                found.extend(self._rows(job, place))
        chosen = {
            "train": rows["train"],
            "dev": [r for r in rows["test"] if r.tiers["speaker"].lower() in dev],
            "core-test": [r for r in rows["test"] if r.tiers["speaker"].lower() in core],
            "test": rows["test"],
        }
        for part, some in chosen.items():
            if job.wants(part) and (some or job.asked):
                job.write(part, some)
        return job.finish(LAYOUT)

    def _rows(self, job: Job, place: Path) -> Iterator[Row]:
        for region in folders(place):
            if not _is_dialect(region):
                job.problem(region, "not a dialect region DR1 to DR8, ignored")
                continue
            for speaker in folders(region):
                if speaker.name[:1].upper() not in ("M", "F"):
                    job.problem(speaker, "not a speaker (M.. or F..), ignored")
                    continue
                yield from self._speaker(job, region.name.lower(), speaker)

    def _speaker(self, job: Job, dialect: str, folder: Path) -> Iterator[Row]:
        files: dict[str, dict[str, Path]] = {}
        strays = []
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            stem, _, ending = path.name.lower().partition(".")
            if not stem or f".{ending}" not in (*AUDIO, *LABELS):
                strays.append(path.name)
            else:
                files.setdefault(stem, {}).setdefault(f".{ending}", path)
        if strays:
            report_strays(folder, strays, job.problem)
        for stem, kinds in files.items():
            audio = next((kinds[e] for e in AUDIO if e in kinds), None)
            name = f"{folder.name}-{stem}".upper()
            if audio is None:
                job.problem(folder / f"{stem.upper()}.WAV", f"{name} left out: no recording")
                continue
            yield Row(name, audio, self._tiers(job, name, dialect, folder, stem, kinds))

    def _tiers(
        self, job: Job, name: str, dialect: str, folder: Path, stem: str, kinds: dict[str, Path]
    ) -> dict[str, Any]:
        for ending in LABELS:
            if ending not in kinds:
                job.problem(folder / f"{stem.upper()}{ending.upper()}", f"missing for {name}")
        phones = read_spans(kinds[".phn"], job) if ".phn" in kinds else []
        text = " ".join(read_lines(kinds[".txt"])) if ".txt" in kinds else ""
        return {
            "speaker": folder.name.upper(),
            "gender": folder.name[0].upper(),
            "dialect": dialect,
            # "0 46797 She had your dark suit ...": first and last sample come first.
            "text": text.split(None, 2)[2] if len(text.split(None, 2)) == 3 else text,
            "language": "English",
            "sentence": stem,
            "sentence_type": KINDS.get(stem[:2]),
            "words": read_spans(kinds[".wrd"], job) if ".wrd" in kinds else [],
            "phones": phones,
            **{tier: fold(phones, table) for tier, table in self._tables.items()},
        }


def _is_dialect(folder: Path) -> bool:
    return folder.name.lower() in {f"dr{n}" for n in range(1, 9)}


def _has_dialects(place: Path | None) -> bool:
    return place is not None and any(_is_dialect(p) for p in folders(place))


RECIPE = Timit()
