"""What settings of analyses name (properties, tasks, corpora, models), looked at one by one.

A job's own check stops at the first thing that is wrong; here every one becomes a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from voxstrata.config import Config
from voxstrata.errors import VoxstrataError
from voxstrata.studies.jobs.job import Job
from voxstrata.studies.load import Source
from voxstrata.studies.problems import Problem, told
from voxstrata.studies.settings import Analysis, StudyConfig


@dataclass
class Named:
    """Looks at what analyses name; every corpus and model once for all of them.

    Attributes:
        config: the study.
        source: where it was read from.
        problems: found so far.
        broken: specs of models that cannot be loaded.
    """

    config: StudyConfig
    source: Source
    problems: list[Problem]
    broken: set[str] = field(default_factory=set)
    _fine: set[str] = field(default_factory=set)
    _corpora: dict[str, VoxstrataError | None] = field(default_factory=dict)

    def specs(self) -> None:
        """Names of the study's models; nothing is loaded."""
        from voxstrata.models.load import find_family
        from voxstrata.models.spec import parse

        for name, entry in self.config.models.items():
            try:
                find_family(parse(entry.spec))
            except VoxstrataError as error:
                self.broken.add(entry.spec)
                self._tell(error, f"models.{name}")

    def names(self, where: str, job: Job, values: Mapping[str, Any], made: Config | None) -> bool:
        """Whether all names in settings are known; nothing is opened.

        Args:
            where: path of the analysis.
            job: what it runs.
            values: of its settings, as given.
            made: the settings, where they could be made.
        """
        known = True
        for key, look in job.names.items():
            for name in _listed(key, job, values, made) if key in values else ():
                try:
                    look(name)
                except VoxstrataError as error:
                    known = False
                    self._tell(error, f"{where}.{key}")
        return known

    def contents(self, name: str, analysis: Analysis, job: Job, values: Mapping[str, Any]) -> None:
        """Open every corpus and load every model that an analysis names.

        Args:
            name: of the analysis.
            analysis: as the file has it.
            job: what it runs.
            values: of its settings, as given.
        """
        for spec, place in self._specs_of(name, analysis, job, values):
            if spec not in self._corpora:
                self._corpora[spec] = _opened(spec)
            if (error := self._corpora[spec]) is not None:
                self._tell(error, place)
        self._models(f"analyses.{name}.models", job, values)

    def inside(self, where: str, job: Job, settings: Config) -> None:
        """Look up, one by one, what settings name inside models and corpora.

        Args:
            where: path of the analysis.
            job: what it runs.
            settings: of the job.
        """
        before = {one.where for one in self.problems}  # told already, in other words
        for key, look in job.inside(settings):
            if f"{where}.{key}" in before:
                continue
            try:
                look()
            except VoxstrataError as error:
                problem = told(error, f"{where}.{key}", self.source)
                # A model or corpus that cannot be opened has been told where it is named.
                if not any(one.what == problem.what for one in self.problems):
                    self.problems.append(problem)

    def fine(self, job: Job, values: Mapping[str, Any]) -> None:
        """Note that an analysis could be made ready: its models need no second look."""
        self._fine.update(self.models(job, values))

    @staticmethod
    def models(job: Job, values: Mapping[str, Any]) -> list[str]:
        """Specs of the models of an analysis."""
        given = values.get(job.one_model or "models") or []
        return [given] if isinstance(given, str) else list(given)

    def _tell(self, error: VoxstrataError, where: str) -> None:
        problem = told(error, where, self.source)
        if problem not in self.problems:
            self.problems.append(problem)

    def _models(self, where: str, job: Job, values: Mapping[str, Any]) -> None:
        from voxstrata.models import load_model

        mine: dict[str, str] = {}
        for name, entry in self.config.models.items():
            mine.setdefault(entry.spec, f"models.{name}")
        for spec in self.models(job, values):
            twin_of = spec.removeprefix("random:")
            if spec in self._fine | self.broken or (spec not in mine and twin_of in self.broken):
                continue
            try:
                load_model(spec)
                self._fine.add(spec)
            except VoxstrataError as error:
                self.broken.add(spec)
                self._tell(error, mine.get(spec, where))

    def _specs_of(
        self, name: str, analysis: Analysis, job: Job, values: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """Specs of corpora, and where the study names each."""
        where = f"analyses.{name}"
        for key, many in job.corpora.items():
            given, named = values.get(key), analysis.settings.get(key)
            at = f"{where}.{key}"
            if given is None or given == job.settings.model_fields[key].default:
                continue
            if any(one.where == at for one in self.problems):
                continue  # it is not known what is meant
            place = f"corpora.{named}" if str(named) in self.config.corpora else at
            if many:
                yield from self._mapped(given, place, job, values)
            else:
                yield str(given), place

    def _mapped(
        self, given: Any, place: str, job: Job, values: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """Specs in a map of tasks to corpora; what it lacks is told."""
        from voxstrata.probing.sources import TaskSource, read_map

        tasks, sure = _tasks(job, values)
        sources: dict[str, TaskSource] = {}
        entries = given if isinstance(given, Mapping) else {}
        for task, entry in entries.items():
            try:
                sources[str(task)] = read_map({task: entry}, [str(task)])[str(task)]
            except VoxstrataError as error:
                self._tell(error, f"{place}.{task}")
        if len(sources) < len(entries):
            return
        try:
            asked = read_map(given, tasks)
        except VoxstrataError as error:
            self._tell(error, place)
            return
        if not entries:
            for source in asked.values():
                yield from ((spec, place) for spec in source.specs.values())
            return
        for task, source in sources.items():
            # A misspelt task may have meant any entry.
            if sure and task not in asked and not (task == "default" and set(asked) - set(sources)):
                continue
            parts = entries[task] if isinstance(entries[task], Mapping) else {}
            for part, spec in source.specs.items():
                key = part if part in parts else "corpus" if part == "all" else "folds"
                yield spec, f"{place}.{task}" + (f".{key}" if parts else "")


def _listed(key: str, job: Job, values: Mapping[str, Any], made: Config | None) -> list[str]:
    """Names of a setting; as written, with commas, where the settings could not be made."""
    single = job.settings.model_fields[key].annotation in (str, str | None)
    given = getattr(made, key) if made is not None else values[key]
    if isinstance(given, str):
        return [given] if single else [part.strip() for part in given.split(",") if part.strip()]
    return [str(one) for one in given] if isinstance(given, list | tuple) else []


def _tasks(job: Job, values: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Names of the tasks that are known, and whether all are."""
    from voxstrata.probing.registry import get_tasks

    given = values.get("tasks", job.settings.model_fields["tasks"].default)
    texts = given.split(",") if isinstance(given, str) else given
    names, sure = [], isinstance(texts, list | tuple)
    for text in texts if sure else ():
        try:
            names += [task.name for task in get_tasks((str(text).strip(),))]
        except VoxstrataError:
            sure = False
    return names, sure


def _opened(spec: str) -> VoxstrataError | None:
    from voxstrata.corpora import load_corpus

    try:
        load_corpus(spec)
    except VoxstrataError as error:
        return error
    return None
