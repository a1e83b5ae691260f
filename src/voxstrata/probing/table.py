"""From trained probes to rows of the tidy table, with intervals, and to the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxstrata.probing.cells import SUM, Ran, best_layer, chosen
from voxstrata.probing.linear.train import score
from voxstrata.results import Row

DRAWS = 1000
"""Bootstrap draws of groups."""

LEAST_GROUPS = 3
"""Fewer groups than this have no interval."""


@dataclass(frozen=True)
class Cell:
    """One task asked of one model.

    Attributes:
        task: name of the task.
        model: the model.
        names: its layers.
        widths: their widths.
        norms: mean norm of their frames.
        ran: every trained probe.
        truth: targets of the test examples, by round [N, G].
        groups: what intervals resample, by round.
        classes: number of classes, all groups.
        measures: scores of the task, the first of which chose.
    """

    task: str
    model: str
    names: tuple[str, ...]
    widths: tuple[int, ...]
    norms: tuple[float, ...]
    ran: Sequence[Ran]
    truth: Mapping[str, NDArray[np.int64]]
    groups: Mapping[str, tuple[str, ...]]
    classes: int
    measures: tuple[str, ...]

    def right(self, runs: Sequence[Ran]) -> NDArray[np.float64]:
        """Share of seeds that answer each test example rightly, rounds one after another, [N]."""
        parts = []
        for name in self.truth:
            mine = [one.right for one in runs if one.round == name]
            parts.append(np.mean(mine, axis=0))
        return np.concatenate(parts)

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weight of each test example, so that the weighted mean is the mean over rounds, [N]."""
        sizes = [len(t) for t in self.truth.values()]
        return np.concatenate([np.full(n, 1 / (n * len(sizes))) for n in sizes])

    @property
    def members(self) -> NDArray[np.int64]:
        """Number of the group of each test example, [N]."""
        named = [g for groups in self.groups.values() for g in groups]
        return np.unique(named, return_inverse=True)[1]

    def best(self) -> str:
        """The single layer that is best on dev."""
        return best_layer(self.ran, self.names)


def bootstrap(
    values: NDArray[np.float64], weight: NDArray[np.float64], members: NDArray[np.int64], seed: int
) -> tuple[float | None, float | None]:
    """95 % percentile interval of a weighted mean, groups drawn again with replacement.

    Args:
        values: of each example, [N].
        weight: of each example.
        members: group of each example.
        seed: of the draws.

    Returns:
        low and high; ``None`` with fewer than three groups.
    """
    count = int(members.max()) + 1
    if count < LEAST_GROUPS:
        return None, None
    top = np.bincount(members, weight * values, count)
    bottom = np.bincount(members, weight, count)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    drawn = (times @ top) / (times @ bottom)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def rows_of(cell: Cell, study: str, seed: int) -> list[Row]:
    """Rows of one cell: every layer, the sum, their controls, the sum against the best layer, and
    the sum without each layer."""
    found: list[Row] = []
    layers = [*cell.names, *([SUM] if len(cell.names) > 1 else [])]
    for layer in layers:
        for control in (False, True):
            runs = chosen(cell.ran, layer, control=control)
            if runs:
                found += _values(cell, runs, layer, study, seed)
    if SUM in layers:
        found += _against_best(cell, study, seed)
        found += _weights(cell, study, seed)
        found += _without(cell, study, seed)
    return found


def _values(cell: Cell, runs: Sequence[Ran], layer: str, study: str, seed: int) -> list[Row]:
    found = []
    for measure in cell.measures:
        value = _value(cell, runs, measure)
        low: float | None = None
        high: float | None = None
        if measure == "accuracy":
            low, high = bootstrap(cell.right(runs), cell.weight, cell.members, seed)
        row = _row(cell, layer, measure, value, study, seed, low, high)
        found.append(replace(row, control="permuted-labels" if runs[0].probe.control else ""))
    return found


def _value(cell: Cell, runs: Sequence[Ran], measure: str) -> float:
    """Mean over rounds of the mean over seeds."""
    per_round = [
        np.mean([score(r.test, truth, measure) for r in runs if r.round == name])
        for name, truth in cell.truth.items()
    ]
    return float(np.mean(per_round))


def _against_best(cell: Cell, study: str, seed: int) -> list[Row]:
    """The sum less the best single layer (both chosen on dev), paired."""
    best = cell.best()
    difference = cell.right(chosen(cell.ran, SUM)) - cell.right(chosen(cell.ran, best))
    value = float((cell.weight * difference).sum())
    low, high = bootstrap(difference, cell.weight, cell.members, seed)
    made = _row(cell, SUM, "accuracy-over-best-layer", value, study, seed, low, high)
    width = cell.widths[cell.names.index(best)]
    return [replace(made, other_model=cell.model, other_layer=best, other_d=width)]


def _without(cell: Cell, study: str, seed: int) -> list[Row]:
    """What the sum loses when a layer is left out, paired."""
    whole = chosen(cell.ran, SUM)
    found = []
    for name in cell.names:
        runs = chosen(cell.ran, f"{SUM} without {name}")
        if not runs:
            continue
        difference = cell.right(whole) - cell.right(runs)
        value = float((cell.weight * difference).sum())
        low, high = bootstrap(difference, cell.weight, cell.members, seed)
        found.append(_row(cell, name, "lost-without-layer", value, study, seed, low, high))
    return found


def _weights(cell: Cell, study: str, seed: int) -> list[Row]:
    """Softmax weights of the sum, raw and times the layer's norm; means over seeds and rounds."""
    runs = chosen(cell.ran, SUM)
    raw = np.mean([one.weights for one in runs], axis=0)
    corrected = np.mean([corrected_weights(one.weights, cell.norms) for one in runs], axis=0)
    return [
        _row(cell, name, measure, float(values[i]), study, seed, None, None)
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
    value: float,
    study: str,
    seed: int,
    low: float | None,
    high: float | None,
) -> Row:
    width = max(cell.widths) if layer == SUM else cell.widths[cell.names.index(layer)]
    return Row(
        study=study,
        model=cell.model,
        layer=layer,
        other_model="",
        other_layer="",
        property=cell.task,
        measure=measure,
        unit="utterance",
        value=value,
        ci_low=low,
        ci_high=high,
        n=len(cell.weight),
        groups=len(set(cell.members.tolist())),
        d=width,
        other_d=cell.classes,
        estimator="dev-selected",
        seed=seed,
    )


def probe_lines(cell: Cell) -> list[dict[str, object]]:
    """A line a trained probe: the grid, what dev and test said, and whether it was chosen."""
    picked = {
        id(one)
        for layer in dict.fromkeys(r.layer for r in cell.ran)
        for control in (False, True)
        for one in chosen(cell.ran, layer, control=control)
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
            "dev": one.best,
            "step": one.step,
            "test": score(one.test, cell.truth[one.round], cell.measures[0]),
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
