"""The unit ``frame`` of samples: finer layers pooled onto one grid, a seeded number of frames."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.streaming.pooling import PoolRule, Windows, pool, windows
from voxstrata.streaming.stack import StackLayer, grids
from voxstrata.streaming.units import UnitRows
from voxstrata.types import SAMPLE_RATE, FrameGrid, Utterance

Shape = tuple[FrameGrid, int]

PASAD_RECEPTIVE = 400
"""Samples that P2023's filters bring every layer to (``specs/similarity.md`` 1.2)."""


class _Plan(NamedTuple):
    """Frames of one recording: windows of each distinct layer shape, the target frames taken,
    twice their centres in samples, and how many were lost for want of partners and by the limit."""

    windows: Mapping[Shape, Windows]
    taken: NDArray[np.int64]
    centres2: NDArray[np.int64]
    unpaired: int
    over: int


class PooledFrames:
    """Frames of one stride, each layer pooled onto them (:mod:`.pooling`), at most ``limit``.

    The target grid is that of the layer with the target's stride that has the widest receptive
    field (the first of equals): for 10 ms, convolutions are pooled around the frames of log-mel,
    not log-mel moved to those of conv6. Where all layers are finer, frame i stands for the
    samples [i stride, (i + 1) stride). With ``pasad2023`` the grid is always 400 samples every
    stride from sample 0. A moment for which some layer has not all its frames is dropped and
    counted.

    Which frames are taken depends on the seed, the recording and the set of recordings, not on
    their order: :meth:`prepare` deals the limit to recordings in proportion to their lengths,
    and each recording draws its frames with a generator of its own.

    Args:
        stride: target stride in samples (320 is 20 ms); coarser layers have no rows.
        limit: rows over the corpus, at most; ``None`` for all.
        seed: seed of the draw; ``None`` for the one given to :meth:`prepare`.
        rule: how finer frames are pooled.

    Raises:
        UsageError: the stride or limit is not positive.
    """

    name = "frame"
    tier: str | None = None

    def __init__(
        self,
        stride: int = 320,
        limit: int | None = None,
        seed: int | None = None,
        rule: PoolRule = "centre",
    ) -> None:
        for what, number in (("stride", stride), ("limit", limit)):
            if number is not None and number < 1:
                raise UsageError(f"the {what} of pooled frames", got=number, expected="1 or more")
        self.stride, self.limit, self.seed, self.rule = stride, limit, seed, rule
        self._draw_seed = seed or 0
        self._quota: dict[str, int] | None = None

    def accepts(self, layer: StackLayer) -> bool:
        """Layers with a time axis that is no coarser than the target."""
        grid = layer.info.grid
        return layer.info.kind == "frame" and grid is not None and grid.stride <= self.stride

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Deal the limit to recordings in proportion to their frames.

        Recordings stand in the order of a hash of (seed, id); recording k gets
        floor(L F_k / F) - floor(L F_(k-1) / F) rows, with L the limit, F_k the frames of the first
        k recordings and F those of all. The sum is exactly L, and rounding favours neither long
        nor short recordings.
        """
        self._draw_seed = seed if self.seed is None else self.seed
        self._quota = None
        if self.limit is None:
            return
        frames = {u.id: round(u.duration_s * SAMPLE_RATE) // self.stride for u in utterances}
        total, seen = max(1, sum(frames.values())), 0
        self._quota = {}
        for name in sorted(frames, key=lambda name: _digest(self._draw_seed, "order", name)):
            before = self.limit * seen // total
            seen += frames[name]
            self._quota[name] = self.limit * seen // total - before

    def _target(self, shapes: Sequence[Shape]) -> tuple[FrameGrid, int, bool]:
        """The target grid, its frames, and whether a layer says how many there are."""
        fixed = FrameGrid(self.stride, PASAD_RECEPTIVE) if self.rule == "pasad2023" else None
        have = [
            s for s in shapes if (s[0].stride == self.stride if fixed is None else s[0] == fixed)
        ]
        if have:
            return *max(have, key=lambda shape: shape[0].receptive), True
        # As many as could have a partner: windows without their finer frames go.
        ends = [g.start + (n - 1) * g.stride + g.receptive for g, n in shapes]
        count = max(0, max(ends, default=0) // self.stride + 1)
        return fixed or FrameGrid(self.stride, self.stride), count, False

    def _plan(self, utterance: Utterance, shapes: Sequence[Shape]) -> _Plan:
        target, count, known = self._target(shapes)
        found = {s: windows(s[0], s[1], target, count, self.rule) for s in dict.fromkeys(shapes)}
        keep = np.ones(count, dtype=bool)
        for runs in found.values():
            keep &= runs.whole
        here = np.flatnonzero(keep)
        taken = self._choose(utterance, here)
        centres2 = target.centre2(0) + 2 * target.stride * taken
        unpaired = count - len(here) if known else 0
        return _Plan(found, taken, centres2, unpaired, len(here) - len(taken))

    def _choose(self, utterance: Utterance, here: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.limit is None:
            return here
        if self._quota is None or utterance.id not in self._quota:
            raise UsageError(
                f"frames of {utterance.id} were asked for before its share was dealt",
                fix="call prepare() with all recordings of the corpus first",
            )
        quota = self._quota[utterance.id]
        if len(here) <= quota:
            return here
        seed = int.from_bytes(_digest(self._draw_seed, "frames", utterance.id), "big")
        drawn = np.random.default_rng(seed).choice(len(here), quota, replace=False)
        return here[np.sort(drawn)]

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """The drawn frames of every layer; spans are a target stride around each centre."""
        shapes = _shapes(layers, [len(output) for output in outputs])
        plan = self._plan(utterance, shapes)
        values = []
        for output, shape in zip(outputs, shapes, strict=True):
            runs = plan.windows[shape]
            values.append(pool(output, runs.first[plan.taken], runs.last[plan.taken]))
        dropped = {"frames without a partner in every layer": plan.unpaired}
        if self.limit is not None:
            dropped[f"over the limit of {self.limit} frames"] = plan.over
        half = self.stride
        return UnitRows(
            values,
            ((plan.centres2 - half) / (2 * SAMPLE_RATE)).tolist(),
            ((plan.centres2 + half) / (2 * SAMPLE_RATE)).tolist(),
            dropped=dropped,
        )

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Frames that will be drawn."""
        return len(self._plan(utterance, _shapes(layers, frames)).taken)

    def describe(self) -> dict[str, Any]:
        """Settings of pooling and draw."""
        return {
            "unit": self.name,
            "stride": self.stride,
            "limit": self.limit,
            "seed": self._draw_seed,
            "pooling": self.rule,
        }


def _shapes(layers: Sequence[StackLayer], frames: Sequence[int]) -> list[Shape]:
    return [
        (grid, count) for grid, count in zip(grids(layers), frames, strict=True) if grid is not None
    ]


def _digest(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{purpose}|{name}".encode()).digest()[:16]
