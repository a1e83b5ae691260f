"""What lhotse does not check of a manifest: that numbers are numbers, and sources are files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lhotse import Recording, SupervisionSegment
    from lhotse.cut import Cut

LONGEST_S = 1e9
"""No recording is longer, seconds."""


def check_recording(recording: Recording) -> None:
    """Whether a recording says what its readers will ask.

    Raises:
        ValueError: it does not; the message names the key.
    """
    _text(recording.id, "id of a recording")
    _number(recording.duration, "duration of a recording")
    rate, samples = recording.sampling_rate, recording.num_samples
    if not _is_int(rate) or not 0 < rate < 1 << 31 or not _is_int(samples) or samples < 0:
        raise ValueError(f"sampling_rate {rate!r}, num_samples {samples!r}")
    if not isinstance(recording.sources, list) or not recording.sources:
        raise ValueError(f"sources: {recording.sources!r}")
    for source in recording.sources:
        _channels(list(source.channels), "channels of a source")
        if not isinstance(source.source, str | bytes) or not isinstance(source.type, str):
            raise ValueError(f"source: {source.source!r}")
    _channels(list(recording.channel_ids or ()), "channel_ids")


def check_supervision(supervision: SupervisionSegment) -> None:
    """The same for a supervision.

    Raises:
        ValueError: as :func:`check_recording`.
    """
    _text(supervision.id, "id of a supervision")
    _text(supervision.recording_id, "recording_id")
    _number(supervision.start, "start of a supervision", least=-LONGEST_S)
    _number(supervision.duration, "duration of a supervision", least=-LONGEST_S)
    _channels(supervision.channel, "channel of a supervision")
    _mapping(supervision.custom, "custom of a supervision")
    for name in ("speaker", "gender", "text", "language"):
        if not isinstance(getattr(supervision, name), str | None):
            raise ValueError(f"{name}: {getattr(supervision, name)!r}")
    _mapping(supervision.alignment, "alignment")
    for name, items in (supervision.alignment or {}).items():
        _text(name, "name of an alignment")
        for item in items:
            _number(item.start, f"start in {name}", least=-LONGEST_S)
            _number(item.duration, f"duration in {name}", least=-LONGEST_S)


def check_cut(cut: Cut) -> None:
    """The same for a cut, with all that it holds.

    Raises:
        ValueError: as :func:`check_recording`.
    """
    _text(cut.id, "id of a cut")
    if hasattr(cut, "tracks"):
        if not isinstance(cut.tracks, list) or not cut.tracks:
            raise ValueError(f"tracks: {cut.tracks!r}")
        for track in cut.tracks:
            _number(track.offset, "offset of a track")
            if track.snr is not None:
                _number(track.snr, "snr of a track", least=-LONGEST_S)
            if hasattr(track.cut, "recording"):
                check_cut(track.cut)
            else:
                _number(track.cut.duration, "duration of a track")
        return
    _number(cut.start, "start of a cut", least=-LONGEST_S)
    _number(cut.duration, "duration of a cut", least=-LONGEST_S)
    _channels(cut.channel, "channel of a cut")
    _mapping(cut.custom, "custom of a cut")
    if not isinstance(cut.supervisions, list):
        raise ValueError(f"supervisions: {cut.supervisions!r}")
    for supervision in cut.supervisions:
        check_supervision(supervision)
    if cut.recording is not None:
        check_recording(cut.recording)


def sources_in(thing: Any) -> Iterator[tuple[str, Any]]:
    """Type and source of everything that is read as audio, wherever it stands in a cut.

    A room's impulse response in a transform is audio too, and lhotse runs the shell command of a
    source of type "command".
    """
    held = thing if isinstance(thing, Mapping) else getattr(thing, "__dict__", None)
    if held is not None:
        if {"type", "channels", "source"} <= set(held):
            yield str(held["type"]), held["source"]
        for inner in held.values():
            yield from sources_in(inner)
    elif isinstance(thing, list | tuple):
        for inner in thing:
            yield from sources_in(inner)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any, what: str, least: float = 0.0) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what}: {value!r}")
    if not math.isfinite(value) or not least <= value < LONGEST_S:
        raise ValueError(f"{what}: {value!r}")


def _text(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{what}: {value!r}")


def _mapping(value: Any, what: str) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{what}: {value!r}")


def _channels(value: Any, what: str) -> None:
    several = value if isinstance(value, list | tuple) else [value]
    if not several or not all(_is_int(one) and 0 <= one < 1 << 16 for one in several):
        raise ValueError(f"{what}: {value!r}")
