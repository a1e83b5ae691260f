"""Half-written files of killed processes go when their folder is used again; no others do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from voxstrata.files import atomic_write, lock

WRITER = """
import sys, time
from pathlib import Path
from voxstrata.files import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_with_the_next_lock(tmp_path: Path) -> None:
    for place in (tmp_path / "report.html", tmp_path / "figures" / "a.svg"):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            with lock(tmp_path):  # alive: its file is left alone
                left = list(place.parent.glob(".*.tmp"))
            assert len(left) == 1
            assert left[0].read_bytes() == b"half"
            os.kill(writer.pid, signal.SIGKILL)
        assert left[0].exists()
        with lock(tmp_path):
            assert not left[0].exists()
        assert not place.exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".notes.tmp", "a.abcdefgh.tmp", ".a.ABCDEFGH.tmp")]
    for path in others:
        path.write_text("mine")
    with lock(tmp_path), atomic_write(tmp_path / "new") as file:
        file.write(b"whole")
        with lock(tmp_path / "inner"):
            pass
    assert all(path.read_text() == "mine" for path in others)
    assert (tmp_path / "new").read_bytes() == b"whole"
    assert not list(tmp_path.glob(".new.*"))


HOLDER = """
import os, sys, time
from pathlib import Path
from voxstrata.files import lock
with lock(Path(sys.argv[1])):
    if os.fork() == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def test_a_killed_run_s_children_do_not_hold_its_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline().split()[1])
        holder.kill()
    try:
        with lock(tmp_path):
            os.kill(child, 0)  # it still lives
    finally:
        os.kill(child, signal.SIGKILL)
