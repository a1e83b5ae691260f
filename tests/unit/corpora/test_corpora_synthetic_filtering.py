"""Resampling and filtering in one: against the plain way and against signals of known form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from voxstrata.corpora.synthetic.channel import EQUALISERS, ROOMS, Channel, Studio
from voxstrata.corpora.synthetic.engine import ENGINE_RATE
from voxstrata.corpora.synthetic.filtering import Filter
from voxstrata.types import SAMPLE_RATE


def _noise(seconds: float, below_hz: float, seed: int = 0) -> np.ndarray:
    """Noise without anything above a frequency."""
    count = round(seconds * ENGINE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / ENGINE_RATE) > below_hz] = 0
    wave = np.fft.irfft(spectrum, count) * signal.windows.tukey(count, 0.1)
    return np.round(8000 * wave / wave.std() / 3).astype(np.int16)


def _tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * ENGINE_RATE)) / ENGINE_RATE
    window = signal.windows.hann(len(time))
    return np.round(20_000 * window * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("equaliser", ["flat", "phone"])
def test_it_equals_resampling_and_then_convolution(equaliser: str, room: str) -> None:
    samples, lead, tail = _noise(1.3, 7000.0), 3000, 5000
    studio = Studio(4)
    got = studio._filter(Channel(equaliser, room, "clean")).apply(samples, lead, tail)

    padded = np.pad(samples.astype(np.float64), (lead, tail))
    # A far longer low-pass, step by step in float64 (soxr VHQ deviates by 1e-3 near 7 kHz).
    taps = signal.firwin(176_401, 7800, fs=320 * ENGINE_RATE, window=("kaiser", 10))
    plain = signal.resample_poly(padded, 320, 441, window=taps)[: len(got)]
    if (equaliser, room) != ("flat", "dry"):
        response, delay = studio._response(equaliser, room)
        plain = signal.fftconvolve(plain, response)[delay : delay + len(plain)]
    assert got.dtype == np.float32
    scale = np.sqrt(np.mean(plain**2))
    assert np.abs(got - plain).max() < 5e-5 * scale
    lags = signal.correlate(got, plain, "same", "fft")
    assert np.argmax(lags) == len(plain) // 2


def test_a_signal_known_at_every_instant_is_met_at_the_new_samples() -> None:
    """A windowed tone whose formula gives the right answer at any time, between samples too."""

    def wave(time: np.ndarray) -> np.ndarray:
        envelope = np.exp(-(((time - 0.4123) / 0.05) ** 2))
        return 20_000 * envelope * np.cos(2 * np.pi * 3456.7 * (time - 0.4123))

    samples = np.round(wave(np.arange(18_000) / ENGINE_RATE)).astype(np.int16)
    for lead in (0, 1, 777):
        got = Filter([1.0]).apply(samples, lead, 100)
        time = np.arange(len(got)) / SAMPLE_RATE - lead / ENGINE_RATE
        # Half a unit of rounding in each input sample, and nothing else.
        assert np.abs(got - wave(time)).max() < 2.0


def test_a_delay_is_taken_back_and_an_echo_comes_when_it_should() -> None:
    samples = _noise(0.7, 6000.0)
    direct = Filter([1.0]).apply(samples, 500, 4000)
    echo = np.zeros(1300)
    echo[100], echo[1250] = 1.0, 0.5
    both = Filter(echo, 100).apply(samples, 500, 4000)
    expected = direct.copy()
    expected[1150:] += 0.5 * direct[:-1150]
    assert np.abs(both - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("seconds", [0.3, 2.4, 9.0])
def test_borders_of_blocks_leave_no_trace(room: str, seconds: float) -> None:
    samples = _noise(seconds, 11_000.0)
    made = Studio(0)._filter(Channel("bright", room, "clean"))
    whole = Filter(made._response, made._delay, sizes=(600,)).apply(samples, 2205, 2000)
    assert len(whole) < 570 * 320  # one block
    for other in (made, Filter(made._response, made._delay, sizes=(36,))):
        got = other.apply(samples, 2205, 2000)
        assert np.abs(got - whole).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("hertz", [8100, 8500, 9000, 10_000, 10_900])
def test_nothing_above_the_new_nyquist_frequency_comes_back(hertz: float) -> None:
    got = Filter([1.0]).apply(_tone(hertz), 100, 100)
    # 16-bit rounding of the tone itself is at -98 dB.
    assert np.sqrt(np.mean(got**2)) < 10 ** (-85 / 20) * 20_000 * np.sqrt(3 / 16)


@pytest.mark.parametrize("hertz", [40, 1000, 5000, 7000, 7600])
def test_what_lies_below_keeps_its_level(hertz: float) -> None:
    got = Filter([1.0]).apply(_tone(hertz), 0, 0)
    assert np.sqrt(np.mean(got**2)) == pytest.approx(20_000 * np.sqrt(3 / 16), rel=2e-4)


@pytest.mark.parametrize("count", [1, 2, 440, 441, 442, 5000])
def test_length_is_the_duration_at_the_new_rate(count: int) -> None:
    samples = np.full(count, 1000, dtype=np.int16)
    assert len(Filter([1.0]).apply(samples, 0, 0)) == round(count * SAMPLE_RATE / ENGINE_RATE)
    assert len(Filter([1.0]).apply(samples, 441, 882)) == 960 + round(count * 320 / 441)


def test_an_utterance_does_not_hear_the_one_before() -> None:
    first, second = _noise(2.0, 9000.0, 1), _noise(1.7, 9000.0, 2)
    for equaliser in EQUALISERS:
        channel = Channel(equaliser, "office", "clean")
        used = Studio(0)._filter(channel)
        before = used.apply(first, 100, 200)
        after = used.apply(second, 300, 400)
        assert np.array_equal(after, Studio(0)._filter(channel).apply(second, 300, 400))
        assert np.array_equal(before, used.apply(first, 100, 200))
