"""Verification as a part of a study."""

from __future__ import annotations

from pathlib import Path

from voxstrata.similarity.estimate import MODEL_EFFICIENCY, product_rate
from voxstrata.studies.jobs.job import Cost, Job
from voxstrata.verification.backend import BACKENDS
from voxstrata.verification.job import run_verification
from voxstrata.verification.prepare import Prepared, prepare
from voxstrata.verification.settings import VerifyConfig


def _prepare(config: VerifyConfig, _folder: Path, _afresh: bool) -> Prepared:
    return prepare(config)


def cost_of_verification(prepared: Prepared, more: int = 0) -> Cost:
    """Forecast of a prepared run.

    Args:
        prepared: the run.
        more: models of the size of its first that come besides.
    """
    import torch

    rate = product_rate(torch.float32, prepared.device)
    opened = (
        prepared.corpus,
        prepared.mean_corpus,
        prepared.cohort_corpus,
        prepared.backend_corpus,
    )
    spoken = sum(u.duration_s for c in opened if c is not None for u in c.utterances)
    each = [system.model.flops_per_second for system in prepared.systems]
    flops = spoken * (sum(each) + more * each[0])
    trials = len(prepared.trials)
    return Cost(flops / (rate * MODEL_EFFICIENCY) + 2e-5 * trials, 0.0, 0.5e9)


JOB = Job(
    name="verification",
    summary="error rates of speaker verification",
    settings=VerifyConfig,
    prepare=_prepare,
    run=run_verification,
    corpora={"corpus": False, "mean_from": False, "as_norm": False, "backend_from": False},
    cost=cost_of_verification,
    names={"backend": BACKENDS.get},
)
