"""Edits on disk: ``edit.json`` says what is changed in which model, ``values.safetensors`` to what.

The model itself is not copied: the folder names it, with its fingerprint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import CheckpointError, StorageError
from voxstrata.files import read_json, sha256_file, storage_errors, typed_path, write_json
from voxstrata.models.edited.edit import Edit, Kind
from voxstrata.models.spec import format_spec, parse

CARD, VALUES = "edit.json", "values.safetensors"
FORMAT = 1
"""Version of folders written by this release; readers accept every number up to it."""


class EditCard(Config):
    """What ``edit.json`` holds.

    Attributes:
        format: version of the layout.
        base: text of the model that is edited.
        fingerprint: of that model.
        kind, factor, seed, name: see :class:`~voxstrata.models.edited.edit.Edit`.
        neurons: indices by layer, ``order`` the layers by depth.
        values: SHA-256 of the values file, where there is one.
        details: JSON-like facts on how the edit was made.
    """

    format: int
    base: str = Field(min_length=1)
    fingerprint: str
    kind: Kind
    name: str
    order: tuple[str, ...]
    neurons: Mapping[str, tuple[int, ...]]
    factor: float | None = None
    seed: int = Field(default=0, ge=0)
    values: str | None = None
    details: Mapping[str, Any] = Field(default_factory=dict)


def write_edit(
    folder: Path, base: str, fingerprint: str, edit: Edit, details: Mapping[str, Any] | None = None
) -> None:
    """Write an edit; the card goes last, so that a folder with a card is whole.

    Args:
        folder: made if needed; an edit that is there already is replaced.
        base: text of the model to be edited; a path in it is written in full.
        fingerprint: of that model, on the CPU in float32.
        edit: what is changed.
        details: JSON-like facts on how it was made.

    Raises:
        StorageError: the folder holds a model of another kind, or cannot be written.
    """
    from voxstrata.models.card import write_tensors

    for name in ("card.json", "config.json"):
        if (folder / name).exists():
            raise StorageError(
                f"{folder} holds another model",
                got=f"a file {name}",
                expected="an empty folder, or one with an edit",
                fix="choose another output folder",
            )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
        (folder / VALUES).unlink(missing_ok=True)
    if edit.values:
        write_tensors(folder / VALUES, edit.values)
    write_json(
        folder / CARD,
        {
            "format": FORMAT,
            "base": _in_full(base),
            "fingerprint": fingerprint,
            "kind": edit.kind,
            "name": edit.name,
            "order": list(edit.neurons),
            "neurons": {layer: list(chosen) for layer, chosen in edit.neurons.items()},
            "factor": edit.factor,
            "seed": edit.seed,
            "values": sha256_file(folder / VALUES) if edit.values else None,
            "details": dict(details or {}),
        },
    )


def read_edit(folder: Path) -> tuple[EditCard, Edit]:
    """The card of an edit, and the edit.

    Raises:
        CheckpointError: the folder holds none, or it is damaged or of a later version.
        ConfigError: the card does not say what it must.
        UsageError: what it says is no edit.
    """
    from voxstrata.models.weights import read_checkpoint

    try:
        found = read_json(folder / CARD)
    except StorageError as error:
        raise CheckpointError(
            f"{folder} holds no edit that can be read", got=str(error), expected=CARD
        ) from None
    version = found.get("format") if isinstance(found, dict) else None
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{folder / CARD} is not an edit that this release can read",
            got=f"format {version!r}",
            expected=f"a number up to {FORMAT}",
            fix="update voxstrata" if isinstance(version, int) else "make the folder again",
        )
    card = build(EditCard, found, source=str(folder / CARD))
    if sorted(card.order) != sorted(card.neurons):
        raise CheckpointError(f"{folder / CARD} is damaged", got="order and neurons differ")
    values = {}
    if card.values is not None:
        path = folder / VALUES
        values = read_checkpoint(path)
        if sha256_file(path) != card.values:
            raise CheckpointError(
                f"{path} is not the file its {CARD} was written for",
                got=f"sha256 {sha256_file(path)[:16]}...",
                expected=f"sha256 {card.values[:16]}...",
                fix="copy the whole folder again",
            )
    neurons = {layer: card.neurons[layer] for layer in card.order}
    return card, Edit(card.kind, neurons, values, card.factor, card.seed, card.name)


def is_edit(base: str) -> bool:
    """Whether ``base`` is a folder with an edit, or its card."""
    return _folder(base) is not None


def folder_of(base: str) -> Path:
    """The folder that ``base`` names.

    Raises:
        CheckpointError: it holds no edit.
    """
    found = _folder(base)
    if found is None:
        raise CheckpointError(f"{base} holds no edit", expected=f"a folder with {CARD}")
    return found


def _folder(base: str) -> Path | None:
    path = typed_path(base)
    if os.path.isdir(path) and os.path.isfile(path / CARD):
        return path
    return path.parent if base and path.name == CARD and os.path.isfile(path) else None


def _in_full(text: str) -> str:
    """A model's text with its path, if it names one, from the root."""
    spec = parse(text)
    path = typed_path(spec.base)
    if not os.path.exists(path):
        return text
    return format_spec(str(path.resolve()), spec.random, spec.revision, spec.cut, spec.options)
