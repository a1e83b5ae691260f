"""SEW: blocks on a sequence squeezed to half the rate (Wu et al. 2022)."""

from __future__ import annotations

from voxstrata.models.huggingface.grid import Track
from voxstrata.models.huggingface.shape import Piece, State, additive, blank, length_mask, pad
from voxstrata.models.huggingface.sink import Sink
from voxstrata.models.huggingface.wav2vec2 import Wav2Vec2Shape
from voxstrata.types import FrameGrid


class SEWShape(Wav2Vec2Shape):
    """Thirteen convolutions; a mean pool and a strided positional convolution before block 1.

    Layers ``0..N`` run at ``squeeze_factor`` times the convolutions' stride. ``upsampled`` is
    what the model gives to its heads: each frame stretched to ``squeeze_factor`` of them by a
    linear layer. transformers then adds zero frames up to the convolutions' count; they are not
    frames and are left out here.
    """

    @property
    def pre_norm(self) -> bool:
        """SEW has post-norm blocks only."""
        return False

    @property
    def squeeze(self) -> int:
        """Convolution frames in a block frame."""
        return int(self.config.squeeze_factor)

    @property
    def block_track(self) -> Track:
        """``squeeze`` convolution frames make one, and a remainder makes none."""
        conv = self.conv_tracks[-1]
        receptive = conv.grid.receptive + (self.squeeze - 1) * conv.grid.stride
        stride = conv.grid.stride * self.squeeze
        return Track(FrameGrid(stride, receptive, conv.grid.start), receptive, stride)

    def top_layers(self) -> list[tuple[str, int, Track]]:
        """``upsampled``: frame i stands for convolution frame i."""
        squeezed, conv = self.block_track, self.conv_tracks[-1]
        track = Track(conv.grid, squeezed.first, squeezed.step, repeat=self.squeeze)
        return [("upsampled", self.width, track)]

    def embed(self, pieces: list[Piece]) -> State:
        """LayerNorm, projection, pooling plus positional convolution, LayerNorm."""
        stacked, lengths, mask = pad([piece.features for piece in pieces])
        hidden = self.module.layer_norm(stacked)
        if self.module.project_features:
            hidden = self.module.feature_projection(hidden)
        hidden = blank(hidden, mask).transpose(1, 2)
        encoder = self.module.encoder
        pooled, placed = encoder.pool(hidden), encoder.pos_conv_embed(hidden)
        frames = min(pooled.shape[-1], placed.shape[-1])
        hidden = (pooled[..., :frames] + placed[..., :frames]).transpose(1, 2)
        # A row's last odd frame is averaged with padding here; alone it would be dropped.
        squeezed = [length // self.squeeze for length in lengths]
        mask = length_mask(squeezed, frames, hidden.device)
        hidden = encoder.layer_norm(hidden)
        rows = [piece.row for piece in pieces]
        return State(hidden, squeezed, rows, mask, additive(mask, hidden.dtype))

    def top(self, state: State, sink: Sink) -> None:
        """Stretch the last block's output again."""
        if "upsampled" in sink.wanted:
            lengths = [length * self.squeeze for length in state.lengths]
            sink.put("upsampled", self.module.encoder.upsample(state.hidden), lengths, state.rows)
