"""The results of a pruning run: sizes and costs before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxstrata.models.base import SpeechModel
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.cost import cost_of, summary, timed
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.pruning.steps import State
from voxstrata.results import Row
from voxstrata.streaming.runs import command_line, peak_memory

if TYPE_CHECKING:
    from voxstrata.neurons.pruning.job import Prepared


def told(
    prepared: Prepared, state: State, model: SpeechModel, folder: str, wall_s: float
) -> tuple[list[Row], dict[str, Any]]:
    """Rows and record of a finished run.

    Args:
        prepared: the run.
        state: after its last step.
        model: what came out, loaded.
        folder: name of its folder.
        wall_s: seconds it took.
    """
    config, device = prepared.config, prepared.device
    both = ((config.model, prepared.model), (config.name, model))
    latencies: list[float] | list[None] = [None, None]
    if config.repeats:
        moved = [one.to(device, "float32") for _, one in both]
        latencies = timed(moved, config.repeats, config.latency_s)
    costs = [cost_of(one, took) for (_, one), took in zip(both, latencies, strict=True)]
    rows = []
    for (name, one), cost in zip(both, costs, strict=True):
        numbers: dict[str, float | None] = {
            "parameters": cost.parameters,
            "nonzero_parameters": cost.nonzero,
            "flops_per_second": cost.flops,
            "latency_s_per_s": cost.latency_s,
        }
        rows += [_row(config, name, "", key, v) for key, v in numbers.items() if v is not None]
        sizes = zip(take_copy(one).layers(), cost.feed_forward, strict=True)
        rows += [_row(config, name, layer, "neurons", n) for layer, n in sizes]
        rows += [
            _row(config, name, str(block), "heads", n) for block, n in enumerate(cost.heads, 1)
        ]
    before, after = costs
    record = {
        "job": "prune",
        "study": config.study,
        "identity": prepared.identity,
        "command": command_line(),
        "config": config.model_dump(mode="json"),
        "model": {"spec": config.model, "fingerprint": prepared.model.fingerprint},
        "pruned": {"folder": folder, "fingerprint": model.fingerprint},
        "before": before.facts(),
        "after": after.facts(),
        "summary": summary(before, after),
        "protected": state.protected.counts() if state.protected else None,
        "steps": list(state.history),
        "device": device,
        "wall_s": wall_s,
        "peak_memory": peak_memory(),
    }
    return rows, record


def _row(config: PruneConfig, model: str, layer: str, measure: str, value: float) -> Row:
    return Row(
        study=config.study, model=model, layer=layer, other_model="", other_layer="",
        property="pruning", measure=measure, unit="", value=float(value), ci_low=None,
        ci_high=None, n=0, groups=0, d=0, other_d=0, estimator="", seed=config.seed,
    )  # fmt: skip
