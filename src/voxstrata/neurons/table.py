"""From what was found to rows of the results table and lines of ``neurons.parquet``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.neurons.analysis import RATE, Found
from voxstrata.neurons.matches import Match
from voxstrata.neurons.ranked import Ranked
from voxstrata.neurons.statistics.null import Band
from voxstrata.results import Row

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
"""Layer of numbers about all layers together."""

WHOLE = 24
"""Groups up to which every neuron is listed for every group; beyond, those found in some way."""


class _Rows:
    """Rows of one contrast of one model."""

    def __init__(self, found: Found, study: str, seed: int) -> None:
        self.found, self.study, self.seed = found, study, seed

    def row(self, layer: str, measure: str, value: float, **rest: Any) -> Row:
        found = self.found
        width = found.neurons if layer == ALL else found.counts.active[layer].shape[1]
        return Row(
            study=self.study,
            model=found.model,
            layer=layer,
            other_model="",
            other_layer=str(rest.get("group", "")),
            property=found.contrast,
            measure=measure,
            unit="frame",
            value=float(value),
            ci_low=rest.get("low"),
            ci_high=rest.get("high"),
            n=int(found.counts.seen.sum()),
            groups=found.units,
            d=width,
            other_d=len(found.counts.groups),
            estimator=rest.get("estimator", "published"),
            seed=self.seed,
            control=rest.get("control", ""),
        )

    def banded(self, layer: str, band: Band, group: str = "") -> Iterator[Row]:
        yield self.row(layer, "neurons", band.observed, group=group)
        yield self.row(
            layer, "neurons", band.mean, low=band.low, high=band.high, group=group,
            control="permuted-labels",
        )  # fmt: skip
        yield self.row(layer, "neurons-p", band.p, group=group)

    def selection(self) -> Iterator[Row]:
        found = self.found
        for layer, chosen in found.selected.items():
            null = None if found.null is None else found.null.layers[layer]
            if null is None:
                yield self.row(layer, "neurons", chosen.sum())
            else:
                yield from self.banded(layer, null.total)
            for g, group in enumerate(found.counts.groups):
                if null is None:
                    yield self.row(layer, "neurons", chosen[g].sum(), group=group)
                else:
                    yield from self.banded(layer, null.group(g), group)
        if found.null is not None:
            yield from self.banded(ALL, found.null.total())
        else:
            yield self.row(ALL, "neurons", sum(c.sum() for c in found.selected.values()))
        for line in found.sigma.to_dict("records"):
            layer, sigma = str(line["layer"]), f"sigma={line['sigma']:g}"
            group = "" if line["group"] == "all" else str(line["group"])
            yield self.row(layer, "neurons", line["neurons"], group=group, estimator=sigma)

    def tests(self) -> Iterator[Row]:
        found = self.found
        if found.screen is None:
            return
        total = 0
        for layer, chosen in found.screen.found(RATE).items():
            total += int(chosen.sum())
            yield self.row(layer, "neurons", chosen.sum(), estimator="tested")
            both = int((chosen & found.selected[layer]).sum())
            yield self.row(layer, "neurons", both, estimator="published and tested")
        yield self.row(ALL, "neurons", total, estimator="tested")

    def stability(self) -> Iterator[Row]:
        found = self.found
        for layer, half in found.halves.items():
            one = half.summary()
            yield self.row(
                layer, "jaccard-halves", one["jaccard"], low=one["low"], high=one["high"]
            )
            yield self.row(layer, "jaccard-halves", one["chance"], control="chance")
        if found.within is not None:
            for line in found.within.table().to_dict("records"):
                layer, group = str(line["layer"]), str(line["stratum"])
                yield self.row(layer, "neurons-survive", line["survive"], group=group)
                yield self.row(
                    layer, "neurons-survive", line["expected"], group=group, control="chance"
                )
        for layer, metrics in found.separation.items():
            for metric, apart in metrics.items():
                yield self.row(layer, "silhouette", apart.silhouette, estimator=metric)


def rows_of(found: Found, study: str, seed: int) -> Iterator[Row]:
    """Numbers of one contrast of one model; ``other_layer`` holds the group or stratum."""
    made = _Rows(found, study, seed)
    yield from made.selection()
    yield from made.tests()
    yield from made.stability()


def match_rows(match: Match, study: str, seed: int) -> Iterator[Row]:
    """Numbers of clusters held against known classes: ``property`` is "clusters=3 ~ classes"."""
    found = match.found

    def row(measure: str, value: float, **rest: Any) -> Row:
        return Row(
            study=study,
            model=match.model,
            layer=match.layer,
            other_model=str(rest.get("cluster", "")),
            other_layer=str(rest.get("class_", "")),
            property=f"{match.clusters} ~ {match.classes}",
            measure=measure,
            unit=match.unit,
            value=float(value),
            ci_low=rest.get("low"),
            ci_high=rest.get("high"),
            n=int(found.table.sum()),
            groups=found.units,
            d=len(found.clusters),
            other_d=len(found.classes),
            estimator="in-sample",
            seed=seed,
            control=rest.get("control", ""),
        )

    for measure, interval in found.measures.items():
        # Speakers are what is drawn again: with fewer different ones every clustering fits better.
        drawn = match.classes != "speaker"
        ends = {"low": _end(interval.low), "high": _end(interval.high)} if drawn else {}
        yield row(measure.replace("_", "-"), float(interval.value), **ends)
    for measure, value in found.chance.items():
        yield row(measure.replace("_", "-"), value, control="chance")
    for line in found.contingency().to_dict("records"):
        ends = {"low": _end(line["low"]), "high": _end(line["high"])}
        yield row("share", line["share"], cluster=line["cluster"], class_=line["class"], **ends)


def _end(value: Any) -> float | None:
    """End of an interval; ``None`` where there is none."""
    return None if value is None or np.isnan(value) else float(value)


def sweep_rows(found: Found, table: pd.DataFrame, study: str, seed: int) -> Iterator[Row]:
    """Neurons of a contrast made otherwise, and what they share with those asked for."""
    made = _Rows(found, study, seed)
    for line in table.to_dict("records"):
        layer, variant = str(line["layer"]), str(line["variant"])
        yield made.row(layer, "neurons", line["neurons"], estimator=variant)
        yield made.row(layer, "jaccard-asked", line["jaccard"], estimator=variant)
        yield made.row(layer, "jaccard-asked", line["chance"], estimator=variant, control="chance")


def ranked_rows(found: Ranked, study: str, seed: int) -> Iterator[Row]:
    """Agreement of rankings, accuracy by number of neurons, selectivity."""

    def row(measure: str, value: float, **rest: Any) -> Row:
        return Row(
            study=study,
            model=found.model,
            layer=found.layer,
            other_model="",
            other_layer=str(rest.get("of", "")),
            property=found.contrast,
            measure=measure,
            unit="utterance",
            value=float(value),
            ci_low=None,
            ci_high=None,
            n=found.units,
            groups=found.units,
            d=int(found.curve.sizes[-1]),
            other_d=int(rest.get("size", 0)),
            estimator=str(rest.get("estimator", "")),
            seed=seed,
            control=str(rest.get("control", "")),
        )

    for line in found.agreement.to_dict("records"):
        name, of = f"ranking-{line['measure']}".replace(" ", "-"), f"{line['a']} ~ {line['b']}"
        yield row(name, line["value"], of=of)
        if line["chance"]:
            yield row(name, line["chance"], of=of, control="chance")
    curve = found.curve
    for line in curve.table().to_dict("records"):
        yield row(
            "subset-accuracy", line["accuracy"], of=line["which"], estimator=line["kind"],
            size=line["neurons"],
        )  # fmt: skip
    yield row("subset-accuracy", curve.majority, control="majority", of="all")
    yield row("minimal-subset", curve.minimal, of=curve.ranking)
    if found.selectivity is not None:
        yield row("probe-accuracy", found.selectivity.accuracy)
        yield row("probe-accuracy", found.selectivity.control, control="random labels of speakers")


def neuron_table(found: Found) -> pd.DataFrame:
    """A line a neuron and group: rates, effects, tests, whether it was selected, and how often
    with labels dealt anew."""
    import pandas as pd

    counts, groups = found.counts, found.counts.groups
    parts = []
    tested = None if found.screen is None else found.screen.table()
    for layer, chosen in found.selected.items():
        G, D = chosen.shape
        active, seen = counts.active[layer], counts.seen
        inside = np.zeros((G, D))
        outside = np.zeros((G, D))
        for g in range(G):
            mine, rest = counts.group_of == g, (counts.group_of >= 0) & (counts.group_of != g)
            inside[g] = active[mine].sum(axis=0) / max(1, int(seen[mine].sum()))
            outside[g] = active[rest].sum(axis=0) / max(1, int(seen[rest].sum()))
        columns: dict[str, Any] = {
            "model": found.model,
            "contrast": found.contrast,
            "layer": layer,
            "neuron": np.tile(np.arange(D), G),
            "group": np.repeat(groups, D),
            "probability": inside.reshape(-1),
            "probability_elsewhere": outside.reshape(-1),
            "selected": chosen.reshape(-1),
        }
        if found.null is not None:
            draws = found.null.total().draws
            columns["selected_by_chance"] = (found.null.layers[layer].chosen / draws).reshape(-1)
        frame = pd.DataFrame(columns)
        if tested is not None:
            own = tested[tested.layer == layer].reset_index(drop=True)
            assert (own.neuron.to_numpy() == frame.neuron.to_numpy()).all()
            for name in ("log_odds", "auc", "difference", "information", "z", "p", "q_bh", "q_by"):
                frame[name] = own[name].to_numpy()
        if G > WHOLE:
            kept = frame.selected
            if tested is not None:
                kept = kept | (frame.q_bh <= RATE)
            frame = frame[kept]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)
