"""Resampling and filtering at once: overlap-save from the engine's rate straight to 16 kHz.

441 samples at 22,050 Hz and 320 at 16 kHz both last 20 ms, here called a step. The transforms of
``k`` steps at either rate therefore have the same bins, 50 / k Hz apart: the bins below 8 kHz of
the one, times the response of low-pass, equaliser and room, are those of the other. Resampling
then costs no more than the choice of bins.

Blocks overlap by the length of the response (overlap-save: Oppenheim and Schafer, Discrete-Time
Signal Processing, 8.7.3), so their borders leave no trace. They are transformed four at a time,
which is what vector registers hold; each utterance by itself, so that its samples do not depend
on its neighbours.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from voxstrata.corpora.synthetic.engine import ENGINE_RATE
from voxstrata.types import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

STEPS_A_SECOND = math.gcd(ENGINE_RATE, SAMPLE_RATE)
_IN, _OUT = ENGINE_RATE // STEPS_A_SECOND, SAMPLE_RATE // STEPS_A_SECOND

# Stop band from the new Nyquist frequency on, 100 dB down; flat up to 7.7 kHz.
_STOP_DB = 100.0
_HALF = 264  # taps to either side: 12 ms
_ROWS = 4
# Block lengths in steps: even, without large prime factors. The longest is 2.6 s.
_SIZES = (8, 10, 12, 16, 18, 20, 24, 30, 32, 36, 40, 48, 54, 60, 64, 72, 80, 96, 108, 120, 128)


class Filter:
    """A response at 16 kHz, applied to speech at the engine's rate.

    Args:
        response: impulse response at ``SAMPLE_RATE``, at most two seconds.
        delay: which of its samples is time 0; the output is not delayed.
        sizes: block lengths to choose from, in steps of 20 ms.
    """

    def __init__(
        self, response: ArrayLike, delay: int = 0, sizes: tuple[int, ...] = _SIZES
    ) -> None:
        import numpy as np

        self._response, self._delay = np.asarray(response, dtype=np.float64), delay
        # How far input before and after a sample reaches it, in whole steps.
        margin = math.ceil(_HALF * _OUT / _IN)
        self._past = math.ceil((len(self._response) - delay + margin) / _OUT)
        self._future = math.ceil((delay + margin) / _OUT)
        self._sizes = sizes
        self._spectra: dict[int, NDArray[np.complex64]] = {}

    def apply(self, samples: NDArray[np.int16], lead: int, tail: int) -> NDArray[np.float32]:
        """Filter one utterance.

        Args:
            samples: int16 at ``ENGINE_RATE``.
            lead: samples of silence before, at the same rate.
            tail: samples of silence after.

        Returns:
            float32 at ``SAMPLE_RATE``, on the scale of ``samples``; its sample 0 is the
            beginning of ``lead``.
        """
        import numpy as np
        from scipy import fft

        total = lead + len(samples) + tail
        overlap = self._past + self._future
        size, rows = _blocks(-(-total // _IN), overlap, self._sizes)
        fresh = size - overlap
        padded = np.zeros((rows * fresh + overlap) * _IN, dtype=np.float32)
        begin = self._past * _IN + lead
        padded[begin : begin + len(samples)] = samples
        blocks = np.lib.stride_tricks.sliding_window_view(padded, size * _IN)[:: fresh * _IN]
        if size not in self._spectra:
            self._spectra[size] = self._spectrum(size)
        response = self._spectra[size]
        bins = fft.rfft(blocks)[:, : len(response)] * response
        made: NDArray[np.float32] = fft.irfft(bins, size * _OUT, overwrite_x=True)
        valid = made[:, self._past * _OUT : (self._past + fresh) * _OUT]
        return valid.reshape(-1)[: round(total * _OUT / _IN)]

    def _spectrum(self, size: int) -> NDArray[np.complex64]:
        """Response of low-pass and channel on the bins up to 8 kHz, time 0 at sample 0."""
        import numpy as np
        from scipy import fft

        channel = np.zeros(size * _OUT)
        channel[: len(self._response)] = self._response
        taps = np.zeros(size * _IN)
        taps[: 2 * _HALF + 1] = _low_pass()
        product = fft.rfft(np.roll(channel, -self._delay))
        product *= fft.rfft(np.roll(taps, -_HALF))[: len(product)]
        # The inverse transform divides by the smaller number of samples.
        product *= _OUT / _IN
        spectrum: NDArray[np.complex64] = product.astype(np.complex64)
        return spectrum


@functools.cache
def _blocks(steps: int, overlap: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Length of a block in steps and number of blocks: the pair with the least work."""
    pairs = ((k, _ROWS * -(-steps // (_ROWS * (k - overlap)))) for k in sizes if k > overlap)
    return min(pairs, key=math.prod)


@functools.cache
def _low_pass() -> NDArray[np.float64]:
    """Linear-phase low-pass at ``ENGINE_RATE`` (Kaiser's window and his formula for its width)."""
    from scipy import signal

    count = 2 * _HALF + 1
    # Kaiser: attenuation - 7.95 = 2.285 * (count - 1) * width in radians.
    width = (_STOP_DB - 7.95) / (2.285 * (count - 1)) * ENGINE_RATE / (2 * math.pi)
    taps: NDArray[np.float64] = signal.firwin(
        count,
        (SAMPLE_RATE - width) / 2,
        window=("kaiser", signal.kaiser_beta(_STOP_DB)),
        fs=ENGINE_RATE,
    )
    return taps
