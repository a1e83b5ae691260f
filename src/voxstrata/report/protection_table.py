"""Every model of a protection run with what it costs and how it scores, for the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from voxstrata.report.probing_view import apart, beats
from voxstrata.report.probing_words import ends, figure
from voxstrata.report.protection_tally import by_score, condition_label
from voxstrata.report.protection_view import (
    CONDITIONS,
    PLAIN,
    PROTECTED,
    WHOLE,
    Asked,
    Scored,
    costs,
    rows_differ,
    scores,
    tasks,
)
from voxstrata.report.view import View


def cost_rows(view: View) -> list[dict[str, Any]]:
    """The unpruned model, every pruned one by size, condition and seed, then plain features."""
    asked = {task.name: (task, scores(view, task)) for task in tasks(view)}
    priced = costs(view)
    whole = priced.get((WHOLE, 0, 0), {})
    keys = {(s.condition, s.keep, s.seed) for _, of in asked.values() for s in of}
    pruned = sorted(
        {k for k in (*keys, *priced) if k[0] in CONDITIONS},
        key=lambda k: (-k[1], CONDITIONS.index(k[0]), k[2]),
    )
    differ = rows_differ(view)
    rows = []
    if (WHOLE, 0, 0) in keys or whole:
        rows.append(_row(view, (WHOLE, 0, 0), whole, whole, asked, differ))
    rows += [_row(view, key, priced.get(key, {}), whole, asked, differ) for key in pruned]
    for name in dict.fromkeys(s.name for _, of in asked.values() for s in of if s.name):
        cells = [_cell(task, [s for s in of if s.name == name], of) for task, of in asked.values()]
        empty = dict.fromkeys(
            ("size", "seed", "differ", "parameters", "share", "flops", "latency"), ""
        )
        rows.append({"kind": PLAIN, "condition": name, **empty, "cells": cells})
    return rows


def differ_said(view: View) -> str:
    """How many rows protection brought in at each size, and the control: means over seeds."""
    sums: dict[tuple[int, str], list[int]] = {}
    for (condition, keep, _seed), number in rows_differ(view).items():
        sums.setdefault((keep, condition), []).append(number)
    parts = []
    for keep in sorted({keep for keep, _ in sums}, reverse=True):
        told = [
            f"{what} {sum(held) / len(held):,.4g}"
            for condition, what in ((PROTECTED, "protection brought in"), ("random", "the control"))
            if (held := sums.get((keep, condition)))
        ]
        parts.append(f"{keep:,} left: {' rows, '.join(told)}")
    if not parts:
        return ""
    return f"Rows that the model pruned {by_score(view)} alone has not: {'; '.join(parts)}."


def _row(
    view: View,
    key: tuple[str, int, int],
    cost: Mapping[str, Any],
    whole: Mapping[str, Any],
    asked: Mapping[str, tuple[Asked, list[Scored]]],
    differ: Mapping[tuple[str, int, int], int],
) -> dict[str, Any]:
    condition, keep, seed = key
    parameters, flops, took = (
        _number(cost.get(name)) for name in ("parameters", "flops", "latency_s")
    )
    all_of_it = _number(whole.get("parameters"))
    share = parameters / all_of_it if all_of_it > 0 else math.nan
    cells = [
        _cell(task, [s for s in of if (s.condition, s.keep, s.seed) == key], of)
        for task, of in asked.values()
    ]
    return {
        "kind": condition,
        "size": _widths(cost) if condition == WHOLE else f"{keep:,}",
        "condition": condition_label(view, condition),
        "seed": "" if condition == WHOLE else str(seed),
        "differ": f"{differ[key]:,}" if key in differ else "",
        "parameters": f"{parameters:,.0f}" if math.isfinite(parameters) else "",
        "share": f"{100 * share:.0f} %" if math.isfinite(share) and condition != WHOLE else "",
        "flops": f"{flops / 1e9:.3g}" if math.isfinite(flops) else "",
        "latency": f"{1000 * took:.2f}" if math.isfinite(took) else "",
        "cells": cells,
    }


def _cell(task: Asked, mine: Sequence[Scored], every: Sequence[Scored]) -> dict[str, Any]:
    if not mine or not math.isfinite(mine[0].score.value):
        return {"value": "", "interval": "", "best": False}
    one = mine[0]
    return {
        "value": figure(task.measure, one.score.value),
        "interval": ends(task.measure, one.score),
        "best": _is_best(task, one, every),
    }


def _is_best(task: Asked, one: Scored, every: Sequence[Scored]) -> bool:
    """Whether a score is better than those of all other conditions of its size and seed, and its
    interval apart from theirs."""
    if one.condition not in CONDITIONS:
        return False
    rivals = [
        s.score
        for s in every
        if (s.keep, s.seed) == (one.keep, one.seed)
        and s.condition in CONDITIONS
        and s.condition != one.condition
        and math.isfinite(s.score.value)
    ]
    better = {"better": "lower" if task.lower else "higher"}
    return bool(rivals) and all(
        beats(better, one.score.value, other.value) and apart(one.score, other) is True
        for other in rivals
    )


def _widths(cost: Mapping[str, Any]) -> str:
    """ "768", or "512 to 768"."""
    held = cost.get("feed_forward")
    numbers = [int(n) for n in held if isinstance(n, int)] if isinstance(held, list) else []
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
