"""Training recipes by name: YAML files in the package, changed by ``key=value`` texts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from voxstrata.config import build, read_yaml
from voxstrata.errors import ConfigError
from voxstrata.registry import unknown_name
from voxstrata.training.settings import TrainConfig

_FOLDER = "configs"

PACKAGE = "voxstrata.training"
"""Room of the recipes of networks."""


def names(package: str = PACKAGE) -> dict[str, str]:
    """Recipes of a room, each with the first line of its file."""
    found = {}
    for entry in resources.files(package).joinpath(_FOLDER).iterdir():
        if entry.name.endswith(".yaml"):
            first = entry.read_text("utf-8").splitlines()[0]
            found[entry.name.removesuffix(".yaml")] = first.lstrip("# ")
    return dict(sorted(found.items()))


def read_recipe(text: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """The training of a network: a configuration from a recipe's name or a YAML file.

    Raises:
        ConfigError, UnknownNameError: see :func:`read_values`.
    """
    return build(TrainConfig, read_values(text, changes), source=str(text))


def read_values(
    text: str | Path, changes: Sequence[str] = (), package: str = PACKAGE
) -> dict[str, Any]:
    """The values of a recipe or YAML file, changed.

    Args:
        text: name of a recipe of the room, or a path.
        changes: ``"run.steps=100"``, ``"data.corpus=/corpora/vox2"``; values are YAML; an empty
            value or ``null`` removes the key.
        package: room whose recipes have names.

    Raises:
        ConfigError: the file or a change is wrong.
        UnknownNameError: neither a file nor a recipe.
    """
    import yaml

    path = Path(text).expanduser()
    if path.is_file():
        values = read_yaml(path)
    else:
        known = names(package)
        if str(text) not in known:
            raise unknown_name("training recipe or file", str(text), list(known))
        with resources.as_file(resources.files(package) / _FOLDER) as folder:
            values = read_yaml(folder / f"{text}.yaml")
    for change in changes:
        name, equals, given = change.partition("=")
        if not equals or not name:
            raise ConfigError(f"{change!r} is not KEY=VALUE", expected="for example run.steps=100")
        try:
            value = yaml.safe_load(given)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {change!r} is not YAML", got=str(error)) from None
        _put(values, name.split("."), value, change)
    return values


def _put(values: dict[str, Any], path: list[str], value: Any, change: str) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if inner is None:
            inner = values[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{change!r}: {part} is a value, not a group of keys")
        values = inner
    if value is None:
        values.pop(path[-1], None)
    else:
        values[path[-1]] = value
