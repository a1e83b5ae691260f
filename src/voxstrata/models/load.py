"""``load_model``: one name in, one ready model out, whatever its family."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import MissingDependencyError, ModelError, UsageError
from voxstrata.files import typed_path, why_absent
from voxstrata.models.base import SpeechModel
from voxstrata.models.family import FAMILIES, Family, ModelSpec
from voxstrata.models.spec import parse, with_options
from voxstrata.registry import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from voxstrata.types import LayerInfo

_ASKED_LAST = "huggingface"  # takes any text shaped like a hub id, so the others go first


def load_model(
    spec: str | Path | nn.Module,
    *,
    family: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    **options: Any,
) -> SpeechModel:
    """Load a model by name, path or hub id, or wrap a module of your own.

    Args:
        spec: ``[random:]BASE[@REVISION][@CUT][,key=value...]`` (see ``docs/models.md``), a path,
            or a ``torch.nn.Module`` (then ``options`` go to
            :func:`voxstrata.models.torch_module.from_module`; ``layers=[...]`` is needed).
        family: registry name of the family, where the text alone leaves it open.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``.
        options: family options, the same as ``key=value`` in the text (and stronger).

    Raises:
        UsageError: the text is malformed; nothing is known by this name (near ones are offered);
            two families claim it.
        ModelError: the model cannot be found or built; CheckpointError: weights do not fit.
        ConfigError: an option is unknown or wrong.
    """
    if not isinstance(spec, str | Path):
        return _wrap(spec, device, dtype, family, options)
    parsed = with_options(parse(str(spec)), options)
    model = find_family(parsed, family).load(parsed)
    return model if (device, dtype) == ("cpu", "float32") else model.to(device, dtype)


def find_family(spec: ModelSpec, name: str | None = None) -> Family:
    """The family that ``spec`` belongs to.

    Raises:
        UnknownNameError: no family knows it.
        UsageError: more than one does.
        ModelError: it looks like a path but nothing is there, or what is there is not a model.
    """
    if name is not None:
        return FAMILIES.get(name)
    families, broken = _families()
    named = [f for f in families if spec.base in f.names()]
    claims = named or [f for f in families if f.recognises(spec)]
    if len(claims) > 1:
        claims = [f for f in claims if f.name != _ASKED_LAST]
    if len(claims) > 1:
        names = ", ".join(f.name for f in claims)
        raise UsageError(
            f"several families claim the model {spec.base!r}",
            got=names,
            expected="one",
            fix=f"say which: load_model({spec.text!r}, family={claims[0].name!r})",
        )
    if claims:
        return claims[0]
    raise _not_found(spec, families, broken)


def known_names() -> dict[str, tuple[str, str]]:
    """Every registered model name, with its family and its one-line summary."""
    families, _ = _families()
    return {
        name: (family.name, summary)
        for family in families
        for name, summary in family.names().items()
    }


def broken_families() -> dict[str, str]:
    """Families that cannot be imported, and why."""
    return _families()[1]


def describe(text: str, family: str | None = None) -> tuple[tuple[LayerInfo, ...], dict[str, Any]]:
    """Layer table and facts of a model; without its weights where the family can do so.

    Raises:
        as :func:`load_model`.
    """
    spec = parse(text)
    found = find_family(spec, family)
    light = getattr(found, "describe", None)
    if light is not None:
        layers, facts = light(spec)
        return tuple(layers), {"family": found.name, **facts}
    model = found.load(spec)
    facts = {"family": found.name, "fingerprint": model.fingerprint, **model.details}
    return tuple(model.layers), facts


def _families() -> tuple[list[Family], dict[str, str]]:
    """All families that import, and why the others do not."""
    found, broken = [], {}
    for name in FAMILIES.names():
        try:
            found.append(FAMILIES.get(name))
        except (ImportError, OSError, MissingDependencyError) as error:
            broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found, broken


def _not_found(spec: ModelSpec, families: list[Family], broken: dict[str, str]) -> Exception:
    note = "".join(f"; the family {k!r} could not be imported ({v})" for k, v in broken.items())
    path = typed_path(spec.base)
    if os.path.isdir(path):
        return ModelError(
            f"the directory {spec.base} is not a model that voxstrata knows",
            got=", ".join(sorted(p.name for p in path.iterdir())[:12]) or "an empty directory",
            expected="config.json (with model_type) beside model.safetensors or pytorch_model.bin, "
            "or the files of a speaker model",
            fix=f"name the family with family=... (one of {', '.join(FAMILIES.names())}){note}",
        )
    if os.path.isfile(path):
        return ModelError(
            f"no family recognises the file {spec.base}",
            got=f"{path.name} with no config.json beside it",
            expected="a checkpoint with its config.json, or of a family that needs none",
            fix="name the family with family=..., or the configuration with config=NAME" + note,
        )
    if path.is_absolute() or spec.base.startswith((".", "~")) or spec.base.count("/") > 1:
        return ModelError(
            f"there is no file or directory {spec.base}",
            got=why_absent(path) or "neither a file nor a directory",
            fix="check the path" + note,
        )
    known = [name for family in families for name in family.names()]
    error = unknown_name("model", spec.base, known)
    listing = "`voxstrata models list` shows all names" + note
    return type(error)(
        error.what,
        got=error.got,
        expected="a registered name, OWNER/NAME on the hub, a directory or a checkpoint file",
        fix=f"{error.fix} {listing}" if error.fix else listing,
    )


def _wrap(
    module: Any, device: str, dtype: str, family: str | None, options: dict[str, Any]
) -> SpeechModel:
    from torch import nn

    from voxstrata.models.torch_module import from_module

    if not isinstance(module, nn.Module):
        raise UsageError(
            "load_model takes a name, a path or a torch.nn.Module", got=type(module).__name__
        )
    if family is not None or "layers" not in options:
        raise UsageError(
            "a module of your own needs layers=[...] and no family",
            fix="load_model(module, layers=['encoder.layers.0', ...])",
        )
    model = from_module(module, options.pop("layers"), **options)
    return model if (device, dtype) == ("cpu", "float32") else model.to(device, dtype)
