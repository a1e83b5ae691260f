"""Kinds of training, by the recipe: networks, which learn by gradients, and what does not.

A kind is one room with a ``KIND`` and one line here; a third party adds one through the entry-point
group ``voxstrata.training_kinds``. A recipe says ``kind: NAME`` (none: a network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from voxstrata.config import read_yaml
from voxstrata.errors import ConfigError
from voxstrata.registry import Registry, unknown_name

if TYPE_CHECKING:
    from voxstrata.results import Results
    from voxstrata.streaming.runs import Hooks, Overwrite


class TrainingKind(Protocol):
    """What the command needs of a kind; settings and prepared runs are its own."""

    def names(self) -> Mapping[str, str]:
        """Its recipes, each with a line."""
        ...

    def read(self, text: str | Path, changes: Sequence[str] = ()) -> Any:
        """Settings from a recipe's name or a YAML file, with changes."""
        ...

    def prepare(self, config: Any) -> Any:
        """Check everything, compute nothing."""
        ...

    def plan(self, prepared: Any) -> list[str]:
        """What is about to happen, in lines."""
        ...

    def processes(self, config: Any) -> AbstractContextManager[bool]:
        """Join other processes; gives whether this one is the first."""
        ...

    def run(self, config: Any, out: Path, *, overwrite: Overwrite, hooks: Hooks[Any]) -> Results:
        """Do it."""
        ...


KINDS: Registry[TrainingKind] = Registry("kind of training", "voxstrata.training_kinds")
KINDS.add("network", "voxstrata.training.network:KIND", "by gradients: ECAPA-TDNN, MelHuBERT")
KINDS.add("ivector", "voxstrata.training.ivector.kind:KIND", "i-vector extractors")


def find_kind(recipe: str | Path) -> TrainingKind:
    """The kind of a recipe's name, or of a YAML file.

    Raises:
        UnknownNameError: neither a file nor a recipe; or the file names no kind that there is.
        ConfigError: the file is no YAML.
    """
    path = Path(recipe).expanduser()
    if path.is_file():
        named = read_yaml(path).get("kind", "network")
        if not isinstance(named, str):
            raise ConfigError(f"{path}: kind", got=repr(named), expected="a name")
        return KINDS.get(named)
    for name in KINDS.names():
        if str(recipe) in KINDS.get(name).names():
            return KINDS.get(name)
    raise unknown_name("training recipe or file", str(recipe), list(recipes()))


def recipes() -> dict[str, str]:
    """Recipes of all kinds, each with a line."""
    found: dict[str, str] = {}
    for name in KINDS.names():
        found |= KINDS.get(name).names()
    return dict(sorted(found.items()))
