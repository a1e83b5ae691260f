"""The protection job: find neurons, prune with and without them, measure what is left."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voxstrata
from voxstrata.files import fingerprint, storage_errors
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.job import run_neurons
from voxstrata.neurons.protection.measures import Measured, measured
from voxstrata.neurons.protection.models import (
    PRUNED,
    SETS,
    Variant,
    controls,
    found_set,
    prune_all,
    refuse_too_many,
    sizes,
    unlike,
    variants,
)
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.pruning.tuning import fit_recipe
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.probing.job import run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.probing.sources import read_map
from voxstrata.results import Results, load_results, write_results
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import (
    Hooks,
    Overwrite,
    clean_up,
    command_line,
    peak_memory,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.training.job import MODEL as TRAINED
from voxstrata.training.job import run_training
from voxstrata.verification.job import run_verification
from voxstrata.verification.settings import VerifyConfig

BASE, NEURONS, PROBING, VERIFY = "base", "neurons", "probing", "verify"
"""Folders of the jobs inside, in the output folder; each has a page of its own."""


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        model: as it comes.
        keep: rows left of each feed-forward part.
        wanted: models to be made.
        identity: digest of the settings and inputs.
    """

    config: ProtectionConfig
    model: SpeechModel
    keep: tuple[int, ...]
    wanted: list[Variant]
    identity: str


def prepare(config: ProtectionConfig, folder: Path) -> Prepared:
    """Load and check.

    Raises:
        VoxstrataError: the model cannot be pruned, sizes do not fit, the map is missing.
    """
    model = load_model(config.model)
    rule = make_rule(config.rule)
    for part in feed_forwards(model):
        rule.top(part.width)  # a share that leaves no neuron is told now
    keep = sizes(config, model)
    entries = read_map(config.corpus_map, list(config.tasks))
    if config.tune is not None:
        fit_recipe(config.tune, model, config.model, changes=config.changes)
    identity = fingerprint(
        [
            voxstrata.__version__,
            config.model_dump(mode="json"),
            model.fingerprint,
            {task: entry.model_dump(mode="json") for task, entry in entries.items()},
        ]
    )
    return Prepared(config, model, keep, variants(config, keep, folder), identity)


