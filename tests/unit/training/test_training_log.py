"""The log of a run."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from voxstrata.errors import MissingDependencyError, StorageError
from voxstrata.training.log import LOG, TrainLog, read_log


def _write(folder: Path, *steps: int) -> None:
    log = TrainLog(folder, 0)
    for step in steps:
        log.add("step", step, {"loss": 1 / step})
    log.close()


def test_entries_are_lines_of_plain_numbers(tmp_path: Path) -> None:
    log = TrainLog(tmp_path, 0)
    log.add("step", 1, {"loss": torch.tensor(0.5), "lr": 0.1, "nothing": float("nan")})
    log.add("bad", 1, {"recording": "ä/1", "why": "it is empty"})
    assert read_log(tmp_path) == [  # before it is closed: a crash loses nothing
        {"kind": "step", "step": 1, "loss": 0.5, "lr": 0.1, "nothing": None},
        {"kind": "bad", "step": 1, "recording": "ä/1", "why": "it is empty"},
    ]
    log.close()


def test_a_resume_drops_what_came_after_its_checkpoint_and_the_end(tmp_path: Path) -> None:
    _write(tmp_path, 2, 4, 6)
    log = TrainLog(tmp_path, 4)
    log.add("step", 6, {"loss": 9.0})
    log.add("end", 6, {"averaged": 2})
    log.close()
    assert [(e["step"], e.get("loss")) for e in read_log(tmp_path)] == [
        (2, 0.5), (4, 0.25), (6, 9.0), (6, None),
    ]  # fmt: skip
    TrainLog(tmp_path, 6).close()
    assert [e["kind"] for e in read_log(tmp_path)] == ["step"] * 3


def test_a_new_run_begins_an_empty_log(tmp_path: Path) -> None:
    _write(tmp_path, 2, 4)
    TrainLog(tmp_path, 0).close()
    assert read_log(tmp_path) == []
    assert read_log(tmp_path / "nowhere") == []


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path, 2, 4)
    path = tmp_path / LOG
    path.write_text(path.read_text()[:-9])
    assert [e["step"] for e in read_log(tmp_path)] == [2]
    log = TrainLog(tmp_path, 4)
    log.add("step", 6, {"loss": 1.0})
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 6]


def test_a_line_cut_off_within_a_letter_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path, 2)
    with (tmp_path / LOG).open("ab") as file:
        file.write('{"kind": "bad", "step": 4, "recording": "ä'.encode()[:-1])
    assert [e["step"] for e in read_log(tmp_path)] == [2]


def test_a_full_disk_while_resuming_keeps_the_old_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, 2, 4)
    before = (tmp_path / LOG).read_bytes()

    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=LOG) as caught:
        TrainLog(tmp_path, 4)
    assert "free some space" in caught.value.fix
    assert (tmp_path / LOG).read_bytes() == before


def test_tensorboard_is_written_where_it_is_installed_and_named_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    try:
        import tensorboard  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="TensorBoard"):
            TrainLog(tmp_path, 0, tensorboard=True)
        return
    log = TrainLog(tmp_path, 0, tensorboard=True)
    log.add("step", 1, {"loss": 0.5})
    log.close()
    assert list((tmp_path / "tensorboard").iterdir())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match="TensorBoard"):
        TrainLog(tmp_path, 0, tensorboard=True)
