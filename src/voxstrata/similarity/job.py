"""The similarity job: every layer of every model against every other, in one pass."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxstrata.results import Results, load_results, write_results
from voxstrata.similarity.minibatch_reducer import MinibatchReducer
from voxstrata.similarity.prepare import Prepared, UnitJob, describe, enough_rows, prepare
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.similarity.sweep import DTYPES, UnitValues, Work, pair_count, sweep
from voxstrata.similarity.table import to_rows
from voxstrata.streaming.cluster.run import run_pass
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.onepass import Pass, PassReport, Sink
from voxstrata.streaming.progress import bar
from voxstrata.streaming.reducers import Reducer
from voxstrata.streaming.runs import (
    STATE,
    STORE,
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
from voxstrata.streaming.setup import away_of, corpus_record
from voxstrata.streaming.store import StoreReducer


def run_similarity(
    config: SimilarityConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Compute the similarity of every pair of layers and write results into a folder.

    Args:
        config: the settings.
        out: output folder.
        overwrite: what to do if ``out`` holds results already: "missing" keeps them if they are
            of the same settings (and finishes an unfinished run), "always" starts afresh,
            "never" refuses, "only-cache" returns what is there and computes nothing.
        hooks: progress and plan display.

    Returns:
        the results, as read back from ``out``.

    Raises:
        VoxstrataError: see :func:`voxstrata.similarity.prepare.prepare`; ``RunInterruptedError`` on
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


def open_similarity(config: SimilarityConfig, out: str | Path) -> Pass | None:
    """The pass of :func:`run_similarity`, to be made together with those of other jobs.

    See :func:`voxstrata.streaming.together.advance_together`, which holds the folder's lock;
    ``None`` if the folder holds results.

    Raises:
        VoxstrataError: see :func:`voxstrata.similarity.prepare.prepare`.
    """
    folder = Path(out)
    return open_in(folder, prepare=lambda: prepare(config, folder), plan=_plan, make=_pass)


def _plan(prepared: Prepared) -> list[dict[str, Any]]:
    return [job.plan.facts() for job in prepared.jobs]


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    state = folder / STATE
    sitting = sit_down(folder, prepared.identity, _plan(prepared))
    one = _pass(prepared, folder)
    sinks = one.sinks
    with bar("models", prepared.corpus.seconds, "s of speech", show=hooks.progress) as advance:
        report = run_pass(one, advance, hooks.say)
    _check_rows(prepared, report)
    passed = time.perf_counter()
    results = [sink.reducer.finish() for sink in sinks]
    for sink in sinks:
        if isinstance(sink.reducer, MinibatchReducer) and sink.reducer.lost:
            lost = report.dropped.setdefault(sink.name, {})
            lost["in a minibatch of fewer than four rows"] = sink.reducer.lost
    # The models have done their work; their memory is worth more to the products.
    models = [
        describe_model(model, prepared.stack, position)
        for position, model in enumerate(prepared.models)
    ]
    prepared.models.clear()
    values: list[UnitValues] = []
    for job, result in zip(prepared.jobs, results, strict=True):
        work = Work(
            route=job.plan.route,
            measures=prepared.measures,
            precision=prepared.config.precision,
            memory_bytes=prepared.memory_bytes,
            device=prepared.device,
            max_rows=prepared.config.max_rows,
            seed=prepared.config.seed,
            partial=state / f"values-{job.unit.name}.safetensors",
        )
        total = pair_count(len(job.layers))
        with bar(f"pairs ({job.unit.name})", total, "pairs", show=hooks.progress) as advance:
            values.append(sweep(result, work, advance))
    rows = [
        row
        for job, found in zip(prepared.jobs, values, strict=True)
        for row in to_rows(prepared, job, found, {item["id"] for item in report.skipped})
    ]
    done = time.perf_counter()
    parts = {"prepare and pass": passed - begun, "measures": done - passed}
    record = _record(prepared, report, models, values) | sitting.timed(done - begun, parts)
    record["peak_memory_bytes"] = peak_memory()
    write_results(folder, rows, plain(record))
    clean_up(folder, prepared.config)
    return load_results(folder)


def _check_rows(prepared: Prepared, report: PassReport) -> None:
    """What was skipped in the pass may have left too few rows: say so before computing."""
    for job in prepared.jobs:
        by_fold = [n for n in report.fold_rows.get(job.unit.name, {}).values() if n]
        enough_rows(job.unit.name, by_fold or [0], prepared.measures, prepared.config.max_rows)


def _sink(job: UnitJob, prepared: Prepared, folder: Path) -> Sink:
    layers = [prepared.stack[position] for position in job.layers]
    config, plan = prepared.config, job.plan
    folds = max(prepared.folds) + 1
    reducer: Reducer
    if plan.route == "moments":
        reducer = MomentsReducer(
            [layer.width for layer in layers], folds, dtype=DTYPES[config.precision]
        )
    elif plan.route == "minibatch":
        reducer = MinibatchReducer(len(layers), folds, config.minibatch_rows)
    else:
        dtype = "float64" if config.precision == "float64" else "float32"
        meta = {"unit": job.unit.describe(), "identity": prepared.identity}
        reducer = StoreReducer(folder / STORE / job.unit.name, layers, dtype=dtype, meta=meta)
    return Sink(job.unit, job.layers, reducer, job.unit.name)


def _pass(prepared: Prepared, folder: Path) -> Pass:
    return Pass(
        prepared.corpus.utterances,
        prepared.models,
        prepared.stack,
        [_sink(job, prepared, folder) for job in prepared.jobs],
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=folder / STATE,
        identity=prepared.identity,
        every=prepared.every,
        source=prepared.corpus.fingerprint,
        away=away_of(prepared.config),
        # As rarely as checkpoints, but often enough that many workers have something to do.
        task_shards=min(prepared.every, max(1, len(prepared.shards) // 64)),
    )


def _few_rows(prepared: Prepared, report: PassReport) -> list[str]:
    """Measures that overestimate here because rows are few against widths."""
    notices = []
    for job in prepared.jobs:
        rows = report.rows.get(job.unit.name, 0)
        widest = max(prepared.stack[position].width for position in job.layers)
        weak = [
            name
            for name, measure in prepared.measures.items()
            if rows < 10 * measure.few_rows_width(widest, widest)
        ]
        if weak:
            notices.append(
                f"{', '.join(weak)} by {job.unit.name}: {rows} rows against layers up to {widest} "
                "wide (fewer than ten rows a dimension). These measures make views look more alike "
                "than they are, by how much is shown in docs/similarity.md; intervals do not cover "
                "that. Debiased cka does not have this bias."
            )
    return notices


def _weak(prepared: Prepared, values: Sequence[UnitValues]) -> list[str]:
    """Layers with directions so small that float32 products do not resolve them."""
    notices = []
    for job, found in zip(prepared.jobs, values, strict=True):
        if not found.weak:
            continue
        layers = [prepared.stack[job.layers[at]] for at in sorted(found.weak)]
        named = [layer.key for layer in layers[:5]]
        more = f" and {len(layers) - 5} more" if len(layers) > 5 else ""
        notices.append(
            f"By {job.unit.name}, {', '.join(named)}{more} have directions that follow from others "
            "or nearly so: products in float32 cannot tell them from rounding. CCA-like measures "
            "and regression leave them out, or are less exact than 0.001. --precision float64 "
            "tells (docs/numerics.md)."
        )
    return notices


def _record(
    prepared: Prepared,
    report: PassReport,
    models: list[dict[str, Any]],
    values: Sequence[UnitValues],
) -> dict[str, Any]:
    config, corpus = prepared.config, prepared.corpus
    notices = list(prepared.notices) + _few_rows(prepared, report) + _weak(prepared, values)
    if report.skipped:
        count = len(report.skipped)
        what = "recording was" if count == 1 else "recordings were"
        notices.append(f"{count} {what} skipped during the run.")
    return {
        "job": "similarity",
        "study": config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": config.model_dump(mode="json"),
        "models": models,
        "corpus": corpus_record(
            corpus, config.corpus, report.recordings, report.seconds, report.skipped
        ),
        "plan": describe(prepared),
        "measures": [
            {
                "name": name,
                "summary": measure.summary,
                "estimator": measure.estimator,
                "reference": measure.reference,
                "range": [end if math.isfinite(end) else None for end in measure.range],
                "needs": measure.needs,
                "symmetric": measure.symmetric,
                "higher_is_similar": measure.higher_is_similar,
            }
            for name, measure in prepared.measures.items()
        ],
        "folds": max(prepared.folds) + 1,
        "group": config.group,
        "seed": config.seed,
        "device": prepared.device,
        "rows": report.rows,
        "dropped": report.dropped,
        "noted": report.noted,
        "clock_s": {name: round(spent, 3) for name, spent in report.clock.items()},
        "notices": notices,
    }
