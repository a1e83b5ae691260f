"""A study as a file has it: corpora, models, analyses, seeds, claims, what the page shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from voxstrata.config import Config

Scale = Literal["demo", "small", "paper"]
SCALES: tuple[Scale, ...] = ("demo", "small", "paper")

NAME, LONGEST = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", 80
"""What studies and analyses may be called, and how long it may be: it names a folder."""


class ModelEntry(Config):
    """A model of a study.

    Attributes:
        spec: how it is loaded (docs/models.md).
        roles: the parts it plays in claims and in analyses.
    """

    spec: str
    roles: tuple[str, ...] = ()

    @field_validator("roles", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class Analysis(Config):
    """One analysis: a job with its settings.

    Attributes:
        job: name of the job (``voxstrata study jobs``).
        models: names or roles of the study's models, or "all"; plain model specs too.
        missing: what to do where the corpus has not what a named property, task or contrast
            needs: "stop" before anything runs, or "skip" it and say so on the page.
        twins: for jobs that have no twins of their own (similarity): add them.
        settings: everything else, as the job has it (docs of the job).
    """

    job: str
    models: tuple[str, ...] = ("all",)
    missing: Literal["stop", "skip"] = "stop"
    twins: bool | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("models", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class Shown(Config):
    """What the page shows.

    Attributes:
        sections: ids of sections, in order; ``None`` for all there are.
    """

    sections: tuple[str, ...] | None = None


class StudyConfig(Config):
    """A study.

    Attributes:
        name: short name; the ``study`` of every row of the results.
        title: of the page.
        question: what is asked, in a sentence or two.
        about: paragraphs that say what is done and why.
        cites: keys of papers (``voxstrata cite``).
        corpora: name to corpus spec (docs/corpora.md), or to a mapping of tasks to corpora
            (docs/probing.md, "Corpus maps").
        models: name to model spec, or to a mapping with ``spec`` and ``roles``.
        analyses: name to analysis; each gets a folder of that name.
        seeds: every analysis is made with each, unless it names its own ``seed``.
        claims: names of claims that are held against the results.
        report: what the page shows.
        needs: what must be prepared before this scale can run, in words.
    """

    name: Annotated[str, Field(pattern=NAME, max_length=LONGEST)]
    title: str = ""
    question: str = ""
    about: str = ""
    cites: tuple[str, ...] = ()
    corpora: dict[str, str | dict[str, Any]]
    models: dict[str, ModelEntry]
    analyses: Annotated[dict[str, Analysis], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    claims: tuple[str, ...] = ()
    report: Shown = Shown()
    needs: str = ""

    @field_validator("models", mode="before")
    @classmethod
    def _entries(cls, given: Any) -> Any:
        """A bare spec stands for a model without roles."""
        if not isinstance(given, dict):
            return given
        return {k: {"spec": v} if isinstance(v, str) else v for k, v in given.items()}

    @field_validator("analyses", mode="before")
    @classmethod
    def _settings(cls, given: Any) -> Any:
        """Keys that are not the study's own are the job's settings."""
        if not isinstance(given, dict):
            return given
        own = set(Analysis.model_fields) - {"settings"}
        return {
            name: {
                **{k: v for k, v in entry.items() if k in own},
                "settings": {k: v for k, v in entry.items() if k not in own},
            }
            if isinstance(entry, dict) and "settings" not in entry
            else entry
            for name, entry in given.items()
        }

    @field_validator("seeds", "claims", "cites", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, int | str) else given

    @field_validator("seeds")
    @classmethod
    def _once(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        """Results of a seed have one folder."""
        twice = [str(seed) for seed in dict.fromkeys(given) if given.count(seed) > 1]
        if twice:
            raise ValueError(f"seeds named twice: {', '.join(twice)}")
        return given
