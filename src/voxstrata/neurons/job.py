"""The neurons job: counts, selections with their nulls, sets of neurons, tables."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import LabelError, RunInterruptedError, VoxstrataError
from voxstrata.files import atomic_write, storage_errors
from voxstrata.neurons.analysis import Found, analyse
from voxstrata.neurons.conditions.condition import Contrast, Labels
from voxstrata.neurons.conditions.parse import learners
from voxstrata.neurons.counts import UnitCounts
from voxstrata.neurons.matches import matches
from voxstrata.neurons.passes import LEARNED, Counted, count, counting, learned, save_counts
from voxstrata.neurons.prepare import Prepared, describe, prepare, with_vectors
from voxstrata.neurons.ranked import rank, wanted
from voxstrata.neurons.rules import Rule
from voxstrata.neurons.sensitivity import compared
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.table import match_rows, neuron_table, ranked_rows, rows_of, sweep_rows
from voxstrata.neurons.unit_vectors import IVECTOR, VECTORS, Vectors
from voxstrata.results import Results, Row, load_results, write_results
from voxstrata.streaming.onepass import Pass
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import (
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

if TYPE_CHECKING:
    import pandas as pd

NEURONS, MAPS, SETS, COUNTS = "neurons.parquet", "patterns.parquet", "sets", "counts"
"""Every neuron; rows of conditions as patterns in the plane; the sets as files; the counts."""

LABELS = "labels.csv"
"""Labels of recordings that made groups: a line a recording, a column a label."""


def run_neurons(
    config: NeuronsConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Find the neurons of models that tell groups of recordings or frames apart.

    Args:
        config: the settings.
        out: output folder; besides the results it gets ``neurons.parquet``, ``labels.csv``,
            ``sets/`` and ``counts/``. Nothing is written into one that is refused.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and plan display.

    Returns:
        the results, as read back from ``out``.

    Raises:
        VoxstrataError: see :func:`voxstrata.neurons.prepare.prepare`; ``RunInterruptedError`` on
            Ctrl-C, after which the same call goes on where it stopped.
    """
    folder, hooks = Path(out), hooks or Hooks[Prepared]()
    begun = time.perf_counter()

    def compute(prepared: Prepared) -> Results:
        if overwrite == "always":
            _discard(folder, prepared)
        return _compute(prepared, folder, hooks, begun)

    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config),
        planned=hooks.planned,
        compute=compute,
    )


def open_neurons(config: NeuronsConfig, out: str | Path) -> Pass | None:
    """The pass of :func:`run_neurons` that counts, to be made together with those of other jobs.

    See :func:`voxstrata.streaming.together.advance_together`, which holds the folder's lock;
    ``None`` if the folder holds results, or something must be learned before frames are counted
    (clusters, thresholds, labels from vectors): the job does that by itself.

    Raises:
        VoxstrataError: see :func:`voxstrata.neurons.prepare.prepare`.
    """
    folder = Path(out)
    return open_in(
        folder,
        prepare=lambda: prepare(config),
        plan=describe,
        make=lambda prepared, place: counting(prepared, place, Hooks[Prepared]()),
        able=lambda prepared: not prepared.vectors and learned(prepared, folder),
    )


def _discard(folder: Path, prepared: Prepared) -> None:
    """Delete what an earlier run left, but for models and vectors that this one is to read."""
    read = [Path(text.rpartition("@")[0] or text).expanduser() for text in prepared.vectors if text]
    with storage_errors(folder):
        for name in (IVECTOR, VECTORS, LEARNED, SETS, COUNTS):
            place = folder / name
            used = any(path.resolve().is_relative_to(place.resolve()) for path in read)
            if place.exists() and not used:
                shutil.rmtree(place)
        for name in (NEURONS, MAPS, LABELS):
            (folder / name).unlink(missing_ok=True)


