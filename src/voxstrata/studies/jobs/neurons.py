"""Neurons as a part of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import CorpusError, NumericsError
from voxstrata.models import load_model
from voxstrata.models.base import choose_layers
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.neurons.analysed import clustered_layer, sources_of
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.conditions.parse import check_contrast, make_contrast
from voxstrata.neurons.conditions.vectors import model_of
from voxstrata.neurons.job import open_neurons, run_neurons
from voxstrata.neurons.prepare import Prepared, prepare
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.unit_vectors import Unmade
from voxstrata.similarity.estimate import MODEL_EFFICIENCY, product_rate
from voxstrata.studies.jobs.job import Cost, Job, Look

LAYER_S = 0.6
"""Seconds of nulls, tests and halves for a layer and contrast at 200 labellings."""

IVECTOR_S = 0.015
"""Seconds of training ``ivector-small`` for a second of speech: 5.2 to 5.7 s for 343 s in three
trainings of ``OMP_NUM_THREADS=1 voxstrata study run lin2025``."""


def _prepare(config: NeuronsConfig, _folder: Path, _afresh: bool) -> Prepared:
    return prepare(config)


def cost_of_neurons(prepared: Prepared) -> Cost:
    """Forecast of a prepared run."""
    import torch

    rate = product_rate(torch.float32, prepared.device)
    spoken = sum(utterance.duration_s for utterance in prepared.corpus.utterances)
    flops = spoken * sum(model.flops_per_second for model in prepared.models)
    neurons = sum(len(one.neurons) * len(one.contrasts) for one in prepared.analysed)
    seconds = 2 * flops / (rate * MODEL_EFFICIENCY)  # a pass for clusters, and one that counts
    seconds += neurons * LAYER_S * max(1.0, prepared.config.draws / 200)
    if "" in prepared.vectors:  # a model that is trained on the corpus
        seconds += IVECTOR_S * spoken
    widest = max((i.width for one in prepared.analysed for i in one.neurons), default=0)
    disk = 4.0 * len(prepared.units) * widest * max(1, neurons)
    return Cost(seconds, disk, 0.6e9 + 4 * disk)


def _inside(config: NeuronsConfig) -> Iterator[Look]:
    corpus = cache(lambda: load_corpus(config.corpus))
    for text in dict.fromkeys(config.contrasts or ()):
        yield "contrasts", partial(made_contrast, config, text, corpus)
    for spec in config.models:
        for name in config.layers or ():
            yield "layers", partial(_neurons_of, spec, name)
        if config.cluster_layer is not None:
            yield "cluster_layer", partial(_clustered, spec, config.cluster_layer)


def _neurons_of(spec: str, name: str) -> object:
    return choose_layers(load_model(spec), (name,))


def _clustered(spec: str, name: str) -> object:
    return clustered_layer(load_model(spec), name)


def made_contrast(
    config: NeuronsConfig, text: str, corpus: Callable[[], Corpus]
) -> Contrast | None:
    """A contrast of the first model; nothing where the corpus lacks its labels, which is no slip.

    Args:
        config: the settings.
        text: the contrast.
        corpus: gives the recordings.

    Raises:
        VoxstrataError: it is malformed, or names what is not known.
    """
    opened, model = corpus(), load_model(config.models[0])
    unmade = Unmade(config.ivector, config.seed)
    unmade.corpus, unmade.text = opened, config.corpus
    try:
        return make_contrast(text, sources_of(model, config, opened, unmade))
    except (CorpusError, NumericsError):
        return None


def known_ivector(text: str) -> None:
    """Refuse the name of an i-vector model that no family knows.

    Raises:
        VoxstrataError: none does.
    """
    find_family(parse(model_of(text)[0]))


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
    cost=cost_of_neurons,
    missing=_missing,
    names={"rule": make_rule, "contrasts": check_contrast, "ivector": known_ivector},
    inside=_inside,
)
