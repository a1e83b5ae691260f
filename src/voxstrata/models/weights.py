"""Weights on disk: safe readers, strict loading, hashes."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from voxstrata.errors import CheckpointError
from voxstrata.files import typed_path


def hash_tensors(state_dict: Mapping[str, torch.Tensor]) -> str:
    """Hex SHA-256 of names, dtypes, shapes and bytes; the order of the names is immaterial."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().to("cpu").contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_container(path: str | Path) -> dict[str, Any]:
    """A weights file as it is: safetensors, or a torch file read without running its code.

    Torch files are opened with ``weights_only=True``: tensors, plain containers and
    ``argparse.Namespace`` (which training scripts like to add) are accepted, nothing else.

    Raises:
        CheckpointError: the file is missing, damaged, holds something else than a mapping, or
            holds objects that could run code on loading.
    """
    file = Path(path)
    try:
        there = file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise CheckpointError(f"there is no weights file {file}", expected="a file")
    if file.suffix == ".safetensors":
        return dict(_read_safetensors(file))
    # torch 2.2 and 2.3 have no such list; there a Namespace is refused like everything else.
    allow = getattr(torch.serialization, "safe_globals", None)
    try:
        with allow([argparse.Namespace]) if allow else contextlib.nullcontext():
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error).strip().splitlines()
        unsafe = "Unsupported" in str(error) or "GLOBAL" in str(error)
        raise CheckpointError(
            f"{file} holds objects that are refused because loading them could run code"
            if unsafe
            else f"{file} is not a readable weights file",
            got=text[-1] if text else type(error).__name__,
            expected="tensors in plain dictionaries (torch.save of a state dict) or safetensors",
            fix="export the weights alone with the program that wrote the file",
        ) from None
    except Exception as error:  # its unpickler checks nothing: any kind of error may come
        lines = str(error).strip().splitlines()
        raise CheckpointError(
            f"{file} is damaged or not a weights file",
            got=lines[0] if lines else type(error).__name__,
            expected="a file written by torch.save or safetensors",
            fix="fetch or copy it again and compare its size",
        ) from None
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{file} does not hold named tensors",
            got=type(loaded).__name__,
            expected="a dictionary of names and tensors",
        )
    return dict(loaded)


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is damaged or not a safetensors file",
            got=str(error),
            fix="fetch or copy it again and compare its size",
        ) from None


def read_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """Named tensors of a flat weights file (safetensors or torch).

    Raises:
        CheckpointError: as :func:`read_container`, or entries are not tensors.
    """
    return only_tensors(read_container(path), str(path))


def tensor_names(path: str | Path) -> set[str]:
    """Names of all tensors in a weights file, however deep its dictionaries (at most four).

    Raises:
        CheckpointError: as :func:`read_container`.
    """
    file = Path(path)
    if file.suffix == ".safetensors" and file.is_file():
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as opened:
                return set(opened.keys())
        except (SafetensorError, OSError, ValueError):
            pass  # the full reader below says what is wrong
    return _names(read_container(file), 4)


def _names(mapping: Mapping[Any, Any], depth: int) -> set[str]:
    found: set[str] = set()
    for key, value in mapping.items():
        if isinstance(value, torch.Tensor):
            found.add(str(key))
        elif isinstance(value, Mapping) and depth:
            found |= _names(value, depth - 1)
    return found


SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".model")
"""Endings of files that may hold weights."""


def names_in_file(base: str) -> set[str]:
    """Tensor names of ``base`` if it is a file with a weights ending, else none.

    For :meth:`Family.recognises`: a damaged file is an error there too, because no family could
    read it and "no such model" would mislead.

    Raises:
        CheckpointError: the file cannot be read.
    """
    file = typed_path(base)
    if file.suffix.lower() not in SUFFIXES or not os.path.isfile(file):
        return set()
    stat = file.stat()
    return set(_cached_names(str(file), stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=64)
def _cached_names(file: str, _modified: int, _size: int) -> frozenset[str]:
    return frozenset(tensor_names(file))


def only_tensors(mapping: Mapping[str, Any], where: str) -> dict[str, torch.Tensor]:
    """``mapping`` if all its values are tensors.

    Raises:
        CheckpointError: some are not; they are named.
    """
    other = [str(k) for k, v in mapping.items() if not isinstance(v, torch.Tensor)]
    if other or not mapping:
        raise CheckpointError(
            f"{where} is not a flat table of tensors",
            got=f"other entries: {shorten(other)}" if other else "no entries",
            expected="names and tensors only",
        )
    return dict(mapping)


def load_strictly(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], where: str
) -> torch.nn.Module:
    """Copy ``state`` into ``module``; names and shapes must agree exactly.

    Raises:
        CheckpointError: tensors are missing, unexpected or of a wrong shape; all are named.
    """
    own = module.state_dict()
    problems = []
    if missing := [k for k in own if k not in state]:
        problems.append(f"missing: {shorten(missing)}")
    if unexpected := [k for k in state if k not in own]:
        problems.append(f"unexpected: {shorten(unexpected)}")
    wrong = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if wrong:
        problems.append(f"wrong shape: {shorten(wrong)}")
    if problems:
        raise CheckpointError(
            f"{where} does not fit the model",
            got="; ".join(problems),
            expected=f"the {len(own)} tensors of {type(module).__name__}, no more and no less",
            fix="check that file and model options belong together",
        )
    module.load_state_dict(dict(state), strict=True)
    return module


def shorten(names: Iterable[str], most: int = 12) -> str:
    """A list for an error text, cut after ``most`` names with the full count."""
    listed = list(names)
    text = ", ".join(listed[:most])
    return text + (f", ... ({len(listed)} in all)" if len(listed) > most else "")
