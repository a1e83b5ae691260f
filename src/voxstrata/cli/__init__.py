"""The command line. Commands import what they need when they run, so ``--help`` is instant."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

import typer

from voxstrata import __version__
from voxstrata.errors import VoxstrataError
from voxstrata.numerics.threads import wait_briefly

app = typer.Typer(
    name="voxstrata",
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="What does each layer, and each neuron, of a speech model know?\n\n"
    "First time here: [bold]voxstrata demo[/bold] needs no data, no network and a few minutes.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"voxstrata {__version__}")
        raise typer.Exit


WELCOME = """\
What does each layer, and each neuron, of a speech model know?

voxstrata runs models over recordings once and measures what their layers hold
(phones, words, speakers, pitch), how alike they are, what small heads can do
with them, and which neurons know what. Results: a table, figures and a page
that opens offline, with intervals and controls on every number.

Start with one of these:

  voxstrata demo                         no data, no network, a few minutes
  voxstrata properties MODEL -c FOLDER -o out
                                         your model, your recordings: what each
                                         layer holds
  voxstrata study list                   whole papers as recipes; then
                                         voxstrata study run NAME -o out
  voxstrata explain                      what measures mean, how to read them
  voxstrata doctor                       is everything installed?

MODEL is a name (voxstrata models list), a hub id, a folder or a checkpoint.
FOLDER holds audio, a sub-folder a speaker; voxstrata corpora --help has more.

voxstrata --help lists all commands, voxstrata cite out says what to cite, and
voxstrata --install-completion makes the shell complete them.
"""


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(WELCOME, nl=False)


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

    wait_briefly()
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
