"""The protection experiment as a part of a study."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from voxstrata.corpora import load_corpus
from voxstrata.models import load_model
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.conditions.parse import check_contrast
from voxstrata.neurons.protection.inside import neurons_config, probe_config
from voxstrata.neurons.protection.job import run_protection
from voxstrata.neurons.protection.prepare import Prepared, known_group, prepare
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import sizes
from voxstrata.neurons.pruning.scores import SCORES
from voxstrata.neurons.rules import make_rule
from voxstrata.probing.prepare import prepare as prepare_probing
from voxstrata.probing.registry import get_tasks
from voxstrata.probing.settings import read_protocol
from voxstrata.studies.jobs.job import Cost, Job, Look
from voxstrata.studies.jobs.neurons import known_ivector, made_contrast
from voxstrata.studies.jobs.probing import cost_of_probing
from voxstrata.training.recipes import read_recipe
from voxstrata.verification.backend import BACKENDS
from voxstrata.verification.embed import choose


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


def _inside(config: ProtectionConfig) -> Iterator[Look]:
    yield "keep", lambda: sizes(config, load_model(config.model))
    if config.layer is not None:
        yield "layer", lambda: choose(load_model(config.model), config.layer)
    corpus = cache(lambda: load_corpus(config.corpus))

    def contrast() -> Contrast | None:
        return made_contrast(neurons_config(config), config.contrast, corpus)

    def group() -> None:
        if (made := contrast()) is not None:
            known_group(config, made.groups)

    yield "contrast", contrast
    yield "group", group


def _missing(prepared: Prepared) -> list[tuple[str, str]]:
    return [(item.name, item.reason) for item in prepared.left_out]


JOB = Job(
    name="protection",
    summary="pruning with and without protected neurons",
    settings=ProtectionConfig,
    prepare=_prepare,
    run=run_protection,
    corpora={"corpus": False, "trials": False, "backend_from": False, "corpus_map": True},
    cost=_cost,
    missing=_missing,
    inside=_inside,
    names={
        "rule": make_rule,
        "contrast": check_contrast,
        "ivector": known_ivector,
        "score": SCORES.get,
        "tasks": lambda name: get_tasks((name,)),
        "protocol": read_protocol,
        "tune": read_recipe,
        "backend": BACKENDS.get,
    },
    one_model="model",
)
