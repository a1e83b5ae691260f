"""Units by name. A factory takes the span options and returns a fresh unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from voxstrata.registry import Registry
from voxstrata.streaming.spans import Part, Rule
from voxstrata.streaming.units import Unit

UnitFactory = Callable[..., Unit]

UNITS: Registry[UnitFactory] = Registry("unit", "voxstrata.units")
UNITS.add("frame", "voxstrata.streaming.registry:frame", "every frame, on a common time grid")
UNITS.add("phone", "voxstrata.streaming.registry:phone", "mean over each labelled phone")
UNITS.add("word", "voxstrata.streaming.registry:word", "mean over each labelled word")
UNITS.add("utterance", "voxstrata.streaming.registry:utterance", "mean over each recording")


def frame(**_: Any) -> Unit:
    """The frame unit."""
    from voxstrata.streaming.unit_frame import FrameUnit

    return FrameUnit()


def utterance(**_: Any) -> Unit:
    """The utterance unit."""
    from voxstrata.streaming.unit_frame import UtteranceUnit

    return UtteranceUnit()


def phone(*, rule: Rule = "centre", part: Part = "whole", per_type: int | None = None) -> Unit:
    """The phone unit (tier ``phones``)."""
    from voxstrata.streaming.unit_segment import SegmentUnit

    return SegmentUnit("phone", "phones", rule=rule, part=part, per_type=per_type)


def word(*, rule: Rule = "centre", part: Part = "whole", per_type: int | None = None) -> Unit:
    """The word unit (tier ``words``)."""
    from voxstrata.streaming.unit_segment import SegmentUnit

    return SegmentUnit("word", "words", rule=rule, part=part, per_type=per_type)


def make_unit(
    name: str,
    *,
    rule: Rule = "centre",
    part: Part = "whole",
    per_type: int | None = None,
) -> Unit:
    """The unit called ``name``.

    Args:
        name: registered name.
        rule, part, per_type: span options; units without spans ignore them.

    Raises:
        UnknownNameError: no such unit.
    """
    return UNITS.get(name)(rule=rule, part=part, per_type=per_type)
