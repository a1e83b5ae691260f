"""Where sounds and rooms come from: recordings that the caller offers, or what is made here."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.augmentation import music, noises, voices
from voxstrata.augmentation.levels import checked
from voxstrata.augmentation.rooms import draw_room
from voxstrata.augmentation.step import Wave

Reader = Callable[[], NDArray[np.float32]]
"""Returns a sound, float32 [S], 16 kHz; must give the same samples whenever it is called."""

Group = Literal["noises", "musics", "speeches", "babble", "rooms"]

ROOMS = 200
"""Rooms that are made where none are offered."""

KEPT: dict[str, int] = {
    "babble": 20_000_000,
    "speeches": 4_000_000,
    "noises": 4_000_000,
    "musics": 4_000_000,
    "rooms": 4_000_000,
}
"""Samples of offered sounds that stay in memory in each process (144 MB at most)."""

_POOL, _MADE_ROOM = 4246, 4247  # purpose numbers of the random generators


@dataclass(frozen=True)
class Sources:
    """Recordings to augment with, each a function that reads one.

    Attributes:
        babble: speech of which babble is made, best the training corpus itself.
        noises: noises.
        musics: pieces of music.
        speeches: single voices.
        rooms: impulse responses of rooms.
    """

    babble: Sequence[Reader] = ()
    noises: Sequence[Reader] = ()
    musics: Sequence[Reader] = ()
    speeches: Sequence[Reader] = ()
    rooms: Sequence[Reader] = ()


class Bank:
    """All sounds and rooms of an augmenter by group and number.

    Where nothing is offered: ``speeches`` fall back on ``babble`` and the other way round, then on
    made voices; the rest on what is made. Offered recordings that were used last stay in memory
    (:data:`KEPT`); the copy that a loader process gets starts empty.

    Args:
        sources: what the caller offers.
        seed: of the sounds that are made and of the babble pool.
        pool: how many recordings of ``sources.babble`` are used at all.
    """

    def __init__(self, sources: Sources, seed: int, pool: int | None) -> None:
        babble = _some(sources.babble, pool, seed)
        self._offered: dict[Group, Sequence[Reader]] = {
            "babble": babble or sources.speeches,
            "speeches": sources.speeches or babble,
            "noises": sources.noises,
            "musics": sources.musics,
            "rooms": sources.rooms,
        }
        self._seed = seed
        self._kept: dict[Group, OrderedDict[int, Wave]] = {}

    def count(self, group: Group) -> int:
        """How many sounds a group has."""
        return len(self._offered[group]) or _MADE[group][1]

    def sound(self, group: Group, index: int) -> Wave:
        """One sound, float32 [S]; must not be written to.

        Raises:
            VoxstrataError: it cannot be read, is empty or not finite.
        """
        if not self._offered[group]:
            return _MADE[group][0](self._seed, index)
        if self._offered[group] is self._offered["babble"]:
            group = "babble"
        kept = self._kept.setdefault(group, OrderedDict())
        if index not in kept:
            kept[index] = checked(self._offered[group][index](), f"{group}[{index}]")
            while len(kept) > 1 and sum(map(len, kept.values())) > KEPT[group]:
                kept.popitem(last=False)
        kept.move_to_end(index)
        return kept[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}


def _some(readers: Sequence[Reader], pool: int | None, seed: int) -> Sequence[Reader]:
    if pool is None or len(readers) <= pool:
        return tuple(readers)
    chosen = np.random.default_rng([_POOL, seed]).permutation(len(readers))[:pool]
    return tuple(readers[i] for i in np.sort(chosen))


@functools.lru_cache(maxsize=ROOMS)
def _made_room(seed: int, index: int) -> Wave:
    made = draw_room(np.random.default_rng([_MADE_ROOM, seed, index])).response()
    made.flags.writeable = False
    return made


_MADE: dict[Group, tuple[Callable[[int, int], Wave], int]] = {
    "noises": (noises.noise_loop, noises.COUNT),
    "musics": (music.music_loop, music.COUNT),
    "speeches": (voices.voice_loop, voices.COUNT),
    "babble": (voices.voice_loop, voices.COUNT),
    "rooms": (_made_room, ROOMS),
}
