"""``voxstrata train``: a configuration in, a model folder out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from voxstrata.corpora.load import JOIN
from voxstrata.errors import StorageError
from voxstrata.files import read_json
from voxstrata.frontend import FrontEnd
from voxstrata.results import RECORD, TABLE, Results, Row, load_results, write_results
from voxstrata.streaming.runs import (
    PLAN,
    STATE,
    Hooks,
    Overwrite,
    command_line,
    peak_memory,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.streaming.setup import corpus_record
from voxstrata.training import distributed, state
from voxstrata.training.engine import Engine, Told
from voxstrata.training.evaluate import speaker_evaluators
from voxstrata.training.export import export
from voxstrata.training.objective import Evaluator, Objective
from voxstrata.training.prepare import Prepared, numbers, prepare
from voxstrata.training.schedules import learning_rate
from voxstrata.training.settings import TrainConfig

MODEL = "model"
"""Folder, inside the output folder, of the trained model."""


def run_training(
    config: TrainConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Train a model; the folder then holds ``model/``, ``train.jsonl``, results and record.

    Under torchrun every process calls this; the first one owns the folder.

    Args:
        config: the settings.
        out: output folder; an unfinished run in it goes on where it stopped.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and messages.

    Raises:
        VoxstrataError: see :func:`voxstrata.training.prepare.prepare` and
            :meth:`voxstrata.training.engine.Engine.run`.
    """
    folder, hooks = Path(out), hooks or Hooks[Prepared]()
    begun = time.perf_counter()
    if distributed.rank() > 0:
        return _follow(config, folder, overwrite, hooks)
    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config),
        planned=hooks.planned,
        compute=lambda prepared: _compute(prepared, folder, hooks, begun),
    )


def _follow(
    config: TrainConfig, folder: Path, overwrite: Overwrite, hooks: Hooks[Prepared]
) -> Results:
    """What every process but the first does."""
    finished = (folder / TABLE).exists() and (folder / RECORD).exists()
    if not (finished and overwrite != "always"):
        _train(prepare(config), folder, hooks)
    return load_results(folder)


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    plan = _plan(prepared)
    _refuse_other(folder, prepared.identity, plan)
    remember_plan(folder, prepared.identity, plan)
    objective, told, front = _train(prepared, folder, hooks, leave=False)
    command = command_line()
    wall = time.perf_counter() - begun
    card = export(
        prepared, objective, told, front, folder / MODEL, command, wall, progress=hooks.progress
    )
    rows = [
        Row(
            study=prepared.config.name, model=prepared.config.name, layer="", other_model="",
            other_layer="", property="training", measure=name, unit="utterance", value=value,
            ci_low=None, ci_high=None, n=0, groups=0, d=0, other_d=0, estimator="",
            seed=prepared.config.run.seed,
        )
        for name, value in told.valid.items()
    ]  # fmt: skip
    record: dict[str, Any] = {
        "job": "train",
        "study": prepared.config.name,
        "identity": prepared.identity,
        "command": command,
        "config": prepared.config.model_dump(mode="json"),
        "steps": prepared.steps,
        "card": card,
        "corpus": corpus_record(
            prepared.items.corpus,
            JOIN.join(prepared.config.data.corpora),
            len({one.id for one in prepared.items.corpus} - set(told.bad)),
            prepared.items.corpus.seconds,
            [{"id": name, "what": why} for name, why in told.bad.items()],
        ),
        "bad": told.bad,
        "wall_s": wall,
        "audio_s_per_s": told.seconds / told.busy_s if told.busy_s else None,
        "waiting_share": told.waiting_s / told.busy_s if told.busy_s else None,
        "peak_memory": peak_memory(),
        "processes": distributed.size(),
    }
    write_results(folder, rows, plain(record))
    state.forget(folder)
    if distributed.size() > 1:
        dist.barrier()
    return load_results(folder)


