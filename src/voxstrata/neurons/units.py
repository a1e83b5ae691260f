"""What is counted by itself: recordings, or what would not fit in memory by recording, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxstrata.corpora import Corpus
from voxstrata.errors import UsageError

if TYPE_CHECKING:
    from voxstrata.neurons.analysed import Analysed
    from voxstrata.neurons.conditions.condition import Labels

COUNT_BYTES = 2 << 30
"""Counts by recording may take this much memory; beyond, recordings of a speaker are added up."""

PARTS = "speaker and label"
"""Units where recordings of one speaker differ in some contrast's label."""


@dataclass(frozen=True)
class Units:
    """What is counted by itself.

    Attributes:
        names: of the units.
        of: number of the unit of each recording.
        by: "recording", "speaker", or "speaker and label": a speaker's recordings with the same
            labels in every contrast.
        speakers: speaker of each unit; ``None`` where a recording has none.
    """

    names: tuple[str, ...]
    of: dict[str, int]
    by: str
    speakers: tuple[str | None, ...]


def choose_units(wanted: str, corpus: Corpus, analysed: Sequence[Analysed]) -> Units:
    """Units of a run.

    Args:
        wanted: "recording", "speaker", or "auto": recordings where their counts fit in memory.
        corpus: the recordings.
        analysed: models with their contrasts.

    Raises:
        UsageError: speakers are wanted, and some recording has none.
    """
    speaker = {u.id: u.tiers.get("speaker") for u in corpus.utterances}
    have = all(name is not None for name in speaker.values())
    fits = wanted == "auto" and count_bytes(corpus, analysed) <= COUNT_BYTES
    if wanted == "recording" or fits or (wanted == "auto" and not have):
        of = {name: i for i, name in enumerate(speaker)}
        given = tuple(None if s is None else str(s) for s in speaker.values())
        return Units(tuple(speaker), of, "recording", given)
    if not have:
        raise UsageError(
            "counting by speaker needs the speaker of every recording",
            fix="use --units recording, or give the corpus a speaker tier",
        )
    labels = _labels(analysed)
    # Recordings that a contrast tells apart must not be added up, whoever speaks in them.
    keys = {
        name: (str(who), tuple(one.of.get(name, -1) for one in labels))
        for name, who in speaker.items()
    }
    order = sorted(set(keys.values()))
    place = {key: i for i, key in enumerate(order)}
    speakers = tuple(who for who, _ in order)
    names, seen = [], dict[str, int]()
    for who in speakers:
        seen[who] = seen.get(who, 0) + 1
        names.append(who if speakers.count(who) == 1 else f"{who} ({seen[who]})")
    by = "speaker" if len(set(speakers)) == len(speakers) else PARTS
    return Units(tuple(names), {name: place[key] for name, key in keys.items()}, by, speakers)


def _labels(analysed: Sequence[Analysed]) -> list[Labels]:
    """Labels of recordings of all contrasts, and of those tried beside them."""
    found = [
        contrast.labels
        for one in analysed
        for contrast in [*one.contrasts, *(v.contrast for v in one.variants)]
        if contrast.labels is not None
    ]
    return list({id(one): one for one in found}.values())


def count_bytes(corpus: Corpus, analysed: Sequence[Analysed]) -> float:
    """Most memory that counts by recording can take: 16 bytes a cell that is not zero."""
    total = 0.0
    for one in analysed:
        for info in one.neurons:
            grid = info.grid
            rate = grid.rate_hz if grid is not None else 50.0
            top = one.rule.top(info.width) or info.width
            for condition in one.conditions:
                dense = len(condition.rows) * info.width
                cells = (min(dense, u.duration_s * rate * top) for u in corpus.utterances)
                total += 16.0 * sum(cells)
    return total
