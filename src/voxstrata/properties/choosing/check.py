"""Do layer choices hold? On other speakers, and against downstream scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ResultsError, UsageError
from voxstrata.properties.choosing.recommend import middle_of
from voxstrata.properties.choosing.uses import Better

if TYPE_CHECKING:
    import pandas as pd

CHECK_COLUMNS = ("model", "layer", "fold", "score")


@dataclass(frozen=True)
class Mean:
    """A mean over splits with its 95 % interval (NaN where there is none)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Check:
    """How a choice made on some folds does on the others, for one model.

    Attributes:
        model: the model.
        layers: candidates, in order of depth.
        chosen: how often each was chosen, as (layer, share of splits), most often first.
        score: score of the chosen layer on folds it was not chosen on.
        over_random: that less the mean over all layers on the same folds: what choosing gains
            over a layer drawn at random.
        over_middle: that less the middle layer's score.
        regret: what the layer that is best on those very folds would have gained; 0 or more, and
            pessimistic, since nobody knows that layer beforehand.
        middle: the middle layer.
        folds, splits: folds, and splits of them into choosing and checking.
    """

    model: str
    layers: tuple[str, ...]
    chosen: tuple[tuple[str, float], ...]
    score: Mean
    over_random: Mean
    over_middle: Mean
    regret: Mean
    middle: str
    folds: int
    splits: int


def choose_and_check(
    scores: pd.DataFrame,
    *,
    better: Better = "high",
    splits: int = 200,
    seed: int = 0,
) -> list[Check]:
    """Choose a layer on half of the folds, check it on the other half, over many splits.

    Intervals are for the mean over splits with the correction of Nadeau and Bengio (Machine
    Learning 52, 2003, eq. 9) for splits that share folds: variance (1/R + n_check / n_choose),
    Student's t with folds - 1 degrees of freedom. They speak about other speakers only if folds
    keep speakers together.

    Args:
        scores: long table with the columns model, layer, fold, score; layers in order of depth;
            several rows of a cell (draws) are averaged. Folds that a layer lacks are left out.
        better: whether high or low scores are better.
        splits: splits at most; all of them where there are fewer.
        seed: which splits.

    Raises:
        ResultsError: a column is missing, or a model has fewer than two layers or four folds.
    """
    missing = [name for name in CHECK_COLUMNS if name not in scores.columns]
    if missing:
        raise ResultsError(
            "the table of fold scores lacks columns",
            got=", ".join(map(str, scores.columns)),
            expected=", ".join(CHECK_COLUMNS),
        )
    return [
        _check(str(model), rows, better, splits, seed)
        for model, rows in scores.groupby("model", sort=False)
    ]


def _check(model: str, rows: pd.DataFrame, better: Better, splits: int, seed: int) -> Check:
    order = [str(layer) for layer in rows["layer"].drop_duplicates()]
    named = rows.assign(layer=rows["layer"].astype(str))
    wide = named.pivot_table(index="layer", columns="fold", values="score", aggfunc="mean")
    wide = wide.reindex(order).dropna(axis=1)
    L, F = wide.shape
    if L < 2 or F < 4:
        raise ResultsError(
            f"the choice of a layer of {model!r} cannot be checked on other speakers",
            got=f"{L} layers with scores on {F} common folds",
            expected="2 layers and 4 folds or more",
            fix="more folds, each with its own speakers: --folds 10 --group speaker",
        )
    sign = 1.0 if better == "high" else -1.0
    values = sign * wide.to_numpy(np.float64)
    middle = order.index(middle_of(order))
    picks, found = [], []
    half = F // 2
    for choosing in _halves(F, half, splits, seed):
        checking = np.setdiff1d(np.arange(F), choosing)
        pick = int(values[:, choosing].mean(axis=1).argmax())
        there = values[:, checking].mean(axis=1)
        picks.append(pick)
        found.append(
            (
                sign * there[pick],
                there[pick] - there.mean(),
                there[pick] - there[middle],
                there.max() - there[pick],
            )
        )
    numbers = np.array(found)
    means = [_mean(numbers[:, i], (F - half) / half, F) for i in range(4)]
    regret = means[3]
    counts = np.bincount(picks, minlength=L) / len(picks)
    often = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i] > 0]
    return Check(
        model,
        tuple(order),
        tuple((order[i], float(counts[i])) for i in often),
        means[0],
        means[1],
        means[2],
        Mean(regret.value, max(0.0, regret.low), regret.high),
        order[middle],
        F,
        len(found),
    )


def _halves(F: int, half: int, splits: int, seed: int) -> list[NDArray[np.int64]]:
    """Which folds choose, in each split: all choices of ``half`` folds, or a random sample."""
    if math.comb(F, half) <= splits:
        return [np.array(c) for c in itertools.combinations(range(F), half)]
    rng = np.random.default_rng([seed, 7])
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < splits:
        drawn[tuple(sorted(rng.permutation(F)[:half].tolist()))] = None
    return [np.array(c) for c in drawn]


def _mean(x: NDArray[np.float64], ratio: float, folds: int) -> Mean:
    from scipy.stats import t as student

    error = math.sqrt((1 / len(x) + ratio) * float(x.var(ddof=1)))
    reach = float(student.ppf(0.975, folds - 1)) * error
    value = float(x.mean())
    return Mean(value, value - reach, value + reach)


