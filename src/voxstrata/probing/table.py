"""From trained probes to rows of the tidy table, with intervals, and to the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxstrata.metrics.bootstrap import Interval, percentile_interval
from voxstrata.metrics.ratios import paired_ratio_difference, ratio_interval
from voxstrata.probing.cells import SUM, Ran, Reads, best_layer, chosen
from voxstrata.results import Row

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Cell:
    """One task asked of one model.

    Attributes:
        task: name of the task.
        model: the model.
        reads: its layers and what was read of them.
        widths: their widths.
        norms: mean norm of their frames.
        ran: every trained probe.
        groups: what intervals resample, by round.
        classes: number of classes, all groups.
        measures: scores of the task, the first of which chose.
        better: "higher" or "lower".
        chooses: the measure that chose on dev.
        left_out: recordings that heads could not be trained on, by reason.
        seconds: that its heads took.
        parts: the models whose layers are summed, where these are several.
    """

    task: str
    model: str
    reads: Reads
    widths: tuple[int, ...]
    norms: tuple[float, ...]
    ran: Sequence[Ran]
    groups: Mapping[str, tuple[str, ...]]
    classes: int
    measures: tuple[str, ...]
    better: str
    chooses: str
    left_out: Mapping[str, Sequence[str]]
    seconds: float = 0.0
    parts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its layers."""
        return self.reads.names

    @property
    def compared(self) -> str:
        """The first measure that has an interval: what systems are compared in."""
        held = (*self.ran[0].counts, *self.ran[0].draws)
        return next((m for m in self.measures if m in held), held[0])

    def draws(self, runs: Sequence[Ran], measure: str) -> NDArray[np.float64]:
        """Value in each draw of groups, mean over rounds of the mean over seeds, [B]."""
        per_round = [
            np.mean([one.draws[measure] for one in runs if one.round == name], axis=0)
            for name in self.groups
        ]
        found: NDArray[np.float64] = np.mean(per_round, axis=0)
        return found

    def counts(self, runs: Sequence[Ran], measure: str) -> Pair:
        """Numerator and denominator of each test example, rounds one after another, [N] each.

        Their sums have the mean over rounds of the mean over seeds as ratio.
        """
        above, below = [], []
        for name in self.groups:
            mine = [one.counts[measure] for one in runs if one.round == name]
            total = mine[0][1].sum() * len(self.groups)
            above.append(np.mean([pair[0] for pair in mine], axis=0) / total)
            below.append(mine[0][1] / total)
        return np.concatenate(above), np.concatenate(below)

    @cached_property
    def members(self) -> list[str]:
        """The group of each test example, [N]."""
        return [group for groups in self.groups.values() for group in groups]

    @property
    def independent(self) -> int:
        """How many groups there are."""
        return len(set(self.members))

    def reading(self) -> str:
        """What stands for the model: the sum of its layers, or the best layer where there is
        none."""
        return SUM if chosen(self.ran, SUM) else self.best()

    def best(self) -> str:
        """The single layer that is best on dev."""
        return best_layer(self.ran, self.names)


def rows_of(cell: Cell, study: str, seed: int) -> list[Row]:
    """Rows of one cell: every layer, the sum, their controls, the sum against the best layer, and
    the sum without each layer."""
    found: list[Row] = []
    for layer in dict.fromkeys(
        [*cell.names, *(cell.reads.label(r) for r in cell.reads.subsets.values()), SUM]
    ):
        for control in (False, True):
            runs = chosen(cell.ran, layer, control=control)
            if runs:
                found += _values(cell, runs, layer, study, seed)
        if screened := chosen(cell.ran, layer, screen=True):
            found += _values(cell, screened, layer, study, seed)
    if chosen(cell.ran, SUM):
        if not cell.reads.joint:
            found += _against_best(cell, study, seed)
        found += _weights(cell, study, seed)
        found += _without(cell, study, seed)
    return found


def _values(cell: Cell, runs: Sequence[Ran], layer: str, study: str, seed: int) -> list[Row]:
    found = []
    for measure in cell.measures:
        if measure not in runs[0].scores:
            continue  # no language model reads what screened layers write
        if measure in runs[0].counts:
            value = ratio_interval(*cell.counts(runs, measure), cell.members, seed=seed)
        elif measure in runs[0].draws:
            value = percentile_interval(
                _value(cell, runs, measure), cell.draws(runs, measure), speakers=cell.independent
            )
        else:
            value = Interval(_value(cell, runs, measure), None, None, 0)
        row = _row(cell, layer, measure, value, study, seed, _estimator(runs))
        found.append(replace(row, control="permuted-labels" if runs[0].probe.control else ""))
    return found


def _estimator(runs: Sequence[Ran]) -> str:
    if any(one.probe.screen for one in runs):
        return "screen"
    return "test-selected" if any(one.on_test for one in runs) else "dev-selected"


def _value(cell: Cell, runs: Sequence[Ran], measure: str) -> float:
    """Mean over rounds of the mean over seeds."""
    per_round = [
        np.mean([one.scores[measure] for one in runs if one.round == name]) for name in cell.groups
    ]
    return float(np.mean(per_round))


