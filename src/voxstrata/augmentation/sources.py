"""Where sounds and rooms come from: recordings that the caller offers, or what is made here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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

KEPT = 16_000_000
"""Samples of offered sounds that stay in memory in each process (64 MB)."""

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
    made voices; the rest on what is made. Offered recordings that were used last stay in memory;
    the copy that a loader process gets starts empty.

    Args:
        sources: what the caller offers.
        seed: of the sounds that are made and of the babble pool.
        pool: how many recordings of ``sources.babble`` are used at all.
    """

    def __init__(self, sources: Sources, seed: int, pool: int | None) -> None:
        babble = _some(sources.babble, pool, seed)
        sources = replace(sources, babble=babble)
        made_voices = [partial(voices.voice_loop, seed, i) for i in range(voices.COUNT)]
        self._readers: dict[Group, Sequence[Reader]] = {
            "noises": sources.noises
            or [partial(noises.noise_loop, seed, i) for i in range(noises.COUNT)],
            "musics": sources.musics
            or [partial(music.music_loop, seed, i) for i in range(music.COUNT)],
            "speeches": sources.speeches or sources.babble or made_voices,
            "babble": sources.babble or sources.speeches or made_voices,
            "rooms": sources.rooms or [partial(_made_room, seed, i) for i in range(ROOMS)],
        }
        self._kept: OrderedDict[tuple[Group, int], Wave] = OrderedDict()

    def count(self, group: Group) -> int:
        """How many sounds a group has."""
        return len(self._readers[group])

    def sound(self, group: Group, index: int) -> Wave:
        """One sound, float32 [S].

        Raises:
            VoxstrataError: it cannot be read, is empty or not finite.
        """
        key = (group, index)
        if key not in self._kept:
            self._kept[key] = checked(self._readers[group][index](), f"{group}[{index}]")
            while sum(map(len, self._kept.values())) > KEPT and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}


def _some(readers: Sequence[Reader], pool: int | None, seed: int) -> Sequence[Reader]:
    if pool is None or len(readers) <= pool:
        return tuple(readers)
    chosen = np.random.default_rng([_POOL, seed]).permutation(len(readers))[:pool]
    return tuple(readers[i] for i in np.sort(chosen))


def _made_room(seed: int, index: int) -> Wave:
    return draw_room(np.random.default_rng([_MADE_ROOM, seed, index])).response()
