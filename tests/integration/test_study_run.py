"""Studies as a user runs them: one folder with all of it, resumed, repeated, killed, failing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from voxstrata.cli import app, commands
from voxstrata.errors import ConfigError, ResultsError
from voxstrata.files import read_json
from voxstrata.report import draw_report
from voxstrata.report.compare import EQUAL, compare_results
from voxstrata.results import load_results
from voxstrata.studies.load import Source, read_study
from voxstrata.studies.run import run_study

if not app.registered_commands:
    commands.attach(app)

STUDY = """\
name: small
title: "Two <b>features</b> & nothing"
question: Do they differ?
corpora: {speech: synthetic:tiny, tasks: {default: synthetic:tiny}}
models: {mel: log-mel, coefficients: {spec: mfcc, roles: [speaker]}}
claims: [embedding-similar]
analyses:
  similar:
    job: similarity
    corpus: speech
    units: [frame, utterance]
    measures: [cka]
  known:
    job: properties
    corpus: speech
    properties: [linear-phone, variance-shares]
    scale: small
    folds: 3
    phones_per_type: 10
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return path


def _values(folder: Path) -> pd.DataFrame:
    return load_results(folder).table


def test_a_study_leaves_one_table_one_page_and_a_folder_each(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = run_study(read_study(str(file)), out)
    parts = [load_results(out / name) for name in ("similar", "known")]
    whole = pd.concat([part.table for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(
        results.table.drop(columns="study"), whole.drop(columns="study"), check_dtype=False
    )
    assert set(results.table["study"]) == {"small"}
    record = results.record
    assert record["job"] == "study"
    assert [entry["folder"] for entry in record["analyses"]] == ["similar", "known"]
    assert record["roles"]["speaker"] == ["mfcc"]
    page = draw_report(out)
    text = page.read_text()
    assert "Two &lt;b&gt;features&lt;/b&gt; &amp; nothing" in text
    assert "<b>features</b>" not in text
    assert "Do they differ?" in text
    # The same call again computes nothing, and what was written runs by itself.
    before = (out / "similar" / "results.parquet").stat().st_mtime_ns
    again = run_study(read_study(str(file)), out)
    assert again.record["finished"] == record["finished"]
    assert (out / "similar" / "results.parquet").stat().st_mtime_ns == before
    copy = run_study(read_study(str(out / "study.yaml")), tmp_path / "copy")
    pd.testing.assert_frame_equal(copy.table, results.table)


def test_another_study_in_the_same_folder_is_refused(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    only = {"analyses": {"similar": {"job": "similarity", "corpus": "speech", "folds": 3}}}
    run_study(read_study(str(file), changes=only), out)
    with pytest.raises(ResultsError, match="holds results already"):
        run_study(read_study(str(file), changes=only), out, overwrite="never")
    other = {"analyses": {"similar": {"job": "similarity", "corpus": "speech", "folds": 4}}}
    with pytest.raises(ResultsError, match="folds: 3 then, 4 now"):
        run_study(read_study(str(file), changes=other), out)
    assert run_study(read_study(str(file), changes=other), out, overwrite="always").record
    cached = run_study(read_study(str(file), changes=only), out, overwrite="only-cache")
    assert cached.record["config"]["analyses"]["similar"]["settings"]["folds"] == 4


def test_an_analysis_that_fails_does_not_take_the_others_along(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxstrata.studies.jobs.job import JOBS

    def fail(*_given: object, **_named: object) -> None:
        raise RuntimeError("numbers that <are> not finite")

    job = JOBS.get("properties")
    from dataclasses import replace

    monkeypatch.setitem(JOBS._objects, "properties", replace(job, run=fail))
    out = tmp_path / "out"
    results = run_study(read_study(str(file)), out)
    assert results.record["failed"] == ["known"]
    assert set(results.table["property"]) == {"similarity"}
    text = draw_report(out).read_text()
    assert "known failed" in text
    assert "numbers that &lt;are&gt; not finite" in text
    monkeypatch.setitem(JOBS._objects, "properties", job)
    healed = run_study(read_study(str(file)), out)
    assert healed.record["failed"] == []
    assert "linear-phone" in set(healed.table["property"])


def test_seeds_are_runs_of_their_own(file: Path, tmp_path: Path) -> None:
    changes = {
        "analyses": {"known": {"job": "properties", "corpus": "speech", "scale": "small",
                               "properties": ["variance-shares"], "folds": 3}},
        "seeds": [0, 1],
    }  # fmt: skip
    results = run_study(read_study(str(file), changes=changes), tmp_path / "out")
    assert set(results.table["seed"]) == {0, 1}
    assert [e["folder"] for e in results.record["analyses"]] == ["known", "known-seed1"]
    assert draw_report(tmp_path / "out").exists()


def test_seeds_are_added_to_a_finished_study(file: Path, tmp_path: Path) -> None:
    """What is there stays as it is; another first seed would have its folder, and is refused."""
    known = {"job": "properties", "corpus": "speech", "scale": "small",
             "properties": ["variance-shares"], "folds": 3}  # fmt: skip
    own = {"job": "similarity", "corpus": "speech", "folds": 3, "seed": 7}
    analyses = {"known": known, "similar": own}

    def read(*seeds: int) -> Source:
        return read_study(str(file), changes={"analyses": analyses, "seeds": list(seeds)})

    out = tmp_path / "out"
    run_study(read(0), out)
    held = {name: (out / name / "run.json").read_bytes() for name in ("known", "similar")}
    more = run_study(read(0, 1), out)
    assert {n: (out / n / "run.json").read_bytes() for n in held} == held
    folders = [(e["folder"], e["seed"]) for e in more.record["analyses"]]
    assert folders == [("known", 0), ("known-seed1", 1), ("similar", None)]
    assert set(more.table["seed"]) == {0, 1, 7}
    assert draw_report(out).exists()
    fresh = run_study(read(0, 1), tmp_path / "fresh")
    pd.testing.assert_frame_equal(more.table, fresh.table)
    for seeds in ((1,), (1, 0)):
        with pytest.raises(ResultsError, match="known: seed: 0 then, 1 now") as refused:
            run_study(read(*seeds), out)
        assert "seeds: [0, 1]" in refused.value.fix
    assert {n: (out / n / "run.json").read_bytes() for n in held} == held
    fewer = run_study(read(0), out)
    assert set(fewer.table["seed"]) == {0, 7}
    assert (out / "known-seed1" / "run.json").exists(), "no longer part of it, and not deleted"
    found = compare_results(out, tmp_path / "fresh")
    assert found.parts == ("known, seed 0", "similar")
    assert found.alone == (("known, seed 1", f"only in {tmp_path / 'fresh'}"),)
    assert set(found.table["verdict"]) == {EQUAL}


def test_the_command_shows_a_plan_runs_and_says_where_the_page_is(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runner = CliRunner()
    dry = runner.invoke(app, ["study", "run", str(file), "-o", str(out), "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "similar" in dry.output
    assert not (out / "similar").exists()
    command = ["study", "run", str(file), "-o", str(out), "--dry-run", "--set"]
    odd = runner.invoke(app, [*command, "analyses.known=3"])
    assert isinstance(odd.exception, ConfigError)
    without = runner.invoke(app, [*command, "analyses.known=null"])
    assert without.exit_code == 0, without.output
    assert "similar" in without.output
    assert "known" not in without.output
    done = runner.invoke(app, ["study", "run", str(file), "-o", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    assert str(out / "report.html") in done.output
    assert (out / "known" / "report.html").exists()


def test_studies_are_listed_and_shown() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["study", "list"])
    assert "ashihara2024" in listed.output
    shown = runner.invoke(app, ["study", "show", "lin2025", "--scale", "small"])
    assert "tune: melhubert-small-tune" in shown.output
    jobs = runner.invoke(app, ["study", "jobs"])
    assert "properties" in jobs.output


PROBES = """\
  probes:
    job: probing
    models: mel
    corpus_map: tasks
    tasks: [sid]
    protocol: demo
    steps: 10
    lrs: [0.01]
    twins: false
    baseline: ""
"""


def test_a_finished_study_is_not_touched_by_another_spelling_or_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(STUDY + PROBES)
    first = run_study(read_study(str(file)), "out")
    assert {"similar", "known", "probes"} == {e["name"] for e in first.record["analyses"]}
    again = run_study(read_study(str(file)), tmp_path / "out")
    assert again.record["finished"] == first.record["finished"]
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = run_study(read_study(str(file)), "moved")
    assert moved.record["finished"] == first.record["finished"]
    held = (tmp_path / "moved" / "results.parquet").read_bytes()
    other = read_study(str(file), changes={"analyses.known.folds": 4})
    with pytest.raises(ResultsError, match="known: folds: 3 then, 4 now"):
        run_study(other, "moved")
    assert (tmp_path / "moved" / "results.parquet").read_bytes() == held
    with pytest.raises(ResultsError, match="something else"):
        run_study(read_study("quickstart", corpora={"speech": "synthetic:tiny"}), "moved")
    with pytest.raises(ResultsError, match="quickstart"):
        run_study(read_study("quickstart"), "moved", overwrite="only-cache")
    # A part that is gone is made again.
    import shutil

    shutil.rmtree(tmp_path / "moved" / "known")
    whole = run_study(read_study(str(file)), "moved")
    pd.testing.assert_frame_equal(whole.table, first.table)


def test_never_finishes_what_is_not_finished(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = run_study(read_study(str(file)), out)
    for name in ("run.json", "results.parquet", "known/run.json", "known/results.parquet"):
        (out / name).unlink()
    finished = run_study(read_study(str(file)), out, overwrite="never")
    pd.testing.assert_frame_equal(finished.table, whole.table)
    with pytest.raises(ResultsError, match="holds results already"):
        run_study(read_study(str(file)), out, overwrite="never")


def test_stopped_under_always_the_advice_keeps_the_work(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from voxstrata.errors import RunInterruptedError
    from voxstrata.studies.jobs.job import JOBS

    def stop(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(JOBS._objects, "properties", replace(JOBS.get("properties"), run=stop))
    with pytest.raises(RunInterruptedError, match="--overwrite missing"):
        run_study(read_study(str(file)), tmp_path / "out", overwrite="always")


def test_a_claim_that_fails_costs_no_result(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxstrata.studies.claims.registry import CLAIMS

    def broken(_evidence: object) -> None:
        raise KeyError("nothing <here>")

    monkeypatch.setattr(CLAIMS, "_entries", dict(CLAIMS._entries))
    monkeypatch.setattr(CLAIMS, "_objects", dict(CLAIMS._objects))
    CLAIMS.put("broken", broken)  # type: ignore[arg-type]
    out = tmp_path / "out"
    results = run_study(read_study(str(file), changes={"claims": ["broken"]}), out)
    assert len(results.table)
    (claim,) = read_json(out / "claims.json")
    assert claim["verdict"] == "cannot tell"
    assert "KeyError" in claim["seeds"][0]["effects"][0]["doubt"]
    assert "&lt;here&gt;" in draw_report(out).read_text()


@pytest.mark.slow
def test_killed_ten_times_a_study_ends_with_the_same_numbers(file: Path, tmp_path: Path) -> None:
    file.write_text(STUDY + PROBES)
    whole = run_study(read_study(str(file)), tmp_path / "whole")
    assert whole.record["shared"]["groups"], "the pass that is killed is a shared one"
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "voxstrata", "study", "run", str(file), "-o", str(out), "-q"]
    began = time.monotonic()
    subprocess.run([*command[:-3], "-o", str(tmp_path / "timed"), "-q"], check=True, env=_env())
    length = time.monotonic() - began
    draw, killed = random.Random(0), 0
    while killed < 10:
        process = subprocess.Popen(
            command, env=_env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout=draw.uniform(0.1, 1.0) * length)
            if process.returncode == 0:
                # Finished before its moment came: begin again, so that ten kills are ten.
                import shutil

                shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    subprocess.run(command, check=True, env=_env())
    pd.testing.assert_frame_equal(_values(out), whole.table)
    assert (out / "report.html").stat().st_size > 10_000
    assert read_json(out / "claims.json") == read_json(tmp_path / "whole" / "claims.json")


def _env() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
