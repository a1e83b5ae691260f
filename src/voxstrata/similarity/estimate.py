"""How long a run will take, from a short measurement of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from voxstrata.similarity.planner import UnitPlan
from voxstrata.similarity.prepare import Prepared
from voxstrata.similarity.sweep import DTYPES, pair_count

MODEL_EFFICIENCY = 0.5
"""Share of the product rate that forward passes reach: convolutions, softmax and normalisation
run slower than plain products. Five base and large models on two cores reached 0.53."""

READ_BYTES_PER_S = 0.5e9
"""Rate at which rows come from the store, are centred and laid side by side."""

ROW_PAIR_FLOPS = 30.0
"""Operations an entry of an n by n matrix of distances costs beyond the product that makes it."""

DECOMPOSITION_FLOPS = 60.0
"""Operations of an eigen- or singular value decomposition, in units of width cubed, at the
speed decompositions run (they are an order slower than products)."""


@dataclass(frozen=True)
class Estimate:
    """A rough forecast.

    Attributes:
        models_s: seconds of forward passes.
        products_s: seconds of products and measures.
        disk_bytes: disk that rows will take meanwhile.
        memory_bytes: memory of the largest route.
    """

    models_s: float
    products_s: float
    disk_bytes: float
    memory_bytes: float

    def sentence(self) -> str:
        """In words."""
        return (
            f"about {_duration(self.models_s)} for the models and {_duration(self.products_s)} "
            f"for the measures on this machine; {self.disk_bytes / 1e9:.1f} GB of disk meanwhile"
        )


def product_rate(dtype: torch.dtype, device: str, size: int = 1024) -> float:
    """Floating-point operations a second of a square product, measured in about 0.1 s."""
    x = torch.randn(size, size, dtype=torch.float32, device=device).to(dtype)
    x @ x
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < 0.1:
        y = x @ x
        done += 1
    float(y[0, 0])  # waits for a GPU
    return done * 2.0 * size**3 / (time.perf_counter() - begun)


def estimate(prepared: Prepared) -> Estimate:
    """Forecast a prepared run."""
    config = prepared.config
    rate32 = product_rate(torch.float32, prepared.device)
    rate = product_rate(DTYPES[config.precision], prepared.device)
    products = sum(job.plan.flops for job in prepared.jobs) / rate
    heavy = [m for m in prepared.measures.values() if m.needs == "moments"]
    for job in prepared.jobs:
        plan = job.plan
        mean = plan.width / plan.layers
        products += (
            len(heavy)
            * pair_count(plan.layers)
            * (plan.folds + 1)
            * DECOMPOSITION_FLOPS
            * mean**3
            / rate32
        )
        products += _reading_s(plan, prepared.memory_bytes)
        sampled = min(plan.rows, config.max_rows)
        of_rows = sum(m.needs == "rows" for m in prepared.measures.values())
        entries = float(sampled) ** 2 * (plan.folds + 1) * of_rows
        work = plan.layers * 2 * mean + (plan.layers + pair_count(plan.layers)) * ROW_PAIR_FLOPS
        products += entries * work / rate32
    return Estimate(
        prepared.pass_flops / (rate32 * MODEL_EFFICIENCY),
        products,
        sum(job.plan.disk_bytes for job in prepared.jobs),
        max(job.plan.memory_bytes for job in prepared.jobs),
    )


def _reading_s(plan: UnitPlan, memory_bytes: float) -> float:
    """Seconds of reading rows: once for single rows, then every chunk against every later one."""
    if plan.route not in ("blocks", "gram"):
        return 0.0
    chunks = max(1.0, 3.0 * plan.disk_bytes / memory_bytes) if plan.route == "blocks" else 0.0
    return plan.disk_bytes * (1.0 + (chunks + 1.0) / 2.0) / READ_BYTES_PER_S


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
