"""MelHuBERT (Lin et al., SLT 2022, arXiv 2211.09944): a Transformer on log-mel frames.

Tensors are named as in the authors' checkpoints, so a state dict loads as it is.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from voxstrata.models.low_rank import linear
from voxstrata.models.melhubert.options import MelHubertOptions


class PositionalConv(nn.Module):
    """Grouped convolution over time whose weight is v scaled to length g, one g a kernel tap.

    ``weight[:, :, k] = g[k] * v[:, :, k] / ||v[:, :, k]||``.
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.groups = kernel, groups
        self.weight_v = nn.Parameter(torch.empty(width, width // groups, kernel))
        self.weight_g = nn.Parameter(torch.empty(1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.weight_v, std=math.sqrt(4 / (kernel * width)))
        with torch.no_grad():
            self.weight_g.copy_(self.weight_v.norm(dim=(0, 1), keepdim=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, D] to [B, T, D], GELU included; an even kernel's last frame is dropped."""
        # On CPUs with matrix tiles, torch 2.13 gives wrong bfloat16 convolutions for kernels of 8
        # and 8 or 12 channels a group, with no warning; float32 is right everywhere.
        kind = torch.float32 if x.device.type == "cpu" and x.dtype.itemsize < 4 else x.dtype
        v, g = self.weight_v.to(kind), self.weight_g.to(kind)
        weight = v * (g / v.norm(dim=(0, 1), keepdim=True))
        # Autocast would take them back to bfloat16.
        with torch.autocast(x.device.type, enabled=_autocast(x)):
            out = functional.conv1d(
                x.transpose(1, 2).to(kind),
                weight,
                self.bias.to(kind),
                padding=self.kernel // 2,
                groups=self.groups,
            )
        return functional.gelu(out[:, :, : x.shape[1]]).transpose(1, 2).to(x.dtype)


def _autocast(x: torch.Tensor) -> bool:
    """Whether autocast is on and may stay on for the positional convolution."""
    return x.device.type != "cpu" and torch.is_autocast_enabled(x.device.type)


class Attention(nn.Module):
    """Multi-head self-attention; heads may be fewer than width / head_width (pruned)."""

    def __init__(self, options: MelHubertOptions, index: int) -> None:
        super().__init__()
        self.heads, self.head_width = options.heads_of(index), options.width_of_head
        width, inner = options.width, self.heads * self.head_width
        self.q_proj = linear(width, inner, options.rank_of("q", index))
        self.k_proj = linear(width, inner, options.rank_of("k", index))
        self.v_proj = linear(width, inner, options.rank_of("v", index))
        self.out_proj = linear(inner, width, options.rank_of("out", index))

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None, causal: bool, dropout: float
    ) -> torch.Tensor:
        """[B, T, D] to [B, T, D]; ``mask`` [B, 1, T or 1, T] is true where keys may be seen."""
        batch, time, _ = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(batch, time, self.heads, self.head_width).transpose(1, 2)

        context = functional.scaled_dot_product_attention(
            split(self.q_proj(x)),
            split(self.k_proj(x)),
            split(self.v_proj(x)),
            attn_mask=mask,
            dropout_p=dropout if self.training else 0.0,
            is_causal=causal and mask is None,
        )
        joined = context.transpose(1, 2).reshape(batch, time, self.heads * self.head_width)
        out: torch.Tensor = self.out_proj(joined)
        return out


class Block(nn.Module):
    """One Transformer block."""

    def __init__(self, options: MelHubertOptions, index: int, dropout: float) -> None:
        super().__init__()
        D, F = options.width, options.ffn_of(index)
        self.norm_first, self.causal, self.rate = options.norm_first, options.causal, dropout
        self.self_attn = Attention(options, index)
        self.self_attn_layer_norm = nn.LayerNorm(D)
        self.fc1 = linear(D, F, options.rank_of("fc1", index))
        self.fc2 = linear(F, D, options.rank_of("fc2", index))
        self.final_layer_norm = nn.LayerNorm(D)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """[B, T, D] to [B, T, D], and what passes inside: attention output before the residual
        sum, neurons [B, T, F] after GELU, feed-forward output before the residual sum."""
        seen = self.self_attn_layer_norm(x) if self.norm_first else x
        attended = self.self_attn(seen, mask, self.causal, self.rate)
        x = x + self._drop(attended)
        if not self.norm_first:
            x = self.self_attn_layer_norm(x)
        seen = self.final_layer_norm(x) if self.norm_first else x
        inner = functional.gelu(self.fc1(seen))
        out = self.fc2(self._drop(inner))
        x = x + self._drop(out)
        if not self.norm_first:
            x = self.final_layer_norm(x)
        return x, {"attn.out": attended, "ffn.inner": inner, "ffn.out": out}

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self.rate, self.training)


class Encoder(nn.Module):
    """Positional convolution, LayerNorm and blocks."""

    def __init__(self, options: MelHubertOptions, dropout: float) -> None:
        super().__init__()
        self.pos_conv = nn.ModuleList(
            [PositionalConv(options.width, options.conv_pos, options.conv_groups)]
        )
        self.layers = nn.ModuleList(Block(options, i, dropout) for i in range(options.layers))
        self.layer_norm = nn.LayerNorm(options.width)


class MelHubert(nn.Module):
    """Log-mel frames to cluster logits; every layer output can be had.

    Args:
        options: shape and variants.
        dropout: rate used everywhere in training mode (published: 0.1).
    """

    def __init__(self, options: MelHubertOptions, dropout: float = 0.1) -> None:
        super().__init__()
        self.options, self.rate = options, dropout
        same = options.inputs == options.width
        self.pre_extract_proj = None if same else nn.Linear(options.inputs, options.width)
        self.encoder = Encoder(options, dropout)
        self.final_proj = nn.Linear(options.width, options.clusters)
        self.apply(_initialise)

    def set_dropout(self, rate: float) -> None:
        """Change the rate used in training mode."""
        self.rate = rate
        for block in self.encoder.layers:
            block.rate = rate  # type: ignore[assignment]

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Logits [B, T, clusters] of features [B, T, inputs].

        Args:
            features: frames; a trainer sets those to be predicted to zero beforehand.
            lengths: valid frames of each recording [B]; ``None`` where all are valid. Outputs
                of valid frames are those the recording has alone; the others mean nothing.
        """
        found = self.stack(features, lengths, last=self.options.layers)
        hidden = found[str(self.options.layers)]
        if self.options.norm_first:
            hidden = self.encoder.layer_norm(hidden)
        logits: torch.Tensor = self.final_proj(hidden)
        return logits

    def stack(
        self,
        features: torch.Tensor,
        lengths: torch.Tensor | None = None,
        *,
        last: int,
        taps: frozenset[str] = frozenset(),
    ) -> dict[str, torch.Tensor]:
        """Layer outputs up to block ``last``; no block above it runs.

        Args:
            features: [B, T, inputs].
            lengths: see :meth:`forward`.
            last: the last block, 1..N; 0 for what enters the first, -1 for the projection.
            taps: wanted inner outputs, such as ``"block.3.ffn.inner"``; blocks count from 1.

        Returns:
            ``proj`` (after the input projection), ``"0"`` (what enters block 1), ``"1"``..
            (raw block outputs), and the taps: [B, T, D or F].
        """
        x, valid = features, None
        if lengths is not None:
            valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        if self.pre_extract_proj is not None:
            x = self.pre_extract_proj(x)
        found = {"proj": x}
        if last < 0:
            return found
        if valid is not None:
            # Padding must look like what lies beyond the end of a recording run alone.
            x = x * valid.unsqueeze(-1)
        for convolve in self.encoder.pos_conv:
            x = x + convolve(x)
        if not self.options.norm_first:
            x = self.encoder.layer_norm(x)
        x = functional.dropout(x, self.rate, self.training)
        found["0"] = x
        mask = self._mask(valid, x.shape[1]) if valid is not None else None
        for number, block in enumerate(self.encoder.layers[:last], start=1):
            x, inside = block(x, mask)
            found[str(number)] = x
            for name, value in inside.items():
                if f"block.{number}.{name}" in taps:
                    found[f"block.{number}.{name}"] = value
        return found

    def _mask(self, valid: torch.Tensor, time: int) -> torch.Tensor:
        keys = valid[:, None, None, :]
        if not self.options.causal:
            return keys
        past = torch.ones(time, time, dtype=torch.bool, device=valid.device).tril()
        return keys & past


def _initialise(module: nn.Module) -> None:
    """As BERT: linear maps from N(0, 0.02), biases zero."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