def _plan(prepared: Prepared) -> dict[str, Any]:
    """What an unfinished run keeps of itself, so that a changed one can be told what changed."""
    return {
        "settings": _flat(numbers(prepared.config)),
        "training recordings": prepared.items.corpus.fingerprint,
        "evaluation recordings": {n: one.fingerprint for n, one in prepared.valid.items()},
        "classes": prepared.items.classes,
        "speakers": list(prepared.items.names),
        "processes": distributed.size(),
        "steps": prepared.steps,
    }


def _refuse_other(folder: Path, identity: str, plan: dict[str, Any]) -> None:
    """Refuse to go on with a run of other settings, recordings or classes, naming them.

    Raises:
        StorageError: it is another one.
    """
    path = folder / STATE / PLAN
    if not path.exists():
        return
    held = read_json(path)
    then, now = held.get("plan"), plain(plan)
    if held.get("identity") == identity or not isinstance(then, dict) or "settings" not in then:
        return
    old, new = {**then.pop("settings"), **then}, {**now.pop("settings"), **now}
    gone, come = (
        [one for one in a.get("speakers") or [] if one not in set(b.get("speakers") or [])]
        for a, b in ((old, new), (new, old))
    )
    changed = [
        f"{name}: {old.get(name)!r} then, {new.get(name)!r} now"
        for name in dict.fromkeys([*new, *old])
        if name != "speakers" and old.get(name) != new.get(name)
    ]
    if "speakers" in old:
        changed += [
            f"{len(names)} {'speaker' if len(names) == 1 else 'speakers'} {what}: "
            + ", ".join(names[:5])
            + (", ..." if len(names) > 5 else "")
            for names, what in ((gone, "missing now"), (come, "not there then"))
            if names
        ]
    raise StorageError(
        f"{folder} holds an unfinished run of other settings, recordings or classes",
        got="; ".join(changed) or "the same settings, but another version of voxstrata",
        fix="give what that run was begun with, use another output folder, or --overwrite always "
        "to discard that run",
    )


def _flat(values: dict[str, Any], start: str = "") -> dict[str, Any]:
    """ "run.seed" and the like to their values."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{start}{name}.")
        else:
            found[start + name] = value
    return found


def _train(
    prepared: Prepared, folder: Path, hooks: Hooks[Prepared], *, leave: bool = True
) -> tuple[Objective, Told, FrontEnd]:
    """Targets, module, loop; the same in every process."""
    context = prepared.context(folder, hooks.say)
    examples = _lead_first(lambda: prepared.kind.examples(prepared.options, context))
    front = getattr(examples, "front", prepared.front)
    objective = prepared.kind.build(prepared.options, context).to(prepared.device)
    run, data = prepared.config.run, prepared.config.data
    if run.sync_norm and distributed.size() > 1:
        convert: Any = torch.nn.SyncBatchNorm.convert_sync_batchnorm
        objective = convert(objective)
    evaluators: tuple[Evaluator, ...] = ()
    if prepared.config.model.family == "ecapa":
        evaluators = speaker_evaluators(prepared.valid, front, prepared.device)
    own = getattr(prepared.kind, "evaluators", None)
    if own is not None:
        evaluators += tuple(own(prepared.options, context))
    batch = (data.batch or 1) * distributed.size() * run.accumulate
    engine = Engine(
        prepared.config,
        objective,
        examples,
        prepared.plan,
        steps=prepared.steps,
        rate=learning_rate(
            prepared.config.schedule, prepared.steps, prepared.steps_per_epoch, batch
        ),
        folder=folder,
        identity=prepared.identity,
        device=prepared.device,
        evaluators=evaluators,
        progress=hooks.progress,
    )
    told = engine.run()
    if leave and distributed.size() > 1:
        dist.barrier()
    return objective, told, front


def _lead_first(make: Callable[[], Any]) -> Any:
    """The first process makes (and writes) first, the others then find what it wrote."""
    if distributed.size() == 1:
        return make()
    if distributed.rank() == 0:
        found = make()
        dist.barrier()
        return found
    dist.barrier()
    return make()
