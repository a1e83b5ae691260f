"""Ten folds or five? Simulated data sets whose truth is known, scored by both.

    OMP_NUM_THREADS=1 python benchmarks/folds.py [--sets 200] [--whole 40]

Layers 60 wide hold 20 states more or less strongly (most at layer 6 of 8); utterances and speakers
shift their rows. Printed, for the layer that holds most: bias against the value of a fit to all
rows scored on 100,000 others; spread over data sets; mean and spread of the reported error; how
often the reported 95 % interval (Student's t, folds - 1 degrees of freedom) holds the estimate's
own mean, and the true value; how often the control's interval holds 0; and, over all layers of
the first data sets (--whole), how many `voxstrata layers` could not tell from the best, how often
the truly best was among them, and what the layer with the highest value falls short of the best.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from voxstrata.numerics.jackknife import assign_folds, fold_of_rows
from voxstrata.properties.choosing.recommend import Curve, alike
from voxstrata.properties.table import combine
from voxstrata.similarity.crossval import cross_validate
from voxstrata.similarity.crossval_fit import bases, directions, held_out
from voxstrata.similarity.fold_moments import FoldMoments, SweepMoments
from voxstrata.similarity.projection import Pwcca
from voxstrata.similarity.view_folds import ViewFolds, shuffle_within

Array = np.ndarray
WIDTH, STATES, LAYERS, PEAK = 60, 20, 8, 6
TRUTH_ROWS = 100_000
FOLDS = (10, 5)


@dataclass(frozen=True)
class Design:
    """Where rows come from.

    Attributes:
        name: for the table.
        groups, rows: groups and rows of each.
        shift: standard deviation of what a group adds to its rows; noise has 1.
        labels: classes of a one-hot view, 0 for a continuous view 60 wide.
    """

    name: str
    groups: int
    rows: int
    shift: float
    labels: int


DESIGNS = (
    Design("single rows, 10 a column, view 60 wide", 600, 1, 0.0, 0),
    Design("120 utterances of 10 rows, 30 labels", 120, 10, 0.5, 30),
    Design("20 speakers of 60 rows, 30 labels", 20, 60, 0.7, 30),
)


class Population:
    """Fixed maps from states to layers and view; every data set is drawn from it."""

    def __init__(self, design: Design, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.design = design
        self.into = rng.normal(size=(STATES, WIDTH)) / math.sqrt(STATES)
        self.noise = rng.normal(size=(WIDTH, WIDTH)) / math.sqrt(WIDTH)
        self.view = rng.normal(size=(STATES, design.labels or WIDTH)) / math.sqrt(STATES)
        depth = np.arange(1, LAYERS + 1)
        self.strength = 0.8 * np.exp(-(((depth - PEAK) / 6) ** 2))

    def draw(
        self, groups: int, rng: np.random.Generator, which: Sequence[int]
    ) -> tuple[list[Array], Array, Array]:
        """Rows of some layers, of the view, and the group of each row."""
        d = self.design
        n = groups * d.rows
        group = np.repeat(np.arange(groups), d.rows)
        state = rng.normal(size=(n, STATES))
        shared = rng.normal(size=(n, WIDTH)) + d.shift * rng.normal(size=(groups, WIDTH))[group]
        layers = [
            state @ self.into * s
            + (math.sqrt(0.8) * shared + math.sqrt(0.2) * rng.normal(size=(n, WIDTH))) @ self.noise
            for s in self.strength[list(which)]
        ]
        if not d.labels:
            return layers, state @ self.view * 0.8 + rng.normal(size=(n, WIDTH)), group
        label = (3 * state @ self.view + rng.gumbel(size=(n, d.labels))).argmax(axis=1)
        return layers, np.eye(d.labels)[label][:, 1:], group


def truths(layers: list[Array], y: Array, big: list[FoldMoments]) -> list[float]:
    """The value of each layer: fitted to all these rows, scored on very many others."""
    found = []
    for x, moments in zip(layers, big, strict=True):
        all_rows = np.zeros(len(y), dtype=np.int64)
        one = ViewFolds(y.shape[1], 1)
        one.update(torch.as_tensor(y), all_rows)
        train = FoldMoments(WIDTH, one, control=False)
        train.update([torch.as_tensor(x)], torch.as_tensor(y), all_rows)
        t = train.total()
        Wx, Wy = bases(t, None, None, 0.0, torch.float64)
        out = held_out(*directions(Wx, t.Sxy, Wy), moments.total())
        found.append(Pwcca(out.x, out.y, out.rho, WIDTH, y.shape[1]).side("auto"))
    return found


def score(layers: list[Array], y: Array, fold: Array, seed: int) -> list[dict[str, Any]]:
    """Value, error and interval of each layer and its control, and the scores of folds."""
    m = SweepMoments([WIDTH] * len(layers), y.shape[1], int(fold.max()) + 1, control=True)
    order = shuffle_within(fold, np.random.default_rng(seed))
    m.update(layers, y, fold, y[order])
    made = []
    for i in range(len(layers)):
        found = cross_validate(m.pair(i), measures=["pwcca"])
        value, control = found.measures["pwcca"], found.control["pwcca"]
        F = len(found.folds)
        half, reach = (combine([e.value], [e.error], F) for e in (value, control))
        one = {"value": value.value, "error": value.error, "half": half, "reach": reach}
        made.append({**one, "control": control.value, "folds": value.by_fold})
    return made


def not_apart(scored: list[dict[str, Any]]) -> tuple[str, ...]:
    """Layers that `voxstrata layers` would not tell from the best."""
    names = tuple(str(i + 1) for i in range(LAYERS))
    values = np.array([s["value"] for s in scored])
    half = np.array([s["half"] for s in scored])
    curve = Curve("m", "p", "pwcca", "high", names, values, values - half, values + half, half)
    rows = [
        ("p", "m", name, "pwcca", f, value)
        for name, s in zip(names, scored, strict=True)
        for f, value in enumerate(s["folds"])
    ]
    columns = ["property", "model", "layer", "measure", "fold", "score"]
    return alike(curve, pd.DataFrame(rows, columns=columns))[0]


def simulate(design: Design, sets: int, whole: int) -> None:
    """All numbers of one design."""
    population = Population(design)
    groups = TRUTH_ROWS // design.rows
    layers, y, _ = population.draw(groups, np.random.default_rng(1), range(LAYERS))
    m = SweepMoments([WIDTH] * LAYERS, y.shape[1], 1)
    m.update(layers, y, np.zeros(len(y), dtype=np.int64))
    big = [m.pair(i) for i in range(LAYERS)]
    at = PEAK - 1
    truth: list[list[float]] = []
    single: dict[int, list[dict[str, Any]]] = {F: [] for F in FOLDS}
    found: dict[int, list[list[dict[str, Any]]]] = {F: [] for F in FOLDS}
    for s in range(sets):
        which = range(LAYERS) if s < whole else [at]
        layers, y, group = population.draw(design.groups, np.random.default_rng([2, s]), which)
        if s < whole:
            truth.append(truths(layers, y, big))
        for F in FOLDS:
            fold = fold_of_rows(group.tolist(), assign_folds(group.tolist(), F, s))
            scored = score(layers, y, fold, s)
            single[F].append(scored[at if s < whole else 0])
            if s < whole:
                found[F].append(scored)
    true = np.array(truth).mean(axis=0)
    print(f"\n{design.name}; {sets} data sets, {whole} with all layers", flush=True)
    print("  truth " + " ".join(f"{v:.4f}" for v in true), flush=True)
    for F in FOLDS:
        one = {k: np.array([s[k] for s in single[F]]) for k in ("value", "error", "half")}
        control = {k: np.array([s[k] for s in single[F]]) for k in ("control", "reach")}
        away = np.abs(one["value"] - one["value"].mean())
        alike_to = [not_apart(s) for s in found[F]]
        picked = [int(np.argmax([x["value"] for x in s])) for s in found[F]]
        lines = {
            "bias": one["value"].mean() - true[at],
            "spread": one["value"].std(ddof=1),
            "mean error": one["error"].mean(),
            "spread of error": one["error"].std(ddof=1),
            "half width": one["half"].mean(),
            "own mean within 2 errors": (away <= 2 * one["error"]).mean(),
            "interval holds own mean": (away <= one["half"]).mean(),
            "interval holds truth": (np.abs(one["value"] - true[at]) <= one["half"]).mean(),
            "control": control["control"].mean(),
            "control's spread": control["control"].std(ddof=1),
            "control's interval holds 0": (np.abs(control["control"]) <= control["reach"]).mean(),
            "layers not told apart": np.mean([len(names) for names in alike_to]),
            "best among them": np.mean([str(true.argmax() + 1) in names for names in alike_to]),
            "shortfall": np.mean([true.max() - true[pick] for pick in picked]),
        }
        print(f"  {F} folds: " + ", ".join(f"{k} {v:.4f}" for k, v in lines.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--whole", type=int, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for design in DESIGNS:
        simulate(design, given.sets, min(given.sets, given.whole))


if __name__ == "__main__":
    main()
