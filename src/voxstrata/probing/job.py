"""The probing job: every task of every model, from one extraction."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.errors import ConfigError, LabelError, NumericsError, UsageError
from voxstrata.files import atomic_write, fingerprint
from voxstrata.numerics.threads import Slots, cores, sharing
from voxstrata.probing.cells import Reads, groups_of
from voxstrata.probing.extract import (
    Held,
    System,
    extract,
    extraction,
    features_of,
    layers_of,
    reads_of,
    systems_of,
)
from voxstrata.probing.kinds.kind import KINDS, Kind, Work
from voxstrata.probing.lm import MEASURE, reads_words
from voxstrata.probing.prepare import Asked, Prepared, prepare, reason_of
from voxstrata.probing.settings import ProbeConfig
from voxstrata.probing.table import Cell, against, probe_lines, rows_of, weight_lines
from voxstrata.probing.task import TaskData
from voxstrata.results import Results, Row, load_results, write_results
from voxstrata.streaming.onepass import Pass, PassReport
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import (
    STATE,
    Hooks,
    Overwrite,
    clean_up,
    command_line,
    describe_model,
    open_in,
    peak_memory,
    plain,
    run_in,
    sit_down,
)
from voxstrata.streaming.setup import LeftOut, corpus_record

PROBES, WEIGHTS = "probes.parquet", "weights.parquet"
"""Every trained probe; the layer weights of every chosen weighted sum."""

CELLS = 2
"""Tasks and models that are worked on at once: where the last heads of one leave a core idle, those
of another begin. More would hold more frames in memory and gain nothing."""


def run_probing(
    config: ProbeConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Train and test heads on every layer of models, and on learned sums of layers.

    Args:
        config: the settings.
        out: output folder; besides the results it gets ``probes.parquet`` and
            ``weights.parquet``.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and plan display.

    Returns:
        the results, as read back from ``out``.

    Raises:
        VoxstrataError: see :func:`voxstrata.probing.prepare.prepare`; ``RunInterruptedError`` on
            Ctrl-C, after which the same call goes on where it stopped.
    """
    folder, hooks = Path(out), hooks or Hooks[Prepared]()
    begun = time.perf_counter()
    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config, folder, afresh=overwrite == "always"),
        planned=hooks.planned,
        compute=lambda prepared: _compute(prepared, folder, hooks, begun),
    )


def open_probing(config: ProbeConfig, out: str | Path) -> Pass | None:
    """The pass of :func:`run_probing`, to be made together with those of other jobs.

    See :func:`voxstrata.streaming.together.advance_together`, which holds the folder's lock;
    ``None`` if the folder holds results.

    Raises:
        VoxstrataError: see :func:`voxstrata.probing.prepare.prepare`.
    """
    folder = Path(out)
    return open_in(folder, prepare=lambda: prepare(config, folder), plan=_plan, make=extraction)


def _plan(prepared: Prepared) -> dict[str, Any]:
    return {"tasks": [one.task.name for one in prepared.asked], "disk_bytes": prepared.disk_bytes}


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    config = prepared.config
    sitting = sit_down(folder, prepared.identity, _plan(prepared))
    report, held = extract(prepared, folder, hooks)
    passed = time.perf_counter()
    described = [
        describe_model(model, prepared.stack, position)
        for position, model in enumerate(prepared.models)
    ]
    systems = systems_of(prepared)
    prepared.models.clear()  # their memory is worth more to the heads
    cells = _cells(prepared, systems, held, folder, hooks)
    rows: list[Row] = []
    for cell in cells:
        rows += rows_of(cell, config.study, config.seed)
        for other in _rivals(cell, cells, prepared):
            rows += against(cell, other, config.study, config.seed)
    done = time.perf_counter()
    record = {
        "job": "probing",
        "study": config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": config.model_dump(mode="json"),
        "protocol": prepared.protocol.model_dump(mode="json"),
        "models": described,
        "twins": prepared.twins,
        "corpus": _corpora(prepared, report),
        "properties": [_described(one, cells) for one in prepared.asked],
        "best": {
            f"{cell.task} {cell.model}": cell.best()
            for cell in cells
            if len(cell.names) > 1 and not cell.reads.joint
        },
        "left_out": [dataclasses.asdict(item) for item in prepared.left_out],
        "seed": config.seed,
        "device": prepared.device,
        "rows": report.rows,
        "clock_s": {name: round(spent, 3) for name, spent in report.clock.items()},
        "notices": prepared.notices,
        **sitting.timed(
            done - begun, {"prepare and extract": passed - begun, "probes": done - passed}
        ),
        "cells_s": {f"{cell.task} {cell.model}": round(cell.seconds, 3) for cell in cells},
        "peak_memory_bytes": peak_memory(),
    }
    _write(folder / PROBES, (line for cell in cells for line in probe_lines(cell)))
    _write(folder / WEIGHTS, (line for cell in cells for line in weight_lines(cell)))
    write_results(folder, rows, plain(record))
    clean_up(folder, config)
    return load_results(folder)


