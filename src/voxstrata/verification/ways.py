"""Ways of scoring the embeddings of one system: cosine, after a mean, AS-norm, by a backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from voxstrata.verification import score
from voxstrata.verification.backend import Backend, BackendSettings, learn
from voxstrata.verification.embed import Embeddings
from voxstrata.verification.prepare import Prepared
from voxstrata.verification.trials import Trials


def backend_of(prepared: Prepared, name: str, learned: Embeddings) -> Backend:
    """A backend, learned from one system's embeddings of the backend corpus.

    Raises:
        UsageError: too few speakers are left of it.
        NumericsError: its embeddings do not vary.
    """
    corpus, config = prepared.backend_corpus, prepared.config
    assert corpus is not None
    speaker = {u.id: str(u.tiers["speaker"]) for u in corpus.utterances}
    settings = BackendSettings(config.lda_dim, config.plda_iterations)
    return learn(name, learned.vectors, [speaker[one] for one in learned.ids], settings)


def scorings(
    prepared: Prepared,
    rows: Embeddings,
    trials: Trials,
    mean_rows: Embeddings | None,
    cohort_rows: Embeddings | None,
) -> Iterator[tuple[str, score.Floats]]:
    """Scores of one system under one way of scoring after the other, with its name.

    Args:
        prepared: the run.
        rows: embeddings of ``trials.ids``.
        trials: the trials.
        mean_rows: embeddings of the corpus the mean is taken from; ``None`` for ``rows``.
        cohort_rows: embeddings of the cohort, if there is one.

    Raises:
        NumericsError: embeddings have no direction, or a cohort no spread.
    """
    config, first, second = prepared.config, trials.first, trials.second
    centre = (mean_rows or rows).vectors.mean(axis=0, dtype=np.float64)
    scores = np.empty(0)
    for name, mean in (("cosine", None), ("cosine-centred", centre)):
        scores = score.cosine(rows.vectors, first, second, mean=mean)
        yield name, scores
        if rows.crops is not None:
            yield (
                f"{name}-crops",
                score.crop_average(scores, rows.crops, first, second, mean=mean),
            )
    if cohort_rows is not None:
        assert prepared.cohort_corpus is not None
        speaker = {u.id: str(u.tiers.get("speaker")) for u in prepared.cohort_corpus.utterances}
        names = [speaker[name] for name in cohort_rows.ids]
        cohort = score.cohort_of(cohort_rows.vectors, names if config.cohort == "speaker" else None)
        settings: dict[str, Any] = {"top": config.top, "deviation": config.deviation}
        yield (
            "as-norm",
            score.as_norm(scores, rows.vectors, cohort, first, second, mean=centre, **settings),
        )
