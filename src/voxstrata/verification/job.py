"""The verification job: embeddings of all systems in one reading, scores, error rates."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.corpora import Corpus
from voxstrata.errors import NumericsError, UsageError
from voxstrata.files import atomic_write, write_json
from voxstrata.metrics.bootstrap import SpeakerBootstrap
from voxstrata.results import Results, load_results, write_results
from voxstrata.streaming.progress import Advance, bar
from voxstrata.streaming.runs import (
    Hooks,
    Overwrite,
    clean_up,
    command_line,
    describe_model,
    peak_memory,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.streaming.setup import corpus_record
from voxstrata.streaming.stack import StackLayer
from voxstrata.verification import score
from voxstrata.verification.channels import LIST, write_channels
from voxstrata.verification.drawn import DRAWN
from voxstrata.verification.embed import Embeddings, embed_all
from voxstrata.verification.prepare import Prepared, System, plan_facts, prepare
from voxstrata.verification.settings import VerifyConfig
from voxstrata.verification.table import Scored, measure, to_rows
from voxstrata.verification.trials import Trials, save_trials
from voxstrata.verification.ways import backend_of, scorings

EMBEDDINGS, TRIALS, SCORES = "embeddings", "trials.txt", "scores.parquet"
"""What a results folder holds besides table and record."""


def verify(
    models: str | list[str] | tuple[str, ...],
    corpus: str,
    trials: str | Path | None = None,
    out: str | Path = "verify",
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
    **settings: Any,
) -> Results:
    """Speaker verification with models, their untrained twins and acoustic baselines.

    Args:
        models: one or more model names.
        corpus: of the trial recordings.
        trials: a trial list; ``None`` for all pairs of the corpus.
        out: results folder.
        overwrite, hooks: as for :func:`run_verification`.
        settings: the others of :class:`~voxstrata.verification.settings.VerifyConfig`.

    Raises:
        as :func:`run_verification`.
    """
    from voxstrata.config import build

    given = {"models": models, "corpus": corpus, "trials": str(trials) if trials else None}
    config = build(VerifyConfig, given | settings)
    return run_verification(config, out, overwrite=overwrite, hooks=hooks)


def run_verification(
    config: VerifyConfig,
    out: str | Path,
    *,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Embed, score and write results into a folder.

    The folder then also holds ``trials.txt`` (the list as it was scored), ``embeddings/`` (kept:
    another run over the same recordings finds them), ``verification.json`` (score histograms and
    DET curves), ``channels.jsonl`` where channels were used, and ``scores.parquet`` if asked for.

    Args:
        config: the settings.
        out: output folder.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and plan display.

    Returns:
        the results, as read back from ``out``.

    Raises:
        VoxstrataError: see :func:`voxstrata.verification.prepare.prepare`;
            ``RunInterruptedError`` on Ctrl-C, after which the same call goes on.
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


@dataclasses.dataclass(frozen=True)
class _Embedded:
    """Embeddings of the trial recordings, and of what means, cohorts and backends come from."""

    trials: list[Embeddings]
    mean: list[Embeddings] | None
    cohort: list[Embeddings] | None
    backend: list[Embeddings] | None


@dataclasses.dataclass(frozen=True)
class _Scores:
    """Error rates, what went wrong, and the scores themselves where they are asked for."""

    scored: list[Scored]
    notices: list[str]
    kept: dict[str, score.Floats]
    backends: dict[str, dict[str, Any]]


def _compute(prepared: Prepared, folder: Path, hooks: Hooks[Prepared], begun: float) -> Results:
    resumed = remember_plan(folder, prepared.identity, plan_facts(prepared))
    embedded = _embed(prepared, folder, hooks)
    passed = time.perf_counter()
    skipped = {name: why for one in embedded.trials for name, why in one.skipped.items()}
    trials = prepared.trials.without(skipped)
    _enough(trials, prepared, skipped)
    draws = _draws(prepared, trials)
    scores = _score(prepared, embedded, trials, draws, hooks)
    rows = to_rows(scores.scored, prepared, trials, draws)
    done = time.perf_counter()
    notices = list(prepared.notices) + scores.notices
    if lost := len(prepared.trials) - len(trials):
        notices.append(
            f"{len(skipped)} recordings could not be embedded by every system; {lost} of "
            f"{len(prepared.trials)} trials went with them."
        )
    record = {
        "job": "verify",
        "study": prepared.config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": prepared.config.model_dump(mode="json"),
        "models": [_described(one) for one in prepared.systems],
        "twins": prepared.twins,
        "corpus": _corpus_facts(prepared, embedded.trials, skipped),
        "trials": trials.summary(prepared.speakers),
        "mean_from": prepared.config.mean_from,
        "cohort": _cohort_facts(prepared, embedded),
        "backend": _backend_facts(prepared, embedded, scores),
        "channels": prepared.channels.key if prepared.channels else None,
        "seed": prepared.config.seed,
        "device": prepared.device,
        "notices": notices,
        "resumed": resumed,
        "wall_s": round(done - begun, 3),
        "wall_parts_s": {
            "embeddings": round(passed - begun, 3),
            "scores and intervals": round(done - passed, 3),
        },
        "peak_memory_bytes": peak_memory(),
    }
    _write_lists(prepared, trials, scores, folder)
    write_results(folder, rows, plain(record))
    clean_up(folder, prepared.config)
    return load_results(folder)


def _embed(prepared: Prepared, folder: Path, hooks: Hooks[Prepared]) -> _Embedded:
    corpora = [
        prepared.corpus,
        prepared.mean_corpus,
        prepared.cohort_corpus,
        prepared.backend_corpus,
    ]
    seconds = sum(one.seconds for one in corpora if one is not None)
    with bar("embeddings", seconds, "s of speech", show=hooks.progress) as advance:
        return _Embedded(
            _by_all(prepared, prepared.corpus, folder, advance, channelled=True),
            *(
                _by_all(prepared, one, folder, advance, crops=False) if one is not None else None
                for one in corpora[1:]
            ),
        )


def _by_all(
    prepared: Prepared,
    corpus: Corpus,
    folder: Path,
    advance: Advance,
    *,
    channelled: bool = False,
    crops: bool = True,
) -> list[Embeddings]:
    """Embeddings of a corpus by every system."""
    made = prepared.channels
    if not channelled and prepared.config.channel_on == "trials":
        made = None
    systems = [
        (one.model, one.wanted if crops else dataclasses.replace(one.wanted, crops=False))
        for one in prepared.systems
    ]
    return embed_all(
        systems,
        corpus,
        channel=made.of if made else None,
        channel_key=made.key if made else "",
        cache=folder / EMBEDDINGS,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        advance=advance,
    )


def _enough(trials: Trials, prepared: Prepared, skipped: dict[str, str]) -> None:
    targets = int(trials.target.sum())
    if not targets or targets == len(trials):
        reasons = "; ".join(list(dict.fromkeys(skipped.values()))[:3])
        raise UsageError(
            "too few recordings could be embedded",
            got=f"{targets} target and {len(trials) - targets} non-target trials of "
            f"{len(prepared.trials)} are left ({len(skipped)} recordings skipped: {reasons})",
            expected="at least one of each",
        )


def _draws(prepared: Prepared, trials: Trials) -> SpeakerBootstrap | None:
    config = prepared.config
    if prepared.speakers is None or not config.replicates:
        return None
    speakers = np.array([prepared.speakers[name] for name in trials.ids])
    first, second = speakers[trials.first], speakers[trials.second]
    return SpeakerBootstrap(first, second, replicates=config.replicates, seed=config.seed)


def _score(
    prepared: Prepared,
    embedded: _Embedded,
    trials: Trials,
    draws: SpeakerBootstrap | None,
    hooks: Hooks[Prepared],
) -> _Scores:
    """Error rates of every system; a system that gives no scores (a collapsed model) is told."""
    found = _Scores([], [], {}, {})
    with bar("scores", len(prepared.systems), "systems", show=hooks.progress) as advance:
        for at, system in enumerate(prepared.systems):
            advance.at(system.name)
            mean = embedded.mean[at] if embedded.mean else None
            cohort = embedded.cohort[at] if embedded.cohort else None
            rows = embedded.trials[at].of(trials.ids)
            ways = scorings(prepared, rows, trials, mean, cohort)
            learned = embedded.backend[at] if embedded.backend else None
            try:
                for scoring, scores in ways:
                    _add(found, system, scoring, scores, prepared, trials, draws)
            except NumericsError as error:
                found.notices.append(f"{system.name} is not scored to the end: {error.what}.")
                failed = error
            for name in prepared.config.backend:
                assert learned is not None
                try:
                    backend = backend_of(prepared, name, learned)
                    scores = backend.score(rows.vectors, trials.first, trials.second)
                    _add(found, system, name, scores, prepared, trials, draws)
                except NumericsError as error:
                    found.notices.append(f"{system.name} is not scored by {name}: {error.what}.")
                    failed = error
                else:
                    found.backends[f"{system.name}|{name}"] = backend.facts()
            advance(1)
    if not found.scored:
        raise failed
    return found


def _add(
    found: _Scores,
    system: System,
    scoring: str,
    scores: score.Floats,
    prepared: Prepared,
    trials: Trials,
    draws: SpeakerBootstrap | None,
) -> None:
    found.scored.append(measure(system, scoring, scores, trials, prepared.config, draws))
    if prepared.config.keep_scores:
        found.kept[f"{system.name}|{scoring}"] = scores


def _described(one: System) -> dict[str, Any]:
    facts = describe_model(one.model, [StackLayer(0, one.name, one.wanted.layer)], 0)
    return facts | {"role": one.role, **one.wanted.describe()}


def _corpus_facts(
    prepared: Prepared, embedded: list[Embeddings], skipped: dict[str, str]
) -> dict[str, Any]:
    good = {name for one in embedded for name in one.ids} - set(skipped)
    seconds = sum(u.duration_s for u in prepared.corpus.utterances if u.id in good)
    told = [{"id": name, "what": why} for name, why in skipped.items()]
    return corpus_record(prepared.corpus, prepared.config.corpus, len(good), seconds, told)


def _cohort_facts(prepared: Prepared, embedded: _Embedded) -> dict[str, Any] | None:
    corpus = prepared.cohort_corpus
    if corpus is None or embedded.cohort is None:
        return None
    config = prepared.config
    size = len(corpus.speakers) if config.cohort == "speaker" else len(embedded.cohort[0].ids)
    return {
        "spec": config.as_norm,
        "fingerprint": corpus.fingerprint,
        "members": size,
        "top": min(config.top, size),
        "deviation": config.deviation,
        "skipped": [{"id": k, "what": v} for k, v in embedded.cohort[0].skipped.items()],
    }


def _backend_facts(
    prepared: Prepared, embedded: _Embedded, scores: _Scores
) -> dict[str, Any] | None:
    corpus = prepared.backend_corpus
    if corpus is None or embedded.backend is None:
        return None
    return {
        "spec": prepared.config.backend_from,
        "fingerprint": corpus.fingerprint,
        "recordings": len(corpus),
        "speakers": len(corpus.speakers),
        "learned": scores.backends,
        "skipped": [{"id": k, "what": v} for k, v in embedded.backend[0].skipped.items()],
    }


def _write_lists(prepared: Prepared, trials: Trials, scores: _Scores, folder: Path) -> None:
    if all(len(name.split()) == 1 for name in trials.ids):
        save_trials(trials, folder / TRIALS)
    if prepared.channels is not None:
        write_channels(folder, prepared.channels, [u.id for u in prepared.corpus.utterances])
    else:
        (folder / LIST).unlink(missing_ok=True)
    systems = [
        {
            "model": one.system.name,
            "layer": one.system.wanted.layer.name,
            "role": one.system.role,
            "scoring": one.scoring,
            "eer": one.eer.value,
            **one.drawn,
        }
        for one in scores.scored
    ]
    write_json(folder / DRAWN, {**trials.summary(), "systems": systems})
    if prepared.config.keep_scores:
        import pandas as pd

        ids = np.array(trials.ids, dtype=object)
        columns = {"first": ids[trials.first], "second": ids[trials.second]}
        frame = pd.DataFrame({**columns, "target": trials.target, **scores.kept})
        with atomic_write(folder / SCORES) as file:
            frame.to_parquet(file, index=False)
