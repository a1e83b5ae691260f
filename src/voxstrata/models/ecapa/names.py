"""Tensor names of the public ECAPA-TDNN implementations, beside ours.

The table is ``docs/models_speaker.md``, "Checkpoint layouts". An affine layer has ``weight`` and
``bias``; a BatchNorm also has ``running_mean`` and ``running_var``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from voxstrata.models.ecapa.options import EcapaOptions

Layout = Literal["wespeaker", "speechbrain", "taoruijie"]
"""How tensors are called. 3D-Speaker and RDINO use SpeechBrain's names."""

_AFFINE = ("weight", "bias")
_NORM = (*_AFFINE, "running_mean", "running_var")

# (ours, theirs, is a BatchNorm); {i} is the block's number in their counting.
_BLOCK: dict[str, tuple[int, tuple[tuple[str, str, bool], ...]]] = {
    "wespeaker": (
        2,
        (
            ("first.conv", "layer{i}.se_res2block.0.conv", False),
            ("first.bn", "layer{i}.se_res2block.0.bn", True),
            ("res2.{j}.conv", "layer{i}.se_res2block.1.convs.{j}", False),
            ("res2.{j}.bn", "layer{i}.se_res2block.1.bns.{j}", True),
            ("second.conv", "layer{i}.se_res2block.2.conv", False),
            ("second.bn", "layer{i}.se_res2block.2.bn", True),
            ("se.down", "layer{i}.se_res2block.3.linear1", False),
            ("se.up", "layer{i}.se_res2block.3.linear2", False),
        ),
    ),
    "speechbrain": (
        1,
        (
            ("first.conv", "blocks.{i}.tdnn1.conv.conv", False),
            ("first.bn", "blocks.{i}.tdnn1.norm.norm", True),
            ("res2.{j}.conv", "blocks.{i}.res2net_block.blocks.{j}.conv.conv", False),
            ("res2.{j}.bn", "blocks.{i}.res2net_block.blocks.{j}.norm.norm", True),
            ("second.conv", "blocks.{i}.tdnn2.conv.conv", False),
            ("second.bn", "blocks.{i}.tdnn2.norm.norm", True),
            ("se.down", "blocks.{i}.se_block.conv1.conv", False),
            ("se.up", "blocks.{i}.se_block.conv2.conv", False),
        ),
    ),
    "taoruijie": (
        1,
        (
            ("first.conv", "layer{i}.conv1", False),
            ("first.bn", "layer{i}.bn1", True),
            ("res2.{j}.conv", "layer{i}.convs.{j}", False),
            ("res2.{j}.bn", "layer{i}.bns.{j}", True),
            ("second.conv", "layer{i}.conv3", False),
            ("second.bn", "layer{i}.bn3", True),
            ("se.down", "layer{i}.se.se.1", False),
            ("se.up", "layer{i}.se.se.3", False),
        ),
    ),
}

_REST: dict[str, dict[str, str]] = {
    "wespeaker": {
        "stem.conv": "layer1.conv",
        "stem.bn": "layer1.bn",
        "mfa": "conv",
        "attention.inner": "pool.linear1",
        "attention.out": "pool.linear2",
        "pooled_bn": "bn",
        "embedding": "linear",
        "embedding_bn": "bn2",
    },
    "speechbrain": {
        "stem.conv": "blocks.0.conv.conv",
        "stem.bn": "blocks.0.norm.norm",
        "mfa": "mfa.conv.conv",
        "mfa_bn": "mfa.norm.norm",
        "attention.inner": "asp.tdnn.conv.conv",
        "attention.bn": "asp.tdnn.norm.norm",
        "attention.out": "asp.conv.conv",
        "pooled_bn": "asp_bn.norm",
        "embedding": "fc.conv",
    },
    "taoruijie": {
        "stem.conv": "conv1",
        "stem.bn": "bn1",
        "mfa": "layer4",
        "attention.inner": "attention.0",
        "attention.bn": "attention.2",
        "attention.out": "attention.4",
        "pooled_bn": "bn5",
        "embedding": "fc6",
        "embedding_bn": "bn6",
    },
}


def pairs(layout: Layout, options: EcapaOptions) -> Iterator[tuple[str, str]]:
    """(our name, their name) of every tensor but the batch counters."""
    absent = {
        name
        for name, present in (
            ("mfa_bn", options.mfa_norm),
            ("attention.bn", options.attention_norm),
            ("embedding_bn", options.embedding_norm),
        )
        if not present
    }
    for ours, theirs in _REST[layout].items():
        if ours not in absent:
            is_norm = ours.endswith("bn")
            yield from _tensors(ours, theirs, is_norm)
    first, table = _BLOCK[layout]
    for block in range(3):
        for ours, theirs, is_norm in table:
            repeats = range(options.scale - 1) if "{j}" in ours else range(1)
            for j in repeats:
                yield from _tensors(
                    f"blocks.{block}.{ours.format(j=j)}",
                    theirs.format(i=block + first, j=j),
                    is_norm,
                )


def _tensors(ours: str, theirs: str, is_norm: bool) -> Iterator[tuple[str, str]]:
    for part in _NORM if is_norm else _AFFINE:
        yield f"{ours}.{part}", f"{theirs}.{part}"


def detect_layout(names: set[str]) -> Layout | None:
    """The implementation that tensor names betray, if any."""
    if any("se_res2block" in name for name in names):
        return "wespeaker"
    if any("res2net_block" in name for name in names):
        return "speechbrain"
    if any(".se.se.1." in name for name in names):
        return "taoruijie"
    return None
