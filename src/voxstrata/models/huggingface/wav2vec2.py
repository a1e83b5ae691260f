"""wav2vec 2.0 and its many likes: convolutions on the waveform, a positional convolution, blocks.

Covers wav2vec 2.0, XLS-R, HuBERT, data2vec-audio, UniSpeech and UniSpeech-SAT; WavLM and SEW
differ in one place each and have files of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.models.huggingface.grid import Track, conv_tracks
from voxstrata.models.huggingface.shape import (
    Piece,
    Shape,
    State,
    additive,
    blank,
    first,
    pad,
    share_calls,
)
from voxstrata.models.huggingface.sink import Sink, Tap, Wanted
from voxstrata.types import SAMPLE_RATE

CONV_SAMPLES = 60 * SAMPLE_RATE
"""Most samples in one call of the convolutions: their first output is 410 times the audio."""

STRETCH_SAMPLES = SAMPLE_RATE
"""Samples that a CPU takes through the convolutions at once."""


class Wav2Vec2Shape(Shape):
    """Convolutions (GroupNorm over time in the first, or LayerNorm in each), projection,
    positional convolution, post-norm or pre-norm ("stable layer norm") blocks."""

    @property
    def pre_norm(self) -> bool:
        """``do_stable_layer_norm``; data2vec-audio has post-norm blocks only."""
        return bool(getattr(self.config, "do_stable_layer_norm", False)) and (
            self.config.model_type != "data2vec-audio"
        )

    @property
    def group_norm(self) -> bool:
        """Whether the first convolution normalises over time, so that padding would change it."""
        norm = getattr(self.config, "feat_extract_norm", "layer")
        return norm == "group" and self.config.model_type != "data2vec-audio"

    @cached_property
    def conv_tracks(self) -> list[Track]:
        """Frames of ``conv1..convK``."""
        tracks = conv_tracks(self.config.conv_kernel, self.config.conv_stride)
        if self.group_norm and tracks:
            # GroupNorm needs two frames to normalise over.
            tracks[0] = replace(tracks[0], least=tracks[0].first + tracks[0].step)
        return tracks

    @property
    def block_track(self) -> Track:
        """The last convolution's frames."""
        return self.conv_tracks[-1]

    def local_layers(self) -> list[tuple[str, int, Track]]:
        """``conv1..convK``, each after its norm and GELU."""
        return [
            (f"conv{i}", int(width), track)
            for i, (width, track) in enumerate(
                zip(self.config.conv_dim, self.conv_tracks, strict=True), start=1
            )
        ]

    def tap_widths(self) -> dict[str, int]:
        """FFN activation, FFN output, attention output, the latter two before the residual sum."""
        inner = int(self.config.intermediate_size)
        return {"attn.out": self.width, "ffn.inner": inner, "ffn.out": self.width}

    @property
    def blocks(self) -> nn.ModuleList:
        """``encoder.layers``."""
        found: nn.ModuleList = self.module.encoder.layers
        return found

    @property
    def last_norm(self) -> nn.Module | None:
        """``encoder.layer_norm``, which in post-norm models stands before block 1 instead."""
        found: nn.Module = self.module.encoder.layer_norm
        return found if self.pre_norm else None

    def taps(self, index: int) -> dict[str, Tap]:
        """Places inside block ``index``."""
        block = self.inside(index)
        return {
            "attn.out": Tap(block.attention, "out"),
            "ffn.inner": Tap(block.feed_forward.output_dense, "in"),
            "ffn.out": Tap(block.feed_forward, "out"),
        }

    def local(
        self, waves: Sequence[Tensor], wanted: Wanted, sink: Sink, *, padded: bool
    ) -> list[Piece]:
        """Convolutions, layer by layer, never padded under a GroupNorm over time."""
        convs = list(self.module.feature_extractor.conv_layers)
        climb = wanted.top >= 0
        convs = convs if climb else convs[: wanted.convs]
        lengths = [wave.shape[0] for wave in waves]
        together = padded and not self.group_norm
        found: dict[int, Piece] = {}
        for rows in share_calls(lengths, padded=together, limit=CONV_SAMPLES):
            hidden, _, _ = pad([self.scale(waves[row]) for row in rows])
            hidden = hidden[:, None].to(self.dtype)
            given = [f"conv{number}" in wanted for number in range(1, len(convs) + 1)]
            outputs = self._convolved(convs, hidden, given)
            counts: list[int] = []
            for number, output in outputs.items():
                counts = [self.conv_tracks[number - 1].frames(lengths[row]) for row in rows]
                sink.put(f"conv{number}", output.transpose(1, 2), counts, rows)
            if climb:
                last = outputs[len(convs)].transpose(1, 2)
                if self.options.layer0 == "cnn":
                    sink.put("0", last, counts, rows)
                for index, (row, count) in enumerate(zip(rows, counts, strict=True)):
                    found[row] = Piece(row, last[index, :count], count)
        return [found[row] for row in sorted(found)]

    def _convolved(
        self, convs: Sequence[nn.Module], hidden: Tensor, given: Sequence[bool]
    ) -> dict[int, Tensor]:
        """Run the first convolutions, a stretch of frames at a time where none normalises over it.

        Without padding each output frame reads a fixed span of its input, so stretches that
        overlap by the receptive field give the very same numbers, in the processor's cache and
        with memory that does not grow with the recording. Stretches are the same whatever is asked
        for: other sizes of a product may change its last bit.

        Args:
            convs: those to run.
            hidden: waveforms [B, 1, S].
            given: which are asked for; outputs of the others are kept no longer than needed.

        Returns:
            by number, outputs [B, D, T] of those that are asked for, and of the last one.
        """
        found: dict[int, Tensor] = {}
        done = 1 if self.group_norm else 0
        for number, conv in enumerate(convs[:done], start=1):
            hidden = conv(hidden)
            if given[number - 1] or number == len(convs):
                found[number] = hidden
        if len(convs) <= done:
            return found
        tracks = conv_tracks(self.config.conv_kernel[done:], self.config.conv_stride[done:])
        top = tracks[-1]
        # A kernel shorter than its stride leaves gaps that only frames below it have read.
        beyond = max(track.first - track.step for track in tracks)
        total = max(1, top.frames(hidden.shape[-1]))
        samples = STRETCH_SAMPLES if hidden.device.type == "cpu" else CONV_SAMPLES
        size = max(1, samples // (self.conv_tracks[-1].grid.stride * hidden.shape[0]))
        parts: dict[int, list[Tensor]] = {}
        for start in range(0, total, size):
            stop = min(start + size, total)
            # The last stretch takes in the frames at the end that no frame above them reads.
            high = hidden.shape[-1] if stop == total else stop * top.step + beyond
            part = hidden[..., start * top.step : high]
            for number, (conv, track) in enumerate(
                zip(convs[done:], tracks, strict=False), start=done + 1
            ):
                part = conv(part)
                if given[number - 1] or number == len(convs):
                    own = (stop - start) * (top.step // track.step)
                    parts.setdefault(number, []).append(part if stop == total else part[..., :own])
        joined = {n: one[0] if len(one) == 1 else torch.cat(one, -1) for n, one in parts.items()}
        return found | joined

    def embed(self, pieces: list[Piece]) -> State:
        """Projection, positional convolution, and in post-norm models a LayerNorm."""
        stacked, lengths, mask = pad([piece.features for piece in pieces])
        hidden = blank(self.project(stacked), mask)
        encoder = self.module.encoder
        hidden = hidden + positions(encoder.pos_conv_embed, hidden, mask)
        if not self.pre_norm:
            hidden = encoder.layer_norm(hidden)
        rows = [piece.row for piece in pieces]
        return State(hidden, lengths, rows, mask, additive(mask, hidden.dtype))

    def project(self, stacked: Tensor) -> Tensor:
        """LayerNorm and projection to the blocks' width."""
        return first(self.module.feature_projection(stacked))


def positions(module: Any, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The convolutional position embedding [B, T, D] of ``hidden``, whose padding is zero.

    Padding must be zero before every convolution: data2vec-audio stacks five, and some HuBERT
    models have a BatchNorm first; both fill the padding with other numbers.
    """
    stacked = getattr(module, "layers", None)
    if stacked is not None:
        for layer in stacked:
            hidden = blank(layer(hidden.transpose(1, 2)).transpose(1, 2), mask)
        return hidden
    norm = getattr(module, "batch_norm", None)
    if norm is None:
        found: Tensor = module(hidden)
        return found
    hidden = blank(norm(hidden.transpose(1, 2)).transpose(1, 2), mask)
    channels = module.padding(module.conv(hidden.transpose(1, 2)))
    activated: Tensor = module.activation(channels).transpose(1, 2)
    return activated
