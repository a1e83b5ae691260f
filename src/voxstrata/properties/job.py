"""The properties job: every property of every layer of every model, from one pass."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.errors import NumericsError, UsageError
from voxstrata.files import atomic_write, fingerprint
from voxstrata.properties.prepare import Prepared, prepare
from voxstrata.properties.property import Property, Score, TooFewError
from voxstrata.properties.samples import StoredSample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.table import Scored, to_rows
from voxstrata.results import Results, Row, load_results, write_results
from voxstrata.streaming.cluster.run import run_pass
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
    open_in,
    peak_memory,
    plain,
    run_in,
    sit_down,
)
from voxstrata.streaming.setup import LeftOut, away_of, corpus_record
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.sums import read_sealed_json, write_sealed_json

FOLDS = "folds.parquet"
"""Scores of single folds: what ``voxstrata layers`` needs to check a choice on other speakers."""


def run_properties(
    config: PropertiesConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Measure what every layer encodes and write results into a folder.

    Args:
        config: the settings.
        out: output folder.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and plan display.

    Returns:
        the results, as read back from ``out``.

    Raises:
        VoxstrataError: see :func:`voxstrata.properties.prepare.prepare`; ``RunInterruptedError`` on
            Ctrl-C, after which the same call goes on where it stopped; ``UsageError`` if every
            property had too few units.
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


def open_properties(config: PropertiesConfig, out: str | Path) -> Pass | None:
    """The pass of :func:`run_properties`, to be made together with those of other jobs.

    See :func:`voxstrata.streaming.together.advance_together`, which holds the folder's lock;
    ``None`` if the folder holds results.

    Raises:
        VoxstrataError: see :func:`voxstrata.properties.prepare.prepare`.
    """
    folder = Path(out)
    return open_in(folder, prepare=lambda: prepare(config, folder), plan=_plan, make=_pass)


def _plan(prepared: Prepared) -> list[dict[str, Any]]:
    return [
        {"sample": s.name, "rows": s.rows, "disk_bytes": s.disk_bytes} for s in prepared.samples
    ]


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    plan = _plan(prepared)
    sitting = sit_down(folder, prepared.identity, plan)
    report, samples = _one_pass(prepared, folder, hooks)
    passed = time.perf_counter()
    models = [
        describe_model(model, prepared.stack, position)
        for position, model in enumerate(prepared.models[: prepared.asked])
    ]
    prepared.models.clear()  # their memory is worth more to the measures
    found = _measure(prepared, samples, folder, hooks)
    if not found.rows:
        reasons = "; ".join(
            f"{item.name}: {item.reason.removeprefix(f'{item.name}: ')}"
            for item in found.refused[:8]
        )
        raise UsageError(
            "no property has enough units in this corpus",
            got=reasons,
            expected="at least one with enough",
            fix="use --scale small, or a larger corpus",
        )
    done = time.perf_counter()
    record = {
        "job": "properties",
        "study": prepared.config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": prepared.config.model_dump(mode="json"),
        "models": models,
        "twins": prepared.twins,
        "corpus": corpus_record(
            prepared.corpus,
            prepared.config.corpus,
            report.recordings,
            report.seconds,
            report.skipped,
        ),
        "plan": plan,
        "properties": found.described,
        "left_out": [dataclasses.asdict(item) for item in prepared.left_out],
        "refused": [dataclasses.asdict(item) for item in found.refused],
        "folds": max(prepared.folds) + 1,
        "group": prepared.config.group,
        "seed": prepared.config.seed,
        "device": prepared.device,
        "rows": report.rows,
        "dropped": report.dropped,
        "noted": report.noted,
        "clock_s": {name: round(spent, 3) for name, spent in report.clock.items()},
        "notices": [*prepared.notices, *_skipped_notice(report)],
        **sitting.timed(
            done - begun, {"prepare and pass": passed - begun, "properties": done - passed}
        ),
        "peak_memory_bytes": peak_memory(),
    }
    _write_folds(folder / FOLDS, found.scored)
    write_results(folder, found.rows, plain(record))
    clean_up(folder, prepared.config)
    return load_results(folder)


def _skipped_notice(report: PassReport) -> list[str]:
    count = len(report.skipped)
    if not count:
        return []
    what = "recording was" if count == 1 else "recordings were"
    return [f"{count} {what} skipped during the run."]


def _pass(prepared: Prepared, folder: Path) -> Pass:
    sinks = []
    for sample in prepared.samples:
        layers = [prepared.stack[position] for position in sample.layers]
        meta = {"unit": sample.unit.describe(), "identity": prepared.identity}
        reducer = StoreReducer(folder / STORE / sample.name, layers, meta=meta)
        sinks.append(Sink(sample.unit, sample.layers, reducer, sample.name))
    return Pass(
        prepared.corpus.utterances,
        prepared.models,
        prepared.stack,
        sinks,
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=folder / STATE,
        identity=prepared.identity,
        folds=prepared.folds,
        source=prepared.corpus.fingerprint,
        away=away_of(prepared.config),
    )


def _one_pass(
    prepared: Prepared, folder: Path, hooks: Hooks[Prepared]
) -> tuple[PassReport, list[StoredSample]]:
    work, corpus = _pass(prepared, folder), prepared.corpus
    with bar("models", corpus.seconds, "s of speech", show=hooks.progress) as advance:
        report = run_pass(work, advance, hooks.say)
    by_id = {utterance.id: utterance for utterance in corpus.utterances}
    stored = [
        StoredSample(sample, store, prepared.stack, by_id)
        for sample, store in zip(prepared.samples, _finish(work.sinks), strict=True)
        if store.rows
    ]
    return report, stored


def _finish(sinks: Sequence[Sink]) -> list[RowStore]:
    return [sink.reducer.finish() for sink in sinks]


@dataclass
class _Found:
    """What measuring brought."""

    rows: list[Row]
    described: list[dict[str, Any]]
    refused: list[LeftOut]
    scored: dict[str, list[Scored]]


def _measure(
    prepared: Prepared, samples: list[StoredSample], folder: Path, hooks: Hooks[Prepared]
) -> _Found:
    config = prepared.config
    found = _Found([], [], [], {})
    layers = {
        one.name: sum(len(s.plan.scored) for s in samples if s.plan.kind == one.unit)
        for one in prepared.properties
    }
    total = config.draws * sum(layers.values())
    with bar("properties", total, "layers", show=hooks.progress) as advance:
        for one in prepared.properties:
            advance.at(one.name)
            begun = time.perf_counter()
            scored: list[Scored] = []
            facts: list[dict[str, Any]] = []
            notices: list[str] = []
            reasons: list[str] = []
            for stored in (s for s in samples if s.plan.kind == one.unit):
                for draw in range(config.draws):
                    path = folder / STATE / "scores" / _file(one.name, stored.plan.name, draw)
                    part = _one_draw(one, stored, config, draw, path, advance)
                    scored += part.scored
                    facts.append({"sample": stored.plan.name, "draw": draw, **part.facts})
                    notices += part.notices
                    reasons += [part.refused] if part.refused else []
            if scored:
                found.rows += to_rows(one, scored, config.study, config.seed)
                found.scored[one.name] = scored
                notices += [f"Not on every sample: {reason}" for reason in reasons]
            else:
                found.refused.append(LeftOut(one.name, reasons[0] if reasons else "no rows"))
            found.described.append(
                {
                    "name": one.name,
                    "title": one.title,
                    "group": one.group,
                    "unit": one.unit,
                    "main": _main(one, scored),
                    "better": one.better,
                    "facts": facts,
                    "notices": list(dict.fromkeys(notices)),
                    "rows": len(scored),
                    "wall_s": round(time.perf_counter() - begun, 3),
                }
            )
    found.described = [item for item in found.described if item["rows"]]
    return found


def _main(one: Property, scored: list[Scored]) -> str:
    """The measure of its curve: presets name theirs otherwise ("pwcca-pasad")."""
    measures = [item.score.measure for item in scored if not item.score.control]
    return one.main if one.main in measures or not measures else measures[0]


def _file(name: str, sample: str, draw: int) -> str:
    """File of a property's scores: its own for every name, whatever characters and length."""
    readable = "".join(c if c.isalnum() or c in "-." else "_" for c in name)[:60]
    return f"{readable}-{fingerprint([name, sample])[:12]}-{sample}-{draw}.json"


