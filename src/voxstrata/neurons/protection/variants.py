"""Which pruned models there are: one a size, condition and seed, each in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.protection.settings import ProtectionConfig

PRUNED, MODEL = "pruned", "model"
"""Folder of the pruned models in the output folder, and of the model in each."""


@dataclass(frozen=True)
class Variant:
    """One pruned model.

    Attributes:
        condition: "none", "protected" or "random".
        keep: rows left of each feed-forward part.
        seed: of the run.
        folder: of the pruning run.
    """

    condition: str
    keep: int
    seed: int
    folder: Path

    @property
    def model(self) -> str:
        """Folder of the model."""
        return str(self.folder / MODEL)


def sizes(config: ProtectionConfig, model: SpeechModel) -> tuple[int, ...]:
    """Rows to be left of each feed-forward part.

    Raises:
        ModelError: the model has no feed-forward parts.
        UsageError: no size is below the model's.
    """
    widths = [part.width for part in feed_forwards(model)]
    least = min(widths)
    if config.keep is None:
        return tuple(sorted({max(1, least // 4), max(1, least // 2), max(1, 3 * least // 4)}))
    if max(config.keep) >= least:
        raise UsageError(
            "a size must be smaller than the model's",
            got=f"{max(config.keep)} rows",
            expected=f"fewer than {least}",
        )
    return config.keep


def variants(config: ProtectionConfig, keep: tuple[int, ...], folder: Path) -> list[Variant]:
    """Every model that will be made."""
    place = folder / PRUNED
    return [
        Variant(condition, rows, seed, place / f"{condition}-{rows}-{seed}")
        for rows in keep
        for condition in config.conditions
        for seed in range(config.seed, config.seed + config.seeds)
    ]
