"""Probing as a part of a study."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from voxstrata.probing.extract import layers_of, reads_of, systems_of
from voxstrata.probing.job import open_probing, run_probing
from voxstrata.probing.kinds.kind import KINDS
from voxstrata.probing.prepare import Prepared, prepare
from voxstrata.probing.registry import get_tasks
from voxstrata.probing.settings import ProbeConfig, read_protocol
from voxstrata.similarity.estimate import MODEL_EFFICIENCY, product_rate
from voxstrata.studies.jobs.job import Cost, Job, Look
from voxstrata.studies.jobs.layers import layers_named

REFERENCE = 190e9
"""Operations a second of the core on which the constants below were measured (runs of ten tasks,
protocols ``demo`` and ``small``, models up to 3,072 wide, two cores)."""

STEP_S = {"utterance": 0.11e-3, "spot": 0.11e-3, "frame": 1e-3}
"""Seconds of an update of one head, whatever the width of its layer, by kind of head."""

WIDTH_S = {"utterance": 1.1e-6, "spot": 1.1e-6, "frame": 8e-6}
"""And for each dimension of its layer."""

COSTLY_S = {"recurrent": 18e-3, "x-vector": 20e-3, "diarization": 18e-3}
"""Seconds of an update of heads that read sequences, 64 wide."""

TERMS_S = 0.6
"""Seconds of query-by-example for each layer."""


def _prepare(config: ProbeConfig, folder: Path, afresh: bool) -> Prepared:
    return prepare(config, folder, afresh=afresh)


def cost_of_probing(prepared: Prepared) -> Cost:
    """Forecast of a prepared run."""
    import torch

    rate = product_rate(torch.float32, "cpu")
    there = rate if prepared.device == "cpu" else product_rate(torch.float32, prepared.device)
    seconds = 0.0
    for system in systems_of(prepared):
        for one in prepared.asked:
            kind = KINDS.get(one.task.head)
            layers = layers_of(prepared, system, kind.ON_FRAMES)
            if not layers:
                continue
            reads = reads_of(prepared, system, layers)
            heads = kind.count(one.task, reads, prepared.config, prepared.protocol)
            plan = prepared.protocol.of(one.task.name)
            rounds, head = len(one.data.rounds), one.task.head
            width = sum(prepared.stack[i].width for i in layers) / len(layers)
            if head == "terms":
                seconds += TERMS_S * len(layers)
            elif head in COSTLY_S:
                steps = min(heads, 4) * plan.steps + max(0, heads - 4) * plan.screen
                seconds += rounds * steps * COSTLY_S[head] * max(1.0, plan.hidden / 64) ** 0.5
            else:
                each = STEP_S.get(head, 1e-3) + WIDTH_S.get(head, 1e-6) * width
                seconds += rounds * heads * plan.steps * each
    widest = max(layer.width for layer in prepared.stack)
    memory = 0.5e9 + 4.0 * len(prepared.utterances) * widest * len(prepared.stack)
    models = prepared.pass_flops / (there * MODEL_EFFICIENCY)
    return Cost(models + seconds * REFERENCE / rate, prepared.disk_bytes, memory)


def _inside(config: ProbeConfig) -> Iterable[Look]:
    specs = dict.fromkeys([*config.models, *filter(None, [config.baseline])])
    return layers_named(list(specs), config.layers)


def _missing(prepared: Prepared) -> list[tuple[str, str]]:
    return [(item.name, item.reason) for item in prepared.left_out]


JOB = Job(
    name="probing",
    summary="heads on layers, SUPERB's tasks",
    settings=ProbeConfig,
    prepare=_prepare,
    run=run_probing,
    open_pass=open_probing,
    corpora={"corpus": False, "corpus_map": True},
    cost=cost_of_probing,
    missing=_missing,
    inside=_inside,
    names={"tasks": lambda name: get_tasks((name,)), "protocol": read_protocol},
)
