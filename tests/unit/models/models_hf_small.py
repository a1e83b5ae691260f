"""Small encoders of every shape, with weights large enough that every part matters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

CONV = {
    "conv_dim": [24] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
}
BODY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.0,
    "vocab_size": 12,
}
BASE = {**CONV, **BODY, "feat_extract_norm": "group", "do_stable_layer_norm": False}
LARGE = {
    **CONV,
    **BODY,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
SEW = {
    **BODY,
    "conv_dim": [8, 16, 16, 16, 24],
    "conv_kernel": [10, 3, 1, 3, 2],
    "conv_stride": [5, 8, 1, 4, 2],
    "squeeze_factor": 2,
}


@dataclass(frozen=True)
class Small:
    """One small encoder: its classes, configuration and preprocessor."""

    model_type: str
    config_class: Any
    model_class: Any
    config: dict[str, Any]
    normalize: bool = True


T = transformers
SMALL: dict[str, Small] = {
    "wav2vec2-base": Small("wav2vec2", T.Wav2Vec2Config, T.Wav2Vec2Model, BASE),
    "wav2vec2-large": Small("wav2vec2", T.Wav2Vec2Config, T.Wav2Vec2Model, LARGE),
    "hubert-base": Small("hubert", T.HubertConfig, T.HubertModel, BASE, False),
    "hubert-large": Small("hubert", T.HubertConfig, T.HubertModel, LARGE),
    "hubert-batchnorm": Small(
        "hubert", T.HubertConfig, T.HubertModel, {**BASE, "conv_pos_batch_norm": True}
    ),
    "wavlm-base": Small("wavlm", T.WavLMConfig, T.WavLMModel, BASE, False),
    "wavlm-large": Small("wavlm", T.WavLMConfig, T.WavLMModel, LARGE),
    "data2vec": Small(
        "data2vec-audio",
        T.Data2VecAudioConfig,
        T.Data2VecAudioModel,
        {**CONV, **BODY, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7},
    ),
    "unispeech": Small("unispeech", T.UniSpeechConfig, T.UniSpeechModel, LARGE),
    "unispeech-sat-base": Small(
        "unispeech-sat", T.UniSpeechSatConfig, T.UniSpeechSatModel, BASE, False
    ),
    "unispeech-sat-large": Small("unispeech-sat", T.UniSpeechSatConfig, T.UniSpeechSatModel, LARGE),
    "sew": Small("sew", T.SEWConfig, T.SEWModel, SEW),
    "sew-odd": Small(
        "sew",
        T.SEWConfig,
        T.SEWModel,
        {**SEW, "num_conv_pos_embeddings": 15, "conv_dim": [8, 16, 16, 16, 32]},
    ),
    "bert": Small(
        "wav2vec2-bert",
        T.Wav2Vec2BertConfig,
        T.Wav2Vec2BertModel,
        {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "feature_projection_input_dim": 160,
            "conv_depthwise_kernel_size": 5,
            "mask_time_prob": 0.0,
            "position_embeddings_type": "relative_key",
        },
    ),
    "bert-relative": Small(
        "wav2vec2-bert",
        T.Wav2Vec2BertConfig,
        T.Wav2Vec2BertModel,
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "feature_projection_input_dim": 160,
            "conv_depthwise_kernel_size": 5,
            "mask_time_prob": 0.0,
            "position_embeddings_type": "relative",
            "max_source_positions": 400,
        },
    ),
    "whisper": Small(
        "whisper",
        T.WhisperConfig,
        WhisperEncoder,
        {
            "d_model": 32,
            "encoder_layers": 3,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 48,
            "num_mel_bins": 20,
            "max_source_positions": 50,
            "vocab_size": 40,
            "pad_token_id": 1,
            "bos_token_id": 1,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
        },
        False,
    ),
}
PRE_NORM = {
    "wav2vec2-large",
    "hubert-large",
    "wavlm-large",
    "unispeech",
    "unispeech-sat-large",
    "whisper",
}


def stir(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a value that shows, without letting numbers explode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("original0"):
                tensor.copy_(1.0 + 0.3 * noise.abs())
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim >= 2:
                fan_in = tensor[0].numel()
                tensor.copy_(noise * (1.5 / fan_in**0.5))
            elif name.endswith("weight"):
                tensor.copy_(1.0 + 0.3 * noise)
            else:
                tensor.copy_(0.3 * noise)
    return module.eval()


def reference(name: str, seed: int = 0) -> Any:
    """transformers' own encoder, in eval mode."""
    small = SMALL[name]
    return stir(small.model_class(small.config_class(**small.config)), seed)


def preprocessor(name: str) -> dict[str, Any]:
    small = SMALL[name]
    if small.model_type == "whisper":
        return {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000}
    if small.model_type == "wav2vec2-bert":
        return {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "sampling_rate": 16000}
    return {"do_normalize": small.normalize, "sampling_rate": 16000}


def write_directory(folder: Path, name: str, module: nn.Module | None = None) -> Path:
    """A local Hugging Face directory with ``module`` (default: :func:`reference`)."""
    folder.mkdir(parents=True, exist_ok=True)
    small = SMALL[name]
    state = (module or reference(name)).state_dict()
    save_file({k: v.contiguous().clone() for k, v in state.items()}, folder / "model.safetensors")
    config = {"model_type": small.model_type, **small.config}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(name)))
    return folder


def extract(name: str, wave: torch.Tensor) -> torch.Tensor:
    """The model's input by transformers' own feature extractor."""
    small = SMALL[name]
    array = wave.numpy()
    if small.model_type == "whisper":
        seconds = small.config["max_source_positions"] * 320 // 16000
        extractor = T.WhisperFeatureExtractor(
            feature_size=small.config["num_mel_bins"], chunk_length=seconds
        )
        found = extractor(array, sampling_rate=16000, return_tensors="pt").input_features
    elif small.model_type == "wav2vec2-bert":
        extractor = T.SeamlessM4TFeatureExtractor()
        found = extractor(
            array, sampling_rate=16000, return_tensors="pt", pad_to_multiple_of=None
        ).input_features
    else:
        extractor = T.Wav2Vec2FeatureExtractor(do_normalize=small.normalize)
        found = extractor(array, sampling_rate=16000, return_tensors="pt").input_values
    return found.float()


def blocks(module: Any) -> nn.ModuleList:
    found: nn.ModuleList = module.layers if hasattr(module, "layers") else module.encoder.layers
    return found


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    """Coloured noise with an offset, so that normalisation matters."""
    generator = torch.Generator().manual_seed(1000 * seed + samples)
    white = torch.randn(samples, generator=generator)
    return 0.05 * white + 0.05 * white.roll(1) + 0.02


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()
