"""Everything that is wrong with a study, found before anything runs, told in one go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voxstrata.config import Config
from voxstrata.errors import ConfigError, UsageError, VoxstrataError
from voxstrata.registry import unknown_name
from voxstrata.results import RECORD, TABLE
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.jobs.job import JOBS, Job
from voxstrata.studies.load import Source
from voxstrata.studies.lookup import Lookup
from voxstrata.studies.named import Named
from voxstrata.studies.plan import Part, Study, folder_of, seeds_of
from voxstrata.studies.problems import Problem, line_of, of_item, told
from voxstrata.studies.settings import LONGEST, NAME, StudyConfig


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
    _choices(config, source, found)
    named = Named(config, source, found.problems)
    named.specs()
    study, doubtful = _study(config, source, out, found, named)
    _prepare(study, doubtful, source, found, named, afresh)
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


def _choices(config: StudyConfig, source: Source, found: Checked) -> None:
    """Names that are the study's own: claims, papers, sections of the page."""
    from voxstrata.references.bibliography import bibliography
    from voxstrata.references.used import cited, keys_called
    from voxstrata.report.section import SECTIONS
    from voxstrata.report.study_page import OWN

    works = [*cited().called, *bibliography()]
    sections = [*OWN, *SECTIONS.names()]
    for kind, key, names, known in (
        ("claim", "claims", config.claims, CLAIMS.names()),
        ("work", "cites", config.cites, [name for name in works if keys_called(name)]),
        ("section of the page", "report.sections", config.report.sections or (), sections),
    ):
        for name in names:
            if name not in known:
                found.problems.append(told(unknown_name(kind, name, known), key, source))


RESERVED = ("claims.json", "report.html", "results.csv", TABLE, RECORD, "study.yaml")
"""Files that a study writes beside the folders of its analyses."""


def _study(
    config: StudyConfig, source: Source, out: Path, found: Checked, named: Named
) -> tuple[Study, set[str]]:
    """The study, and names of analyses in which some name or corpus is wrong."""
    parts: list[Part] = []
    doubtful: set[str] = set()
    lookup = Lookup(config, source, problems=found.problems, notes=found.notes)
    analyses = dict(config.analyses)
    for name, analysis in config.analyses.items():
        where = f"analyses.{name}"
        folder = _folder_name(name, where, source, found)
        try:
            job = JOBS.get(analysis.job)
        except UsageError as error:
            found.problems.append(told(error, f"{where}.job", source))
            continue
        values = lookup.settings(name, analysis, job)
        used = {str(analysis.settings.get(field, "")) for field in job.corpora}
        if used & source.changed:  # said in the study, so that what is written runs by itself
            analyses[name] = analysis.model_copy(update={"missing": "skip"})
        lenient = analyses[name].missing == "skip"
        ready = not named.broken & set(named.models(job, values))
        for seed in seeds_of(config, analysis):
            given = values if seed is None else {**values, "seed": seed}
            settings, sure = _built(job, given, where, source, found)
            ready &= named.names(where, job, given, settings) and sure
            if settings is None:
                ready = False
                break
            place = folder_of(out, folder, seed, config.seeds[0])
            if folder == name and any(place == part.folder for part in parts):
                what = f"its folder {place.name!r} is another analysis's"
                fix = "give one of the two another name"
                found.problems.append(Problem(where, what, "", fix, line_of(source, where)))
            parts.append(Part(name, seed, job, settings, place, lenient))
        keys = [f"{where}.{key}" for key in job.corpora]
        if not ready or any(one.where in keys for one in found.problems):
            doubtful.add(name)
            named.contents(name, analysis, job, values)
            if settings is not None:
                named.inside(where, job, settings)
    config = config.model_copy(update={"analyses": analyses})
    return Study(config, source.name, source.scale, tuple(parts)), doubtful


def _folder_name(name: str, where: str, source: Source, found: Checked) -> str:
    """The name of an analysis, which its folder has too; another where that cannot be."""
    odd = ""
    if not re.fullmatch(NAME, name) or len(name) > LONGEST:
        odd = f"at most {LONGEST} letters, digits, dots, hyphens and underscores, no mark first"
    elif name.lower() in RESERVED:
        odd = "a name that no file of the study has"
    if odd:
        what = f"an analysis cannot be called {name!r}, as its folder is too"
        found.problems.append(Problem(where, what, odd, "rename it", line_of(source, where)))
    return "analysis" if odd else name


def _built(
    job: Job, values: Mapping[str, Any], where: str, source: Source, found: Checked
) -> tuple[Config | None, bool]:
    """Settings of a job, without what is wrong in them, so that the job can check the rest.

    Returns:
        the settings, if any; whether they name what was meant.
    """
    left, sure = dict(values), True
    named = {*job.names, *job.corpora}
    meant: set[str] = set()  # keys that are there, misspelt
    for _ in _LEVELS:
        try:
            return job.settings.model_validate(left), sure
        except ValidationError as error:
            for item in sorted(error.errors(), key=lambda one: one["type"] == "missing"):
                path = [str(part) for part in item["loc"]]
                problem = of_item(item, job.settings, path, source, above=where)
                if item["type"] == "extra_forbidden":
                    meant |= {key for key in job.settings.model_fields if f"'{key}'" in problem.fix}
                follows = (path and path[0] in meant) or (not path and len(left) < len(values))
                told_before = any(problem.where == one.where for one in found.problems)
                if not (follows or told_before):
                    found.problems.append(problem)
                sure &= bool(path) and path[0] not in named
                if path:
                    left.pop(path[0], None)
            sure &= not meant & named
    return None, False


def _prepare(
    study: Study, doubtful: set[str], source: Source, found: Checked, named: Named, afresh: bool
) -> None:
    """Let every job check itself: models, corpora, labels; nothing is computed."""
    for position, part in enumerate(study.parts):
        if part.name in doubtful:
            continue
        where = f"analyses.{part.name}"
        values = part.settings.model_dump()
        try:
            prepared = part.job.prepare(part.settings, part.folder, afresh)
        except VoxstrataError as error:
            # It stops at the first of what may be several.
            named.contents(part.name, study.config.analyses[part.name], part.job, values)
            named.inside(where, part.job, part.settings)
            problem = told(error, where, source)
            if not any(problem.what == one.what for one in found.problems):
                found.problems.append(problem)
            continue
        found.prepared[position] = prepared
        named.fine(part.job, values)
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
