"""A protection run so small that a test can afford it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurons_spoken import write
from voxstrata.neurons.protection.settings import ProtectionConfig

MODEL = "random:melhubert,inputs=80,width=32,layers=2,heads=4,ffn=48,conv_pos=8,conv_groups=4"
LAYERS = ("block.1.ffn.inner", "block.2.ffn.inner")


def spoken(folder: Path, *tasks: str) -> Path:
    """Made speech of four speakers in ``folder``, with a map of these tasks to it."""
    place = write(folder / "c", 24, 4, phones=4)
    (place / "map.yaml").write_text("".join(f"{task}: {place}\n" for task in tasks))
    return place


def config(speech: Path, **changes: Any) -> ProtectionConfig:
    values: dict[str, Any] = {
        "model": MODEL, "corpus": str(speech), "corpus_map": str(speech / "map.yaml"),
        "contrast": "gender/clusters=2", "rule": "top=0.1", "draws": 10, "keep": (36,), "seeds": 1,
        "tasks": ("sid",), "probe_steps": 15, "probe_lrs": (0.01,), "device": "cpu",
    }  # fmt: skip
    return ProtectionConfig.model_validate(values | changes)


def rows_kept(whole: Any, pruned: Any, block: int) -> list[int]:
    """Which neurons of a block a pruned model still has, found by their weights alone."""
    before = whole._module.encoder.layers[block - 1].fc1.weight
    after = pruned._module.encoder.layers[block - 1].fc1.weight
    return [int((before == row).all(dim=1).nonzero()) for row in after]
