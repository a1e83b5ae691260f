"""``voxstrata corpora`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from voxstrata.cli.corpora import app
from voxstrata.corpora import load_corpus
from voxstrata.corpora.registry import CORPORA, FileProblem, PartCount, PrepareReport
from voxstrata.errors import CorpusError, UnknownNameError

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("anna/a", "anna/b", "bob/c"):
        path = tmp_path / "speech" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, 8000), 16000)
    return tmp_path / "speech"


def test_list_names_sources_and_corpora() -> None:
    shown = runner.invoke(app, ["list"])
    assert shown.exit_code == 0
    for name in ("synthetic", "folder", "librispeech", "quesst14"):
        assert name in shown.output
    told = json.loads(runner.invoke(app, ["list", "--json"]).output)
    assert [c["name"] for c in told["corpora"]] == CORPORA.names()


def test_list_needs_no_lhotse() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from voxstrata.cli.corpora import app;"
        "r = CliRunner().invoke(app, ['list']); assert r.exit_code == 0, r.output;"
        "bad = {'lhotse', 'torch', 'numpy', 'soundfile'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_show(folder: Path) -> None:
    shown = runner.invoke(app, ["show", str(folder)])
    assert shown.exit_code == 0, shown.output
    for words in (
        "utterances",
        "1.5 s",
        "speaker",
        "anna",
        "0.50 s",
        load_corpus(folder).fingerprint,
    ):
        assert words in shown.output
    told = json.loads(runner.invoke(app, ["show", str(folder), "--json", "--limit", "2"]).output)
    assert told["utterances"] == 2
    assert told["tiers"] == [{"name": "speaker", "utterances": 2, "values": 1, "example": "anna"}]
    assert sum(row["utterances"] for row in told["histogram"]) == 2


def test_validate_says_yes_or_no(folder: Path) -> None:
    good = runner.invoke(app, ["validate", str(folder), "--decode", "--need", "speaker"])
    assert good.exit_code == 0, good.output
    assert "no errors" in good.output
    (folder / "bob" / "d.wav").write_bytes(b"rubbish")
    sf.write(folder / "bob" / "e.wav", np.zeros(8000), 16000)
    bad = runner.invoke(app, ["validate", str(folder)])
    assert bad.exit_code == 1
    assert "1 unreadable" in bad.output
    told = runner.invoke(app, ["validate", str(folder), "--decode", "--min-s", "0.4", "--json"])
    assert told.exit_code == 1
    found = json.loads(told.output)
    assert found["checked"] == 5
    assert {p["rule"] for p in found["errors"]} == {"unreadable", "silent"}
    assert runner.invoke(app, ["validate", str(folder), "--min-s", "9"]).exit_code == 1


def test_wrong_names_are_our_errors(tmp_path: Path) -> None:
    found = runner.invoke(app, ["show", "libirspeech"])
    assert isinstance(found.exception, UnknownNameError)
    assert isinstance(runner.invoke(app, ["show", str(tmp_path / "x")]).exception, CorpusError)
    out = runner.invoke(app, ["prepare", "timmit", str(tmp_path), str(tmp_path / "out")])
    assert isinstance(out.exception, UnknownNameError)


class Toy:
    """A recipe that copies one part of a folder of audio into a manifest."""

    name, title, licence, homepage = "toy", "Toy corpus", "CC0", "nowhere"
    summary, parts, tiers = "a toy", ("one", "two"), ("speaker",)

    def prepare(self, source, out, *, parts=None, progress=None):  # type: ignore[no-untyped-def]
        counts = {}
        for part in parts or self.parts:
            corpus = load_corpus(source)
            corpus.save(out / part)
            if progress is not None:
                progress(part, 1, 1)
            counts[part] = PartCount(len(corpus), corpus.seconds, len(corpus.speakers))
        return PrepareReport(counts, (FileProblem("x.wav", "is odd"),))


def test_prepare_then_open(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CORPORA, "_entries", dict(CORPORA._entries))
    monkeypatch.setattr(CORPORA, "_objects", dict(CORPORA._objects))
    CORPORA.put("toy", Toy(), "a toy")
    out = tmp_path / "prepared"
    done = runner.invoke(app, ["prepare", "toy", str(folder), str(out), "--part", "two"])
    assert done.exit_code == 0, done.output
    for words in ("Toy corpus", "two", "CC0", "x.wav: is odd"):
        assert words in done.output
    assert not (out / "one").exists()
    corpus = load_corpus(f"toy:{out / 'two'}")
    assert (corpus.name, len(corpus)) == ("toy-two", 3)
    told = runner.invoke(app, ["prepare", "toy", str(folder), str(out), "--json"])
    assert set(json.loads(told.output)["parts"]) == {"one", "two"}