@dataclass
class _Part:
    """One property on one draw of one sample."""

    scored: list[Scored]
    facts: dict[str, Any]
    notices: list[str]
    refused: str


def _one_draw(
    one: Property,
    stored: StoredSample,
    config: PropertiesConfig,
    draw: int,
    path: Path,
    advance: Advance,
) -> _Part:
    """Scores of every layer; kept on disk, so that a stopped run need not make them again."""
    scored_layers = stored.plan.scored
    if path.exists():
        advance(len(scored_layers))
        return _read_part(path)
    sample = stored.sample
    part = _Part([], {}, [], "")
    try:
        drawn = one.draw(sample, config, config.seed + draw)
    except (NumericsError, TooFewError) as error:
        said = (("got", error.got), ("expected", error.expected))
        detail = ", ".join(f"{name} {text}" for name, text in said if text is not None)
        part.refused = f"{error.what} ({detail})" if detail else error.what
        advance(len(scored_layers))
    else:
        for position in scored_layers:
            layer = stored.stack[position]
            rows = sample.read(stored.plan.layers.index(position))
            try:
                undefined = []
                for score in drawn.score(rows, layer):
                    if math.isfinite(score.value):
                        part.scored.append(Scored(layer.name, layer.info.name, draw, score))
                    elif not score.control:
                        undefined.append(score.measure)
                if undefined:
                    part.notices.append(f"{layer.key}: {', '.join(undefined)} not defined")
            except (NumericsError, TooFewError) as error:
                part.notices.append(f"{layer.key}: {error.what}")
            advance(1)
        part.facts, part.notices = dict(drawn.facts), [*drawn.notices, *part.notices]
    write_sealed_json(path, plain(_written(part)))
    return part


