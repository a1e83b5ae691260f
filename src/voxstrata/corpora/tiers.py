"""How labels live in lhotse cuts: the convention, both ways.

- One cut is one utterance. Times of tiers are seconds from the beginning of the cut; lhotse
  itself keeps alignments in seconds from the beginning of the *recording* (its supervisions move
  with a cut, their alignments do not), so the cut's start is added on writing and taken off on
  reading.
- A cut with **one** supervision takes ``speaker``, ``gender``, ``text`` and ``language`` from it,
  everything in the supervision's ``custom``, and every alignment as an interval tier (lhotse's
  ``word`` and ``phone`` are called ``words`` and ``phones`` here).
- A cut with **several** supervisions has the interval tier ``turns`` (label = speaker) and no
  scalar speaker.
- The cut's own ``custom`` holds further tiers; ``turns`` may stand there too, as
  ``[start, end, speaker]`` lists (for utterances with one turn, or with turns and words).
- Times are kept to 10 ns (lhotse rounds ends to eight decimals).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from voxstrata.errors import LabelError
from voxstrata.types import Segment

if TYPE_CHECKING:
    from lhotse import Recording, SupervisionSegment
    from lhotse.cut import Cut
    from lhotse.supervision import AlignmentItem

FIELDS = ("speaker", "gender", "text", "language")
"""Tiers that a lhotse supervision has a field for."""

ALIASES = {
    "word": "words",
    "phone": "phones",
    "phoneme": "phones",
    "phonemes": "phones",
    "turn": "turns",
}
"""Other names of interval tiers."""

INTERVALS = ("words", "phones", "turns")
"""Interval tiers that every room knows."""


def tier_name(name: str) -> str:
    """Our name of an interval tier that a file or lhotse calls ``name``."""
    return ALIASES.get(name.strip().lower(), name.strip())


def is_intervals(value: Any) -> bool:
    """Whether ``value`` is a non-empty list of ``[number, number, text]``, or of segments."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(
        isinstance(v, Segment)
        or (
            isinstance(v, Sequence)
            and not isinstance(v, str)
            and len(v) == 3
            and all(isinstance(t, int | float) and not isinstance(t, bool) for t in v[:2])
            and isinstance(v[2], str)
        )
        for v in value
    )


