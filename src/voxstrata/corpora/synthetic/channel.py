"""What lies between mouth and file: equaliser, room, noise; all made here, from seeds.

A channel is one combination of the three, named ``EQUALISER-ROOM-NOISE``; its filters are drawn
once a corpus. The utterance adds only which stretch of noise and how loud. Which channel an
utterance gets depends on neither its speaker nor its text (see ``plan``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.corpora.synthetic.filtering import Filter
from voxstrata.types import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Points of a gain curve: (Hz, dB).
EQUALISERS: dict[str, tuple[tuple[float, float], ...]] = {
    "flat": ((0, 0), (8000, 0)),
    "dark": ((0, 2), (600, 1), (2000, -5), (5000, -13), (8000, -20)),
    "bright": ((0, -12), (200, -6), (1000, 0), (3500, 5), (8000, 6)),
    "phone": ((0, -40), (220, -25), (320, 0), (1500, 2), (3300, 0), (3900, -30), (8000, -45)),
    "boxy": ((0, -9), (250, 2), (500, 6), (1100, -2), (3000, 0), (8000, -6)),
}
# (seconds until -60 dB, direct-to-reverberant ratio in dB, number of early reflections)
ROOMS: dict[str, tuple[float, float, int] | None] = {
    "dry": None,
    "booth": (0.12, 16.0, 3),
    "office": (0.28, 9.0, 6),
    "hall": (0.55, 5.0, 9),
}
# (lowest, highest signal-to-noise ratio in dB)
NOISES: dict[str, tuple[float, float]] = {
    "clean": (60.0, 70.0),
    "white": (20.0, 35.0),
    "pink": (15.0, 30.0),
    "babble": (12.0, 25.0),
    "hum": (18.0, 32.0),
}

_TAPS = 257
_NOISE_SECONDS = 20
_BABBLE_VOICES = 12
_PEAK = 0.97


@dataclass(frozen=True)
class Channel:
    """One channel.

    Attributes:
        equaliser: key of :data:`EQUALISERS`.
        room: key of :data:`ROOMS`.
        noise: key of :data:`NOISES`.
    """

    equaliser: str
    room: str
    noise: str

    @property
    def name(self) -> str:
        """``EQUALISER-ROOM-NOISE``."""
        return f"{self.equaliser}-{self.room}-{self.noise}"


CLEAN = Channel("flat", "dry", "clean")


def channels(n: int, seed: int = 0) -> list[Channel]:
    """``n`` different channels, the clean one first, the others drawn.

    Args:
        n: 1 to ``len(EQUALISERS) * len(ROOMS) * len(NOISES)``.
        seed: equal seeds give equal channels.
    """
    every = [Channel(e, r, s) for e in EQUALISERS for r in ROOMS for s in NOISES]
    every.remove(CLEAN)
    return [CLEAN, *Draw(seed, "channels").shuffled(every)][:n]


@dataclass(frozen=True)
class Setting:
    """What an utterance adds to its channel.

    Attributes:
        channel: which channel.
        snr_db: ratio of the mean power of the speech (pauses left out) to that of the noise.
        level_db: mean power of the speech, dB relative to full scale.
        noise_start: where the stretch of noise begins, as a share of the noise's length.
    """

    channel: Channel
    snr_db: float
    level_db: float
    noise_start: float


class Studio:
    """Filters and noises of one corpus seed, made when first needed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._filters: dict[tuple[str, str], Filter] = {}
        self._noises: dict[str, NDArray[np.float32]] = {}

    def record(
        self, samples: NDArray[np.int16], lead: int, tail: int, setting: Setting
    ) -> NDArray[np.int16]:
        """Speech as it arrives in the file.

        Args:
            samples: dry speech, int16 at ``ENGINE_RATE``.
            lead: samples of silence to put before, at the same rate.
            tail: samples of silence to put after.
            setting: channel and levels.

        Returns:
            int16 at ``SAMPLE_RATE``; the speech begins at ``lead / ENGINE_RATE`` seconds: the
            direct path has no delay, and the equaliser's is removed.
        """
        import numpy as np

        wave = self._filter(setting.channel).apply(samples, lead, tail)
        # The power of the speech itself, from the samples that sound: those above 2 % of the peak.
        power = wave * wave
        floor = power.max() * np.float32(0.02**2)
        power -= floor
        np.maximum(power, 0, out=power)
        count = np.count_nonzero(power)
        mean = float(power.sum()) / count + float(floor) if count else 1.0
        level = 32767.0 * 10 ** (setting.level_db / 20)
        wave *= np.float32(level / mean**0.5)
        noise = self._stretch(setting.channel.noise, len(wave), setting.noise_start)
        wave += noise * np.float32(level * 10 ** (-setting.snr_db / 20))
        loudest = max(float(wave.max()), -float(wave.min()))
        if loudest > _PEAK * 32767.0:
            wave *= np.float32(_PEAK * 32767.0 / loudest)
        return np.rint(wave, out=wave).astype(np.int16)

    def _filter(self, channel: Channel) -> Filter:
        key = (channel.equaliser, channel.room)
        if key not in self._filters:
            # Flat and dry: the samples as they are.
            plain = key == ("flat", "dry")
            self._filters[key] = Filter([1.0]) if plain else Filter(*self._response(*key))
        return self._filters[key]

    def _response(self, equaliser: str, room: str) -> tuple[NDArray[np.float64], int]:
        """Impulse response of equaliser and room, and its delay in samples."""
        import numpy as np
        from scipy import signal

        points = EQUALISERS[equaliser]
        draw = Draw(self._seed, "equaliser", equaliser)
        gains = [10 ** ((g + (0 if equaliser == "flat" else draw.between(-1, 1))) / 20)
                 for _, g in points]  # fmt: skip
        taps = signal.firwin2(_TAPS, [f for f, _ in points], gains, fs=SAMPLE_RATE)
        shape = ROOMS[room]
        if shape is None:
            return taps, _TAPS // 2
        return np.convolve(taps, self._room(room, *shape)), _TAPS // 2

    def _room(
        self, name: str, decay_s: float, direct_db: float, reflections: int
    ) -> NDArray[np.float64]:
        """A room: the direct path, early reflections, exponentially decaying noise."""
        import numpy as np

        draw = Draw(self._seed, "room", name)
        length = round(decay_s * SAMPLE_RATE)
        time = np.arange(length) / SAMPLE_RATE
        # Energy falls by 60 dB in decay_s.
        late = _noise(self._seed, f"room {name}", length) * 10 ** (-3 * time / decay_s)
        late[: round(0.004 * SAMPLE_RATE)] = 0.0
        for _ in range(reflections):
            at = round(draw.between(0.002, 0.03) * SAMPLE_RATE)
            late[min(at, length - 1)] += draw.between(1.0, 3.0) * (1 if draw.chance(0.5) else -1)
        late *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(late**2))
        late[0] = 1.0
        found: NDArray[np.float64] = late
        return found

    def _stretch(self, name: str, length: int, start: float) -> NDArray[np.float32]:
        import numpy as np

        if name not in self._noises:
            self._noises[name] = self._make_noise(name)
        noise = self._noises[name]
        begin = int(start * len(noise))
        if begin + length <= len(noise):
            return noise[begin : begin + length]
        wrapped: NDArray[np.float32] = np.take(noise, np.arange(begin, begin + length), mode="wrap")
        return wrapped

    def _make_noise(self, name: str) -> NDArray[np.float32]:
        """``_NOISE_SECONDS`` of noise of mean power 1 that joins up with itself."""
        import numpy as np
        from scipy import fft

        length = _NOISE_SECONDS * SAMPLE_RATE
        white = _noise(self._seed, f"noise {name}", length)
        hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
        if name == "pink":
            made = fft.irfft(fft.rfft(white) / np.sqrt(np.maximum(hertz, 30.0)), length)
        elif name == "hum":
            made = _hum(self._seed, length) + 0.15 * white
        elif name == "babble":
            made = _babble(self._seed, length)
        else:
            made = white
        scaled: NDArray[np.float32] = (made / np.sqrt(np.mean(made**2))).astype(np.float32)
        return scaled


