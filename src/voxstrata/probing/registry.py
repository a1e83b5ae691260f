"""Tasks by name, and tasks of one's own from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module, resources
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, cast

from voxstrata.config import Config, build, read_yaml
from voxstrata.errors import ConfigError, UsageError
from voxstrata.files import sha256_file
from voxstrata.registry import Registry, unknown_name

if TYPE_CHECKING:
    from voxstrata.probing.task import Task

TASKS: Registry[Callable[[], Task]] = Registry("task", "voxstrata.tasks")

SUPERB = ("pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er")
"""The suite, in the order of its tables."""


def _shipped(name: str) -> Task:
    place = resources.files("voxstrata.probing.tasks") / f"{name}.yaml"
    with resources.as_file(place) as path:
        return _opened(path, f"the task {name}")


OF_FILES: dict[str, str] = {
    "writes": "voxstrata.probing.tasks.symbols:SymbolTask",
    "trials": "voxstrata.probing.tasks.trials:TrialTask",
    "spots": "voxstrata.probing.tasks.spots:SpotTask",
    "turns": "voxstrata.probing.tasks.turns:TurnTask",
    "finds": "voxstrata.probing.tasks.terms:TermTask",
    "targets": "voxstrata.probing.tasks.classes:ClassTask",
}
"""What a task file is of, by the key that says so (the first of these that it has)."""


def _opened(path: Path, source: str) -> Task:
    given = read_yaml(path)
    target = next((OF_FILES[key] for key in OF_FILES if key in given), OF_FILES["targets"])
    module, _, name = target.partition(":")
    made: Task = build(getattr(import_module(module), name), given, source=source)
    return made


SHIPPED = (*SUPERB, "gender", "accent", "channel", "rate", "phone", "slots")
for _name in SHIPPED:
    TASKS.put(_name, partial(_shipped, _name))


FILES = (".yaml", ".yml", ".py")
"""Endings of task files."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a task may be called: it becomes part of file names."""

NEEDED = ("name", "title", "summary", "head", "tiers", "measures", "better", "speakers", "data")
"""What a task has (:class:`voxstrata.probing.task.Task`)."""


def _run(path: Path) -> Task:
    if not path.is_file():
        raise ConfigError(f"the task file {path} is not there", fix="check the path")
    spec = spec_from_file_location(f"voxstrata_task_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    task = getattr(module, "TASK", None)
    lacking = [name for name in NEEDED if not hasattr(task, name)]
    if lacking:
        raise ConfigError(
            f"{path} holds no task",
            got="no TASK" if task is None else f"TASK without {', '.join(lacking)}",
            expected=f"TASK, an object with {', '.join(NEEDED)}",
            fix="docs/probing.md shows one",
        )
    found: Task = cast("Task", task)
    return found


def summaries() -> dict[str, str]:
    """A line on every task by name. Those that come with voxstrata are read, not built: a listing
    needs nothing heavy."""
    found = {}
    for entry in TASKS.entries():
        line = entry.summary
        if not line and entry.name in SHIPPED:
            place = resources.files("voxstrata.probing.tasks") / f"{entry.name}.yaml"
            with resources.as_file(place) as path:
                line = str(read_yaml(path)["summary"])
        found[entry.name] = line
    return found


def described(task: Task) -> object:
    """What a task's results depend on besides its examples, JSON-like."""
    if isinstance(task, Config):
        return task.model_dump(mode="json")
    return {name: repr(getattr(task, name)) for name in NEEDED if name != "data"}


def digests(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the task files among some names."""
    files = [Path(name).expanduser() for name in names if name.endswith(FILES)]
    return {str(path): sha256_file(path) for path in files if path.is_file()}


def get_task(name: str) -> Task:
    """A task by name, or from a file of one's own.

    Args:
        name: a registered name; a path that ends in .yaml or .yml; or one that ends in .py, a
            Python file with the task as ``TASK`` (it may put a kind of head of its own into
            :data:`voxstrata.probing.kinds.kind.KINDS`). It is run.

    Raises:
        UnknownNameError: no such task.
        ConfigError: the file is not a task.
    """
    if name.endswith(".py"):
        return _run(Path(name).expanduser())
    if name.endswith((".yaml", ".yml")):
        return _opened(Path(name).expanduser(), name)
    if name not in TASKS:
        raise unknown_name("task", name, [*TASKS.names(), "a .yaml or .py file"])
    return TASKS.get(name)()


def get_tasks(names: tuple[str, ...]) -> list[Task]:
    """Tasks by name; "all" for every one there is, "superb" for the suite.

    Raises:
        UnknownNameError: as :func:`get_task`.
        UsageError: a task is named twice.
    """
    wanted: list[str] = []
    for name in names:
        if name == "all":
            wanted += TASKS.names()
        elif name == "superb":
            wanted += [task for task in SUPERB if task in TASKS]
        else:
            wanted.append(name)
    tasks = [get_task(name) for name in dict.fromkeys(wanted)]
    odd = [task.name for task in tasks if not NAME.fullmatch(str(task.name))]
    if odd:
        raise ConfigError(
            "a task has an odd name",
            got=", ".join(map(repr, odd)),
            expected="letters, digits, dot, hyphen, underscore",
            fix="rename it in its file",
        )
    held = [task.name for task in tasks]
    twice = sorted({name for name in held if held.count(name) > 1})
    if twice:
        raise UsageError("two tasks have one name", got=", ".join(twice), fix="rename one of them")
    return tasks
