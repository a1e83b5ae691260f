"""The shape and variants of a MelHuBERT."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from voxstrata.config import Config
from voxstrata.models.family import WIDEST

Map = Literal["q", "k", "v", "out", "fc1", "fc2"]
"""A linear map of a block."""


class MelHubertOptions(Config):
    """Shape and variants.

    Attributes:
        inputs: width of the input features: 40 (a frame every 10 ms) or 80 (two frames joined,
            every 20 ms).
        width: D of the blocks.
        layers: number of blocks N.
        heads: attention heads of each block; one number for all, or one a block (heads can have
            been pruned; the width of a head stays ``head_width``).
        head_width: width of one head; ``None`` for ``width / heads``.
        ffn: inner width F of the feed-forward parts; one number for all, or one a block.
        conv_pos: kernel of the positional convolution.
        conv_groups: its groups.
        norm_first: LayerNorm before attention and feed-forward (and one after the last block)
            instead of after them (and one before the first block).
        causal: attention sees no later frame (the positional convolution still does).
        clusters: classes of the prediction head.
        ranks: rank of linear maps of the blocks that are products of two thinner ones, by name
            ("q", "k", "v", "out", "fc1", "fc2"); one number for all blocks, or one a block. Maps
            that are not named are whole.
    """

    inputs: int = Field(default=80, ge=1, le=WIDEST)
    width: int = Field(default=768, ge=1, le=WIDEST)
    layers: int = Field(default=12, ge=1, le=999)
    heads: int | tuple[int, ...] = 12
    head_width: int | None = Field(default=None, ge=1, le=WIDEST)
    ffn: int | tuple[int, ...] = 3072
    conv_pos: int = Field(default=128, ge=1, le=WIDEST)
    conv_groups: int = Field(default=16, ge=1, le=WIDEST)
    norm_first: bool = False
    causal: bool = False
    clusters: int = Field(default=512, ge=1, le=2**24)
    ranks: dict[Map, int | tuple[int, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> MelHubertOptions:
        given = {"heads": self.heads, "ffn": self.ffn}
        for name, value in {**given, **{f"ranks.{k}": v for k, v in self.ranks.items()}}.items():
            if isinstance(value, tuple) and len(value) != self.layers:
                raise ValueError(
                    f"{name} needs one number, or one for each of {self.layers} blocks"
                )
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.head_width is None and (isinstance(self.heads, tuple) or self.width % self.heads):
            raise ValueError("width must be a multiple of heads, or head_width be given")
        if self.width % self.conv_groups:
            raise ValueError("width must be a multiple of conv_groups")
        return self

    def heads_of(self, block: int) -> int:
        """Heads of block ``block`` (0-based)."""
        return self.heads[block] if isinstance(self.heads, tuple) else self.heads

    def ffn_of(self, block: int) -> int:
        """Inner width of block ``block`` (0-based)."""
        return self.ffn[block] if isinstance(self.ffn, tuple) else self.ffn

    def rank_of(self, name: Map, block: int) -> int | None:
        """Rank of a linear map of block ``block`` (0-based); ``None`` where it is whole."""
        value = self.ranks.get(name)
        return value[block] if isinstance(value, tuple) else value

    def identity(self) -> dict[str, Any]:
        """Plain values for fingerprints; what a network is without low ranks stays as it was
        before there were any."""
        values = self.model_dump()
        if not self.ranks:
            values.pop("ranks")
        return values

    @property
    def width_of_head(self) -> int:
        """Width of one attention head."""
        if self.head_width is not None:
            return self.head_width
        return self.width // self.heads_of(0)


# Keys of the training program's configuration beside ours.
CONFIG_KEYS = {
    "feat_emb_dim": "inputs",
    "encoder_embed_dim": "width",
    "encoder_layers": "layers",
    "encoder_attention_heads": "heads",
    "conv_pos": "conv_pos",
    "conv_pos_groups": "conv_groups",
    "layer_norm_first": "norm_first",
    "num_cluster": "clusters",
}


def options_in_config(config: dict[str, Any]) -> dict[str, Any]:
    """Our options as far as a checkpoint's own configuration states them.

    The feed-forward width is left to the shapes of the tensors: pruned files keep the old number.
    """
    found = {ours: config[theirs] for theirs, ours in CONFIG_KEYS.items() if theirs in config}
    if "attention_type" in config:
        found["causal"] = config["attention_type"] == "causal"
    return found