def _rivals(cell: Cell, cells: Sequence[Cell], prepared: Prepared) -> list[Cell]:
    """What a cell is held against in its task: a trained model against its untrained twin, plain
    features, and the models that it is paired with; the sum of several models against each."""
    twin = prepared.twins.get(cell.model)
    rivals = [*cell.parts]
    if cell.model in prepared.config.models and cell.model not in prepared.plain:
        rivals += [*prepared.plain, *([twin] if twin else [])]
        rivals += [other for one, other in prepared.config.pairs if one == cell.model]
    return [c for c in cells if c.task == cell.task and c.model in rivals and c.model != cell.model]


def _corpora(prepared: Prepared, report: PassReport) -> dict[str, Any]:
    """All corpora of the run as one entry, as other jobs have it, and each by its spec."""
    skipped = list(report.skipped)
    each = {
        spec: corpus_record(corpus, spec, len(corpus), corpus.seconds, [])
        for spec, corpus in prepared.corpora.items()
    }
    return {
        "spec": " + ".join(each),
        "name": " + ".join(corpus.name for corpus in prepared.corpora.values()),
        "fingerprint": fingerprint([entry["fingerprint"] for entry in each.values()]),
        "utterances": report.recordings,
        "seconds": round(report.seconds, 3),
        "speakers": len(
            {str(u.tiers["speaker"]) for u in prepared.utterances if u.tiers.get("speaker")}
        ),
        "skipped": [item for entry in each.values() for item in entry["skipped"]] + skipped,
        "details": {"corpora": each},
    }


def _cells(
    prepared: Prepared,
    systems: Sequence[System],
    held: Held,
    folder: Path,
    hooks: Hooks[Prepared],
) -> list[Cell]:
    kinds = [KINDS.get(one.task.head) for one in prepared.asked]
    wanted = []
    for system in systems:
        for one, kind in zip(prepared.asked, kinds, strict=True):
            layers = layers_of(prepared, system, kind.ON_FRAMES)
            if not layers:
                continue  # a model of utterance layers, asked of frames
            reads = reads_of(prepared, system, layers)
            heads = kind.count(one.task, reads, prepared.config, prepared.protocol)
            if heads:
                wanted.append((system, one, kind, layers, reads, heads))
    total = sum(len(one.data.rounds) * heads for _, one, _, _, _, heads in wanted)
    slots = Slots(cores() if prepared.device == "cpu" else 1)
    with bar("heads", total, "heads", show=hooks.progress) as advance:

        def cell(asked: tuple[System, Asked, Kind, tuple[int, ...], Reads, int]) -> Cell | LeftOut:
            system, one, kind, layers, reads, _ = asked
            advance.at(f"{one.task.title} {system.spec}")
            name = f"{one.task.name} of {system.spec}"
            if empty := _empty(one, held):
                return LeftOut(name, empty)
            means, frames = features_of(prepared, held, reads, layers, on_frames=kind.ON_FRAMES)
            work = Work(
                task=one.task,
                data=one.data,
                spec=system.spec,
                config=prepared.config,
                protocol=prepared.protocol,
                reads=reads,
                means=means,
                frames=frames,
                folder=folder / STATE / "heads",
                workers=slots,
                advance=advance,
                reader=prepared.reader if reads_words(one.task) else None,
            )
            started = time.perf_counter()
            try:
                ran = kind.run(work)
            except (ConfigError, LabelError, NumericsError, UsageError) as error:
                # What other tasks and models were trained for hours on is not lost with it.
                return LeftOut(name, reason_of(error))
            return Cell(
                task=one.task.name,
                model=system.spec,
                reads=reads,
                widths=tuple(prepared.stack[i].width for i in layers),
                norms=tuple(held.norms[i] for i in layers),
                ran=ran,
                seconds=time.perf_counter() - started,
                groups=groups_of(one.data, means.place),
                classes=sum(len(names) for names in one.data.classes.values()),
                measures=(*one.task.measures, *([MEASURE] if work.reader else [])),
                better=one.task.better,
                chooses=work.plan.measure,
                left_out=kind.left_out(work),
                parts=system.parts,
            )

        made = sharing(cell, wanted, min(CELLS, slots.count), slots)
    found = [one for one in made if isinstance(one, Cell)]
    left_out = prepared.left_out
    left_out += [one for one in made if isinstance(one, LeftOut)]
    if not found:
        raise UsageError(
            "no task could be done",
            got="; ".join(f"{item.name}: {item.reason}" for item in left_out[:8]),
            expected="at least one",
        )
    return found


