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
        ConfigError: heads differ in width from the layout's ``width / heads``.
        StorageError: a file cannot be written.
    """
    options = network.options
    if options.head_width not in (None, options.width // options.heads_of(0)):
        raise ConfigError(
            "this network cannot be written as MelHuBERT has it: heads were pruned",
            got=f"head_width={options.head_width}, {options.heads_of(0)} heads",
            expected=f"heads of width {options.width // options.heads_of(0)}",
        )
    config = {theirs: getattr(options, ours) for theirs, ours in CONFIG_KEYS.items()}
    config["encoder_ffn_embed_dim"] = options.ffn_of(0)
    config["attention_type"] = "causal" if options.causal else "original"
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    with atomic_write(path) as file:
        torch.save({"model": state, "Upstream_Config": {"melhubert": config}}, file)
    if not isinstance(front.config, KaldiConfig) or front.config.normalise != "global":
        return []
    stats = path.with_name(path.name + ".stats.npy")
    buffer = io.BytesIO()
    np.save(buffer, np.array([front.config.mean, front.config.std]))
    with atomic_write(stats) as file:
        file.write(buffer.getvalue())
    return [f"the features' mean and deviation are in {stats}"]
