"""wav2vec2-BERT: Conformer blocks on stacked filter banks (Seamless Communication 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from voxstrata.models.huggingface import spectra
from voxstrata.models.huggingface.grid import Track
from voxstrata.models.huggingface.shape import (
    Piece,
    Shape,
    State,
    additive,
    blank,
    first,
    pad,
)
from voxstrata.models.huggingface.sink import Sink, Tap, Wanted
from voxstrata.types import FrameGrid


class Wav2Vec2BertShape(Shape):
    """80 log-mel bins every 10 ms, normalised a bin over the recording, two frames stacked.

    An odd last filter-bank frame is dropped: transformers pads it to a pair and masks the pair.
    """

    normalises = "mel bins"
    stack = 2

    @property
    def pre_norm(self) -> bool:
        """Each block ends with its own LayerNorm; nothing follows block N."""
        return False

    @property
    def block_track(self) -> Track:
        """Stacked filter-bank frames."""
        receptive = spectra.FBANK_LENGTH + (self.stack - 1) * spectra.FBANK_SHIFT
        stride = spectra.FBANK_SHIFT * self.stack
        return Track(FrameGrid(stride, receptive, 0), receptive, stride)

    def local_layers(self) -> list[tuple[str, int, Track]]:
        """None: the front end has no weights."""
        return []

    def tap_widths(self) -> dict[str, int]:
        """Two half-step FFNs around attention and convolution; outputs before the residual sum
        (and before its factor 0.5 for the FFNs)."""
        inner = int(self.config.intermediate_size)
        return {
            "ffn1.inner": inner,
            "ffn1.out": self.width,
            "attn.out": self.width,
            "conv.out": self.width,
            "ffn2.inner": inner,
            "ffn2.out": self.width,
        }

    @property
    def blocks(self) -> nn.ModuleList:
        """``encoder.layers``."""
        found: nn.ModuleList = self.module.encoder.layers
        return found

    @property
    def last_norm(self) -> nn.Module | None:
        """None."""
        return None

    def taps(self, index: int) -> dict[str, Tap]:
        """Places inside block ``index``."""
        block = self.inside(index)
        return {
            "ffn1.inner": Tap(block.ffn1.output_dense, "in"),
            "ffn1.out": Tap(block.ffn1, "out"),
            "attn.out": Tap(block.self_attn, "out"),
            "conv.out": Tap(block.conv_module, "out"),
            "ffn2.inner": Tap(block.ffn2.output_dense, "in"),
            "ffn2.out": Tap(block.ffn2, "out"),
        }

    def local(
        self, waves: Sequence[Tensor], wanted: Wanted, sink: Sink, *, padded: bool
    ) -> list[Piece]:
        """Filter banks [T, 160] of each recording."""
        if wanted.top < 0:
            return []
        bins = int(self.config.feature_projection_input_dim) // self.stack
        pieces = []
        for row, wave in enumerate(waves):
            banks = spectra.stacked_fbank(wave, bins, self.stack, normalize=self.normalize)
            pieces.append(Piece(row, banks, banks.shape[0]))
        return pieces

    def embed(self, pieces: list[Piece]) -> State:
        """Projection; positions enter inside the blocks."""
        stacked, lengths, mask = pad([piece.features.to(self.dtype) for piece in pieces])
        hidden = blank(first(self.module.feature_projection(stacked)), mask)
        embedder = getattr(self.module.encoder, "embed_positions", None)
        extra = {"positions": None if embedder is None else embedder(hidden)}
        rows = [piece.row for piece in pieces]
        return State(hidden, lengths, rows, mask, additive(mask, hidden.dtype), extra)

    def block(self, index: int, state: State) -> Tensor:
        """Output of block ``index``."""
        return first(
            self.inside(index)(
                state.hidden,
                attention_mask=state.attention,
                relative_position_embeddings=state.extra["positions"],
                conv_attention_mask=state.mask,
            )
        )
