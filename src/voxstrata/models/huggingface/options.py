"""What a user may choose about a transformers model: ``NAME,key=value``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError
from voxstrata.models.family import SEEDS, ModelSpec


class HuggingFaceOptions(Config):
    """Options of the ``huggingface`` family.

    Attributes:
        seed: random seed of an untrained twin.
        layers: number of blocks of an untrained twin, in place of its architecture's.
        normalize: scale each recording to zero mean and unit variance (wav2vec2-bert: each mel
            bin); default: what the model was published with.
        final_norm: give layer N of a pre-norm model after the encoder's last LayerNorm, as s3prl
            and SUPERB do; default: the raw output of block N.
        layer0: ``"encoder_in"``: what enters block 1; ``"cnn"``: the unprojected output of the
            last convolution (P2023 before its code's commit b13f532).
        batching: ``"single"``: one recording at a time; ``"padded"``: all at once, masked;
            ``"auto"``: single on a CPU, where padding only wastes, and padded on a GPU.
        attention: ``"fast"``: scaled-dot-product kernels; ``"reference"``: transformers' own code.
        config: name or directory of the configuration of a checkpoint file that lies alone.
    """

    seed: int | None = Field(default=None, ge=0, lt=SEEDS)
    layers: int | None = Field(default=None, ge=1, le=999)  # as many as a cut has names for
    normalize: bool | None = None
    final_norm: bool = False
    layer0: Literal["encoder_in", "cnn"] = "encoder_in"
    batching: Literal["auto", "single", "padded"] = "auto"
    attention: Literal["fast", "reference"] = "fast"
    config: str | None = None


def read_options(spec: ModelSpec) -> HuggingFaceOptions:
    """Validate the options of ``spec``.

    Raises:
        ConfigError: unknown key, wrong value, or one that only untrained twins have.
    """
    options = build(
        HuggingFaceOptions, dict(spec.options), source=f"options of model {spec.text!r}"
    )
    for key in ("seed", "layers"):
        if getattr(options, key) is not None and not spec.random:
            raise ConfigError(
                f"the option {key!r} belongs to untrained twins only",
                got=spec.text,
                fix=f"write 'random:{spec.base}' for the twin"
                + (", or 'NAME@K' to cut a trained model after layer K" if key == "layers" else ""),
            )
    return options
