"""``voxstrata compare``: two results folders side by side, computing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="OUT1", help="A results folder, or one of a study.")
    ],
    second: Annotated[Path, typer.Argument(metavar="OUT2", help="Another of the same kind.")],
    page: Annotated[
        Path,
        typer.Option("--out", "-o", help="The page; .parquet and .csv of that name hold numbers."),
    ] = Path("compare.html"),
) -> None:
    """Say what differs between two runs: settings, models, corpora, versions, numbers.

    Numbers that are about the same are held against their 95 % intervals. Of two studies, the parts
    of the same name are compared. What differs is no failure: the exit code is 0.
    """
    from voxstrata.errors import UsageError
    from voxstrata.report import draw_comparison
    from voxstrata.report.compare_words import beyond_said, facts_said, numbers_said

    if page.suffix in (".parquet", ".csv"):
        raise UsageError(
            "the page needs a name of its own",
            got=f"--out {page}",
            expected="a file such as compare.html",
        )
    found = draw_comparison(first, second, page)
    for text in [*numbers_said(found), beyond_said(found), *facts_said(found)]:
        if text:
            typer.echo(text)
    typer.echo(f"page: {page}")
    typer.echo(f"table: {page.with_suffix('.parquet')}, {page.with_suffix('.csv')}")
