"""Everything a similarity run needs before work starts, checked and planned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import UsageError
from voxstrata.files import fingerprint, read_json
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.similarity.planner import UnitPlan, checkpoint_shards, plan_unit
from voxstrata.similarity.registry import MEASURES, Measure
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.batches import Shard, make_shards
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.runs import DISCARD, PLAN, STATE
from voxstrata.streaming.setup import (
    away_of,
    batch_seconds,
    choose_device,
    expected_rows,
    fold_recordings,
    free_disk,
    groups_of,
    shard_seconds,
    untrained_notice,
)
from voxstrata.streaming.stack import StackLayer, build_stack
from voxstrata.streaming.units import Unit
from voxstrata.sums import read_sealed_json


@dataclass(frozen=True)
class UnitJob:
    """One unit of a run.

    Attributes:
        unit: the unit, prepared.
        layers: positions in the stack of the layers it accepts.
        plan: the route it takes.
    """

    unit: Unit
    layers: tuple[int, ...]
    plan: UnitPlan


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        corpus, models, stack: what is compared.
        measures: the measures by name.
        folds: fold of each recording.
        jobs: the units.
        shards: order of work.
        every: shards between checkpoints.
        batch_s: seconds of audio a batch.
        memory_bytes: memory for rows and products.
        device: where models and products run.
        identity: digest of all that numbers depend on.
        pass_flops: operations of the models over the corpus.
        notices: what the reader of the results must know.
    """

    config: SimilarityConfig
    corpus: Corpus
    models: list[SpeechModel]
    stack: list[StackLayer]
    measures: dict[str, Measure]
    folds: list[int]
    jobs: list[UnitJob]
    shards: list[Shard]
    every: int
    batch_s: float
    memory_bytes: float
    device: str
    identity: str
    pass_flops: float
    notices: list[str]


def prepare(config: SimilarityConfig, out: Path, *, afresh: bool = False) -> Prepared:
    """Load, check and plan; nothing is computed and nothing written.

    Args:
        config: the settings.
        out: output folder (its disk is what a row store may use).
        afresh: what an unfinished run left in ``out`` will be deleted; plan without it.

    Raises:
        VoxstrataError: anything in the settings, corpus or models is wrong.
    """
    away_of(config)  # a wrong --cluster is told before anything is read
    measures = {name: MEASURES.get(name) for name in config.measures}
    units = [
        make_unit(name, rule=config.span_rule, part=config.span_part, per_type=config.per_type)
        for name in config.units
    ]
    for spec in config.models:
        find_family(parse(spec))  # an unknown name is told before anything is read
    corpus = load_corpus(config.corpus, on_error=config.on_error)
    if config.limit is not None and config.limit < len(corpus):
        corpus = corpus.subset(utterances=config.limit, seed=config.seed)
    utterances = corpus.utterances
    groups = groups_of(corpus, config.group)
    folds = fold_recordings(corpus, groups, config.folds, config.seed)
    for unit in units:
        unit.prepare(utterances, config.seed)
    device = choose_device(config.device)
    models = [load_model(spec, device=device, dtype=config.dtype) for spec in config.models]
    stack = build_stack(models, config.layers)
    memory = _memory(config, device)
    shards = make_shards(utterances, folds, config.shard_s or shard_seconds(utterances))
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.numbers(),
            "corpus": corpus.fingerprint,
            "models": [model.fingerprint for model in models],
            "shards": [shard.members for shard in shards],
        }
    )
    saved = {} if afresh else saved_plans(out, identity)
    disk = config.disk_gib * 2**30 if config.disk_gib is not None else free_disk(out, afresh)
    jobs = _plan_units(config, units, corpus, models, stack, measures, memory, disk, folds, saved)
    seconds = sum(utterance.duration_s for utterance in utterances)
    model_flops = seconds * sum(model.flops_per_second for model in models)
    moments_flops = sum(job.plan.flops for job in jobs if job.plan.route == "moments")
    every = checkpoint_shards([job.plan for job in jobs], len(shards), model_flops + moments_flops)
    return Prepared(
        config=config,
        corpus=corpus,
        models=models,
        stack=stack,
        measures=measures,
        folds=folds,
        jobs=jobs,
        shards=shards,
        every=every,
        batch_s=batch_seconds(config.batch_s, device),
        memory_bytes=memory,
        device=device,
        identity=identity,
        pass_flops=model_flops,
        notices=_notices(models, corpus, config, len(set(groups))),
    )


