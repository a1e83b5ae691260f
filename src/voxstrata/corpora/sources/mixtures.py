"""Conversations of two speakers, mixed from another corpus into the cache.

``mixtures:synthetic:demo``, ``mixtures,count=120,overlap=0.3:FOLDER``: see
:class:`voxstrata.corpora.mixtures.config.MixturesConfig`.
"""

from __future__ import annotations

from pathlib import Path

from voxstrata.corpora.problems import Problem
from voxstrata.corpora.registry import Progress, SourceResult
from voxstrata.corpora.sources.jsonl import SOURCE as JSONL
from voxstrata.files import read_json


class MixturesSource:
    """Opens (and first makes) mixtures."""

    name = "mixtures"

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is ``mixtures``, with options or not, and a corpus after a colon."""
        if spec.startswith(("mixtures:", "mixtures,")):
            return True
        return spec == "mixtures" and not Path(spec).exists()

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Mix the corpus if the cache lacks it, and read the manifest.

        Raises:
            VoxstrataError: the corpus cannot be opened; see
                :func:`voxstrata.corpora.load.load_corpus`.
            ConfigError: an option is unknown or wrong.
            LabelError: a recording has no speaker.
            UsageError: no corpus is named, there are too few speakers, or one says nothing.
            StorageError: the cache cannot be written.
        """
        from voxstrata.corpora.load import load_corpus
        from voxstrata.corpora.mixtures.build import DONE, build_mixtures
        from voxstrata.corpora.mixtures.config import parse

        config, source = parse(spec)
        corpus = load_corpus(source, progress=progress)

        def made(done: int, total: int) -> None:
            if progress is not None:
                progress("mixing speakers", done, total)

        folder = build_mixtures(config, corpus, progress=made)
        record = read_json(folder / DONE)
        found = JSONL.open(str(folder), limit=limit)
        details: dict[str, object] = {
            **found.details,
            "config": config.model_dump(mode="json"),
            "mixed": {"spec": source, "name": corpus.name, "fingerprint": corpus.fingerprint},
            "overlap": record["overlap"],
        }
        left_out = tuple(Problem(**problem) for problem in record["left_out"])
        return SourceResult(
            "mixtures", found.cuts, (*corpus.skipped, *left_out, *found.problems), details
        )


SOURCE = MixturesSource()
