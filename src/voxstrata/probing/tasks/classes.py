"""Tasks that give every recording a class: any scalar tier can be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from voxstrata.config import Config
from voxstrata.errors import LabelError, UsageError
from voxstrata.probing.divide import divide, grouped
from voxstrata.probing.sources import Material
from voxstrata.probing.task import PARTS, Examples, Round, TaskData, class_numbers, nothing_for
from voxstrata.types import Utterance

ABSENT = "(none)"
"""The class of a recording that lacks a slot which others have."""


class ClassTask(Config):
    """A task whose targets are classes of whole recordings, as a YAML file states it.

    Attributes:
        name, title, summary: what it is called, and in a line what it asks.
        head: "utterance".
        targets: for each group of classes the tier that holds it, or the first of several tiers
            that the recordings have; ``slots.*`` makes a group of every slot. The example is right
            when all groups are; "group-accuracy" scores each group by itself.
        otherwise: targets to use where a tier of ``targets`` is not there at all.
        keep: values a tier must have for a recording to count.
        bins: for a tier of numbers, the upper edges of its classes.
        least: recordings a class needs in the whole corpus; classes with fewer are left out.
        measures: scores; the first one chooses.
        speakers: "apart" (test speakers are not in training), "same" (every class has recordings in
            all parts: speakers are the classes) or "any".
        fractions: shares of train, dev and test where a split is made here.
    """

    name: str
    title: str
    summary: str
    head: Literal["utterance"] = "utterance"
    targets: dict[str, str]
    otherwise: dict[str, str] = Field(default_factory=dict)
    keep: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    bins: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    least: Annotated[int, Field(ge=1)] = 3
    measures: tuple[Literal["accuracy", "group-accuracy", "balanced-accuracy", "macro-f1"], ...] = (
        "accuracy",
    )
    better: Literal["higher"] = "higher"
    speakers: Literal["apart", "same", "any"] = "apart"
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)

    @field_validator("keep", mode="before")
    @classmethod
    def _one_value(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return {k: (v,) if isinstance(v, str) else tuple(v) for k, v in given.items()}
        return given

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers it reads."""
        return tuple(tier.partition(".")[0] for tier in self.targets.values())

    def data(self, material: Material, seed: int) -> TaskData:
        """See :class:`voxstrata.probing.task.Task`."""
        everything = [u for part in material.parts.values() for u in part]
        wanted = self._targets(everything)
        dropped: Counter[str] = Counter()
        labelled: dict[str, list[tuple[Utterance, tuple[str, ...]]]] = {}
        for part, utterances in material.parts.items():
            labelled[part] = []
            for utterance in utterances:
                labels = self._labels(utterance, wanted)
                if isinstance(labels, str):
                    dropped[labels] += 1
                else:
                    labelled[part].append((utterance, labels))
        self._leave_out_rare(labelled, dropped)
        if not any(labelled.values()):
            raise UsageError(
                f"no recording is left for the task {self.name!r}",
                got="; ".join(f"{n} left out: {why}" for why, n in dropped.items()),
                expected=f"classes with at least {self.least} recordings",
                fix="use a larger corpus",
            )
        notes: list[str] = []
        rounds = [
            (name, parts)
            for name, parts in divide(
                labelled, self.speakers, self.fractions, seed, material.source, notes
            )
        ]
        classes = self._classes([parts for _, parts in rounds], wanted)
        made = tuple(self._round(name, parts, classes, dropped) for name, parts in rounds)
        return TaskData(classes, made, tuple(notes), dict(dropped))

    def _targets(self, utterances: Sequence[Utterance]) -> dict[str, str]:
        present = {tier for u in utterances for tier in u.tiers}
        for choice in (self.targets, self.otherwise):
            lacking = [t for t in choice.values() if t.partition(".")[0] not in present]
            if choice and not lacking:
                return self._told_apart(_spread(choice, utterances), choice, utterances)
        needed = " and ".join(self.targets.values())
        if self.otherwise:
            needed += f", or {' and '.join(self.otherwise.values())}"
        raise LabelError(
            f"the task {self.name!r} needs a tier that no recording has",
            got=f"tiers {', '.join(sorted(present)) or '(none)'}",
            expected=needed,
            fix=f"name another corpus for {self.name} in the corpus map, or leave the task out",
        )

    def _told_apart(
        self,
        wanted: dict[str, str],
        choice: Mapping[str, str],
        utterances: Sequence[Utterance],
    ) -> dict[str, str]:
        """Groups that were not asked for by name are left out where they have one class."""
        kept = {}
        for name, tier in wanted.items():
            counts = Counter(str(_value(u, tier)) for u in utterances)
            known = sum(n >= self.least for n in counts.values())
            if name in choice or known > 1:
                kept[name] = tier
        return kept or wanted

    def _labels(self, utterance: Utterance, wanted: Mapping[str, str]) -> tuple[str, ...] | str:
        """Its classes, or why it is left out."""
        for tier, values in self.keep.items():
            if str(utterance.tiers.get(tier)) not in values:
                return f"{tier} is another than {' or '.join(values)}"
        labels = []
        for tier in wanted.values():
            value = _value(utterance, tier)
            if value is None or value == "":
                return f"no {tier}"
            if tier in self.bins:
                try:
                    number = float(value)
                except (TypeError, ValueError):
                    return f"{tier} is not a number"
                value = _bin(number, self.bins[tier])
            labels.append(str(value))
        return tuple(labels)

    def _leave_out_rare(
        self,
        labelled: dict[str, list[tuple[Utterance, tuple[str, ...]]]],
        dropped: Counter[str],
    ) -> None:
        width = len(next((x[1] for part in labelled.values() for x in part), ()))
        for group in range(width):
            counts = Counter(x[1][group] for part in labelled.values() for x in part)
            rare = {label for label, n in counts.items() if n < self.least}
            for part, held in labelled.items():
                kept = [x for x in held if x[1][group] not in rare]
                if len(kept) < len(held):
                    dropped[f"class with fewer than {self.least} recordings"] += len(held) - len(
                        kept
                    )
                labelled[part] = kept

    def _classes(
        self,
        rounds: Sequence[Mapping[str, Sequence[tuple[Utterance, tuple[str, ...]]]]],
        wanted: Mapping[str, str],
    ) -> dict[str, tuple[str, ...]]:
        """Classes in training, sorted; the classes of all rounds together."""
        found: list[set[str]] = [set() for _ in wanted]
        for parts in rounds:
            for _, labels in parts["train"]:
                for group, label in zip(found, labels, strict=True):
                    group.add(label)
        for name, group in zip(wanted, found, strict=True):
            if len(group) < 2:
                raise UsageError(
                    f"the task {self.name!r} has fewer than two classes of {name} to tell apart",
                    got=f"{len(group)} with at least {self.least} recordings in training",
                    expected="at least 2",
                    fix="use a larger corpus",
                )
        return {name: tuple(sorted(g)) for name, g in zip(wanted, found, strict=True)}

    def _round(
        self,
        name: str,
        parts: Mapping[str, Sequence[tuple[Utterance, tuple[str, ...]]]],
        classes: Mapping[str, tuple[str, ...]],
        dropped: Counter[str],
    ) -> Round:
        known = list(classes.values())
        made: dict[str, Examples] = {}
        for part in PARTS:
            held = parts[part]
            columns = [
                class_numbers([labels[g] for _, labels in held], known[g])
                for g in range(len(known))
            ]
            targets = np.stack(columns, axis=1) if held else np.zeros((0, len(known)), np.int64)
            heard = np.ones(len(held), dtype=bool)
            if part != "train" and "train" in made:
                for g in range(len(known)):
                    heard &= np.isin(targets[:, g], np.unique(made["train"].targets[:, g]))
            if not heard.all():
                dropped[f"class of {part} that is not in training"] += int((~heard).sum())
            kept = [u for (u, _), good in zip(held, heard, strict=True) if good]
            if not kept:
                raise nothing_for(
                    self.name,
                    part,
                    dropped,
                    "recordings in train, dev and test, of classes that are in training",
                )
            made[part] = Examples(
                tuple(u.id for u in kept), targets[heard], tuple(grouped(u) for u in kept)
            )
        return Round(name, made)


def _value(utterance: Utterance, tier: str) -> Any:
    name, _, key = tier.partition(".")
    found = utterance.tiers.get(name)
    if not key:
        return found
    return found.get(key, ABSENT) if isinstance(found, Mapping) else None


def _spread(choice: Mapping[str, str], utterances: Sequence[Utterance]) -> dict[str, str]:
    """``slots.*`` becomes a group of every slot that some recording has."""
    wanted: dict[str, str] = {}
    for name, tier in choice.items():
        base, _, key = tier.partition(".")
        if key != "*":
            wanted[name] = tier
            continue
        held = {k for u in utterances for k in (u.tiers.get(base) or {})}
        wanted |= {slot: f"{base}.{slot}" for slot in sorted(held)}
    return wanted


def _bin(number: float, edges: Sequence[float]) -> str:
    below = sum(number >= edge for edge in edges)
    low = "" if below == 0 else f"{edges[below - 1]:g}"
    high = "" if below == len(edges) else f"{edges[below]:g}"
    return f"{low} to {high}" if low and high else (f"under {high}" if high else f"{low} or more")
