"""Threads of our own: what is the same in each of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from threading import Event, Lock

import pytest
import torch
from threadpoolctl import ThreadpoolController

from voxstrata.numerics.threads import Slots, StoppedError, on_threads, one_blas_thread, sharing


def test_work_comes_back_in_order_on_one_torch_thread_each() -> None:
    before = torch.get_num_threads()
    found = on_threads(lambda i: (i, torch.get_num_threads()), range(20), 3)
    assert found == [(i, 1) for i in range(20)]
    assert torch.get_num_threads() == before


def test_numbers_that_fade_are_zero_there_and_nowhere_else() -> None:
    def faded(_: int) -> float:
        return float(torch.full((8,), 1e-30).mul(1e-10).sum())

    assert on_threads(faded, range(4), 2) == [0.0] * 4
    assert faded(0) > 0


def test_places_are_shared_by_all_who_ask() -> None:
    slots = Slots(2)
    lock, busy, most = Lock(), 0, 0

    def piece(number: int) -> tuple[int, int]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1
        return number, torch.get_num_threads()

    before = torch.get_num_threads()
    found = sharing(lambda name: (name, on_threads(piece, range(6), slots)), "abc", 3, slots)
    assert found == [(name, [(i, 1) for i in range(6)]) for name in "abc"]
    assert most == 2
    assert torch.get_num_threads() == before


def test_where_one_fails_the_others_end_with_their_piece() -> None:
    slots, begun = Slots(1), Event()
    done: list[int] = []

    def piece(number: int) -> None:
        begun.set()
        time.sleep(0.01)
        done.append(number)

    def work(name: str) -> None:
        if name == "bad":
            begun.wait(10)
            raise ValueError("bad")
        on_threads(piece, range(1000), slots)

    with pytest.raises(ValueError, match="bad"):
        sharing(work, ["bad", "long"], 2, slots)
    assert 0 < len(done) < 1000
    with pytest.raises(StoppedError):
        on_threads(piece, range(1), slots)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_the_command_line_lets_threads_spin_briefly_unless_told(
    given: dict[str, str], wanted: str | None
) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = (
        "import os, sys\n"
        "from voxstrata import cli\n"
        "from voxstrata.cli import commands\n"
        "attach, app = commands.attach, cli.app\n"
        "commands.attach = lambda _app: attach(app)\n"
        "cli.app = lambda: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
        "cli.main()\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert found.stdout.split() == [str(wanted), "False"], "told before torch is imported"


def test_blocks_of_one_blas_thread_may_overlap() -> None:
    """The first sets it, the last sets it back, whichever of them ends first."""

    def now() -> list[int]:
        controller = ThreadpoolController().select(internal_api="openblas")
        return [info["num_threads"] for info in controller.info()]

    before = now()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(now()) <= {1}
    second.__exit__(None, None, None)
    assert now() == before
