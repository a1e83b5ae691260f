"""``voxstrata demo``: the study ``quickstart``, offline, on speech made here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

STUDY = "quickstart"

FAMILIES = ("ecapa", "melhubert")
"""Families of the models that come with the package."""

SIZES: Mapping[str, Mapping[str, Any]] = {
    "demo": {},
    "tiny": {
        "corpora.speech": "synthetic:tiny",
        "analyses.properties.scale": "small",
        "analyses.properties.phones_per_type": 10,
        "analyses.properties.folds": 3,
    },
}
"""Changes to the study by size."""


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
    voxstrata (`voxstrata models list` names them), their untrained twins and log-mel over it: the
    study `quickstart`. OUT/report.html says where each holds phone and speaker information, and
    which layers of different models are alike; OUT/properties and OUT/similarity hold all the
    numbers.
    """
    installed()
    page = run_demo(out, size, overwrite, quiet=quiet)
    if page is not None:
        typer.echo(str(page))


def run_demo(
    out: Path,
    size: str,
    overwrite: str,
    *,
    models: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Path | None:
    """The study ``quickstart`` at a size.

    Args:
        out: folder of the page; the two results folders lie in it.
        size: a name in :data:`SIZES`.
        overwrite: what to do with results that are there.
        models: other models in place of the study's, by name.
        quiet: no progress bars.

    Returns:
        the path of the page.

    Raises:
        UsageError: the size is not known.
        VoxstrataError: whatever the study raises.
    """
    from voxstrata.cli.study import run_study_command
    from voxstrata.errors import UsageError
    from voxstrata.studies.load import read_study

    if size not in SIZES:
        raise UsageError("no such size of the demo", got=size, expected=" or ".join(SIZES))
    source = read_study(STUDY, models=models, changes=SIZES[size])
    return run_study_command(source, out, overwrite, quiet=quiet)


def installed() -> list[str]:
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
