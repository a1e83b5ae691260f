"""Properties ``abx-phone`` and ``abx-phone-mean`` (docs/properties/abx.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.linear.targets import stress_free
from voxstrata.properties.property import PERMUTED, Property, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.abx import Items, abx, choose_items, groups_of
from voxstrata.properties.tasks.discrimination_property import TRAINING_FREE
from voxstrata.properties.tasks.dtw import dtw_distances, frame_distances, prepared
from voxstrata.properties.tasks.same_different import codes
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.unit_segment import SILENCES

Ints = NDArray[np.int64]

_ABX, _ABX_CONTROL, _ABX_GROUPS = 4103, 4104, 4105
_UNIT = (0.0, 1.0)

ABX_ITEMS = 1000
"""Items of one warped task: half a million pairs of sequences."""
ABX_MEAN_ITEMS = 2000
ABX_CAP = 10
"""Tokens of one phone, context and speaker, as in libri-light."""
ABX_CELLS = 100
"""With fewer cells, matching triphones say too little, and the published scale refuses."""


@dataclass(frozen=True)
class Tokens:
    """Phone tokens of a sample, position by position.

    Attributes:
        first, frames: first entry and number of entries in ``order``, [n].
        order: rows of the sample, recording by recording in time.
        phone: labels without stress digits.
        context: (phone before, phone after).
        speaker: of the recording.
        lost: tokens without a row (no frame's centre lies in them, or the sample's cap).
    """

    first: Ints
    frames: Ints
    order: Ints
    phone: list[str]
    context: list[tuple[str, str]]
    speaker: list[str]
    lost: int


def _spans(sample: Sample, utterance: str) -> list[tuple[float, float, str, tuple[str, str]]]:
    """Start, end, phone and context of every phone of a recording; silences are context only."""
    tier = sample.utterances[utterance].segments("phones")
    names = [stress_free(s.label) if s.label not in SILENCES else "SIL" for s in tier]
    padded = ["SIL", *names, "SIL"]
    return [
        (s.start_s, s.end_s, name, (padded[i], padded[i + 2]))
        for i, (s, name) in enumerate(zip(tier, names, strict=True))
        if name != "SIL" and s.end_s > s.start_s
    ]


def tokens_of(sample: Sample) -> Tokens:
    """The phones of a sample: rows whose centre lies in a phone (unit "sequence"), or the row
    that is the phone itself (unit "phone")."""
    centre = (sample.start_s + sample.end_s) / 2
    speakers = sample.groups("speaker")
    recordings = groups_of(codes([str(u) for u in sample.utterance]))
    order: list[Ints] = []
    first, frames, phone, context, speaker = [], [], [], [], []
    done = lost = 0
    for rows in recordings:
        rows = rows[np.argsort(centre[rows], kind="stable")]
        order.append(rows)
        known = {
            (round(float(sample.start_s[r]), 6), round(float(sample.end_s[r]), 6)): i
            for i, r in enumerate(rows)
        }
        for start, end, name, around in _spans(sample, str(sample.utterance[rows[0]])):
            if sample.unit == "sequence":
                low, high = np.searchsorted(centre[rows], (start - 1e-9, end - 1e-9))
            else:
                low = known.get((round(start, 6), round(end, 6)), -1)
                high = low + 1 if low >= 0 else low
            if high <= low:
                lost += 1
                continue
            first.append(done + int(low))
            frames.append(int(high - low))
            phone.append(name)
            context.append(around)
            speaker.append(str(speakers[rows[0]]))
        done += len(rows)
    return Tokens(
        np.array(first, dtype=np.int64),
        np.array(frames, dtype=np.int64),
        np.concatenate(order) if order else np.empty(0, dtype=np.int64),
        phone,
        context,
        speaker,
        lost,
    )


@dataclass(frozen=True)
class _Task:
    """One choice of items: with matching triphones, or in any context."""

    suffix: str
    chosen: Ints
    items: Items
    control: Items
    pairs: Ints

    def modes(self) -> list[tuple[str, bool]]:
        """Which of within and across have cells."""
        none = np.zeros((len(self.items),) * 2)
        both = (("within", False), ("across", True))
        return [
            (name, mode) for name, mode in both if len(abx(none, self.items, across=mode).cells)
        ]


@dataclass
class _AbxDraw:
    order: torch.Tensor
    first: Ints
    frames: Ints
    tasks: list[tuple[_Task, list[tuple[str, bool]]]]
    warped: bool
    seed: int
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Accuracy of every task and mode, and with phones permuted."""
        ordered = rows[self.order]
        out = []
        for task, modes in self.tasks:
            distances = self._distances(ordered, task)
            for name, across in modes:
                for control, items in (("", task.items), (PERMUTED, task.control)):
                    found = abx(distances, items, across=across)
                    error, groups = None, 0
                    if not control:
                        error, groups = found.error(np.random.default_rng([self.seed, _ABX_GROUPS]))
                    out.append(
                        Score(
                            measure=f"accuracy-{name}{task.suffix}",
                            value=found.accuracy,
                            error=error,
                            n=found.triples,
                            groups=groups,
                            d=rows.shape[1],
                            estimator=TRAINING_FREE,
                            control=control,
                            bounds=_UNIT,
                        )
                    )
        return out

    def _distances(self, ordered: torch.Tensor, task: _Task) -> NDArray[np.float64]:
        first, frames = self.first[task.chosen], self.frames[task.chosen]
        if not self.warped:
            unit = prepared(ordered[torch.from_numpy(first)], "angular")
            return frame_distances(unit, unit, "angular")
        out = np.zeros((len(first), len(first)))
        i, j = task.pairs.T
        out[i, j] = out[j, i] = dtw_distances(ordered, first, frames, task.pairs)
        return out


