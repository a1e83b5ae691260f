"""Planning and building the synthetic corpus: format, balance, determinism, resumption."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="the extra 'synth' is not installed")
import soundfile

from voxstrata.corpora.synthetic import build as building
from voxstrata.corpora.synthetic.build import build_synthetic
from voxstrata.corpora.synthetic.config import PRESETS, SyntheticConfig
from voxstrata.corpora.synthetic.phonemes import ARPABET, SILENCE
from voxstrata.corpora.synthetic.plan import Planned, plan
from voxstrata.errors import (
    ConfigError,
    MissingDependencyError,
    StorageError,
    UnknownNameError,
)

TINY = SyntheticConfig.preset("tiny")
VOWELS = {p for p in ARPABET if p[0] in "AEIOU"}


def _read(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in [*sorted((folder / "audio").iterdir()), folder / "manifest.jsonl"]:
        whole.update(file.name.encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXSTRATA_CACHE", str(tmp_path_factory.mktemp("c")))
        return build_synthetic(SyntheticConfig.preset("demo", speakers=12))


# -- configuration -----------------------------------------------------------------------


def test_specs() -> None:
    assert SyntheticConfig.parse("synthetic") == SyntheticConfig.preset("demo")
    parsed = SyntheticConfig.parse("synthetic:small,seed=3,speakers=7,accents=en-us+en-gb")
    assert parsed.seed == 3
    assert parsed.speakers == 7
    assert parsed.sentences == PRESETS["small"]["sentences"]
    assert parsed.accents == ("en-us", "en-gb")
    assert SyntheticConfig.preset("demo").utterances == len(plan(SyntheticConfig.preset("demo")))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("synthetic:huge", UnknownNameError, "huge"),
        ("synthetic:demo,speakrs=3", ConfigError, "unknown key"),
        ("synthetic:demo,speakers", ConfigError, "no value"),
        ("synthetic:demo,speakers=0", ConfigError, "speakers"),
        ("synthetic:demo,accents=en-xx", ConfigError, "unknown accent"),
        ("synthetic:tiny,sentences=0,prompts=0,keywords=0,commands=0", ConfigError, "all zero"),
        ("librispeech", ConfigError, "does not name"),
    ],
)
def test_bad_specs(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SyntheticConfig.parse(text)


# -- plan --------------------------------------------------------------------------------


def _information(a: list[str], b: list[str]) -> float:
    """Mutual information of two labels, bits."""
    n, joint = len(a), Counter(zip(a, b, strict=True))
    left, right = Counter(a), Counter(b)
    return float(sum(k / n * np.log2(k * n / (left[x] * right[y])) for (x, y), k in joint.items()))


@pytest.fixture(scope="module")
def small_plan() -> list[Planned]:
    return plan(SyntheticConfig.preset("small"))


def test_no_speaker_has_a_text_of_its_own(small_plan: list[Planned]) -> None:
    readers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for item in small_plan:
        readers[item.reading.words].add(item.voice.name)
    assert min(map(len, readers.values())) >= 2
    prompts = {u.reading.words for u in small_plan if u.part == "prompt"}
    assert len(prompts) == 3
    assert all(len(readers[words]) == 100 for words in prompts)
    # Nobody shares many texts with one other speaker, as readers of one book would.
    texts: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for item in small_plan:
        if item.part == "sentence":
            texts[item.voice.name].add(item.reading.words)
    shared = [len(a & b) for a, b in itertools.combinations(texts.values(), 2)]
    assert max(shared) <= 4


@pytest.mark.parametrize("label", ["topic", "channel", "word", "rate"])
def test_labels_tell_nothing_about_the_speaker(small_plan: list[Planned], label: str) -> None:
    sentences = [u for u in small_plan if u.part == "sentence"]
    if label == "word":
        pairs = [(w, u.voice.name) for u in sentences for w in u.reading.words]
    else:
        value = {
            "topic": lambda u: u.reading.labels["topic"],
            "channel": lambda u: u.setting.channel.name,
            # Relative to the speaker's own rate, which is his property.
            "rate": lambda u: str(round(4 * u.prosody.rate / u.voice.rate)),
        }[label]
        pairs = [(value(u), u.voice.name) for u in sentences]
    values, speakers = [p[0] for p in pairs], [p[1] for p in pairs]
    draw = np.random.default_rng(0)
    by_chance = [_information(list(draw.permutation(values)), speakers) for _ in range(10)]
    assert _information(values, speakers) < max(by_chance) * 1.05


def test_channels_are_dealt_evenly_to_every_speaker(small_plan: list[Planned]) -> None:
    for voice in {u.voice.name for u in small_plan}:
        counts = Counter(u.setting.channel.name for u in small_plan if u.voice.name == voice)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(counts) == 16


# -- the corpus --------------------------------------------------------------------------


def test_manifest_has_the_format_of_the_shared_data(corpus: Path, shared: Path) -> None:
    other = shared / "data" / "librispeech_test_other" / "manifest.jsonl"
    with other.open(encoding="utf-8") as file:
        real = json.loads(file.readline())
    common = ("id", "file", "speaker", "gender", "text", "words", "phones", "sampling_rate",
              "duration")  # fmt: skip
    for row in _read(corpus):
        for key in common:
            assert type(row[key]) is type(real[key]), key
        for tier in ("words", "phones"):
            assert all(
                [type(x) for x in span] == [float, float, str] == [type(x) for x in real[tier][0]]
                for span in row[tier]
            )


def test_rows_and_audio_agree(corpus: Path) -> None:
    rows = _read(corpus)
    assert len(rows) == 72
    assert len({r["id"] for r in rows}) == 72
    assert {r["file"] for r in rows} == {f"audio/{f.name}" for f in (corpus / "audio").iterdir()}
    for row in rows:
        info = soundfile.info(corpus / row["file"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert info.subtype == "PCM_16"
        assert info.frames / 16_000 == pytest.approx(row["duration"], abs=1e-6)
        assert row["gender"] in ("F", "M")


def test_spans_are_ordered_nested_and_inside(corpus: Path) -> None:
    for row in _read(corpus):
        words, phones, ipa = row["words"], row["phones"], row["phones_ipa"]
        assert [w[2] for w in words] == row["text"].split()
        for tier in (words, phones, ipa):
            assert all(0 <= start < end <= row["duration"] for start, end, _ in tier)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(tier))
        for tier in (phones, ipa):
            assert tier[0][0] == 0.0
            assert tier[-1][1] == row["duration"]
            assert all(a[1] == b[0] for a, b in itertools.pairwise(tier))
            for start, end, label in tier:
                holders = [w for w in words if w[0] <= start and end <= w[1]]
                assert len(holders) == (label != SILENCE)
        assert {p[2] for p in phones} <= {*ARPABET, SILENCE}


def test_labels_fall_on_the_sound(corpus: Path) -> None:
    """Where the channel is mild, pauses are far quieter than vowels and speech begins on time."""
    checked = 0
    for row in _read(corpus):
        if row["noise"] != "clean" or row["room"] not in ("dry", "booth"):
            continue
        audio, rate = soundfile.read(corpus / row["file"])
        power: dict[bool, list[float]] = {True: [], False: []}
        for start, end, label in row["phones"]:
            if label in VOWELS or label == SILENCE:
                span = audio[round(start * rate) : round(end * rate)]
                power[label == SILENCE].append(float(np.mean(span**2)) + 1e-12)
        silence, vowels = (10 * np.log10(np.median(power[k])) for k in (True, False))
        assert vowels - silence > 25
        begin = round(row["words"][0][0] * rate)
        before = np.abs(audio[: begin - 16]).max()
        after = np.abs(audio[begin : begin + rate // 5]).max()
        assert after > 10 * before
        checked += 1
    assert checked >= 3


def test_tiers(corpus: Path) -> None:
    rows = _read(corpus)
    parts = Counter(r["part"] for r in rows)
    assert parts == {"sentence": 36, "prompt": 12, "keyword": 12, "command": 12}
    for row in rows:
        part = row["part"]
        assert (row["keyword"] is not None) == (part == "keyword")
        assert (row["intent"] is not None) == (row["slots"] is not None) == (part == "command")
        assert (row["prompt"] is not None) == (part == "prompt")
        assert (row["topic"] is not None) == (part in ("prompt", "sentence"))
        assert row["rate"] in ("slow", "medium", "fast")
        assert row["channel"] == f"{row['equaliser']}-{row['room']}-{row['noise']}"
        assert row["keyword"] in (None, row["text"])
    assert len({r["text"] for r in rows if r["part"] == "prompt"}) == 1


def test_faster_speech_is_shorter(corpus: Path) -> None:
    prompts = [r for r in _read(corpus) if r["part"] == "prompt"]
    length = [r["words"][-1][1] - r["words"][0][0] for r in prompts]
    rate = [r["rate_wpm"] for r in prompts]
    assert np.corrcoef(1 / np.array(rate), length)[0, 1] > 0.8


# -- building ----------------------------------------------------------------------------


def test_same_bytes_in_another_cache_order_and_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for jobs, chunk in ((1, 64), (2, 3)):
        monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path / f"{jobs}-{chunk}"))
        monkeypatch.setattr(building, "_CHUNK", chunk)
        digests.append(_digest(build_synthetic(TINY, jobs=jobs)))
    assert len(set(digests)) == 1
    other = plan(TINY.model_copy(update={"seed": 1}))
    for a, b in zip(plan(TINY), other, strict=True):
        assert a.setting != b.setting
        assert a.voice != b.voice
        assert a.reading != b.reading or a.part == "keyword"


def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path / "whole"))
    expected = _digest(build_synthetic(TINY))
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path / "broken"))
    monkeypatch.setattr(building, "_CHUNK", 4)

    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_synthetic(TINY, progress=stop)
    assert not [p for p in (tmp_path / "broken" / "synthetic").iterdir() if p.suffix == ""]
    seen: list[tuple[int, int]] = []
    folder = build_synthetic(TINY, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 20), (12, 20), (16, 20), (20, 20)]
    assert _digest(folder) == expected
    assert sorted(p.name for p in folder.iterdir()) == ["audio", "corpus.json", "manifest.jsonl"]


def test_a_finished_corpus_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path))
    folder = build_synthetic(TINY)
    monkeypatch.setattr(building, "_render_missing", None)
    assert build_synthetic(TINY) == folder
    record = json.loads((folder / "corpus.json").read_text())
    assert record["utterances"] == 20
    assert record["config"]["seed"] == 0
    manifest = (folder / "manifest.jsonl").read_bytes()
    assert record["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()


def test_chunks_that_outgrow_their_zeros_are_joined_by_number(tmp_path: Path) -> None:
    (tmp_path / "chunks").mkdir()
    for index in (1_000_000, 999_999, 8):
        line = json.dumps({"chunk": index, "duration": 1.0})
        building._chunk_file(tmp_path, index).write_text(f"{line}\n")
    building._finish(TINY, tmp_path, 0.0)
    assert [line["chunk"] for line in _read(tmp_path)] == [8, 999_999, 1_000_000]


def test_two_builds_of_one_corpus_at_a_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path))

    def again(done: int, total: int) -> None:
        with pytest.raises(StorageError, match="another run"):
            build_synthetic(TINY)

    build_synthetic(TINY, progress=again)


def test_without_the_wheel_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voxstrata\[synth\]'"):
        build_synthetic(TINY)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXSTRATA_CACHE", str(tmp_path))

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        build_synthetic(TINY)
