"""``voxstrata train`` for i-vector extractors: a configuration in, a model folder out."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import voxstrata
from voxstrata.corpora import Corpus
from voxstrata.errors import CheckpointError
from voxstrata.metrics.eer import eer
from voxstrata.models.base import SpeechModel
from voxstrata.models.card import write_model
from voxstrata.models.ivector.network import IvectorNetwork
from voxstrata.models.load import load_model
from voxstrata.results import Results, Row, load_results, write_results
from voxstrata.streaming.runs import (
    Hooks,
    Overwrite,
    command_line,
    peak_memory,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.streaming.setup import corpus_record
from voxstrata.training import state
from voxstrata.training.export import commit
from voxstrata.training.ivector.prepare import Prepared, numbers, prepare
from voxstrata.training.ivector.settings import IvectorConfig
from voxstrata.training.ivector.stages import LIKELIHOOD, UBM, Progress, Stages
from voxstrata.training.job import MODEL
from voxstrata.training.log import LOG, read_log
from voxstrata.verification.embed import embed
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.score import score_trials


def run_ivector_training(
    config: IvectorConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Train an i-vector extractor; the folder then holds ``model/``, ``train.jsonl``, results.

    Args:
        config: the settings.
        out: output folder; an unfinished run in it goes on where it stopped.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and messages.

    Raises:
        VoxstrataError: see :func:`voxstrata.training.ivector.prepare.prepare` and
            :meth:`voxstrata.training.ivector.stages.Stages.run`.
    """
    folder, hooks = Path(out), hooks or Hooks[Prepared]()
    begun = time.perf_counter()
    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config),
        planned=hooks.planned,
        compute=lambda prepared: _compute(prepared, folder, hooks, begun),
    )


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    resumed = remember_plan(folder, prepared.identity, {"settings": numbers(prepared.config)})
    stages = Stages(prepared, folder, hooks.progress)
    done = stages.run()
    bad = done.bad
    command = command_line()
    wall = time.perf_counter() - begun
    card = _export(prepared, stages, done, folder / MODEL, command, wall)
    model = load_model(str(folder / MODEL), device=prepared.device)
    likelihoods = _likelihoods(folder)
    values = {
        **{name: told[-1] for name, told in likelihoods.items()},
        **{f"{name}_eer": error_rate(model, one) for name, one in prepared.valid.items()},
    }
    corpus = prepared.corpus
    record: dict[str, Any] = {
        "job": "train",
        "study": prepared.config.name,
        "identity": prepared.identity,
        "command": command,
        "config": prepared.config.model_dump(mode="json"),
        "steps": done.step,
        "card": card,
        "corpus": corpus_record(
            corpus,
            corpus.spec,
            len(corpus) - len(bad),
            corpus.seconds,
            [{"id": name, "what": why} for name, why in bad.items()],
        ),
        "bad": bad,
        "fell": fell(likelihoods),
        "notices": list(prepared.notices),
        "resumed": resumed,
        "wall_s": time.perf_counter() - begun,
        "peak_memory": peak_memory(),
        "processes": 1,
    }
    write_results(folder, [_row(prepared, *item) for item in values.items()], plain(record))
    state.forget(folder)
    return load_results(folder)


def _likelihoods(folder: Path) -> dict[str, list[float]]:
    """Log-likelihoods a frame, in the order they were told."""
    found: dict[str, list[float]] = {}
    for entry in read_log(folder):
        for name in (UBM, LIKELIHOOD):
            if isinstance(entry.get(name), float):
                found.setdefault(name, []).append(entry[name])
    return found


def fell(likelihoods: dict[str, list[float]]) -> dict[str, float]:
    """By how much each log-likelihood fell at worst, from one step to the next; empty where none
    did. Only floors of covariances (and, with one expectation step an iteration, a stale
    sub-step) can make one fall."""
    found = {}
    for name, told in likelihoods.items():
        worst = float(np.diff(told).min()) if len(told) > 1 else 0.0
        if worst < -1e-9:
            found[name] = worst
    return found


def _export(
    prepared: Prepared, stages: Stages, done: Progress, folder: Path, command: str, wall_s: float
) -> dict[str, Any]:
    """Write the model folder and load it back."""
    assert done.mixture is not None
    assert done.extractor is not None
    network = IvectorNetwork(prepared.options)
    network.fill(done.mixture, done.selector, done.extractor)
    mean = stages.ivectors().mean(dim=0).to("cpu", torch.float32).numpy()
    corpus = prepared.corpus
    card = write_model(
        folder,
        {
            "name": prepared.config.name,
            "family": "ivector",
            "summary": f"i-vectors of {prepared.options.rank}, {prepared.options.gaussians} "
            f"Gaussians, {corpus.seconds / 3600:.1f} h",
            "training": {
                "objective": {"name": "ivector"},
                "config": prepared.config.model_dump(mode="json", exclude_defaults=True),
                "corpora": list(prepared.config.data.corpora),
                "recordings": len(corpus) - len(done.bad),
                "hours": corpus.seconds / 3600,
                "speech_frames": done.frames,
                "corpus_fingerprint": corpus.fingerprint,
                "wall_s_of_last_sitting": wall_s,
                "seed": prepared.config.run.seed,
                "command": command,
                "date": dt.datetime.now(dt.UTC).date().isoformat(),
                "voxstrata": voxstrata.__version__,
                "commit": commit(),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {prepared.device}",
            },
            "metrics": {},
        },
        network,
        prepared.front,
        mean=mean,
    )
    log = folder.parent / LOG
    if log.exists():
        shutil.copyfile(log, folder / LOG)
    again: Any = load_model(str(folder))
    for name, value in again._module.state_dict().items():
        if not torch.equal(value, network.state_dict()[name]):
            raise CheckpointError(f"{folder} does not load back: the tensor {name} differs")
    return card


def error_rate(model: SpeechModel, corpus: Corpus) -> float:
    """Equal error rate in percent over all pairs: cosine, their own mean subtracted."""
    embedded = embed(model, corpus)
    kept = set(embedded.ids)
    trials = all_pairs([u for u in corpus.utterances if u.id in kept])
    vectors = embedded.of(trials.ids).vectors
    scores = score_trials(trials, vectors, mean=vectors.mean(axis=0, dtype=np.float64))
    return 100 * eer(scores[trials.target], scores[~trials.target])


def _row(prepared: Prepared, name: str, value: float) -> Row:
    return Row(
        study=prepared.config.name, model=prepared.config.name, layer="", other_model="",
        other_layer="", property="training", measure=name, unit="utterance", value=value,
        ci_low=None, ci_high=None, n=0, groups=0, d=0, other_d=0, estimator="",
        seed=prepared.config.run.seed,
    )  # fmt: skip