def against(cell: Cell, other: Cell, study: str, seed: int) -> list[Row]:
    """One model less another in a task, each read as it was chosen on dev (the sum; the best layer
    where there is none), paired over the same test examples; nothing where these differ."""
    # Measures over pairs of recordings need the same recordings in both.
    whole = cell.compared not in cell.ran[0].draws or cell.left_out == other.left_out
    if cell.groups != other.groups or not whole:
        return []
    mine, its = cell.reading(), other.reading()
    runs, others = chosen(cell.ran, mine), chosen(other.ran, its)
    value = _less(cell, runs, others, seed)
    measure = f"{cell.compared}-over-other-model"
    made = _row(cell, mine, measure, value, study, seed, _estimator([*runs, *others]))
    width = max(other.widths) if its == SUM else other.widths[other.names.index(its)]
    return [replace(made, other_model=other.model, other_layer=its, other_d=width)]


def _less(cell: Cell, runs: Sequence[Ran], others: Sequence[Ran], seed: int) -> Interval:
    """What some runs have more than others of the measure that is compared, paired."""
    measure = cell.compared
    if measure in runs[0].draws:
        apart = _value(cell, runs, measure) - _value(cell, others, measure)
        drawn = cell.draws(runs, measure) - cell.draws(others, measure)
        return percentile_interval(apart, drawn, speakers=cell.independent)
    above, below = cell.counts(runs, measure)
    other, its = cell.counts(others, measure)
    return paired_ratio_difference(
        above, other, below, cell.members, seed=seed, reference_denominators=its
    )


def _against_best(cell: Cell, study: str, seed: int) -> list[Row]:
    """The sum less the best single layer (both chosen on dev), paired."""
    best = cell.best()
    runs = chosen(cell.ran, SUM)
    value = _less(cell, runs, chosen(cell.ran, best), seed)
    measure = f"{cell.compared}-over-best-layer"
    made = _row(cell, SUM, measure, value, study, seed, _estimator(runs))
    width = cell.widths[cell.names.index(best)]
    return [replace(made, other_model=cell.model, other_layer=best, other_d=width)]


def _without(cell: Cell, study: str, seed: int) -> list[Row]:
    """What the sum loses when a layer is left out, paired; more is a greater loss."""
    whole = chosen(cell.ran, SUM)
    found = []
    for name in cell.names:
        runs = chosen(cell.ran, f"{SUM} without {name}")
        if not runs:
            continue
        one, other = (runs, whole) if cell.better == "lower" else (whole, runs)
        value = _less(cell, one, other, seed)
        found.append(_row(cell, name, "lost-without-layer", value, study, seed))
    return found


def _weights(cell: Cell, study: str, seed: int) -> list[Row]:
    """Softmax weights of the sum, raw and times the layer's norm; means over seeds and rounds."""
    runs = chosen(cell.ran, SUM)
    raw = np.mean([one.weights for one in runs], axis=0)
    corrected = np.mean([corrected_weights(one.weights, cell.norms) for one in runs], axis=0)
    return [
        _row(cell, name, measure, Interval(float(values[i]), None, None, 0), study, seed)
        for measure, values in (("layer-weight", raw), ("layer-weight-by-norm", corrected))
        for i, name in enumerate(cell.names)
    ]


def corrected_weights(weights: NDArray[np.float64], norms: Sequence[float]) -> NDArray[np.float64]:
    """Weight times mean norm of the layer's states, as shares: what each layer brings to the sum's
    size. Raw weights mislead where norms differ, as in models with layer norm before blocks."""
    brought = weights * np.asarray(norms)
    found: NDArray[np.float64] = brought / brought.sum()
    return found


def _row(
    cell: Cell,
    layer: str,
    measure: str,
    value: Interval,
    study: str,
    seed: int,
    estimator: str = "dev-selected",
) -> Row:
    alone = layer in cell.names
    width = cell.widths[cell.names.index(layer)] if alone else max(cell.widths)
    return Row(
        study=study,
        model=cell.model,
        layer=layer,
        other_model="",
        other_layer="",
        property=cell.task,
        measure=measure,
        unit="utterance",
        value=value.value,
        ci_low=value.low,
        ci_high=value.high,
        n=len(cell.members),
        groups=cell.independent,
        d=width,
        other_d=cell.classes,
        estimator=estimator,
        seed=seed,
    )


def probe_lines(cell: Cell) -> list[dict[str, object]]:
    """A line a trained probe: the grid, what dev and test said, and whether it was chosen."""
    picked = {
        id(one)
        for layer in dict.fromkeys(r.layer for r in cell.ran)
        for control, screen in ((False, False), (True, False), (False, True))
        for one in chosen(cell.ran, layer, control=control, screen=screen)
    }
    return [
        {
            "task": cell.task,
            "model": cell.model,
            "layer": one.layer,
            "round": one.round,
            "lr": one.probe.lr,
            "seed": one.probe.seed,
            "control": "permuted-labels" if one.probe.control else "",
            "screen": one.probe.screen,
            "dev": one.best,
            "dev_measure": one.chose or cell.chooses,
            "step": one.step,
            "test": one.scores[cell.measures[0]],
            "diverged": one.diverged,
            "chosen": id(one) in picked,
        }
        for one in cell.ran
    ]


def weight_lines(cell: Cell) -> list[dict[str, object]]:
    """A line a layer and run of the weighted sum: softmax weight, norm, and weight times norm as a
    share."""
    found: list[dict[str, object]] = []
    for one in chosen(cell.ran, SUM):
        corrected = corrected_weights(one.weights, cell.norms)
        for i, name in enumerate(cell.names):
            found.append(
                {
                    "task": cell.task,
                    "model": cell.model,
                    "round": one.round,
                    "seed": one.probe.seed,
                    "lr": one.probe.lr,
                    "layer": name,
                    "weight": float(one.weights[i]),
                    "norm": cell.norms[i],
                    "corrected": float(corrected[i]),
                }
            )
    return found