def _empty(one: Asked, held: Held) -> str:
    """Why a task cannot be done with the recordings that were read; "" where it can."""
    place = held.place
    for division in one.data.rounds:
        for part, examples in division.parts.items():
            if len(examples) and not any(name in place for name in examples.recordings):
                return f"no recording of {part} could be read"
    return ""


def _described(one: Asked, cells: Sequence[Cell]) -> dict[str, Any]:
    """A task as the record holds it, with the keys of a property: its curves are drawn alike."""
    task, data = one.task, one.data
    sizes = [{name: len(part) for name, part in r.parts.items()} for r in data.rounds]
    mine = [cell for cell in cells if cell.task == task.name]
    diverged = sum(r.diverged for cell in mine for r in cell.ran)
    notices = [
        *data.notes,
        *(f"{n} {why}." for why, n in data.dropped.items() if task.better == "lower"),
    ]
    for cell in mine:
        notices += [f"{cell.model}: {len(ids)} {why}." for why, ids in cell.left_out.items()]
    if diverged:
        notices.append(f"{diverged} heads left out steps whose gradient was not finite.")
    return {
        "name": task.name,
        "title": task.title,
        "summary": task.summary,
        "group": "task",
        "unit": "utterance",
        "main": task.measures[0],
        "better": task.better,
        "corpora": dict(one.corpora),
        "classes": {name: len(names) for name, names in data.classes.items()},
        "sizes": sizes,
        "majority": _majority(data, task.measures[0]),
        "facts": [
            {
                "classes": {name: list(names) for name, names in data.classes.items()},
                "examples": sizes,
                "dropped": dict(data.dropped),
                "left_out": {cell.model: dict(cell.left_out) for cell in mine if cell.left_out},
            }
        ],
        "notices": notices,
    }


def _majority(data: TaskData, measure: str) -> float | None:
    """What always saying the most frequent class of training would reach; of classes only."""
    shares = []
    for division in data.rounds:
        train, test = division.parts["train"], division.parts["test"]
        if not train.targets.shape[1] or not test.targets.shape[1]:
            return None
        if measure == "group-accuracy":
            usual = [np.bincount(of).argmax() for of in np.asarray(train.targets).T]
            shares.append(float((np.asarray(test.targets) == usual).mean()))
            continue
        rows, counts = np.unique(train.targets, axis=0, return_counts=True)
        shares.append(float((test.targets == rows[counts.argmax()]).all(axis=1).mean()))
    return float(np.mean(shares))


def _write(path: Path, lines: Iterable[dict[str, object]]) -> None:
    import pandas as pd

    frame = pd.DataFrame(list(lines))
    if len(frame):
        with atomic_write(path) as file:
            frame.to_parquet(file, index=False)