def run_protection(
    config: ProtectionConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Find neurons, prune with and without protecting them, and measure every model.

    The folder then holds the neurons run (``neurons/``), every pruned model
    (``pruned/CONDITION-ROWS-SEED/model``), the probing run (``probing/``), perhaps the
    verification run (``verify/``), and results that join them. All of these resume.

    Args:
        config: the settings.
        out: output folder.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and messages.

    Raises:
        VoxstrataError: see :func:`prepare` and the jobs inside.
    """
    folder, hooks = Path(out).absolute(), hooks or Hooks[Prepared]()
    begun = time.perf_counter()
    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config, folder),
        planned=hooks.planned,
        compute=lambda prepared: _compute(prepared, folder, hooks, begun),
    )


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    config = prepared.config
    resumed = remember_plan(folder, prepared.identity, [str(v.folder) for v in prepared.wanted])
    if not resumed:
        for place in (folder / name for name in (BASE, NEURONS, SETS, PRUNED, PROBING, VERIFY)):
            if place.exists():  # of a run that was discarded
                with storage_errors(place):
                    shutil.rmtree(place)
    clock: dict[str, float] = {}
    inner: Hooks[Any] = Hooks(progress=hooks.progress, say=hooks.say)

    def timed(name: str, since: float) -> float:
        now = time.perf_counter()
        clock[name] = round(now - since, 3)
        return now

    now, model = begun, prepared.model
    if config.tune is not None:
        config = _based(config, model, folder, inner)
        model = load_model(config.model)
        now = timed("training the model that is pruned", now)
    hooks.say(f"finding the neurons of {config.contrast} in {config.model}")
    neurons = run_neurons(_neurons(config), folder / NEURONS, hooks=inner)
    chosen = found_set(config, folder / NEURONS)
    chosen.check(model)
    refuse_too_many(chosen, prepared.keep)
    path = folder / SETS / "protected.json"
    chosen.save(path)
    instead = controls(config, chosen, model, folder) if "random" in config.conditions else {}
    now = timed("neurons", now)
    hooks.say(f"pruning: {len(chosen)} neurons to protect, {len(prepared.wanted)} models to make")
    with bar("pruning", len(prepared.wanted), "models", show=hooks.progress) as advance:
        for _ in prune_all(config, prepared.wanted, path, instead, hooks.say):
            advance(1)
    now = timed("pruning", now)
    models = (config.model, *(one.model for one in prepared.wanted))
    probing = run_probing(_probing(config, prepared, models), folder / PROBING, hooks=inner)
    now = timed("probing", now)
    verify = None
    if config.trials is not None:
        verify = run_verification(_verify(config, models), folder / VERIFY, hooks=inner)
        timed("verification", now)
    found: Measured = measured(config, prepared, chosen, probing, verify)
    record = {
        "job": "protection",
        "study": config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": prepared.config.model_dump(mode="json"),
        "model": {"spec": config.model, "fingerprint": model.fingerprint},
        "keep": list(prepared.keep),
        "widths": [part.width for part in feed_forwards(model)],
        "protected": chosen.counts(),
        "neurons": _of_neurons(neurons, config),
        "tasks": found.tasks,
        "costs": found.costs,
        "corpus": neurons.record["corpus"],
        "models": [m for m in neurons.record["models"] if m["spec"] == config.model],
        "notices": [*found.notices, *unlike(instead)],
        "seed": config.seed,
        "device": probing.record["device"],
        "resumed": resumed,
        "wall_s": round(time.perf_counter() - begun, 3),
        "wall_parts_s": clock,
        "peak_memory_bytes": peak_memory(),
    }
    write_results(folder, found.rows, plain(record))
    clean_up(folder, config)
    return load_results(folder)


def _based(
    config: ProtectionConfig, model: SpeechModel, folder: Path, hooks: Hooks[Any]
) -> ProtectionConfig:
    """The settings with the model trained by the recipe first, its codes taken over by all.

    Pruned models are trained on; the model they are held against must have had as much training,
    and its head must know the recipe's codes before anything is pruned.
    """
    place = folder / BASE
    if any(change.startswith("objective.targets.folder=") for change in config.changes):
        return config
    hooks.say(f"training {config.model} by {config.tune}: what is pruned comes from there")
    recipe = fit_recipe(
        config.tune or "",
        model,
        config.model,
        changes=config.changes,
        steps=config.base_steps,
        name="base",
    )
    run_training(recipe, place, hooks=Hooks(progress=hooks.progress, say=hooks.say))
    return config.model_copy(
        update={
            "model": str(place / TRAINED),
            "changes": (*config.changes, f"objective.targets.folder={json.dumps(str(place))}"),
        }
    )


def _neurons(config: ProtectionConfig) -> NeuronsConfig:
    return NeuronsConfig(
        models=(config.model,),
        corpus=config.corpus,
        contrasts=(config.contrast,),
        rule=config.rule,
        sigma=config.sigma,
        ivector=config.ivector,
        draws=config.draws,
        rankings=False,
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
    )


def _probing(config: ProtectionConfig, prepared: Prepared, models: tuple[str, ...]) -> ProbeConfig:
    by = {(one.condition, one.keep, one.seed): one.model for one in prepared.wanted}
    pairs = [
        (mine, other)
        for (condition, keep, seed), mine in by.items()
        if condition == "protected"
        for rival in ("none", "random")
        if (other := by.get((rival, keep, seed))) is not None
    ]
    pairs += [(one.model, config.model) for one in prepared.wanted]
    return ProbeConfig(
        models=models,
        tasks=config.tasks,
        corpus_map=config.corpus_map,
        protocol=config.protocol,
        steps=config.probe_steps,
        lrs=config.probe_lrs,
        seeds=config.probe_seeds,
        twins=False,
        controls=False,
        ablation=False,
        singles=False,
        pairs=tuple(pairs),
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
    )


def _verify(config: ProtectionConfig, models: tuple[str, ...]) -> VerifyConfig:
    assert config.trials is not None
    given: dict[str, Any] = {}
    if config.backend is not None:
        given = {"backend": (config.backend,), "backend_from": config.backend_from}
    return VerifyConfig(
        models=models,
        corpus=config.trials,
        layer=config.layer,
        channel=config.channel,
        channel_on="all" if config.channel == "random" else "trials",
        twins=False,
        baselines=True,
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
        **given,
    )


def _of_neurons(neurons: Results, config: ProtectionConfig) -> dict[str, Any]:
    """Observed and null numbers of the neurons that are protected, by layer."""
    table = neurons.table
    mine = table[
        (table.model == config.model)
        & (table.property == config.contrast)
        & (table.measure == "neurons")
        & (table.estimator == "published")
        & (table.other_layer == "")
    ]
    found: dict[str, Any] = {}
    for line in mine.to_dict("records"):
        entry = found.setdefault(str(line["layer"]), {})
        if line["control"]:
            entry |= {"null": line["value"], "low": line["ci_low"], "high": line["ci_high"]}
        else:
            entry["observed"] = line["value"]
    return found