def _labelled(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], resumed: bool) -> Prepared:
    """The run with all labels; where they cannot be made, nothing has begun."""
    config = prepared.config
    try:
        return with_vectors(prepared, Vectors(folder, config.ivector, config.seed, hooks.say))
    except RunInterruptedError:
        raise
    except VoxstrataError:
        if not resumed:
            clean_up(folder, config)
        raise


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    asked = prepared.identity
    sitting = sit_down(folder, asked, describe(prepared))
    prepared = _labelled(prepared, folder, hooks, sitting.resumed)
    counted = count(prepared, folder, hooks)
    passed = time.perf_counter()
    found = _selected(prepared, counted, hooks)
    notes: list[str] = []
    steps = sum(len(wanted(one, prepared)) * len(one.neurons) for one in prepared.analysed)
    with bar("rankings", steps, "layers", show=hooks.progress) as advance:
        ranked = list(rank(prepared, counted, notes, lambda _layer: advance(1)))
    rows = _rows(prepared, counted, found, notes)
    for layer in ranked:
        rows += ranked_rows(layer, prepared.config.study, prepared.config.seed)
    _save(folder, prepared, counted, found)
    done = time.perf_counter()
    record = {
        **_record(prepared, counted, found, notes),
        "identity": asked,
        **sitting.timed(
            done - begun, {"prepare and pass": passed - begun, "statistics": done - passed}
        ),
        "peak_memory_bytes": peak_memory(),
    }
    write_results(folder, rows, plain(record))
    clean_up(folder, prepared.config)
    return load_results(folder)


def _selected(prepared: Prepared, counted: Counted, hooks: Hooks[Prepared]) -> list[Found]:
    """Every contrast of every model, with its null; one with a group without frames is left out.

    Raises:
        LabelError: that is so of all of them.
    """
    found: list[Found] = []
    refused: LabelError | None = None
    steps = sum(len(one.contrasts) * len(one.neurons) for one in prepared.analysed)
    with bar("nulls", steps, "layers", show=hooks.progress) as advance:
        for one, counts in zip(prepared.analysed, counted.counts, strict=True):
            for contrast in list(one.contrasts):
                advance.at(f"{contrast.name} {one.model.spec}")
                own = counts[contrast.rows.name]
                try:
                    made = analyse(contrast, own, prepared, one.model, lambda _layer: advance(1))
                except LabelError as error:  # a group without a frame: known after the pass alone
                    refused = error
                    gone = LeftOut(contrast.name, f"{error.what}: {error.got}")
                    if gone not in prepared.left_out:
                        prepared.left_out.append(gone)
                    one.contrasts.remove(contrast)
                    continue
                found.append(made)
    if refused is not None and not found:
        raise refused
    return found


def _rows(prepared: Prepared, counted: Counted, found: list[Found], notes: list[str]) -> list[Row]:
    """Numbers of selections, of matches with known classes, and of the sweep."""
    config = prepared.config
    rows: list[Row] = []
    for each in found:
        rows += rows_of(each, config.study, config.seed)
    for match in matches(prepared, counted):
        rows += match_rows(match, config.study, config.seed)
    for number, one in enumerate(prepared.analysed):
        for name, table in _swept(prepared, counted, number, notes):
            mine = next(e for e in found if (e.model, e.contrast) == (one.model.spec, name))
            rows += sweep_rows(mine, table, config.study, config.seed)
    return rows


def _save(folder: Path, prepared: Prepared, counted: Counted, found: list[Found]) -> None:
    """Sets, counts, neurons, maps and labels beside the results."""
    for name in (SETS, COUNTS):  # an earlier run's, of other contrasts, must not lie beside ours
        shutil.rmtree(folder / name, ignore_errors=True)
    models = {one.model.spec: one.model for one in prepared.analysed}
    for each in found:
        model, place = models[each.model], folder / SETS / _name(each.model)
        each.neuron_set(model).save(place / f"{_name(each.contrast)}.json")
        if (tested := each.tested_set(model)) is not None:
            tested.save(place / f"{_name(each.contrast)}-tested.json")
    for one, counts in zip(prepared.analysed, counted.counts, strict=True):
        save_counts(counts, folder / COUNTS / _name(one.model.spec))
    _write_neurons(folder / NEURONS, found)
    _write_maps(folder / MAPS, found)
    _write_labels(folder / LABELS, prepared)


