"""VoxCeleb2, converted from its AAC files to something libsndfile reads.

lhotse's ``prepare_voxceleb`` reads the ``.m4a`` files through ffmpeg, a process a file, stops
at the first unknown speaker, and merges dev and test. We read converted files only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from voxstrata.corpora.recipes._common import Job, Row, gender
from voxstrata.corpora.recipes._files import child, find_root, read_table
from voxstrata.corpora.recipes.voxceleb1 import beside, holds_speakers, utterances
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import CorpusError

SETS = ("dev", "test")
KINDS = ("wav", "flac", "ogg", "aac")
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")
LAYOUT = (
    "a folder with dev/aac/idNNNNN/VIDEO/NNNNN.wav and test/aac/... (or dev/wav, dev/flac, ...: "
    "converted from the published .m4a), and vox2_meta.csv"
)
CONVERT = (
    "AAC (.m4a) cannot be read here; convert once, keeping the folders: find . -name '*.m4a' "
    '-print0 | xargs -0 -P 8 -I{} sh -c \'ffmpeg -loglevel error -n -i "$1" -ac 1 -ar 16000 '
    '"${1%.m4a}.flac"\' _ {}'
)


def audio_places(root: Path) -> list[tuple[str, Path]]:
    """Folders that hold speakers, with their set; every kind of audio that is there."""
    found = []
    for part in SETS:
        names = [f"{part}/{kind}" for kind in KINDS]
        names += [f"vox2_{part}_{kind}/{part}/{kind}" for kind in KINDS]
        names += [f"vox2_{part}_{kind}/{kind}" for kind in KINDS] + [part]
        for name in names:
            place = child(root, name)
            if place is not None and holds_speakers(place, range(1, 10_001)):
                found.append((part, place))
    return found


class VoxCeleb2:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "voxceleb2"
    title = "VoxCeleb2"
    licence = "CC BY 4.0 for the annotations; copyright of the videos stays with their owners"
    homepage = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html"
    summary = "more celebrity interviews (converted from m4a)"
    parts: tuple[str, ...] = SETS
    tiers: tuple[str, ...] = ("speaker", "gender", "video", "set")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the converted recordings; ``.m4a`` without a conversion is reported."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: bool(audio_places(place)),
            corpus=self.title,
            layout=LAYOUT,
            names=("VoxCeleb2", "voxceleb2"),
        )
        job.details = {"root": str(root)}
        genders = self._genders(job, root)
        places = audio_places(root)
        kept = 0
        for part in SETS:
            if job.wants(part):
                here = [p for p in places if p[0] == part]
                kept += job.write(part, self._rows(job, here, genders))
                self._unconverted(job, part, here)
        if not kept and any(next(p.rglob("*.m4a"), None) for _, p in places):
            raise CorpusError(
                f"{self.title}: {root} holds only AAC files",
                got="*.m4a",
                expected=", ".join("*" + s for s in AUDIO),
                fix=CONVERT,
            )
        return job.finish(LAYOUT)

    def _genders(self, job: Job, root: Path) -> dict[str, str | None]:
        path = beside(root, "vox2_meta.csv")
        if path is None:
            job.problem(root / "vox2_meta.csv", "missing: no genders")
            return {}
        try:
            table = read_table(path, job.problem, needed=("VoxCeleb2 ID", "Gender"))
        except CorpusError:
            # Some copies write the header with underscores.
            table = read_table(path, job.problem, needed=("VoxCeleb2_ID", "Gender"))
        return {r.get("VoxCeleb2 ID") or r["VoxCeleb2_ID"]: gender(r["Gender"]) for r in table}

    def _rows(
        self,
        job: Job,
        places: Sequence[tuple[str, Path]],
        genders: dict[str, str | None],
    ) -> Iterator[Row]:
        for part, id, path in utterances(job, places, AUDIO):
            speaker = path.parent.parent.name
            if genders and speaker not in genders:
                job.problem(path.parent.parent, f"speaker {speaker} is not in vox2_meta.csv")
            yield Row(
                id,
                path,
                {
                    "speaker": speaker,
                    "gender": genders.get(speaker),
                    "video": path.parent.name,
                    "set": part,
                },
            )

    def _unconverted(self, job: Job, part: str, places: Sequence[tuple[str, Path]]) -> None:
        stems: dict[tuple[str, ...], set[str]] = {}
        for _, place in places:
            for path in place.glob("*/*/*.*"):
                key = (path.parent.parent.name, path.parent.name, path.stem)
                stems.setdefault(key, set()).add(path.suffix.lower())
        only = sum(1 for kinds in stems.values() if kinds == {".m4a"})
        if only and len(stems) > only:
            job.problem(places[0][1], f"{only} recording(s) of {part} are not converted. {CONVERT}")


RECIPE = VoxCeleb2()
