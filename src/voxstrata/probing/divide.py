"""Train, dev and test: the corpus's own parts where it has them, else seeded ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from voxstrata.corpora.selection import apportion, rank
from voxstrata.errors import UsageError
from voxstrata.probing.sources import TaskSource
from voxstrata.probing.task import PARTS
from voxstrata.types import Utterance

L = TypeVar("L")
Labelled = Sequence[tuple[Utterance, L]]
Speakers = Literal["apart", "same", "any"]

OFFICIAL = "split"
"""A tier that says to which part a recording belongs."""

NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}


def grouped(utterance: Utterance) -> str:
    """What intervals resample: the speaker, or the recording where there is none."""
    speaker = utterance.tiers.get("speaker")
    return utterance.id if speaker is None else str(speaker)


def divide(
    held: Mapping[str, Labelled[L]],
    speakers: Speakers,
    fractions: tuple[float, float, float],
    seed: int,
    source: TaskSource,
    notes: list[str],
) -> Iterator[tuple[str, dict[str, Labelled[L]]]]:
    """Rounds of train, dev and test.

    Args:
        held: labelled recordings by part, as the corpus map gave them.
        speakers: what splits made here do with speakers.
        fractions: shares of train, dev and test.
        seed: of splits made here.
        source: the entry of the corpus map.
        notes: filled with sentences on whose split it is.

    Yields:
        name of the round, and its recordings by part.

    Raises:
        UsageError: there is too little for a split.
    """
    for name, parts in _rounds(held, speakers, fractions, seed, source, notes):
        _check(parts, speakers, notes, folds=bool(source.folds))
        yield name, parts


def _rounds(
    held: Mapping[str, Labelled[L]],
    speakers: Speakers,
    fractions: tuple[float, float, float],
    seed: int,
    source: TaskSource,
    notes: list[str],
) -> Iterator[tuple[str, dict[str, Labelled[L]]]]:
    if source.folds:
        yield from _folds(held, fractions, seed, notes)
        return
    parts = dict(held)
    if "all" in held:
        official = _official(held["all"], notes)
        if official is None:
            known = all(item[0].tiers.get("speaker") is not None for item in held["all"])
            how = {
                "apart": "no test speaker is in training"
                if known
                else "by recording: speakers are not known",
                "same": "every class is in all parts",
                "any": "by recording",
            }[speakers]
            notes.append(f"The parts are a seeded split, not an official one ({how}).")
            shares = dict(zip(PARTS, fractions, strict=True))
            yield "", _split(held["all"], speakers, shares, seed)
            return
        parts = official
    if "train" not in parts:
        raise UsageError(
            "a task that is trained has no training part",
            got=", ".join(parts),
            expected="`train` and `test` (and `dev`) in its entry of the corpus map",
        )
    if "dev" not in parts:
        share = fractions[1] / (fractions[0] + fractions[1])
        two = _split(parts["train"], speakers, {"train": 1 - share, "dev": share}, seed)
        parts |= two
        notes.append("The dev part is a seeded split of the training part.")
    yield "", parts


def _check(
    parts: Mapping[str, Labelled[L]], speakers: Speakers, notes: list[str], *, folds: bool
) -> None:
    """Refuse recordings in two parts; say where speakers are in two that should not be.

    Raises:
        UsageError: a recording is in training and test, or in dev and test.
    """
    test = {item[0].id for item in parts["test"]}
    for part in ("train", "dev"):
        both = sorted(test & {item[0].id for item in parts[part]})
        if both:
            raise UsageError(
                f"recordings are in both {part} and test",
                got=f"{len(both)}, such as {both[0]}",
                expected="parts that share no recording",
                fix="name other corpora for the parts in the corpus map",
            )
    if speakers == "apart" and not folds:
        heard, tested = (
            {str(item[0].tiers["speaker"]) for item in parts[part] if item[0].tiers.get("speaker")}
            for part in ("train", "test")
        )
        if shared := heard & tested:
            notes.append(f"{len(shared)} of {len(tested)} test speakers are in training too.")


def _official(held: Labelled[L], notes: list[str]) -> dict[str, Labelled[L]] | None:
    """The corpus's own parts: training and test, and dev where there is one."""
    parts: dict[str, list[tuple[Utterance, L]]] = {part: [] for part in PARTS}
    for item in held:
        name = NAMES.get(str(item[0].tiers.get(OFFICIAL, "")).lower())
        if name is None:
            return None
        parts[name].append(item)
    found = {part: items for part, items in parts.items() if items}
    if not ("train" in found and "test" in found):
        notes.append(
            f"The corpus's own parts (tier {OFFICIAL!r}) are not used: only "
            f"{' and '.join(found)} has recordings here."
        )
        return None
    notes.append(f"The parts are the corpus's own (tier {OFFICIAL!r}).")
    return dict(found)


def _folds(
    held: Mapping[str, Labelled[L]],
    fractions: tuple[float, float, float],
    seed: int,
    notes: list[str],
) -> Iterator[tuple[str, dict[str, Labelled[L]]]]:
    # As published (s3prl's emotion task): dev is a random fifth of what is not tested, and so
    # shares speakers with training.
    notes.append(
        "Each fold is tested once; dev is a seeded fifth of the other folds and shares their "
        "speakers."
    )
    for name, test in held.items():
        rest = [item for other, items in held.items() if other != name for item in items]
        yield name, {**_split(rest, "any", {"train": 0.8, "dev": 0.2}, seed), "test": test}


def _split(
    held: Labelled[L], speakers: Speakers, shares: Mapping[str, float], seed: int
) -> dict[str, Labelled[L]]:
    chosen: dict[str, list[tuple[Utterance, L]]] = {part: [] for part in shares}
    if speakers == "same":
        by_class: dict[L, list[tuple[Utterance, L]]] = {}
        for item in held:
            by_class.setdefault(item[1], []).append(item)
        for items in by_class.values():
            items.sort(key=lambda x: rank(x[0].id, seed, "probing"))
            counts = apportion(len(items), shares)
            # Every class is in every part: what a part lacks comes from the largest.
            for part in shares:
                if counts[part] == 0:
                    largest = max(counts, key=lambda p: counts[p])
                    counts[part], counts[largest] = 1, counts[largest] - 1
            at = 0
            for part, count in counts.items():
                chosen[part] += items[at : at + max(0, count)]
                at += max(0, count)
        return dict(chosen)
    groups: dict[str, list[tuple[Utterance, L]]] = {}
    for item in held:
        key = grouped(item[0]) if speakers == "apart" else item[0].id
        groups.setdefault(key, []).append(item)
    names = sorted(groups, key=lambda g: rank(g, seed, "probing"))
    if len(names) < len(shares):
        raise UsageError(
            "too few speakers to keep them apart in train, dev and test"
            if speakers == "apart"
            else "too few recordings for train, dev and test",
            got=f"{len(names)}",
            expected=f"at least {len(shares)}",
            fix="use a larger corpus, or name parts of your own in the corpus map",
        )
    counts = apportion(len(names), shares)
    for part in shares:
        if counts[part] == 0:
            largest = max(counts, key=lambda p: counts[p])
            counts[part], counts[largest] = 1, counts[largest] - 1
    at = 0
    for part, count in counts.items():
        for name in names[at : at + count]:
            chosen[part] += groups[name]
        at += count
    return dict(chosen)
