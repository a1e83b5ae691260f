"""How few neurons are enough: accuracy of the top, the bottom and random ones, by their number.

After Durrani et al. (EMNLP 2020) and Chowdhury, Durrani and Ali (arXiv 2107.00439): the minimal
subset is the smallest number of top neurons from which a probe trained anew is as good, within a
tolerance, as from all. Neurons are ranked on the training units alone: a ranking that saw the test
units would find neurons that tell them apart by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Floats, Ints
from voxstrata.neurons.rankings.probe import PENALTY, checked_folds, fit_probe
from voxstrata.neurons.rankings.ranking import Labelled, Ranking

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 0.01
WHICH = ("top", "random", "bottom")


@dataclass(frozen=True)
class SubsetCurve:
    """Accuracy by number of neurons.

    Attributes:
        sizes: [n], numbers of neurons.
        trained: "top", "random", "bottom" to [n], of probes trained anew on these neurons.
        masked: the same of the probe of all neurons, the others masked in test units.
        full: accuracy of all neurons.
        majority: share of units in the commonest group of their training units.
        tolerance: of :attr:`minimal`.
        ranking: name.
    """

    sizes: Ints
    trained: Mapping[str, Floats]
    masked: Mapping[str, Floats]
    full: float
    majority: float
    tolerance: float
    ranking: str

    @property
    def minimal(self) -> int:
        """The smallest size whose top neurons, trained anew, reach full - tolerance; D if none."""
        enough = self.trained["top"] >= self.full - self.tolerance - 1e-12
        return int(self.sizes[np.argmax(enough)] if enough.any() else self.sizes[-1])

    def table(self) -> pd.DataFrame:
        """Size, which (top, random, bottom), kind (trained, masked), accuracy."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"neurons": int(size), "which": which, "kind": kind, "accuracy": float(value)}
                for kind, curves in (("trained", self.trained), ("masked", self.masked))
                for which, values in curves.items()
                for size, value in zip(self.sizes, values, strict=True)
            ]
        )


def default_sizes(width: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... and D: two a doubling.

    Example:
        >>> default_sizes(20)
        [1, 2, 3, 4, 6, 8, 12, 16, 20]
    """
    found, size = {width}, 1
    while size < width:
        found |= {size, min(size * 3 // 2, width)}
        size *= 2
    return sorted(found)


def subset_curve(
    data: Labelled,
    ranking: Ranking,
    fold: NDArray[np.generic],
    *,
    sizes: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
    repeats: int = 3,
    mask: Literal["zero", "mean"] = "zero",
    penalty: float = PENALTY,
) -> SubsetCurve:
    """Rank, train and test in each fold, and count right units over all of them.

    Args:
        data: units with labels.
        ranking: how neurons are ordered, on training units alone.
        fold: [P], fold of each unit; give a speaker's units one fold unless speakers are the
            groups (``numerics.jackknife.assign_folds``).
        sizes: numbers of neurons; :func:`default_sizes` if not given.
        tolerance: of the minimal subset.
        repeats: draws of random neurons.
        mask: what a masked neuron is set to: "zero" (published), or its mean over training units.
        penalty: of the probes.

    Raises:
        UsageError: a size outside 1..D, a negative tolerance, fewer than one repeat; training
            units of one group only; as :func:`~voxstrata.neurons.rankings.probe.checked_folds`.
    """
    P, D = data.x.shape
    wanted = np.unique(default_sizes(D) if sizes is None else np.asarray(sizes, np.int64))
    if not len(wanted) or wanted[0] < 1 or wanted[-1] > D or tolerance < 0 or repeats < 1:
        raise UsageError(
            "sizes, tolerance or repeats of a curve of neurons",
            got=f"{wanted.tolist()}, {tolerance}, {repeats}",
            expected=f"sizes from 1 to {D}, a tolerance from 0, at least one repeat",
        )
    right = {
        kind: {which: np.zeros(len(wanted)) for which in WHICH} for kind in ("trained", "masked")
    }
    full = majority = 0
    for number, test in enumerate(checked_folds(fold, P)):
        known = data.labels[~test]
        if len(np.unique(known)) < 2:
            raise UsageError("the units that a fold leaves for training have one group only")
        x, held, truth = data.x[~test], data.x[test], data.labels[test]
        whole = fit_probe(x, known, penalty)
        full += int((whole.predict(held) == truth).sum())
        majority += int((truth == np.bincount(known).argmax()).sum())
        filler = np.zeros(D) if mask == "zero" else x.mean(axis=0)
        order = ranking.score(data.take(~test)).order(data.seed)
        rng = np.random.default_rng([data.seed, 5, number])
        orders = {"top": [order], "bottom": [order[::-1]]}
        orders["random"] = [rng.permutation(D) for _ in range(repeats)]
        for which, lists in orders.items():
            for listed in lists:
                for at, size in enumerate(wanted.tolist()):
                    chosen = np.sort(listed[:size])
                    anew = fit_probe(x[:, chosen], known, penalty).predict(held[:, chosen])
                    masked = np.tile(filler, (len(held), 1))
                    masked[:, chosen] = held[:, chosen]
                    for kind, said in (("trained", anew), ("masked", whole.predict(masked))):
                        right[kind][which][at] += (said == truth).sum() / len(lists)
    shares = {
        kind: {which: values / P for which, values in one.items()} for kind, one in right.items()
    }
    return SubsetCurve(
        wanted,
        shares["trained"],
        shares["masked"],
        full / P,
        majority / P,
        tolerance,
        ranking.name,
    )
