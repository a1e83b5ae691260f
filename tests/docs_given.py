"""What examples in the documentation take as given, in small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def given(name: str, names: dict[str, Any], home: Path) -> None:
    """Make one of :data:`MAKERS`: files below ``home``, variables in ``names``."""
    MAKERS[name](names, home)


def _arrays(names: dict[str, Any], _home: Path) -> None:
    rng = np.random.default_rng(5)
    names["speakers"] = [f"s{row % 12}" for row in range(240)]
    names["x"] = rng.normal(size=(240, 8))
    names["y"] = names["x"] @ rng.normal(size=(8, 6)) + rng.normal(size=(240, 6))


def _recordings(_names: dict[str, Any], home: Path) -> None:
    """``~/recordings``: six speakers, four seconds each, at 22,050 Hz."""
    import soundfile

    rng = np.random.default_rng(6)
    for number, speaker in enumerate(("ada", "bo", "cem", "dag", "eve", "fay")):
        folder = home / "recordings" / speaker
        folder.mkdir(parents=True, exist_ok=True)
        for take in range(4):
            time = np.arange(22050) / 22050
            tone = np.sin(2 * np.pi * (110 + 30 * number) * time * (1 + 0.05 * take))
            noise = rng.normal(size=time.size)
            soundfile.write(folder / f"{take}.wav", 0.2 * tone + 0.02 * noise, 22050)


def _hub(_names: dict[str, Any], home: Path) -> None:
    """A cache of the hub with ``hubert-base``: its name, two narrow blocks, random weights."""
    import torch
    from transformers import HubertConfig, HubertModel

    top = home / "hub" / "models--facebook--hubert-base-ls960"
    folder = top / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        HubertModel(config).save_pretrained(folder)
    (top / "refs").mkdir(exist_ok=True)
    (top / "refs" / "main").write_text(folder.name)


def _demo(_names: dict[str, Any], home: Path) -> None:
    """``demo/`` with the two results folders of the demo, of one model and one property."""
    from voxstrata.properties.job import run_properties
    from voxstrata.properties.settings import PropertiesConfig
    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.settings import SimilarityConfig

    models = ("melhubert-small", "log-mel")
    run_properties(
        PropertiesConfig(
            models=models,
            corpus="synthetic:tiny",
            properties=("linear-speaker",),
            scale="small",
            folds=3,
            study="demo",
        ),
        home / "demo" / "properties",
    )
    run_similarity(
        SimilarityConfig(models=models, corpus="synthetic:tiny", study="demo"),
        home / "demo" / "similarity",
    )


def _two_runs(_names: dict[str, Any], home: Path) -> None:
    """``before/`` and ``after/``: the same comparison on two seeds of speech."""
    from voxstrata.similarity.job import run_similarity
    from voxstrata.similarity.settings import SimilarityConfig

    for folder, corpus in (("before", "synthetic:tiny"), ("after", "synthetic:tiny,seed=1")):
        run_similarity(
            SimilarityConfig(models=("log-mel", "mfcc"), corpus=corpus),
            home / folder,
        )


MAKERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "arrays": _arrays,
    "recordings": _recordings,
    "hub": _hub,
    "demo": _demo,
    "two runs": _two_runs,
}
