"""``voxstrata demo``: the main job, offline, on speech made here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEMO_MODELS = (
    "random:hubert-base",
    "random:wavlm-base",
    "random:ecapa-512",
    "log-mel",
    "mfcc",
)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results and report.html.")
    ] = Path("demo"),
    size: Annotated[
        str, typer.Option(help="Synthetic corpus: tiny (seconds) or demo (minutes).")
    ] = "demo",
    overwrite: Annotated[
        str, typer.Option(help="missing (default), always, never, only-cache.")
    ] = "missing",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """See the main job end to end: no data, no network, a few minutes.

    Makes a small corpus of synthetic speech, then compares every layer of two base-size
    Transformers, an ECAPA-TDNN, log-mel and MFCC. The three networks are randomly initialised
    twins (no trained weights come with voxstrata yet), and the page says so.
    """
    from voxstrata.cli.similarity import run
    from voxstrata.similarity.settings import SimilarityConfig

    settings = SimilarityConfig(
        models=DEMO_MODELS,
        corpus=f"synthetic:{size}",
        units=("frame", "utterance"),
        study="demo",
    )
    run(settings, out, overwrite, quiet=quiet)
