"""ECAPA-TDNN (Desplanques et al., Interspeech 2020, arXiv 2005.07143) as one module.

Order is convolution, ReLU, BatchNorm everywhere. The variants of the public implementations are
options (:class:`~voxstrata.models.ecapa.options.EcapaOptions`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from voxstrata.models.ecapa.options import EcapaOptions

DEPTH = ("conv", "block1", "block2", "block3", "mfa.linear", "mfa", "pool", "embedding")
"""Names of the outputs, in the order in which they are computed."""


class ConvNorm(nn.Module):
    """Convolution of the same length, ReLU and BatchNorm: [B, C_in, T] to [B, C_out, T]."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        kernel: int,
        dilation: int,
        padding: Literal["zeros", "reflect"],
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            width_in,
            width_out,
            kernel,
            dilation=dilation,
            padding=dilation * (kernel - 1) // 2,
            padding_mode=padding,
        )
        self.bn = nn.BatchNorm1d(width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C_in, T] to [B, C_out, T]."""
        out: torch.Tensor = self.bn(torch.relu(self.conv(x)))
        return out


class SqueezeExcitation(nn.Module):
    """A gate on each channel from its mean over the whole recording."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Conv1d(width, inner, 1)
        self.up = nn.Conv1d(inner, width, 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """[B, C, T] to [B, C, T]."""
        mean = _mean(x, mask)
        gate = torch.sigmoid(self.up(torch.relu(self.down(mean))))
        return x * gate


class Block(nn.Module):
    """SE-Res2Block with a residual sum; nothing follows the sum."""

    def __init__(self, options: EcapaOptions, dilation: int) -> None:
        super().__init__()
        C, s = options.channels, options.scale
        self.identity_first = options.identity == "first"
        self.scale = s
        self.first = ConvNorm(C, C, 1, 1, options.padding)
        self.res2 = nn.ModuleList(
            ConvNorm(C // s, C // s, 3, dilation, options.padding) for _ in range(s - 1)
        )
        self.second = ConvNorm(C, C, 1, 1, options.padding)
        self.se = SqueezeExcitation(C, options.se)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """[B, C, T] to [B, C, T]."""
        chunks = list(self.first(x).chunk(self.scale, dim=1))
        same = chunks.pop(0) if self.identity_first else chunks.pop()
        done: list[torch.Tensor] = []
        for convolve, chunk in zip(self.res2, chunks, strict=True):
            done.append(convolve(chunk + done[-1] if done else chunk))
        joined = torch.cat([same, *done] if self.identity_first else [*done, same], dim=1)
        out: torch.Tensor = x + self.se(self.second(joined), mask)
        return out


class AttentivePooling(nn.Module):
    """Channel-dependent attentive statistics: [B, M, T] to [B, 2 M] (mean, then deviation)."""

    def __init__(self, options: EcapaOptions) -> None:
        super().__init__()
        M, A = options.mfa, options.attention
        self.options = options
        self.inner = nn.Conv1d(3 * M if options.global_context else M, A, 1)
        self.bn = nn.BatchNorm1d(A) if options.attention_norm else None
        self.out = nn.Conv1d(A, M, 1)

    def weights(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention over time [B, M, T], each row summing to one."""
        seen = x
        if self.options.global_context:
            mean, std = _context(x, mask, self.options.context_std)
            seen = torch.cat([x, mean.expand_as(x), std.expand_as(x)], dim=1)
        inner = self.inner(seen)
        if self.bn is not None:
            inner = self.bn(torch.relu(inner))
        score = self.out(torch.tanh(inner))
        if mask is not None:
            score = score.masked_fill(~mask, float("-inf"))
        return torch.softmax(_wide(score), dim=2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """[B, M, T] to [B, 2 M]."""
        weight, wide = self.weights(x, mask), _wide(x)
        mean = (weight * wide).sum(dim=2)
        if self.options.pooled_std == "centred":
            variance = (weight * (wide - mean.unsqueeze(2)).square()).sum(dim=2)
            floor = 1e-12
        else:
            variance = (weight * wide.square()).sum(dim=2) - mean.square()
            floor = 1e-4 if self.options.pooled_std == "moments-1e-4" else 1e-7
        return torch.cat([mean, variance.clamp_min(floor).sqrt()], dim=1).to(x.dtype)


class Ecapa(nn.Module):
    """Features to speaker embeddings; every layer output can be had.

    Args:
        options: shape and variants.
    """

    def __init__(self, options: EcapaOptions) -> None:
        super().__init__()
        self.options = options
        C, M = options.channels, options.mfa
        self.stem = ConvNorm(options.inputs, C, 5, 1, options.padding)
        self.blocks = nn.ModuleList(Block(options, dilation) for dilation in (2, 3, 4))
        self.mfa = nn.Conv1d(3 * C, M, 1)
        self.mfa_bn = nn.BatchNorm1d(M) if options.mfa_norm else None
        self.attention = AttentivePooling(options)
        self.pooled_bn = nn.BatchNorm1d(2 * M)
        self.embedding = nn.Linear(2 * M, options.embed)
        self.embedding_bn = nn.BatchNorm1d(options.embed) if options.embedding_norm else None

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings [B, D] of features [B, T, inputs].

        Args:
            features: frames of B recordings.
            lengths: valid frames of each [B]; ``None`` where all are valid. As in SpeechBrain
                they mask squeeze-excitation and pooling, not the convolutions: near the end of
                a padded recording the numbers differ from those it has alone.
        """
        return self.stack(features, "embedding", lengths)["embedding"]

    def stack(
        self, features: torch.Tensor, last: str = "embedding", lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """All layer outputs up to ``last``, by the names in :data:`DEPTH`.

        Args:
            features: [B, T, inputs].
            last: name of the deepest output wanted; nothing above it runs.
            lengths: see :meth:`forward`.

        Returns:
            frame layers [B, T, D]; ``pool`` [B, 2 M] and ``embedding`` [B, D]. ``mfa.linear``
            is the aggregation before its ReLU.
        """
        depth = DEPTH.index(last)
        x = features.transpose(1, 2)
        mask = None
        if lengths is not None:
            mask = (torch.arange(x.shape[2], device=x.device) < lengths[:, None]).unsqueeze(1)
        out = {"conv": self.stem(x)}
        summed = before = out["conv"]
        for number, block in enumerate(self.blocks, start=1):
            if depth < number:
                break
            before = block(summed if self.options.summed else before, mask)
            summed = summed + before
            out[f"block{number}"] = before
        if depth >= DEPTH.index("mfa.linear"):
            joined = torch.cat([out["block1"], out["block2"], out["block3"]], dim=1)
            out["mfa.linear"] = self.mfa(joined)
        if depth >= DEPTH.index("mfa"):
            mfa = torch.relu(out["mfa.linear"])
            out["mfa"] = mfa if self.mfa_bn is None else self.mfa_bn(mfa)
        frames = {name: value.transpose(1, 2) for name, value in out.items()}
        if depth >= DEPTH.index("pool"):
            frames["pool"] = self.attention(out["mfa"], mask)
        if depth >= DEPTH.index("embedding"):
            embedding = self.embedding(self.pooled_bn(frames["pool"]))
            norm = self.embedding_bn
            frames["embedding"] = embedding if norm is None else norm(embedding)
        return frames


def minimum_frames(options: EcapaOptions) -> int:
    """Fewest frames the network accepts and gives finite numbers for.

    Mirrored padding of the widest convolution (4 frames a side) needs 5; an unbiased variance
    needs 2.
    """
    if options.padding == "reflect":
        return 5
    unbiased = options.global_context and options.context_std != "population"
    return 2 if unbiased else 1


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32: sums over time and floors of 1e-12 do not survive half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _mean(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over valid frames, [B, C, T] to [B, C, 1]."""
    if mask is None:
        return _wide(x).mean(dim=2, keepdim=True).to(x.dtype)
    wide = _wide(x)
    return ((wide * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True)).to(x.dtype)


def _context(
    x: torch.Tensor, mask: torch.Tensor | None, kind: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation over valid frames, each [B, M, 1]."""
    wide = _wide(x)
    if mask is None:
        count: torch.Tensor | int = x.shape[2]
        mean = wide.mean(dim=2, keepdim=True)
        total = (wide - mean).square().sum(dim=2, keepdim=True)
    else:
        count = mask.sum(dim=2, keepdim=True)
        mean = (wide * mask).sum(dim=2, keepdim=True) / count
        total = ((wide - mean).square() * mask).sum(dim=2, keepdim=True)
    if kind == "population":
        std = (total / count).clamp_min(1e-12).sqrt()
    elif kind == "unbiased-clamped":
        std = (total / (count - 1)).clamp_min(1e-4).sqrt()
    else:
        std = (total / (count - 1) + 1e-7).sqrt()
    return mean.to(x.dtype), std.to(x.dtype)
