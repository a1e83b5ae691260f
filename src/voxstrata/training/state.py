"""Checkpoints of a run: written whole or not at all, read without unpickling objects."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxstrata.errors import CheckpointError
from voxstrata.files import atomic_write, numbered
from voxstrata.models.weights import read_container
from voxstrata.streaming.runs import STATE
from voxstrata.sums import DamagedError, verify_archive

CHECKPOINT = "checkpoint.pt"
VERSION = 1


def save(folder: Path, state: dict[str, Any], name: str = CHECKPOINT) -> None:
    """Write a checkpoint; where the disk is full the earlier one stays.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(folder / STATE / name) as file:
        try:
            torch.save({"version": VERSION, **state}, file)
        except RuntimeError as error:
            # Where the disk is full torch still closes its archive; that error hides the first.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote, held against the sums in its archive, which torch does not look at.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        verify_archive(path)
    except (DamagedError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged",
            got=str(error),
            fix="run again with --overwrite always to start afresh",
        ) from None
    return read_container(path)


def load(folder: Path, identity: str) -> dict[str, Any] | None:
    """The latest checkpoint of a run, or ``None``.

    Args:
        folder: output folder of the run.
        identity: digest of all that must be the same for a run to go on.

    Raises:
        CheckpointError: it is damaged, or belongs to other settings.
    """
    path = folder / STATE / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = read(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read",
            got=f"{error.what}: {error.got}",
            fix="start again with --overwrite always",
        ) from None
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of another version of voxstrata",
            got=state.get("version"),
            expected=VERSION,
            fix="start again with --overwrite always",
        )
    if state.get("identity") != identity:
        raise CheckpointError(
            f"{path} belongs to other settings, recordings or classes",
            got=f"identity {state.get('identity')}",
            expected=f"identity {identity}",
            fix="give the settings the run was begun with, another folder, or --overwrite always",
        )
    return state


def restore(module: nn.Module, state: dict[str, torch.Tensor], where: str) -> None:
    """Load the tensors of a checkpoint strictly.

    Raises:
        CheckpointError: names or shapes differ; they are named.
    """
    from voxstrata.models.weights import load_strictly

    load_strictly(module, state, where)


def average(folder: Path, last: int) -> dict[str, torch.Tensor] | None:
    """Mean of the networks kept at the ends of the last epochs; integers from the newest.

    Weights and running statistics are averaged in float64. ``None`` where none is kept.
    """
    kept = numbered(folder / STATE, "epoch-*.pt")[-last:]
    if not kept:
        return None
    states = [read(path)["network"] for path in kept]
    mean: dict[str, torch.Tensor] = {}
    for name, newest in states[-1].items():
        if not newest.is_floating_point():
            mean[name] = newest
            continue
        total = sum(state[name].double() for state in states)
        mean[name] = (total / len(states)).to(newest.dtype)
    return mean


def keep_epoch(folder: Path, epoch: int, network: nn.Module, last: int) -> None:
    """Keep the network at the end of an epoch, and no more than ``last`` of them."""
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    save(folder, {"network": state}, f"epoch-{epoch:06d}.pt")
    for old in numbered(folder / STATE, "epoch-*.pt")[:-last]:
        old.unlink()


def forget(folder: Path) -> None:
    """Delete what only an unfinished run needs."""
    shutil.rmtree(folder / STATE, ignore_errors=True)
