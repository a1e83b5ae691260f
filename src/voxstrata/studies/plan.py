"""A study made ready: every analysis with its job, settings and folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxstrata.config import Config
from voxstrata.studies.jobs.job import Job
from voxstrata.studies.settings import Analysis, StudyConfig


@dataclass(frozen=True, eq=False)  # a key of what it brought
class Part:
    """One analysis with one seed.

    Attributes:
        name: of the analysis.
        seed: of the study; ``None`` where the analysis names its own.
        job: what runs.
        settings: of the job.
        folder: where its results go.
        lenient: leave out what the corpus has not the labels for, instead of stopping.
    """

    name: str
    seed: int | None
    job: Job
    settings: Config
    folder: Path
    lenient: bool


@dataclass(frozen=True)
class Study:
    """A checked study.

    Attributes:
        config: as the file has it, at its scale.
        source: name or file.
        scale: "" where the study has none.
        parts: in the order of the file, seed by seed.
    """

    config: StudyConfig
    source: str
    scale: str
    parts: tuple[Part, ...]

    @property
    def specs(self) -> dict[str, str]:
        """Model specs by name."""
        return {name: entry.spec for name, entry in self.config.models.items()}

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Model specs by role; a model's own name is a role of it."""
        found: dict[str, list[str]] = {}
        for name, entry in self.config.models.items():
            for role in dict.fromkeys((name, *entry.roles)):
                found.setdefault(role, []).append(entry.spec)
        return {role: tuple(dict.fromkeys(specs)) for role, specs in found.items()}


def seeds_of(config: StudyConfig, analysis: Analysis) -> tuple[int | None, ...]:
    """Seeds of an analysis: the study's, or ``None`` for the one of its own."""
    return (None,) if "seed" in analysis.settings else config.seeds


def folder_of(out: Path, name: str, seed: int | None, first: int) -> Path:
    """Folder of an analysis; a seed that is not the study's first is in its name, so that more
    seeds can be asked for later."""
    return out / (name if seed in (None, first) else f"{name}-seed{seed}")
