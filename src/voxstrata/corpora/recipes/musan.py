"""MUSAN: music, speech and noise, whole recordings, for augmentation.

lhotse's ``prepare_musan`` is the reference in our tests but is not called: a music annotation
without its recording, or one broken file, stops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import find_root, read_lines, tree_files
from voxstrata.corpora.registry import PrepareReport, Progress

PARTS = ("music", "speech", "noise")
KNOWN = ("annotations", "license", "readme", "readme.txt")
LAYOUT = "a folder with music/, speech/ and noise/, each SOURCE/*.wav (musan/ of the archive)"


class Musan:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "musan"
    title = "MUSAN"
    licence = "CC BY 4.0 (single recordings: see their LICENSE files)"
    homepage = "https://www.openslr.org/17"
    summary = "music, speech and noise, for augmentation"
    parts: tuple[str, ...] = PARTS
    tiers: tuple[str, ...] = ("kind", "origin", "speaker", "genres", "vocals")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the three kinds of sound."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: sum((place / part).is_dir() for part in PARTS) >= 2,
            corpus=self.title,
            layout=LAYOUT,
            names=("musan", "MUSAN"),
        )
        job.details = {"root": str(root)}
        for part in PARTS:
            if not job.wants(part):
                continue
            if (root / part).is_dir():
                job.write(part, self._rows(job, root / part))
            else:
                job.problem(root / part, "this part is not there")
        return job.finish(LAYOUT)

    def _rows(self, job: Job, place: Path) -> Iterator[Row]:
        music = self._music(job, place) if place.name == "music" else {}
        seen = set()
        for path in tree_files(place, (".wav", ".flac"), job.problem, known=KNOWN):
            seen.add(path.stem)
            tiers = {"kind": place.name, "origin": path.parent.name}
            yield Row(path.stem, path, {**tiers, **music.get(path.stem, {})})
        for id in sorted(set(music) - seen):
            job.problem(place / id, "annotated, but the recording is missing")

    def _music(self, job: Job, place: Path) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = {}
        for path in sorted(place.rglob("ANNOTATIONS")):
            for line in read_lines(path):
                cells = line.split()
                if len(cells) < 4:
                    job.problem(path, f"annotation of {cells[0]} is incomplete, ignored")
                    continue
                id, genres, vocals, musician = cells[:4]
                found[id] = {
                    "genres": genres.split(","),
                    "vocals": vocals == "Y",
                    "speaker": musician,
                }
        return found


RECIPE = Musan()
