"""WavLM: blocks that share one gated relative position bias (Chen et al. 2022, section IV-B)."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxstrata.models.huggingface.shape import Piece, State, first
from voxstrata.models.huggingface.wav2vec2 import Wav2Vec2Shape


class WavLMShape(Wav2Vec2Shape):
    """wav2vec 2.0's layout; block 1 owns the position bias that all blocks use.

    transformers computes attention through ``multi_head_attention_forward`` with averaged
    attention weights that nobody reads. ``attention=fast`` replaces it by one
    scaled-dot-product call with the gated bias as its mask: the same formula, half the memory.
    """

    def attach(self, module: nn.Module, *, normalize: bool) -> None:
        """As the base class, with the faster attention put in."""
        super().attach(module, normalize=normalize)
        if self.options.attention == "fast":
            for index in range(1, len(self.blocks) + 1):
                attention = self.inside(index).attention
                attention.forward = functools.partial(gated_attention, attention)

    def embed(self, pieces: list[Piece]) -> State:
        """As wav2vec 2.0, with the position bias of this batch's length."""
        state = super().embed(pieces)
        if len(self.blocks):
            state.extra["bias"] = relative_bias(self.inside(1).attention, state.hidden.shape[1])
        return state

    def block(self, index: int, state: State) -> Tensor:
        """Output of block ``index``, given the shared bias and the mask in the form it wants."""
        bias = state.extra["bias"]
        if self.options.attention == "fast":
            mask: Tensor | None = state.attention
        else:
            batch = state.hidden.shape[0]
            bias = bias.repeat(batch, 1, 1)  # [B*H, T, T]
            mask = None if state.mask is None else state.mask.long()
        return first(self.inside(index)(state.hidden, attention_mask=mask, position_bias=bias))


def relative_bias(attention: Any, frames: int) -> Tensor:
    """Bias [H, T, T] of key position minus query position, before gating.

    It depends on the difference alone, so ``2T - 1`` values a head are looked up and laid out
    along the diagonals.
    """
    device = attention.rel_attn_embed.weight.device
    distances = torch.arange(1 - frames, frames, device=device)
    buckets = attention._relative_positions_bucket(distances)
    values: Tensor = attention.rel_attn_embed(buckets).T.contiguous()  # [H, 2T-1]
    # unfold gives [h, r, j] = values[h, r + j]; row i needs r = T-1-i.
    return values.unfold(1, frames, 1).flip(1)


def gated_attention(
    attention: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_unused: Any,
) -> tuple[Tensor, None, Tensor | None]:
    """Self-attention with gated relative position bias, through the fused kernel.

    Args:
        attention: transformers' ``WavLMAttention``, whose weights are used.
        hidden_states: [B, T, D].
        attention_mask: additive [B, 1, T, T], or ``None``.
        position_bias: [H, T, T].

    Returns:
        output [B, T, D], no weights, and the bias for the next block.
    """
    batch, frames, width = hidden_states.shape
    heads, size = attention.num_heads, attention.head_dim
    split = hidden_states.view(batch, frames, heads, size).transpose(1, 2)  # [B, H, T, d]
    gates = attention.gru_rel_pos_linear(split).view(batch, heads, frames, 2, 4).sum(-1)
    update, reset = torch.sigmoid(gates).chunk(2, dim=-1)
    gate = update * (reset * attention.gru_rel_pos_const - 1.0) + 2.0  # [B, H, T, 1]
    scores = gate * position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    query, key, value = (
        layer(hidden_states).view(batch, frames, heads, size).transpose(1, 2)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=scores)
    joined = mixed.transpose(1, 2).reshape(batch, frames, width)
    return attention.out_proj(joined), None, position_bias
