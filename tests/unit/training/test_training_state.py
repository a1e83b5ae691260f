"""Checkpoints: whole, refused where they do not belong, averaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from voxstrata.errors import CheckpointError, StorageError
from voxstrata.training import state

WHERE = Path("state") / state.CHECKPOINT


def _held(value: float, identity: str = "mine") -> dict[str, Any]:
    return {"identity": identity, "objective": {"w": torch.full((3,), value)}, "step": 7}


def test_what_is_saved_is_loaded_and_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    assert state.load(tmp_path, "mine") is None
    state.save(tmp_path, _held(2.0))
    found = state.load(tmp_path, "mine")
    assert found is not None
    assert found["step"] == 7
    assert torch.equal(found["objective"]["w"], torch.full((3,), 2.0))
    state.forget(tmp_path)
    assert state.load(tmp_path, "mine") is None


def test_another_run_is_refused(tmp_path: Path) -> None:
    state.save(tmp_path, _held(1.0))
    with pytest.raises(CheckpointError, match="other settings, recordings or classes") as caught:
        state.load(tmp_path, "another")
    assert "--overwrite always" in caught.value.fix


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.save(tmp_path, _held(1.0))
    monkeypatch.setattr(state, "VERSION", 99)
    with pytest.raises(CheckpointError, match="another version"):
        state.load(tmp_path, "mine")


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "list"])
def test_a_damaged_checkpoint_is_refused_with_the_remedy(tmp_path: Path, damage: str) -> None:
    state.save(tmp_path, _held(1.0))
    path = tmp_path / WHERE
    whole = path.read_bytes()
    if damage == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes(
            {"cut": whole[: len(whole) // 2], "noise": b"x" * 500, "empty": b""}[damage]
        )
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        state.load(tmp_path, "mine")
    assert "--overwrite always" in caught.value.fix


def test_a_checkpoint_that_could_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    torch.save({"version": 1, "identity": "mine", "x": Path("/")}, tmp_path / WHERE)
    with pytest.raises(CheckpointError, match="cannot be read"):
        state.load(tmp_path, "mine")


def test_another_architecture_is_refused_naming_the_tensors() -> None:
    wide = nn.Linear(4, 5).state_dict()
    with pytest.raises(CheckpointError, match="does not fit") as caught:
        state.restore(nn.Linear(4, 3), wide, "the checkpoint")
    assert "weight (5, 4) instead of (3, 4)" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"missing: 0\.weight"):
        state.restore(nn.Sequential(nn.Linear(4, 5)), wide, "the checkpoint")


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    state.save(tmp_path, _held(1.0))

    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if moment == "write":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(os, "replace", full)
        with pytest.raises(StorageError) as caught:
            state.save(tmp_path, _held(2.0))
    assert "free some space" in caught.value.fix
    found = state.load(tmp_path, "mine")
    assert found is not None
    assert found["objective"]["w"][0] == 1.0
    assert [p.name for p in (tmp_path / "state").iterdir()] == [state.CHECKPOINT]  # no remains


def test_a_file_system_that_fills_up_within_torch_save(tmp_path: Path) -> None:
    """/dev/full answers every write with "no space left": torch must not hide that."""
    import contextlib
    from collections.abc import Iterator
    from unittest import mock

    from voxstrata.files import storage_errors

    @contextlib.contextmanager
    def onto_full(path: Path) -> Iterator[Any]:
        with storage_errors(path), Path("/dev/full").open("wb", buffering=0) as file:
            yield file

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with (
        mock.patch.object(state, "atomic_write", onto_full),
        pytest.raises(StorageError, match="cannot write") as caught,
    ):
        state.save(tmp_path, {"identity": "mine", "w": torch.zeros(300_000)})
    assert "free some space" in caught.value.fix


def test_the_mean_of_the_last_epochs(tmp_path: Path) -> None:
    network = nn.BatchNorm1d(2)
    for epoch, (weight, mean, seen) in enumerate([(9.0, 9.0, 1), (1.0, 4.0, 5), (2.0, 8.0, 9)], 1):
        with torch.no_grad():
            network.weight.fill_(weight)
            network.running_mean.fill_(mean)  # type: ignore[union-attr, operator]
            network.num_batches_tracked.fill_(seen)  # type: ignore[union-attr, operator]
        state.keep_epoch(tmp_path, epoch, network, 2)
    kept = sorted(p.name for p in (tmp_path / "state").iterdir())
    assert kept == ["epoch-000002.pt", "epoch-000003.pt"]
    mean = state.average(tmp_path, 2)
    assert mean is not None
    assert mean["weight"].tolist() == [1.5, 1.5]
    assert mean["running_mean"].tolist() == [6.0, 6.0]
    assert mean["num_batches_tracked"] == 9
    assert mean["weight"].dtype == torch.float32
    state.restore(network, mean, "the mean")
    assert state.average(tmp_path / "nothing", 2) is None


def test_epochs_that_outgrow_their_zeros_are_the_last_ones(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    for epoch in (999_998, 999_999, 1_000_000, 1_000_001):
        nn.init.constant_(network.weight, epoch)
        state.keep_epoch(tmp_path, epoch, network, 2)
    kept = sorted(p.name for p in (tmp_path / "state").iterdir())
    assert kept == ["epoch-1000000.pt", "epoch-1000001.pt"]
    nn.init.zeros_(network.weight)
    state.save(tmp_path, {"network": network.state_dict()}, "epoch-999999.pt")
    mean = state.average(tmp_path, 2)
    assert mean is not None
    assert mean["weight"].item() == 1_000_000.5
