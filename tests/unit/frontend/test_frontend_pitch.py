"""F0 against signals of known pitch; level, tilt and zero crossings against arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from voxstrata.errors import AudioError
from voxstrata.frontend import acoustic, front_end
from voxstrata.frontend.pitch import (
    OVERSAMPLING,
    PitchConfig,
    autocorrelation,
    estimate_pitch,
    frames_of,
    hann,
)

RATE = 16000
INNER = slice(4, -4)  # frames whose 40 ms window lies inside the recording


def pulses(f0: np.ndarray, *, top: float = 6000.0) -> np.ndarray:
    """Harmonics of equal strength below ``top`` of a pitch contour in Hz, [S]."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    wave = np.zeros(len(f0))
    for number in range(1, int(top // f0.max()) + 1):
        wave += np.cos(number * phase)
    return wave / np.abs(wave).max()


def vowel(wave: np.ndarray, formants: tuple[float, ...] = (600, 1200, 2500)) -> np.ndarray:
    """Pulses through resonances of 80 Hz and a glottal slope of -6 dB an octave."""
    from scipy.signal import lfilter

    out = lfilter([1.0], [1.0, -0.95], wave)
    for hz in formants:
        r = np.exp(-np.pi * 80 / RATE)
        out = lfilter([1.0], [1.0, -2 * r * np.cos(2 * np.pi * hz / RATE), r * r], out)
    return out / np.abs(out).max()


def cents(found: np.ndarray, hz: float | np.ndarray) -> np.ndarray:
    return 1200 * (found - np.log2(hz))


@pytest.mark.parametrize("hz", [80.0, 100.0, 127.3, 220.0, 333.3, 440.0, 490.0])
def test_tones_and_pulses_to_a_fifth_of_a_cent(hz: float) -> None:
    time = np.arange(16000) / RATE
    for wave in (np.sin(2 * np.pi * hz * time), pulses(np.full(16000, hz))):
        found = estimate_pitch(wave)
        assert found.voiced[INNER].all()
        limit = 0.2 if hz > 90 else 3.0  # three periods of 75 Hz are few for a tone of 80
        assert np.abs(cents(found.log2_hz, hz)[INNER]).max() < limit
        assert found.periodicity[INNER].min() > 0.98
        assert found.periodicity.max() <= 1


@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_vowels_in_noise(snr_db: int) -> None:
    rng = np.random.default_rng(0)
    for hz in (95.0, 180.0, 290.0):
        clean = vowel(pulses(np.full(32000, hz)))
        noise = rng.standard_normal(len(clean)) * clean.std() * 10 ** (-snr_db / 20)
        found = estimate_pitch(clean + noise)
        assert found.voiced[INNER].mean() > 0.98
        off = np.abs(cents(found.log2_hz, hz)[INNER])
        assert np.median(off) < 10
        assert (off < 50).mean() > 0.99  # no octave errors


def test_contours_are_followed() -> None:
    """A glide and a vibrato; the mean over a 40 ms window lags nowhere."""
    time = np.arange(32000) / RATE
    for contour in (110 * 2 ** (time / 2), 200 * 2 ** (0.05 * np.sin(2 * np.pi * 4 * time))):
        found = estimate_pitch(vowel(pulses(contour, top=5000)))
        centre = 200 + 160 * np.arange(len(found.voiced))
        assert found.voiced[INNER].all()
        assert np.abs(cents(found.log2_hz, contour[centre])[INNER]).max() < 25


def test_periodicity_is_the_share_of_harmonic_power() -> None:
    """Boersma (1993): r at the period's lag is the harmonic part of the power (the highest peak
    of a noisy function lies above it, more so the noisier it is)."""
    rng = np.random.default_rng(1)
    tone = np.sqrt(2) * np.sin(2 * np.pi * 200 * np.arange(80000) / RATE)
    for share in (0.5, 0.9):
        mix = np.sqrt(share) * tone + np.sqrt(1 - share) * rng.standard_normal(80000)
        found = estimate_pitch(mix)
        over = found.periodicity[INNER].mean() - share
        assert -0.01 < over < 0.15 * (1 - share)


def test_noise_and_silence_are_voiceless_and_finite() -> None:
    rng = np.random.default_rng(0)
    for wave in (rng.standard_normal(40000), np.zeros(8000), np.full(8000, 0.3)):
        found = estimate_pitch(wave)
        assert not found.voiced.any()
        assert np.isfinite(found.log2_hz).all()
        assert (found.log2_hz == (np.log2(75) + np.log2(500)) / 2).all()
        assert ((found.periodicity >= 0) & (found.periodicity <= 1)).all()


def test_voiceless_frames_lie_on_the_line_between_voiced_ones() -> None:
    low, high = pulses(np.full(8000, 100.0)), pulses(np.full(8000, 200.0))
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.standard_normal(8000)
    found = estimate_pitch(np.concatenate([noise, low, noise, high, noise]))
    gap = np.flatnonzero(~found.voiced[80:170]) + 80
    assert 40 < len(gap) < 56  # half a second
    assert (np.diff(gap) == 1).all()
    steps = np.diff(found.log2_hz[gap[0] - 1 : gap[-1] + 2])
    assert steps == pytest.approx(steps[0])
    assert steps.sum() == pytest.approx(1.0, abs=0.05)
    first = np.flatnonzero(found.voiced)[0]
    assert (found.log2_hz[:first] == found.log2_hz[first]).all()


def test_the_path_prefers_continuity() -> None:
    """Without costs of jumps, a frame disturbed by its octave is free to leave the contour."""
    wave = vowel(pulses(np.full(16000, 150.0)))
    burst = slice(7600, 8240)
    time = np.arange(640) / RATE
    wave[burst] += 1.5 * np.sin(2 * np.pi * 300 * time)
    free = estimate_pitch(wave, PitchConfig(octave_jump_cost=0.0, voicing_cost=0.0))
    kept = estimate_pitch(wave)
    assert np.abs(cents(free.log2_hz, 150)[INNER]).max() > 1000
    assert np.abs(cents(kept.log2_hz, 150)[INNER]).max() < 100


def test_autocorrelation_of_the_window_is_boersmas_formula() -> None:
    """r_w(x) = (1 - x)(2/3 + cos(2 pi x)/3) + sin(2 pi x)/(2 pi), x the lag over the length."""
    found = autocorrelation(hann(640)[None], 220)[0]
    x = np.arange(len(found)) / OVERSAMPLING / 640
    formula = (1 - x) * (2 / 3 + np.cos(2 * np.pi * x) / 3) + np.sin(2 * np.pi * x) / (2 * np.pi)
    assert np.abs(found - formula).max() < 1e-6


def test_autocorrelation_at_whole_lags_is_its_definition() -> None:
    frames = np.random.default_rng(0).standard_normal((3, 640))
    found = autocorrelation(frames, 60)[:, ::OVERSAMPLING]
    for row, frame in zip(found, frames, strict=True):
        direct = [frame[: 640 - lag] @ frame[lag:] for lag in range(61)]
        # Halving the Nyquist bin moves whole lags by its share of the power.
        assert np.abs(row - np.array(direct) / direct[0]).max() < 5e-3


def test_level_does_not_matter_and_time_shifts_do() -> None:
    wave = vowel(pulses(np.linspace(100, 200, 16000), top=4000))
    plain, quiet = estimate_pitch(wave), estimate_pitch(1e-3 * wave + 0.2)
    assert (plain.voiced == quiet.voiced).all()
    assert np.abs(plain.log2_hz - quiet.log2_hz).max() < 1e-6
    later = estimate_pitch(wave[160:])
    assert np.abs(plain.log2_hz[6:-6] - later.log2_hz[5:-6]).max() < 1e-3


def test_frames_are_those_of_log_mel() -> None:
    front = front_end("log-mel")
    for samples in (400, 401, 559, 560, 561, 5000, 16000):
        assert frames_of(samples) == front.frames(samples)
        wave = np.random.default_rng(0).standard_normal(samples)
        assert len(estimate_pitch(wave).voiced) == frames_of(samples)
        assert len(acoustic.windows(wave)) == frames_of(samples)
    assert frames_of(399) == 0
    assert PitchConfig().grid.centre2(7) == front.grid.centre2(7)
    assert PitchConfig(floor_hz=61.3).grid.centre2(7) == front.grid.centre2(7)
    assert front.grid == acoustic.GRID


def test_refusals() -> None:
    with pytest.raises(AudioError, match="at least 400"):
        estimate_pitch(np.zeros(399))
    with pytest.raises(AudioError, match=r"\(2, 400\)"):
        estimate_pitch(np.zeros((2, 400)))
    with pytest.raises(ValidationError, match=r"1\.5 times"):
        PitchConfig(floor_hz=400.0)


def test_synthetic_speech_has_the_pitch_it_was_given(tmp_path: Path) -> None:
    """espeak-ng with a wide range: F0 follows the base pitch of the voice, women above men."""
    pytest.importorskip("espeakng_loader")
    from voxstrata.corpora.synthetic.build import build_synthetic
    from voxstrata.corpora.synthetic.config import SyntheticConfig

    config = SyntheticConfig.parse("synthetic:tiny,channels=1")
    from voxstrata.corpora import load_corpus
    from voxstrata.corpora.synthetic.voices import voices

    build_synthetic(config, jobs=1)
    corpus = load_corpus("synthetic:tiny,channels=1")
    middle: dict[str, list[float]] = {}
    vowels = {"AA", "AE", "AH", "AO", "EH", "IH", "IY", "UW", "EY", "OW", "AY", "ER"}
    hits = silent = voiced_silence = spoken = 0
    for utterance in corpus.utterances:
        found = estimate_pitch(utterance.read())
        times = (200 + 160 * np.arange(len(found.voiced))) / RATE
        for span in utterance.segments("phones"):
            inside = (times >= span.start_s + 0.02) & (times < span.end_s - 0.02)
            if span.label in vowels:
                spoken += inside.sum()
                hits += (found.voiced & inside).sum()
            elif span.label == "SIL":
                silent += inside.sum()
                voiced_silence += (found.voiced & inside).sum()
        speaker = str(utterance.tiers["speaker"])
        middle.setdefault(speaker, []).append(float(np.median(found.log2_hz[found.voiced])))
    assert hits / spoken > 0.95
    assert voiced_silence / silent < 0.05
    ours = {name: 2 ** np.median(values) for name, values in middle.items()}
    given = {v.name: v.pitch for v in voices(4, config.seed)}
    order = sorted(ours, key=lambda name: ours[name])
    assert order == sorted(given, key=lambda name: sum(given[name]))
    for name, hz in ours.items():
        assert 0.8 * given[name][0] < hz < 1.25 * given[name][1]


def test_level() -> None:
    time = np.arange(8000) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 400 * time)  # whole periods in 400 samples
    assert acoustic.energy_db(acoustic.windows(tone + 0.3)) == pytest.approx(-20 - 3.0103, abs=1e-3)
    assert (acoustic.energy_db(acoustic.windows(np.zeros(1000))) == -100).all()


@pytest.mark.parametrize("slope", [0.0, -6.0, -12.0, 3.0])
def test_tilt_of_shaped_noise(slope: float) -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(160000))
    hz = np.fft.rfftfreq(160000, 1 / RATE)
    spectrum *= np.maximum(hz, 20) ** (slope / 20 / np.log10(2))
    wave = np.fft.irfft(spectrum)
    found = acoustic.tilt_db(acoustic.windows(0.1 * wave / wave.std()))
    assert found.mean() == pytest.approx(slope, abs=0.4)
    assert acoustic.tilt_db(acoustic.windows(np.zeros(1000))) == pytest.approx(0, abs=1e-9)


def test_zero_crossings() -> None:
    time = np.arange(16000) / RATE
    tone = np.sin(2 * np.pi * 1000 * time + 0.1)
    # 2000 changes of sign a second
    assert acoustic.zero_crossings(acoustic.windows(tone)) == pytest.approx(0.125, abs=0.0026)
    noise = np.random.default_rng(0).standard_normal(160000)
    assert acoustic.zero_crossings(acoustic.windows(noise)).mean() == pytest.approx(0.5, abs=0.01)
    assert (acoustic.zero_crossings(acoustic.windows(np.zeros(1000))) == 0).all()