def _noise(seed: int, purpose: str, length: int) -> NDArray[np.float64]:
    """Gaussian noise named by its purpose."""
    import numpy as np

    words = np.frombuffer(f"{seed}/{purpose}".encode(), dtype=np.uint8)
    return np.random.Generator(np.random.PCG64(words.tolist())).standard_normal(length)


def _hum(seed: int, length: int) -> NDArray[np.float64]:
    """Mains hum: a fundamental and its harmonics, whole periods long."""
    import numpy as np

    draw = Draw(seed, "hum")
    mains = draw.one((50.0, 60.0))
    time = np.arange(length) / SAMPLE_RATE
    total = np.zeros(length)
    for harmonic in range(1, 9):
        phase = draw.between(0, 2 * np.pi)
        strength = draw.between(0.3, 1.0) / harmonic**0.7
        total += strength * np.sin(2 * np.pi * mains * harmonic * time + phase)
    return total


def _babble(seed: int, length: int) -> NDArray[np.float64]:
    """Many talkers far away: speech-shaped noises, each with its own syllable rhythm."""
    import numpy as np
    from scipy import fft

    draw = Draw(seed, "babble")
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    total = np.zeros(length)
    for voice in range(_BABBLE_VOICES):
        # Flat to 500 Hz, then falling 9 dB an octave: the long-term spectrum of speech.
        shape = 1.0 / (1.0 + (hertz / draw.between(400, 650)) ** 1.5)
        shape *= hertz > 90
        formant = draw.between(900, 2600)
        shape *= 1.0 + 1.5 * np.exp(-(((hertz - formant) / 250.0) ** 2))
        noise = fft.irfft(fft.rfft(_noise(seed, f"babble {voice}", length)) * shape, length)
        # Whole numbers of cycles, so that the noise joins up with itself.
        cycles = round(draw.between(2.5, 6.0) * _NOISE_SECONDS)
        slow = round(draw.between(0.3, 0.9) * _NOISE_SECONDS)
        phases = draw.between(0, 2 * np.pi), draw.between(0, 2 * np.pi)
        rhythm = 1 + np.sin(2 * np.pi * cycles * time / _NOISE_SECONDS + phases[0])
        turns = 1.2 + np.sin(2 * np.pi * slow * time / _NOISE_SECONDS + phases[1])
        total += noise * rhythm * turns
    return total
