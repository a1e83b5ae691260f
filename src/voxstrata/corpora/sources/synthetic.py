"""The synthetic corpus: made once into the cache, then opened like any JSONL manifest.

``synthetic``, ``synthetic:demo``, ``synthetic:small,seed=3,accents=en-us+en-gb``: see
:class:`voxstrata.corpora.synthetic.config.SyntheticConfig`.
"""

from __future__ import annotations

from voxstrata.corpora.registry import Progress, SourceResult
from voxstrata.corpora.sources.jsonl import SOURCE as JSONL


class SyntheticSource:
    """Opens (and first makes) the synthetic corpus."""

    name = "synthetic"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is ``synthetic``, alone or with a size and options."""
        return spec == "synthetic" or spec.startswith(("synthetic:", "synthetic,"))

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Make the corpus if the cache lacks it, and read its manifest.

        Raises:
            UnknownNameError: no such size.
            ConfigError: an option is unknown or wrong.
            MissingDependencyError: espeakng-loader (extra ``synth``) is absent.
            StorageError: the cache cannot be written.
        """
        from voxstrata.corpora.synthetic.build import build_synthetic
        from voxstrata.corpora.synthetic.config import SyntheticConfig

        config = SyntheticConfig.parse(spec)

        def made(done: int, total: int) -> None:
            if progress is not None:
                progress("making synthetic speech", done, total)

        folder = build_synthetic(config, progress=made)
        found = JSONL.open(str(folder), limit=limit)
        details: dict[str, object] = {**found.details, "config": config.model_dump(mode="json")}
        return SourceResult("synthetic", found.cuts, found.problems, details)


SOURCE = SyntheticSource()
