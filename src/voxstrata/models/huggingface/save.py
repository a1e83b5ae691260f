"""Saving an untrained twin as a directory that any program using transformers can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxstrata.errors import UsageError
from voxstrata.files import atomic_write, write_json
from voxstrata.models.huggingface.family import build_shape
from voxstrata.models.huggingface.options import read_options
from voxstrata.models.huggingface.source import find
from voxstrata.models.spec import parse, with_options


def make_random(
    name: str, out: Path, *, seed: int = 0, layers: int | None = None
) -> dict[str, Any]:
    """Write ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` of a twin.

    Args:
        name: registered name, directory, or hub id whose configuration is taken.
        out: new or empty directory.
        seed: random seed; the result equals ``random:NAME,seed=...``.
        layers: number of blocks, if not the architecture's.

    Returns:
        facts about what was written.

    Raises:
        UsageError: ``out`` holds something already.
        ModelError, ConfigError: ``name`` cannot be built.
    """
    from safetensors.torch import save

    from voxstrata.models.huggingface.build import random_module
    from voxstrata.models.huggingface.kinds import kind_of

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty directory", fix="choose another name")
    text = name if name.startswith("random:") else f"random:{name}"
    spec = with_options(parse(text), {"seed": seed, "layers": layers})
    options = read_options(spec)
    found = find(spec, options, weights=False)
    shape, facts = build_shape(found, options)
    module = random_module(kind_of(found.config, found.name), shape.config, seed)
    state = {key: value.contiguous() for key, value in module.state_dict().items()}
    with atomic_write(out / "model.safetensors") as file:
        file.write(save(state, metadata={"format": "pt"}))
    write_json(out / "preprocessor_config.json", preprocessor(shape, facts))
    # Last, so that a directory without it is known to be unfinished.
    write_json(out / "config.json", {**shape.config.to_diff_dict(), **_origin(spec.text)})
    return {**facts, "parameters": sum(t.numel() for t in state.values()), "path": str(out)}


def _origin(text: str) -> dict[str, str]:
    return {"voxstrata_untrained": text}


def preprocessor(shape: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """The contents of ``preprocessor_config.json``.

    Args:
        shape: of the encoder.
        facts: with ``input_normalisation``.
    """
    kind = shape.config.model_type
    if kind == "whisper":
        return {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": shape.config.num_mel_bins,
            "sampling_rate": 16000,
        }
    if kind == "wav2vec2-bert":
        return {
            "feature_extractor_type": "SeamlessM4TFeatureExtractor",
            "feature_size": shape.config.feature_projection_input_dim // shape.stack,
            "num_mel_bins": shape.config.feature_projection_input_dim // shape.stack,
            "stride": shape.stack,
            "sampling_rate": 16000,
        }
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": facts["input_normalisation"],
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": shape.pre_norm,
        "sampling_rate": 16000,
    }
