"""What differs between the published ECAPA-TDNNs, as named options, and the five presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError
from voxstrata.models.family import WIDEST

Preset = Literal["wespeaker", "speechbrain", "3dspeaker", "taoruijie", "rdino"]
FrontEndName = Literal["wespeaker", "speechbrain", "3dspeaker", "taoruijie", "rdino"]


class EcapaOptions(Config):
    """The shape and the variants of one ECAPA-TDNN.

    Attributes:
        inputs: width of the input features.
        channels: C, width of stem and blocks.
        mfa: M, width after multi-layer feature aggregation; the pooled vector has 2 M.
        embed: D, width of the embedding.
        attention: inner width of the attentive pooling.
        se: inner width of squeeze-excitation.
        scale: chunks of a Res2 block; divides ``channels``.
        padding: how convolutions continue the features beyond their ends.
        identity: which Res2 chunk passes untouched.
        summed: whether block 2 reads stem + block 1 and block 3 reads stem + block 1 + block 2
            (else each block reads the previous one).
        mfa_norm: BatchNorm after the aggregation's ReLU.
        attention_norm: ReLU and BatchNorm before the attention's tanh.
        global_context: the attention also reads mean and deviation over the whole recording.
        context_std: deviation of that context: sqrt(clamp(unbiased variance, 1e-4)),
            sqrt(unbiased variance + 1e-7), sqrt(clamp(population variance, 1e-12)).
        pooled_std: the attentive deviation: sqrt(clamp(E[x^2] - E[x]^2, 1e-4 or 1e-7)), or
            sqrt(clamp(E[(x - E[x])^2], 1e-12)).
        embedding_norm: BatchNorm after the embedding's linear map.
    """

    inputs: int = Field(default=80, ge=1, le=WIDEST)
    channels: int = Field(default=512, ge=1, le=WIDEST)
    mfa: int = Field(default=1536, ge=1, le=WIDEST)
    embed: int = Field(default=192, ge=1, le=WIDEST)
    attention: int = Field(default=128, ge=1, le=WIDEST)
    se: int = Field(default=128, ge=1, le=WIDEST)
    scale: int = Field(default=8, ge=2, le=WIDEST)
    padding: Literal["zeros", "reflect"] = "zeros"
    identity: Literal["first", "last"] = "last"
    summed: bool = False
    mfa_norm: bool = False
    attention_norm: bool = False
    global_context: bool = True
    context_std: Literal["unbiased-clamped", "unbiased-offset", "population"] = "unbiased-offset"
    pooled_std: Literal["moments-1e-4", "moments-1e-7", "centred"] = "moments-1e-7"
    embedding_norm: bool = False

    @model_validator(mode="after")
    def _divisible(self) -> EcapaOptions:
        if self.channels % self.scale:
            raise ValueError(
                f"channels {self.channels} cannot be split into {self.scale} equal chunks"
            )
        return self


_SPEECHBRAIN: dict[str, Any] = {
    "padding": "reflect",
    "identity": "first",
    "mfa_norm": True,
    "attention_norm": True,
    "context_std": "population",
    "pooled_std": "centred",
}

# Variants only; sizes follow in preset_options because some depend on the number of channels.
VARIANTS: dict[str, dict[str, Any]] = {
    "wespeaker": {},
    "speechbrain": _SPEECHBRAIN,
    "3dspeaker": _SPEECHBRAIN,
    "rdino": _SPEECHBRAIN,
    "taoruijie": {
        "summed": True,
        "attention_norm": True,
        "context_std": "unbiased-clamped",
        "pooled_std": "moments-1e-4",
        "embedding_norm": True,
    },
}


def preset_options(preset: str, given: dict[str, Any] | None = None) -> EcapaOptions:
    """The options of a preset, with some of them replaced.

    Sizes as published: M = 1536 for wespeaker and taoruijie, 3 C for the others; attention 256
    for taoruijie, else 128; D = 512 for rdino, else 192.

    Args:
        preset: one of the five.
        given: replacements, as text or values.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    if preset not in VARIANTS:
        raise ConfigError(
            f"unknown preset {preset!r} of ECAPA-TDNN", got=preset, expected=", ".join(VARIANTS)
        )
    given = dict(given or {})
    start = EcapaOptions(**VARIANTS[preset])
    channels = given.get("channels", 1024 if preset == "rdino" else start.channels)
    sizes: dict[str, Any] = {"channels": channels}
    if preset in ("speechbrain", "3dspeaker", "rdino") and str(channels).isdigit():
        sizes["mfa"] = 3 * int(channels)
    if preset == "taoruijie":
        sizes["attention"] = 256
    if preset == "rdino":
        sizes["embed"] = 512
    return build(
        EcapaOptions,
        {**start.model_dump(), **sizes, **given},
        source=f"options of ECAPA-TDNN, preset {preset!r}",
    )
