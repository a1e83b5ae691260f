"""The similarity job: every layer of every model against every other, in one pass."""

from __future__ import annotations

import math
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voxstrata.errors import ResultsError, RunInterruptedError, StorageError
from voxstrata.files import lock, read_json, storage_errors, write_json
from voxstrata.results import CSV, RECORD, TABLE, Results, load_results, write_results
from voxstrata.similarity.minibatch_reducer import MinibatchReducer
from voxstrata.similarity.prepare import (
    PLAN,
    STATE,
    Prepared,
    UnitJob,
    describe,
    enough_rows,
    prepare,
)
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.similarity.sweep import DTYPES, UnitValues, Work, pair_count, sweep
from voxstrata.similarity.table import to_rows
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.onepass import Pass, PassReport, Sink
from voxstrata.streaming.progress import bar
from voxstrata.streaming.reducers import Reducer
from voxstrata.streaming.store import StoreReducer

Overwrite = Literal["always", "missing", "never", "only-cache"]


@dataclass(frozen=True)
class Hooks:
    """How the job tells its caller what it is doing.

    Attributes:
        planned: called with the prepared run before work starts.
        progress: show progress bars.
    """

    planned: Callable[[Prepared], None] = lambda _prepared: None
    progress: bool = False


def run_similarity(
    config: SimilarityConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks | None = None,
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
    folder, hooks = Path(out), hooks or Hooks()
    if overwrite == "only-cache":
        return load_results(folder)
    with lock(folder):
        begun = time.perf_counter()
        # The record is written last: without it a run was killed while it wrote its results.
        finished = (folder / TABLE).exists() and (folder / RECORD).exists()
        if finished and overwrite == "never":
            raise ResultsError(
                f"{folder} holds results already",
                fix="choose another folder, or --overwrite always to replace them",
            )
        prepared = prepare(config, folder, afresh=overwrite == "always")
        if finished and overwrite == "missing":
            _same_run(folder, prepared)
            if (folder / STATE).exists():  # killed while it cleaned up
                _clean_up(folder, config.keep_store)
            return load_results(folder)
        if overwrite == "always":
            _clear(folder)
        hooks.planned(prepared)
        try:
            return _compute(prepared, folder, hooks, begun)
        except (KeyboardInterrupt, RunInterruptedError) as stop:
            command = "the same command again"
            if overwrite == "always":
                command = "the same command with --overwrite missing"
            raise RunInterruptedError(
                "stopped by Ctrl-C",
                got=getattr(stop, "got", None),
                fix=f"run {command}: it goes on from what {folder} holds",
            ) from None


def _same_run(folder: Path, prepared: Prepared) -> None:
    record = load_results(folder).record
    if record.get("identity") == prepared.identity:
        return
    then, now = record.get("config", {}), prepared.config.model_dump(mode="json")
    changed = [
        f"{name}: {then.get(name)!r} then, {value!r} now"
        for name, value in now.items()
        if then.get(name) != value
    ]
    raise ResultsError(
        f"{folder} holds results of other settings, models, corpus or version",
        got="; ".join(changed) or "the same settings, but other weights, recordings or version",
        expected="what that run was asked for",
        fix="choose another folder, or --overwrite always to replace them",
    )


def _clear(folder: Path) -> None:
    for name in (RECORD, TABLE, CSV):
        (folder / name).unlink(missing_ok=True)
    for name in (STATE, "store"):
        _remove(folder / name)


def _remove(folder: Path) -> None:
    """Delete a folder; what cannot be deleted is told, since it would be taken for our own."""
    if folder.exists():
        with storage_errors(folder):
            shutil.rmtree(folder)


def _clean_up(folder: Path, keep_store: bool) -> None:
    if not keep_store:
        shutil.rmtree(folder / "store", ignore_errors=True)
    shutil.rmtree(folder / STATE, ignore_errors=True)


def _compute(prepared: Prepared, folder: Path, hooks: Hooks, begun: float) -> Results:
    state = folder / STATE
    resumed = _remember_plan(state, prepared)
    sinks = [_sink(job, prepared, folder) for job in prepared.jobs]
    report = _one_pass(prepared, sinks, state, hooks)
    _check_rows(prepared, report)
    passed = time.perf_counter()
    results = [sink.reducer.finish() for sink in sinks]
    for sink in sinks:
        if isinstance(sink.reducer, MinibatchReducer) and sink.reducer.lost:
            lost = report.dropped.setdefault(sink.name, {})
            lost["in a minibatch of fewer than four rows"] = sink.reducer.lost
    # The models have done their work; their memory is worth more to the products.
    models = [_describe_model(prepared, position) for position in range(len(prepared.models))]
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
    record = _record(prepared, report, models) | {
        "resumed": resumed,
        "wall_s": round(done - begun, 3),
        "wall_parts_s": {
            "prepare and pass": round(passed - begun, 3),
            "measures": round(done - passed, 3),
        },
        "peak_memory_bytes": _peak_memory(),
    }
    write_results(folder, rows, _plain(record))
    _clean_up(folder, prepared.config.keep_store)
    return load_results(folder)


def _plain(value: Any) -> Any:
    """The record as JSON holds it: details come from models and corpora, anybody's too, and one
    odd number among them must not cost the run."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()  # numpy and torch scalars
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def _check_rows(prepared: Prepared, report: PassReport) -> None:
    """What was skipped in the pass may have left too few rows: say so before computing."""
    for job in prepared.jobs:
        by_fold = [n for n in report.fold_rows.get(job.unit.name, {}).values() if n]
        enough_rows(job.unit.name, by_fold or [0], prepared.measures, prepared.config.max_rows)


def _remember_plan(state: Path, prepared: Prepared) -> bool:
    """Write down the plan, or check an unfinished run against it; returns whether there is one."""
    path = state / PLAN
    if not path.exists():
        # A store without a plan is of another run: its shards must not get among ours.
        _remove(state.parent / "store")
        _remove(state)
        plan = [job.plan.facts() for job in prepared.jobs]
        write_json(path, {"identity": prepared.identity, "plan": plan})
        return False
    if read_json(path).get("identity") != prepared.identity:
        raise StorageError(
            f"{state.parent} holds an unfinished run of other settings, models or corpus",
            fix="use another output folder, or --overwrite always to discard that run",
        )
    return True


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
        reducer = StoreReducer(folder / "store" / job.unit.name, layers, dtype=dtype, meta=meta)
    return Sink(job.unit, job.layers, reducer, job.unit.name)


def _one_pass(prepared: Prepared, sinks: list[Sink], state: Path, hooks: Hooks) -> PassReport:
    utterances = prepared.corpus.utterances
    work = Pass(
        utterances,
        prepared.models,
        prepared.stack,
        sinks,
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=state,
        identity=prepared.identity,
        every=prepared.every,
    )
    seconds = sum(utterance.duration_s for utterance in utterances)
    with bar("models", seconds, "s of speech", show=hooks.progress) as advance:
        return work.run(advance)


def _describe_model(prepared: Prepared, position: int) -> dict[str, Any]:
    model = prepared.models[position]
    return {
        "spec": model.spec,
        "family": model.family,
        "fingerprint": model.fingerprint,
        "random": bool(model.details.get("random")),
        "details": dict(model.details),
        "layers": [layer.describe() for layer in prepared.stack if layer.model == position],
    }


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


def _record(prepared: Prepared, report: PassReport, models: list[dict[str, Any]]) -> dict[str, Any]:
    config, corpus = prepared.config, prepared.corpus
    speakers = {u.tiers["speaker"] for u in corpus.utterances if u.tiers.get("speaker")}
    skipped = [{"id": p.id, "what": p.what} for p in corpus.skipped] + report.skipped
    notices = list(prepared.notices) + _few_rows(prepared, report)
    if report.skipped:
        count = len(report.skipped)
        what = "recording was" if count == 1 else "recordings were"
        notices.append(f"{count} {what} skipped during the run.")
    return {
        "job": "similarity",
        "study": config.study,
        "identity": prepared.identity,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "config": config.model_dump(mode="json"),
        "models": models,
        "corpus": {
            "spec": config.corpus,
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "utterances": report.recordings,
            "seconds": round(report.seconds, 3),
            "speakers": len(speakers),
            "skipped": skipped,
            "details": dict(corpus.details),
        },
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
