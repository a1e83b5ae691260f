"""i-vector extractors as a kind of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from voxstrata.config import build
from voxstrata.training import recipes
from voxstrata.training.ivector.settings import IvectorConfig

if TYPE_CHECKING:
    from voxstrata.results import Results
    from voxstrata.streaming.runs import Hooks, Overwrite
    from voxstrata.training.ivector.prepare import Prepared

PACKAGE = "voxstrata.training.ivector"


class IvectorKind:
    """Background mixture and total variability, by expectation-maximisation."""

    def names(self) -> Mapping[str, str]:
        """Recipes."""
        return recipes.names(PACKAGE)

    def read(self, text: str | Path, changes: Sequence[str] = ()) -> IvectorConfig:
        """A configuration from a recipe's name or a YAML file.

        Raises:
            ConfigError, UnknownNameError: see :func:`voxstrata.training.recipes.read_values`.
        """
        values = recipes.read_values(text, changes, PACKAGE)
        return build(IvectorConfig, values, source=str(text))

    def prepare(self, config: IvectorConfig) -> Prepared:
        """See :func:`voxstrata.training.ivector.prepare.prepare`."""
        from voxstrata.training.ivector.prepare import prepare

        return prepare(config)

    def plan(self, prepared: Prepared) -> list[str]:
        """Sizes, data, stages."""
        options, config = prepared.options, prepared.config
        full = config.ubm.full if options.covariance == "full" else 0
        lines = [
            f"{config.name}: i-vectors of {options.rank} over {options.gaussians} "
            f"{options.covariance} Gaussians, {options.width} numbers a frame, on "
            f"{prepared.device}",
            f"{len(prepared.corpus)} recordings, {prepared.corpus.seconds / 3600:.2f} h; the "
            f"start, {config.ubm.diagonal + full} passes, then {config.variability.iterations} "
            f"iterations over {prepared.recordings} recordings",
            *(f"note: {notice}" for notice in prepared.notices),
        ]
        if skipped := prepared.corpus.skipped:
            lines.append(f"{len(skipped)} recordings are left out, e.g. {skipped[0]}")
        return lines

    def processes(self, config: IvectorConfig) -> AbstractContextManager[bool]:
        """One process does it all."""
        return nullcontext(True)

    def run(
        self, config: IvectorConfig, out: Path, *, overwrite: Overwrite, hooks: Hooks[Prepared]
    ) -> Results:
        """See :func:`voxstrata.training.ivector.job.run_ivector_training`."""
        from voxstrata.training.ivector.job import run_ivector_training

        return run_ivector_training(config, out, overwrite=overwrite, hooks=hooks)


KIND = IvectorKind()
"""i-vector extractors."""
