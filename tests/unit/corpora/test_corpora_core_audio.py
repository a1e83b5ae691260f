"""Audio in: rates, channels, offsets, and damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora.audio import read_file, read_header, read_headers, samples_of
from voxstrata.corpora.cuts import CutReader, read_cut, recording_of
from voxstrata.corpora.tiers import make_cut
from voxstrata.errors import AudioError


def tone(hz: float, seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_other_rates_become_16_khz(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "a.wav", tone(1000, 1.0, rate), rate, subtype="FLOAT")
    audio = read_file(tmp_path / "a.wav")
    assert audio.dtype == np.float32
    assert len(audio) == 16000
    ideal = tone(1000, 1.0, 16000)
    inner = slice(800, -800)  # the filter rings at the edges
    assert np.max(np.abs(audio[inner] - ideal[inner])) < 2e-3


def test_what_16_khz_cannot_hold_is_filtered_not_folded(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(9500, 1.0, 22050), 22050, subtype="FLOAT")
    assert np.max(np.abs(read_file(tmp_path / "a.wav")[800:-800])) < 1e-4


def test_16_khz_is_read_exactly(tmp_path: Path) -> None:
    exact = np.random.default_rng(0).uniform(-0.5, 0.5, 12345).astype(np.float32)
    sf.write(tmp_path / "a.wav", exact, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_file(tmp_path / "a.wav"), exact)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_formats(tmp_path: Path, ending: str) -> None:
    sf.write(tmp_path / f"a.{ending}", tone(500, 1.0, 16000), 16000)
    audio = read_file(tmp_path / f"a.{ending}")
    assert len(audio) == samples_of(read_header(tmp_path / f"a.{ending}").duration_s)
    assert 0.3 < np.std(audio) < 0.4  # 0.5 / sqrt(2)


def test_stereo_is_averaged_or_one_channel_chosen(tmp_path: Path) -> None:
    left, right = tone(400, 0.5, 16000), tone(700, 0.5, 16000)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    path = tmp_path / "a.wav"
    np.testing.assert_allclose(read_file(path), (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(read_file(path, channels=[1]), right, atol=1e-6)
    recording = recording_of(read_header(path))
    np.testing.assert_allclose(
        read_cut(make_cut("u", recording, {})), (left + right) / 2, atol=1e-6
    )
    np.testing.assert_allclose(read_cut(make_cut("u", recording, {}, channel=0)), left, atol=1e-6)
    with pytest.raises(AudioError, match="channel"):
        read_file(path, channels=[2])


def test_start_and_duration(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    sf.write(tmp_path / "a.wav", whole, 16000, subtype="FLOAT")
    part = read_file(tmp_path / "a.wav", start_s=0.25, duration_s=0.5)
    np.testing.assert_array_equal(part, whole[4000:12000])
    rest = read_file(tmp_path / "a.wav", start_s=0.9)
    np.testing.assert_array_equal(rest, whole[14400:])


def test_offset_at_another_rate_hits_the_right_place(tmp_path: Path) -> None:
    click = np.zeros(8000)
    click[6000] = 0.9
    sf.write(tmp_path / "a.wav", click, 8000, subtype="FLOAT")
    part = read_file(tmp_path / "a.wav", start_s=0.5, duration_s=0.5)
    assert len(part) == 8000
    assert int(np.argmax(part)) == 4000  # 0.25 s after the start


def test_a_cut_reader_survives_pickling(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(400, 0.2, 16000), 16000)
    reader = CutReader(make_cut("u", recording_of(read_header(tmp_path / "a.wav")), {}))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader))(), reader())


def test_recordings_of_several_files(tmp_path: Path) -> None:
    """One file a channel, as microphone arrays are published."""
    from lhotse import AudioSource, MultiCut, Recording

    sounds = [tone(300 + 100 * i, 0.3, 16000).astype(np.float32) for i in range(3)]
    sources = []
    for i, sound in enumerate(sounds):
        sf.write(tmp_path / f"{i}.wav", sound, 16000, subtype="FLOAT")
        sources.append(AudioSource("file", [i], str(tmp_path / f"{i}.wav")))
    recording = Recording("r", sources, 16000, 4800, 0.3, [0, 1, 2])
    both = MultiCut("u", 0.0, 0.3, [0, 2], recording=recording)
    np.testing.assert_allclose(read_cut(both), (sounds[0] + sounds[2]) / 2, atol=1e-6)


def test_augmented_and_mixed_cuts_go_through_lhotse(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(400, 1.0, 16000), 16000)
    cut = make_cut("u", recording_of(read_header(tmp_path / "a.wav")), {})
    louder = cut.perturb_volume(0.5)
    np.testing.assert_allclose(read_cut(louder), read_cut(cut) * 0.5, atol=1e-5)
    mixed = cut.mix(cut)
    np.testing.assert_allclose(read_cut(mixed), read_cut(cut) * 2, atol=1e-4)


@pytest.mark.parametrize("kind", ["command", "url"])
def test_manifests_cannot_run_commands_or_fetch(tmp_path: Path, kind: str) -> None:
    from lhotse import AudioSource, MonoCut, Recording

    touched = tmp_path / "touched"
    source = f"touch {touched}" if kind == "command" else "http://localhost:1/a.wav"
    recording = Recording("r", [AudioSource(kind, [0], source)], 16000, 16000, 1.0)
    with pytest.raises(AudioError, match="not a local file"):
        read_cut(MonoCut("u", 0.0, 1.0, 0, recording=recording))
    assert not touched.exists()


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5000))
    for name, words in (("gone", "missing"), ("empty", "is empty"), ("noise", "cannot be read")):
        with pytest.raises(AudioError, match=words) as caught:
            read_file(tmp_path / f"{name}.wav")
        assert f"{name}.wav" in str(caught.value)


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
def test_truncated_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 32000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    header_seen = read_headers([str(path)])[str(path)]
    missing = getattr(header_seen, "missing_bytes", 0)
    assert missing > 0 or ending != "wav"
    with pytest.raises(AudioError) as caught:
        read_file(path, duration_s=2.0)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, bad: float) -> None:
    sound = tone(400, 0.5, 16000)
    sound[4000] = bad
    sf.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav holds samples that are not numbers") as caught:
        read_file(tmp_path / "a.wav")
    assert "0.250 s" in str(caught.value)


def test_no_samples(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="no samples"):
        read_file(tmp_path / "a.wav")


def test_headers_of_many_files_notice_changes(tmp_path: Path) -> None:
    paths = []
    for i in range(50):
        sf.write(tmp_path / f"{i}.wav", np.zeros(100 + i), 16000)
        paths.append(str(tmp_path / f"{i}.wav"))
    found = read_headers([*paths, str(tmp_path / "gone.wav")])
    assert [found[p].frames for p in paths] == [100 + i for i in range(50)]
    assert isinstance(found[str(tmp_path / "gone.wav")], AudioError)
    sf.write(paths[0], np.zeros(999), 8000)
    assert read_header(paths[0]).frames == 999