def _record(
    prepared: Prepared, counted: Counted, found: list[Found], notes: list[str]
) -> dict[str, Any]:
    config, stack, report = prepared.config, prepared.stack(), counted.report
    said = [*prepared.notices, *(note for each in found for note in each.notes), *notes]
    return {
        "job": "neurons",
        "study": config.study,
        "command": command_line(),
        "config": config.model_dump(mode="json"),
        "models": [
            describe_model(one.model, stack, position)
            for position, one in enumerate(prepared.analysed)
        ],
        "twins": prepared.twins,
        "corpus": corpus_record(
            prepared.corpus, config.corpus, report.recordings, report.seconds, report.skipped
        ),
        "plan": describe(prepared),
        "contrasts": [_contrast(each) for each in found],
        "learned": [
            {"model": one.model.spec, "name": part.name, **part.facts}
            for one in prepared.analysed
            for part in learners(one.conditions)
        ],
        "labels": _labels(prepared),
        "left_out": [dataclasses.asdict(item) for item in prepared.left_out],
        "units": prepared.by,
        "seed": config.seed,
        "device": prepared.device,
        "rows": report.rows,
        "clock_s": {name: round(spent, 3) for name, spent in report.clock.items()},
        "notices": list(dict.fromkeys(said)),
    }


def _swept(
    prepared: Prepared, counted: Counted, number: int, notes: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The contrasts of a model made otherwise, against those asked for."""
    one = prepared.analysed[number]

    def counts(contrast: Contrast, rule: Rule | None) -> UnitCounts:
        if rule is None or rule is one.rule:
            return counted.counts[number][contrast.rows.name]
        return counted.under[number][rule.name][contrast.rows.name]

    return compared(
        one.contrasts,
        one.variants,
        counts,
        prepared.members,
        one.model,
        prepared.config.sigma,
        notes,
    )


def _contrast(found: Found) -> dict[str, Any]:
    null = found.null
    return {
        "model": found.model,
        "name": found.contrast,
        "groups": list(found.counts.groups),
        "rows": int((found.counts.group_of >= 0).sum()),
        "frames": int(found.counts.seen.sum()),
        "thin": found.thin,
        "moved": found.moved,
        "units": found.units,
        "draws": 0 if null is None else null.total().draws,
        "labellings": None if null is None else null.arrangements,
    }


def _used(prepared: Prepared) -> list[Labels]:
    """Labels of recordings that groups came from, each once."""
    found = {
        c.labels.name: c.labels for one in prepared.analysed for c in one.contrasts if c.labels
    }
    return list(found.values())


def _labels(prepared: Prepared) -> list[dict[str, Any]]:
    return [
        {"name": labels.name, "groups": list(labels.groups), **labels.details}
        for labels in _used(prepared)
    ]


def _write_labels(path: Path, prepared: Prepared) -> None:
    """The group of every recording by every label; an empty cell where it has none."""
    import pandas as pd

    ids = [utterance.id for utterance in prepared.corpus.utterances]
    columns = {
        labels.name: [labels.groups[labels.of[i]] if i in labels.of else "" for i in ids]
        for labels in _used(prepared)
    }
    if columns:
        with atomic_write(path) as file:
            pd.DataFrame({"utterance": ids, **columns}).to_csv(file, index=False)
    else:
        path.unlink(missing_ok=True)  # an earlier run's


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.") or "set"


def _write_neurons(path: Path, found: list[Found]) -> None:
    import pandas as pd

    frame = pd.concat([neuron_table(each) for each in found], ignore_index=True)
    with atomic_write(path) as file:
        frame.to_parquet(file, index=False)


def _write_maps(path: Path, found: list[Found]) -> None:
    import pandas as pd

    lines = [
        {
            "model": each.model,
            "contrast": each.contrast,
            "layer": layer,
            "row": row,
            "group": each.counts.groups[int(group)],
            "x": float(x),
            "y": float(y),
        }
        for each in found
        for layer, one in each.maps.items()
        for row, group, (x, y) in zip(one.rows, one.group_of, one.places, strict=True)
    ]
    names = ("model", "contrast", "layer", "row", "group", "x", "y")
    with atomic_write(path) as file:
        pd.DataFrame(lines, columns=list(names)).to_parquet(file, index=False)
