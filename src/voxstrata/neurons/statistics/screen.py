"""Every neuron of every layer tested for a group difference: effects, p, q."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.neurons.counts import Floats, Ints, UnitCounts
from voxstrata.neurons.statistics.design import Design
from voxstrata.neurons.statistics.draws import Labels, codes, exchangeable, whole_dealt
from voxstrata.neurons.statistics.effects import Effects, effects, ranks, unit_rates
from voxstrata.neurons.statistics.significance import (
    false_discovery,
    family_p,
    normal_p,
    permuted,
    standardise,
    standardise_by,
)

if TYPE_CHECKING:
    import pandas as pd

Statistic = Literal["auc", "difference"]
Method = Literal["normal", "permutation"]


@dataclass(frozen=True)
class LayerScreen:
    """One layer.

    Attributes:
        effects: sizes.
        z: [G, D], standardised statistic.
        p: [G, D], two-sided, each neuron by itself.
        q_bh, q_by: [G, D], over all neurons and groups of all layers. Two groups mirror each
            other and count as one test.
        family: [G, D], p that holds for all neurons at once; ``None`` without draws.
    """

    effects: Effects
    z: Floats
    p: Floats
    q_bh: Floats
    q_by: Floats
    family: Floats | None


@dataclass(frozen=True)
class Screen:
    """All layers.

    Attributes:
        groups: G names.
        layers: one result a layer.
        units: that were compared (clusters where given).
        statistic, method: as asked for.
        draws: B; 0 for the normal approximation.
        tests: number of tests that the q values are over.
    """

    groups: tuple[str, ...]
    layers: Mapping[str, LayerScreen]
    units: int
    statistic: str
    method: str
    draws: int
    tests: int

    def found(self, rate: float = 0.05, control: str = "bh") -> dict[str, NDArray[np.bool_]]:
        """Neurons with q up to ``rate``, [G, D] a layer, in the group whose rate they raise."""
        chosen = {}
        for layer, one in self.layers.items():
            q = one.q_bh if control == "bh" else one.q_by
            chosen[layer] = np.asarray((q <= rate) & (one.z > 0))
        return chosen

    def table(self) -> pd.DataFrame:
        """A row a neuron and group: layer, neuron, group, effects, z, p, q_bh, q_by, family."""
        import pandas as pd

        parts = []
        for layer, one in self.layers.items():
            G, D = one.p.shape
            columns: dict[str, object] = {
                "layer": np.repeat(layer, G * D),
                "neuron": np.tile(np.arange(D), G),
                "group": np.repeat(self.groups, D),
                "information": np.tile(one.effects.information, G),
            }
            for name in ("rate", "log_odds", "auc", "difference"):
                columns[name] = getattr(one.effects, name).reshape(-1)
            for name in ("z", "p", "q_bh", "q_by"):
                columns[name] = getattr(one, name).reshape(-1)
            if one.family is not None:
                columns["family"] = one.family.reshape(-1)
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)


def screen(
    counts: UnitCounts,
    design: Design,
    *,
    statistic: Statistic = "auc",
    method: Method = "normal",
    draws: int = 1000,
    seed: int = 0,
    clusters: Labels | None = None,
    strata: Labels | None = None,
    together: Labels | None = None,
    given_rows: bool = False,
    each: Callable[[str], None] | None = None,
) -> Screen:
    """Effects and tests of every neuron, each group of units against the rest.

    Args:
        counts: by unit.
        design: whose units make the groups.
        statistic: "auc" (ranks of the units' rates) or "difference" (the rates themselves).
        method: "normal" (moments of the shuffle are exact, its shape is taken as normal; from
            about ten units a group) or "permutation" (exact up to B; p is at least 1 / (1 + B)).
        draws: B.
        seed: of the draws.
        clusters: [P], what moves as one; rates are then those of clusters.
        strata: [P], within which labels are exchanged.
        together: [P], whose sets of labels are dealt as wholes (speakers whose units differ in
            label); the moments of the null then come from ``draws`` such deals.
        given_rows: take out what a unit's rows let expect (see
            :func:`~voxstrata.neurons.statistics.effects.unit_rates`).
        each: called with the name of each layer when it is done.

    Raises:
        UsageError: rows and not units make the groups; an unknown statistic or method; as
            :func:`~voxstrata.neurons.statistics.draws.exchangeable`.
    """
    if design.labels is None:
        raise UsageError(
            "rows cannot be screened, since frames are not independent",
            got="groups that rows make",
            expected="groups of units",
            fix="use selection_null, which deals rows anew within each unit",
        )
    if statistic not in ("auc", "difference") or method not in ("normal", "permutation"):
        raise UsageError(
            "unknown statistic or method",
            got=f"{statistic!r}, {method!r}",
            expected="'auc' or 'difference'; 'normal' or 'permutation'",
        )
    heard = counts.seen[:, design.rows >= 0].sum(axis=1) > 0
    G = len(design.groups)
    labels = np.where(heard, design.labels, -1)
    whole = together is not None
    units = exchangeable(counts, labels, G, clusters=clusters, strata=strata, whole=whole)
    dealt: Ints | None = None
    if together is not None:
        if method == "permutation" or clusters is not None:
            raise UsageError(
                "sets of labels dealt as wholes give moments, and move without clusters",
                fix="use the method 'normal', and no clusters",
            )
        who = codes(together, len(labels), "what moves together")[labels >= 0]
        dealt = whole_dealt(units.labels, who, draws, seed, units.strata)
    found: dict[str, tuple[Effects, Floats, Floats]] = {}
    largest = np.zeros(draws)
    for layer in counts.layers:
        rates = unit_rates(units.counts, layer, design.rows, given_rows=given_rows)
        x = ranks(rates) if statistic == "auc" else rates
        if dealt is None:
            z = standardise(x, units.labels, G, units.strata).z
        else:
            z = standardise_by(x, units.labels, G, dealt)
        p = normal_p(z)
        if method == "permutation":
            drawn = permuted(x, units.labels, G, units.strata, draws=draws, seed=seed)
            p, largest = drawn.p, np.maximum(largest, drawn.largest)
        sizes = effects(units.counts, layer, units.labels, G, design.rows, rates)
        found[layer] = (sizes, z, p)
        if each is not None:
            each(layer)
    # A group that no unit has is not tested; of two groups one test says all.
    tested = np.flatnonzero(np.bincount(units.labels, minlength=G) > 0)
    once = tested[:1] if len(tested) == 2 else tested
    family = {layer: p[once] for layer, (_, _, p) in found.items()}
    q = {control: false_discovery(family, control) for control in ("bh", "by")}
    layers = {}
    for layer, (sizes, z, p) in found.items():
        missing = ~np.isin(np.arange(G), tested)
        spread = {k: np.full(p.shape, np.nan) for k in q}
        for control, values in q.items():
            spread[control][tested] = values[layer]  # one row spreads over both of two groups
        z, p = (np.where(missing[:, None], np.nan, value) for value in (z, p))
        all_at_once = family_p(z, largest) if method == "permutation" else None
        layers[layer] = LayerScreen(sizes, z, p, spread["bh"], spread["by"], all_at_once)
    tests = sum(one.size for one in family.values())
    return Screen(
        design.groups,
        layers,
        len(units.labels),
        statistic,
        method,
        draws if method == "permutation" else 0,
        tests,
    )
