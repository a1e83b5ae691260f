"""What rankings agree on: rank correlations and shared top neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from voxstrata.errors import ShapeError, UsageError
from voxstrata.neurons.rankings.ranking import Scores

if TYPE_CHECKING:
    import pandas as pd

TOPS = (10, 30, 100, 300)


def agreement(
    scores: Mapping[str, Scores], tops: Sequence[int] = TOPS, seed: int = 0
) -> pd.DataFrame:
    """Every pair of rankings of the same neurons.

    Args:
        scores: by ranking.
        tops: numbers n of top neurons to compare; those above D are left out.
        seed: of the order of neurons with equal scores, another one for each ranking.

    Returns:
        a, b, measure, value, chance: ``spearman`` and ``kendall`` (tau-b) of the scores with 0 by
        chance, and ``top n``, the share of the n top neurons that both have, with n / D by chance.
        Correlations with a ranking whose scores are all equal are NaN.

    Raises:
        UsageError: fewer than two rankings, or a top below 1.
        ShapeError: they are of different numbers of neurons.
    """
    import pandas as pd
    from scipy.stats import kendalltau, spearmanr

    widths = {name: len(one.neuron) for name, one in scores.items()}
    if len(scores) < 2 or min(tops, default=1) < 1:
        raise UsageError(
            "agreement is between at least two rankings, of their top 1 or more",
            got=f"{len(scores)} rankings, tops {list(tops)}",
        )
    if len(set(widths.values())) > 1:
        raise ShapeError("rankings of different layers", got=str(widths))
    D = next(iter(widths.values()))
    orders = {
        name: one.order(seed + number).tolist() for number, (name, one) in enumerate(scores.items())
    }
    rows: list[dict[str, object]] = []
    for a, b in combinations(scores, 2):
        x, y = scores[a].neuron, scores[b].neuron
        flat = len(set(x.tolist())) == 1 or len(set(y.tolist())) == 1
        for name, correlation in (("spearman", spearmanr), ("kendall", kendalltau)):
            value = float("nan") if flat else float(correlation(x, y).statistic)
            rows.append({"a": a, "b": b, "measure": name, "value": value, "chance": 0.0})
        for n in tops:
            if n <= D:
                both = len(set(orders[a][:n]) & set(orders[b][:n])) / n
                rows.append({"a": a, "b": b, "measure": f"top {n}", "value": both, "chance": n / D})
    return pd.DataFrame(rows)
