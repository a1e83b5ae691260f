"""Where a model comes from: the built-in table, a directory, a file, or the hub and its cache."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.errors import ModelError, UsageError
from voxstrata.files import typed_path
from voxstrata.models.family import ModelSpec
from voxstrata.models.huggingface import architectures
from voxstrata.models.huggingface.architectures import Architecture
from voxstrata.models.huggingface.options import HuggingFaceOptions

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_HUB_NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?"
_HUB_ID = re.compile(f"{_HUB_NAME}/{_HUB_NAME}", re.ASCII)


@dataclass(frozen=True)
class Source:
    """Everything needed to build a model, found but not read.

    Attributes:
        name: registered name, hub id or path, for messages.
        config: contents of ``config.json``.
        preprocessor: contents of ``preprocessor_config.json``, if there is one.
        weights: checkpoint files; empty for an untrained twin.
        revision: commit on the hub, if it comes from there.
        known: its row in the built-in table, if it has one.
    """

    name: str
    config: dict[str, Any]
    preprocessor: dict[str, Any] | None = None
    weights: tuple[Path, ...] = ()
    revision: str | None = None
    known: Architecture | None = None


def is_hub_id(text: str) -> bool:
    """Whether ``text`` has the form OWNER/NAME, by the hub's rules for both."""
    odd = "--" in text or ".." in text or text.endswith(".git")
    return bool(_HUB_ID.fullmatch(text)) and not odd


def find(spec: ModelSpec, options: HuggingFaceOptions, *, weights: bool) -> Source:
    """Find a model.

    Registered names and hub ids are looked up in the local hub cache first; the network is used
    only for what is not there, and never when ``HF_HUB_OFFLINE`` is set. Untrained twins of
    registered names need neither.

    Args:
        spec: what was asked for.
        options: for ``config``.
        weights: whether weights are needed (else the configuration is enough).

    Raises:
        ModelError: it cannot be found, or has no configuration or no weights.
    """
    path = typed_path(spec.base)
    if os.path.exists(path):
        if spec.revision is not None:
            raise UsageError(
                "revisions belong to hub models", got=spec.text, fix="leave out the @REVISION"
            )
        return _from_file(path, options) if path.is_file() else _from_directory(path, weights)
    known = architectures.lookup(spec.base)
    if known is not None and not weights and spec.revision is None:
        return Source(spec.base, known.as_config(), known=known)
    if known is None and not is_hub_id(spec.base):
        raise ModelError(
            f"{spec.base!r} is not a Hugging Face model",
            expected="a registered name of the family huggingface, OWNER/NAME on the hub, a "
            "directory or a checkpoint file",
            fix="`voxstrata models list --family huggingface` shows the names",
        )
    from voxstrata.models.huggingface.hub import cached, snapshot

    plain = known is None and spec.revision is None
    if plain and os.path.isdir(path.parent) and cached(spec.base, None) is None:
        raise ModelError(
            f"there is no folder {spec.base}",
            got=f"a folder {path.parent} without {path.name} in it",
            fix=f"check the path; for a model of that name on the hub write {spec.base}@main",
        )
    try:
        folder = snapshot(known.hub if known else spec.base, spec.revision, weights=weights)
    except ModelError as error:
        if not plain:
            raise
        said = {"got": error.got, "expected": error.expected}
        raise type(error)(
            f"there is no folder {spec.base}, and {error.what}",
            fix=error.fix,
            **{name: text for name, text in said.items() if text is not None},
        ) from error
    found = _from_directory(folder, weights)
    revision = folder.name
    return Source(spec.base, found.config, found.preprocessor, found.weights, revision, known)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The checkpoint in a directory: safetensors before ``.bin``; empty if there is none."""
    return next(((folder / n,) for n in WEIGHTS if (folder / n).is_file()), ())


def _from_directory(folder: Path, weights: bool) -> Source:
    config = _json(folder / "config.json")
    if config is None:
        raise ModelError(
            f"the directory {folder} has no config.json",
            got=", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "an empty directory",
            expected="config.json beside model.safetensors or pytorch_model.bin",
            fix="copy the model's config.json into it",
        )
    files = weight_files(folder) if weights else ()
    if weights and not files:
        raise ModelError(
            f"the directory {folder} has no weights",
            got=", ".join(sorted(p.name for p in folder.iterdir())[:12]),
            expected=" or ".join(WEIGHTS),
            fix=f"add them, or ask for the untrained twin 'random:{folder}'",
        )
    return Source(str(folder), config, _json(folder / "preprocessor_config.json"), files)


def _from_file(file: Path, options: HuggingFaceOptions) -> Source:
    preprocessor = _json(file.parent / "preprocessor_config.json")
    config = _json(file.parent / "config.json")
    known = None
    if options.config is not None:
        known = architectures.lookup(options.config)
        if known is not None:
            config, preprocessor = known.as_config(), None
        else:
            place = typed_path(options.config)
            place = place if os.path.isdir(place) else place.parent
            config = _json(place / "config.json")
            preprocessor = _json(place / "preprocessor_config.json")
    if config is None:
        raise ModelError(
            f"nothing tells how the checkpoint {file} is built",
            expected="config.json beside it, or the option config=",
            fix="config=NAME (a registered name) or config=DIRECTORY (one with a config.json)",
        )
    return Source(str(file), config, preprocessor, (file,), known=known)


def _json(file: Path) -> dict[str, Any] | None:
    if not os.path.isfile(file):
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read", got=str(error), expected="JSON") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file} is no configuration", got=type(found).__name__)
    return found


def model_type(path: Path) -> str | None:
    """``model_type`` of the ``config.json`` in (or beside) ``path``, if there is one."""
    folder = path if path.is_dir() else path.parent
    try:
        config = _json(folder / "config.json")
    except ModelError:
        return None
    found = (config or {}).get("model_type")
    return found if isinstance(found, str) else None


def offline() -> bool:
    """Whether the user forbids the network."""
    return any(
        os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
