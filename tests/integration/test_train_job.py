"""Training runs as jobs: killed, stopped, refused, joined, with real processes and a real disk."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import planted
import training_made as made
from voxstrata.errors import (
    CorpusError,
    ResultsError,
    RunInterruptedError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from voxstrata.models.weights import read_container
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.results import load_results
from voxstrata.training import state
from voxstrata.training.engine import Engine
from voxstrata.training.job import run_training
from voxstrata.training.log import read_log
from voxstrata.training.recipes import read_recipe

CHECKPOINT = Path("state") / state.CHECKPOINT


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    made.register()
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("corpus"), recordings=24, speakers=4)


@pytest.fixture(scope="module")
def recipe(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_recipe(tmp_path_factory.mktemp("recipe") / "toy.yaml", corpus)


@pytest.fixture(scope="module")
def plain(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("plain") / "out"
    run_training(read_recipe(recipe), out)
    return out


def _weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_container(out / "model" / "model.safetensors")
    return found | read_container(out / "model" / "mean.safetensors")


def _same(one: Path, other: Path) -> None:
    """Bit for bit, but for what the clock on the wall says."""
    ours, theirs = _weights(one), _weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert made.untimed(read_log(one)) == made.untimed(read_log(other))


def _start(*arguments: object, processes: int = 1, **options: Any) -> subprocess.Popen[str]:
    joined = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [
            sys.executable,
            *(joined if processes > 1 else []),
            made.__file__,
            "train",
            *map(str, arguments),
            "--quiet",
        ],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def _until(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while not there():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until, "nothing in a minute and a half"
        time.sleep(0.02)


def _stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Runs are told to stop once they have made so many steps."""
    monkeypatch.setattr(Engine, "_told_to_stop", lambda self: self.step == step)


