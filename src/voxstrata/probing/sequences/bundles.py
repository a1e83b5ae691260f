"""Which frame heads are trained side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.linear.probes import Plan, Probe

HEADS = 20
"""Heads side by side, at most: beyond some 300 rows a step costs as much more as it does."""

LOGITS = 8 << 20
"""Numbers in the logits of a batch, at most."""


def together(longest: int, classes: int, plan: Plan) -> int:
    """Heads that are trained side by side.

    Args:
        longest: frames of the longest recording.
        classes: symbols V.
        plan: size of a batch.
    """
    return max(1, min(HEADS, LOGITS // max(1, longest * plan.batch * classes)))


def bundles(features: FrameFeatures, probes: Sequence[Probe], most: int) -> list[list[int]]:
    """Positions of probes that share batches, ``most`` or fewer each, the largest first.

    Those of one seed have the same batches, as long as layers have the same frames whatever they
    are read with.
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    for i, probe in enumerate(probes):
        reads = () if one_grid(features) else probe.layers
        alike.setdefault((probe.seed, reads), []).append(i)
    found = []
    for members in alike.values():
        # Heads on the same layers side by side: their frames are multiplied once.
        members.sort(key=lambda i: probes[i].layers)
        parts = -(-len(members) // most)
        size = -(-len(members) // parts)
        found += [members[i : i + size] for i in range(0, len(members), size)]
    return sorted(found, key=len, reverse=True)


def one_grid(features: FrameFeatures) -> bool:
    """Whether a layer has the same frames whatever it is read with."""
    return len({info.grid for info in features.infos if info.kind == "frame"}) == 1
