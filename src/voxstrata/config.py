"""Frozen configurations, one object for command line, YAML file and Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from voxstrata.errors import ConfigError
from voxstrata.registry import unknown_name

C = TypeVar("C", bound="Config")


def split_names(text: str) -> tuple[str, ...]:
    """Names that were typed with commas between them; blanks around them count for nothing."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


class Config(BaseModel):
    """Base of every configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def build(kind: type[C], values: dict[str, Any], *, source: str = "arguments") -> C:
    """Validate ``values`` into a ``kind``, reporting all problems at once.

    Args:
        kind: a :class:`Config` subclass.
        values: raw keys and values.
        source: where they came from, for the message.

    Raises:
        ConfigError: one or more keys are unknown or have a wrong value; all are listed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found, wanted, hints = [], [], []
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                known = key_names(kind, item["loc"][:-1])
                found.append(f"{where}: unknown key")
                wanted.append("keys " + ", ".join(known))
                hint = unknown_name("key", str(item["loc"][-1]), known).fix
                if hint:
                    hints.append(f"{where}: {hint}")
            elif item["type"] == "missing":
                found.append(f"{where}: missing")
                wanted.append(f"{where}: a value")
            elif not where:  # a rule between keys: its sentence names them
                found.append(plain_message(item["msg"]))
                wanted.append("values that agree with each other")
            else:
                found.append(f"{where}: {item['input']!r}")
                wanted.append(f"{where}: {plain_message(item['msg'])}")
        details: dict[str, Any] = {"got": "; ".join(found)}
        if wanted:
            details["expected"] = "; ".join(dict.fromkeys(wanted))
        raise ConfigError(
            f"{source}: {len(found)} problem(s) in the configuration of {kind.__name__}",
            **details,
            fix="; ".join(hints),
        ) from None


def key_names(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Keys of the configuration at ``path`` within one of ``kind``."""
    for part in path:
        field = kind.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        nested = [
            one
            for one in (annotation, *get_args(annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if not nested:
            break
        kind = nested[0]
    return list(kind.model_fields)


def plain_message(message: str) -> str:
    """Pydantic's message in words for somebody who writes YAML or flags, not Python."""
    for start in ("Value error, ", "Assertion failed, ", "Input should be "):
        message = message.removeprefix(start)
    for python, plain in (("a valid tuple", "a list"), ("a valid dictionary", "a mapping")):
        message = message.replace(python, plain)
    return message.replace("Tuple should have at least 1 item after validation, not 0", "not empty")


MOST_VALUES = 1_000_000
"""Values that a YAML file may stand for: with aliases a few lines can stand for billions."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        ConfigError: the file is missing, is not YAML, is not a mapping, holds itself by an alias,
            or stands for more than :data:`MOST_VALUES` values.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {file}",
            got=error.strerror or str(error),
            expected="a YAML file",
            fix="check the path",
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{file} is not UTF-8 text", got=str(error), expected="a YAML file"
        ) from None
    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter: a day that no month has
        raise ConfigError(f"{file} is not valid YAML", got=str(error)) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deep", expected="a configuration") from None
    _refuse_expansion(file, loaded)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{file} does not hold a mapping",
            got=type(loaded).__name__,
            expected="key: value lines",
        )
    return loaded


def _refuse_expansion(file: Path, loaded: Any) -> None:
    """Refuse what aliases make endless or huge; everything after this may walk it as a tree."""
    sizes: dict[int, float] = {}

    def size(value: Any) -> float:
        if not isinstance(value, dict | list | tuple | set):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = math.inf  # met again before it is known: it holds itself
            inner = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(map(size, inner))
        return sizes[id(value)]

    held = size(loaded)
    if held > MOST_VALUES:
        raise ConfigError(
            f"the aliases (`*name`) of {file} stand for too much",
            got="a value that holds itself" if math.isinf(held) else f"{held:.3g} values",
            expected=f"at most {MOST_VALUES:,} values",
            fix="write the values out",
        )


def load(kind: type[C], path: str | Path | None, overrides: dict[str, Any]) -> C:
    """A configuration with the precedence flags > file > defaults.

    Args:
        kind: a :class:`Config` subclass.
        path: a YAML file, or ``None``.
        overrides: values from flags; ``None`` means "not given".
    """
    values = read_yaml(path) if path is not None else {}
    values.update({k: v for k, v in overrides.items() if v is not None})
    return build(kind, values, source=str(path) if path is not None else "arguments")
