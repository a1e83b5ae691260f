"""MelHuBERT written as its authors write it: tensors, configuration, feature statistics."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from voxstrata.errors import ConfigError
from voxstrata.files import atomic_write
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import KaldiConfig
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import CONFIG_KEYS


def write_published(network: MelHubert, front: FrontEnd, path: Path) -> list[str]:
    """Write ``{"model", "Upstream_Config"}`` and, beside it, the features' mean and deviation.

    Args:
        network: the network.
        front: its front end.
        path: file to write, by ``torch.save``; the statistics go to ``PATH.stats.npy`` [2, 40].

    Returns:
        what the reader must know.

    Raises:
        ConfigError: heads do not divide the width, or maps have a low rank: the layout has no
            place for them.
        StorageError: a file cannot be written.
    """
    options = network.options
    before, left = divmod(options.width, options.width_of_head)
    heads = [options.heads_of(i) for i in range(options.layers)]
    if left or max(heads) > before or options.ranks:
        raise ConfigError(
            "this network cannot be written as MelHuBERT has it",
            got=f"maps of low rank ({', '.join(options.ranks)})"
            if options.ranks
            else f"{heads} heads of width {options.width_of_head}",
            expected=f"whole maps, and at most {before} heads that divide the width "
            f"{options.width}",
        )
    config = {theirs: getattr(options, ours) for theirs, ours in CONFIG_KEYS.items()}
    config["encoder_attention_heads"] = before
    rows = [options.ffn_of(i) for i in range(options.layers)]
    config["encoder_ffn_embed_dim"] = rows[0] if len(set(rows)) == 1 else rows
    config["attention_type"] = "causal" if options.causal else "original"
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    whole = {"model": state, "Upstream_Config": {"melhubert": config}}
    gone = {i: list(range(before - n)) for i, n in enumerate(heads) if n < before}
    if gone:  # readers of that layout count them; which ones they were is past
        whole["Pruned_heads"] = [gone]  # type: ignore[assignment]
    with atomic_write(path) as file:
        torch.save(whole, file)
    if not isinstance(front.config, KaldiConfig) or front.config.normalise != "global":
        return []
    stats = path.with_name(path.name + ".stats.npy")
    buffer = io.BytesIO()
    np.save(buffer, np.array([front.config.mean, front.config.std]))
    with atomic_write(stats) as file:
        file.write(buffer.getvalue())
    return [f"the features' mean and deviation are in {stats}"]
