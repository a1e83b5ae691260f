"""Similarity as a part of a study."""

from __future__ import annotations

from pathlib import Path

from voxstrata.similarity.estimate import estimate
from voxstrata.similarity.job import open_similarity, run_similarity
from voxstrata.similarity.prepare import Prepared, prepare
from voxstrata.similarity.registry import MEASURES
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.registry import make_unit
from voxstrata.studies.jobs.job import Cost, Job
from voxstrata.studies.jobs.layers import layers_named


def _prepare(config: SimilarityConfig, folder: Path, afresh: bool) -> Prepared:
    return prepare(config, folder, afresh=afresh)


def _cost(prepared: Prepared) -> Cost:
    found = estimate(prepared)
    return Cost(found.models_s + found.products_s, found.disk_bytes, found.memory_bytes)


JOB = Job(
    name="similarity",
    summary="every layer against every other",
    settings=SimilarityConfig,
    prepare=_prepare,
    run=run_similarity,
    open_pass=open_similarity,
    corpora={"corpus": False},
    cost=_cost,
    inside=lambda config: layers_named(config.models, config.layers),
    names={"units": make_unit, "measures": MEASURES.get},
)
