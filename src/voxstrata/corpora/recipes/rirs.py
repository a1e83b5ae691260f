"""RIRS_NOISES: room impulse responses and noises, for augmentation.

lhotse's ``prepare_rir_noise`` is not used: one broken file stops it, and it takes a real
recording for an impulse response only if its name has "rir" in it, which leaves out the
Aachen ones (``air_type1_air_...``: 107 of 325).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import find_root, tree_files
from voxstrata.corpora.registry import PrepareReport, Progress

FOLDERS = {
    "point_noise": "pointsource_noises",
    "iso_noise": "real_rirs_isotropic_noises",
    "real_rir": "real_rirs_isotropic_noises",
    "sim_rir": "simulated_rirs",
}
ROOMS = {"smallroom": "small", "mediumroom": "medium", "largeroom": "large"}
KNOWN = ("rir_list", "noise_list", "room_info", "readme", "license", ".txt", ".md", ".sh")
LAYOUT = (
    "a folder with pointsource_noises/, real_rirs_isotropic_noises/ and simulated_rirs/ "
    "(RIRS_NOISES/ of the archive)"
)


class Rirs:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "rirs"
    title = "RIRS_NOISES"
    licence = "Apache 2.0"
    homepage = "https://www.openslr.org/28"
    summary = "room impulse responses and noises, for augmentation"
    parts: tuple[str, ...] = tuple(FOLDERS)
    tiers: tuple[str, ...] = ("kind", "origin", "room", "room_size")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare noises and impulse responses; real ones may have several channels."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: any((place / name).is_dir() for name in FOLDERS.values()),
            corpus=self.title,
            layout=LAYOUT,
            names=("RIRS_NOISES",),
        )
        job.details = {"root": str(root)}
        for part, name in FOLDERS.items():
            if not job.wants(part):
                continue
            if (root / name).is_dir():
                job.write(part, self._rows(job, part, root / name))
            else:
                job.problem(root / name, f"missing: no part {part}")
        return job.finish(LAYOUT)

    def _rows(self, job: Job, part: str, place: Path) -> Iterator[Row]:
        for path in tree_files(place, (".wav",), job.problem, known=KNOWN):
            noise = "noise" in path.stem.lower()
            if place.name == "real_rirs_isotropic_noises" and noise != (part == "iso_noise"):
                continue
            tiers: dict[str, Any] = {"kind": part}
            id = path.stem
            if part == "sim_rir":
                # File names are the same in the three sizes of rooms (lhotse's ids likewise).
                inner = path.relative_to(place).parts
                tiers["room_size"] = ROOMS.get(inner[0])
                if tiers["room_size"] is None or len(inner) < 3:
                    job.problem(path, "not at smallroom|mediumroom|largeroom/ROOM/, ignored")
                    continue
                tiers["room"] = inner[1]
                id = f"{tiers['room_size']}-{path.stem}"
            elif part != "point_noise":
                tiers["origin"] = path.stem.split("_")[0]
            yield Row(id, path, tiers)


RECIPE = Rirs()
