"""Model folders of our own: weights as safetensors beside a card that says all about them.

``card.json`` names the family, its options, every setting of the front end, how the weights were
made and what was measured on them; ``model.safetensors`` holds the network under its own tensor
names, ``mean.safetensors`` the mean embedding of the training recordings (speaker encoders).
Models that come with the package are such folders too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import CheckpointError, ConfigError, StorageError
from voxstrata.files import atomic_write, read_json, sha256_file, typed_path, write_json
from voxstrata.models.family import SEEDS, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from voxstrata.frontend import FrontEnd

CARD, WEIGHTS, MEAN = "card.json", "model.safetensors", "mean.safetensors"
FORMAT = 1
"""Version of cards written by this release; readers accept every number up to it."""

BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the models that come with the package."""

_NEEDED = ("family", "options", "front_end", "weights")
_FRONT_ENDS = ("KaldiConfig", "StftConfig")


@dataclass(frozen=True)
class Opened:
    """A model folder, read and checked.

    Attributes:
        folder: where it is.
        card: its card.
        front: its front end.
        options: of the network, plain values for its family to check.
        facts: for run records.
    """

    folder: Path
    card: Mapping[str, Any]
    front: FrontEnd
    options: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

    def weights(self) -> dict[str, torch.Tensor]:
        """Named tensors, float32.

        Raises:
            CheckpointError: the file is damaged, or is not the one the card speaks of.
        """
        import torch

        from voxstrata.models.weights import read_checkpoint

        path = self.folder / WEIGHTS
        found = read_checkpoint(path)
        stated = self.card["weights"].get("sha256")
        if stated is not None and sha256_file(path) != stated:
            raise CheckpointError(
                f"{path} is not the file its card was written for",
                got=f"sha256 {sha256_file(path)[:16]}...",
                expected=f"sha256 {str(stated)[:16]}...",
                fix="copy the whole folder again",
            )
        return {
            name: value.to(torch.float32) if value.is_floating_point() else value
            for name, value in found.items()
        }

    def mean(self) -> NDArray[np.float32] | None:
        """Mean embedding of the training recordings [D], where the folder has one.

        Raises:
            CheckpointError: the file is damaged or holds something else.
        """
        from voxstrata.models.weights import read_checkpoint

        path = self.folder / MEAN
        if not path.exists():
            return None
        found = read_checkpoint(path)
        if "mean" not in found:
            raise CheckpointError(
                f"{path} holds no mean", got=", ".join(sorted(found)[:8]), expected="mean"
            )
        values: NDArray[np.float32] = found["mean"].float().numpy()
        return values


def bundled(family: str) -> dict[str, str]:
    """Models of a family that come with the package, each with its one-line summary."""
    found = {}
    for path in sorted(BUNDLED.glob(f"*/{CARD}")):
        card = read_card(path.parent)
        if card["family"] == family:
            found[path.parent.name] = str(card.get("summary", ""))
    return found


