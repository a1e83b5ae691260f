"""The different recordings among a run's items, and their log-mel features, computed once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import AudioError, CorpusError
from voxstrata.files import atomic_write
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import HOP, KaldiConfig
from voxstrata.frontend.features import stack_frames
from voxstrata.sums import DamagedError, read_arrays, sum_of_file
from voxstrata.training.data.items import Item

PART = 256
"""Recordings of a file of features or codes; a run that is killed loses one part."""


@dataclass(frozen=True)
class Recordings:
    """What items read: each recording at each speed once.

    Attributes:
        items: one item of each.
        of_item: position in ``items`` by item index.
        copies: how often each comes in a pass.
    """

    items: tuple[Item, ...]
    of_item: NDArray[np.int64]
    copies: NDArray[np.int64]

    @classmethod
    def among(cls, items: Sequence[Item]) -> Recordings:
        """The recordings of items, which are in order of recording."""
        found: list[Item] = []
        of_item = np.empty(len(items), dtype=np.int64)
        for index, item in enumerate(items):
            if item.copy == 0:
                found.append(item)
            of_item[index] = len(found) - 1
        return cls(tuple(found), of_item, np.bincount(of_item, minlength=len(found)))

    def __len__(self) -> int:
        return len(self.items)

    def parts(self) -> list[range]:
        """Recordings of each part."""
        return [range(i, min(i + PART, len(self))) for i in range(0, len(self), PART)]


def read(item: Item, minimum: int) -> NDArray[np.float32]:
    """Audio of an item.

    Raises:
        AudioError: it cannot be read, is shorter than ``minimum`` samples, or silent throughout.
    """
    wave = item.read()
    if len(wave) < minimum or not np.any(wave):
        raise AudioError(
            f"{item.id} cannot be trained on",
            got=f"{len(wave)} samples" if len(wave) < minimum else "digital silence throughout",
            expected=f"at least {minimum} samples of speech",
        )
    return wave


def raw_front(front: FrontEnd) -> FrontEnd:
    """The front end before statistics and stacking: log-mel frames every 10 ms."""
    assert isinstance(front.config, KaldiConfig)
    plain = {"normalise": "none", "mean": (), "std": (), "stack": 1}
    return FrontEnd(front.config.model_copy(update=plain), f"{front.name} (raw)")


def with_statistics(
    front: FrontEnd, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> FrontEnd:
    """The front end with a corpus's mean and deviation."""
    values = {
        **front.config.model_dump(),
        "normalise": "global",
        "mean": tuple(float(m) for m in mean),
        "std": tuple(float(s) for s in std),
    }
    return FrontEnd(type(front.config).model_validate(values), front.name)


@dataclass
class Features:
    """Raw log-mel frames of all recordings, on disk or only counted.

    Attributes:
        folder: of the parts.
        kept: whether the frames are on disk.
        counts: frames of each recording; 0 where it cannot be used.
        bad: why not, by recording.
    """

    folder: Path
    kept: bool
    counts: NDArray[np.int64]
    bad: dict[int, str] = field(default_factory=dict)
    _maps: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    _starts: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])

    def rows(self, recording: int, start: int, stop: int) -> NDArray[np.float32]:
        """Raw frames [start, stop) of a recording, [stop - start, mels]."""
        part = recording // PART
        if part not in self._maps:
            self._maps[part] = np.load(_name(self.folder, part), mmap_mode="r", allow_pickle=False)
        first = int(self._starts[recording] - self._starts[part * PART])
        return self._maps[part][first + start : first + stop]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def finish(raw: NDArray[np.float32], config: KaldiConfig) -> torch.Tensor:
    """What the front end makes of raw frames: normalised, stacked; [T, D].

    The same operations in the same precision as :class:`~voxstrata.frontend.FrontEnd`; frames see
    only their own samples, so features of a crop are a crop of the features.
    """
    frames = torch.from_numpy(np.array(raw))[None]
    if config.normalise == "global":
        mean = torch.tensor(config.mean, dtype=frames.dtype)
        frames = (frames - mean) / torch.tensor(config.std, dtype=frames.dtype)
    return stack_frames(frames, config.stack)[0]


def span(start: int, count: int, raw_count: int, stack: int) -> tuple[int, int]:
    """Raw frames [first, last) that the network's frames [start, start + count) are made of."""
    return start * stack, min((start + count) * stack, raw_count)


