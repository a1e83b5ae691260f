"""Cards, configurations and weights of models."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

from fuzzing.target import Target, dumped


def _card(path: Path) -> None:
    from voxstrata.models.card import open_card

    opened = open_card(path.parent)
    opened.weights()
    opened.mean()


@cache
def _small_card() -> tuple[bytes, bytes]:
    """Card and weights of a small model."""
    import hashlib

    import torch
    from safetensors.torch import save

    from voxstrata.models.card import BUNDLED, CARD

    weights = save({"a": torch.ones(2)})
    card = json.loads((BUNDLED / "ecapa-small-supervised" / CARD).read_text("utf-8"))
    card["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    card["training"] = {"corpora": ["x"], "objective": {"name": "aam"}}
    return json.dumps(card).encode(), weights


def _weights_beside(folder: Path) -> None:
    from voxstrata.models.card import MEAN, WEIGHTS

    (folder / WEIGHTS).write_bytes(_small_card()[1])
    (folder / MEAN).write_bytes(_safetensors("mean")[0])


def _card_model(path: Path) -> None:
    """What a family makes of a card's options before it builds anything."""
    from voxstrata.config import build
    from voxstrata.models.card import open_card
    from voxstrata.models.ecapa.options import EcapaOptions
    from voxstrata.models.melhubert.options import MelHubertOptions

    opened = open_card(path.parent)
    kinds: dict[str, Any] = {"ecapa": EcapaOptions, "melhubert": MelHubertOptions}
    kind = kinds.get(str(opened.card["family"]), EcapaOptions)
    build(kind, dict(opened.options), source=str(path))


def _edit(path: Path) -> object:
    from voxstrata.models.edited.folder import read_edit

    return read_edit(path.parent)


EDIT = {
    "format": 1, "base": "x", "fingerprint": "f", "kind": "erase", "name": "n",
    "order": ["block.1.ffn.inner"], "neurons": {"block.1.ffn.inner": [0, 3]}, "factor": None,
    "seed": 0, "values": None, "details": {},
}  # fmt: skip


HUGGING = {
    "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2],
    "num_feat_extract_layers": 2, "feat_extract_norm": "group", "do_stable_layer_norm": False,
}  # fmt: skip


def _huggingface(path: Path) -> object:
    from voxstrata.models.load import describe

    return describe(f"random:{path.parent}")


def _index(path: Path) -> object:
    from voxstrata.models.huggingface.tensors import read_files

    return read_files([path])


def _shard_beside(folder: Path) -> None:
    (folder / "one.safetensors").write_bytes(_small_card()[1])


def _container(path: Path) -> None:
    from voxstrata.models.weights import read_container, tensor_names

    read_container(path)
    tensor_names(path)


def _safetensors(name: str = "a") -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [save({name: torch.ones(2, 3), "b": torch.zeros(1, dtype=torch.int64)}, {"k": "v"})]


def _mean(path: Path) -> object:
    from voxstrata.models.card import open_card

    return open_card(path.parent).mean()


def _card_beside(folder: Path) -> None:
    from voxstrata.models.card import CARD

    (folder / CARD).write_bytes(_small_card()[0])


def _torch_files() -> list[bytes]:
    import argparse

    import torch

    found = []
    for value, zipped in (
        ({"a": torch.ones(2, 3), "n": [1, "x"]}, True),
        ({"model": {"b": torch.zeros(2)}, "args": argparse.Namespace(a=1)}, False),
    ):
        held = io.BytesIO()
        torch.save(value, held, _use_new_zipfile_serialization=zipped)
        found.append(held.getvalue())
    return found


def _statistics(path: Path) -> object:
    from voxstrata.models.melhubert.family import _front_end

    return _front_end(40, str(path), "x")


def _npy() -> list[bytes]:
    import numpy as np

    held = io.BytesIO()
    np.save(held, np.ones((2, 40)))
    return [held.getvalue()]


TARGETS: tuple[Target, ...] = (
    Target("card", "card.json", _card, lambda: [_small_card()[0]], _weights_beside, json=True),
    Target("card-mean", "mean.safetensors", _mean, lambda: _safetensors("mean"), _card_beside),
    Target("card-options", "card.json", _card_model, lambda: [_small_card()[0]], json=True),
    Target("edit-card", "edit.json", _edit, lambda: dumped(EDIT), json=True),
    Target("hf-config", "config.json", _huggingface, lambda: dumped(HUGGING), json=True),
    Target(
        "hf-index",
        "model.safetensors.index.json",
        _index,
        lambda: dumped({"weight_map": {"a": "one.safetensors"}}),
        _shard_beside,
        json=True,
    ),
    Target("safetensors", "a.safetensors", _container, _safetensors),
    Target("torch-checkpoint", "a.pt", _container, _torch_files),
    Target("feature-statistics", "s.npy", _statistics, _npy),
)