def saved_plans(out: Path, identity: str) -> dict[str, UnitPlan]:
    """Plans of an unfinished run in ``out``: it must go on the way it began, though less disk is
    free by now. Empty where there is none of this identity."""
    path = out / STATE / PLAN
    if not path.exists():
        return {}
    if read_json(path).get("identity") != identity:
        return {}
    saved = read_sealed_json(path, DISCARD)
    return {plan["unit"]: UnitPlan(**plan) for plan in saved["plan"]}


def _plan_units(
    config: SimilarityConfig,
    units: Sequence[Unit],
    corpus: Corpus,
    models: Sequence[SpeechModel],
    stack: Sequence[StackLayer],
    measures: dict[str, Measure],
    memory: float,
    disk: float,
    assigned: Sequence[int],
    saved: dict[str, UnitPlan],
) -> list[UnitJob]:
    needs = frozenset(measure.needs for measure in measures.values())
    row_bytes = 8 if config.precision == "float64" else 4
    jobs = []
    for unit in units:
        layers = tuple(i for i, layer in enumerate(stack) if unit.accepts(layer))
        chosen = [stack[i] for i in layers]
        if not chosen:
            raise UsageError(
                f"no chosen layer has rows of the unit {unit.name!r}",
                got="utterance layers only",
                fix="use --unit utterance, or choose layers with frames (--layers)",
            )
        expected = expected_rows(unit, corpus, models, chosen, assigned)
        enough_rows(unit.name, expected, measures, config.max_rows)
        begun = saved.get(unit.name)
        if begun is not None and config.route not in ("auto", begun.route):
            raise UsageError(
                "the unfinished run in the output folder took another route",
                got=f"{config.route!r} for the unit {unit.name!r}",
                expected=repr(begun.route),
                fix="use --route auto to finish it, or --overwrite always to start afresh",
            )
        plan = begun or plan_unit(
            unit.name,
            [layer.width for layer in chosen],
            sum(expected),
            len(expected),
            needs=needs,
            memory_bytes=memory,
            disk_bytes=disk,
            row_bytes=row_bytes,
            sample=config.max_rows,
            route=config.route,
        )
        disk -= plan.disk_bytes
        jobs.append(UnitJob(unit, layers, plan))
    return jobs


def enough_rows(
    unit: str, rows: Sequence[int], measures: dict[str, Measure], max_rows: int
) -> None:
    """Refuse what could not be computed with the largest fold left out.

    Args:
        unit: its name, for the message.
        rows: rows of each fold.
        measures: the measures by name.
        max_rows: rows that measures on rows sample.

    Raises:
        UsageError: some replicate of some measure would have too few rows.
    """
    total = sum(rows)
    for name, measure in measures.items():
        counts = list(rows)
        if measure.needs == "rows" and total > max_rows:
            counts = [max_rows * count // total for count in rows]
        # A single fold has no replicates (all others may have been skipped).
        least = sum(counts) - (max(counts) if len(counts) > 1 else 0)
        if least < measure.min_rows:
            raise UsageError(
                f"too few rows of the unit {unit!r} for the measure {name!r}",
                got=f"{sum(counts)} rows, {least} without the largest of {len(counts)} folds",
                expected=f"at least {measure.min_rows} in every replicate",
                fix="give more recordings, or a unit with more rows (--unit frame)",
            )


def _memory(config: SimilarityConfig, device: str) -> float:
    """Bytes for rows and products: as set, or a third of what the device with them has."""
    if config.memory_gib is not None:
        return config.memory_gib * 2**30
    memory: float = psutil.virtual_memory().total / 3
    if device.startswith("cuda"):
        memory = min(memory, torch.cuda.mem_get_info(device)[1] / 3)
    return memory


def _notices(
    models: Sequence[SpeechModel], corpus: Corpus, config: SimilarityConfig, groups: int
) -> list[str]:
    notices = []
    if groups < config.folds:
        notices.append(
            f"There are only {groups} groups ({config.group}s) for {config.folds} folds: each is a "
            "fold of its own, and intervals rest on few of them."
        )
    notices += untrained_notice(models)
    if corpus.skipped:
        notices.append(f"{len(corpus.skipped)} recordings were left out before the run.")
    return notices


def describe(prepared: Prepared) -> list[dict[str, Any]]:
    """The plan as rows for a table or record."""
    return [
        {
            **job.plan.facts(),
            "shards": len(prepared.shards),
            "checkpoint_every": prepared.every,
            "settings": job.unit.describe(),
        }
        for job in prepared.jobs
    ]


def threads() -> int:
    """Threads torch will use."""
    return int(os.environ.get("OMP_NUM_THREADS", 0)) or torch.get_num_threads()
