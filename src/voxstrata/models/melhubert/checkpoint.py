"""MelHuBERT checkpoints, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from voxstrata.config import build
from voxstrata.errors import CheckpointError, ConfigError
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions, options_in_config
from voxstrata.models.weights import load_strictly, only_tensors, read_container, shorten

_POS = "encoder.pos_conv.0."
# Newer torch versions call the two parts of a normalised weight differently.
_RENAMED = {
    f"{_POS}parametrizations.weight.original0": f"{_POS}weight_g",
    f"{_POS}parametrizations.weight.original1": f"{_POS}weight_v",
}


def is_melhubert(names: set[str]) -> bool:
    """Whether tensor names are MelHuBERT's: its encoder, and no waveform encoder."""
    names = {_plain(n.removeprefix("module.")) for n in names}
    return (
        "encoder.layers.0.fc1.weight" in names
        and "final_proj.weight" in names
        and any(n.startswith(_POS) for n in names)
        and not any(n.startswith("feature_extractor.") for n in names)
    )


def read_melhubert(path: str | Path, given: Mapping[str, Any] | None = None) -> MelHubert:
    """The network in a checkpoint file, in eval mode, float32.

    Shapes decide what they can; the file's own configuration (``Upstream_Config``) decides the
    number of heads, pre- or post-normalisation and causality; ``given`` states them where the
    file holds bare tensors (defaults there: heads of width 64, post-normalisation, not causal).
    Pruned networks are read too: rows and heads that are left follow from the shapes, heads are
    checked against the file's own list (``Pruned_heads``), weights under a mask (``weight_orig``,
    ``weight_mask``) are multiplied with it.

    Args:
        path: torch or safetensors file.
        given: ``heads``, ``norm_first``, ``causal``.

    Raises:
        CheckpointError: the file does not fit; missing, unexpected and misshapen tensors are named.
        ConfigError: ``given`` contradicts the file's configuration.
    """
    where = str(path)
    container = read_container(path)
    config = _config(container)
    tensors = container
    for key in ("model", "state_dict"):
        if isinstance(tensors.get(key), Mapping):
            tensors = dict(tensors[key])
    state = {
        _RENAMED.get(name.removeprefix("module."), name.removeprefix("module.")): value.to(
            torch.float32
        )
        for name, value in only_tensors(tensors, where).items()
    }
    state = _unmasked(state, where)
    stated = options_in_config(config)
    for key, value in (given or {}).items():
        if key in stated and str(stated[key]).lower() != str(value).lower():
            raise ConfigError(
                f"{where} states another {key} than the option",
                got=f"{key}={value}",
                expected=f"{key}={stated[key]}",
                fix="drop the option",
            )
    options = _infer(state, {**stated, **(given or {})}, where)
    network = MelHubert(options)
    load_strictly(network, state, where)
    _check_heads(container, options, where)
    return network.eval()


def _config(container: Mapping[str, Any]) -> dict[str, Any]:
    found = container.get("Upstream_Config")
    for key in ("melhubert", "hubert"):  # older training programs say "hubert"
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            return dict(found[key])
    return {}


def _plain(name: str) -> str:
    """A tensor's name without what torch's pruning adds to it."""
    return name.removesuffix("_orig").removesuffix("_mask")


def _unmasked(state: dict[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """Tensors with masks of torch's pruning applied.

    Raises:
        CheckpointError: of a masked tensor only the numbers or only the mask are there.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        base = _plain(name)
        if base == name:
            found[name] = value
            continue
        numbers, mask = state.get(f"{base}_orig"), state.get(f"{base}_mask")
        if numbers is None or mask is None or numbers.shape != mask.shape:
            raise CheckpointError(
                f"{where}: {base} was pruned, but its numbers and its mask do not go together",
                got=name,
                expected=f"{base}_orig and {base}_mask of one shape",
            )
        found[base] = numbers * mask
    return found


def _check_heads(container: Mapping[str, Any], options: MelHubertOptions, where: str) -> None:
    """Heads of every block are those that the file's list of removed ones leaves.

    The list has an entry a step: block (from 0) to heads, numbered as they were then.

    Raises:
        CheckpointError: they are not; the number of heads before pruning is wrong.
    """
    steps = container.get("Pruned_heads")
    if not isinstance(steps, (list, tuple)):
        return
    gone = [0] * options.layers
    for step in steps:
        for block, heads in dict(step).items():
            if 0 <= int(block) < options.layers:
                gone[int(block)] += len(heads)
    before = [options.heads_of(i) + gone[i] for i in range(options.layers)]
    if any(n * options.width_of_head != options.width for n in before):
        raise CheckpointError(
            f"{where}: heads do not fit its list of pruned heads",
            got=f"{before} heads before pruning, of width {options.width_of_head}",
            expected=f"a model width of {options.width}",
            fix="give the number of heads before pruning, heads=N",
        )


def _infer(
    state: Mapping[str, torch.Tensor], stated: dict[str, Any], where: str
) -> MelHubertOptions:
    def shape(name: str, rank: int) -> tuple[int, ...]:
        if name not in state:
            raise CheckpointError(
                f"{where} is not a whole MelHuBERT",
                got=f"missing: {name}",
                expected="every tensor of the encoder and its prediction head",
            )
        if state[name].ndim != rank:
            raise CheckpointError(
                f"{where}: {name} has a wrong shape", got=str(tuple(state[name].shape))
            )
        return tuple(state[name].shape)

    numbers = {
        int(n.split(".")[2]) for n in state if n.startswith("encoder.layers.") and n.count(".") > 2
    }
    layers = len(numbers)
    if numbers != set(range(layers)) or not layers:
        raise CheckpointError(
            f"{where}: blocks are missing",
            got=f"blocks {shorten(map(str, sorted(numbers)))}",
            expected="blocks 0, 1, 2, ... without a gap",
        )
    width, part, kernel = shape(f"{_POS}weight_v", 3)
    rows = [shape(f"encoder.layers.{i}.self_attn.q_proj.weight", 2)[0] for i in range(layers)]
    heads = _heads(stated, width, where)
    head_width = width // heads
    if any(r % head_width for r in rows):
        raise CheckpointError(
            f"{where}: attention rows are no multiple of a head's width",
            got=f"{rows} rows, heads of {head_width}",
            fix="give the number of heads before pruning, heads=N",
        )
    counts = tuple(r // head_width for r in rows)
    inner = tuple(shape(f"encoder.layers.{i}.fc1.weight", 2)[0] for i in range(layers))
    projected = "pre_extract_proj.weight" in state or "pre_extract_proj.bias" in state
    return build(
        MelHubertOptions,
        {
            "inputs": shape("pre_extract_proj.weight", 2)[1] if projected else width,
            "width": width,
            "layers": layers,
            "heads": counts[0] if len(set(counts)) == 1 else counts,
            "head_width": head_width,
            "ffn": inner[0] if len(set(inner)) == 1 else inner,
            "conv_pos": kernel,
            "conv_groups": width // part,
            "clusters": shape("final_proj.weight", 2)[0],
            **{key: stated[key] for key in ("norm_first", "causal") if key in stated},
        },
        source=where,
    )


def _heads(stated: Mapping[str, Any], width: int, where: str) -> int:
    if "heads" in stated:
        heads = int(stated["heads"])
    elif width % 64 == 0:
        heads = width // 64
    else:
        heads = 0
    if heads < 1 or width % heads:
        raise ConfigError(
            f"{where} does not tell the number of attention heads",
            got=f"width {width}" + (f", heads={heads}" if heads else ""),
            expected="a number that divides the width",
            fix="add the option heads=N",
        )
    return heads
