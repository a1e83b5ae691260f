"""Neurons as a part of a study."""

from __future__ import annotations

from pathlib import Path

from voxstrata.neurons.job import open_neurons, run_neurons
from voxstrata.neurons.prepare import Prepared, prepare
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.similarity.estimate import MODEL_EFFICIENCY, product_rate
from voxstrata.studies.jobs.job import Cost, Job

LAYER_S = 0.6
"""Seconds of nulls, tests and halves for a layer and contrast at 200 labellings."""


def _prepare(config: NeuronsConfig, _folder: Path, _afresh: bool) -> Prepared:
    return prepare(config)


def _cost(prepared: Prepared) -> Cost:
    import torch

    rate = product_rate(torch.float32, prepared.device)
    spoken = sum(utterance.duration_s for utterance in prepared.corpus.utterances)
    flops = spoken * sum(model.flops_per_second for model in prepared.models)
    neurons = sum(len(one.neurons) * len(one.contrasts) for one in prepared.analysed)
    seconds = 2 * flops / (rate * MODEL_EFFICIENCY)  # a pass for clusters, and one that counts
    seconds += neurons * LAYER_S * max(1.0, prepared.config.draws / 200)
    widest = max((i.width for one in prepared.analysed for i in one.neurons), default=0)
    disk = 4.0 * len(prepared.units) * widest * max(1, neurons)
    return Cost(seconds, disk, 0.6e9 + 4 * disk)


def _missing(prepared: Prepared) -> list[tuple[str, str]]:
    if prepared.config.contrasts is None:
        return []
    return [(item.name, item.reason) for item in prepared.left_out]


JOB = Job(
    name="neurons",
    summary="neurons that tell groups apart",
    settings=NeuronsConfig,
    prepare=_prepare,
    run=run_neurons,
    open_pass=open_neurons,
    corpora={"corpus": False},
    cost=_cost,
    missing=_missing,
    names={"rule": make_rule},
)
