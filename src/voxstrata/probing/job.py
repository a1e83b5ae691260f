"""The probing job: every task of every model, from one extraction."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.errors import StorageError
from voxstrata.files import atomic_write, fingerprint
from voxstrata.probing.cells import (
    SUM,
    Features,
    Ran,
    ablations,
    chosen,
    groups_of,
    probes_of,
    run_round,
)
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.norms import MeanReducer, NormUnit
from voxstrata.probing.prepare import Asked, Prepared, prepare
from voxstrata.probing.settings import ProbeConfig
from voxstrata.probing.table import Cell, probe_lines, rows_of, weight_lines
from voxstrata.results import Results, Row, load_results, write_results
from voxstrata.streaming.onepass import Pass, PassReport, Sink
from voxstrata.streaming.progress import Advance, bar
from voxstrata.streaming.runs import (
    STATE,
    STORE,
    Hooks,
    Overwrite,
    clean_up,
    command_line,
    describe_model,
    peak_memory,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.streaming.setup import corpus_record
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.streaming.unit_frame import UtteranceUnit

PROBES, WEIGHTS = "probes.parquet", "weights.parquet"
"""Every trained probe; the layer weights of every chosen weighted sum."""


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


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    config = prepared.config
    plan = {"tasks": [one.task.name for one in prepared.asked], "disk_bytes": prepared.disk_bytes}
    resumed = remember_plan(folder, prepared.identity, plan)
    report, store, norms = _extract(prepared, folder, hooks)
    passed = time.perf_counter()
    described = [
        describe_model(model, prepared.stack, position)
        for position, model in enumerate(prepared.models)
    ]
    specs = [model.spec for model in prepared.models]
    prepared.models.clear()  # their memory is worth more to the heads
    cells = _cells(prepared, specs, store, norms, folder, hooks)
    rows: list[Row] = []
    for cell in cells:
        rows += rows_of(cell, config.study, config.seed)
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
        "best": {f"{cell.task} {cell.model}": cell.best() for cell in cells if len(cell.names) > 1},
        "left_out": [dataclasses.asdict(item) for item in prepared.left_out],
        "seed": config.seed,
        "device": prepared.device,
        "rows": report.rows,
        "clock_s": {name: round(spent, 3) for name, spent in report.clock.items()},
        "notices": prepared.notices,
        "resumed": resumed,
        "wall_s": round(done - begun, 3),
        "wall_parts_s": {
            "prepare and extract": round(passed - begun, 3),
            "probes": round(done - passed, 3),
        },
        "peak_memory_bytes": peak_memory(),
    }
    _write(folder / PROBES, (line for cell in cells for line in probe_lines(cell)))
    _write(folder / WEIGHTS, (line for cell in cells for line in weight_lines(cell)))
    write_results(folder, rows, plain(record))
    clean_up(folder, config)
    return load_results(folder)


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


def _extract(
    prepared: Prepared, folder: Path, hooks: Hooks[Prepared]
) -> tuple[PassReport, RowStore, list[float]]:
    """Time means of every layer of every recording, and mean norms of layers."""
    every = tuple(range(len(prepared.stack)))
    unit = UtteranceUnit()
    store = StoreReducer(
        folder / STORE / "means",
        prepared.stack,
        meta={"unit": unit.describe(), "identity": prepared.identity},
    )
    norms = MeanReducer(len(prepared.stack))
    sinks = [Sink(unit, every, store, "means"), Sink(NormUnit(), every, norms, "norms")]
    work = Pass(
        prepared.utterances,
        prepared.models,
        prepared.stack,
        sinks,
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=folder / STATE,
        identity=prepared.identity,
    )
    seconds = sum(utterance.duration_s for utterance in prepared.utterances)
    with bar("models", seconds, "s of speech", show=hooks.progress) as advance:
        report = work.run(advance)
    return report, store.finish(), norms.finish()


def _cells(
    prepared: Prepared,
    specs: Sequence[str],
    store: RowStore,
    norms: Sequence[float],
    folder: Path,
    hooks: Hooks[Prepared],
) -> list[Cell]:
    place = {str(name): i for i, name in enumerate(store.index["utterance"])}
    protocol, config = prepared.protocol, prepared.config
    workers = os.cpu_count() or 1 if prepared.device == "cpu" else 1
    sizes = [
        sum(layer.model == position for layer in prepared.stack) for position in range(len(specs))
    ]
    total = sum(
        len(one.data.rounds)
        * (
            len(probes_of(size, protocol.lrs, protocol.seeds, 0, controls=config.controls))
            + (len(ablations(size, 1.0, protocol.seeds, 0)) if config.ablation else 0)
        )
        for one in prepared.asked
        for size in sizes
    )
    found = []
    with bar("heads", total, "heads", show=hooks.progress) as advance:
        for position, spec in enumerate(specs):
            layers = [i for i, layer in enumerate(prepared.stack) if layer.model == position]
            features = Features(
                tuple(prepared.stack[i].info.name for i in layers),
                [store.layer(i) for i in layers],
                place,
            )
            for one in prepared.asked:
                advance.at(f"{one.task.title} {spec}")
                ran = _ran(prepared, one, spec, features, folder, workers, advance)
                found.append(
                    Cell(
                        task=one.task.name,
                        model=spec,
                        names=features.names,
                        widths=tuple(prepared.stack[i].width for i in layers),
                        norms=tuple(norms[i] for i in layers),
                        ran=ran,
                        truth={
                            r.name: features.part(r, "test")[0].targets.numpy()
                            for r in one.data.rounds
                        },
                        groups=groups_of(one.data, features),
                        classes=sum(len(names) for names in one.data.classes.values()),
                        measures=one.task.measures,
                    )
                )
    return found


def _ran(
    prepared: Prepared,
    one: Asked,
    spec: str,
    features: Features,
    folder: Path,
    workers: int,
    advance: Advance,
) -> list[Ran]:
    """Every probe of a cell; each round is kept on disk as soon as it is done."""
    config, protocol = prepared.config, prepared.protocol
    plan = protocol.of(one.task.name).plan(one.task.measures[0])
    classes = [len(names) for names in one.data.classes.values()]
    layers = len(features.names)
    wanted = probes_of(layers, protocol.lrs, protocol.seeds, config.seed, controls=config.controls)
    found: list[Ran] = []

    def stage(probes: Sequence[Probe], name: str) -> None:
        for division in one.data.rounds:
            key = fingerprint([one.task.name, spec, division.name, name])[:16]
            path = folder / STATE / "heads" / f"{one.task.name}-{key}.npz"
            if path.exists():
                found.extend(_read(path, probes))
                advance(len(probes))
                continue
            made = run_round(
                features, division, classes, plan, probes, workers=workers, done=advance
            )
            _keep(path, made)
            found.extend(made)

    stage(wanted, "grid")
    if config.ablation and layers > 2:
        lr = chosen(found, SUM)[0].probe.lr
        stage(ablations(layers, lr, protocol.seeds, config.seed), "without")
    return found


def _described(one: Asked, cells: Sequence[Cell]) -> dict[str, Any]:
    """A task as the record holds it, with the keys of a property: its curves are drawn alike."""
    task, data = one.task, one.data
    sizes = [{name: len(part) for name, part in r.parts.items()} for r in data.rounds]
    majority = []
    for division in data.rounds:
        train, test = division.parts["train"], division.parts["test"]
        rows, counts = np.unique(train.targets, axis=0, return_counts=True)
        majority.append(float((test.targets == rows[counts.argmax()]).all(axis=1).mean()))
    mine = [cell for cell in cells if cell.task == task.name]
    diverged = sum(r.diverged for cell in mine for r in cell.ran)
    notices = list(data.notes)
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
        "majority": float(np.mean(majority)),
        "facts": [
            {
                "classes": {name: list(names) for name, names in data.classes.items()},
                "examples": sizes,
                "dropped": dict(data.dropped),
            }
        ],
        "notices": notices,
    }


def _keep(path: Path, made: Sequence[Ran]) -> None:
    """Trained probes on disk; arrays and text only."""
    width = max(len(one.weights) for one in made)
    weights = np.full((len(made), width), np.nan)
    for i, one in enumerate(made):
        weights[i, : len(one.weights)] = one.weights
    with atomic_write(path) as file:
        np.savez(
            file,
            layer=np.array([one.layer for one in made]),
            round=np.array([one.round for one in made]),
            dev=np.array([one.dev for one in made]),
            step=np.array([one.step for one in made]),
            weights=weights,
            diverged=np.array([one.diverged for one in made]),
            right=np.array([one.right for one in made]),
            test=np.array([one.test for one in made]),
        )


def _read(path: Path, probes: Sequence[Probe]) -> list[Ran]:
    try:
        with np.load(path, allow_pickle=False) as saved:
            held: Mapping[str, Any] = {name: saved[name] for name in saved.files}
        return [
            Ran(
                layer=str(held["layer"][i]),
                round=str(held["round"][i]),
                probe=probe,
                dev=tuple(float(v) for v in held["dev"][i]),
                step=int(held["step"][i]),
                weights=held["weights"][i][: len(probe.layers)],
                diverged=bool(held["diverged"][i]),
                right=held["right"][i],
                test=held["test"][i],
            )
            for i, probe in enumerate(probes)
        ]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StorageError(
            f"the kept heads {path} are damaged",
            got=str(error),
            fix="delete that file and run the same command again",
        ) from None


def _write(path: Path, lines: Iterable[dict[str, object]]) -> None:
    import pandas as pd

    frame = pd.DataFrame(list(lines))
    if len(frame):
        with atomic_write(path) as file:
            frame.to_parquet(file, index=False)
