"""Mixtures in the cache: equal settings give equal bytes; what cannot be mixed is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from voices_made import fresh, voices, write
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.mixtures import build
from voxstrata.corpora.mixtures.config import MixturesConfig, parse
from voxstrata.corpora.mixtures.plan import Planned
from voxstrata.errors import ConfigError, CorpusError, LabelError, UsageError
from voxstrata.types import SAMPLE_RATE

__all__ = ["fresh", "voices"]  # fixtures


# -- the cache -----------------------------------------------------------------------------------


def digest(corpus: Corpus) -> str:
    place = Path(str(corpus.details["manifest"])).parent
    whole = hashlib.sha256((place / "manifest.jsonl").read_bytes())
    for file in sorted((place / "audio").iterdir()):
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()


def test_equal_settings_give_equal_bytes(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {}
    for name, spec in (
        ("one", "mixtures,count=8"),
        ("two", "mixtures,count=8"),
        ("defaults", "mixtures,count=8,turns=4,seed=0"),
        ("seed", "mixtures,count=8,seed=1"),
        ("turns", "mixtures,count=8,turns=3"),
    ):
        monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path / name))
        digests[name] = digest(load_corpus(f"{spec}:{voices}"))
    assert digests["one"] == digests["two"] == digests["defaults"]
    assert len(set(digests.values())) == 3


def test_made_once_and_again_when_the_corpus_changes(tmp_path: Path, fresh: Path) -> None:
    place = write(tmp_path / "v")
    first = load_corpus(f"mixtures,count=6:{place}")
    manifest = Path(str(first.details["manifest"]))
    stamp = manifest.stat().st_mtime_ns
    again = load_corpus(f"mixtures,count=6:{place}", limit=4)
    assert manifest.stat().st_mtime_ns == stamp
    assert [u.id for u in again] == [u.id for u in first][:4]
    assert len(list((fresh / "mixtures").iterdir())) == 1
    lines = (place / "manifest.jsonl").read_text().splitlines()
    (place / "manifest.jsonl").write_text("\n".join(lines[:-1]))
    other = load_corpus(f"mixtures,count=6:{place}")
    assert not {u.id for u in other} & {u.id for u in first}


def test_a_broken_build_leaves_nothing_that_could_be_taken_for_whole(
    voices: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = build.mix, []

    def breaks(made: Planned, seed: int) -> NDArray[np.float64]:
        calls.append(made.number)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(made, seed)

    monkeypatch.setattr(build, "mix", breaks)
    with pytest.raises(KeyboardInterrupt):
        load_corpus(f"mixtures,count=6:{voices}")
    assert [p.name.endswith(".partial") for p in (fresh / "mixtures").iterdir()] == [True]
    monkeypatch.setattr(build, "mix", real)
    mended = digest(load_corpus(f"mixtures,count=6:{voices}"))
    assert [p.name.endswith(".partial") for p in (fresh / "mixtures").iterdir()] == [False]
    monkeypatch.setenv("VOXSTRATA_CACHE", str(fresh.parent / "other"))
    assert mended == digest(load_corpus(f"mixtures,count=6:{voices}"))


def test_progress(voices: Path, fresh: Path) -> None:
    told = []
    load_corpus(f"mixtures,count=5:{voices}", progress=lambda *said: told.append(said))
    assert [done for what, done, total in told if what == "mixing speakers"] == [1, 2, 3, 4, 5]


# -- refused -----------------------------------------------------------------------------------


def test_options() -> None:
    config, corpus = parse("mixtures, count=120, overlap=0.3:synthetic:demo,seed=3")
    assert (config.count, config.overlap, config.seed) == (120, 0.3, 0)
    assert corpus == "synthetic:demo,seed=3"
    assert parse("mixtures:C:/x") == (MixturesConfig(), "C:/x")


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("mixtures,cuont=9:synthetic", "did you mean 'count'"),
        ("mixtures,speakers=3:synthetic", "unknown key"),
        ("mixtures,count=x:synthetic", "count: 'x'"),
        ("mixtures,count=4:synthetic", "greater than or equal to 5"),
        ("mixtures,overlap=0.5:synthetic", "less than or equal to 0.3"),
        ("mixtures,overlap=nan:synthetic", "overlap: 'nan'"),
        ("mixtures,turns=1:synthetic", "turns: '1'"),
        ("mixtures,level=-1:synthetic", "level: '-1'"),
        ("mixtures,turns:synthetic", "an option has no value"),
        ("mixtures,turns=:synthetic", "an option has no value"),
        ("mixtures,seed=1,seed=2:synthetic", "given twice"),
    ],
)
def test_wrong_options_are_refused(spec: str, names: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_corpus(spec)
    assert names in str(error.value)


@pytest.mark.parametrize("spec", ["mixtures", "mixtures:", "mixtures,count=9", "mixtures: "])
def test_no_corpus_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="of which corpus") as error:
        load_corpus(spec)
    assert ":synthetic:demo" in str(error.value)


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mixtures", speakers=1, each=2)
    monkeypatch.chdir(tmp_path)
    assert len(load_corpus("mixtures")) == 2


def test_a_corpus_that_is_not_there_is_named() -> None:
    with pytest.raises(CorpusError, match="there is no corpus at"):
        load_corpus("mixtures:./nowhere/at/all")


def test_too_few_speakers_are_refused(tmp_path: Path, fresh: Path) -> None:
    place = write(tmp_path / "v", speakers=5)
    with pytest.raises(UsageError, match="too few speakers") as error:
        load_corpus(f"mixtures:{place}")
    assert "5 speakers" in str(error.value)
    assert "at least 6" in str(error.value)
    (place / "manifest.jsonl").unlink()
    with pytest.raises(LabelError, match="name no speaker"):
        load_corpus(f"mixtures:{place}")


def test_what_cannot_be_used_is_left_out_and_listed(tmp_path: Path, fresh: Path) -> None:
    place = write(tmp_path / "v", words=False)
    soundfile.write(place / "r0-1.wav", np.zeros(16000), SAMPLE_RATE)
    whole = (place / "r1-1.wav").read_bytes()
    (place / "r1-1.wav").write_bytes(b"RIFF and then nothing")
    soundfile.write(place / "r2-1.wav", np.array([0.1, np.nan] * 8000, "f4"), SAMPLE_RATE, "FLOAT")
    spec = f"mixtures,count=30,turns=6:{place}"
    for _ in range(2):  # also when it is read from the cache
        corpus = load_corpus(spec)
        assert {p.id for p in corpus.skipped} == {"r0-1", "r1-1", "r2-1"}
        used = {name for u in corpus for name in u.tiers["sources"]}
        assert not used & {"r0-1", "r1-1", "r2-1"}
        assert {"r0-0", "r1-0", "r2-0"} < used
    (place / "r1-1.wav").write_bytes(whole)
    for number in range(3):
        soundfile.write(place / f"r0-{number}.wav", np.zeros(16000), SAMPLE_RATE)
    with pytest.raises(UsageError, match="speaker s0 says nothing"):
        load_corpus(spec)
