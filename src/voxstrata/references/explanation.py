"""What a name means, how its number comes about and how to read it (``explained/*.yaml``).

A file a kind, an entry a name. What the thing itself knows (range of a measure, unit of a
property) is not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from voxstrata.config import Config, build, read_yaml
from voxstrata.errors import ConfigError
from voxstrata.registry import unknown_name

FOLDER = Path(__file__).parent / "explained"

Better = Literal["", "high", "low", "neither"]


class Explanation(Config):
    """What is said about one name.

    Attributes:
        what: what it is, one or two sentences.
        formula: its formula or procedure, lines kept as they are.
        range: values it can take, in words; empty where the thing itself says so.
        better: which values are good; empty where the thing itself says so.
        read: how to read a value.
        pitfalls: what misleads, most serious first.
        cite: keys of the bibliography, each with the section or equation ("" for the whole).
        page: page of the documentation.
    """

    what: str
    formula: str
    read: str
    pitfalls: tuple[str, ...] = ()
    range: str = ""
    better: Better = ""
    cite: Mapping[str, str] = {}
    page: str = ""


@cache
def explanations(kind: str) -> dict[str, Explanation]:
    """Everything explained of a kind, by name.

    An entry with ``like: OTHER`` takes over what it does not say itself; pitfalls and works of
    both count. Entries that begin with an underscore are only there to be taken over.

    Args:
        kind: name of a file in ``explained/`` ("measures", "properties", ...).

    Raises:
        UnknownNameError: no such kind.
        ConfigError: the file is malformed.
    """
    path = FOLDER / f"{kind}.yaml"
    if kind not in kinds():
        raise unknown_name("kind of explanation", kind, kinds())
    held = read_yaml(path)
    return {
        name: build(Explanation, _whole(held, name, path), source=f"{path.name}: {name}")
        for name in held
        if not name.startswith("_")
    }


def kinds() -> list[str]:
    """Kinds that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _whole(held: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """An entry with what it takes over."""
    own = dict(held[name])
    other = own.pop("like", None)
    if other is None:
        return own
    if other not in held:
        raise ConfigError(f"{path.name}: {name} is like an entry that is not there", got=str(other))
    base = _whole(held, other, path)
    whole = {**base, **own}
    whole["pitfalls"] = [*own.get("pitfalls", ()), *base.get("pitfalls", ())]
    cite = own.get("cite", {})  # first, and its sections count
    whole["cite"] = {**cite, **{k: v for k, v in base.get("cite", {}).items() if k not in cite}}
    return whole
