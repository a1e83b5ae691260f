"""Order of work: fold-pure shards, and batches of similar length within a shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.types import Utterance


@dataclass(frozen=True)
class Shard:
    """A piece of work: recordings of one fold, finished and counted together.

    Attributes:
        number: position in the run.
        fold: the fold all its recordings belong to.
        members: positions of its recordings in the corpus, in order of processing.
    """

    number: int
    fold: int
    members: tuple[int, ...]


def make_shards(
    utterances: Sequence[Utterance], folds: Sequence[int], seconds: float
) -> list[Shard]:
    """Cut a corpus into shards of at most ``seconds`` of audio (one recording at least).

    Args:
        utterances: the corpus.
        folds: fold of each recording.
        seconds: target length of a shard.

    Returns:
        shards, fold by fold, recordings in corpus order.
    """
    shards: list[Shard] = []
    for fold in sorted(set(folds)):
        members: list[int] = []
        held = 0.0
        for position, utterance in enumerate(utterances):
            if folds[position] != fold:
                continue
            if members and held + utterance.duration_s > seconds:
                shards.append(Shard(len(shards), fold, tuple(members)))
                members, held = [], 0.0
            members.append(position)
            held += utterance.duration_s
        if members:
            shards.append(Shard(len(shards), fold, tuple(members)))
    return shards


def make_batches(
    utterances: Sequence[Utterance], members: Sequence[int], seconds: float
) -> list[list[int]]:
    """Group recordings of similar length into batches of at most ``seconds``, padding counted.

    Args:
        utterances: the corpus.
        members: positions of the recordings to group.
        seconds: largest batch, as its number of recordings times its longest one.

    Returns:
        batches of positions, longest recordings first; every position exactly once.
    """
    ordered = sorted(members, key=lambda m: (-utterances[m].duration_s, m))
    batches: list[list[int]] = []
    for position in ordered:
        batch = batches[-1] if batches else None
        if batch and utterances[batch[0]].duration_s * (len(batch) + 1) <= seconds:
            batch.append(position)
        else:
            batches.append([position])
    return batches
