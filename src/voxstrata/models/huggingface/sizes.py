"""Blocks that differ in size: pruned encoders, saved with their sizes in ``config.json``.

transformers builds all blocks alike. A pruned folder keeps the configuration of the model it came
from and, under ``voxstrata_sizes``, what is left in each block; the module is built as the
configuration says and then cut to size, so that weights load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, ModelError
from voxstrata.models.low_rank import LowRank

KEY = "voxstrata_sizes"
"""Entry of ``config.json``."""

_FEED_FORWARD = {
    "ffn": (("feed_forward.intermediate_dense", "feed_forward.output_dense"), ("fc1", "fc2")),
    "ffn1": (("ffn1.intermediate_dense", "ffn1.output_dense"),),
    "ffn2": (("ffn2.intermediate_dense", "ffn2.output_dense"),),
}
_ATTENTION = ("attention", "self_attn")
MAPS = {
    "q": ("q_proj", "linear_q"),
    "k": ("k_proj", "linear_k"),
    "v": ("v_proj", "linear_v"),
    "out": ("out_proj", "linear_out"),
}
"""Linear maps of attention, as transformers calls them."""

_HEADS_REFUSED = {
    "wavlm": "the gate of each head's position bias reads that head's part of the block's input",
    "wav2vec2-bert": "the position terms of its attention are laid out over all heads",
}


class Sizes(Config):
    """What is left in each block.

    Attributes:
        feed_forward: inner widths, one a block, by part ("ffn"; "ffn1" and "ffn2" in Conformers).
        heads: attention heads, one a block; empty where all are left.
        ranks: rank of linear maps that are products of two, one a block, by name: "q", "k", "v",
            "out", "ffn.up", "ffn.down", ...
    """

    feed_forward: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    heads: tuple[int, ...] = ()
    ranks: dict[str, tuple[int, ...]] = Field(default_factory=dict)


def sizes_of(config: Any, blocks: int) -> Sizes | None:
    """The sizes in a transformers configuration, or ``None`` where blocks are alike.

    Args:
        config: configuration object.
        blocks: number of blocks.

    Raises:
        ConfigError: the entry is malformed, or not for so many blocks.
    """
    given = getattr(config, KEY, None)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ConfigError(f"{KEY} of config.json is no mapping", got=type(given).__name__)
    found = build(Sizes, dict(given), source=f"{KEY} of config.json")
    every = {**found.feed_forward, **found.ranks, **({"heads": found.heads} if found.heads else {})}
    for name, numbers in every.items():
        if len(numbers) < blocks or min(numbers, default=0) < 1:
            raise ConfigError(
                f"{KEY} of config.json does not fit the model",
                got=f"{name}: {list(numbers)}",
                expected=f"{blocks} numbers of at least 1, one a block",
            )
    return found


def feed_forward_names(block: nn.Module) -> dict[str, tuple[str, str]]:
    """Module names of the two maps of each feed-forward part of a block."""
    names = {name for name, _ in block.named_modules()}
    found = {}
    for part, choices in _FEED_FORWARD.items():
        for up, down in choices:
            if {up, down} <= names:
                found[part] = (up, down)
    return found


def attention_of(block: nn.Module) -> Any:
    """The self-attention of a block."""
    for name in _ATTENTION:
        if hasattr(block, name):
            return getattr(block, name)
    raise ModelError("a block without self-attention", got=type(block).__name__)


def map_names(block: nn.Module) -> dict[str, str]:
    """Module names of all linear maps that sizes speak of: "q", ..., "ffn.up", "ffn.down"."""
    attention = attention_of(block)
    (prefix,) = [n for n, part in block.named_modules() if part is attention]
    found = {
        name: f"{prefix}.{choice}"
        for name, choices in MAPS.items()
        for choice in choices
        if hasattr(attention, choice)
    }
    for part, (up, down) in feed_forward_names(block).items():
        found |= {f"{part}.up": up, f"{part}.down": down}
    return found


def head_width(block: nn.Module) -> int:
    """Width of one attention head."""
    attention = attention_of(block)
    return int(getattr(attention, "head_dim", None) or attention.head_size)


def refuse_heads(model_type: str) -> None:
    """Heads of some models cannot be taken out exactly.

    Raises:
        ModelError: of this model.
    """
    if model_type in _HEADS_REFUSED:
        raise ModelError(
            f"attention heads of a {model_type} cannot be pruned",
            got=_HEADS_REFUSED[model_type],
            expected="heads that depend on nothing but their own rows of q, k and v",
            fix="prune rows of the feed-forward parts (--what rows) instead",
        )


def set_heads(block: nn.Module, heads: int) -> None:
    """Tell an attention module how many heads it has now (its maps are cut by the caller)."""
    attention = attention_of(block)
    attention.num_heads = heads
    if hasattr(attention, "embed_dim"):  # older transformers reshape by it
        attention.embed_dim = heads * head_width(block)


def resize(blocks: nn.ModuleList, sizes: Sizes, model_type: str) -> None:
    """Cut freshly built blocks to size: the first rows and heads stay, to be overwritten.

    Raises:
        ModelError: a block has no such part, or its heads cannot be pruned.
        ConfigError: a size is larger than the configuration's own.
    """
    if sizes.heads:
        refuse_heads(model_type)
    for index, block in enumerate(blocks):
        names = map_names(block)
        named = {*(f"{part}.up" for part in sizes.feed_forward), *sizes.ranks}
        if unknown := named - names.keys():
            raise ModelError(
                f"a {model_type} has no such parts",
                got=", ".join(sorted(unknown)),
                expected=", ".join(names),
            )
        for part, widths in sizes.feed_forward.items():
            kept = _first(widths[index], block.get_submodule(names[f"{part}.down"]).in_features)
            take_rows(block, names[f"{part}.up"], kept)
            take_columns(block, names[f"{part}.down"], kept)
        if sizes.heads:
            width = head_width(block)
            kept = _first(sizes.heads[index] * width, block.get_submodule(names["q"]).out_features)
            for name in "qkv":
                take_rows(block, names[name], kept)
            take_columns(block, names["out"], kept)
            set_heads(block, sizes.heads[index])
        for name, ranks in sizes.ranks.items():
            whole: Any = block.get_submodule(names[name])
            bias = whole.bias is not None
            thin = LowRank(whole.in_features, whole.out_features, ranks[index], bias)
            replace(block, names[name], thin)


def _first(count: int, most: Any) -> torch.Tensor:
    if count > most:
        raise ConfigError(
            f"{KEY} of config.json is larger than the model it was cut from",
            got=count,
            expected=f"at most {most}",
        )
    return torch.arange(count)


def take_rows(block: nn.Module, name: str, kept: torch.Tensor) -> None:
    """Keep rows of a linear map (outputs), and the bias of those."""
    part: Any = block.get_submodule(name)
    inner: Any = part.second if isinstance(part, LowRank) else part
    inner.weight = _like(inner.weight, inner.weight.detach()[kept])
    if inner.bias is not None:
        inner.bias = _like(inner.bias, inner.bias.detach()[kept])
    inner.out_features = len(kept)


def take_columns(block: nn.Module, name: str, kept: torch.Tensor) -> None:
    """Keep columns of a linear map (inputs)."""
    part: Any = block.get_submodule(name)
    inner: Any = part.first if isinstance(part, LowRank) else part
    inner.weight = _like(inner.weight, inner.weight.detach()[:, kept])
    inner.in_features = len(kept)


def replace(block: nn.Module, name: str, part: nn.Module) -> None:
    """Put another module in the place of one inside a block."""
    above, _, last = name.rpartition(".")
    setattr(block.get_submodule(above), last, part.requires_grad_(False))


def _like(old: nn.Parameter, new: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(new.clone().contiguous(), requires_grad=old.requires_grad)
