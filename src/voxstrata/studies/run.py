"""Running a study: one pass shared where it can be, every analysis, claims, one table, one page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import voxstrata
from voxstrata.errors import ResultsError, RunInterruptedError, VoxstrataError
from voxstrata.files import atomic_write, fingerprint, lock, read_json, write_json
from voxstrata.results import (
    RECORD,
    TABLE,
    Results,
    Row,
    load_results,
    write_results,
)
from voxstrata.streaming.runs import (
    PLAN,
    STATE,
    Hooks,
    Overwrite,
    clear,
    command_line,
    peak_memory,
    plain,
    same_run,
)
from voxstrata.streaming.together import advance_together
from voxstrata.studies.check import Checked, checked
from voxstrata.studies.held import hold
from voxstrata.studies.load import Source
from voxstrata.studies.plan import Part, Study

CLAIMED = "claims.json"
"""Claims held against the results."""

JOB = "study"


def run_study(
    source: Source,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Any] | None = None,
) -> Results:
    """Run every analysis of a study and hold its claims against the results.

    An analysis that fails is named in the record and on the page; the others go on, and the same
    call tries it again.

    Args:
        source: :func:`voxstrata.studies.load.read_study`.
        out: output folder; each analysis has a folder in it, with a page of its own.
        overwrite: as for single jobs (:func:`voxstrata.streaming.runs.run_in`), of each analysis.
        hooks: progress and messages; ``planned`` is given what checking brought.

    Raises:
        ConfigError: the study has problems; all are told.
        ResultsError: ``out`` holds another study's results, or results and ``overwrite`` is
            "never".
        RunInterruptedError: Ctrl-C; the same call goes on where it stopped.
        VoxstrataError: no analysis could be done: the first one's error.
    """
    folder, hooks = Path(out), hooks or Hooks[Any]()
    if overwrite == "only-cache":
        return _finished(folder, source)
    try:
        with lock(folder):
            return _run(source, folder, overwrite, hooks)
    except (KeyboardInterrupt, RunInterruptedError):
        again = "the same command again"
        if overwrite == "always":
            again = "the same command with --overwrite missing"
        raise RunInterruptedError(
            "stopped by Ctrl-C", fix=f"run {again}: it goes on from what {folder} holds"
        ) from None


def _run(source: Source, folder: Path, overwrite: Overwrite, hooks: Hooks[Any]) -> Results:
    begun = time.perf_counter()
    if overwrite == "never" and _whole(folder):
        raise ResultsError(
            f"{folder} holds results already",
            fix="choose another folder, or --overwrite always to replace them",
        )
    found = checked(source, folder, afresh=overwrite == "always")
    study = found.study
    assert study is not None  # a study without problems is made ready
    identity = _identity(study, found)
    if overwrite == "always":
        clear(folder)
        for part in study.parts:
            clear(part.folder)
    else:
        _refuse_others(study, found, folder)
        if (old := _old(study, folder, identity)) is not None:
            return old
    hooks.planned(found)
    found.prepared.clear()  # models; every analysis loads its own
    shared = _share(study, hooks)
    ran, failed, clock = _run_parts(study, hooks)
    if not ran:
        raise next(iter(failed.values()))
    clock["shared pass"] = shared["wall_s"]
    record = {
        **_record(study, ran, failed, found),
        "identity": identity,
        "shared": {
            "groups": [[Path(place).name for place in group] for group in shared["groups"]],
            "forwards": shared["forwards"],
        },
        "wall_parts_s": clock,
        "sitting_s": round(time.perf_counter() - begun, 3),
        "peak_memory_bytes": peak_memory(),
    }
    claims = hold(study, ran)
    record["claims"] = [{k: one[k] for k in ("name", "title", "verdict")} for one in claims]
    write_json(folder / CLAIMED, plain(claims))
    _write_study(folder, study)
    write_results(folder, _rows(study, ran), plain(record))  # the record last: it is what counts
    return load_results(folder)


def _whole(folder: Path) -> bool:
    return (folder / TABLE).exists() and (folder / RECORD).exists()


def _finished(folder: Path, source: Source) -> Results:
    results = load_results(folder)
    held = results.record.get("study") if results.record.get("job") == JOB else None
    if held != source.raw.get("name"):
        raise ResultsError(
            f"{folder} does not hold the results of the study {source.name}",
            got=f"those of the study {held}" if held else f"job {results.record.get('job')}",
            expected=f"results of {source.raw.get('name')}",
        )
    return results


def _identity(study: Study, found: Checked) -> str:
    """Digest of everything that numbers and claims depend on."""
    parts = [
        getattr(found.prepared.get(i), "identity", part.settings.model_dump(mode="json"))
        for i, part in enumerate(study.parts)
    ]
    return fingerprint([voxstrata.__version__, study.config.model_dump(mode="json"), parts])


def _refuse_others(study: Study, found: Checked, folder: Path) -> None:
    """Results of anything else are not touched.

    Raises:
        ResultsError: the folder holds another study's, or some analysis has results of other
            settings; all of these are named.
    """
    if _whole(folder):
        held = load_results(folder).record
        if held.get("job") != JOB or held.get("study") != study.config.name:
            raise ResultsError(
                f"{folder} holds results of something else",
                got=f"{held.get('job')}, {held.get('study')}",
                expected=f"the study {study.config.name}, or an empty folder",
                fix="choose another folder, or --overwrite always to replace them",
            )
    told = []
    for position, part in enumerate(study.parts):
        prepared = found.prepared[position]
        try:
            if _whole(part.folder):
                same_run(part.folder, prepared)
            elif (plan := part.folder / STATE / PLAN).exists():
                begun = read_json(plan).get("identity")
                if begun != prepared.identity:
                    told.append(f"{part.folder.name}: an unfinished run of other settings")
        except ResultsError as error:
            told.append(f"{part.folder.name}: {error.got}")
    if told:
        raise ResultsError(
            f"{folder} holds results of other settings, models, corpus or version",
            got="; ".join(told),
            expected="what this study asks for",
            fix=f"{_first_seed(study)}choose another folder, or --overwrite always to replace them",
        )


def _first_seed(study: Study) -> str:
    """The remedy where the study's first seed is not that of the results; "" where it is."""
    first = study.config.seeds[0]
    for part in study.parts:
        if part.seed == first and _whole(part.folder):
            held = load_results(part.folder).record.get("seed")
            if held is not None and held != first:
                rest = [str(seed) for seed in study.config.seeds if seed != held]
                listed = ", ".join([str(held), *rest])
                return f"to add seeds name the one that is there first (seeds: [{listed}]), "
    return ""


