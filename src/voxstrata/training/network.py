"""The kind of training that learns by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from voxstrata.training import recipes
from voxstrata.training.settings import TrainConfig

if TYPE_CHECKING:
    from voxstrata.results import Results
    from voxstrata.streaming.runs import Hooks, Overwrite
    from voxstrata.training.prepare import Prepared


class NetworkKind:
    """Speaker encoders and MelHuBERT, with any objective."""

    def names(self) -> Mapping[str, str]:
        """Recipes."""
        return recipes.names()

    def read(self, text: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
        """See :func:`voxstrata.training.recipes.read_recipe`."""
        return recipes.read_recipe(text, changes)

    def prepare(self, config: TrainConfig) -> Prepared:
        """See :func:`voxstrata.training.prepare.prepare`."""
        from voxstrata.training.prepare import prepare

        return prepare(config)

    def plan(self, prepared: Prepared) -> list[str]:
        """Network, objective, data, length."""
        config, items = prepared.config, prepared.items
        count = sum(p.numel() for p in prepared.encoder().parameters())
        speeds = f" at {len(items.speeds)} speeds" if len(items.speeds) > 1 else ""
        lines = [
            f"{config.name}: {config.objective['name']} on {config.model.family} "
            f"({count / 1e6:.2f} million parameters), {prepared.front.name} features, on "
            f"{prepared.device}",
            f"{len(items)} recordings{speeds}, {items.seconds / 3600:.2f} h, {items.classes} "
            f"classes; {prepared.steps} steps, {prepared.steps_per_epoch} a pass",
        ]
        if skipped := items.corpus.skipped:
            lines.append(f"{len(skipped)} recordings are left out, e.g. {skipped[0]}")
        return lines

    def processes(self, config: TrainConfig) -> AbstractContextManager[bool]:
        """Those that torchrun started."""
        from voxstrata.training.launch import processes

        return processes(config.run.device)

    def run(
        self, config: TrainConfig, out: Path, *, overwrite: Overwrite, hooks: Hooks[Prepared]
    ) -> Results:
        """See :func:`voxstrata.training.job.run_training`."""
        from voxstrata.training.job import run_training

        return run_training(config, out, overwrite=overwrite, hooks=hooks)


KIND = NetworkKind()
"""By gradients."""
