"""Frames of speech of a training corpus, part by part, kept on disk between passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import AudioError, VoxstrataError
from voxstrata.files import atomic_write
from voxstrata.models.ivector.features import SpeakerFeatures
from voxstrata.streaming.batches import Shard, make_shards
from voxstrata.streaming.outputs import prefetch
from voxstrata.streaming.progress import Advance
from voxstrata.sums import read_arrays

READ = 32
"""Recordings read ahead together."""


@dataclass(frozen=True)
class Part:
    """Speech of some recordings.

    Attributes:
        members: positions of the recordings in the corpus.
        lengths: frames of speech of each.
        rows: all of them [N, D], float32.
        bad: recordings that could not be used, by id, with the reason.
    """

    members: tuple[int, ...]
    lengths: tuple[int, ...]
    rows: NDArray[np.float32]
    bad: dict[str, str]

    def recordings(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Position and frames [T, D] float64 of each recording."""
        at = 0
        for member, length in zip(self.members, self.lengths, strict=True):
            yield member, torch.from_numpy(self.rows[at : at + length].astype(np.float64))
            at += length


class Speech:
    """A corpus as frames of speech.

    Args:
        corpus: recordings.
        features: what frames are.
        part_s: seconds of audio a part.
        folder: where frames are kept; ``None`` to compute them in every pass.
    """

    def __init__(
        self, corpus: Corpus, features: SpeakerFeatures, part_s: float, folder: Path | None
    ) -> None:
        self.corpus, self.features, self.folder = corpus, features, folder
        utterances = corpus.utterances
        self.shards: list[Shard] = make_shards(utterances, [0] * len(utterances), part_s)
        self.bad: dict[str, str] = {}

    def parts(self, advance: Advance = lambda _amount: None, begin: int = 0) -> Iterator[Part]:
        """Every part; recordings that cannot be used are left out, and noted in ``bad``.

        Args:
            advance: called with seconds of audio as they are done.
            begin: number of the first part wanted.
        """
        for shard in self.shards[begin:]:
            part = self._held(shard) or self._made(shard)
            self.bad |= part.bad
            yield part
            advance(sum(self.corpus.utterances[m].duration_s for m in shard.members))

    def _made(self, shard: Shard) -> Part:
        utterances = self.corpus.utterances
        members: list[int] = []
        rows: list[NDArray[np.float32]] = []
        bad: dict[str, str] = {}
        places = {utterances[m].id: m for m in shard.members}
        pieces = [
            [utterances[m] for m in shard.members[at : at + READ]]
            for at in range(0, len(shard.members), READ)
        ]
        for loaded in prefetch(pieces):
            for utterance, error in loaded.failed:
                bad[utterance.id] = _why(error)
            for utterance, wave in zip(loaded.utterances, loaded.audio, strict=True):
                try:
                    rows.append(self._frames(wave, utterance.id))
                except VoxstrataError as error:
                    bad[utterance.id] = _why(error)
                else:
                    members.append(places[utterance.id])
        width = self.features.front.width
        part = Part(
            tuple(members),
            tuple(len(one) for one in rows),
            np.concatenate(rows) if rows else np.zeros((0, width), np.float32),
            bad,
        )
        self._keep(shard, part)
        return part

    def _frames(self, wave: torch.Tensor, name: str) -> NDArray[np.float32]:
        kept = self.features(wave)[self.features.speech(wave)]
        if not len(kept):
            raise AudioError(f"{name} holds no speech", got="no frame above the energy threshold")
        if not bool(kept.isfinite().all()):
            raise AudioError(f"the features of {name} are not finite", got="NaN or infinity")
        found: NDArray[np.float32] = kept.to(torch.float32).numpy()
        return found

    def _path(self, shard: Shard) -> Path | None:
        return None if self.folder is None else self.folder / f"part-{shard.number:05d}.npz"

    def _keep(self, shard: Shard, part: Part) -> None:
        path = self._path(shard)
        if path is None:
            return
        with atomic_write(path) as file:
            np.savez(
                file,
                members=np.array(part.members, dtype=np.int64),
                lengths=np.array(part.lengths, dtype=np.int64),
                rows=part.rows,
                bad=np.array(list(part.bad), dtype=np.str_),
                why=np.array(list(part.bad.values()), dtype=np.str_),
            )

    def _held(self, shard: Shard) -> Part | None:
        path = self._path(shard)
        if path is None or not path.exists():
            return None
        try:
            held = read_arrays(path)
            return Part(
                tuple(held["members"].tolist()),
                tuple(held["lengths"].tolist()),
                held["rows"],
                dict(zip(held["bad"].tolist(), held["why"].tolist(), strict=True)),
            )
        except (OSError, ValueError, KeyError):
            return None  # damaged: made anew


def sample(parts: Iterator[Part], seconds: float, frames: int, seed: int) -> torch.Tensor:
    """Frames drawn evenly from all recordings, float64 [N, D].

    Args:
        parts: of the corpus.
        seconds: audio in it, from which the share of frames to keep follows.
        frames: N at most; fewer where pauses are left out.
        seed: of the draw, with each recording's position.
    """
    share = min(1.0, frames / max(1.0, 100.0 * seconds))
    kept: list[torch.Tensor] = []
    for part in parts:
        for member, rows in part.recordings():
            # As if each frame were tossed for, but with a number that does not vary.
            random = np.random.default_rng([seed, member])
            many = int(share * len(rows) + random.random())
            kept.append(rows[torch.from_numpy(_choose(random, len(rows), many))])
    return torch.cat(kept) if kept else torch.zeros(0, 0, dtype=torch.float64)


def longest(lengths: Sequence[float], count: int | None) -> set[int]:
    """Positions of the longest recordings; of equal ones, the first."""
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    return set(order[:count])


def _choose(random: np.random.Generator, among: int, many: int) -> NDArray[np.int64]:
    return np.sort(random.choice(among, min(many, among), replace=False)).astype(np.int64)


def _why(error: VoxstrataError) -> str:
    return error.what if error.got is None else f"{error.what} ({error.got})"
