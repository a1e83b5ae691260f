"""Options that `voxstrata similarity` and `voxstrata properties` share, and what both check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

if TYPE_CHECKING:
    from voxstrata.streaming.runs import Overwrite

MACHINE = "Machine and folder"
"""A heading of --help."""

Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Models: a registered name (hubert-base), a hub id, a local directory, a checkpoint "
        "file, or random:NAME for the untrained twin. `voxstrata models list` shows names.",
        show_default=False,
    ),
]
Corpus = Annotated[
    str | None,
    typer.Option(
        "--corpus", "-c", help="A folder of audio, a manifest, a prepared corpus, synthetic:demo."
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for results, figures and report.html.")
]
Layers = Annotated[
    str | None,
    typer.Option(help="Layers, with commas: names, ranges (4-8) or patterns (conv*)."),
]
Limit = Annotated[int | None, typer.Option(help="Use a seeded subset of this many recordings.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan, compute nothing.")
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Of the models: float32 (default), bfloat16, float16.", rich_help_panel=MACHINE
    ),
]
Device = Annotated[
    str | None, typer.Option(help="auto (default), cpu, cuda:0.", rich_help_panel=MACHINE)
]
BatchS = Annotated[
    float | None,
    typer.Option("--batch-seconds", help="Seconds of audio in a batch.", rich_help_panel=MACHINE),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Make the pass on workers: local:4, tcp://HOST:PORT, slurm:PROFILE.yaml "
        "(docs/scaling.md).",
        rich_help_panel=MACHINE,
    ),
]
DiskGib = Annotated[
    float | None,
    typer.Option(
        help="Disk for rows (default: what is free, less 2 GiB).", rich_help_panel=MACHINE
    ),
]
OnError = Annotated[
    str | None,
    typer.Option(
        help="A bad recording: skip it and list it (default), or stop.", rich_help_panel=MACHINE
    ),
]
Study = Annotated[
    str | None, typer.Option(help="Name written into the results.", rich_help_panel=MACHINE)
]
KeepStore = Annotated[
    bool | None,
    typer.Option(
        "--keep-store/--no-keep-store", help="Keep the rows on disk.", rich_help_panel=MACHINE
    ),
]
OverwriteRule = Annotated[
    str,
    typer.Option(
        "--overwrite",
        help="If OUT holds results: missing (keep and finish), always, never, only-cache.",
        rich_help_panel=MACHINE,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bars.", rich_help_panel=MACHINE)
]


def check_named(
    command: str, models: list[str] | None, corpus: str | None, config: Path | None
) -> None:
    """Models and a corpus are named, here or in a file of settings.

    Raises:
        UsageError: they are not.
    """
    from voxstrata.errors import UsageError

    if config is None and not models:
        raise UsageError(
            "no model is named",
            expected="one or more models before the options",
            fix=f"for example: voxstrata {command} hubert-base log-mel --corpus FOLDER; "
            "`voxstrata models list` shows names",
        )
    if config is None and not corpus:
        raise UsageError(
            "no corpus is named",
            expected="--corpus with a folder of audio, a manifest or a corpus",
            fix="for example --corpus ~/recordings, or --corpus synthetic:demo; docs/corpora.md",
        )


def known_overwrite(given: str) -> Overwrite:
    """What ``--overwrite`` says.

    Raises:
        UsageError: it is none of the rules.
    """
    from voxstrata.errors import UsageError
    from voxstrata.streaming.runs import Overwrite

    if given not in get_args(Overwrite):
        raise UsageError(
            "--overwrite is not understood",
            got=given,
            expected="always, missing, never or only-cache",
        )
    return cast(Overwrite, given)
