"""Where workers come from: ``local:N``, ``tcp://HOST:PORT``, ``slurm:PROFILE.yaml``.

Scheduling, moving tasks away from dead workers and Slurm's job scripts are dask's
(https://distributed.dask.org, https://jobqueue.dask.org); this file only says what is wanted.
Who can talk to a scheduler can have any code run: those that are started here are given a
certificate of their own, made for the run, without which nobody is let in.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from voxstrata.config import Config, load
from voxstrata.errors import ClusterError, MissingDependencyError, UsageError
from voxstrata.numerics.threads import cores

CONNECT_S = 20
"""Seconds in which a scheduler must answer."""

KINDS = "local:N, tcp://HOST:PORT or slurm:PROFILE.yaml"


class SlurmProfile(Config):
    """How workers are asked of Slurm; every key has the meaning of sbatch's.

    Attributes:
        workers: jobs, with one worker each.
        cores: processor cores of a worker (``--cpus-per-task``), its threads too.
        memory: of a worker, as "32GiB" (``--mem``).
        walltime: of a job, as "12:00:00" (``--time``); a worker whose time is up is replaced, and
            what it had not finished is done by others.
        gpus: GPUs of a worker (``--gres=gpu:N``).
        partition, account: ``--partition``, ``--account``.
        directives: further lines of the job script, without "#SBATCH".
        prologue: shell lines before the worker starts, such as "module load cuda".
        python: interpreter on the nodes; ``None`` for the one that runs this.
        logs: folder of the jobs' logs.
        interface: network interface of the nodes that the scheduler and workers talk over.
        dashboard: port of the dashboard.
    """

    workers: PositiveInt
    cores: PositiveInt = 4
    memory: str = "16GiB"
    walltime: str = "08:00:00"
    gpus: Annotated[int, Field(ge=0)] = 0
    partition: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    logs: str = "slurm-logs"
    interface: str | None = None
    dashboard: PositiveInt | None = None


@dataclass(frozen=True)
class Place:
    """What ``--cluster`` asks for.

    Attributes:
        kind: "local", "tcp" or "slurm".
        text: as it was written.
        workers: how many, where we start them.
        address: of the scheduler ("tcp").
        profile: settings ("slurm").
    """

    kind: Literal["local", "tcp", "slurm"]
    text: str
    workers: int = 0
    address: str = ""
    profile: SlurmProfile | None = None


@dataclass
class Crew:
    """A running cluster.

    Attributes:
        place: what it was made from.
        client: dask's connection to the scheduler.
        ours: workers are started, and ended, by this process.
        cluster: dask's cluster where they are.
    """

    place: Place
    client: Any
    ours: bool
    cluster: Any = field(default=None)

    def workers(self) -> list[str]:
        """Addresses of workers that are alive."""
        return list(self.client.scheduler_info(n_workers=-1)["workers"])

    def jobs_gone(self) -> set[str]:
        """Names of Slurm jobs that were asked for, have no worker, and are in no queue."""
        if self.place.kind != "slurm":
            return set()
        info = self.client.scheduler_info(n_workers=-1)["workers"].values()
        here = {str(worker["name"]) for worker in info}
        asked = {
            str(name): str(job.job_id)
            for name, job in dict(self.cluster.workers).items()
            if str(name) not in here and getattr(job, "job_id", None)
        }
        if not asked:
            return set()
        command = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(asked.values())}"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return set()
        # Slurm has forgotten every one of them, and says so as an error.
        if found.returncode and "nvalid job id" not in found.stderr:
            return set()
        queue = found.stdout.split()
        return {name for name, number in asked.items() if number not in queue}

    def again(self, names: set[str]) -> None:
        """Let go of Slurm jobs; as many are asked for anew."""
        held = [name for name in dict(self.cluster.workers) if str(name) in names]
        self.cluster.sync(self.cluster.scale_down, held)

    def logs(self) -> str:
        """Folder of the jobs' logs."""
        return str(Path(self.place.profile.logs).absolute()) if self.place.profile else ""

    def close(self) -> None:
        """End what was started."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=5)
        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.close(timeout=10)


def parse_place(text: str) -> Place:
    """Read what ``--cluster`` says; a Slurm profile is read and checked too.

    Raises:
        UsageError: it is none of the kinds.
        ConfigError: the profile has problems.
    """
    kind, _, rest = text.partition(":")
    if kind == "local" and re.fullmatch(r"[1-9]\d*", rest):
        return Place("local", text, workers=int(rest))
    found = re.fullmatch(r"//.+:(\d{1,5})", rest) if kind in ("tcp", "tls") else None
    if found and 0 < int(found[1]) < 2**16:
        return Place("tcp", text, address=text)
    if kind == "slurm" and rest:
        profile = load(SlurmProfile, Path(rest).expanduser(), {})
        return Place("slurm", text, workers=profile.workers, profile=profile)
    raise UsageError(
        "--cluster is not understood",
        got=text,
        expected=KINDS,
        fix="for example --cluster local:4 on this machine; docs/scaling.md",
    )


_CREWS: dict[str, Crew] = {}


def crew_of(text: str, say: Callable[[str], None]) -> Crew:
    """The cluster that ``--cluster`` names; started once, and ended with this process.

    Args:
        text: as :func:`parse_place` reads it.
        say: shows a line (where the dashboard is).

    Raises:
        ClusterError: there is no scheduler at the address; MissingDependencyError: no dask.
        UsageError, ConfigError: as :func:`parse_place`.
    """
    held = _CREWS.get(text)
    if held is not None and held.client.status == "running":
        return held
    place = parse_place(text)
    need_dask(place)
    if held is not None:  # its scheduler is gone, but not what was started with it
        _CREWS.pop(text).close()
    crew = {"local": _local, "tcp": _connected, "slurm": _slurm}[place.kind](place)
    _CREWS[text] = crew
    atexit.unregister(close_all)
    atexit.register(close_all)
    say(f"Cluster {place.text}: scheduler at {crew.client.scheduler.address}")
    link = getattr(crew.client, "dashboard_link", None)
    if link:
        say(f"Dashboard: {link}")
    return crew


def close_all() -> None:
    """End every cluster that this process has started or joined."""
    while _CREWS:
        _CREWS.popitem()[1].close()


def need_dask(place: Place) -> None:
    """See that dask is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    import importlib.util

    needed = ["distributed", "cryptography", *(["dask_jobqueue"] if place.kind == "slurm" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"--cluster {place.text} needs {' and '.join(missing)}",
            got="not installed",
            fix="pip install 'voxstrata[cluster]'",
        )


def threads_of(place: Place) -> int | None:
    """Threads of a worker's products: its share of the cores where we know it."""
    if place.kind == "local":
        # Of a list ("4,2", one number a level of nesting) the first counts here.
        asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        share = max(1, cores() // place.workers)
        return min(share, int(asked)) if asked.isdecimal() and int(asked) else share
    return place.profile.cores if place.profile else None


def _local(place: Place) -> Crew:
    import dask
    from distributed import Client, LocalCluster, Security

    # Our own plan keeps memory in bounds; dask would kill workers over a share of its own making.
    with dask.config.set({"distributed.worker.daemon": True}):
        cluster = LocalCluster(
            n_workers=place.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="ERROR",
            security=Security.temporary(),
        )
    return Crew(place, Client(cluster, set_as_default=False), ours=True, cluster=cluster)


def _connected(place: Place) -> Crew:
    from distributed import Client
    from distributed.security import Security

    if place.address.startswith("tls:"):
        # Without, dask fails with an error of its own making, in a thread of its own.
        told = Security().get_connection_args("client").get("ssl_context")
        if told is None:
            raise ClusterError(
                f"{place.address} asks for TLS, and dask knows no certificates here",
                expected="distributed.comm.tls.ca-file, .client.cert and .client.key in dask's "
                "configuration, or in DASK_DISTRIBUTED__COMM__TLS__... of the environment",
                fix="set them (docs/security.md)",
            )
    try:
        client = Client(place.address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:
        raise _no_scheduler(place, str(error)) from None
    return Crew(place, client, ours=False)


def _no_scheduler(place: Place, found: str) -> ClusterError:
    return ClusterError(
        f"no scheduler answers at {place.address}",
        got=(found.splitlines() or ["nothing"])[0],
        expected="a running `dask scheduler`",
        fix="start one (docs/scaling.md), or check host, port and firewall",
    )


def reach(place: Place) -> None:
    """See that something listens where a scheduler should, before anything else is done.

    Raises:
        ClusterError: nothing does.
    """
    if place.kind != "tcp":
        return
    host, _, port = place.address.partition("//")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise _no_scheduler(place, str(error)) from None


def _slurm(place: Place) -> Crew:
    profile = place.profile
    assert profile is not None
    directives = list(profile.directives)
    if profile.gpus:
        directives.append(f"--gres=gpu:{profile.gpus}")
    optional = {
        "queue": profile.partition,
        "account": profile.account,
        "python": profile.python,
        "interface": profile.interface,
    }
    scheduler = {"dashboard_address": f":{profile.dashboard or 0}"}
    wrong = ClusterError(
        f"Slurm workers cannot be asked for with {place.text}",
        expected="sbatch on this machine, and settings that it takes",
        fix="run on a login node, and check the profile (docs/scaling.md)",
    )
    if shutil.which("sbatch") is None:
        raise _because(wrong, "no sbatch on this machine")
    with _signals_kept():
        from dask_jobqueue import SLURMCluster
        from distributed import Client, Security
    try:
        logs = Path(profile.logs).absolute()
        logs.mkdir(parents=True, exist_ok=True)
        cluster = SLURMCluster(
            cores=1,  # one task at a time; its products have threads of their own
            processes=1,
            job_cpu=profile.cores,
            memory=profile.memory,
            walltime=profile.walltime,
            job_extra_directives=directives,
            job_script_prologue=[f"export OMP_NUM_THREADS={profile.cores}", *profile.prologue],
            log_directory=str(logs),
            security=Security.temporary(),
            shared_temp_directory=str(logs),  # of the certificate, which this user alone can read
            scheduler_options=scheduler,
            worker_extra_args=["--memory-limit", "0"],
            **{name: value for name, value in optional.items() if value is not None},
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _because(wrong, str(error)) from None
    try:
        _try_job(cluster.job_script())
    except ValueError as error:
        cluster.close(timeout=10)
        raise _because(wrong, str(error)) from None
    # Jobs that end before the work does (time limits, failed nodes) are asked for again.
    cluster.adapt(minimum_jobs=profile.workers, maximum_jobs=profile.workers)
    return Crew(place, Client(cluster, set_as_default=False), ours=True, cluster=cluster)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """dask-jobqueue makes Ctrl-C end the process when it is imported; here it ends a run in order,
    with a word on how to go on."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _try_job(script: str) -> None:
    """Have Slurm look at a job without starting it: a refusal later would only be logged by dask,
    and the run would wait for a worker that never comes.

    Raises:
        ValueError: what sbatch says against it.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        found = subprocess.run(
            ["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False
        )
    if found.returncode:
        raise ValueError(found.stderr.strip() or f"sbatch ended with {found.returncode}")


def _because(error: ClusterError, reason: str) -> ClusterError:
    """The error with what was found."""
    line = (reason.splitlines() or [type(error).__name__])[0]
    return ClusterError(error.what, got=line, expected=error.expected, fix=error.fix)
