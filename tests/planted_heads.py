"""Planted frames in memory for heads that are trained through their kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from planted_symbols import COARSE, Memory
from voxstrata.probing.cells import Features, Reads
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.registry import get_task
from voxstrata.probing.settings import HeadPlan, ProbeConfig, ProtocolConfig
from voxstrata.probing.task import TaskData
from voxstrata.types import LayerInfo


def features_of(held: dict[str, list[torch.Tensor]]) -> FrameFeatures:
    """Frames by recording and layer, all on one grid of 20 ms."""
    widths = [x.shape[1] for x in next(iter(held.values()))]
    infos = [LayerInfo(str(i), w, "frame", COARSE) for i, w in enumerate(widths)]
    store: Any = Memory(held)
    place = {name: i for i, name in enumerate(held)}
    return FrameFeatures(infos, [(store, i) for i in range(len(widths))], place)


def work_of(
    task: str,
    data: TaskData,
    held: dict[str, list[torch.Tensor]],
    plan: HeadPlan,
    folder: Path,
    *,
    lrs: Sequence[float] = (0.01,),
    selection: str = "strict",
) -> Work:
    """What a kind needs to train heads of a task on planted frames."""
    features = features_of(held)
    protocol = ProtocolConfig.model_validate(
        {"name": "planted", "lrs": lrs, "seeds": 1, "selection": selection, "default": plan}
    )
    means = [
        torch.stack([rows[i].mean(0) for rows in held.values()]) for i in range(len(features.infos))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return Work(
        task=get_task(task),
        data=data,
        spec="planted",
        config=ProbeConfig(models=("planted",), corpus="planted"),
        protocol=protocol,
        reads=Reads(features.names),
        means=Features(features.names, means, dict(features.place)),
        frames=features,
        folder=folder,
        workers=1,
        advance=lambda _heads: None,
    )