def _unfinished(recipe: Path, out: Path, *changes: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        _stop_at(patched, 5)
        with pytest.raises(RunInterruptedError):
            run_training(read_recipe(recipe, changes), out)


def test_a_finished_run_leaves_model_log_table_and_record(plain: Path) -> None:
    results = load_results(plain)
    record = results.record
    assert record["job"] == "train"
    assert record["steps"] == 12
    assert record["config"]["objective"] == {"name": "toy"}
    assert record["corpus"]["utterances"] == 24
    assert record["corpus"]["speakers"] == 4
    assert record["bad"] == {}
    assert 0 <= record["waiting_share"] <= 1
    assert record["audio_s_per_s"] > 0
    assert [e["step"] for e in read_log(plain)] == [2, 4, 6, 8, 10, 12]
    assert not (plain / "state").exists()
    assert all(v.isfinite().all() for v in _weights(plain).values())


def test_a_finished_run_is_kept_refused_or_replaced_as_asked(
    plain: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(plain, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock"}
    run_training(read_recipe(recipe), out)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock"} == before
    with pytest.raises(ResultsError, match="holds results already"):
        run_training(read_recipe(recipe), out, overwrite="never")
    with pytest.raises(ResultsError, match="other settings") as caught:
        run_training(read_recipe(recipe, ["run.seed=5"]), out)
    assert "run" in str(caught.value)
    run_training(read_recipe(recipe, ["run.seed=5"]), out, overwrite="always")
    assert not all(torch.equal(a, b) for a, b in zip(
        _weights(out).values(), _weights(plain).values(), strict=True
    ))  # fmt: skip


def test_killed_and_resumed_equals_uninterrupted(plain: Path, recipe: Path, tmp_path: Path) -> None:
    """SIGKILL to the command and its loader, then the same call again."""
    out = tmp_path / "out"
    process = _start(recipe, "-o", out, "-s", "data.workers=1", env={"TOY_PAUSE_S": "0.15"})
    _until(process, lambda: len(read_log(out)) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    held = read_container(out / CHECKPOINT)
    assert 3 <= held["step"] < 12
    assert not (out / "run.json").exists()
    run_training(read_recipe(recipe), out)  # workers are not among what numbers depend on
    _same(out, plain)


def test_a_scheduler_s_signal_leaves_a_checkpoint_and_says_how_to_go_on(
    plain: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = _start(recipe, "-o", out, "-s", "run.save_every_s=3600", env={"TOY_PAUSE_S": "0.15"})
    _until(process, lambda: len(read_log(out)) >= 1)
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "of 12" in said
    assert f"run the same command again: it goes on from what {out} holds" in said
    assert 2 <= read_container(out / CHECKPOINT)["step"] < 12
    run_training(read_recipe(recipe), out)
    _same(out, plain)


def test_a_disk_that_takes_no_more_keeps_the_checkpoint_before(
    plain: Path, recipe: Path, tmp_path: Path
) -> None:
    """A limit on file sizes that a checkpoint does not fit into, set by the system."""
    out = tmp_path / "out"
    _unfinished(recipe, out)
    before = (out / CHECKPOINT).read_bytes()
    assert len(before) > 60_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = _start(recipe, "-o", out, preexec_fn=limit)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 2, said
    assert "cannot write" in said
    assert "raise it or choose another output folder, then run the same command again" in said
    assert "Traceback" not in said
    assert (out / CHECKPOINT).read_bytes() == before
    run_training(read_recipe(recipe), out)
    _same(out, plain)


def test_two_processes_are_one_with_the_joint_batch(recipe: Path, tmp_path: Path) -> None:
    alone, pair = tmp_path / "alone", tmp_path / "pair"
    run_training(read_recipe(recipe, ["data.batch=8", "run.log_every=1"]), alone)
    process = _start(recipe, "-o", pair, "-s", "run.log_every=1", processes=2)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("report.html") == 1  # the second process is silent
    ours, theirs = read_log(alone), read_log(pair)
    assert len(ours) == len(theirs) == 12
    for one, other in zip(ours, theirs, strict=True):
        for key in ("step", "loss", "accuracy", "gradient_norm", "lr", "epochs"):
            assert other[key] == pytest.approx(one[key], rel=1e-5, abs=1e-5), (one["step"], key)
    for name, value in _weights(alone).items():
        assert torch.allclose(value, _weights(pair)[name], atol=1e-5), name
    assert load_results(pair).record["processes"] == 2
    # Another number of processes is another run.
    with pytest.raises(ResultsError, match="other settings"):
        run_training(read_recipe(recipe, ["run.log_every=1"]), pair)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["run.seed=3"], "run.seed: 0 then, 3 now"),
        (["optimiser.kind=adamw", "schedule.lr=0.5"], "optimiser.kind: 'sgd' then, 'adamw' now"),
        (["model.options.channels=24"], "model.options.channels: 16 then, 24 now"),
        (["run.steps=20"], "run.steps: 12 then, 20 now"),
        (["data.speeds=[1.0, 0.9]"], "classes: 4 then, 8 now"),
        (["objective.crop_s=0.5"], "objective.crop_s: None then, 0.5 now"),
    ],
)
def test_an_unfinished_run_of_other_settings_is_refused_naming_them(
    recipe: Path, tmp_path: Path, changes: list[str], said: str
) -> None:
    _unfinished(recipe, tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(StorageError, match="unfinished run of other settings") as caught:
        run_training(read_recipe(recipe, changes), tmp_path)
    assert said in str(caught.value)
    assert "--overwrite always" in caught.value.fix
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_corpus_that_lost_a_class_is_refused(corpus: Path, tmp_path: Path) -> None:
    """The same path, but the recordings of one speaker were taken away since."""
    mine = tmp_path / "mine"
    shutil.copytree(corpus, mine)
    recipe = made.write_recipe(tmp_path / "r.yaml", mine)
    _unfinished(recipe, tmp_path / "out")
    manifest = mine / "manifest.jsonl"
    kept = [line for line in manifest.read_text().splitlines() if '"speaker": "s2"' not in line]
    manifest.write_text("\n".join(kept))
    for number in range(2, 24, 4):
        (mine / f"r{number:02d}.wav").unlink()
    with pytest.raises(StorageError) as caught:
        run_training(read_recipe(recipe), tmp_path / "out")
    assert "classes: 4 then, 3 now" in str(caught.value)
    assert "speaker missing now: s2" in str(caught.value)
    assert "training recordings:" in str(caught.value)


def test_what_no_number_depends_on_may_change(plain: Path, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _unfinished(recipe, out)
    run_training(read_recipe(recipe, ["run.save_every_s=9", "name=other", "data.check=none"]), out)
    assert all(torch.equal(a, b) for a, b in zip(
        _weights(out).values(), _weights(plain).values(), strict=True
    ))  # fmt: skip


def test_an_interrupted_overwrite_says_to_go_on_without_it(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_at(monkeypatch, 3)
    with pytest.raises(RunInterruptedError) as caught:
        run_training(read_recipe(recipe), tmp_path, overwrite="always")
    assert "--overwrite missing" in caught.value.fix
    assert caught.value.got == "step 3 of 12"


def test_bfloat16_and_accumulation_for_a_few_steps(recipe: Path, tmp_path: Path) -> None:
    changes = ["run.precision=bfloat16", "run.steps=4", "run.accumulate=2"]
    run_training(read_recipe(recipe, changes), tmp_path)
    assert all(np.isfinite(e["loss"]) for e in read_log(tmp_path))
    assert len(read_log(tmp_path)) == 2


# Bad input


def _corpus_with(corpus: Path, folder: Path, silent: int) -> Path:
    """A copy in which the first recordings are digital silence."""
    shutil.copytree(corpus, folder)
    for number in range(silent):
        path = folder / f"r{number:02d}.wav"
        soundfile.write(path, np.zeros(soundfile.info(path).frames, np.float32), 16_000)
    return folder


def test_silent_recordings_are_replaced_and_listed(corpus: Path, tmp_path: Path) -> None:
    mine = _corpus_with(corpus, tmp_path / "mine", 3)
    run_training(read_recipe(made.write_recipe(tmp_path / "r.yaml", mine)), tmp_path / "out")
    record = load_results(tmp_path / "out").record
    assert sorted(record["bad"]) == ["r00", "r01", "r02"]
    assert "digital silence" in record["bad"]["r00"]
    assert record["corpus"]["utterances"] == 21
    assert {e["id"] for e in record["corpus"]["skipped"]} == {"r00", "r01", "r02"}
    told = [e["recording"] for e in read_log(tmp_path / "out") if e["kind"] == "bad"]
    assert sorted(told) == ["r00", "r01", "r02"]


def test_a_corpus_of_silence_is_an_error_that_says_so(corpus: Path, tmp_path: Path) -> None:
    mine = _corpus_with(corpus, tmp_path / "mine", 24)
    recipe = made.write_recipe(tmp_path / "r.yaml", mine, data={"workers": 1})
    with pytest.raises(CorpusError, match="21 recordings in a row cannot be used") as caught:
        run_training(read_recipe(recipe), tmp_path / "out")
    assert "digital silence" in str(caught.value)


def test_a_recording_of_another_length_than_none(corpus: Path, tmp_path: Path) -> None:
    """Empty files are left out when the corpus is opened; short ones by data.min_s."""
    mine = tmp_path / "mine"
    shutil.copytree(corpus, mine)
    soundfile.write(mine / "r00.wav", np.zeros(0, np.float32), 16_000)
    recipe = made.write_recipe(tmp_path / "r.yaml", mine, data={"min_s": 1.0})
    run_training(read_recipe(recipe, ["run.steps=2"]), tmp_path / "out")
    record = load_results(tmp_path / "out").record
    assert record["corpus"]["utterances"] == 23
    assert [e["id"] for e in record["corpus"]["skipped"]] == ["r00"]
    with pytest.raises(CorpusError):
        run_training(read_recipe(recipe, ["data.min_s=60"]), tmp_path / "none")


def test_a_corpus_that_does_not_fill_a_batch(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="too small for one batch"):
        run_training(read_recipe(recipe, ["data.batch=25"]), tmp_path)


def test_one_speaker_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    mine = planted.write_corpus(tmp_path / "mine", recordings=8, speakers=1)
    recipe = made.write_recipe(tmp_path / "r.yaml", mine)
    with pytest.raises(CorpusError, match="one speaker"):
        run_training(read_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out" / "train.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        (["objective.name=too"], UnknownNameError, "toy"),
        (["objective.crop=1"], UsageError, "crop_s"),
        (["model={family: melhubert}"], UsageError, "does not train this family"),
        (["data.corpus=/nowhere/at/all"], Exception, "/nowhere/at/all"),
        (["run.device=cuda:99"], UsageError, "the device 'cuda:99' cannot be used"),
        (["run.device=toaster"], UsageError, "the device 'toaster' cannot be used"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    recipe: Path, tmp_path: Path, changes: list[str], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        run_training(read_recipe(recipe, changes), tmp_path)
    assert said in str(caught.value)


def test_an_evaluation_corpus_with_the_training_recordings_is_refused(
    recipe: Path, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="shares recordings"):
        run_training(read_recipe(recipe, [f"data.valid.mine={corpus}"]), tmp_path)
