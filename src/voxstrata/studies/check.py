"""Everything that is wrong with a study, found before anything runs, told in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voxstrata.config import Config
from voxstrata.errors import ConfigError, UsageError, VoxstrataError
from voxstrata.registry import unknown_name
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.jobs.job import JOBS, Job
from voxstrata.studies.load import Source
from voxstrata.studies.lookup import Lookup
from voxstrata.studies.plan import Part, Study, folder_of, seeds_of
from voxstrata.studies.problems import Problem, line_of, of_item, told
from voxstrata.studies.settings import StudyConfig


@dataclass
class Checked:
    """What checking brought.

    Attributes:
        study: what could be made ready.
        problems: what must be mended.
        notes: what is left out or worth knowing, and does not stop the study.
        prepared: plans of the parts, by position.
    """

    study: Study | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prepared: dict[int, Any] = field(default_factory=dict)


def check(source: Source, out: Path, *, afresh: bool = False) -> Checked:
    """Check a study: its keys, names, settings, models, corpora and their labels.

    Args:
        source: as read.
        out: output folder of the study.
        afresh: what is in ``out`` will be deleted.
    """
    found = Checked()
    config = _config(source, found)
    if config is None:
        return found
    _claims(config, source, found)
    _specs(config, source, found)
    study = _study(config, source, out, found)
    _prepare(study, source, found, afresh)
    found.study = study
    return found


def checked(source: Source, out: Path, *, afresh: bool = False) -> Checked:
    """As :func:`check`, and refuses a study with problems.

    Raises:
        ConfigError: there are some; all are told.
    """
    found = check(source, out, afresh=afresh)
    if found.problems:
        told = [f"{i}. {one.text()}" for i, one in enumerate(found.problems, start=1)]
        count = len(told)
        raise ConfigError(
            f"the study {source.name} cannot run: "
            f"{count} problem{'s' if count > 1 else ''}\n  " + "\n  ".join(told),
            fix="mend them and try again with --dry-run; nothing was computed",
        )
    return found


def _config(source: Source, found: Checked) -> StudyConfig | None:
    """The study without what is wrong in it, so that the rest can be checked too."""
    raw: Any = _copy(source.raw)
    for _ in range(len(_LEVELS)):
        try:
            return StudyConfig.model_validate(raw)
        except ValidationError as error:
            for item in error.errors():
                problem = of_item(item, StudyConfig, [str(part) for part in item["loc"]], source)
                if not any(problem.where == one.where for one in found.problems):
                    found.problems.append(problem)
                _drop(raw, item["loc"])
                if item["loc"] and item["loc"][0] == "name":
                    raw["name"] = "study"
    return None


_LEVELS = ("study", "model or analysis", "setting", "value")
"""What is wrong is taken away, at most this deep; a study that is still not one is not checked
further."""


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _drop(raw: Any, path: Iterable[Any]) -> None:
    """Take away what is at a path, or the nearest thing above it."""
    *above, last = list(path)
    at = raw
    for part in above:
        step = at.get(part) if isinstance(at, dict) else None
        if not isinstance(step, dict):
            if isinstance(at, dict):
                at.pop(part, None)
            return
        at = step
    if isinstance(at, dict):
        at.pop(last, None)


def _claims(config: StudyConfig, source: Source, found: Checked) -> None:
    for name in config.claims:
        if name not in CLAIMS:
            error = unknown_name("claim", name, CLAIMS.names())
            found.problems.append(told(error, "claims", source))


def _specs(config: StudyConfig, source: Source, found: Checked) -> None:
    """Names of models, once for all analyses; nothing is loaded."""
    from voxstrata.models.load import find_family
    from voxstrata.models.spec import parse

    for name, entry in config.models.items():
        try:
            find_family(parse(entry.spec))
        except VoxstrataError as error:
            found.problems.append(told(error, f"models.{name}", source))


def _study(config: StudyConfig, source: Source, out: Path, found: Checked) -> Study:
    parts: list[Part] = []
    lookup = Lookup(config, source, problems=found.problems, notes=found.notes)
    for name, analysis in config.analyses.items():
        where = f"analyses.{name}"
        try:
            job = JOBS.get(analysis.job)
        except UsageError as error:
            found.problems.append(told(error, f"{where}.job", source))
            continue
        values = lookup.settings(name, analysis, job)
        for seed in seeds_of(config, analysis):
            given = values if seed is None else {**values, "seed": seed}
            settings = _built(job, given, where, source, found)
            if settings is None or any(
                one.where in [f"{where}.{key}" for key in job.corpora] for one in found.problems
            ):
                break  # without its recordings nothing more can be checked
            folder = folder_of(out, name, seed, config.seeds[0])
            used = {str(analysis.settings.get(field, "")) for field in job.corpora}
            lenient = analysis.missing == "skip" or bool(used & source.changed)
            parts.append(Part(name, seed, job, settings, folder, lenient))
    return Study(config, source.name, source.scale, tuple(parts))


def _built(
    job: Job, values: Mapping[str, Any], where: str, source: Source, found: Checked
) -> Config | None:
    """Settings of a job, without what is wrong in them, so that the job can check the rest."""
    left = dict(values)
    for _ in _LEVELS:
        try:
            return job.settings.model_validate(left)
        except ValidationError as error:
            for item in error.errors():
                path = [str(part) for part in item["loc"]]
                problem = of_item(item, job.settings, path, source, above=where)
                if not any(problem.where == one.where for one in found.problems):
                    found.problems.append(problem)
                if path:
                    left.pop(path[0], None)
    return None


def _prepare(study: Study, source: Source, found: Checked, afresh: bool) -> None:
    """Let every job check itself: names, models, corpora, labels; nothing is computed."""
    for position, part in enumerate(study.parts):
        where = f"analyses.{part.name}"
        try:
            prepared = part.job.prepare(part.settings, part.folder, afresh)
        except VoxstrataError as error:
            problem = told(error, where, source)
            if not any(problem.what == one.what for one in found.problems):
                found.problems.append(problem)
            continue
        found.prepared[position] = prepared
        for name, reason in part.job.missing(prepared):
            if part.lenient:
                found.notes.append(f"{part.name}: {name} is left out: {reason}")
                continue
            problem = Problem(
                where,
                f"{name} cannot be done: {reason}",
                "a corpus with what it needs",
                "take it out, name another corpus, or say `missing: skip`",
                line_of(source, where),
            )
            if problem not in found.problems:
                found.problems.append(problem)