def _old(study: Study, folder: Path, identity: str) -> Results | None:
    """Finished results of the same study; nothing where a part is missing or has failed."""
    if not _whole(folder) or not all(_whole(part.folder) for part in study.parts):
        return None
    results = load_results(folder)
    if results.record.get("identity") != identity or results.record.get("failed"):
        return None
    return results


def _share(study: Study, hooks: Hooks[Any]) -> dict[str, Any]:
    """One pass for the analyses that share models and recordings; they go on from it."""
    openers = [
        (part.folder, partial(part.job.open_pass, part.settings, part.folder))
        for part in study.parts
        if part.job.open_pass is not None
    ]
    return advance_together(openers, progress=hooks.progress, say=hooks.say).facts()


def _run_parts(
    study: Study, hooks: Hooks[Any]
) -> tuple[dict[Part, Results], dict[Part, Exception], dict[str, float]]:
    """Every analysis; what one raises, whatever it is, does not take the others along."""
    ran: dict[Part, Results] = {}
    failed: dict[Part, Exception] = {}
    clock: dict[str, float] = {}
    inner: Hooks[Any] = Hooks(progress=hooks.progress, say=hooks.say)
    for part in study.parts:
        name = part.folder.name
        hooks.say(f"{name}: {part.job.summary}")
        since = time.perf_counter()
        try:
            ran[part] = part.job.run(part.settings, part.folder, overwrite="missing", hooks=inner)
        except RunInterruptedError:
            raise
        except Exception as error:
            hooks.say(f"{name} failed: {said(error)}")
            failed[part] = error
        clock[name] = round(time.perf_counter() - since, 3)
    return ran, failed, clock


def said(error: Exception) -> str:
    """An error in a line; the kind of those that are not ours is named."""
    return error.what if isinstance(error, VoxstrataError) else f"{type(error).__name__}: {error}"


def _rows(study: Study, ran: Mapping[Part, Results]) -> list[Row]:
    """The tables of all analyses, one behind the other."""
    names = [field.name for field in fields(Row)]
    return [
        Row(*line)
        for results in ran.values()
        for line in results.table.assign(study=study.config.name)[names].itertuples(index=False)
    ]


def _record(
    study: Study,
    ran: Mapping[Part, Results],
    failed: Mapping[Part, Exception],
    found: Checked,
) -> dict[str, Any]:
    """What was run, and which analysis lies where."""
    walls = [results.record.get("wall_s") for results in ran.values()]
    return {
        "job": JOB,
        "study": study.config.name,
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
                "failed": _told(failed[part]) if part in failed else "",
                "wall_s": (ran[part].record.get("wall_s") if part in ran else None),
            }
            for part in study.parts
        ],
        "failed": [part.folder.name for part in failed],
        "notices": list(found.notes),
        "seed": study.config.seeds[0],
        # What all sittings took; a part's own time has its share of the shared pass.
        "wall_s": round(sum(w for w in walls if isinstance(w, int | float)), 3),
    }


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, VoxstrataError) else said(error)


def _write_study(folder: Path, study: Study) -> None:
    """The study as it was run: a file that runs by itself."""
    import yaml

    text = yaml.safe_dump(study.config.model_dump(mode="json"), sort_keys=False)
    scale = f", scale {study.scale}" if study.scale else ""
    with atomic_write(folder / "study.yaml") as file:
        file.write(f"# {study.config.name}{scale}, as it was run\n{text}".encode())
