"""A sample: the rows of one unit over a corpus, with labels, and the layers they were taken from.

A property never sees audio: it draws rows from a sample, builds its view of them from labels,
tiers and files, and is handed one layer's rows after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.streaming.stack import StackLayer
from voxstrata.types import Utterance


@dataclass(frozen=True)
class Sample:
    """The rows of one unit.

    Attributes:
        unit: "frame", "phone", "word", "utterance" or "sequence" (all frames of some recordings
            in order, for what needs neighbours in time).
        layers: the layers that have these rows, in the order of :attr:`read`; helper layers
            (log-mel, F0, ...) among them.
        utterance: id of the recording of each row, [N].
        fold: fold of each row's group, int64 [N].
        start_s, end_s: span of each row, seconds, float64 [N].
        labels: label of each row, or ``None`` for units without labels.
        utterances: the recordings by id, with their tiers.
        read: gives the rows of one layer by its position in :attr:`layers`, float32 [N, D].
        helpers: positions of layers that are there for views only.
    """

    unit: str
    layers: tuple[StackLayer, ...]
    utterance: NDArray[Any]
    fold: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    labels: tuple[str, ...] | None
    utterances: Mapping[str, Utterance]
    read: Callable[[int], torch.Tensor]
    helpers: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.fold)

    def tier(self, name: str) -> list[Any]:
        """The scalar tier ``name`` of each row's recording; ``None`` where it has none, [N]."""
        known = {key: u.tiers.get(name) for key, u in self.utterances.items()}
        return [known[key] for key in self.utterance]

    def groups(self, name: str) -> NDArray[Any]:
        """What belongs together: "utterance", or "speaker" (the recording's id where it has no
        speaker), [N]."""
        if name == "utterance":
            return self.utterance
        speakers = self.tier("speaker")
        return np.array(
            [str(u) if s is None else str(s) for u, s in zip(self.utterance, speakers, strict=True)]
        )

    def find(self, model: str, layer: str) -> int | None:
        """Position of a layer of the run, or ``None``."""
        for position, candidate in enumerate(self.layers):
            if (candidate.name, candidate.info.name) == (model, layer):
                return position
        return None


def sample_of(
    values: Sequence[Any],
    *,
    layers: Sequence[StackLayer],
    utterances: Mapping[str, Utterance],
    utterance: Sequence[str],
    fold: Sequence[int],
    labels: Sequence[str] | None = None,
    start_s: Sequence[float] | None = None,
    end_s: Sequence[float] | None = None,
    unit: str = "phone",
) -> Sample:
    """A sample of arrays in memory: for tests, notebooks and one's own features.

    Args:
        values: for each layer its rows [N, D].
        layers, utterances, utterance, fold, labels, start_s, end_s, unit: see :class:`Sample`.
    """
    held = [torch.as_tensor(np.asarray(v, dtype=np.float32)) for v in values]
    n = len(fold)
    return Sample(
        unit=unit,
        layers=tuple(layers),
        utterance=np.array([str(u) for u in utterance], dtype=object),
        fold=np.asarray(fold, dtype=np.int64),
        start_s=np.asarray(start_s if start_s is not None else np.zeros(n), dtype=np.float64),
        end_s=np.asarray(end_s if end_s is not None else np.zeros(n), dtype=np.float64),
        labels=None if labels is None else tuple(labels),
        utterances=utterances,
        read=held.__getitem__,
    )
