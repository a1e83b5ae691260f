"""Our networks written as the public toolkits write theirs, so that their code can load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from voxstrata.errors import ConfigError
from voxstrata.files import atomic_write
from voxstrata.models.ecapa.names import pairs
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import VARIANTS, EcapaOptions

Published = Literal["wespeaker", "speechbrain", "3dspeaker", "taoruijie"]
"""Whose file is written. 3D-Speaker's has SpeechBrain's names, and is for its front end."""

SIZES = ("inputs", "channels", "mfa", "embed", "attention", "se", "scale", "global_context")
"""Options that each toolkit reads from its own configuration, or from shapes."""

FIXED: dict[str, dict[str, int]] = {
    "wespeaker": {"mfa": 1536, "attention": 128, "se": 128, "scale": 8},
    "taoruijie": {"mfa": 1536, "attention": 256, "se": 128, "scale": 8, "embed": 192},
}
"""Sizes that a toolkit's code has hard-wired."""


def write_published(network: Ecapa, layout: Published, path: Path) -> list[str]:
    """Write a checkpoint in a public toolkit's layout.

    Args:
        network: the network.
        layout: whose.
        path: file to write, by ``torch.save``, float32.

    Returns:
        what a user of that toolkit must know: sizes its code has hard-wired and this network has
        otherwise.

    Raises:
        ConfigError: the network is another variant than theirs, so that their code would load it
            and compute something else.
        StorageError: the file cannot be written.
    """
    state = published_state(network, layout)
    notes = [
        f"{layout}'s code has {name} = {size} hard-wired; this network has "
        f"{getattr(network.options, name)}, so that code must be changed to load it"
        for name, size in FIXED.get(layout, {}).items()
        if getattr(network.options, name) != size
    ]
    with atomic_write(path) as file:
        torch.save(state, file)
    return notes


def published_state(network: Ecapa, layout: Published) -> dict[str, torch.Tensor]:
    """Tensors under a toolkit's names and in its shapes.

    Raises:
        ConfigError: see :func:`write_published`.
    """
    options = network.options
    _check(options, layout)
    names = "speechbrain" if layout == "3dspeaker" else layout
    own = network.state_dict()
    found: dict[str, torch.Tensor] = {}
    for ours, theirs in pairs(names, options):
        found[theirs] = _shaped(ours, own[ours], names)
        if ours.endswith(".running_var"):
            counter = "num_batches_tracked"
            found[theirs.replace("running_var", counter)] = own[
                ours.replace("running_var", counter)
            ]
    prefix = "speaker_encoder." if layout == "taoruijie" else ""
    return {prefix + name: value.detach().cpu().clone() for name, value in found.items()}


def _shaped(ours: str, value: torch.Tensor, layout: str) -> torch.Tensor:
    """wespeaker has linear maps in squeeze-excitation, SpeechBrain convolutions everywhere."""
    if layout == "wespeaker" and ours.endswith(("se.down.weight", "se.up.weight")):
        return value.squeeze(-1)
    if layout == "speechbrain" and ours == "embedding.weight":
        return value.unsqueeze(-1)
    return value


def _check(options: EcapaOptions, layout: Published) -> None:
    plain: dict[str, Any] = EcapaOptions(**VARIANTS[layout]).model_dump()
    if layout == "wespeaker":
        plain["embedding_norm"] = options.embedding_norm  # theirs is an option too
    given = options.model_dump()
    other = [
        f"{name}={given[name]} (theirs: {value})"
        for name, value in plain.items()
        if name not in SIZES and given[name] != value
    ]
    if layout != "wespeaker" and not options.global_context:
        other.append("global_context=False (theirs: True)")
    if layout == "3dspeaker" and options.mfa != 3 * options.channels:
        other.append(f"mfa={options.mfa} (theirs: {3 * options.channels}, three times channels)")
    if other:
        raise ConfigError(
            f"this network cannot be written as {layout} has it: their code would compute "
            "something else from the same weights",
            got="; ".join(other),
            fix=f"train with model.preset: {layout}, or export in another layout",
        )