def card_folder(base: str, family: str) -> Path | None:
    """The model folder that ``base`` names, if it is one of this family.

    Args:
        base: a bundled name, a folder with a card, or a file in such a folder.
        family: registry name.
    """
    inside = BUNDLED / base
    if base and "/" not in base and os.path.isfile(inside / CARD):
        folder = inside
    else:
        path = typed_path(base)
        folder = path if os.path.isdir(path) else path.parent
        if not base or not os.path.exists(path) or not os.path.isfile(folder / CARD):
            return None
        if os.path.isfile(path) and path.name not in (WEIGHTS, CARD):
            return None
    return folder if read_card(folder).get("family") == family else None


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder.

    Raises:
        CheckpointError: there is none, it is damaged, or of a later version.
    """
    path = folder / CARD
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is not a model folder of voxstrata",
            got=f"no {CARD}",
            expected=f"{CARD} and {WEIGHTS}, as `voxstrata train` writes them",
        )
    try:
        card: dict[str, Any] = read_json(path)
    except StorageError as error:
        raise CheckpointError(f"{path} is damaged", got=str(error.got)) from None
    if not isinstance(card, dict) or not set(_NEEDED) <= set(card):
        raise CheckpointError(
            f"{path} is not the card of a model",
            got=", ".join(sorted(card)[:8]) if isinstance(card, dict) else type(card).__name__,
            expected=", ".join(_NEEDED),
        )
    odd = [key for key in _NEEDED[1:] if not isinstance(card[key], dict)]
    if odd:
        raise CheckpointError(
            f"{path} is damaged", got=f"{', '.join(odd)} of another form", expected="mappings"
        )
    if not isinstance(card.get("format"), int) or card["format"] > FORMAT:
        raise CheckpointError(
            f"{path} was written by a later version of voxstrata",
            got=f"format {card.get('format')}",
            expected=f"at most {FORMAT}",
            fix="update voxstrata",
        )
    return card


def open_card(folder: Path) -> Opened:
    """Read a model folder's card and build its front end; weights are read later.

    Raises:
        CheckpointError: see :func:`read_card`.
        ConfigError: the front end's settings are wrong.
    """
    from voxstrata.config import build
    from voxstrata.frontend import FrontEnd
    from voxstrata.frontend import config as kinds

    card = read_card(folder)
    stated = card["front_end"]
    lacking = {"kind", "name", "settings"} - set(stated)
    if lacking or not isinstance(stated["settings"], dict):
        raise CheckpointError(
            f"{folder / CARD} does not tell the front end",
            got=f"no {', '.join(sorted(lacking))}" if lacking else "settings of another form",
            expected="front_end with kind, name and settings",
        )
    kind = str(stated["kind"])
    if kind not in _FRONT_ENDS:
        raise CheckpointError(
            f"{folder / CARD} names a front end that is not known",
            got=kind,
            expected=" or ".join(_FRONT_ENDS),
        )
    settings = build(getattr(kinds, kind), stated["settings"], source=str(folder / CARD))
    training = _mapping(card.get("training"))
    facts = {
        "card": card.get("name"),
        "sha256": card["weights"].get("sha256"),
        "trained_on": training.get("corpora"),
        "objective": _mapping(training.get("objective")).get("name"),
    }
    if card.get("untrained"):
        facts["random"] = True
    return Opened(folder, card, FrontEnd(settings, str(stated["name"])), card["options"], facts)


def _mapping(value: Any) -> Mapping[str, Any]:
    """What a card tells beside what is needed; empty where it is of another form."""
    return value if isinstance(value, dict) else {}


def twin_seed(spec: ModelSpec, own: tuple[str, ...] = ()) -> int:
    """The seed of ``random:FOLDER,seed=...``; refuses options that a finished model has not.

    Args:
        spec: the model's text, taken apart.
        own: other options that the family takes.

    Raises:
        ConfigError: an option is unknown, or a seed is given to trained weights.
    """
    given = {k: v for k, v in spec.options.items() if k not in own}
    seed = given.pop("seed", None)
    if given or (seed is not None and not spec.random):
        raise ConfigError(
            f"{spec.text!r}: a finished model takes no such option",
            got=", ".join(given) or "seed",
            expected="seed=N, with random:" if spec.random else "no option",
            fix="drop it" if given else f"write random:{spec.base},seed={seed} for its twin",
        )
    try:
        number = int(seed or 0)
    except ValueError:  # no number, or more digits than Python reads
        number = -1
    if not 0 <= number < SEEDS:
        raise ConfigError(
            f"{spec.text!r}: a seed is a whole number", got=seed, expected="seed=0, seed=1, ..."
        )
    return number


def write_model(
    folder: Path,
    card: Mapping[str, Any],
    network: nn.Module,
    front: FrontEnd,
    *,
    dtype: str = "float32",
    mean: NDArray[np.float32] | None = None,
    beside: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
) -> dict[str, Any]:
    """Write a model folder; the card goes last, so that a folder with a card is whole.

    Args:
        folder: made if needed.
        card: all but ``format``, ``front_end`` and ``weights``, which are filled in.
        network: whose tensors are written; has ``options``.
        front: its front end.
        dtype: "float32" or "float16", of floating-point tensors.
        mean: mean embedding [D].
        beside: further files: name to tensors.

    Returns:
        the card as written.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
        CheckpointError: a value does not survive float16.
    """
    import torch

    kind = getattr(torch, dtype)
    state: dict[str, torch.Tensor] = {}
    for name, value in network.state_dict().items():
        kept = value.detach().cpu()
        if kept.is_floating_point():
            kept = kept.to(kind)
            if not bool(kept.isfinite().all()):
                raise CheckpointError(
                    f"the tensor {name} is not finite in {dtype}",
                    fix="write float32 (run.weights: float32)",
                )
        state[name] = kept.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    options: Any = network.options
    write_tensors(folder / WEIGHTS, state)
    if mean is not None:
        write_tensors(folder / MEAN, {"mean": torch.from_numpy(mean)})
    for name, tensors in (beside or {}).items():
        own = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_tensors(folder / name, own)
    whole = {
        **card,
        "format": FORMAT,
        "options": options.model_dump(mode="json"),
        "front_end": {
            "name": front.name,
            "kind": type(front.config).__name__,
            "settings": front.config.model_dump(mode="json"),
        },
        "weights": {
            "file": WEIGHTS,
            "dtype": dtype,
            "parameters": sum(p.numel() for p in network.parameters()),
            "bytes": (folder / WEIGHTS).stat().st_size,
            "sha256": sha256_file(folder / WEIGHTS),
        },
    }
    write_json(folder / CARD, whole)
    return whole


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    from safetensors.torch import save

    with atomic_write(path) as file:
        file.write(save(dict(tensors)))
