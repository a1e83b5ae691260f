"""What goes wrong on a cluster: nothing is counted twice, nothing finished is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client

import clusters
import planted
from voxstrata.errors import ClusterError
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.results import load_results
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.cluster import spread, worker, workers
from voxstrata.streaming.onepass import PARTS

MODEL = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield
    workers.close_all()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted.write_corpus(tmp_path_factory.mktemp("planted"), 24, 4))


def settings(corpus: str, cluster: str | None, **more: Any) -> SimilarityConfig:
    given: dict[str, Any] = {
        "corpus": corpus, "models": (MODEL, "log-mel"), "units": ("frame",), "shard_s": 1.0,
        "folds": 3, "route": "moments", "cluster": cluster,
    }  # fmt: skip
    return SimilarityConfig(**given | more)


@pytest.fixture(scope="module")
def expected(recordings: str, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return run_similarity(settings(recordings, None), tmp_path_factory.mktemp("alone")).table


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-9)


def finished(out: Path) -> int:
    """Shards whose state lies in the folder."""
    names = [path.parent.name for path in (out / "state" / PARTS).glob("*/*/report.json")]
    return sum(int(name[8:]) - int(name[:7]) for name in names)


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


def by_itself(folder: Path, corpus: str, out: Path, cluster: str, **more: Any) -> list[str]:
    """Command of a process that makes a run."""
    script = folder / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if __name__ == '__main__':\n"
        "    import json, test_cluster_faults as t\n"
        "    from pathlib import Path\n"
        "    given = t.settings(sys.argv[2], sys.argv[4], **json.loads(sys.argv[5]))\n"
        "    t.run_similarity(given, Path(sys.argv[3]))\n"
    )
    here = str(Path(__file__).parent)
    return [sys.executable, str(script), here, corpus, str(out), cluster, json.dumps(more)]


def in_background(act: Any) -> tuple[threading.Thread, list[Any]]:
    """Run something beside the test; what it gives or raises goes into the list."""
    told: list[Any] = []

    def run() -> None:
        try:
            told.append(act())
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, told


@pytest.mark.slow
def test_a_worker_killed_in_the_middle(
    recordings: str, expected: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with clusters.tcp(tmp_path / "cluster", 2) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.slow_down, 0.3)
        thread, told = in_background(
            lambda: run_similarity(settings(recordings, cluster.address), out).table
        )
        clusters.wait_until(lambda: finished(out) >= 3)
        cluster.workers[0].send_signal(signal.SIGKILL)
        thread.join(240)
    assert told
    same(told[0], expected)
    assert load_results(out).record["corpus"]["utterances"] == 24


@pytest.mark.slow
def test_a_worker_that_joins_late_takes_part(
    recordings: str, expected: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with clusters.tcp(tmp_path / "cluster", 1) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.slow_down, 2.5)
            thread, told = in_background(
                lambda: run_similarity(settings(recordings, cluster.address), out).table
            )
            clusters.wait_until(lambda: finished(out) >= 1)
            cluster.add()
            cluster.wait(2)
            late = max(client.scheduler_info(n_workers=-1)["workers"].items(),
                       key=lambda item: item[1]["name"])[0]  # fmt: skip
            client.run(clusters.count_shards, workers=[late])
            thread.join(240)
            done = client.run(clusters.counted, workers=[late])[late]
    same(told[0], expected)
    assert done > 0


@pytest.mark.slow
def test_a_slow_worker_does_less(recordings: str, expected: pd.DataFrame, tmp_path: Path) -> None:
    with clusters.tcp(tmp_path / "cluster", 2) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            names = {v["name"]: k for k, v in
                     client.scheduler_info(n_workers=-1)["workers"].items()}  # fmt: skip
            client.run(clusters.slow_down, 2.0, workers=[names["w0"]])
            client.run(clusters.slow_down, 0.05, workers=[names["w1"]])
            client.run(clusters.count_shards)
            found = run_similarity(settings(recordings, cluster.address), tmp_path / "out").table
            done = client.run(clusters.counted)
    same(found, expected)
    assert done[names["w1"]] > 2 * done[names["w0"]]


@pytest.mark.slow
def test_a_lost_scheduler_is_told_and_the_run_goes_on_elsewhere(
    recordings: str, expected: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with clusters.tcp(tmp_path / "cluster", 2) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.slow_down, 0.5)
        thread, told = in_background(
            lambda: run_similarity(settings(recordings, cluster.address), out).table
        )
        clusters.wait_until(lambda: finished(out) >= 3)
        cluster.scheduler.send_signal(signal.SIGKILL)
        thread.join(240)
    assert isinstance(told[0], ClusterError), told
    assert "is gone" in told[0].what
    kept = finished(out)
    assert kept >= 3
    workers.close_all()
    with clusters.tcp(tmp_path / "second", 1) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.count_shards)
            found = run_similarity(settings(recordings, cluster.address), out).table
            done = sum(client.run(clusters.counted).values())
    same(found, expected)
    total = json.loads((out / "run.json").read_text())["plan"][0]["shards"]
    assert done == total - kept


@pytest.mark.slow
def test_a_worker_without_the_model_leaves_the_work_to_others(
    recordings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import voxstrata.models

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    bundled = Path(voxstrata.models.__file__).parent / "bundled" / "melhubert-small"
    shutil.copytree(bundled, here / "mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = {"models": ("./mine",), "route": "auto"}
    alone = run_similarity(settings(recordings, None, **given), tmp_path / "alone").table
    with clusters.tcp(tmp_path / "cluster", 0) as cluster:
        cluster.add(elsewhere)
        cluster.wait(1)
        with pytest.raises(ClusterError) as told:
            run_similarity(settings(recordings, cluster.address, **given), tmp_path / "none")
        assert "./mine" in str(told.value)
        cluster.add(here)
        cluster.wait(2)
        found = run_similarity(settings(recordings, cluster.address, **given), tmp_path / "out")
    pd.testing.assert_frame_equal(found.table, alone, rtol=1e-6, atol=1e-9)


def test_no_scheduler_at_the_address(recordings: str, tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{clusters.free_port()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "CONNECT_S", 1)
        with pytest.raises(ClusterError, match="no scheduler answers") as told:
            run_similarity(settings(recordings, address), tmp_path / "out")
    assert address in str(told.value)


@pytest.mark.slow
def test_killed_with_its_local_workers_a_run_goes_on_and_leaves_no_process(
    recordings: str, expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with (tmp_path / "log").open("wb") as log:
        one = subprocess.Popen(
            by_itself(tmp_path, recordings, out, "local:2"), stdout=log, stderr=log,
            env=ENVIRONMENT,
        )  # fmt: skip
        clusters.wait_until(lambda: finished(out))
        import psutil

        family = psutil.Process(one.pid).children(recursive=True)
        one.kill()
        one.wait()
    assert family
    clusters.wait_until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
    # Here, without a cluster, what was finished is not made again.
    kept, made = finished(out), []
    plain = worker.work_shard
    monkeypatch.setattr(worker, "work_shard", lambda *a, **b: made.append(plain(*a, **b)))
    found = run_similarity(settings(recordings, None), out).table
    same(found, expected)
    total = json.loads((out / "run.json").read_text())["plan"][0]["shards"]
    assert len(made) == total - kept < total
    assert not (out / "state").exists()


@pytest.mark.slow
def test_work_that_outlives_its_run_is_no_part_of_the_next(recordings: str, tmp_path: Path) -> None:
    """Nothing stops a task that a worker has begun; the next run may use the same folder."""
    out = tmp_path / "out"
    models = ("random:melhubert,layers=1,width=16,ffn=16,heads=2,conv_pos=8",)
    given = {"models": models, "route": "blocks", "keep_store": True}
    clean = settings(recordings, None, **given, seed=2)
    expected = run_similarity(clean, tmp_path / "alone").table
    with clusters.tcp(tmp_path / "cluster", 2) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.slow_down, 1.5)
        with (tmp_path / "log").open("wb") as log:
            first = subprocess.Popen(
                by_itself(tmp_path, recordings, out, cluster.address, **given, seed=1),
                stdout=log, stderr=log, env=ENVIRONMENT,
            )  # fmt: skip
            clusters.wait_until(lambda: finished(out) >= 2)
            first.send_signal(signal.SIGINT)
            assert first.wait(60)
        assert b"RunInterruptedError" in (tmp_path / "log").read_bytes()
        again = settings(recordings, cluster.address, **given, seed=2)
        found = run_similarity(again, out, overwrite="always").table
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert not (out / "state").exists()


@pytest.mark.slow
def test_a_worker_with_several_threads_does_one_thing_at_a_time(
    recordings: str, tmp_path: Path
) -> None:
    given = {"models": ("random:sew-tiny",), "folds": 2}
    alone = run_similarity(settings(recordings, None, **given), tmp_path / "alone").table
    with clusters.tcp(tmp_path / "cluster", 0) as cluster:
        cluster.add(threads=4)
        cluster.wait(1)
        found = run_similarity(settings(recordings, cluster.address, **given), tmp_path / "out")
    same(found.table, alone)


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused(recordings: str, tmp_path: Path) -> None:
    with clusters.tcp(tmp_path / "cluster", 1) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.another_version)
        with pytest.raises(ClusterError, match="no worker") as told:
            run_similarity(settings(recordings, cluster.address), tmp_path / "out")
    assert "voxstrata 0.0.0" in str(told.value)


@pytest.mark.slow
def test_without_workers_it_ends_with_a_word(
    recordings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "PATIENCE_S", 2.0)
    out = tmp_path / "out"
    with clusters.tcp(tmp_path / "cluster", 0) as cluster:
        cluster.wait(0)
        with pytest.raises(ClusterError, match="has no workers"):
            run_similarity(settings(recordings, cluster.address), out)
        cluster.add()
        cluster.wait(1)
        with Client(cluster.address, set_as_default=False) as client:
            client.run(clusters.slow_down, 1.0)
        thread, told = in_background(
            lambda: run_similarity(settings(recordings, cluster.address), out)
        )
        clusters.wait_until(lambda: finished(out) >= 1)
        cluster.workers[0].kill()
        thread.join(120)
    assert isinstance(told[0], ClusterError), told
    assert "are gone" in told[0].what


@pytest.mark.slow
def test_stopped_by_ctrl_c_local_workers_end_without_a_traceback(
    recordings: str, tmp_path: Path
) -> None:
    """A terminal sends it to every process of the group."""
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "voxstrata", "similarity", MODEL, "-c", recordings,
        "--cluster", "local:2", "-o", str(out),
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        one = subprocess.Popen(
            command, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True
        )
        clusters.wait_until(lambda: finished(out))
        os.killpg(one.pid, signal.SIGINT)
        assert one.wait(60) == 130
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text, text
    assert "goes on" in text


def test_tls_without_certificates_is_told(recordings: str, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tls://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ClusterError, match="knows no certificates"):
            run_similarity(settings(recordings, address), tmp_path / "out")


@pytest.mark.slow
def test_who_has_no_certificate_cannot_talk_to_local_workers() -> None:
    crew = workers.crew_of("local:1", lambda _text: None)
    address = crew.client.scheduler.address
    assert address.startswith("tls://")
    with pytest.raises(OSError, match=r"(?i)timed out|connect"):
        Client(address.replace("tls:", "tcp:"), timeout=3, set_as_default=False)
    assert crew.client.submit(abs, -1).result(30) == 1
