"""The selection repeated within each gender: do "speaker neurons" survive when it is held fixed?

Two clusters of i-vectors are mostly the two genders. A neuron that knows the speaker beyond gender
is found again among the women alone and among the men alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Ints, UnitCounts
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.statistics.design import Design
from voxstrata.neurons.statistics.draws import Labels

if TYPE_CHECKING:
    import pandas as pd

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Within:
    """Selections of all units and of each stratum.

    Attributes:
        groups: G names.
        strata: S names.
        units: [G, S], units of each group in each stratum.
        whole: layer to [G, D], property neurons of all units.
        parts: stratum to layer to [G, D], those of its units alone. A stratum in which fewer than
            two groups have units is missing: there is nothing to select.
    """

    groups: tuple[str, ...]
    strata: tuple[str, ...]
    units: Ints
    whole: Mapping[str, Bools]
    parts: Mapping[str, Mapping[str, Bools]]

    def survivors(self, layer: str) -> Bools:
        """Neurons of all units that are found, for the same group, in every stratum, [G, D].

        Raises:
            UsageError: a stratum holds one group only.
        """
        missing = [name for name in self.strata if name not in self.parts]
        if missing:
            raise UsageError(
                "a stratum holds fewer than two groups, so that nothing can survive in it",
                got=", ".join(missing),
                fix="make groups that exist in every stratum (cluster within each gender)",
            )
        found = self.whole[layer].copy()
        for part in self.parts.values():
            found &= part[layer]
        return found

    def table(self) -> pd.DataFrame:
        """Layer, stratum, neurons (of its units alone), whole (of all units), survive, expected.

        ``survive`` are found in both for the same group, ``expected`` as many by chance (the sum
        over groups of n m / D); stratum "every" are those found in all strata, where each has at
        least two groups.
        """
        import pandas as pd

        rows = []
        for layer, whole in self.whole.items():
            D, total = whole.shape[1], int(whole.sum())
            product = whole.sum(axis=1) / D
            for name, part in self.parts.items():
                mine = part[layer]
                product = product * mine.sum(axis=1) / D
                rows.append(
                    {
                        "layer": layer,
                        "stratum": name,
                        "neurons": int(mine.sum()),
                        "whole": total,
                        "survive": int((mine & whole).sum()),
                        "expected": float((mine.sum(axis=1) * whole.sum(axis=1)).sum() / D),
                    }
                )
            if len(self.parts) == len(self.strata):
                survive = self.survivors(layer)
                rows.append(
                    {
                        "layer": layer,
                        "stratum": "every",
                        "neurons": int(np.all([p[layer] for p in self.parts.values()], 0).sum()),
                        "whole": total,
                        "survive": int(survive.sum()),
                        "expected": float(product.sum() * D),
                    }
                )
        columns = ["layer", "stratum", "neurons", "whole", "survive", "expected"]
        return pd.DataFrame(rows, columns=columns)


def restricted(
    counts: UnitCounts, design: Design, units: NDArray[np.bool_] | Ints
) -> tuple[UnitCounts, Design]:
    """A selection of some units only, for any function of counts and design.

    Args:
        counts: by unit.
        design: of those units.
        units: [P] whether each stays, or numbers of those that do.
    """
    labels = None if design.labels is None else design.labels[units]
    return counts.only(units), replace(design, labels=labels)


def within(counts: UnitCounts, design: Design, strata: Labels) -> Within:
    """The selection of all units, and of each stratum's alone.

    Args:
        counts: by unit.
        design: what is selected; units make the groups.
        strata: [P], such as the gender of each unit.

    Raises:
        UsageError: rows make the groups, fewer than two strata, or not one stratum a unit.
    """
    given = np.asarray(strata)
    if design.labels is None:
        raise UsageError("groups that rows make cannot be repeated within labels of units")
    if given.shape != design.labels.shape:
        raise UsageError(
            "every unit needs a stratum", got=given.shape, expected=design.labels.shape
        )
    names = [name for name in np.unique(given) if (design.labels[given == name] >= 0).any()]
    if len(names) < 2:
        raise UsageError("fewer than two strata", got=", ".join(str(name) for name in names))
    G = len(design.groups)
    units = np.stack(
        [
            np.bincount(design.labels[(given == n) & (design.labels >= 0)], minlength=G)
            for n in names
        ],
        axis=1,
    )
    parts = {
        str(name): _selected(*restricted(counts, design, given == name))
        for number, name in enumerate(names)
        if (units[:, number] > 0).sum() > 1
    }
    return Within(
        design.groups, tuple(str(n) for n in names), units, _selected(counts, design), parts
    )


def _selected(counts: UnitCounts, design: Design) -> dict[str, Bools]:
    grouped = design.counts(counts)
    return {layer: property_neurons(grouped, layer, design.sigma) for layer in counts.layers}
