"""What every job that makes a pass settles before it: device, folds, disk, expected rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from voxstrata.corpora import Corpus
from voxstrata.errors import LabelError
from voxstrata.models.base import SpeechModel
from voxstrata.numerics.jackknife import assign_folds
from voxstrata.streaming.batches import Shard, make_shards
from voxstrata.streaming.cluster.workers import need_dask, parse_place, reach
from voxstrata.streaming.onepass import Away
from voxstrata.streaming.runs import PLAN, STATE, STORE
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import Unit
from voxstrata.types import SAMPLE_RATE, Utterance

SHARD_S, LONG_SHARD_S = 60.0, 300.0
"""Seconds of audio a shard aims at: what a kill may cost. Batches are cut inside of shards, so that
those of a long corpus, which are run on GPUs, are as long as a batch there."""

LONG_CORPUS_S = 36_000.0
"""From how much audio on shards are the longer ones. It is the corpus that decides, not the device:
a run that is begun on one device can be gone on with, or looked at, on another."""

ORDER_FOLDS = 10
"""Folds that the order of work follows where a job has none of its own."""

DISK_RESERVE = 2 << 30
"""Bytes of free disk that the row store never uses."""


@dataclass(frozen=True)
class LeftOut:
    """A property or task that is not run.

    Attributes:
        name: which.
        reason: why not.
    """

    name: str
    reason: str


class Placed(Protocol):
    """Settings that say where a pass is made."""

    cluster: str | None
    device: str
    batch_s: float | None


def away_of(config: Placed) -> Away | None:
    """The cluster that settings ask for, if any.

    Raises:
        UsageError: it is not understood; ConfigError: its profile has problems.
        ClusterError: nothing listens at its address.
        MissingDependencyError: dask is not installed.
    """
    if config.cluster is None:
        return None
    place = parse_place(config.cluster)
    need_dask(place)
    reach(place)
    return Away(config.cluster, config.device, config.batch_s)


def choose_device(wanted: str) -> str:
    """ "auto" becomes the first GPU, or the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def batch_seconds(wanted: float | None, device: str) -> float:
    """Seconds of audio in a batch: as asked for, or what suits the device."""
    return wanted or (30.0 if device == "cpu" else 300.0)


def groups_of(corpus: Corpus, group: str) -> list[str]:
    """What is left out together, for each recording: its id, or its speaker.

    Raises:
        LabelError: some recording has no speaker.
    """
    if group == "utterance":
        return [utterance.id for utterance in corpus.utterances]
    without = [u.id for u in corpus.utterances if u.tiers.get("speaker") is None]
    if without:
        raise LabelError(
            "grouping by speaker needs the speaker of every recording",
            got=f"{len(without)} without, such as {without[0]}",
            fix="use --group utterance, or give the corpus a speaker tier",
        )
    return [str(utterance.tiers["speaker"]) for utterance in corpus.utterances]


def fold_recordings(corpus: Corpus, groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """Fold of each recording; as many folds as groups where groups are fewer.

    Raises:
        UsageError: there are fewer than two groups.
    """
    wanted = min(folds, max(2, len(set(groups))))
    seconds = [utterance.duration_s for utterance in corpus.utterances]
    chosen = assign_folds(groups, wanted, seed, seconds)
    return [chosen[group] for group in groups]


def shard_seconds(utterances: Sequence[Utterance]) -> float:
    """Seconds of audio that shards of a corpus aim at, if nobody says otherwise."""
    whole = sum(utterance.duration_s for utterance in utterances)
    return SHARD_S if whole < LONG_CORPUS_S else LONG_SHARD_S


def order_of_work(
    utterances: Sequence[Utterance], seed: int, *, group: str = "utterance"
) -> list[Shard]:
    """The order in which a job goes through a corpus whose folds do not rule it.

    It is that of a similarity run with its default number of folds, so that jobs over one corpus go
    the same way and a pass can serve several of them (:mod:`voxstrata.streaming.together`). The
    folds of these shards mean nothing: the pass is given folds of its own.

    Args:
        utterances: the corpus.
        seed: of the run.
        group: "utterance", or "speaker" (of those that have one).
    """
    names = [u.id if group == "utterance" else str(u.tiers.get(group, u.id)) for u in utterances]
    dealt = dict.fromkeys(names, 0)
    if len(dealt) > 1:
        lengths = [utterance.duration_s for utterance in utterances]
        dealt = assign_folds(names, min(ORDER_FOLDS, len(dealt)), seed, lengths)
    return make_shards(utterances, [dealt[name] for name in names], shard_seconds(utterances))


def free_disk(out: Path, afresh: bool) -> float:
    """Bytes of disk that rows may take below ``out``.

    Args:
        out: output folder, which need not exist.
        afresh: rows that an earlier run left there will be deleted first. Those of an unfinished
            run are a part of what this one needs, and so count as free too.
    """
    store = out / STORE
    ours = afresh or (out / STATE / PLAN).exists()
    held = sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) if ours else 0
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return max(0.0, shutil.disk_usage(place).free + held - DISK_RESERVE)


def expected_rows(
    unit: Unit,
    corpus: Corpus,
    models: Sequence[SpeechModel],
    layers: Sequence[StackLayer],
    folds: Sequence[int],
) -> list[int]:
    """Rows that each fold will give, if every recording can be used."""
    totals = [0] * (max(folds) + 1)
    for utterance, fold in zip(corpus.utterances, folds, strict=True):
        samples = round(utterance.duration_s * SAMPLE_RATE)
        frames = [models[layer.model].frames(layer.info.name, samples) for layer in layers]
        if min(frames) > 0:
            totals[fold] += unit.count(utterance, frames, layers)
    return totals


def untrained_notice(models: Sequence[SpeechModel]) -> list[str]:
    """A sentence about the models of a run that have learned nothing, if there are any."""
    untrained = [model.spec for model in models if model.details.get("random")]
    if not untrained:
        return []
    return [
        f"{len(untrained)} of {len(models)} models are randomly initialised and have learned "
        f"nothing ({', '.join(untrained)}): what they show is what architecture and input alone "
        "bring, not what training does."
    ]


def corpus_record(
    corpus: Corpus, spec: str, recordings: int, seconds: float, skipped: list[dict[str, str]]
) -> dict[str, Any]:
    """The corpus as the run record holds it.

    Args:
        corpus: what was used.
        spec: how the user named it.
        recordings, seconds: what contributed.
        skipped: what did not, with reasons, besides what the corpus itself left out.
    """
    speakers = {u.tiers["speaker"] for u in corpus.utterances if u.tiers.get("speaker")}
    return {
        "spec": spec,
        "name": corpus.name,
        "fingerprint": corpus.fingerprint,
        "utterances": recordings,
        "seconds": round(seconds, 3),
        "speakers": len(speakers),
        "skipped": [{"id": p.id, "what": p.what} for p in corpus.skipped] + skipped,
        "details": dict(corpus.details),
    }
