"""The protection experiment as a part of a study."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from voxstrata.corpora import load_corpus
from voxstrata.models import load_model
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.conditions.parse import check_contrast
from voxstrata.neurons.prepare import prepare as prepare_neurons
from voxstrata.neurons.protection.inside import neurons_config, probe_config, verify_config
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
from voxstrata.studies.jobs.neurons import cost_of_neurons, known_ivector, made_contrast
from voxstrata.studies.jobs.probing import cost_of_probing
from voxstrata.studies.jobs.verification import cost_of_verification
from voxstrata.training.recipes import read_recipe
from voxstrata.verification.backend import BACKENDS
from voxstrata.verification.embed import choose
from voxstrata.verification.prepare import prepare as prepare_verification


def _prepare(config: ProtectionConfig, folder: Path, _afresh: bool) -> Prepared:
    return prepare(config, folder.absolute())


def _cost(prepared: Prepared) -> Cost:
    """Finding the neurons; heads of the unpruned model, as often as there are models; trials."""
    probed = prepare_probing(probe_config(prepared.config, (), prepared.config.model), Path())
    one, models = cost_of_probing(probed), len(prepared.wanted) + 1
    weights = 4.0 * models * float(prepared.model.details["parameters"])
    seconds = one.seconds * models
    seconds += cost_of_neurons(prepare_neurons(neurons_config(prepared.config))).seconds
    if prepared.config.trials is not None:
        verified = prepare_verification(verify_config(prepared.config, (), prepared.config.model))
        seconds += cost_of_verification(verified, len(prepared.wanted)).seconds
    without = "training between prunings" if prepared.config.tune else ""
    return Cost(seconds, weights + one.disk_bytes * models, 2e9, without=without)


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
