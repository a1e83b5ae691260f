"""Whisper's encoder: two convolutions on a log-mel spectrogram, always 30 s at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxstrata.models.huggingface import spectra
from voxstrata.models.huggingface.grid import Track
from voxstrata.models.huggingface.shape import Piece, Shape, State
from voxstrata.models.huggingface.sink import Sink, Tap, Wanted
from voxstrata.types import FrameGrid

_SHIFT = spectra.WHISPER_SHIFT
_HALF = spectra.WHISPER_LENGTH // 2


class WhisperShape(Shape):
    """The recording is cut into windows of 30 s (``max_source_positions`` frames), the last one
    filled with silence, which the model attends to as it did in training. Frames whose centre
    lies in the recording are given, windows one after the other."""

    max_rows = 16
    layers_key = "encoder_layers"

    @property
    def width(self) -> int:
        """``d_model``."""
        return int(self.config.d_model)

    @property
    def pre_norm(self) -> bool:
        """Always."""
        return True

    @cached_property
    def window(self) -> int:
        """Samples in a window."""
        return int(self.config.max_source_positions) * 2 * _SHIFT

    def local_layers(self) -> list[tuple[str, int, Track]]:
        """``conv1`` every 10 ms, ``conv2`` every 20 ms, each after its GELU.

        Mel frame m sees ``160 m`` plus and minus 200 samples; a convolution of three adds one of
        its input frames on either side, so ``conv1`` sees 360 and ``conv2`` 520 either way.
        """
        one, two = _HALF + _SHIFT, _HALF + 2 * _SHIFT
        return [
            ("conv1", self.width, Track(FrameGrid(_SHIFT, 2 * one, -one), 1, _SHIFT)),
            ("conv2", self.width, Track(FrameGrid(2 * _SHIFT, 2 * two, -two), 1, 2 * _SHIFT)),
        ]

    @property
    def block_track(self) -> Track:
        """As ``conv2``."""
        return self.local_layers()[1][2]

    def tap_widths(self) -> dict[str, int]:
        """FFN activation, FFN output, attention output, the latter two before the residual sum."""
        inner = int(self.config.encoder_ffn_dim)
        return {"attn.out": self.width, "ffn.inner": inner, "ffn.out": self.width}

    def rows_of(self, samples: int) -> int:
        """Windows in the recording."""
        return -(-samples // self.window)

    @property
    def blocks(self) -> nn.ModuleList:
        """``layers`` of the encoder."""
        found: nn.ModuleList = self.module.layers
        return found

    @property
    def last_norm(self) -> nn.Module | None:
        """``layer_norm``."""
        found: nn.Module = self.module.layer_norm
        return found

    def taps(self, index: int) -> dict[str, Tap]:
        """Places inside block ``index``."""
        block = self.inside(index)
        return {
            "attn.out": Tap(block.self_attn, "out"),
            "ffn.inner": Tap(block.fc2, "in"),
            "ffn.out": Tap(block.fc2, "out"),
        }

    def local(
        self, waves: Sequence[Tensor], wanted: Wanted, sink: Sink, *, padded: bool
    ) -> list[Piece]:
        """Spectrogram and convolutions of each window."""
        pieces: list[Piece] = []
        tracks = [track for _, _, track in self.local_layers()]
        convs = [self.module.conv1, self.module.conv2]
        climb = wanted.top >= 0
        for row, wave in enumerate(waves):
            for part in torch.split(self.scale(wave), self.window):
                mel = spectra.whisper_mel(part, int(self.config.num_mel_bins), self.window)
                hidden = mel[None].to(self.dtype)
                counts = [track.frames(part.shape[0]) for track in tracks]
                for number, conv in enumerate(convs if climb else convs[: wanted.convs], start=1):
                    hidden = functional.gelu(conv(hidden))
                    out = hidden.transpose(1, 2)
                    sink.put(f"conv{number}", out, [counts[number - 1]], [row])
                if climb:
                    if self.options.layer0 == "cnn":
                        sink.put("0", out, [counts[1]], [row])
                    pieces.append(Piece(row, out[0], counts[1]))
        return pieces

    def embed(self, pieces: list[Piece]) -> State:
        """Add the position embedding; nothing is masked, windows are all of one length."""
        stacked = torch.stack([piece.features for piece in pieces])
        hidden = stacked + self.module.embed_positions.weight
        lengths = [piece.frames for piece in pieces]
        return State(hidden, lengths, [piece.row for piece in pieces])
