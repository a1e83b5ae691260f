"""The command ``verify`` as a user runs it, on a small corpus with acoustic baselines."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import planted
from voxstrata.cli import app, commands
from voxstrata.errors import LabelError, UnknownNameError, UsageError
from voxstrata.results import load_results

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("planted"), recordings=24, speakers=4)


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("verify") / "out"
    code, text = _invoke(
        "verify", "random:ecapa,channels=16,mfa=48,embed=24", "-c", str(recordings), "-o", str(out),
        "--as-norm", str(recordings), "--top", "3", "--replicates", "100", "--quiet",
    )  # fmt: skip
    assert code == 0, text
    return out, text


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def _raise(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is not None, result.output
    raise result.exception


def test_a_folder_to_a_table_and_a_report(finished: tuple[Path, str]) -> None:
    out, text = finished
    for said in ("Plain cosine", "subtracting the mean", "AS-norm", "EER %", "minDCF 0.01", "mfcc",
                 "276 trials", "60 target", "4 speakers", "report.html"):  # fmt: skip
        assert said in text, said
    results = load_results(out)
    rate = results.table.query("model == 'mfcc' and measure == 'eer-interpolated'")
    shown = f"{100 * rate.iloc[0]['value']:.2f}"
    assert shown in text
    page = (out / "report.html").read_text("utf-8")
    for said in ("Speaker verification with", "How well are speakers told apart?", shown,
                 "data:image/svg+xml;base64,", "too narrow"):  # fmt: skip
        assert said in page, said
    assert "no similarity" not in page
    figures = {path.name for path in (out / "figures").iterdir()}
    assert {"det-cosine.pdf", "scores-cosine-centred.svg", "det-as-norm.png"} <= figures
    assert not (out / "state").exists()


def test_the_page_is_drawn_again_from_the_folder(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    code, text = _invoke("report", str(out))
    assert code == 0, text
    assert (out / "report.html").read_bytes() == before


def test_a_dry_run_and_a_file_of_settings(recordings: Path, tmp_path: Path) -> None:
    settings = tmp_path / "v.yaml"
    settings.write_text(f"models: mfcc\ncorpus: {recordings}\nmax_trials: 100\nreplicates: 20\n")
    out = tmp_path / "o"
    code, text = _invoke("verify", "--config", str(settings), "-o", str(out), "--dry-run")
    assert code == 0, text
    assert "100 trials" in text
    assert not out.exists()
    code, text = _invoke(
        "verify", "--config", str(settings), "-o", str(out), "--max-trials", "50",
        "--no-baselines", "--eer", "max", "--p-target", "0.1", "-q",
    )  # fmt: skip
    assert code == 0, text
    found = load_results(out)
    assert set(found.table["n"]) == {50}
    assert set(found.table["model"]) == {"mfcc"}
    assert {"mindcf-0.1"} == {m for m in found.table["measure"] if m.startswith("mindcf")}
    chosen = found.table.query("measure == 'eer-max'")
    assert chosen["ci_low"].notna().all()


def test_mistakes_are_told_before_work(recordings: Path, tmp_path: Path) -> None:
    out = ("-o", str(tmp_path / "o"))
    with pytest.raises(UsageError, match="no model"):
        _raise("verify", "-c", str(recordings), *out)
    with pytest.raises(UsageError, match="no corpus"):
        _raise("verify", "mfcc", *out)
    with pytest.raises(UnknownNameError, match="mfcc"):
        _raise("verify", "mfc", "-c", str(recordings), *out)
    listed = tmp_path / "list"
    listed.write_text("1 r00 r04\n0 r00 q\n")
    with pytest.raises(LabelError, match="1 of 3 ids"):
        _raise("verify", "mfcc", "-c", str(recordings), "-t", str(listed), *out)
    listed.write_text("1 r00 r04\nx\n")
    with pytest.raises(LabelError, match="line 2"):
        _raise("verify", "mfcc", "-c", str(recordings), "-t", str(listed), *out)
    with pytest.raises(LabelError, match="chapter"):
        _raise("verify", "mfcc", "-c", str(recordings), "--cross-session", "chapter", *out)
    with pytest.raises(UsageError, match="overwrite"):
        _raise("verify", "mfcc", "-c", str(recordings), "--overwrite", "yes", *out)
    assert not (tmp_path / "o").exists()


def test_help_teaches() -> None:
    code, text = _invoke("verify", "--help")
    assert code == 0
    for said in ("Example", "--mean-from", "--as-norm", "--channel", "speaker keeps a"):
        assert said in text, said
