"""From the tensor names of a checkpoint to those of the bare encoder, leaving nothing unsaid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from voxstrata.errors import CheckpointError, StorageError
from voxstrata.files import read_json
from voxstrata.models.huggingface.kinds import Kind
from voxstrata.models.weights import load_strictly, read_checkpoint, shorten

# Parts of published checkpoints that stand on or beside the encoder and are not run here: heads
# of fine-tuned models, pretraining targets and quantizers, adapters on top, Whisper's decoder,
# the mask vector that only training puts in.
HEADS = (
    "adapter",
    "classifier",
    "ctc_proj",
    "decoder",
    "feature_extractor.bias",
    "feature_extractor.weight",
    "final_proj",
    "intermediate_ffn",
    "label_embeddings_concat",
    "label_embs_concat",
    "layer_norm_for_extract",
    "layer_weights",
    "lm_head",
    "masked_spec_embed",
    "model.decoder",
    "objective",
    "proj_out",
    "project_hid",
    "project_q",
    "projector",
    "quantizer",
    "speaker_proj",
    "tdnn",
)
_BLOCK = re.compile(r"(?:encoder\.)?layers\.(\d+)\.")
_NORM = ".parametrizations.weight.original"


def read_files(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of a checkpoint, which may be sharded behind an index.

    Raises:
        CheckpointError: a file is missing, damaged or unsafe, or two shards name one tensor.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        if file.name.endswith(".index.json"):
            part = read_files([file.parent / name for name in shards_of(file)])
        else:
            part = read_checkpoint(file)
        if twice := found.keys() & part.keys():
            raise CheckpointError(f"{file} repeats tensors of another shard", got=shorten(twice))
        found.update(part)
    return found


def shards_of(index: Path) -> list[str]:
    """Names of the files that an index divides a checkpoint into; they lie beside it.

    Raises:
        CheckpointError: it is damaged, or names something else than files beside it.
    """
    try:
        found = read_json(index)
    except StorageError as error:
        raise CheckpointError(f"{index} is damaged", got=str(error.got), expected="JSON") from None
    table = found.get("weight_map") if isinstance(found, dict) else None
    names = list(table.values()) if isinstance(table, dict) else []
    odd = [str(name)[:80] for name in names if not isinstance(name, str) or not _bare(name)]
    if odd or not names:
        raise CheckpointError(
            f"{index} is not the index of a checkpoint",
            got=f"files called {shorten(odd)}" if odd else "no weight_map",
            expected="weight_map with names of safetensors or .bin files beside it",
        )
    return sorted(set(names))


def _bare(name: str) -> bool:
    """Whether a name is that of a weights file in the same folder, and no path or index."""
    return name.endswith((".safetensors", ".bin")) and not set(name) & set("/\\\0")


def encoder_tensors(
    checkpoint: Mapping[str, Tensor], kind: Kind, keep_blocks: int, all_blocks: int, where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The bare encoder's tensors under today's names.

    Args:
        checkpoint: as read.
        kind: gives the prefixes to look for.
        keep_blocks: blocks of the model to be filled.
        all_blocks: blocks of the checkpoint; those above ``keep_blocks`` are left out.
        where: file, for messages.

    Returns:
        tensors by name, and the names of what was left out on purpose (heads, pretraining parts,
        blocks above the cut).

    Raises:
        CheckpointError: tensors belong neither to the encoder nor to a known head.
    """
    prefix = next((p for p in kind.prefixes if any(k.startswith(p) for k in checkpoint)), "")
    inner, left, strange = {}, [], []
    for name, tensor in checkpoint.items():
        own = name.removeprefix(prefix) if name.startswith(prefix) else None
        bare = name if own is None else own
        block = _BLOCK.match(own) if own is not None else None
        above = block is not None and keep_blocks <= int(block[1]) < all_blocks
        if above or any(bare == head or bare.startswith(f"{head}.") for head in HEADS):
            left.append(name)
        elif own is None:
            strange.append(name)
        else:
            inner[_modern(own)] = tensor
    if strange:
        raise CheckpointError(
            f"{where} holds tensors that belong neither to the encoder nor to a known head",
            got=shorten(sorted(strange)),
            expected=f"names that begin with {prefix!r}, or heads: {', '.join(HEADS)}",
            fix="check that the configuration beside it names the right model_type",
        )
    return inner, sorted(left)


def _modern(name: str) -> str:
    """Weight normalisation by today's parametrisation: ``weight_g`` is ``original0``."""
    if name.endswith(".weight_g"):
        return name.removesuffix(".weight_g") + _NORM + "0"
    if name.endswith(".weight_v"):
        return name.removesuffix(".weight_v") + _NORM + "1"
    return name


def fill(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Put ``tensors`` into ``module``; every one of its tensors must be there and fit.

    A positional convolution whose weight normalisation was merged into one ``weight`` is taken
    apart again: the magnitude is the norm over all but the kernel axis, the direction the weight
    itself, which multiplies back to the same numbers.

    Raises:
        CheckpointError: tensors are missing, unexpected or of a wrong shape; all are named.
    """
    for name in [k for k in module.state_dict() if k.endswith(f"{_NORM}0")]:
        stem = name.removesuffix(f"{_NORM}0")
        merged = tensors.get(f"{stem}.weight")
        if merged is not None and name not in tensors and merged.ndim == 3:
            tensors[f"{stem}{_NORM}0"] = merged.float().norm(dim=(0, 1), keepdim=True)
            tensors[f"{stem}{_NORM}1"] = tensors.pop(f"{stem}.weight")
    load_strictly(module, tensors, where)
