"""What a study must know of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstrata.config import Config
from voxstrata.registry import Registry
from voxstrata.streaming.onepass import Pass


@dataclass(frozen=True)
class Cost:
    """A rough forecast of one analysis on this machine.

    Attributes:
        seconds: wall time; NaN where it cannot be told.
        disk_bytes: meanwhile.
        memory_bytes: at most, roughly.
        without: what is not in the seconds; "" where all is.
    """

    seconds: float
    disk_bytes: float
    memory_bytes: float
    without: str = ""


Look = tuple[str, Callable[[], object]]
"""A setting, and what looks up something that it names."""


@dataclass(frozen=True)
class Job:
    """One kind of analysis.

    Attributes:
        name: as a study file names it.
        summary: a line for listings.
        settings: its configuration class.
        prepare: (settings, folder, afresh) to a checked plan; computes nothing.
        run: (settings, folder, overwrite=, hooks=) to results.
        corpora: settings that name a corpus, and whether it may be a map of tasks to corpora.
        one_model: the setting that names the model, of jobs that have one; ``None`` for
            ``models``.
        cost: forecast of a prepared run.
        missing: what was named and cannot be done here, with reasons.
        names: settings that hold names, with what looks a name up and raises for one that is not
            known; nothing is opened for it.
        inside: settings that name what is inside models and corpora (layers, sizes, groups), with
            what looks each up and raises; asked where the job cannot be prepared, which stops at
            the first thing that is wrong.
        open_pass: (settings, folder) to the pass over the recordings, which other analyses can
            share; ``None`` for jobs without such a pass.
    """

    name: str
    summary: str
    settings: type[Config]
    prepare: Callable[[Any, Path, bool], Any]
    run: Callable[..., Any]
    corpora: Mapping[str, bool]
    cost: Callable[[Any], Cost]
    missing: Callable[[Any], list[tuple[str, str]]] = lambda _prepared: []
    names: Mapping[str, Callable[[str], object]] = field(default_factory=dict)
    inside: Callable[[Any], Iterable[Look]] = lambda _settings: ()
    one_model: str | None = None
    open_pass: Callable[[Any, Path], Pass | None] | None = None


JOBS: Registry[Job] = Registry("job", "voxstrata.jobs")
for _name, _summary in (
    ("similarity", "every layer against every other"),
    ("properties", "what every layer encodes"),
    ("probing", "heads on layers, SUPERB's tasks"),
    ("neurons", "neurons that tell groups apart"),
    ("protection", "pruning with and without protected neurons"),
    ("verification", "error rates of speaker verification"),
):
    JOBS.add(_name, f"voxstrata.studies.jobs.{_name}:JOB", _summary)
