"""The protection job: find neurons, prune with and without them, measure what is left."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from voxstrata.files import storage_errors
from voxstrata.models import load_model
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.job import run_neurons
from voxstrata.neurons.protection.inside import neurons_config, probe_config, verify_config
from voxstrata.neurons.protection.measures import Measured, measured
from voxstrata.neurons.protection.models import (
    SCORING,
    SETS,
    controls,
    found_set,
    prune_all,
    refuse_too_many,
    unlike,
)
from voxstrata.neurons.protection.prepare import (
    BASE,
    NEURONS,
    PROBING,
    VERIFY,
    Prepared,
    prepare,
)
from voxstrata.neurons.protection.reference import UNPRUNED, trained_as_long, trained_first
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.swapped import swapped, unchanged
from voxstrata.neurons.protection.variants import PRUNED
from voxstrata.probing.job import run_probing
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
from voxstrata.verification.job import run_verification


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

    With ``tune`` the model is first trained by the recipe (``base/model``): neurons are found in
    that model, and all are pruned from it. The unpruned model that they are held against is that
    one trained on as long as they were (``unpruned/model``).

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
        for place in (
            folder / name
            for name in (BASE, UNPRUNED, NEURONS, SETS, SCORING, PRUNED, PROBING, VERIFY)
        ):
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
        config = trained_first(config, model, folder, inner)
        model = load_model(config.model)
        now = timed("training the model that is pruned", now)
    hooks.say(f"finding the neurons of {config.contrast} in {config.model}")
    neurons = run_neurons(neurons_config(config), folder / NEURONS, hooks=inner)
    chosen = found_set(config, folder / NEURONS)
    chosen.check(model)
    refuse_too_many(chosen, prepared.keep)
    path = folder / SETS / "protected.json"
    chosen.save(path)
    instead = controls(config, chosen, model, folder) if "random" in config.conditions else {}
    now = timed("neurons", now)
    whole = config.model
    if config.tune is not None:
        whole = trained_as_long(config, model, folder, inner)
        now = timed("training the unpruned model on", now)
    hooks.say(f"pruning: {len(chosen)} neurons to protect, {len(prepared.wanted)} models to make")
    with bar("pruning", len(prepared.wanted), "models", show=hooks.progress) as advance:
        for _ in prune_all(config, prepared.wanted, path, instead, hooks.say):
            advance(1)
    now = timed("pruning", now)
    settings = probe_config(config, prepared.wanted, whole)
    probing = run_probing(settings, folder / PROBING, hooks=inner)
    now = timed("probing", now)
    verify = None
    if config.trials is not None:
        trials = verify_config(config, prepared.wanted, whole)
        verify = run_verification(trials, folder / VERIFY, hooks=inner)
        timed("verification", now)
    found: Measured = measured(config, whole, prepared, chosen, probing, verify)
    differ = swapped(prepared.wanted)
    record = {
        "job": "protection",
        "study": config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": prepared.config.model_dump(mode="json"),
        "model": {"spec": config.model, "fingerprint": model.fingerprint},
        "unpruned": {"spec": whole, "fingerprint": load_model(whole).fingerprint},
        "keep": list(prepared.keep),
        "widths": [part.width for part in feed_forwards(model)],
        "protected": chosen.counts(),
        "rows_differ": differ,
        "neurons": _of_neurons(neurons, config),
        "tasks": found.tasks,
        "costs": found.costs,
        "corpus": neurons.record["corpus"],
        "models": [m for m in neurons.record["models"] if m["spec"] == config.model],
        "notices": [
            *prepared.notices,
            *found.notices,
            *unlike(instead),
            *unchanged(differ, config),
        ],
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


def _of_neurons(neurons: Results, config: ProtectionConfig) -> dict[str, Any]:
    """Observed and null numbers of the neurons that are protected, by layer."""
    table = neurons.table
    mine = table[
        (table.model == config.model)
        & (table.property == config.contrast)
        & table.measure.isin(["neurons", "neurons-p"])
        & (table.estimator == "published")
        & (table.other_layer == "")
    ]
    found: dict[str, Any] = {}
    for line in mine.to_dict("records"):
        entry = found.setdefault(str(line["layer"]), {})
        if line["measure"] == "neurons-p":
            entry["p"] = line["value"]
        elif line["control"]:
            entry |= {"null": line["value"], "low": line["ci_low"], "high": line["ci_high"]}
        else:
            entry["observed"] = line["value"]
    return found