def samples_of(first: int, last: int) -> tuple[int, int]:
    """Samples [begin, end) that raw frames [first, last) see."""
    return first * HOP, (last - 1) * HOP + KaldiConfig().minimum


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of the raw frames, each recording as often as it comes in a pass."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def compute(
    recordings: Recordings, front: FrontEnd, folder: Path, *, keep: bool, say: Any
) -> tuple[Features, Statistics]:
    """Go over all recordings once, part by part; parts that are there already are not redone.

    Args:
        recordings: which.
        front: raw front end.
        folder: where parts are written.
        keep: write the frames too, not only counts and sums.
        say: told how far it is.

    Raises:
        CorpusError: no recording can be used, or a mel filter never changes.
        StorageError: the disk is full.
    """
    parts = recordings.parts()
    width = front.width
    counts = np.zeros(len(recordings), dtype=np.int64)
    total, sums, squares = 0.0, np.zeros(width), np.zeros(width)
    bad: dict[int, str] = {}
    for number, part in enumerate(parts):
        found = _kept(folder, number, keep)
        if found is None:
            _one_part(recordings, part, front, folder, number, keep)
            found = read_arrays(_facts(folder, number))
            if number % 8 == 7:
                say(f"features: {part.stop} of {len(recordings)} recordings")
        own = found["counts"]
        counts[part.start : part.stop] = own
        times = recordings.copies[part.start : part.stop].astype(np.float64)
        total += float(times @ own)
        sums += times @ found["sums"]
        squares += times @ found["squares"]
        for place, why in zip(found["bad"], found["why"], strict=True):
            bad[int(place)] = str(why)
    if not total:
        raise CorpusError(
            "no recording can be trained on", got="; ".join(list(bad.values())[:3]) or "no frames"
        )
    # Sums are about the shift below, which keeps the digits of small deviations.
    mean = sums / total
    variance = squares / total - mean**2
    if not (variance > 1e-12).all():
        raise CorpusError(
            "a mel filter has the same value in every frame of the training corpus",
            got=f"filter {int(variance.argmin())}",
            expected="speech",
        )
    statistics = Statistics(mean + _SHIFT, np.sqrt(variance))
    return Features(folder, keep, counts, bad), statistics


_SHIFT = 10.0
"""About the level of log-mel values at 16-bit scale."""


def _kept(folder: Path, number: int, keep: bool) -> dict[str, NDArray[Any]] | None:
    """Facts of a part that an earlier sitting made; ``None`` where it is absent or damaged."""
    path = _facts(folder, number)
    if not path.exists():
        return None
    try:
        found = read_arrays(path)
        if keep and sum_of_file(_name(folder, number)) != int(found["frames_sum"]):
            return None
    except (DamagedError, OSError, KeyError):
        return None
    return found


def _one_part(
    recordings: Recordings, part: range, front: FrontEnd, folder: Path, number: int, keep: bool
) -> None:
    rows: list[NDArray[np.float32]] = []
    counts = np.zeros(len(part), dtype=np.int64)
    sums = np.zeros((len(part), front.width))
    squares = np.zeros_like(sums)
    bad: dict[int, str] = {}
    for place, index in enumerate(part):
        try:
            wave = read(recordings.items[index], front.minimum)
        except AudioError as error:
            bad[index] = f"{error.what} ({error.got})"
            continue
        frames = front(torch.from_numpy(wave)[None])[0].numpy()
        counts[place] = len(frames)
        moved = frames.astype(np.float64) - _SHIFT
        sums[place], squares[place] = moved.sum(axis=0), (moved**2).sum(axis=0)
        if keep:
            rows.append(frames)
    if keep:
        joined = np.concatenate(rows) if rows else np.zeros((0, front.width), dtype=np.float32)
        save_array(_name(folder, number), joined)
    save_arrays(
        _facts(folder, number),
        frames_sum=np.array(sum_of_file(_name(folder, number)) if keep else 0),
        counts=counts,
        sums=sums,
        squares=squares,
        bad=np.array(list(bad), dtype=np.int64),
        why=np.array(list(bad.values()), dtype=np.str_),
    )


def _name(folder: Path, number: int) -> Path:
    return folder / f"features-{number:05d}.npy"


def _facts(folder: Path, number: int) -> Path:
    return folder / f"facts-{number:05d}.npz"


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays as ``.npz``, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    with atomic_write(path) as file:
        file.write(packed.getbuffer())
