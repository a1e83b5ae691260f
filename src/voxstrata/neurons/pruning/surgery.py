"""What can be taken out of a network: neurons, attention heads, weights, rank, blocks.

Every function acts on a copy of a loaded model and returns a model; indices count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.huggingface.sizes import replace, take_columns, take_rows
from voxstrata.models.low_rank import LowRank
from voxstrata.neurons.pruning.copies import BlockParts, Copy, take_copy

Removal = Mapping[str, Sequence[int]]
"""Neurons to take out: layer ("block.3.ffn.inner") to indices."""

HeadRemoval = Mapping[int, Sequence[int]]
"""Heads to take out: block, from 1, to indices."""


def remove_rows(model: SpeechModel, removal: Removal, spec: str | None = None) -> SpeechModel:
    """A model without some feed-forward neurons.

    Of the first linear map the neuron's row and bias go, of the second its column; the bias of
    the second stays. The output is that of the model with those activations forced to zero.

    Args:
        model: left as it is.
        removal: what goes.
        spec: text to name the result by.

    Raises:
        UsageError: no such layer or neuron, or none would be left in a layer.
        ModelError: the model has no feed-forward parts.
    """
    copy = take_copy(model)
    cut_rows(copy, removal)
    return copy.model(spec or f"{model.spec} pruned")


def cut_rows(copy: Copy, removal: Removal) -> None:
    """:func:`remove_rows` on a copy."""
    for layer, gone in removal.items():
        parts, name = copy.part(layer)
        kept = _kept(int(parts.map(f"{name}.up").out_features), gone, f"neurons of {layer}")
        take_rows(parts.block, parts.maps[f"{name}.up"], kept)
        take_columns(parts.block, parts.maps[f"{name}.down"], kept)


def remove_heads(model: SpeechModel, removal: HeadRemoval, spec: str | None = None) -> SpeechModel:
    """A model without some attention heads: rows of q, k and v and columns of the output map go;
    a head's width, and so the scale of its products, stays.

    Raises:
        UsageError: no such block or head, or none would be left in a block.
        ModelError: heads of this model cannot be taken out exactly.
    """
    copy = take_copy(model)
    cut_heads(copy, removal)
    return copy.model(spec or f"{model.spec} pruned")


def cut_heads(copy: Copy, removal: HeadRemoval) -> None:
    """:func:`remove_heads` on a copy."""
    copy.refuse_heads()
    for number, gone in removal.items():
        if not 1 <= number <= len(copy.blocks):
            raise UsageError(
                f"{copy.source.spec} has no block {number}",
                expected=f"1 to {len(copy.blocks)}",
            )
        parts = copy.blocks[number - 1]
        heads = _kept(parts.heads, gone, f"heads of block {number}")
        kept = (heads[:, None] * parts.head_width + torch.arange(parts.head_width)).reshape(-1)
        for name in "qkv":
            take_rows(parts.block, parts.maps[name], kept)
        take_columns(parts.block, parts.maps["out"], kept)
        copy.set_heads(parts)


def zero_weights(model: SpeechModel, sparsity: float, spec: str | None = None) -> SpeechModel:
    """A model whose smallest weights and biases are zero, over all linear maps of its blocks.

    ``round(sparsity * n)`` numbers of the smallest magnitude become zero, whichever map they are
    in. The model is not smaller or faster: its tensors keep their shapes.

    Args:
        model: left as it is.
        sparsity: share of zeros, from 0 up to 1.
        spec: text to name the result by.

    Raises:
        UsageError: the share is none.
    """
    copy = take_copy(model)
    cut_weights(copy, sparsity)
    return copy.model(spec or f"{model.spec} pruned")


def cut_weights(copy: Copy, sparsity: float) -> dict[str, int]:
    """:func:`zero_weights` on a copy.

    Returns:
        zeros by tensor ("block.1.q.weight").
    """
    if not 0 <= sparsity < 1:
        raise UsageError("a sparsity is a share", got=sparsity, expected="0 up to, not with, 1")
    tensors = prunable(copy)
    sizes = [value.numel() for value in tensors.values()]
    # Magnitudes of all numbers; the smallest go, whichever map they are in.
    every = torch.cat([value.detach().abs().reshape(-1) for value in tensors.values()])
    mask = torch.ones_like(every, dtype=torch.bool)
    mask[torch.topk(every, round(sparsity * len(every)), largest=False).indices] = False
    zeros = {}
    with torch.no_grad():
        for (name, value), own in zip(tensors.items(), torch.split(mask, sizes), strict=True):
            value.mul_(own.view_as(value))
            zeros[name] = int((~own).sum())
    return zeros


def prunable(copy: Copy) -> dict[str, torch.Tensor]:
    """Weights and biases of the linear maps of all blocks, in order of depth."""
    found: dict[str, torch.Tensor] = {}
    for parts in copy.blocks:
        for name in parts.maps:
            one = parts.map(name)
            inner = {"": one}
            if isinstance(one, LowRank):
                inner = {".first": one.first, ".second": one.second}  # type: ignore[dict-item]
            for suffix, module in inner.items():
                found[f"block.{parts.number}.{name}{suffix}.weight"] = module.weight
                if module.bias is not None:
                    found[f"block.{parts.number}.{name}{suffix}.bias"] = module.bias
    return found


def reduce_rank(
    model: SpeechModel,
    ranks: Mapping[str, int],
    spec: str | None = None,
) -> SpeechModel:
    """A model whose linear maps are products of two thinner ones.

    ``W ~ (U_r S_r) V_r^T``, the truncated singular value decomposition: the nearest map of that
    rank in the sum of squared differences (Eckart and Young 1936).

    Args:
        model: left as it is.
        ranks: by map: "q", "k", "v", "out", "ffn.up", "ffn.down".
        spec: text to name the result by.

    Raises:
        UsageError: no such map, it has a low rank already, or the rank is none.
    """
    copy = take_copy(model)
    cut_rank(copy, ranks)
    return copy.model(spec or f"{model.spec} pruned")


def cut_rank(copy: Copy, ranks: Mapping[str, int]) -> dict[str, float]:
    """:func:`reduce_rank` on a copy.

    Returns:
        share of the squared weights that is kept, by map ("block.1.q").
    """
    if not ranks:
        raise UsageError("no map is to have a low rank", expected=", ".join(copy.blocks[0].maps))
    shares = {}
    for parts in copy.blocks:
        for name, rank in ranks.items():
            if name not in parts.maps:
                raise UsageError(f"no linear map {name!r}", expected=", ".join(parts.maps))
            shares[f"block.{parts.number}.{name}"] = _factorise(parts, name, rank)
    return shares


def _factorise(parts: BlockParts, name: str, rank: int) -> float:
    whole = parts.map(name)
    F, D = int(whole.out_features), int(whole.in_features)
    if isinstance(whole, LowRank):
        raise UsageError(f"{name} of block {parts.number} has rank {whole.rank} already")
    if not 1 <= rank <= min(F, D):
        raise UsageError(
            f"no rank for {name} of block {parts.number}",
            got=rank,
            expected=f"1 to {min(F, D)}; fewer parameters below {math.ceil(F * D / (F + D))}",
        )
    u, s, vt = torch.linalg.svd(whole.weight.detach().double(), full_matrices=False)
    thin = LowRank(D, F, rank, whole.bias is not None)
    with torch.no_grad():
        thin.first.weight.copy_(vt[:rank])
        thin.second.weight.copy_(u[:, :rank] * s[:rank])
        if whole.bias is not None:
            thin.second.bias.copy_(whole.bias)
    replace(parts.block, parts.maps[name], thin)
    total = float(s.square().sum())
    return float(s[:rank].square().sum()) / total if total else 1.0


def rank_keeping(model: SpeechModel, share: float) -> dict[str, int]:
    """The rank of every map that leaves about this share of its parameters.

    A map [F, D] of rank r has ``r (F + D)`` weights; r is that of the block where fewest fit.
    """
    if not 0 < share < 1:
        raise UsageError("a share of parameters", got=share, expected="between 0 and 1")
    copy = take_copy(model)
    found: dict[str, int] = {}
    for parts in copy.blocks:
        for name in parts.maps:
            one: Any = parts.map(name)
            F, D = int(one.out_features), int(one.in_features)
            fits = max(1, int(share * F * D / (F + D)))
            found[name] = min(fits, found.get(name, fits))
    return found


def first_blocks(model: SpeechModel, count: int, spec: str | None = None) -> SpeechModel:
    """A model of the first blocks alone: where a student of fewer blocks starts.

    Raises:
        UsageError: there are not so many.
    """
    copy = take_copy(model)
    if not 1 <= count <= len(copy.blocks):
        raise UsageError(
            f"{model.spec} has no {count} blocks to keep",
            expected=f"1 to {len(copy.blocks)}",
        )
    copy.keep_blocks(count)
    return copy.model(spec or f"{model.spec} pruned")


def _kept(count: int, gone: Iterable[int], what: str) -> torch.Tensor:
    """Indices that stay, sorted."""
    out = [int(i) for i in gone]
    if len(set(out)) != len(out) or any(not 0 <= i < count for i in out):
        raise UsageError(
            f"these are not {what}",
            got=str(sorted(out)[:12]),
            expected=f"different indices from 0 to {count - 1}",
        )
    if len(out) == count:
        raise UsageError(
            f"no {what} would be left", got=f"all {count} to go", expected="at least one that stays"
        )
    lost = set(out)
    return torch.tensor([i for i in range(count) if i not in lost], dtype=torch.long)
