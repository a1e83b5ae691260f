"""Audio, alignments, manifests and lists of corpora."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzzing.target import Read, Target, dumped, ignore, lines


def _audio(kind: str, subtype: str | None = None) -> bytes:
    import numpy as np
    import soundfile as sf

    held = io.BytesIO()
    wave = np.sin(np.arange(800) / 9) / 3
    sf.write(held, wave, 8000, format=kind, subtype=subtype)
    return held.getvalue()


def _wav_beside(folder: Path) -> None:
    (folder / "a.wav").write_bytes(_audio("WAV"))
    (folder / "a.ctm").write_text("a 1 0.0 0.02 the\n")


def _read_audio(path: Path) -> None:
    from voxstrata.corpora.audio import read_file, read_header

    read_header(path)
    read_file(path)


def _audio_seeds() -> list[bytes]:
    kinds = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "NIST", "CAF", "W64"]
    return [_audio(kind) for kind in kinds] + [_audio("WAV", "FLOAT"), _audio("WAV", "IMA_ADPCM")]


TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "a ""b"" c"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = ""
"""


SHORT_TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n2\n'
    '"IntervalTier"\n"phones"\n0\n1\n1\n0\n1\n"a"\n"TextTier"\n"marks"\n0\n1\n1\n0.5\n"x"\n'
)


SPOKEN = {"b": 0.0, "d": 1.0, "t": "a", "w": [{"b": 0, "d": 0.5, "t": "and(2)", "p": 0.9}]}


def _alignment(format: str) -> Read:
    def read(path: Path) -> object:
        from voxstrata.corpora.alignments import read_alignment

        return read_alignment(path, format)

    return read


def _ctm(path: Path) -> object:
    from voxstrata.corpora.alignments import read_ctm

    return read_ctm(path)


def _rttm(path: Path) -> object:
    from voxstrata.corpora.recipes._turns import read_rttms
    from voxstrata.corpora.recipes.quesst14 import read_truth

    return read_rttms([path], ignore), read_truth(path)


def _recipe_table(path: Path) -> object:
    from voxstrata.corpora.recipes._files import read_table

    return read_table(path, ignore, needed=("ID", "Gender"))


def _ami_words(path: Path) -> object:
    from voxstrata.corpora.recipes.ami import _cleaned

    job: Any = SimpleNamespace(problem=ignore)
    return _cleaned(path, "words", job), _cleaned(path, "segments", job)


XML = (
    b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<nite:root xmlns:nite="http://nite.example/">'
    b'<w nite:id="x" starttime="1" endtime="2">hi</w><segment transcriber_start="0" '
    b'transcriber_end="1"/></nite:root>'
)


def _corpus(path: Path) -> object:
    from voxstrata.corpora import load_corpus

    corpus = load_corpus(path, check="header")
    return [(u.id, dict(u.tiers), len(u.read())) for u in corpus.utterances[:4]]


MANIFEST = {
    "id": "u1", "file": "a.wav", "start": 0.0, "duration": 0.05, "channel": 0, "speaker": "s",
    "gender": "F", "sampling_rate": 8000, "words": [[0.0, 0.02, "a"], [0.02, 0.05, "b"]],
    "text": "a b", "age": 31, "slots": {"x": "y"}, "alignment": "a.ctm",
}  # fmt: skip


RECORDING = {
    "id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
    "sampling_rate": 8000, "num_samples": 800, "duration": 0.1, "channel_ids": [0],
}  # fmt: skip


SUPERVISION = {
    "id": "s", "recording_id": "r", "start": 0.0, "duration": 0.1, "channel": 0, "text": "a",
    "speaker": "x", "custom": {"k": 1},
    "alignment": {"word": [["a", 0.0, 0.05, None]]},
}  # fmt: skip


CUT = {
    "type": "MonoCut", "id": "c", "start": 0.0, "duration": 0.1, "channel": 0,
    "supervisions": [SUPERVISION], "recording": RECORDING, "custom": {"part": "p"},
}  # fmt: skip


BARE = {key: value for key, value in CUT.items() if key != "type"}


MIXED = {
    "type": "MixedCut",
    "id": "m",
    "tracks": [
        {"type": "MonoCut", "cut": BARE, "offset": 0.0},
        {"type": "MonoCut", "cut": BARE, "offset": 0.02, "snr": 10},
    ],
}


def _recordings_beside(folder: Path) -> None:
    _wav_beside(folder)
    (folder / "recordings.jsonl").write_text(json.dumps(RECORDING) + "\n")


def _folder_corpus(path: Path) -> object:
    return _corpus(path.parent)


TARGETS: tuple[Target, ...] = (
    Target("audio", "a.wav", _read_audio, _audio_seeds),
    Target("textgrid", "a.TextGrid", _alignment("textgrid"), lines(TEXTGRID, SHORT_TEXTGRID)),
    Target("ctm", "a.ctm", _ctm, lines("r 1 0.0 0.5 the 0.9\nr 1 0.5 0.1 cat\n;; x\n")),
    Target("hts", "a.lab", _alignment("hts"), lines("0 100 a-b+c[2] x\n100 200 a-b+c[3]\n")),
    Target("pocketsphinx", "a.json", _alignment("pocketsphinx"), lambda: dumped(SPOKEN), json=True),
    Target(
        "rttm",
        "a.rttm",
        _rttm,
        lines("SPEAKER 8226-0026 1 0.1 0.5 <NA> <NA> 3536 <NA>\nLEXEME d 1 0 1 q lex x 1 1\n"),
    ),
    Target("recipe-table", "a.csv", _recipe_table, lines("ID,Gender\na,F\n", "ID\tGender\na\tm\n")),
    Target("ami-xml", "x.xml", _ami_words, lambda: [XML]),
    Target("manifest", "m.jsonl", _corpus, lambda: dumped(MANIFEST), _wav_beside, json=True),
    Target(
        "manifest-gz",
        "m.jsonl.gz",
        _corpus,
        lambda: [gzip.compress(dumped(MANIFEST)[0], mtime=0)],
        _wav_beside,
    ),
    Target(
        "lhotse-cuts", "cuts.jsonl", _corpus, lambda: dumped(CUT, MIXED), _wav_beside, json=True
    ),
    Target(
        "lhotse-recordings",
        "recordings.jsonl",
        _corpus,
        lambda: dumped(RECORDING),
        _wav_beside,
        json=True,
    ),
    Target(
        "lhotse-supervisions",
        "supervisions.jsonl",
        _folder_corpus,
        lambda: dumped(SUPERVISION),
        _recordings_beside,
        json=True,
    ),
)
