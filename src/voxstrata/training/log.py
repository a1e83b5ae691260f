"""The log of a run: a JSON line an entry, always; TensorBoard beside it where asked for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from voxstrata.errors import MissingDependencyError
from voxstrata.files import atomic_write, storage_errors

LOG = "train.jsonl"


class TrainLog:
    """Appends entries; entries after the step a run resumes from are dropped first.

    Args:
        folder: output folder.
        step: the step the run goes on from, 0 for a new run.
        tensorboard: also write event files.

    Raises:
        MissingDependencyError: TensorBoard is wanted and absent.
        StorageError: the log cannot be written.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        self.path = folder / LOG
        kept = [
            json.dumps(entry, allow_nan=False, ensure_ascii=False) + "\n"
            for entry in read_log(folder)
            if 0 < step >= int(entry.get("step", 0)) and entry.get("kind") != "end"
        ]
        with atomic_write(self.path) as file:  # the old log stays where the disk is full
            file.write("".join(kept).encode("utf-8"))
        with storage_errors(self.path):
            self._file = self.path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingDependencyError(
                    "run.tensorboard needs TensorBoard",
                    got=str(error),
                    fix="pip install tensorboard, or set run.tensorboard to false",
                ) from None
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def add(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add an entry of ``kind`` ("step", "valid", "bad", "end")."""
        plain = {name: _plain(value) for name, value in values.items()}
        self._write({"kind": kind, "step": step, **plain})
        if self._board is not None:
            for name, value in plain.items():
                if isinstance(value, float | int):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def _write(self, entry: Mapping[str, Any]) -> None:
        with storage_errors(self.path):
            self._file.write(json.dumps(entry, allow_nan=False, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Sync and close."""
        with storage_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Entries of a log; a last line cut off by a crash is left out."""
    path = folder / LOG
    if not path.exists():
        return []
    entries = []
    # Cut off within a letter, a line is no UTF-8 either.
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return entries


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
