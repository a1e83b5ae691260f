"""A made results folder of a pruning run: costs and steps are given by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

BEFORE: dict[str, Any] = {
    "parameters": 2000, "nonzero": 2000, "flops": 4e9, "latency_s": 0.004,
    "feed_forward": [30, 40], "heads": [4, 4],
}  # fmt: skip
AFTER: dict[str, Any] = {
    **BEFORE, "parameters": 1000, "nonzero": 900, "flops": 1e9, "latency_s": 0.003,
    "feed_forward": [10, 20],
}  # fmt: skip
STEPS: list[dict[str, Any]] = [
    {"step": 1, "what": "rows", "amount": [20, 20], "cost": {"parameters": 1000, "flops": 1e9},
     "removed": {"block.1.ffn.inner": list(range(20)), "block.2.ffn.inner": list(range(19))}},
    {"step": 1, "tuned": 500, "valid": {"masked_loss": 3.25}},
]  # fmt: skip


def write_pruning(
    folder: Path, model: str = "m", after: dict[str, Any] = AFTER, **record: Any
) -> Path:
    """A folder of ``voxstrata prune``."""
    rows = []
    for name, cost in ((model, BEFORE), ("pruned", after)):
        rows += [_row(name, "", "parameters", cost["parameters"])]
        for at, n in enumerate(cost["feed_forward"], 1):
            rows.append(_row(name, f"block.{at}.ffn.inner", "neurons", n))
        rows += [_row(name, str(at), "heads", n) for at, n in enumerate(cost["heads"], 1)]
    told = {
        "job": "prune",
        "study": "made",
        "config": {"what": "rows", "score": "l1"},
        "model": {"spec": model, "fingerprint": "f"},
        "pruned": {"folder": "model", "fingerprint": "g"},
        "before": BEFORE,
        "after": after,
        "summary": "half of it",
        "protected": {"block.1.ffn.inner": 7},
        "steps": STEPS,
        **record,
    }
    write_results(folder, rows, told)
    return folder


def pruned(folder: Path, *args: Any, **kwargs: Any) -> View:
    """The same, written, read and arranged."""
    return read_view(load_results(write_pruning(folder, *args, **kwargs)))


def _row(model: str, layer: str, measure: str, value: float) -> Row:
    return Row(
        study="made", model=model, layer=layer, other_model="", other_layer="",
        property="pruning", measure=measure, unit="", value=float(value), ci_low=None,
        ci_high=None, n=0, groups=0, d=0, other_d=0, estimator="", seed=0,
    )  # fmt: skip
