"""Everything that is wrong with a study, found before anything runs, told in one go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voxstrata.config import Config, key_names, plain_message
from voxstrata.errors import ConfigError, UsageError, VoxstrataError
from voxstrata.registry import unknown_name
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.jobs.job import JOBS, Job
from voxstrata.studies.load import Source
from voxstrata.studies.plan import Part, Study, folder_of, seeds_of
from voxstrata.studies.settings import Analysis, ModelEntry, StudyConfig

OWN = {"models", "model", "study", "keep_store"}
"""Settings of jobs that a study sets itself."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: dotted path in the study ("analyses.probing.tasks").
        what: a sentence.
        expected: what would be right.
        fix: the remedy.
        line: in the file; 0 where it is not known.
    """

    where: str
    what: str
    expected: str = ""
    fix: str = ""
    line: int = 0

    def text(self) -> str:
        """As it is printed."""
        place = f"line {self.line}, {self.where}" if self.line else self.where
        found = f"{place}: {self.what}"
        if self.expected:
            found += f"; expected {self.expected}"
        return found + (f" ({self.fix})" if self.fix else "")


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
                problem = _problem(item, StudyConfig, [str(part) for part in item["loc"]], source)
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


def _problem(
    item: Mapping[str, Any], kind: type[Config], path: list[str], source: Source, above: str = ""
) -> Problem:
    shown = [part for part in path if part != "settings"]
    where = ".".join(filter(None, [above, *shown])) or "the file"
    line = _line(source, where)
    if item["type"] == "extra_forbidden":
        known = key_names(kind, tuple(path[:-1]))
        hint = unknown_name("key", path[-1], known).fix
        return Problem(where, "unknown key", f"one of {', '.join(known)}", hint, line)
    if item["type"] == "missing":
        return Problem(where, "missing", "a value", "", line)
    message = plain_message(item["msg"])
    if not path:
        return Problem(where, message, "", "", line)
    return Problem(where, f"{item['input']!r} is not right", message, "", line)


def _line(source: Source, where: str) -> int:
    """Line of a path, or of the nearest key above it."""
    parts = where.split(".")
    while parts:
        if (line := source.lines.get(".".join(parts))) is not None:
            return line
        parts.pop()
    return 0


def _claims(config: StudyConfig, source: Source, found: Checked) -> None:
    for name in config.claims:
        if name not in CLAIMS:
            error = unknown_name("claim", name, CLAIMS.names())
            found.problems.append(_told(error, "claims", source))


def _specs(config: StudyConfig, source: Source, found: Checked) -> None:
    """Names of models, once for all analyses; nothing is loaded."""
    from voxstrata.models.load import find_family
    from voxstrata.models.spec import parse

    for name, entry in config.models.items():
        try:
            find_family(parse(entry.spec))
        except VoxstrataError as error:
            found.problems.append(_told(error, f"models.{name}", source))


def _told(error: VoxstrataError, where: str, source: Source) -> Problem:
    said = error.what if error.got is None else f"{error.what} ({error.got})"
    expected = str(error.expected) if error.expected is not None else ""
    return Problem(where, said, expected, error.fix, _line(source, where))


def _study(config: StudyConfig, source: Source, out: Path, found: Checked) -> Study:
    parts: list[Part] = []
    maps: dict[Path, Mapping[str, Any]] = {}
    several = len(config.seeds) > 1
    for name, analysis in config.analyses.items():
        where = f"analyses.{name}"
        try:
            job = JOBS.get(analysis.job)
        except UsageError as error:
            found.problems.append(_told(error, f"{where}.job", source))
            continue
        values = _settings(config, name, analysis, job, source, found, out, maps)
        for seed in seeds_of(config, analysis):
            given = values if seed is None else {**values, "seed": seed}
            settings = _built(job, given, where, source, found)
            if settings is None or any(
                one.where in [f"{where}.{key}" for key in job.corpora] for one in found.problems
            ):
                break  # without its recordings nothing more can be checked
            folder = folder_of(out, name, seed, several)
            used = {str(analysis.settings.get(field, "")) for field in job.corpora}
            lenient = analysis.missing == "skip" or bool(used & source.changed)
            parts.append(Part(name, seed, job, settings, folder, lenient))
    return Study(config, source.name, source.scale, tuple(parts), maps)


def _settings(
    config: StudyConfig,
    name: str,
    analysis: Analysis,
    job: Job,
    source: Source,
    found: Checked,
    out: Path,
    maps: dict[Path, Mapping[str, Any]],
) -> dict[str, Any]:
    """The job's settings, with names of corpora and models looked up."""
    where = f"analyses.{name}"
    values = dict(analysis.settings)
    for key in sorted(OWN & set(values)):
        found.problems.append(
            Problem(f"{where}.{key}", "a study sets this itself", "", "leave it out",
                    _line(source, f"{where}.{key}"))
        )  # fmt: skip
        values.pop(key)
    specs = _models(config, analysis, where, source, found)
    if analysis.twins is not None and "twins" in job.settings.model_fields:
        values["twins"] = analysis.twins
    elif analysis.twins:
        specs = _with_twins(specs, where, source, found)
    if job.one_model:
        if len(specs) != 1:
            found.problems.append(
                Problem(f"{where}.models", f"{len(specs)} models", "one model for this job", "",
                        _line(source, f"{where}.models"))
            )  # fmt: skip
        values[job.one_model] = specs[0] if specs else ""
    else:
        values["models"] = specs
    for key, many in job.corpora.items():
        if key not in values:
            continue
        given = str(values[key])
        entry = config.corpora.get(given)
        if entry is None and not _looks_like_spec(given):
            error = unknown_name("corpus of this study", given, list(config.corpora))
            found.problems.append(_told(error, f"{where}.{key}", source))
        elif isinstance(entry, Mapping) and not many:
            found.problems.append(
                Problem(f"{where}.{key}", f"{given!r} maps tasks to corpora", "one corpus", "",
                        _line(source, f"{where}.{key}"))
            )  # fmt: skip
        elif isinstance(entry, Mapping):
            path = out / f"{given}.corpora.yaml"
            maps[path] = entry
            values[key] = str(path)
        elif entry is not None:
            values[key] = entry
    if "pairs" in values:
        values["pairs"] = _pairs(config, values["pairs"], f"{where}.pairs", source, found)
    if "study" in job.settings.model_fields:
        values["study"] = config.name
    return values


