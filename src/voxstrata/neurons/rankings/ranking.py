"""What a ranking is: scores of neurons from units with labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError, UsageError
from voxstrata.neurons.counts import Floats, Ints


@dataclass(frozen=True)
class Labelled:
    """Units of one layer with labels.

    Attributes:
        x: [P, D], mean activation of each unit.
        labels: [P], group of each unit, from 0; every group has a unit.
        groups: G names, at least two.
        rates: [P, D], share of frames in which each neuron was active; ``None`` if not counted.
        frames: [P], frames of each unit; ``None`` to weigh units alike.
        seed: of rankings that draw at random.

    Raises:
        ShapeError: the arrays do not fit each other.
        NumericsError: a number is not finite.
        UsageError: fewer than two groups, or a group without units.
    """

    x: Floats
    labels: Ints
    groups: tuple[str, ...]
    rates: Floats | None = None
    frames: Ints | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        rates, frames = self.rates, self.frames
        if (
            self.x.ndim != 2
            or self.labels.shape != self.x.shape[:1]
            or (rates is not None and rates.shape != self.x.shape)
            or (frames is not None and frames.shape != self.labels.shape)
        ):
            raise ShapeError(
                "activations, labels and rates of units do not fit each other",
                got=f"{self.x.shape}, {self.labels.shape}",
                expected="[P, D], [P], [P, D] and [P]",
            )
        if not np.isfinite(self.x).all() or (rates is not None and not np.isfinite(rates).all()):
            raise NumericsError("a ranking of neurons met numbers that are not finite")
        G = len(self.groups)
        if self.labels.min(initial=0) < 0 or self.labels.max(initial=0) >= G:
            raise UsageError(
                "a unit's label is none of the groups",
                got=f"{self.labels.min()} to {self.labels.max()}",
                expected=f"0 to {G - 1}",
            )
        sizes = np.bincount(self.labels, minlength=G)
        if G < 2 or not sizes.all():
            empty = [name for name, size in zip(self.groups, sizes, strict=True) if not size]
            raise UsageError(
                "neurons are ranked by at least two groups that have units",
                got=f"{G} group(s)" + (f"; none of {', '.join(empty)}" if empty else ""),
            )

    def take(self, units: NDArray[np.integer] | NDArray[np.bool_]) -> Labelled:
        """Some units; groups that they lack are dropped and the others numbered anew."""
        kept, labels = np.unique(self.labels[units], return_inverse=True)
        return replace(
            self,
            x=self.x[units],
            labels=np.asarray(labels, np.int64),
            groups=tuple(self.groups[g] for g in kept.tolist()),
            rates=None if self.rates is None else self.rates[units],
            frames=None if self.frames is None else self.frames[units],
        )


def labelled(
    x: NDArray[np.floating],
    labels: Sequence[object] | NDArray[np.generic],
    *,
    rates: Floats | None = None,
    frames: Ints | None = None,
    seed: int = 0,
) -> Labelled:
    """:class:`Labelled` from labels of any type; groups are in sorted order.

    Raises:
        as :class:`Labelled`.
    """
    names, number = np.unique(np.asarray(labels), return_inverse=True)
    return Labelled(
        np.asarray(x, np.float64),
        np.asarray(number, np.int64),
        tuple(str(n) for n in names),
        rates,
        frames,
        seed,
    )


@dataclass(frozen=True)
class Scores:
    """Scores of D neurons.

    Attributes:
        neuron: [D], larger tells more.
        by_group: [G, D], of each group; ``None`` where the method has none.
    """

    neuron: Floats
    by_group: Floats | None = None

    def order(self, seed: int = 0) -> Ints:
        """Neurons, best first, [D]. Neurons with equal scores come in a random order: their
        numbers would make two rankings agree that say nothing."""
        keys = np.random.default_rng([seed, 4]).random(len(self.neuron))
        return np.asarray(np.lexsort((keys, -self.neuron)), dtype=np.int64)


@dataclass(frozen=True)
class Ranking:
    """One way to order neurons.

    Attributes:
        name: registry name.
        summary: one line.
        score: from labelled units to scores.
        needs: "means" of activations, or "rates" of activity as well.
        reference: source.
    """

    name: str
    summary: str
    score: Callable[[Labelled], Scores]
    needs: Literal["means", "rates"] = "means"
    reference: str = ""
