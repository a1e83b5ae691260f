"""The protection experiment as a part of a study."""

from __future__ import annotations

from pathlib import Path

from voxstrata.neurons.protection.inside import probe_config
from voxstrata.neurons.protection.job import run_protection
from voxstrata.neurons.protection.prepare import Prepared, prepare
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.probing.prepare import prepare as prepare_probing
from voxstrata.studies.jobs.job import Cost, Job
from voxstrata.studies.jobs.probing import cost_of_probing


def _prepare(config: ProtectionConfig, folder: Path, _afresh: bool) -> Prepared:
    return prepare(config, folder.absolute())


def _cost(prepared: Prepared) -> Cost:
    """Heads of the unpruned model, as often as there are models."""
    probed = prepare_probing(probe_config(prepared.config, (), prepared.config.model), Path())
    one, models = cost_of_probing(probed), len(prepared.wanted) + 1
    weights = 4.0 * models * float(prepared.model.details["parameters"])
    parts = ["finding the neurons"]
    parts += ["training between prunings"] if prepared.config.tune else []
    parts += ["trials"] if prepared.config.trials else []
    disk = weights + one.disk_bytes * models
    return Cost(one.seconds * models, disk, 2e9, without=", ".join(parts))


JOB = Job(
    name="protection",
    summary="pruning with and without protected neurons",
    settings=ProtectionConfig,
    prepare=_prepare,
    run=run_protection,
    corpora={"corpus": False, "trials": False, "backend_from": False, "corpus_map": True},
    cost=_cost,
    one_model="model",
)
