"""The unit ``sequence``: all frames, in order, of some recordings, for what needs neighbours."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from typing import Any

import torch

from voxstrata.errors import CorpusError, UsageError
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import UnitRows
from voxstrata.types import SAMPLE_RATE, FrameGrid, Utterance


class SequenceFrames:
    """Every native frame of a seeded, speaker-balanced choice of recordings.

    Nothing is pooled or matched, so only layers with the same frame centres share rows; a run has
    one such unit for each set of centres among its layers. Recordings that are not chosen give
    no rows.

    Args:
        grid: layers must have its stride and centres.
        seconds: audio to choose, at most.
        seed: seed of the choice; ``None`` for the one given to :meth:`prepare`.

    Raises:
        UsageError: ``seconds`` is not positive.
    """

    name = "sequence"
    tier: str | None = None

    def __init__(self, grid: FrameGrid, seconds: float = 600.0, seed: int | None = None) -> None:
        if not seconds > 0:
            raise UsageError("the length of a sequence sample", got=seconds, expected="over 0 s")
        self.grid, self.seconds, self.seed = grid, seconds, seed
        self._draw_seed = seed or 0
        self._chosen: frozenset[str] | None = None
        self._held_s = 0.0

    def accepts(self, layer: StackLayer) -> bool:
        """Layers whose frames stand for the same moments (receptive fields may differ)."""
        grid = layer.info.grid
        if layer.info.kind != "frame" or grid is None:
            return False
        return (grid.stride, grid.centre2(0)) == (self.grid.stride, self.grid.centre2(0))

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Choose recordings: :func:`choose_recordings`.

        Raises:
            CorpusError: no recording is short enough.
        """
        self._draw_seed = seed if self.seed is None else self.seed
        chosen = choose_recordings(utterances, self.seconds, self._draw_seed)
        self._chosen = frozenset(u.id for u in chosen)
        self._held_s = sum(u.duration_s for u in chosen)

    def _is_chosen(self, utterance: Utterance) -> bool:
        if self._chosen is None:
            raise UsageError(
                f"frames of {utterance.id} were asked for before recordings were chosen",
                fix="call prepare() with all recordings of the corpus first",
            )
        return utterance.id in self._chosen

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """All frames in order; the span of a frame is its centre -/+ half a stride.

        Layers of one grid may differ in length by what a model leaves out at the end; frame i
        is the same moment in all of them, so all are as long as the shortest.
        """
        shortest = min(len(output) for output in outputs)
        longest = max(len(output) for output in outputs)
        chosen = self._is_chosen(utterance)
        count = shortest if chosen else 0
        dropped = {"frames without a partner in every layer": longest - shortest}
        if not chosen:
            dropped = {"frames of recordings that were not chosen": longest}
        values = [
            (output if output.dtype == torch.float64 else output.float())[:count]
            for output in outputs
        ]
        stride, first = self.grid.stride, self.grid.centre2(0)
        edges = [
            (first + stride * (2 * index - 1)) / (2 * SAMPLE_RATE) for index in range(count + 1)
        ]
        return UnitRows(values, edges[:-1], edges[1:], dropped=dropped)

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Frames of the shortest layer, 0 for recordings that were not chosen."""
        return min(frames) if self._is_chosen(utterance) else 0

    def describe(self) -> dict[str, Any]:
        """Settings and how much was chosen."""
        return {
            "unit": self.name,
            "grid": {
                "stride": self.grid.stride,
                "receptive": self.grid.receptive,
                "start": self.grid.start,
            },
            "seconds": self.seconds,
            "seed": self._draw_seed,
            "recordings chosen": None if self._chosen is None else len(self._chosen),
            "seconds chosen": self._held_s,
        }


def choose_recordings(
    utterances: Sequence[Utterance], seconds: float, seed: int
) -> list[Utterance]:
    """A seeded choice of recordings of at most ``seconds`` in all, balanced over speakers.

    The speaker with the least audio so far gives his next recording (in the order of a hash
    of seed and id); one that no longer fits is passed over. The choice does not depend on the
    order of the corpus. A recording without a speaker counts as a speaker of its own.

    Args:
        utterances: the corpus.
        seconds: audio to choose, at most.
        seed: seed of the choice.

    Returns:
        the recordings, in corpus order.

    Raises:
        CorpusError: no recording is short enough.
    """
    waiting: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        speaker = utterance.tiers.get("speaker")
        key = f"recording {utterance.id}" if speaker is None else f"speaker {speaker}"
        waiting.setdefault(key, []).append(utterance)
    for listed in waiting.values():
        listed.sort(key=lambda u: _digest(seed, u.id), reverse=True)
    queue = [(0.0, _digest(seed, key), key) for key in waiting]
    heapq.heapify(queue)
    chosen: set[str] = set()
    total = 0.0
    while queue:
        held, rank, speaker = heapq.heappop(queue)
        utterance = waiting[speaker].pop()
        if total + utterance.duration_s <= seconds:
            chosen.add(utterance.id)
            total += utterance.duration_s
            held += utterance.duration_s
        if waiting[speaker]:
            heapq.heappush(queue, (held, rank, speaker))
    if not chosen:
        shortest = min((u.duration_s for u in utterances), default=0.0)
        raise CorpusError(
            "no recording fits into the sequence sample",
            got=f"the shortest of {len(utterances)} is {shortest:.1f} s",
            expected=f"at most {seconds:g} s",
            fix="raise sequence_s",
        )
    return [u for u in utterances if u.id in chosen]


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{name}".encode()).digest()[:8]
