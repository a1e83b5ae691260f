"""The commands ``similarity`` and ``doctor`` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fakes import noise
from voxstrata.cli import app, commands
from voxstrata.config import build
from voxstrata.diagnosis import Finding
from voxstrata.errors import StorageError
from voxstrata.results import load_results
from voxstrata.similarity.settings import SimilarityConfig

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, four recordings each, one stereo at 8 kHz; and one file that is not audio."""
    root = tmp_path_factory.mktemp("speech")
    for speaker in ("ann", "bob"):
        (root / speaker).mkdir()
        for number in range(4):
            soundfile.write(root / speaker / f"{speaker}{number}.wav", noise(16000, number), 16000)
    stereo = np.stack([noise(8000, 7), noise(8000, 8)], axis=1)
    soundfile.write(root / "ann" / "stereo.wav", stereo, 8000)
    (root / "bob" / "broken.wav").write_bytes(b"RIFF....not audio")
    return root


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def _raise(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is not None, result.output
    raise result.exception


def test_a_folder_to_a_report(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = _invoke(
        "similarity", "log-mel", "mfcc", "-c", str(folder), "-o", str(out),
        "--unit", "frame,utterance", "--folds", "3", "-q",
    )  # fmt: skip
    assert code == 0, text
    assert "report.html" in text
    assert "route" in text
    assert (out / "report.html").stat().st_size > 10_000
    assert {p.suffix for p in (out / "figures").iterdir()} >= {".pdf", ".svg", ".png"}
    results = load_results(out)
    assert results.record["corpus"]["utterances"] == 9
    assert any("broken" in item["id"] for item in results.record["corpus"]["skipped"])
    assert set(results.table["measure"]) == {"cka", "cka-biased"}


def test_yaml_and_flags(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"models: [log-mel, mfcc]\ncorpus: {folder}\nunits: [utterance]\nfolds: 4\nseed: 3\n"
    )
    code, text = _invoke(
        "similarity", "--config", str(path), "--seed", "5", "-o", str(tmp_path / "o"), "-q"
    )
    assert code == 0, text
    config = load_results(tmp_path / "o").record["config"]
    assert (config["seed"], config["folds"], config["units"]) == (5, 4, ["utterance"])


def test_yaml_takes_single_names_and_layer_numbers(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"models: 'log-mel,mels=20'\ncorpus: {folder}\nunits: frame, utterance\n"
        "measures: cka\nlayers: [logmel]\n"
    )
    out = tmp_path / "o"
    code, text = _invoke("similarity", "--config", str(path), "-o", str(out), "-q")
    assert code == 0, text
    config = load_results(out).record["config"]
    assert config["models"] == ["log-mel,mels=20"]
    assert config["units"] == ["frame", "utterance"]
    assert config["measures"] == ["cka"]
    numbers = build(SimilarityConfig, {"models": ["m"], "corpus": "c", "layers": [0, 4]})
    assert numbers.layers == ("0", "4")


def test_no_corpus_and_unknown_corpus_say_what_to_give(tmp_path: Path) -> None:
    code, text = _invoke("similarity", "log-mel", "-o", str(tmp_path / "o"))
    assert code != 0
    assert "no corpus is named" in text
    assert "--corpus" in text
    code, text = _invoke("similarity", "log-mel", "-c", "nowhere", "-o", str(tmp_path / "o"))
    assert code != 0
    assert "a folder of audio" in text
    assert "check the path" in text


@pytest.mark.parametrize("below", ["", "/sub"])
def test_a_file_in_the_way_of_the_output_folder(folder: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("mine")
    out = f"{tmp_path / 'taken'}{below}"
    with pytest.raises(StorageError, match="choose another output folder"):
        _raise("similarity", "log-mel", "-c", str(folder), "-o", out)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_limit_on_file_sizes_is_told_and_the_run_goes_on_after(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    command = f"similarity log-mel mfcc -c {folder} --unit frame --route blocks -q -o {out}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; {sys.executable} -m voxstrata {command}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "ulimit" in done.stderr
    code, text = _invoke(*command.split())
    assert code == 0, text


def test_dry_run_computes_nothing(folder: Path, tmp_path: Path) -> None:
    code, text = _invoke(
        "similarity", "log-mel", "-c", str(folder), "-o", str(tmp_path / "o"), "--dry-run"
    )
    assert code == 0, text
    assert "for the models" in text
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["hubert-bass"], "did you mean"),
        (["log-mel", "--unit", "frames"], "did you mean 'frame'"),
        (["log-mel", "--measure", "cca"], "unknown measure"),
        (["log-mel", "--layers", "99"], "unknown layer"),
        (["log-mel", "--overwrite", "sometimes"], "only-cache"),
        (["log-mel", "--folds", "1"], "folds"),
        (["log-mel", "--unit", "frame,frame"], "named twice"),
        ([], "no model is named"),
    ],
)
def test_bad_arguments_are_told(
    folder: Path, tmp_path: Path, arguments: list[str], match: str
) -> None:
    code, text = _invoke("similarity", *arguments, "-c", str(folder), "-o", str(tmp_path / "o"))
    assert code != 0
    assert match in text
    assert not (tmp_path / "o" / "results.parquet").exists()


def test_errors_come_without_a_traceback_and_leave_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voxstrata", "similarity", "log-mel", "-c", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert list(tmp_path.iterdir()) == []
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    """A real SIGINT to a real process; the second run finishes."""
    out = tmp_path / "out"
    told = tmp_path / "told"
    slow = (
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import os, time, voxstrata.streaming.onepass as o; plain = o.Pass._checkpoint\n"
        "def late(self, done):\n"
        "    plain(self, done)\n"
        f"    while not os.path.exists({str(told)!r}): time.sleep(0.02)\n"
        "o.Pass._checkpoint = late\nfrom voxstrata.cli import main; main()"
    )
    arguments = ["similarity", "log-mel", "-c", str(folder), "-o", str(out), "-q", "--folds", "3"]
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    cursor, deadline = out / "state" / "pass.json", time.monotonic() + 120
    while not cursor.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    told.touch()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert json.loads(cursor.read_text())["done"] >= 1
    code, text = _invoke(*arguments)
    assert code == 0, text
    assert load_results(out).record["resumed"] is True


def test_doctor_reports() -> None:
    code, text = _invoke("doctor", "--json")
    assert code == 0, text
    assert {item["what"] for item in json.loads(text)} >= {"torch", "torchaudio", "device"}


def test_doctor_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "pip install 'voxstrata[synth]'"
    found = [Finding("espeakng-loader", "absent", "no", remedy)]
    monkeypatch.setattr("voxstrata.diagnosis.diagnose", lambda: found)
    monkeypatch.setenv("COLUMNS", "120")
    code, text = _invoke("doctor")
    assert code == 0, text
    assert remedy in text


def test_brackets_in_names_are_no_markup(tmp_path: Path) -> None:
    odd = tmp_path / "[bold] speech"
    odd.mkdir()
    for number in range(6):
        soundfile.write(odd / f"{number}.wav", noise(8000, number), 16000)
    code, text = _invoke(
        "similarity", "log-mel", "-c", str(odd), "-o", str(tmp_path / "o"), "--dry-run"
    )
    assert code == 0, text
    assert "[bold] speech" in " ".join(text.split())