@dataclass(frozen=True)
class RankCorrelation:
    """Rank correlation of a curve with scores over layers.

    Attributes:
        kind: "spearman" or "kendall".
        value: the coefficient (Kendall's is tau-b).
        p: two-sided permutation p.
        exact: whether all permutations were counted.
        low, high: 95 % percentile bootstrap over layers.
        layers: layers that both have.
    """

    kind: str
    value: float
    p: float
    exact: bool
    low: float
    high: float
    layers: int


EXACT_LAYERS = 8
"""Up to here all permutations are counted (40,320)."""


def correlate(
    curve: Mapping[str, float],
    scores: Mapping[str, float],
    *,
    permutations: int = 20_000,
    resamples: int = 2_000,
    seed: int = 0,
) -> tuple[RankCorrelation, RankCorrelation]:
    """Spearman's and Kendall's correlation of a property curve with scores, across layers.

    P2023 (arXiv 2211.03929) reports Spearman's. The p-value permutes layers, exactly up to 8 of
    them. Neighbouring layers resemble each other, so layers are not independent and both p and
    interval are optimistic: read them as a lower bound on the doubt.

    Args:
        curve: value of each layer.
        scores: score of each layer; turn error rates around first.
        permutations: random permutations where there are more than 8 layers.
        resamples: bootstrap resamples.
        seed: of both.

    Raises:
        UsageError: fewer than four layers in common, or one side does not vary.
    """
    names = [n for n in curve if n in scores and math.isfinite(curve[n] + scores[n])]
    x = np.array([curve[n] for n in names])
    y = np.array([scores[n] for n in names])
    if len(names) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise UsageError(
            "a rank correlation over layers needs four layers that differ on both sides",
            got=f"{len(names)} layers in common",
            expected="4 or more with different values",
            fix="check that layers have the same names in both tables",
        )
    n = len(names)
    exact = n <= EXACT_LAYERS
    rng = np.random.default_rng([seed, 8])
    orders = (
        np.array(list(itertools.permutations(range(n))))
        if exact
        else rng.permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    )
    draws = rng.integers(0, n, size=(resamples, n))
    made = [_correlation(kind, x, y, orders, draws, exact) for kind in ("spearman", "kendall")]
    return made[0], made[1]


def _correlation(
    kind: Literal["spearman", "kendall"],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    orders: NDArray[np.int64],
    draws: NDArray[np.int64],
    exact: bool,
) -> RankCorrelation:
    a, b = (_scores(kind, side[None]) for side in (x, y))
    value = float(_coefficients(a, b)[0])
    null = np.concatenate([_coefficients(a, _scores(kind, y[part])) for part in _chunks(orders)])
    extreme = int((np.abs(null) >= abs(value) - 1e-12).sum())
    p = extreme / len(null) if exact else (extreme + 1) / (len(null) + 1)
    boot = np.concatenate(
        [_coefficients(_scores(kind, x[d]), _scores(kind, y[d])) for d in _chunks(draws)]
    )
    boot = boot[np.isfinite(boot)]
    low, high = np.quantile(boot, [0.025, 0.975]) if len(boot) else (math.nan, math.nan)
    return RankCorrelation(kind, value, p, exact, float(low), float(high), len(x))


def _chunks(index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(index, max(1, len(index) // 2048))


def _scores(kind: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """What both coefficients are cosines of: centred mid-ranks, or signs of all pairs, [R, *]."""
    if kind == "spearman":
        from scipy.stats import rankdata

        ranks = rankdata(rows, axis=1)
        centred: NDArray[np.float64] = ranks - ranks.mean(axis=1, keepdims=True)
        return centred
    i, j = np.triu_indices(rows.shape[1], 1)
    return np.sign(rows[:, i] - rows[:, j])


def _coefficients(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        made: NDArray[np.float64] = (a * b).sum(axis=1) / size
    return made


def read_scores(path: str | Path) -> pd.DataFrame:
    """A table of downstream scores: csv with the columns model, layer, score.

    A column ``task`` tells several tasks apart; ``better`` ("high", "low") turns error rates
    around.

    Args:
        path: the file.

    Raises:
        ResultsError: the file cannot be read, lacks a column, or a score is no number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"model": str, "layer": str, "task": str})
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise ResultsError(f"cannot read the scores in {path}", got=got) from None
    lacking = [name for name in ("model", "layer", "score") if name not in table.columns]
    if lacking:
        raise ResultsError(
            f"{path} lacks columns",
            got=", ".join(map(str, table.columns)),
            expected="model, layer, score (and task, better)",
        )
    numbers = pd.to_numeric(table["score"], errors="coerce")
    if numbers.isna().any():
        line = int(numbers.isna().to_numpy().argmax())
        raise ResultsError(
            f"{path} has a score that is no number",
            got=f"line {line + 2}: {table['score'].iloc[line]!r}",
        )
    table["score"] = numbers
    if "task" not in table:
        table["task"] = "score"
    if "better" not in table:
        table["better"] = "high"
    odd = sorted(set(table["better"]) - {"high", "low"})
    if odd:
        raise ResultsError(f"{path}: the column better", got=str(odd), expected="high or low")
    return table
