"""Models written in the layouts of public toolkits, one writer a family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from voxstrata.errors import ModelError
from voxstrata.models.load import load_model
from voxstrata.registry import unknown_name


def export_published(spec: str, path: Path, layout: str | None = None) -> list[str]:
    """Write a model in a public toolkit's layout.

    Args:
        spec: the model.
        path: file to write.
        layout: "wespeaker", "speechbrain", "3dspeaker", "taoruijie" for ECAPA-TDNN, "melhubert"
            for MelHuBERT; by default that of its own variant.

    Returns:
        what a user of that toolkit must know.

    Raises:
        ModelError: the model is of another family.
        UnknownNameError: no such layout for this family.
        ConfigError: the network is another variant than the layout's.
    """
    model: Any = load_model(spec)
    writers: dict[str, Callable[[Any, Path, str | None], list[str]]] = {
        "ecapa": _ecapa,
        "melhubert": _melhubert,
    }
    if model.family not in writers:
        raise ModelError(
            f"models of the family {model.family} are not exported",
            got=spec,
            expected=" or ".join(writers),
        )
    return writers[model.family](model, path, layout)


def _ecapa(model: Any, path: Path, layout: str | None) -> list[str]:
    from voxstrata.models.ecapa.save import Published, published_state, write_published

    known = list(get_args(Published))
    if layout is not None and layout not in known:
        raise unknown_name("checkpoint layout", layout, known)
    if layout is None:
        # The front end tells 3D-Speaker from SpeechBrain, whose networks are the same.
        usual = model.front.name
        layout = usual if usual in known else "wespeaker"
        published_state(model._module, layout)  # type: ignore[arg-type]
    notes = write_published(model._module, layout, path)  # type: ignore[arg-type]
    if model.front.name != layout:
        notes.append(
            f"the network reads {model.front.name} features; {layout}'s own differ "
            "(docs/models_speaker.md), so compute features as described there"
        )
    return notes


def _melhubert(model: Any, path: Path, layout: str | None) -> list[str]:
    from voxstrata.models.melhubert.save import write_published

    if layout not in (None, "melhubert"):
        raise unknown_name("checkpoint layout", str(layout), ["melhubert"])
    return write_published(model._module, model.front, path)
