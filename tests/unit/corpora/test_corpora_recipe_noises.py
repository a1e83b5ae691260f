"""MUSAN and RIRS_NOISES, prepared from miniatures of the published trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpora_recipe_trees import audio, cuts, prepare, said, stray, text, tiers

from voxstrata.errors import CorpusError


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    root = tmp_path / "musan"
    audio(root / "music" / "fma" / "music-fma-0000.wav", 1.0)
    audio(root / "music" / "fma" / "music-fma-0001.wav", 1.2, seed=1)
    text(
        root / "music" / "fma" / "ANNOTATIONS",
        "music-fma-0000 baroque,classical N dave_keir",
        "music-fma-0001 country Y quantum_jazz extra words",
        "",
    )
    text(root / "music" / "fma" / "LICENSE", "x")
    text(root / "music" / "fma" / "README", "x")
    audio(root / "speech" / "librivox" / "speech-librivox-0000.wav", 1.0, seed=2)
    audio(root / "noise" / "free-sound" / "noise-free-sound-0000.wav", 1.0, seed=3)
    text(root / "noise" / "free-sound" / "ANNOTATIONS", "noise-free-sound-0000")
    text(root / "README", "x")
    return root


def test_musan(musan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("musan", musan, out)
    assert report.problems == ()
    assert {p: c.utterances for p, c in report.parts.items()} == {
        "music": 2,
        "speech": 1,
        "noise": 1,
    }
    assert tiers(out, "music")["music-fma-0000"] == {
        "kind": "music",
        "origin": "fma",
        "genres": ["baroque", "classical"],
        "vocals": False,
        "speaker": "dave_keir",
    }
    assert tiers(out, "music")["music-fma-0001"]["vocals"] is True
    assert tiers(out, "noise")["noise-free-sound-0000"] == {"kind": "noise", "origin": "free-sound"}


def test_musan_same_as_lhotse(musan: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_musan

    prepare("musan", musan, tmp_path / "out")
    theirs = prepare_musan(musan)
    for part in ("music", "speech", "noise"):
        mine = {c.id: c.duration for c in cuts(tmp_path / "out", part).values()}
        assert mine == {r.id: r.duration for r in theirs[part]["recordings"]}
    found = tiers(tmp_path / "out", "music")
    for s in theirs["music"]["supervisions"]:
        mine = {k: found[s.id][k] for k in ("genres", "vocals", "speaker")}
        assert mine == {**s.custom, "speaker": s.speaker}


def test_musan_damage(musan: Path, tmp_path: Path) -> None:
    (musan / "music" / "fma" / "music-fma-0001.wav").unlink()
    (musan / "music" / "fma" / "ANNOTATIONS").open("a").write("music-fma-0002 rock\n")
    (musan / "noise" / "free-sound" / "noise-free-sound-0001.wav").write_bytes(b"")
    stray(musan / "speech" / "librivox")
    report = prepare("musan", musan, tmp_path / "out")
    assert said(report, "music-fma-0001", "recording is missing")
    assert said(report, "music-fma-0002 is incomplete")
    assert said(report, "noise-free-sound-0001", "is empty")
    assert said(report, ".DS_Store")
    assert report.parts["noise"].utterances == 1


def test_truncated_recording_is_kept_and_reported(musan: Path, tmp_path: Path) -> None:
    path = musan / "noise" / "free-sound" / "noise-free-sound-0000.wav"
    path.write_bytes(path.read_bytes()[:20_000])
    report = prepare("musan", musan, tmp_path / "out", ["noise"])
    assert said(report, "noise-free-sound-0000", "truncated", "12044 bytes are missing")
    (cut,) = cuts(tmp_path / "out", "noise").values()  # reads its audio
    assert cut.duration == pytest.approx((20_000 - 44) / 2 / 16_000)


def test_second_recording_of_one_name_is_left_out(musan: Path, tmp_path: Path) -> None:
    audio(musan / "noise" / "sound-bible" / "noise-free-sound-0000.wav", 2.0)
    report = prepare("musan", musan, tmp_path / "out", ["noise"])
    assert report.parts["noise"].utterances == 1
    assert said(report, "sound-bible", "the same id came before")


def test_musan_levels(musan: Path, tmp_path: Path) -> None:
    assert prepare("musan", musan.parent, tmp_path / "a").parts
    assert prepare("musan", musan / "music", tmp_path / "b").parts
    import shutil

    shutil.rmtree(musan / "speech")
    report = prepare("musan", musan, tmp_path / "c")
    assert said(report, "speech", "not there")


@pytest.fixture
def rirs(tmp_path: Path) -> Path:
    root = tmp_path / "RIRS_NOISES"
    audio(root / "pointsource_noises" / "noise-free-sound-0000.wav", 0.5)
    text(root / "pointsource_noises" / "noise_list", "--noise-id x")
    real = root / "real_rirs_isotropic_noises"
    audio(real / "air_type1_air_binaural_aula_carolina_1_3_0_3.wav", 0.5, seed=1)
    sf.write(
        str(real / "RVB2014_type1_rir_largeroom1_far_angla.wav"),
        np.random.default_rng(0).normal(0, 0.1, (8000, 8)),
        16000,
    )
    audio(real / "RWCP_type1_rir_cirline_jr1_imp010.wav", 0.5, seed=2)
    audio(real / "RVB2014_type1_noise_largeroom1_1.wav", 0.5, seed=3)
    text(real / "rir_list", "x")
    for size in ("small", "medium"):
        audio(root / "simulated_rirs" / f"{size}room" / "Room001" / "Room001-00001.wav", 0.5)
        text(root / "simulated_rirs" / f"{size}room" / "rir_list", "x")
    return root


def test_rirs(rirs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("rirs", rirs, out)
    assert report.problems == ()
    assert {p: c.utterances for p, c in report.parts.items()} == {
        "point_noise": 1,
        "iso_noise": 1,
        "real_rir": 3,
        "sim_rir": 2,
    }
    real = cuts(out, "real_rir")
    assert len(real["RVB2014_type1_rir_largeroom1_far_angla"].channel) == 8
    assert tiers(out, "sim_rir")["medium-Room001-00001"] == {
        "kind": "sim_rir",
        "room_size": "medium",
        "room": "Room001",
    }


def test_rirs_as_lhotse_but_with_the_aachen_ones(rirs: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_rir_noise

    prepare("rirs", rirs, tmp_path / "out")
    theirs = prepare_rir_noise(rirs)
    for part in ("point_noise", "iso_noise", "sim_rir"):
        assert set(cuts(tmp_path / "out", part)) == set(theirs[part]["recordings"].ids)
    mine = set(cuts(tmp_path / "out", "real_rir"))
    lost = {"air_type1_air_binaural_aula_carolina_1_3_0_3"}
    assert mine - set(theirs["real_rir"]["recordings"].ids) == lost


def test_rirs_damage_and_levels(rirs: Path, tmp_path: Path) -> None:
    (rirs / "pointsource_noises" / "noise-free-sound-0000.wav").write_bytes(b"junk")
    audio(rirs / "simulated_rirs" / "hugeroom" / "Room001" / "Room001-00001.wav")
    stray(rirs / "simulated_rirs")
    report = prepare("rirs", rirs.parent, tmp_path / "out")
    assert "point_noise" not in report.parts
    assert said(report, "noise-free-sound-0000", "cannot be read")
    assert said(report, "hugeroom", "ignored")
    assert said(report, ".DS_Store")
    with pytest.raises(CorpusError, match="nothing in"):
        prepare("rirs", rirs, tmp_path / "only", ["point_noise"])
