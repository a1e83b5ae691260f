"""Heads on single frames: classes of moments."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from voxstrata.errors import UsageError
from voxstrata.probing.frames import check_finite
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.kinds.utterance import UtteranceKind
from voxstrata.probing.linear.probes import Part
from voxstrata.probing.task import PARTS, Round
from voxstrata.probing.tasks.spots import SpotExamples


class SpotKind(UtteranceKind):
    """Linear, linear on the frame whose centre is nearest, of every layer in its own grid."""

    ON_FRAMES: ClassVar[bool] = True

    def parts(self, work: Work, division: Round) -> dict[str, Part]:
        """The frames of the moments, [N, D_l] of each layer."""
        check_finite(work.names, work.means.rows)
        return {part: self._part(work, division, part) for part in PARTS}

    def _part(self, work: Work, division: Round, part: str) -> Part:
        examples, frames = division.parts[part], work.frames
        assert isinstance(examples, SpotExamples)
        assert frames is not None
        here = np.array([name in frames.place for name in examples.ids], dtype=bool)
        if not here.any():
            raise UsageError(
                f"no recording of {part} could be read", got="all of them were skipped"
            )
        ids = [name for name, good in zip(examples.ids, here, strict=True) if good]
        times = examples.times[here]
        layers = [frames.at(i, ids, times) for i in range(len(work.names))]
        return Part(layers, torch.from_numpy(examples.targets[here]))


KIND = SpotKind()
