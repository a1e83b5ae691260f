"""Command lines in the documentation, held against the command line there is."""

from __future__ import annotations

import inspect
import re
import shlex
import typing
from functools import cache
from typing import Any

# What stands for something that the reader fills in: MODEL, OUT..., SIZE|FILE, and so on.
PLACEHOLDER = re.compile(r"[\[(<]*[A-Z][A-Z0-9_|]*[\])>]*(?:\.\.\.|,\.\.\.)?[\])]*|\.\.\.|…")
FILES = (".yaml", ".py")
OF_EXAMPLES = {"cca-first"}  # what a page tells how to add
GAP = re.compile(r"\s{3,}\S")


@cache
def tree() -> Any:
    """The command line, as the library behind it sees it."""
    import typer

    from voxstrata.cli import app
    from voxstrata.cli import commands as listed

    if not app.registered_commands:
        listed.attach(app)
    return typer.main.get_command(app)


def words(line: str) -> list[str] | None:
    """The words of a command line of voxstrata; ``None`` if it is something else.

    Settings of the environment and a folder before the program's name are dropped, and so are
    notes behind ``#``, or behind three blanks as in a list of commands with what they do.
    """
    text = re.sub(r"^(?:\w+=\S*\s+)*(?:\S*/)?voxstrata(?=\s|$)", "voxstrata", line.strip())
    if not re.match(r"voxstrata(\s|$)", text):
        return None
    gap = GAP.search(text)
    text = text[: gap.start()] if gap else text
    try:
        return shlex.split(text.replace("[", " ").replace("]", " "), comments=True)
    except ValueError:
        return shlex.split(text.partition("#")[0].replace("'", ""))


def wrong(given: list[str], *, whole: bool = True) -> list[str]:
    """What is wrong with a command line.

    Args:
        given: its words, the program's name first.
        whole: false for a mention in a sentence, which need not name every argument.

    Returns:
        one sentence a fault; none if it could be typed, placeholders aside.
    """
    command, rest, name = tree(), given[1:], "voxstrata"
    while children := getattr(command, "commands", None):
        known = {"--help", *(spelling for one in command.params for spelling in one.opts)}
        if not rest or PLACEHOLDER.fullmatch(rest[0]) or rest[0] in known:
            return []
        if rest[0] not in children:
            return [f"{name} has no command {rest[0]!r}"]
        name, command, rest = f"{name} {rest[0]}", children[rest[0]], rest[1:]
    options = {
        spelling: one
        for one in command.params
        if one.param_type_name == "option"
        for spelling in (*one.opts, *one.secondary_opts)
    }
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    found, free, waiting = [], 0, iter(rest)
    for word in waiting:
        if word in ("...", "\\", "|", ">", "&&", ";"):
            break
        spelling, equals, value = word.partition("=")
        if not re.match(r"--?[A-Za-z]", word):
            free += 1
        elif spelling == "--help":
            continue
        elif spelling not in options:
            found.append(f"{name} has no option {spelling!r}")
        elif not options[spelling].is_flag:
            taken = value if equals else next(waiting, None)
            found += unfit(number(command, options[spelling].name), spelling, taken, whole=whole)
            found += unknown(name, options[spelling].name, taken)
    most = sum(one.nargs for one in arguments if one.nargs > 0)
    if free > most and all(one.nargs > 0 for one in arguments):
        found.append(f"{name} takes {most} arguments, not {free}")
    if whole and free < sum(bool(one.required) for one in arguments):
        found.append(f"{name} needs {', '.join(one.name.upper() for one in arguments)}")
    return found


def number(command: Any, name: str) -> type | None:
    """``int`` or ``float`` if an option takes such a number."""
    hint = typing.get_type_hints(inspect.unwrap(command.callback))[name]
    kinds = {hint, *typing.get_args(hint)}
    return next((kind for kind in (int, float) if kind in kinds), None)


def unknown(command: str, option: str, value: str | None) -> list[str]:
    """Names in the value of an option that are in no registry."""
    names = registered().get((command, option), registered().get(("", option)))
    if names is None or value is None:
        return []
    parts = [part.strip() for part in value.split(",")]
    return [
        f"{command}: {part!r} is not known"
        for part in parts
        if part and not PLACEHOLDER.fullmatch(part) and not part.endswith(FILES)
        if part.partition(":")[0] not in names
    ]


@cache
def registered() -> dict[tuple[str, str], set[str]]:
    """Names that options take, by command (empty: any) and option."""
    from voxstrata.probing.registry import TASKS
    from voxstrata.properties.choosing.uses import uses
    from voxstrata.properties.registry import PROPERTIES
    from voxstrata.similarity.registry import MEASURES
    from voxstrata.streaming.registry import UNITS
    from voxstrata.streaming.runs import Overwrite

    return {
        ("voxstrata similarity", "measure"): {*MEASURES.names(), *OF_EXAMPLES},
        ("voxstrata similarity", "unit"): set(UNITS.names()),
        ("voxstrata properties", "wanted"): {*PROPERTIES.names(), "all"},
        ("", "tasks"): {*TASKS.names(), "superb", "all"},
        ("voxstrata layers", "use"): set(uses()),
        ("", "overwrite"): set(typing.get_args(Overwrite)),
    }


def unfit(kind: type | None, spelling: str, value: str | None, *, whole: bool) -> list[str]:
    """What is wrong with the value of an option."""
    if value is None:
        return [f"{spelling} needs a value"] if whole else []
    if kind is not None and not PLACEHOLDER.fullmatch(value):
        try:
            kind(value)
        except ValueError:
            return [f"{spelling} takes a number, not {value!r}"]
    return []
