"""LibriMix as its scripts write it, with speaker turns.

lhotse's ``prepare_librimix`` does another thing: it mixes LibriSpeech and WHAM! recordings on
the fly, from manifests of both. We read the mixtures that lie on disk.

Both sources of a mixture begin at its first sample, so a speaker's turns are the voiced spans
of the source utterance. They come from the first of these that there is:

1. ``rttm``: RTTM files of LibriSpeech (``metadata/LibriSpeech/*.rttm``, the ones that SUPERB's
   speaker diarization is made from);
2. ``words``: the published TextGrid alignments of LibriSpeech, words with pauses up to 0.2 s
   between them joined;
3. ``energy``: the clean sources ``s1/``, ``s2/``, ..., by :mod:`._turns`.

The tier ``turns_from`` says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.audio import read_header
from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import child, find_root, read_table
from voxstrata.corpora.recipes._turns import join_spans, read_rttms, voiced_spans
from voxstrata.corpora.recipes.librispeech import PARTS as LIBRISPEECH
from voxstrata.corpora.recipes.librispeech import alignment_root, read_alignment
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import AudioError, LabelError
from voxstrata.types import Segment

SETS = ("train-100", "train-360", "dev", "test")
KINDS = ("mix_clean", "mix_both", "mix_single")
PARTS = {
    f"libri{n}mix-{name}-{kind}": (n, name, kind) for n in (2, 3) for name in SETS for kind in KINDS
}
LAYOUT = (
    "a folder with Libri2Mix/ or Libri3Mix/, each wav16k/max/{train-100,dev,test}/{mix_clean,"
    "mix_both,s1,s2}/*.wav and wav16k/max/metadata/mixture_*.csv"
)


def mixture_folder(root: Path, speakers: int) -> Path | None:
    """The best version there is: 16 kHz before 8, ``max`` before ``min``."""
    for rate in ("wav16k", "wav8k"):
        for mode in ("max", "min"):
            place = child(root, f"Libri{speakers}Mix/{rate}/{mode}")
            if place is not None and place.is_dir():
                return place
    return None


class _Turns:
    """Finds the turns of source utterances."""

    def __init__(self, job: Job, root: Path) -> None:
        self.job = job
        files: list[Path] = []
        for place in (root, root.parent):
            for inner in ("metadata/LibriSpeech", "LibriMix/metadata/LibriSpeech", "metadata"):
                folder = child(place, inner)
                if folder is not None and not files:
                    files = sorted(p for p in folder.glob("*.rttm") if p.name[0] != ".")
        self.rttm = read_rttms(files, job.problem)
        self.grids = alignment_root(root)
        job.details["turns"] = {
            "rttm": [str(p) for p in files],
            "alignments": str(self.grids) if self.grids else None,
        }

    def of(self, id: str, source: Path) -> tuple[str, list[Segment]]:
        """How the turns of one source utterance were found, and the turns.

        Raises:
            AudioError: nothing but the source recording could tell, and it cannot be read.
        """
        speaker, chapter = id.split("-")[:2]
        if id in self.rttm:
            return "rttm", join_spans(self.rttm[id], speaker, gap_s=0.0)
        if self.grids is not None:
            for part in LIBRISPEECH:
                path = self.grids / part / speaker / chapter / f"{id}.TextGrid"
                if path.is_file():
                    try:
                        words = read_alignment(path)["words"]
                    except LabelError as error:
                        self.job.problem(path, f"not used for turns: {error.what}")
                        break
                    return "words", join_spans(words, speaker)
        return "energy", voiced_spans(source, speaker)


class LibriMix:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "librimix"
    title = "LibriMix"
    licence = "CC BY 4.0 (LibriSpeech), noise CC BY-NC 4.0 (WHAM!)"
    homepage = "https://github.com/JorisCos/LibriMix"
    summary = "two or three LibriSpeech speakers at once, with turns"
    parts: tuple[str, ...] = tuple(PARTS)
    tiers: tuple[str, ...] = ("turns", "turns_from", "speakers", "sources", "speaker")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare each mixture set that is there, in its best version (16 kHz, ``max``)."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: any(mixture_folder(place, n) for n in (2, 3)),
            corpus=self.title,
            layout=LAYOUT,
        )
        # Given Libri2Mix itself, the folder above is the root; the other corpus is not meant.
        given = job.source.resolve()
        below = root in given.parents
        inner = given.relative_to(root).parts[0].lower() if below else None
        job.details = {"root": str(root)}
        turns = _Turns(job, root)
        for part, (speakers, name, kind) in PARTS.items():
            corpus = f"libri{speakers}mix"
            if not job.wants(part) or (inner and parts is None and inner != corpus):
                continue
            place = mixture_folder(root, speakers)
            if place is None or not (place / name / kind).is_dir():
                if job.asked is not None:
                    job.problem(f"{corpus}/{name}/{kind}", "this part is not there")
                continue
            if (place.parent.name, place.name) != ("wav16k", "max"):
                job.problem(place, "no 16 kHz max version is there: this one is taken")
            job.details[part] = str(place.relative_to(root))
            job.write(part, self._rows(job, place, name, kind, turns))
        return job.finish(LAYOUT)

    def _rows(self, job: Job, place: Path, name: str, kind: str, turns: _Turns) -> Iterator[Row]:
        folder = place / name / kind
        table = child(place, f"metadata/mixture_{name}_{kind}.csv")
        listed: dict[str, int] = {}
        if table is None:
            job.problem(
                place / "metadata" / f"mixture_{name}_{kind}.csv",
                "missing: mixtures are taken from the folder",
            )
            listed = {p.stem: 0 for p in sorted(folder.glob("*.wav")) if p.name[0] != "."}
        else:
            for line in read_table(table, job.problem, needed=("mixture_ID", "length")):
                try:
                    listed[line["mixture_ID"]] = int(float(line["length"]))
                except ValueError:
                    job.problem(table, f"{line['mixture_ID']}: no length, taken as it is")
                    listed[line["mixture_ID"]] = 0
            for path in sorted(folder.iterdir()):
                if path.stem not in listed or path.suffix != ".wav":
                    job.problem(path, "not in the metadata, ignored")
        for id, length in listed.items():
            row = self._row(job, place, name, kind, turns, id, length)
            if row is not None:
                yield row

    def _row(
        self, job: Job, place: Path, name: str, kind: str, turns: _Turns, id: str, length: int
    ) -> Row | None:
        audio = place / name / kind / f"{id}.wav"
        sources = id.split("_")
        if any(s.count("-") != 2 for s in sources):
            job.problem(audio, f"{id} left out: its name does not name its sources")
            return None
        if kind == "mix_single":
            sources = sources[:1]
        try:
            header = read_header(audio)
        except AudioError as error:
            job.problem(audio, f"{id} left out: {error.what}")
            return None
        if length and header.frames != length:
            job.problem(audio, f"{id} has {header.frames} samples, its metadata says {length}")
        found: list[Segment] = []
        ways = set()
        for number, utterance in enumerate(sources, 1):
            clean = place / name / f"s{number}" / f"{id}.wav"
            try:
                way, spans = turns.of(utterance, clean)
            except AudioError as error:
                job.problem(clean, f"{id} left out: no turns of {utterance}: {error.what}")
                return None
            ways.add(way)
            found += spans
        if place.name == "min":
            # The mixture ends with its shorter source; what follows was never mixed.
            end = header.duration_s
            found = [Segment(s.start_s, min(s.end_s, end), s.label) for s in found]
            found = [s for s in found if s.start_s < s.end_s]
        speakers = [s.split("-")[0] for s in sources]
        tiers: dict[str, Any] = {
            "turns": sorted(found, key=lambda s: (s.start_s, s.end_s)),
            "turns_from": "+".join(sorted(ways)),
            "speakers": speakers,
            "sources": sources,
        }
        if len(speakers) == 1:
            tiers["speaker"] = speakers[0]
        return Row(f"{kind}-{id}", audio, tiers)


RECIPE = LibriMix()