def _looks_like_spec(text: str) -> bool:
    """Whether a corpus is named as such (``synthetic:demo``, a path), not by the study's name."""
    return any(mark in text for mark in ":/~.") or Path(text).exists()


def _models(
    config: StudyConfig, analysis: Analysis, where: str, source: Source, found: Checked
) -> list[str]:
    """Specs of models named by name or role; plain specs stand for themselves."""
    specs: list[str] = []
    for one in analysis.models:
        if one == "all":
            specs += [entry.spec for entry in config.models.values()]
        elif mine := _named(config.models, one):
            specs += mine
        else:
            from voxstrata.models.load import known_names

            if one in known_names() or any(mark in one for mark in ":/"):
                specs.append(one)
                continue
            roles = [role for entry in config.models.values() for role in entry.roles]
            known = list(dict.fromkeys(["all", *config.models, *roles]))
            error = unknown_name("model or role of this study", one, known)
            found.problems.append(_told(error, f"{where}.models", source))
    return list(dict.fromkeys(specs))


def _with_twins(specs: list[str], where: str, source: Source, found: Checked) -> list[str]:
    """The models and their untrained twins; models of one shape share theirs."""
    from voxstrata.models import load_model
    from voxstrata.models.twins import add_twins

    try:
        models = [load_model(spec) for spec in specs]
        twins, without = add_twins(models, device="cpu", dtype="float32")
    except VoxstrataError as error:
        found.problems.append(_told(error, f"{where}.models", source))
        return specs
    found.notes += without
    return list(dict.fromkeys([*specs, *twins.values()]))


def _named(models: Mapping[str, ModelEntry], name: str) -> list[str]:
    if name in models:
        return [models[name].spec]
    return [entry.spec for entry in models.values() if name in entry.roles]


def _pairs(
    config: StudyConfig, given: Any, where: str, source: Source, found: Checked
) -> list[tuple[str, str]]:
    """Pairs of models by name or role: each of the one with each of the other."""
    pairs = []
    for one in given if isinstance(given, list | tuple) else [given]:
        if not (isinstance(one, list | tuple) and len(one) == 2):
            found.problems.append(
                Problem(where, f"{one!r} is not a pair", "[model, other model]", "",
                        _line(source, where))
            )  # fmt: skip
            continue
        sides = [_named(config.models, str(name)) for name in one]
        for name, side in zip(one, sides, strict=True):
            if not side:
                error = unknown_name("model or role of this study", str(name), list(config.models))
                found.problems.append(_told(error, where, source))
        pairs += [(a, b) for a in sides[0] for b in sides[1] if a != b]
    return list(dict.fromkeys(pairs))


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
                problem = _problem(item, job.settings, path, source, above=where)
                if not any(problem.where == one.where for one in found.problems):
                    found.problems.append(problem)
                if path:
                    left.pop(path[0], None)
    return None


def _prepare(study: Study, source: Source, found: Checked, afresh: bool) -> None:
    """Let every job check itself: names, models, corpora, labels; nothing is computed."""
    import yaml

    from voxstrata.files import atomic_write

    for path, entries in study.maps.items():
        with atomic_write(path) as file:
            file.write(yaml.safe_dump(_copy(entries), sort_keys=False).encode())
    for position, part in enumerate(study.parts):
        where = f"analyses.{part.name}"
        try:
            prepared = part.job.prepare(part.settings, part.folder, afresh)
        except VoxstrataError as error:
            problem = _told(error, where, source)
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
                _line(source, where),
            )
            if problem not in found.problems:
                found.problems.append(problem)
