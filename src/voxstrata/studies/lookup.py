"""Settings of a job from an analysis: names of the study's models and corpora looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstrata.errors import VoxstrataError
from voxstrata.registry import unknown_name
from voxstrata.studies.jobs.job import Job
from voxstrata.studies.load import Source
from voxstrata.studies.problems import Problem, line_of, told
from voxstrata.studies.settings import Analysis, StudyConfig

OWN = ("keep_store", "model", "models", "study")
"""Settings of jobs that a study sets itself."""


@dataclass
class Lookup:
    """Looks up names of a study; what it does not find becomes a problem.

    Attributes:
        config: the study.
        source: where it was read from.
        problems: found so far.
        notes: what is worth knowing.
    """

    config: StudyConfig
    source: Source
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def settings(self, name: str, analysis: Analysis, job: Job) -> dict[str, Any]:
        """Keys and values for the job's settings."""
        where = f"analyses.{name}"
        values = dict(analysis.settings)
        for key in OWN:
            if values.pop(key, None) is not None:
                self._add(f"{where}.{key}", "a study sets this itself", fix="leave it out")
        specs = self._models(analysis, f"{where}.models")
        if analysis.twins is not None and "twins" in job.settings.model_fields:
            values["twins"] = analysis.twins
        elif analysis.twins:
            specs = self._with_twins(specs, f"{where}.models")
        if job.one_model:
            if len(specs) != 1:
                self._add(f"{where}.models", f"{len(specs)} models", "one model for this job")
            values[job.one_model] = specs[0] if specs else ""
        else:
            values["models"] = specs
        for key, many in job.corpora.items():
            given = values.get(key, job.settings.model_fields[key].default)
            if isinstance(given, Mapping) and many:
                continue  # the map itself
            if given != job.settings.model_fields[key].default:
                values[key] = self._corpus(str(values[key]), f"{where}.{key}", many=many)
        if "pairs" in values:
            values["pairs"] = self._pairs(values["pairs"], f"{where}.pairs")
        if "study" in job.settings.model_fields:
            values["study"] = self.config.name
        return values

    def _add(self, where: str, what: str, expected: str = "", fix: str = "") -> None:
        self.problems.append(Problem(where, what, expected, fix, line_of(self.source, where)))

    def _unknown(self, kind: str, name: str, known: list[str], where: str) -> None:
        error = unknown_name(f"{kind} of this study", name, known)
        self.problems.append(told(error, where, self.source))

    def _corpus(self, given: str, where: str, *, many: bool) -> str | Mapping[str, Any]:
        """The spec of a corpus, or a map of tasks to corpora."""
        entry = self.config.corpora.get(given)
        if entry is None:
            # A corpus may be named as on any command line: synthetic:demo, a path.
            if not any(mark in given for mark in ":/~.") and not Path(given).exists():
                self._unknown("corpus", given, list(self.config.corpora), where)
            return given
        if isinstance(entry, str):
            return entry
        if not many:
            self._add(where, f"{given!r} maps tasks to corpora", "one corpus")
            return given
        return entry

    def _named(self, name: str) -> list[str]:
        """Specs of a model, or of all that play a role."""
        models = self.config.models
        if name in models:
            return [models[name].spec]
        return [entry.spec for entry in models.values() if name in entry.roles]

    def _names(self) -> list[str]:
        roles = [role for entry in self.config.models.values() for role in entry.roles]
        return list(dict.fromkeys([*self.config.models, *roles]))

    def _models(self, analysis: Analysis, where: str) -> list[str]:
        """Specs of models named by name or role; plain specs stand for themselves."""
        from voxstrata.models.load import known_names

        specs: list[str] = []
        for one in analysis.models:
            if one == "all":
                specs += [entry.spec for entry in self.config.models.values()]
            elif mine := self._named(one):
                specs += mine
            elif one in known_names() or any(mark in one for mark in ":/"):
                specs.append(one)
            else:
                self._unknown("model or role", one, ["all", *self._names()], where)
        return list(dict.fromkeys(specs))

    def _with_twins(self, specs: list[str], where: str) -> list[str]:
        """The models and their untrained twins; models of one shape share theirs."""
        from voxstrata.models import load_model
        from voxstrata.models.twins import add_twins

        try:
            models = [load_model(spec) for spec in specs]
            twins, without = add_twins(models, device="cpu", dtype="float32")
        except VoxstrataError as error:
            problem = told(error, where, self.source)
            if not any(problem.what == one.what for one in self.problems):
                self.problems.append(problem)
            return specs
        self.notes += without
        return list(dict.fromkeys([*specs, *twins.values()]))

    def _pairs(self, given: Any, where: str) -> list[tuple[str, str]]:
        """Pairs of models by name or role: each of the one with each of the other."""
        pairs: list[tuple[str, str]] = []
        for one in given if isinstance(given, list | tuple) else [given]:
            if not (isinstance(one, list | tuple) and len(one) == 2):
                self._add(where, f"{one!r} is not a pair", "[model, other model]")
                continue
            sides = [self._named(str(name)) for name in one]
            for name, side in zip(one, sides, strict=True):
                if not side:
                    self._unknown("model or role", str(name), self._names(), where)
            pairs += [(a, b) for a in sides[0] for b in sides[1] if a != b]
        return list(dict.fromkeys(pairs))
