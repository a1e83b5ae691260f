"""Running a study: one pass shared where it can be, every analysis, claims, one table, one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import voxstrata
from voxstrata.errors import ResultsError, RunInterruptedError, VoxstrataError
from voxstrata.files import atomic_write, fingerprint, lock, write_json
from voxstrata.results import (
    RECORD,
    TABLE,
    Results,
    Row,
    load_results,
    write_results,
)
from voxstrata.streaming.runs import Hooks, Overwrite, clear, command_line, peak_memory, plain
from voxstrata.streaming.together import advance_together
from voxstrata.studies.check import Checked, checked
from voxstrata.studies.held import hold
from voxstrata.studies.load import Source
from voxstrata.studies.plan import Part, Study

CLAIMED = "claims.json"
"""Claims held against the results."""

JOB = "study"


@dataclass(frozen=True)
class Telling:
    """How a study tells its caller what it is doing.

    Attributes:
        progress: show progress bars.
        say: shows a line.
        planned: called with what checking brought, before work starts.
    """

    progress: bool = False
    say: Callable[[str], None] = lambda _text: None
    planned: Callable[[Checked], None] = lambda _checked: None


def run_study(
    source: Source,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    telling: Telling | None = None,
) -> Results:
    """Run every analysis of a study and hold its claims against the results.

    An analysis that fails is named in the record and on the page; the others go on, and the same
    call tries it again.

    Args:
        source: :func:`voxstrata.studies.load.read_study`.
        out: output folder; each analysis has a folder in it, with a page of its own.
        overwrite: as for single jobs (:func:`voxstrata.streaming.runs.run_in`), of each analysis.
        telling: progress and messages.

    Raises:
        ConfigError: the study has problems; all are told.
        ResultsError: ``out`` holds another study's results, or results and ``overwrite`` is
            "never".
        RunInterruptedError: Ctrl-C; the same call goes on where it stopped.
        VoxstrataError: no analysis could be done: the first one's error.
    """
    folder, telling = Path(out), telling or Telling()
    begun = time.perf_counter()
    if overwrite == "only-cache":
        return _finished(folder, source)
    with lock(folder):
        found = checked(source, folder, afresh=overwrite == "always")
        study = found.study
        assert study is not None  # a study without problems is made ready
        identity = _identity(study, found)
        old = _old(folder, identity, overwrite)
        if old is not None:
            return old
        telling.planned(found)
        found.prepared.clear()  # models; every analysis loads its own
        shared = _share(study, overwrite, telling)
        # What was to be discarded is gone; "always" would now discard the shared pass.
        then: Overwrite = "missing" if overwrite == "always" else overwrite
        ran, failed, clock = _run_parts(study, then, telling)
        if not ran:
            raise next(iter(failed.values()))
        claims = hold(study, ran)
        write_json(folder / CLAIMED, plain(claims))
        clock["shared pass"] = shared["wall_s"]
        _write(folder, study, ran, failed, found, claims, identity, clock, begun, shared)
    return load_results(folder)


def _finished(folder: Path, source: Source) -> Results:
    results = load_results(folder)
    if results.record.get("job") != JOB:
        raise ResultsError(
            f"{folder} does not hold the results of a study",
            got=str(results.record.get("job")),
            expected=f"results of {source.name}",
        )
    return results


def _identity(study: Study, found: Checked) -> str:
    """Digest of everything that numbers and claims depend on."""
    parts = [
        getattr(found.prepared.get(i), "identity", part.settings.model_dump(mode="json"))
        for i, part in enumerate(study.parts)
    ]
    return fingerprint([voxstrata.__version__, study.config.model_dump(mode="json"), parts])


def _old(folder: Path, identity: str, overwrite: Overwrite) -> Results | None:
    """Finished results of the same study, where they are to be kept."""
    if not ((folder / TABLE).exists() and (folder / RECORD).exists()):
        return None
    if overwrite == "always":
        for name in (RECORD, TABLE):
            (folder / name).unlink()
        return None
    if overwrite == "never":
        raise ResultsError(
            f"{folder} holds results already",
            fix="choose another folder, or --overwrite always to replace them",
        )
    results = load_results(folder)
    if results.record.get("identity") == identity and not results.record.get("failed"):
        return results
    if results.record.get("job") != JOB:
        raise ResultsError(
            f"{folder} holds results that are not of a study",
            got=str(results.record.get("job")),
            fix="choose another folder, or --overwrite always",
        )
    return None  # what changed is refused by the analysis it belongs to


def _share(study: Study, overwrite: Overwrite, telling: Telling) -> dict[str, Any]:
    """One pass for the analyses that share models and recordings; they go on from it."""
    openers = [
        (part.folder, partial(part.job.open_pass, part.settings, part.folder))
        for part in study.parts
        if part.job.open_pass is not None
    ]
    for part in study.parts if overwrite == "always" else ():
        if part.job.open_pass is None:
            clear(part.folder)
    report = advance_together(
        openers, afresh=overwrite == "always", progress=telling.progress, say=telling.say
    )
    return report.facts()


def _run_parts(
    study: Study, overwrite: Overwrite, telling: Telling
) -> tuple[dict[Part, Results], dict[Part, VoxstrataError], dict[str, float]]:
    ran: dict[Part, Results] = {}
    failed: dict[Part, VoxstrataError] = {}
    clock: dict[str, float] = {}
    hooks: Hooks[Any] = Hooks(progress=telling.progress, say=telling.say)
    for part in study.parts:
        name = part.folder.name
        telling.say(f"{name}: {part.job.summary}")
        since = time.perf_counter()
        try:
            ran[part] = part.job.run(part.settings, part.folder, overwrite=overwrite, hooks=hooks)
        except RunInterruptedError:
            raise
        except VoxstrataError as error:
            telling.say(f"{name} failed: {error.what}")
            failed[part] = error
        clock[name] = round(time.perf_counter() - since, 3)
    return ran, failed, clock


def _write(
    folder: Path,
    study: Study,
    ran: Mapping[Part, Results],
    failed: Mapping[Part, VoxstrataError],
    found: Checked,
    claims: list[dict[str, Any]],
    identity: str,
    clock: Mapping[str, float],
    begun: float,
    shared: Mapping[str, Any],
) -> None:
    """One table of all analyses, and the record that says which is which."""
    names = [field.name for field in fields(Row)]
    rows = [
        Row(*line)
        for results in ran.values()
        for line in results.table.assign(study=study.config.name)[names].itertuples(index=False)
    ]
    record = {
        "job": JOB,
        "study": study.config.name,
        "identity": identity,
        "command": command_line(),
        "source": study.source,
        "scale": study.scale,
        "config": study.config.model_dump(mode="json"),
        "title": study.config.title or study.config.name,
        "question": study.config.question,
        "about": study.config.about,
        "cites": list(study.config.cites),
        "roles": {role: list(specs) for role, specs in study.roles.items()},
        "specs": study.specs,
        "analyses": [
            {
                "name": part.name,
                "folder": part.folder.name,
                "job": part.job.name,
                "seed": part.seed,
                "rows": len(ran[part].table) if part in ran else 0,
                "failed": str(failed[part]) if part in failed else "",
                "wall_s": (ran[part].record.get("wall_s") if part in ran else None),
            }
            for part in study.parts
        ],
        "failed": [part.folder.name for part in failed],
        "claims": [{k: one[k] for k in ("name", "title", "verdict")} for one in claims],
        "notices": list(found.notes),
        "shared": {
            "groups": [[Path(place).name for place in group] for group in shared["groups"]],
            "forwards": shared["forwards"],
        },
        "seed": study.config.seeds[0],
        "wall_s": round(time.perf_counter() - begun, 3),
        "wall_parts_s": dict(clock),
        "peak_memory_bytes": peak_memory(),
    }
    write_results(folder, rows, plain(record))
    with atomic_write(folder / "study.yaml") as file:
        import yaml

        text = yaml.safe_dump(study.config.model_dump(mode="json"), sort_keys=False)
        file.write(text.encode())