def segments_from(value: Any, where: str) -> tuple[Segment, ...]:
    """Segments from ``[start, end, label]`` lists.

    Args:
        value: the lists (or segments), seconds.
        where: utterance and tier, for the message.

    Raises:
        LabelError: an entry is not of that form, or a time is not a finite number.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise LabelError(
            f"{where} is not a list of spans", got=value, expected="[[start, end, label]]"
        )
    found = []
    for index, item in enumerate(value):
        if isinstance(item, Segment):
            start, end, label = item.start_s, item.end_s, item.label
        else:
            try:
                start, end, label = item
                start, end = float(start), float(end)
            except (TypeError, ValueError):
                raise LabelError(
                    f"{where}: entry {index} is not a span",
                    got=item,
                    expected="[start, end, label]",
                ) from None
        if not math.isfinite(start + end):
            raise LabelError(f"{where}: entry {index} has a time that is not a number", got=item)
        label = "" if label is None else str(label)
        found.append(Segment(round(start, 8), round(end, 8), label))
    return tuple(found)


def _items(spans: Sequence[Segment], offset_s: float) -> list[AlignmentItem]:
    from lhotse.supervision import AlignmentItem

    return [AlignmentItem(s.label, s.start_s + offset_s, s.end_s - s.start_s) for s in spans]


def _offset(cut: Cut) -> float:
    """Seconds to take off alignment times so that they count from the beginning of ``cut``."""
    for track in getattr(cut, "tracks", []):  # a mixed cut: that of the labelled track
        if getattr(track.cut, "supervisions", []):
            return float(getattr(track.cut, "start", 0.0) - track.offset)
    return float(getattr(cut, "start", 0.0))


def make_cut(
    id: str,
    recording: Recording,
    tiers: Mapping[str, Any],
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channel: int | Sequence[int] | None = None,
) -> Cut:
    """A cut that carries ``tiers`` by the convention above.

    Args:
        id: utterance id.
        recording: lhotse recording.
        tiers: labels by name; ``None`` values are left out. Interval tiers are lists of
            ``[start, end, label]`` or of segments, seconds from the beginning of the utterance.
        start_s: where the utterance begins in the recording.
        duration_s: its length; ``None`` for the rest of the recording.
        channel: one channel, or several (which are averaged on reading); ``None`` for all.

    Raises:
        LabelError: an interval tier is malformed.
    """
    from lhotse.cut import MonoCut, MultiCut

    if duration_s is None:
        duration_s = recording.duration - start_s
    if channel is None:
        channel = list(recording.channel_ids)
    if not isinstance(channel, int):
        channel = channel[0] if len(channel) == 1 else list(channel)
    fields: dict[str, Any] = {}
    alignment: dict[str, list[AlignmentItem]] = {}
    custom: dict[str, Any] = {}
    turns: tuple[Segment, ...] | None = None
    for name, value in tiers.items():
        if value is None:
            continue
        if name in FIELDS:
            fields[name] = str(value)
        elif name == "turns":
            turns = segments_from(value, f"{id}: turns")
        elif name in INTERVALS or is_intervals(value):
            alignment[name] = _items(segments_from(value, f"{id}: {name}"), start_s)
        else:
            custom[name] = value
    supervisions = []
    cut_custom: dict[str, Any] = {}
    many = turns is not None and len(turns) > 1 and not fields and not alignment
    if many and turns is not None:
        supervisions = [
            _supervision(
                f"{id}-{i}", recording.id, t.start_s, t.end_s - t.start_s, channel, t.label
            )
            for i, t in enumerate(turns)
        ]
        cut_custom = custom
    else:
        if turns is not None:
            cut_custom["turns"] = [[t.start_s, t.end_s, t.label] for t in turns]
        if fields or alignment or custom:
            made = _supervision(id, recording.id, 0.0, duration_s, channel, fields.get("speaker"))
            made.gender, made.text = fields.get("gender"), fields.get("text")
            made.language = fields.get("language")
            made.custom, made.alignment = custom or None, alignment or None
            supervisions = [made]
    kind = MonoCut if isinstance(channel, int) else MultiCut
    return kind(
        id=id,
        start=start_s,
        duration=duration_s,
        channel=channel,
        supervisions=supervisions,
        recording=recording,
        custom=cut_custom or None,
    )


def _supervision(
    id: str, recording: str, start: float, duration: float, channel: Any, speaker: str | None
) -> SupervisionSegment:
    from lhotse import SupervisionSegment

    return SupervisionSegment(
        id=id,
        recording_id=recording,
        start=start,
        duration=duration,
        channel=channel,
        speaker=speaker,
    )


def _is_label(value: Any) -> bool:
    """Whether a custom value is a label (lhotse also hangs arrays and recordings there)."""
    if value is None:
        return False
    if isinstance(value, Mapping):
        return not ({"sources", "sampling_rate"} <= set(value) or "storage_type" in value)
    return isinstance(value, str | int | float | bool | list | tuple)


class Tiers(Mapping[str, Any]):
    """The tiers of one cut, by the convention above; spans are made when they are asked for.

    Equal to any mapping that holds the same labels.
    """

    def __init__(self, cut: Cut) -> None:
        self._scalars: dict[str, Any] = {}
        self._offset = _offset(cut)
        self._items: dict[str, Sequence[AlignmentItem]] = {}
        self._turns: Sequence[SupervisionSegment] | None = None
        supervisions = getattr(cut, "supervisions", [])
        custom = dict(getattr(cut, "custom", None) or {})
        if len(supervisions) == 1:
            (only,) = supervisions
            for name in FIELDS:
                value = getattr(only, name)
                if value is not None:
                    self._scalars[name] = value
            custom = {**(only.custom or {}), **custom}
            for name, items in (only.alignment or {}).items():
                self._items[tier_name(name)] = items
        elif supervisions:
            self._turns = sorted(supervisions, key=lambda s: (s.start, s.duration))
        for name, value in custom.items():
            if _is_label(value):
                self._scalars[name] = value
        if self._turns is not None:
            self._scalars.pop("turns", None)

    def __getitem__(self, name: str) -> Any:
        if name in self._items:
            off = self._offset
            return tuple(
                Segment(round(start - off, 8), round(start + length - off, 8), str(symbol))
                for symbol, start, length, _ in self._items[name]
            )
        if name == "turns" and self._turns is not None:
            return tuple(
                Segment(round(s.start, 8), round(s.start + s.duration, 8), s.speaker or "")
                for s in self._turns
            )
        value = self._scalars[name]
        if name == "turns" or is_intervals(value):
            return segments_from(value, name)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._scalars if name not in self._items)
        yield from self._items
        if self._turns is not None:
            yield "turns"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return (
            name in self._scalars
            or name in self._items
            or (name == "turns" and self._turns is not None)
        )

    def __repr__(self) -> str:
        return repr(dict(self))


def with_tiers(cut: Cut, extra: Mapping[str, Any], *, replace: bool = True) -> Cut:
    """The cut with further labels.

    Args:
        cut: a plain cut (of one recording).
        extra: labels to add.
        replace: whether an existing tier of the same name gives way.

    Raises:
        LabelError: an interval tier is malformed.
    """
    old = dict(Tiers(cut))
    new = {**old, **extra} if replace else {**extra, **old}
    made = make_cut(
        cut.id,
        cut.recording,
        new,
        start_s=cut.start,
        duration_s=cut.duration,
        channel=cut.channel,
    )
    made.features = cut.features
    return made
