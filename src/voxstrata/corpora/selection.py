"""Seeded subsets and splits that do not depend on the order of the corpus.

Every choice ranks names (utterance ids, speakers) by a hash of seed and name. So the same seed
gives the same choice on every machine, a smaller subset is part of a larger one, and an utterance
added elsewhere in the corpus changes no other's rank.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from voxstrata.errors import LabelError, UsageError
from voxstrata.types import Utterance


def rank(name: str, seed: int, salt: str = "") -> tuple[int, str]:
    """Sort key of ``name``: 64 bits of SHA-256 of seed, salt and name, then the name itself."""
    digest = hashlib.sha256(f"{seed}\0{salt}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big"), name


def group_of(utterance: Utterance, by: str) -> str:
    """What ``utterance`` is grouped by: its id (``"utterance"``) or a scalar tier as text.

    Raises:
        LabelError: it lacks the tier.
    """
    if by == "utterance":
        return utterance.id
    value = utterance.tiers.get(by)
    if value is None:
        raise LabelError(f"utterance {utterance.id} has no tier {by!r}")
    return str(value)


def groups(utterances: Sequence[Utterance], by: str) -> dict[str, list[int]]:
    """Indices of the utterances of each group.

    Raises:
        LabelError: some utterances lack the tier; all are counted.
    """
    found: dict[str, list[int]] = defaultdict(list)
    lacking = [u.id for u in utterances if by != "utterance" and u.tiers.get(by) is None]
    if lacking:
        raise LabelError(
            f"{len(lacking)} of {len(utterances)} utterances have no tier {by!r}",
            got=", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else ""),
            expected=f"{by!r} on every utterance",
            fix=f'filter the corpus first (corpus.filter(has="{by}")), or choose by="utterance"',
        )
    for index, utterance in enumerate(utterances):
        found[group_of(utterance, by)].append(index)
    return dict(found)


def _at_least_one(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise UsageError(f"{name} must be positive", got=value)


def choose(
    all_of: Sequence[Utterance],
    *,
    utterances: int | None,
    seconds: float | None,
    speakers: int | None,
    per_speaker: int | None,
    seed: int,
) -> list[int]:
    """Indices, ascending, of a seeded subset; see :meth:`Corpus.subset`."""
    for name, value in (
        ("utterances", utterances),
        ("seconds", seconds),
        ("speakers", speakers),
        ("per_speaker", per_speaker),
    ):
        _at_least_one(name, value)
    kept = list(range(len(all_of)))
    if speakers is not None or per_speaker is not None:
        by = groups(all_of, "speaker")
        names = sorted(by, key=lambda s: rank(s, seed, "speaker"))
        if speakers is not None:
            _enough("speakers", speakers, len(names))
            names = names[:speakers]
        kept = []
        for name in names:
            mine = sorted(by[name], key=lambda i: rank(all_of[i].id, seed))
            kept += mine if per_speaker is None else mine[:per_speaker]
    kept.sort(key=lambda i: rank(all_of[i].id, seed))
    if utterances is not None:
        _enough("utterances", utterances, len(kept))
        kept = kept[:utterances]
    if seconds is not None:
        total = math.fsum(all_of[i].duration_s for i in kept)
        if seconds > total:
            _enough("seconds", seconds, total)
        used, taken = 0.0, 0
        for index in kept:
            used += all_of[index].duration_s
            if used > seconds:
                break
            taken += 1
        if not taken:
            raise UsageError(
                "no utterance fits into the subset",
                got=f"seconds={seconds}",
                expected=f"at least {all_of[kept[0]].duration_s:.2f} s",
            )
        kept = kept[:taken]
    return sorted(kept)


def _enough(what: str, wanted: float, held: float) -> None:
    if wanted > held:
        raise UsageError(
            f"the corpus has fewer {what} than the subset asks for",
            got=f"{what}={wanted}",
            expected=f"at most {held:g}",
        )


def apportion(total: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers nearest to ``fractions * total`` that add up (largest remainders, Hamilton).

    Args:
        total: how many there are.
        fractions: by part; their sum is 1 or less (the rest goes to none).
    """
    exact = {name: f * total for name, f in fractions.items()}
    counts = {name: math.floor(e + 1e-9) for name, e in exact.items()}
    goal = min(total, round(math.fsum(exact.values())))
    by_rest = sorted(exact, key=lambda n: (counts[n] - exact[n], list(fractions).index(n)))
    for name in by_rest[: max(0, goal - sum(counts.values()))]:
        counts[name] += 1
    return counts


def divide(
    all_of: Sequence[Utterance], fractions: Mapping[str, float], by: str, seed: int
) -> dict[str, list[int]]:
    """Indices, ascending, of each part; see :meth:`Corpus.split`."""
    total = math.fsum(fractions.values())
    if not fractions or min(fractions.values()) <= 0 or total > 1 + 1e-9:
        raise UsageError(
            "the fractions of a split must be positive and add up to at most 1",
            got=dict(fractions),
            expected='such as {"train": 0.8, "test": 0.2}',
        )
    held = groups(all_of, by)
    names = sorted(held, key=lambda g: rank(g, seed, by))
    counts = apportion(len(names), fractions)
    poor = [part for part, count in counts.items() if count == 0]
    if poor:
        raise UsageError(
            f"part {poor[0]!r} of the split would be empty",
            got=f"{len(names)} groups by {by!r}, fractions {dict(fractions)}",
            fix="use larger fractions, more data, or by='utterance'",
        )
    parts: dict[str, list[int]] = {}
    at = 0
    for part, count in counts.items():
        parts[part] = sorted(i for name in names[at : at + count] for i in held[name])
        at += count
    return parts
