"""Every ranking of neurons by name. To add one: a :class:`Ranking` in a file, and a line here (or,
from another package, an entry point ``voxstrata.rankings``).
"""

from __future__ import annotations

from voxstrata.neurons.rankings.ranking import Ranking
from voxstrata.registry import Registry

__all__ = ["RANKINGS", "Ranking"]

RANKINGS: Registry[Ranking] = Registry("ranking", "voxstrata.rankings")

for _name, _module, _summary in (
    (
        "activating-probability",
        "activating_probability",
        "margin of the group that activates it most",
    ),
    ("linear-probe", "linear_probe", "weights of a sparse linear probe, by cumulative mass"),
    ("probeless", "probeless", "distances between the groups' means, summed over pairs"),
    ("auc", "auc", "how well the neuron alone tells one group from the rest"),
    ("mean-difference", "mean_difference", "difference of means in pooled deviations"),
):
    RANKINGS.add(_name, f"voxstrata.neurons.rankings.{_module}:RANKING", _summary)