@dataclass(frozen=True)
class AbxPhone(PropertyFacts):
    """ABX of phones (docs/properties/abx.md)."""

    budget: int = ABX_ITEMS

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> _AbxDraw:
        """Items within the budget, for matching triphones and for any context.

        Raises:
            TooFewError: too few cells with matching triphones (published scale), or no cell at
                all.
        """
        tokens = tokens_of(sample)
        rng = np.random.default_rng([seed, _ABX])
        matched = _task("", tokens, codes(tokens.context), self.budget, rng, seed)
        loose = _task(
            "-any-context", tokens, np.zeros(len(tokens.phone), np.int64), self.budget, rng, seed
        )
        empty = np.zeros((len(matched.items),) * 2)
        cells = len(abx(empty, matched.items, across=False).cells)
        facts: dict[str, Any] = {
            "tokens": len(tokens.phone),
            "phones without a row": tokens.lost,
            "item budget": self.budget,
            "cells with matching triphones": cells,
            "distance": "angular, warped" if sample.unit == "sequence" else "angular of means",
        }
        tasks = [matched, loose]
        if cells < ABX_CELLS:
            if settings.scale == "published":
                raise TooFewError(
                    f"{self.name} finds too few pairs of phones in matching triphones",
                    got=f"{cells} (speaker, context, phone, phone) cells in {len(tokens.phone)} "
                    "phones",
                    expected=f"at least {ABX_CELLS}",
                    fix="--scale small (phones in any context), or more audio (sequence_s)",
                )
            facts["reduced"] = {"context": {"published": "triphone", "used": "any"}}
            tasks = [replace(loose, suffix="")]
        with_modes = [(task, task.modes()) for task in tasks]
        if not any(name == "within" for name, _ in with_modes[0][1]):
            raise TooFewError(
                f"{self.name} needs a speaker with two phones, one of them twice",
                got=f"{len(tokens.phone)} phones",
                expected="some recordings with the tier 'phones'",
                fix="give more recordings",
            )
        facts["items"] = {task.suffix or "main": len(task.items) for task in tasks}
        notices = []
        if len(set(tokens.speaker)) < 2:
            notices.append("one speaker: ABX across speakers is not defined")
        return _AbxDraw(
            torch.from_numpy(tokens.order),
            tokens.first,
            tokens.frames,
            with_modes,
            sample.unit == "sequence",
            seed,
            facts,
            notices,
        )


def _task(
    suffix: str, tokens: Tokens, context: Ints, budget: int, rng: np.random.Generator, seed: int
) -> _Task:
    every = Items(codes(tokens.phone), context, codes(tokens.speaker))
    chosen = choose_items(every, budget, ABX_CAP, rng)
    items = every.take(chosen)
    found = [np.stack(np.triu_indices(len(g), 1), axis=1) for g in groups_of(items.context)]
    pairs = [g[p] for g, p in zip(groups_of(items.context), found, strict=True)]
    return _Task(
        suffix,
        chosen,
        items,
        items.permuted(np.random.default_rng([seed, _ABX_CONTROL])),
        np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64),
    )


def abx_phone(argument: str) -> Property:
    """``abx-phone``."""
    no_argument("abx-phone", argument)
    return AbxPhone(
        "abx-phone",
        "phone ABX, warped frames (accuracy)",
        "task",
        "sequence",
        "accuracy-within",
        tiers=("phones",),
    )


def abx_phone_mean(argument: str) -> Property:
    """``abx-phone-mean``."""
    no_argument("abx-phone-mean", argument)
    return AbxPhone(
        "abx-phone-mean",
        "phone ABX, mean vectors (accuracy)",
        "task",
        "phone",
        "accuracy-within",
        tiers=("phones",),
        budget=ABX_MEAN_ITEMS,
    )
