"""``slurm:PROFILE.yaml`` with stand-ins for sbatch, squeue and scancel that start jobs here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import clusters
import planted
from voxstrata.errors import ClusterError
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.cluster import spread, workers

STAND_INS = Path(__file__).parents[1] / "slurm"
PROFILE = """
workers: 2
cores: 1
memory: 1GiB
walltime: "00:30:00"
partition: gpu
account: speech
directives: ["--constraint=a100"]
prologue: ["export STANDIN_PROLOGUE=yes"]
interface: lo
logs: {logs}
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder in which the stand-ins keep their jobs."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("SLURM_STANDIN", str(folder))
    monkeypatch.setenv("PATH", f"{STAND_INS}{os.pathsep}{os.environ['PATH']}")
    with one_torch_thread():
        yield folder
    workers.close_all()
    for file in folder.glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def profile(folder: Path, text: str = PROFILE) -> str:
    path = folder / "profile.yaml"
    path.write_text(text.format(logs=folder / "logs"))
    return f"slurm:{path}"


def settings(corpus: Path, cluster: str | None) -> SimilarityConfig:
    model = "random:melhubert,layers=1,width=16,ffn=32,heads=2,conv_pos=8"
    return SimilarityConfig(
        corpus=str(corpus), models=(model, "log-mel"), units=("frame",), shard_s=2.0, folds=3,
        cluster=cluster,
    )  # fmt: skip


@pytest.mark.slow
def test_jobs_are_asked_for_as_the_profile_says_do_the_work_and_are_cancelled(
    slurm: Path, tmp_path: Path
) -> None:
    corpus = planted.write_corpus(tmp_path / "corpus", 12, 3)
    alone = run_similarity(settings(corpus, None), tmp_path / "alone").table
    found = run_similarity(settings(corpus, profile(tmp_path)), tmp_path / "out").table
    pd.testing.assert_frame_equal(found, alone, check_exact=True)
    script = (slurm / "1.sh").read_text()
    for wanted in (
        "#SBATCH -p gpu", "#SBATCH -A speech", "#SBATCH --mem=1G", "#SBATCH -t 00:30:00",
        "#SBATCH --cpus-per-task=1", "#SBATCH --constraint=a100", "export STANDIN_PROLOGUE=yes",
        "export OMP_NUM_THREADS=1",
    ):  # fmt: skip
        assert wanted in script
    workers.close_all()
    clusters.wait_until(lambda: (slurm / "cancelled").exists(), 30)


@pytest.mark.slow
def test_a_job_that_ends_early_is_asked_for_again(slurm: Path, tmp_path: Path) -> None:
    corpus = planted.write_corpus(tmp_path / "corpus", 12, 3)
    crew = workers.crew_of(profile(tmp_path), lambda _text: None)
    clusters.wait_until(lambda: len(crew.workers()) == 2)
    os.killpg(int((slurm / "1.pid").read_text()), signal.SIGKILL)
    clusters.wait_until(lambda: (slurm / "3.pid").exists(), 60)
    found = run_similarity(settings(corpus, profile(tmp_path)), tmp_path / "out").table
    assert len(found)


@pytest.mark.slow
def test_a_job_killed_in_the_middle_of_its_work(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(clusters.__file__).parent))
    corpus = planted.write_corpus(tmp_path / "corpus", 24, 3)
    alone = run_similarity(settings(corpus, None), tmp_path / "alone").table
    place, out = profile(tmp_path), tmp_path / "out"
    crew = workers.crew_of(place, lambda _text: None)
    clusters.wait_until(lambda: len(crew.workers()) == 2)
    crew.client.run(clusters.slow_down, 1.0)
    told: list[pd.DataFrame] = []
    thread = threading.Thread(
        target=lambda: told.append(run_similarity(settings(corpus, place), out).table)
    )
    thread.start()
    clusters.wait_until(lambda: list((out / "state").glob("parts/*/*/report.json")))
    os.killpg(int((slurm / "1.pid").read_text()), signal.SIGKILL)
    thread.join(300)
    pd.testing.assert_frame_equal(told[0], alone, check_exact=True)
    clusters.wait_until(lambda: (slurm / "3.pid").exists(), 60)


@pytest.mark.slow
def test_jobs_that_end_before_their_worker_is_there_are_told(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "ASK_S", 1.0)
    corpus = planted.write_corpus(tmp_path / "corpus", 6, 3)
    place = profile(tmp_path, PROFILE + "python: /nowhere/python\n")
    with pytest.raises(ClusterError, match="end before their worker") as told:
        run_similarity(settings(corpus, place), tmp_path / "out")
    assert str(tmp_path / "logs") in str(told.value)
    assert len(list(slurm.glob("*.pid"))) >= 4, "they were asked for again"


def test_without_sbatch_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = planted.write_corpus(tmp_path / "corpus", 6, 3)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="sbatch"):
        run_similarity(settings(corpus, profile(tmp_path)), tmp_path / "out")


def test_what_slurm_says_against_a_job_is_told_before_anything_waits(
    slurm: Path, tmp_path: Path
) -> None:
    corpus = planted.write_corpus(tmp_path / "corpus", 6, 3)
    place = profile(tmp_path, PROFILE.replace("partition: gpu", "partition: nowhere"))
    with pytest.raises(ClusterError, match="invalid partition"):
        run_similarity(settings(corpus, place), tmp_path / "out")
