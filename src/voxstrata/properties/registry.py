"""Properties by name: a name is ``NAME`` or ``NAME:ARGUMENT`` (``cca-tier:channel``).

An entry points at a factory that takes the argument ("" without one) and returns a property.
"""

from __future__ import annotations

from collections.abc import Callable

from voxstrata.errors import UsageError
from voxstrata.properties.property import Property
from voxstrata.registry import Registry

PropertyFactory = Callable[[str], Property]

PROPERTIES: Registry[PropertyFactory] = Registry("property", "voxstrata.properties")

_HERE = "voxstrata.properties"
for _name, _target, _summary in (
    ("variance-shares", "disentangle:shares", "variance by phone, speaker, interaction"),
    ("phone-gap", "disentangle:gap", "phone probe on known less on new speakers"),
    (
        "phone-speaker-angles",
        "disentangle:angles",
        "overlap of the phone and speaker subspaces",
    ),
):
    PROPERTIES.add(_name, f"{_HERE}.{_target}", _summary)

TAKES_ARGUMENT = frozenset(
    {"cca-tier", "cca-table", "cca-vectors", "cca-attributes", "cca-model", "linear", "mi"}
)
"""Names that mean nothing without an argument."""

TIER_SHORTCUTS = frozenset({"speaker", "gender", "emotion", "channel"})
"""Tiers whose ``cca-tier:TIER`` is also called ``cca-TIER``."""


def make_property(name: str) -> Property:
    """The property called ``name``.

    Raises:
        UnknownNameError: no such property.
        UsageError: an argument is needed or not taken (raised by the factory).
    """
    base, _, argument = name.partition(":")
    return PROPERTIES.get(base)(argument)


def no_argument(name: str, argument: str) -> None:
    """Refuse an argument to a property that takes none.

    Raises:
        UsageError: there is one.
    """
    if argument:
        raise UsageError(
            f"the property {name!r} takes no argument",
            got=f"{name}:{argument}",
            expected=name,
        )
