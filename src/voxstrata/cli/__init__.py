"""The command line. Commands import what they need when they run, so ``--help`` is instant."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

import typer

from voxstrata import __version__
from voxstrata.errors import VoxstrataError

app = typer.Typer(
    name="voxstrata",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="What does each layer, and each neuron, of a speech model know?\n\n"
    "First time here: [bold]voxstrata demo[/bold] needs no data, no network and a few minutes.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"voxstrata {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


def _say(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning in one line: where in a library it arose is of no use to who types a command."""
    sys.stderr.write(f"warning: {message}\n")


def main() -> None:
    """Run the command line; voxstrata's own errors are printed without a traceback."""
    from voxstrata.cli import commands

    commands.attach(app)
    warnings.showwarning = _say
    try:
        app()
    except VoxstrataError as error:
        from rich.console import Console

        # Not wrapped here: a path broken over two lines can neither be copied nor searched for.
        Console(stderr=True, highlight=False).print(
            f"error: {error}", style="red", markup=False, soft_wrap=True
        )
        sys.exit(error.exit_code)
