"""LibriMix and AMI, prepared from miniatures of the published trees."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpora_recipe_trees import RATE, audio, cuts, prepare, said, spans, stray, text, tiers

from voxstrata.corpora.recipes._turns import join_spans, voiced_frames, voiced_spans
from voxstrata.errors import CorpusError
from voxstrata.types import Segment

ONE, TWO = "1272-128104-0000", "2035-147961-0014"
MIX = f"{ONE}_{TWO}"


def bursts(seconds: float, *spoken: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Noise where somebody speaks, faint noise elsewhere."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 1e-4, round(seconds * RATE))
    for start, end in spoken:
        a, b = round(start * RATE), round(end * RATE)
        out[a:b] = rng.normal(0, 0.1, b - a)
    return out.astype("f4")


def mixture(root: Path, part: str = "dev", *, mode: str = "max", rate: str = "wav16k") -> Path:
    place = root / "Libri2Mix" / rate / mode
    length = 3.0 if mode == "max" else 2.0
    s1 = bursts(3.0, (0.5, 1.5), (1.6, 2.5), seed=1)
    s2 = bursts(3.0, (0.2, 1.0), seed=2)
    s2[2 * RATE :] = 0.0  # the shorter source ends after two seconds
    n = round(length * RATE)
    noise = bursts(3.0, seed=3)
    files = {
        "s1": s1,
        "s2": s2,
        "noise": noise,
        "mix_clean": s1 + s2,
        "mix_both": s1 + s2 + noise,
        "mix_single": s1 + noise,
    }
    for kind, data in files.items():
        path = place / part / kind / f"{MIX}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(str(path), data[:n], RATE)
    there = f"/mnt/storage/Libri2Mix/{rate}/{mode}/{part}"
    text(
        place / "metadata" / f"mixture_{part}_mix_clean.csv",
        "mixture_ID,mixture_path,source_1_path,source_2_path,length",
        f"{MIX},{there}/mix_clean/{MIX}.wav,{there}/s1/{MIX}.wav,{there}/s2/{MIX}.wav,{n}",
    )
    text(
        place / "metadata" / f"mixture_{part}_mix_both.csv",
        "mixture_ID,original_mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length",
        f"{MIX},{MIX},{there}/mix_both/{MIX}.wav,{there}/s1/{MIX}.wav,{there}/s2/{MIX}.wav,"
        f"{there}/noise/{MIX}.wav,{n}",
    )
    text(
        place / "metadata" / f"mixture_{part}_mix_single.csv",
        "mixture_ID,mixture_path,source_1_path,noise_path,length",
        f"{MIX},{there}/mix_single/{MIX}.wav,{there}/s1/{MIX}.wav,{there}/noise/{MIX}.wav,{n}",
    )
    return place


def near(found: list[tuple[float, float, str]], wanted: list[tuple[float, float, str]]) -> bool:
    return [f[2] for f in found] == [w[2] for w in wanted] and np.allclose(
        [f[:2] for f in found], [w[:2] for w in wanted], atol=0.02
    )


def test_turns_by_energy(tmp_path: Path) -> None:
    mixture(tmp_path)
    out = tmp_path / "out"
    report = prepare("librimix", tmp_path, out)
    assert report.problems == ()
    assert set(report.parts) == {f"libri2mix-dev-mix_{k}" for k in ("clean", "both", "single")}
    mine = tiers(out, "libri2mix-dev-mix_both")[f"mix_both-{MIX}"]
    assert near(
        spans(mine.pop("turns")), [(0.2, 1.0, "2035"), (0.5, 2.5, "1272")]
    )  # the pause of 0.1 s is bridged
    assert mine == {
        "turns_from": "energy",
        "speakers": ["1272", "2035"],
        "sources": [ONE, TWO],
    }
    single = tiers(out, "libri2mix-dev-mix_single")[f"mix_single-{MIX}"]
    assert single["speaker"] == "1272"
    assert near(spans(single["turns"]), [(0.5, 2.5, "1272")])


def test_turns_from_rttm_come_first(tmp_path: Path) -> None:
    mixture(tmp_path)
    text(
        tmp_path / "metadata" / "LibriSpeech" / "dev_clean.rttm",
        "SPEAKER 128104-0000 1 0.40 1.00 <NA> <NA> 1272 <NA> <NA>",
        "SPEAKER 128104-0000 1 1.50 0.90 <NA> <NA> 1272 <NA> <NA>",
        "SPEAKER 147961-0014 1 0.10 0.80 <NA> <NA> 2035 <NA> <NA>",
        "SPEAKER 147961-0014 broken",
    )
    out = tmp_path / "out"
    report = prepare("librimix", tmp_path, out, ["libri2mix-dev-mix_both"])
    mine = tiers(out, "libri2mix-dev-mix_both")[f"mix_both-{MIX}"]
    assert spans(mine["turns"]) == [(0.1, 0.9, "2035"), (0.4, 1.4, "1272"), (1.5, 2.4, "1272")]
    assert mine["turns_from"] == "rttm"
    assert said(report, "dev_clean.rttm", "malformed")


def test_turns_from_alignments(tmp_path: Path) -> None:
    mixture(tmp_path)
    words = [(0.0, 0.5, ""), (0.5, 0.9, "a"), (0.9, 1.0, ""), (1.0, 1.5, "b"), (1.5, 3.0, "")]
    entries = "\n".join(f'{a}\n{b}\n"{w}"' for a, b, w in words)
    grid = (
        'File type = "ooTextFile short"\n"TextGrid"\n\n0\n3\n<exists>\n1\n'
        f'"IntervalTier"\n"words"\n0\n3\n{len(words)}\n{entries}\n'
    )
    folder = tmp_path / "librispeech_alignments" / "dev-clean" / "1272" / "128104"
    text(folder / f"{ONE}.TextGrid", grid)
    out = tmp_path / "out"
    report = prepare("librimix", tmp_path, out, ["libri2mix-dev-mix_clean"])
    assert report.problems == ()
    mine = tiers(out, "libri2mix-dev-mix_clean")[f"mix_clean-{MIX}"]
    assert mine["turns_from"] == "energy+words"
    assert near(spans(mine["turns"]), [(0.2, 1.0, "2035"), (0.5, 1.5, "1272")])


def test_librimix_min_and_missing_metadata(tmp_path: Path) -> None:
    place = mixture(tmp_path, mode="min")
    (place / "metadata" / "mixture_dev_mix_clean.csv").unlink()
    out = tmp_path / "out"
    report = prepare("librimix", tmp_path, out, ["libri2mix-dev-mix_clean"])
    assert said(report, "no 16 kHz max version")
    assert said(report, "mixture_dev_mix_clean.csv", "missing")
    mine = tiers(out, "libri2mix-dev-mix_clean")[f"mix_clean-{MIX}"]
    assert max(t.end_s for t in mine["turns"]) <= 2.0


def test_librimix_damage(tmp_path: Path) -> None:
    place = mixture(tmp_path)
    other = f"{TWO}_{ONE}"
    table = place / "metadata" / "mixture_dev_mix_clean.csv"
    table.open("a").write(f"{other},/x,/y,/z,48000\nshort,/x,/y\n")
    audio(place / "dev" / "mix_clean" / "extra_file.wav")
    stray(place / "dev" / "mix_clean")
    data, _ = sf.read(place / "dev" / "mix_clean" / f"{MIX}.wav")
    sf.write(str(place / "dev" / "mix_clean" / f"{MIX}.wav"), data[:40000], RATE)
    report = prepare("librimix", tmp_path, tmp_path / "out", ["libri2mix-dev-mix_clean"])
    assert said(report, other, "missing")
    assert said(report, "line 4 has 3 of 5")
    assert said(report, "extra_file.wav", "not in the metadata")
    assert said(report, ".DS_Store")
    assert said(report, f"{MIX} has 40000 samples, its metadata says 48000")
    (place / "dev" / "s2" / f"{MIX}.wav").unlink()
    with pytest.raises(CorpusError, match=f"no turns of {TWO}"):
        prepare("librimix", tmp_path, tmp_path / "out2", ["libri2mix-dev-mix_clean"])


def test_librimix_levels(tmp_path: Path) -> None:
    mixture(tmp_path / "storage")
    low = prepare("librimix", tmp_path / "storage" / "Libri2Mix", tmp_path / "a")
    high = prepare("librimix", tmp_path, tmp_path / "b")
    assert set(low.parts) == set(high.parts)
    report = prepare(
        "librimix", tmp_path, tmp_path / "c", ["libri2mix-dev-mix_clean", "libri3mix-test-mix_both"]
    )
    assert said(report, "libri3mix/test/mix_both", "not there")


def test_voiced_spans(tmp_path: Path) -> None:
    assert voiced_frames(np.zeros(100, "f4")).shape == (0,)
    assert voiced_frames(np.zeros(1600, "f4")).shape == (8,)
    assert not voiced_frames(np.zeros(1600, "f4")).any()
    path = tmp_path / "a.wav"
    sf.write(str(path), bursts(3.0, (0.5, 1.0), (1.5, 1.53), (2.0, 2.5)), RATE)
    assert near(spans(voiced_spans(path, "A")), [(0.5, 1.0, "A"), (2.0, 2.5, "A")])
    louder = bursts(3.0, (0.5, 1.0), (1.5, 1.53), (2.0, 2.5)) * 5
    sf.write(str(path), louder, RATE)
    assert near(spans(voiced_spans(path, "A")), [(0.5, 1.0, "A"), (2.0, 2.5, "A")])


def test_join_spans() -> None:
    apart = [Segment(2.0, 3.0, "x"), Segment(0.0, 1.0, "x"), Segment(0.5, 0.7, "y")]
    assert join_spans(apart, "s", 0.9) == [Segment(0.0, 1.0, "s"), Segment(2.0, 3.0, "s")]
    assert join_spans(apart, "s", 1.0) == [Segment(0.0, 3.0, "s")]


NITE = 'xmlns:nite="http://nite.sourceforge.net/"'
MEETING = "ES2002a"  # training part
AGENTS = {"A": ("MEE006", 0), "B": ("FEE005", 1)}
SEGMENTS = {"A": [(0.5, 2.5), (31.0, 33.0)], "B": [(2.0, 4.0)]}
WORDS = {
    "A": [(0.5, 1.0, "Hi"), (1.0, 1.5, "all"), (2.5, 2.5, "."), (31.0, 31.6, "Mm-hmm")],
    "B": [(2.0, 2.8, "Good"), (2.8, 4.0, "morning")],
}


def xml(path: Path, *lines: str, encoding: str = "ISO-8859-1") -> None:
    head = f'<?xml version="1.0" encoding="{encoding}" standalone="yes"?>'
    text(path, head, *lines, encoding=encoding)


@pytest.fixture
def ami(tmp_path: Path) -> Path:
    root = tmp_path / "ami"
    notes = root / "ami_public_manual_1.6.2"
    speakers = [
        f'<speaker nxt_agent="{a}" global_name="{name}" channel="{channel}" role="x"/>'
        for a, (name, channel) in AGENTS.items()
    ]
    xml(
        notes / "corpusResources" / "meetings.xml",
        f'<nite:root {NITE} nite:id="meetings">',
        f'<meeting observation="{MEETING}" type="scenario">',
        *speakers,
        "</meeting>",
        "</nite:root>",
    )
    for agent in AGENTS:
        xml(
            notes / "segments" / f"{MEETING}.{agent}.segments.xml",
            f'<nite:root {NITE} nite:id="{MEETING}.{agent}.segs">',
            *(
                f'<segment nite:id="s{n}" transcriber_start="{a}" transcriber_end="{b}">'
                f'<nite:child href="{MEETING}.{agent}.words.xml#id(w0)"/></segment>'
                for n, (a, b) in enumerate(SEGMENTS[agent])
            ),
            "</nite:root>",
        )
        xml(
            notes / "words" / f"{MEETING}.{agent}.words.xml",
            f'<nite:root {NITE} nite:id="{MEETING}.{agent}.words">',
            '<vocalsound nite:id="v" starttime="0.1" endtime="0.2" type="laugh"/>',
            *(
                f'<w nite:id="w{n}" starttime="{a}" endtime="{b}"'
                f"{' punc=' + chr(34) + 'true' + chr(34) if w == '.' else ''}>{w}</w>"
                for n, (a, b, w) in enumerate(WORDS[agent])
            ),
            "</nite:root>",
        )
    wavs = root / "wav_db" / MEETING / "audio"
    audio(wavs / f"{MEETING}.Mix-Headset.wav", 40.0)
    for _, channel in AGENTS.values():
        audio(wavs / f"{MEETING}.Headset-{channel}.wav", 40.0, seed=channel)
    return root


def test_ami_headset_utterances(ami: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare("ami", ami, out)
    assert report.problems == ()
    assert {p: (c.utterances, c.speakers) for p, c in report.parts.items()} == {
        "ihm-train": (3, 2),
        "mix-train": (2, 2),
    }
    found = tiers(out, "ihm-train")
    mine = found[f"{MEETING}-0-0000"]
    assert spans(mine.pop("words")) == [(0.0, 0.5, "HI"), (0.5, 1.0, "ALL")]
    assert mine == {
        "speaker": "MEE006",
        "gender": "M",
        "text": "HI ALL",
        "language": "English",
        "meeting": MEETING,
    }
    assert found[f"{MEETING}-0-0001"]["text"] == "MM-HMM"
    cut = cuts(out, "ihm-train")[f"{MEETING}-1-0000"]
    assert (cut.start, cut.duration) == (2.0, 2.0)
    assert cut.recording.sources[0].source.endswith("Headset-1.wav")


def test_ami_windows_with_turns(ami: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare("ami", ami, out, ["mix-train"])
    first, second = (tiers(out, "mix-train")[f"{MEETING}-mix-000{n}"] for n in (0, 1))
    # lhotse's segments end with their last word; the full stop at 2.5 s ends nothing.
    assert spans(first["turns"]) == [(0.5, 1.5, "MEE006"), (2.0, 4.0, "FEE005")]
    assert spans(second["turns"]) == [(1.0, 1.6, "MEE006")]
    found = cuts(out, "mix-train")
    assert [c.duration for c in found.values()] == [30.0, 10.0]


def test_ami_same_as_lhotse(ami: Path, tmp_path: Path) -> None:
    from lhotse.recipes import ami as lhotse_ami

    out = tmp_path / "out"
    prepare("ami", ami, out, ["ihm-train"])
    # prepare_ami itself fails unless all three parts are there.
    theirs = lhotse_ami.prepare_supervision_ihm(
        lhotse_ami.prepare_audio_grouped(list(ami.rglob("*Headset-?.wav"))),
        lhotse_ami.parse_ami_annotations(ami / "ami_public_manual_1.6.2", normalize="kaldi"),
    )
    mine = {
        (v["speaker"], v["text"], round(c.start, 3), round(c.duration, 3))
        for c, v in zip(
            cuts(out, "ihm-train").values(), tiers(out, "ihm-train").values(), strict=True
        )
    }
    assert mine == {(s.speaker, s.text, round(s.start, 3), round(s.duration, 3)) for s in theirs}


def test_ami_annotations_in_their_archive(ami: Path, tmp_path: Path) -> None:
    import shutil

    notes = ami / "ami_public_manual_1.6.2"
    with zipfile.ZipFile(ami / "ami_public_manual_1.6.2.zip", "w") as archive:
        for path in notes.rglob("*.xml"):
            archive.write(path, path.relative_to(notes))
    shutil.rmtree(notes)
    before = sorted(p.name for p in ami.iterdir())
    report = prepare("ami", ami, tmp_path / "out")
    assert report.parts["ihm-train"].utterances == 3
    assert sorted(p.name for p in ami.iterdir()) == before  # nothing unpacked into the corpus


def test_ami_damage(ami: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = ami / "ami_public_manual_1.6.2"
    stray(notes / "words")
    (notes / "words" / f"{MEETING}.B.words.xml").write_text("<broken")
    xml(
        notes / "segments" / f"{MEETING}.C.segments.xml",
        f'<nite:root {NITE} nite:id="x"></nite:root>',
    )
    words = notes / "words" / f"{MEETING}.A.words.xml"
    bad = '<w nite:id="w9" starttime="9">lost</w><w nite:id="w8" starttime="1" endtime="2"/>'
    words.write_text(words.read_text().replace("</nite:root>", bad + "</nite:root>"))
    wavs = ami / "wav_db" / MEETING / "audio"
    audio(wavs / f"{MEETING}.Headset-3.wav")
    audio(wavs / "ES9999a.Mix-Headset.wav")
    audio(wavs / "notes.wav")
    audio(wavs / f"{MEETING}.Headset-0.wav", 20.0)
    report = prepare("ami", ami, tmp_path / "out")
    assert said(report, ".DS_Store", "stray")
    assert said(report, f"{MEETING}.B.words.xml", "not used")
    assert said(report, f"{MEETING}.C.words.xml", "missing")
    assert said(report, f"{MEETING}.A.words.xml", "2 element(s)")
    assert said(report, "Headset-3", "no annotation")
    assert said(report, "ES9999a", "in no part")
    assert said(report, "notes.wav", "ignored")
    assert said(report, f"{MEETING}-0-0001 left out", "20.000")
    assert set(tiers(tmp_path / "out", "ihm-train")) == {f"{MEETING}-0-0000"}
    heard = capsys.readouterr()
    assert (heard.out, heard.err) == ("", "")


def test_ami_missing_headset_does_not_shift_the_others(ami: Path, tmp_path: Path) -> None:
    (ami / "wav_db" / MEETING / "audio" / f"{MEETING}.Headset-0.wav").unlink()
    prepare("ami", ami, tmp_path / "out", ["ihm-train"])
    found = tiers(tmp_path / "out", "ihm-train")
    assert [v["speaker"] for v in found.values()] == ["FEE005"]


def test_ami_levels_and_broken_annotations(ami: Path, tmp_path: Path) -> None:
    assert prepare("ami", ami.parent, tmp_path / "a").parts
    assert prepare("ami", ami / "wav_db", tmp_path / "b").parts
    assert prepare("ami", ami / "ami_public_manual_1.6.2", tmp_path / "c").parts
    (ami / "ami_public_manual_1.6.2" / "corpusResources" / "meetings.xml").write_text("<x")
    with pytest.raises(CorpusError, match=r"annotations in [\s\S]*ParseError"):
        prepare("ami", ami, tmp_path / "d")
    with pytest.raises(CorpusError, match="ami_public_manual"):
        prepare("ami", tmp_path / "a" / "ihm-train", tmp_path / "e")