def _written(part: _Part) -> dict[str, Any]:
    return {
        "facts": part.facts,
        "notices": part.notices,
        "refused": part.refused,
        "scored": [
            {
                "model": item.model,
                "layer": item.layer,
                "draw": item.draw,
                "score": dataclasses.asdict(item.score),
            }
            for item in part.scored
        ],
    }


def _read_part(path: Path) -> _Part:
    saved = read_sealed_json(path, "delete that file and run the same command again")
    scored = []
    for item in saved["scored"]:
        raw = item["score"]
        low, high = raw["bounds"]
        raw["bounds"] = (
            -math.inf if low is None else low,
            math.inf if high is None else high,
        )
        raw["by_fold"] = tuple((int(fold), float(value)) for fold, value in raw["by_fold"])
        scored.append(Scored(item["model"], item["layer"], item["draw"], Score(**raw)))
    return _Part(scored, saved["facts"], saved["notices"], saved["refused"])


def _write_folds(path: Path, scored: dict[str, list[Scored]]) -> None:
    """Scores of single folds as a long table; no file where no property has any."""
    import pandas as pd

    lines = [
        (name, item.model, item.layer, item.score.measure, item.draw, fold, value)
        for name, items in scored.items()
        for item in items
        if not item.score.control
        for fold, value in item.score.by_fold
    ]
    if not lines:
        return
    columns = ["property", "model", "layer", "measure", "draw", "fold", "score"]
    with atomic_write(path) as file:
        pd.DataFrame(lines, columns=columns).to_parquet(file, index=False)
