"""How much a neuron or an attention head is worth: one registry, low scores go first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel, Wave
from voxstrata.registry import Registry

if TYPE_CHECKING:
    import torch

    from voxstrata.neurons.pruning.copies import BlockParts

Floats = NDArray[np.float64]

RowScores = dict[str, Floats]
"""Layer ("block.3.ffn.inner") to a score of each neuron [F]."""

HeadScores = dict[int, Floats]
"""Block, from 1, to a score of each head [H]."""


class Losses(Protocol):
    """A network with the losses that it has on batches of its own training objective."""

    blocks: Sequence[BlockParts]
    """Blocks of the network that the losses are of."""

    def each(self) -> Iterator[torch.Tensor]:
        """A scalar loss for each batch, to be differentiated before the next is asked for."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What scores from data look at.

    Attributes:
        audio: gives batches of recordings, the same ones at every call.
        losses: gives the losses of a model.
        seed: of the random order that is a control.
        device: where the model runs on the recordings.
    """

    audio: Callable[[], Iterable[Sequence[Wave]]] | None = None
    losses: Callable[[SpeechModel], Losses] | None = None
    seed: int = 0
    device: str = "cpu"


class Score(Protocol):
    """What the registry holds for a name."""

    summary: str
    """One line for listings."""

    needs: Literal["nothing", "audio", "losses"]
    """What it looks at beside the weights."""

    def rows(self, model: SpeechModel, evidence: Evidence) -> RowScores:
        """Scores of the feed-forward neurons of every layer.

        Raises:
            UsageError: the evidence lacks what the score needs.
            ModelError: the model has no feed-forward parts.
        """
        ...

    def heads(self, model: SpeechModel, evidence: Evidence) -> HeadScores:
        """Scores of the attention heads of every block.

        Raises:
            UsageError: as above, or the score says nothing about heads.
        """
        ...


SCORES: Registry[Score] = Registry("pruning score", "voxstrata.pruning_scores")
_FROM_WEIGHTS, _FROM_DATA = (
    f"voxstrata.neurons.pruning.scores_from_{what}" for what in ("weights", "data")
)
SCORES.add("l1", f"{_FROM_WEIGHTS}:L1", "sum of magnitudes of the weights (published)")
SCORES.add("activation", f"{_FROM_DATA}:ACTIVATION", "mean |activation| on speech; rows only")
SCORES.add("taylor", f"{_FROM_DATA}:TAYLOR", "|activation x gradient| of the training loss")
SCORES.add("random", f"{_FROM_WEIGHTS}:RANDOM", "a seeded random order, to compare with")


def lacking(name: str, what: str, fix: str) -> UsageError:
    """The error of a score that lacks what it looks at."""
    return UsageError(f"the pruning score {name!r} needs {what}", got="none", fix=fix)
