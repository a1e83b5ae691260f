"""Units with labels: the mean over the frames of every labelled span (phones, words, ...)."""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections.abc import Sequence
from typing import Any

import torch

from voxstrata.errors import LabelError
from voxstrata.streaming.spans import Part, Rule, frames_of_span
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.units import UnitRows
from voxstrata.types import FrameGrid, Segment, Utterance

SILENCES = frozenset({"", "SIL", "sil", "SPN", "spn", "sp", "<unk>", "<eps>", "<sil>", "[SILENCE]"})
"""Labels that mark no speech sound or no word, left out by default."""

LABEL_SLACK_S = 0.02
"""How far a span may reach beyond the audio before it is counted as cut: a frame; labels are
rounded to their own grids."""


_STRESSED = re.compile(r"^([A-Z]{1,2})[012]$")


def stress_free(label: str) -> str:
    """A phone without the stress digit of ARPABET ("AH0" is "AH").

    Digits of other phone sets stay: they are vowels (SAMPA "9") and tones ("an4").
    """
    return _STRESSED.sub(r"\1", label)


class SegmentUnit:
    """One row a labelled span.

    Args:
        name: unit name ("phone", "word").
        tier: interval tier to read.
        rule: how a span meets frames (:mod:`.spans`).
        part: whole span or its middle third (P2023 takes the middle third of phones).
        per_type: seeded cap on rows of one label over the corpus; ``None`` for no cap.
        skip: labels that are left out.
        min_s, max_s: shortest and longest span that gives a row, seconds.
    """

    def __init__(
        self,
        name: str,
        tier: str,
        *,
        rule: Rule = "centre",
        part: Part = "whole",
        per_type: int | None = None,
        skip: frozenset[str] = SILENCES,
        min_s: float = 0.0,
        max_s: float | None = None,
    ) -> None:
        self.name = name
        self.tier: str | None = tier
        self.tier_name = tier
        self.rule, self.part, self.per_type, self.skip = rule, part, per_type, skip
        self.min_s, self.max_s = min_s, math.inf if max_s is None else max_s
        self._chosen: dict[str, frozenset[int]] | None = None
        self._capped = 0

    def accepts(self, layer: StackLayer) -> bool:
        """Layers with a time axis."""
        return layer.info.kind == "frame"

    def prepare(self, utterances: Sequence[Utterance], seed: int) -> None:
        """Check that the tier exists and draw the spans to keep.

        The draw orders spans by a hash of (seed, utterance, position), so it depends neither
        on the order of the corpus nor on which other recordings are in it.

        Raises:
            LabelError: no recording has the tier.
        """
        if not any(utterance.segments(self.tier_name) for utterance in utterances):
            present = sorted({tier for u in utterances for tier in u.tiers})
            raise LabelError(
                f"the unit {self.name!r} needs the tier {self.tier_name!r}, which no recording has",
                got=f"tiers {', '.join(present) or '(none)'}",
                fix="choose another unit, or attach alignments (docs/corpora.md)",
            )
        self._chosen, self._capped = None, 0
        if self.per_type is None:
            return
        by_type: dict[str, list[tuple[bytes, str, int]]] = {}
        for utterance in utterances:
            for position, span in enumerate(utterance.segments(self.tier_name)):
                if self._unusable(span, utterance) is None:
                    rank = hashlib.sha256(f"{seed}|{utterance.id}|{position}".encode()).digest()[:8]
                    by_type.setdefault(span.label, []).append((rank, utterance.id, position))
        chosen: dict[str, set[int]] = {}
        for spans in by_type.values():
            self._capped += max(0, len(spans) - self.per_type)
            for _, name, position in heapq.nsmallest(self.per_type, spans):
                chosen.setdefault(name, set()).add(position)
        self._chosen = {name: frozenset(found) for name, found in chosen.items()}

    def _unusable(self, span: Segment, utterance: Utterance) -> str | None:
        """Why a span can give no row, as far as its label and times tell."""
        if span.label in self.skip:
            return "silence or unknown"
        if span.end_s <= span.start_s:
            return "empty span"
        if span.start_s >= utterance.duration_s or span.end_s <= 0:
            return "outside the audio"
        # a hair of tolerance: label times are decimal
        if not self.min_s - 1e-6 <= span.end_s - span.start_s <= self.max_s + 1e-6:
            return "shorter or longer than asked for"
        return None

    def _spans(self, utterance: Utterance, dropped: dict[str, int]) -> list[Segment]:
        kept = []
        allowed = None if self._chosen is None else self._chosen.get(utterance.id, frozenset())
        for position, span in enumerate(utterance.segments(self.tier_name)):
            reason = self._unusable(span, utterance)
            if reason is not None:
                _add(dropped, reason)
            elif allowed is not None and position not in allowed:
                _add(dropped, f"over the cap of {self.per_type} a type")
            else:
                kept.append(span)
        return kept

    def _frames(
        self, spans: list[Segment], shapes: list[tuple[FrameGrid, int]], dropped: dict[str, int]
    ) -> tuple[list[Segment], dict[tuple[FrameGrid, int], list[tuple[int, int]]]]:
        """Spans that have frames in every layer, and those frames for each distinct grid."""
        kept: list[Segment] = []
        bounds: dict[tuple[FrameGrid, int], list[tuple[int, int]]] = {s: [] for s in shapes}
        for span in spans:
            found = {
                shape: frames_of_span(
                    span.start_s, span.end_s, *shape, rule=self.rule, part=self.part
                )
                for shape in bounds
            }
            usable = {
                shape: (max(pair[0], 0), min(pair[1], shape[1]))
                for shape, pair in found.items()
                if pair is not None and pair[0] < shape[1] and pair[1] > 0
            }
            if len(usable) < len(bounds):
                _add(dropped, "no frame in some layer")
                continue
            kept.append(span)
            for shape, pair in usable.items():
                bounds[shape].append(pair)
        return kept, bounds

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Mean of every span's frames, one row a span, in label order."""
        dropped: dict[str, int] = {}
        shapes = [
            (layer.info.grid, len(output))
            for layer, output in zip(layers, outputs, strict=True)
            if layer.info.grid is not None
        ]
        spans, bounds = self._frames(self._spans(utterance, dropped), shapes, dropped)
        noted: dict[str, int] = {}
        for span in spans:
            after = span.end_s > utterance.duration_s + LABEL_SLACK_S
            if after or span.start_s < -LABEL_SLACK_S:
                _add(noted, "reaches beyond the audio (cut, kept)")
        values = []
        for output, shape in zip(outputs, shapes, strict=True):
            wide = output if output.dtype == torch.float64 else output.float()
            pieces = [wide[first:last].mean(dim=0) for first, last in bounds[shape]]
            values.append(torch.stack(pieces) if pieces else wide[:0])
        return UnitRows(
            values,
            [span.start_s for span in spans],
            [span.end_s for span in spans],
            [span.label for span in spans],
            dropped,
            noted,
        )

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Spans that will give a row."""
        shapes = [
            (layer.info.grid, count)
            for layer, count in zip(layers, frames, strict=True)
            if layer.info.grid is not None
        ]
        return len(self._frames(self._spans(utterance, {}), shapes, {})[0])

    def describe(self) -> dict[str, Any]:
        """Settings and what the cap left out."""
        return {
            "unit": self.name,
            "tier": self.tier,
            "rule": self.rule,
            "part": self.part,
            "per_type": self.per_type,
            "left out by the cap": self._capped,
            "labels left out": sorted(self.skip),
            "min_s": self.min_s,
            "max_s": self.max_s if math.isfinite(self.max_s) else None,
        }


def _add(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1
