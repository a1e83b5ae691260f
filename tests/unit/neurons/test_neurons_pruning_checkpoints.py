"""Files of the authors' compression programs, pruned in every way; and ours as theirs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxstrata import load_model
from voxstrata.errors import CheckpointError, ConfigError
from voxstrata.models.export import export_published
from voxstrata.models.weights import read_container
from voxstrata.neurons.pruning import surgery
from voxstrata.neurons.pruning.copies import take_copy

MODEL = (
    "random:melhubert,inputs=80,width=32,layers=3,heads=4,ffn=48,conv_pos=8,conv_groups=4,"
    "clusters=8"
)
CONFIG = {
    "feat_emb_dim": 80, "encoder_embed_dim": 32, "encoder_layers": 3,
    "encoder_attention_heads": 4, "encoder_ffn_embed_dim": 48, "conv_pos": 8,
    "conv_pos_groups": 4, "layer_norm_first": False, "attention_type": "original",
    "num_cluster": 8,
}  # fmt: skip
WAVE = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1


def state(model: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model._module.state_dict().items()}


def same_output(one: Any, other: Any) -> None:
    (a,), (b,) = (m.encode([WAVE], ["1", "3", "block.2.ffn.inner"]) for m in (one, other))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("key", ["melhubert", "hubert"])
def test_pruned_rows_and_heads(tmp_path: Path, key: str) -> None:
    model = surgery.remove_heads(load_model(MODEL), {1: [0], 3: [1, 3]})
    model = surgery.remove_rows(model, {"block.2.ffn.inner": range(20)})
    whole: dict[str, Any] = {
        "model": state(model),
        "Upstream_Config": {key: CONFIG},
        "Pruned_heads": [{0: [0], 2: [1]}, {2: [2]}],
        "Rows": [48, 28, 48],
        "Args": argparse.Namespace(n=1),
        "Step": 7,
    }
    torch.save(whole, tmp_path / "states.ckpt")
    found = load_model(tmp_path / "states.ckpt")
    same_output(found, model)
    assert [parts.heads for parts in take_copy(found).blocks] == [3, 4, 2]
    whole["Pruned_heads"] = [{0: [0, 1]}]
    torch.save(whole, tmp_path / "wrong.ckpt")
    with pytest.raises(CheckpointError, match="do not fit its list of pruned heads"):
        load_model(tmp_path / "wrong.ckpt")


def test_weights_under_masks(tmp_path: Path) -> None:
    model = load_model(MODEL)
    sparse = surgery.zero_weights(model, 0.5)
    dense, zeros = state(model), state(sparse)
    tensors = {}
    for name, value in dense.items():
        if name.startswith("encoder.layers") and "norm" not in name:
            tensors[f"{name}_orig"] = value
            tensors[f"{name}_mask"] = (zeros[name] != 0).float()
        else:
            tensors[name] = value
    whole: dict[str, Any] = {
        "model": tensors,
        "Upstream_Config": {"melhubert": CONFIG},
        "Pruning": {"pruning_times": 3},
    }
    torch.save(whole, tmp_path / "mask-states.ckpt")
    same_output(load_model(tmp_path / "mask-states.ckpt"), sparse)
    del tensors["encoder.layers.0.fc1.weight_mask"]
    torch.save(whole, tmp_path / "half.ckpt")
    with pytest.raises(CheckpointError, match=r"fc1\.weight was pruned"):
        load_model(tmp_path / "half.ckpt")


def test_a_pruned_network_in_the_authors_layout(tmp_path: Path) -> None:
    model = surgery.remove_heads(load_model(MODEL), {2: [0, 1]})
    model = surgery.remove_rows(model, {"block.1.ffn.inner": [1, 2, 3]})
    take_copy(model).save(tmp_path / "model", "small", {})
    export_published(str(tmp_path / "model"), tmp_path / "theirs.pt")
    found = load_model(tmp_path / "theirs.pt", stats=str(tmp_path / "theirs.pt.stats.npy"))
    same_output(found, model)
    written = read_container(tmp_path / "theirs.pt")
    assert written["Pruned_heads"] == [{1: [0, 1]}]
    assert written["Upstream_Config"]["melhubert"]["encoder_attention_heads"] == 4
    assert written["Upstream_Config"]["melhubert"]["encoder_ffn_embed_dim"] == [45, 48, 48]
    thin = surgery.reduce_rank(model, {"ffn.up": 4})
    take_copy(thin).save(tmp_path / "thin", "thin", {})
    with pytest.raises(ConfigError, match="cannot be written as MelHuBERT has it"):
        export_published(str(tmp_path / "thin"), tmp_path / "thin.pt")
