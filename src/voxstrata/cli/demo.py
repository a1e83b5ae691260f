"""``voxstrata demo``: what comes with the package, compared offline on speech made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

FAMILIES = ("ecapa", "melhubert")
"""Families of the models that come with the package, in the order in which they are shown."""

BASELINE = "log-mel"

SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"corpus": "synthetic:tiny", "scale": "small", "phones_per_type": 10, "folds": 3},
    "demo": {"corpus": "synthetic:demo,speakers=40,sentences=6", "phones_per_type": 100},
}
"""Settings of the properties run by size; the similarity run takes the corpus of it."""

PROPERTIES = ("linear-phone", "cca-phone", "linear-speaker")

PAGE = "report.html"


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
    """See what voxstrata does: no data, no network, a few minutes.

    Makes a small corpus of synthetic speech and runs the small trained models that come with
    voxstrata (`voxstrata models list` names them), their untrained twins and log-mel over it.
    OUT/report.html says where each holds phone and speaker information, and which layers of
    different models are alike; OUT/properties and OUT/similarity hold all the numbers.
    """
    typer.echo(str(run_demo(shipped(), out, size, overwrite, quiet=quiet)))


def run_demo(
    models: Sequence[str], out: Path, size: str, overwrite: str, *, quiet: bool = False
) -> Path:
    """Properties and similarities of models and their twins on one synthetic corpus, as one page.

    Args:
        models: model names; log-mel and untrained twins are added.
        out: folder of the page; the two results folders lie in it.
        size: a name in :data:`SIZES`.
        overwrite: what to do with results that are there.
        quiet: no progress bars.

    Returns:
        the path of the page.

    Raises:
        UsageError: the size is not known.
        VoxstrataError: whatever the two jobs raise.
    """
    from voxstrata.cli import properties, similarity
    from voxstrata.errors import UsageError
    from voxstrata.properties.settings import PropertiesConfig
    from voxstrata.report import draw_joined
    from voxstrata.results import load_results
    from voxstrata.similarity.settings import SimilarityConfig

    if size not in SIZES:
        raise UsageError("no such size of the demo", got=size, expected=" or ".join(SIZES))
    folders = out / "properties", out / "similarity"
    asked = PropertiesConfig(
        models=(*models, BASELINE), properties=PROPERTIES, study="demo", **SIZES[size]
    )
    properties.run(asked, folders[0], overwrite, quiet=quiet)
    twins = dict.fromkeys(load_results(folders[0]).record["twins"].values())
    compared = SimilarityConfig(
        models=tuple(dict.fromkeys((*asked.models, *twins))),
        corpus=asked.corpus,
        units=("frame", "utterance"),
        measures=("cka",),
        study="demo",
    )
    similarity.run(compared, folders[1], overwrite, quiet=quiet)
    return draw_joined(folders, out / PAGE)


def shipped() -> list[str]:
    """The trained models that come with the package.

    Raises:
        ModelError: there are none.
    """
    from voxstrata.errors import ModelError
    from voxstrata.models.card import BUNDLED, bundled

    names = [name for family in FAMILIES for name in bundled(family)]
    if not names:
        raise ModelError(
            "this installation lacks the models that come with voxstrata",
            got=f"none in {BUNDLED}",
            expected="a folder with a card for each",
            fix="install voxstrata again, or make them with `make models` (hours); "
            "`voxstrata similarity` and `voxstrata properties` work with models of your own",
        )
    return names
