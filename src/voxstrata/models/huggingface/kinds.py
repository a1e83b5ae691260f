"""The model types that are understood: one line each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

from voxstrata.errors import ConfigError, ModelError
from voxstrata.models.huggingface.lib import transformers_class


@dataclass(frozen=True)
class Kind:
    """How transformers' ``model_type`` is built and read.

    Attributes:
        config: its configuration class.
        model: the class of its bare encoder, below ``transformers``.
        shape: ``"module:class"`` of ours that runs it.
        prefixes: what checkpoints put before the bare encoder's tensor names, longest first; the
            bare names themselves are tried last.
        normalize_base: whether models with GroupNorm were published with input normalisation
            (those with LayerNorm all were).
    """

    config: str
    model: str
    shape: str
    prefixes: tuple[str, ...]
    normalize_base: bool = True

    def shape_class(self) -> Any:
        """The shape class, imported now."""
        module, _, name = self.shape.partition(":")
        return getattr(importlib.import_module(f"voxstrata.models.huggingface.{module}"), name)


_STANDARD = Kind("Wav2Vec2Config", "Wav2Vec2Model", "wav2vec2:Wav2Vec2Shape", ("wav2vec2.",))

KINDS: dict[str, Kind] = {
    "wav2vec2": _STANDARD,
    "hubert": replace(_STANDARD, config="HubertConfig", model="HubertModel", prefixes=("hubert.",)),
    "wavlm": Kind("WavLMConfig", "WavLMModel", "wavlm:WavLMShape", ("wavlm.",), False),
    "data2vec-audio": replace(
        _STANDARD,
        config="Data2VecAudioConfig",
        model="Data2VecAudioModel",
        prefixes=("data2vec_audio.",),
    ),
    "unispeech": replace(
        _STANDARD, config="UniSpeechConfig", model="UniSpeechModel", prefixes=("unispeech.",)
    ),
    "unispeech-sat": replace(
        _STANDARD,
        config="UniSpeechSatConfig",
        model="UniSpeechSatModel",
        prefixes=("unispeech_sat.",),
        normalize_base=False,
    ),
    "sew": Kind("SEWConfig", "SEWModel", "sew:SEWShape", ("sew.",)),
    "wav2vec2-bert": Kind(
        "Wav2Vec2BertConfig",
        "Wav2Vec2BertModel",
        "bert:Wav2Vec2BertShape",
        ("wav2vec2_bert.",),
    ),
    "whisper": Kind(
        "WhisperConfig",
        "models.whisper.modeling_whisper.WhisperEncoder",
        "whisper:WhisperShape",
        ("model.encoder.", "encoder."),
        False,
    ),
}


def kind_of(config: dict[str, Any], name: str) -> Kind:
    """The kind of a ``config.json``.

    Raises:
        ModelError: the model type is absent or not supported; the supported ones are listed.
    """
    found = config.get("model_type")
    if found not in KINDS:
        raise ModelError(
            f"the model type of {name} is not supported",
            got=repr(found),
            expected=", ".join(KINDS),
            fix="wrap it yourself: voxstrata.models.from_module(module, layers=[...])",
        )
    return KINDS[str(found)]


MOST, MOST_BLOCKS = 100_000_000, 1_000
"""Largest whole number of a configuration, most blocks: a damaged one would take all memory."""

_COUNTS = ("num_hidden_layers", "encoder_layers", "num_feat_extract_layers")
MOST_OF = dict.fromkeys(_COUNTS, MOST_BLOCKS)


def _modest(value: Any, most: int) -> bool:
    """Whether no number in a configuration's value is beyond what a model may have."""
    if isinstance(value, list | tuple):
        return all(_modest(item, most) for item in value)
    return not isinstance(value, int | float) or abs(value) <= most


def config_object(config: dict[str, Any], name: str) -> Any:
    """transformers' configuration object of a ``config.json``, with training-only parts off.

    Masking parameters, adapters and layer drop belong to heads and training; without them the
    bare encoder has exactly the tensors that inference reads.

    Raises:
        ConfigError: transformers refuses the values.
    """
    kind = kind_of(config, name)
    values = {k: v for k, v in config.items() if k not in ("model_type", "transformers_version")}
    off: dict[str, Any] = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    if "add_adapter" in values:
        off["add_adapter"] = False
    if "use_intermediate_ffn_before_adapter" in values:
        off["use_intermediate_ffn_before_adapter"] = False
    if config["model_type"] == "whisper":
        off["decoder_layers"] = 0  # only the encoder is built
    huge = [key for key, value in values.items() if not _modest(value, MOST_OF.get(key, MOST))]
    if huge:
        raise ConfigError(
            f"the configuration of {name} asks for what no model has",
            got=", ".join(f"{key}: {str(values[key])[:40]}" for key in huge),
            expected=f"whole numbers up to {MOST:,}, at most {MOST_BLOCKS:,} blocks",
            fix="check its config.json",
        )
    maker = transformers_class(kind.config)
    try:
        return maker(**{**values, **off})
    except Exception as error:
        raise ConfigError(
            f"transformers refuses the configuration of {name}",
            got=f"{type(error).__name__}: {error}",
            fix="check its config.json",
        ) from error


def normalize_rule(config: Any, kind: Kind) -> bool:
    """Input normalisation where nothing says: on, but off for Whisper and for the WavLM and
    UniSpeech-SAT models whose first convolution has GroupNorm (their Base sizes)."""
    if config.model_type == "whisper":
        return False
    norm = getattr(config, "feat_extract_norm", "layer")
    return kind.normalize_base if norm == "group" else True
