"""What a transformers encoder must tell and do to become a stack of layers; one file a shape.

A shape is made from a configuration alone (enough for layer tables and frame counts) and run
after :meth:`Shape.attach` has given it the module.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from voxstrata.errors import ConfigError
from voxstrata.models.huggingface.grid import Track
from voxstrata.models.huggingface.options import HuggingFaceOptions
from voxstrata.models.huggingface.sink import Sink, Tap, Wanted, tapping
from voxstrata.models.huggingface.sizes import Sizes, sizes_of
from voxstrata.types import LayerInfo


@dataclass(frozen=True)
class Piece:
    """What the local encoder made of a recording, or of one window of it.

    Attributes:
        row: the recording.
        features: [T, C].
        frames: real frames among T.
    """

    row: int
    features: Tensor
    frames: int


@dataclass
class State:
    """A batch on its way through the blocks.

    Attributes:
        hidden: [B, T, D].
        lengths: real frames of each row.
        rows: the recording each row belongs to.
        mask: [B, T], true for real frames; ``None`` where nothing is padded.
        attention: additive attention mask [B, 1, T, T]; ``None`` where nothing is padded.
        extra: what a shape's blocks share (a position bias, say).
    """

    hidden: Tensor
    lengths: list[int]
    rows: list[int]
    mask: Tensor | None = None
    attention: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Shape(ABC):
    """One way in which transformers lays out a speech encoder.

    Args:
        config: transformers configuration object.
        options: what the user chose.
    """

    normalises: ClassVar[str] = "waveform"  # what the option ``normalize`` scales
    max_rows: ClassVar[int | None] = None  # most rows worth running at once
    layers_key: ClassVar[str] = "num_hidden_layers"

    def __init__(self, config: Any, options: HuggingFaceOptions) -> None:
        self.config = config
        self.options = options
        self.normalize = False
        self.module: Any = None

    # Geometry, from the configuration alone.

    @property
    def depth(self) -> int:
        """Number of blocks N."""
        return int(getattr(self.config, self.layers_key))

    @property
    def width(self) -> int:
        """Width D of the blocks."""
        return int(self.config.hidden_size)

    @property
    @abstractmethod
    def pre_norm(self) -> bool:
        """Whether the blocks normalise their inputs, so that block N's raw output is followed by
        one more LayerNorm."""

    @property
    @abstractmethod
    def block_track(self) -> Track:
        """Frames of layers ``0..N``."""

    @abstractmethod
    def local_layers(self) -> list[tuple[str, int, Track]]:
        """Name, width and frames of each local encoder layer, in order."""

    @abstractmethod
    def tap_widths(self) -> dict[str, int]:
        """Names (after ``block.i.``) and widths of the places inside each block."""

    @property
    def sizes(self) -> Sizes | None:
        """What is left in each block of a pruned encoder."""
        return sizes_of(self.config, self.depth)

    def taps_of(self, index: int) -> dict[str, int]:
        """:meth:`tap_widths` of block ``index`` (1..N), which may have been pruned."""
        widths, sizes = self.tap_widths(), self.sizes
        for part, numbers in (sizes.feed_forward if sizes else {}).items():
            widths[f"{part}.inner"] = numbers[index - 1]
        return widths

    def top_layers(self) -> list[tuple[str, int, Track]]:
        """Layers on top of block N; none as a rule."""
        return []

    def tracks(self) -> dict[str, tuple[int, Track, bool]]:
        """Width, frames and whether shown by default of every layer, in order of depth, taps last.

        Raises:
            ConfigError: ``layer0=cnn`` for a model without convolutions.
        """
        local = self.local_layers()
        table: dict[str, tuple[int, Track, bool]] = {n: (w, t, False) for n, w, t in local}
        if self.options.layer0 == "cnn":
            if not local:
                raise ConfigError(
                    "layer0=cnn needs a convolutional encoder",
                    got=f"a model of type {self.config.model_type}, which has none",
                    fix="leave layer0 at 'encoder_in'",
                )
            _, width, track = local[-1]
            table["0"] = (width, track, True)
        else:
            table["0"] = (self.width, self.block_track, True)
        for index in range(1, self.depth + 1):
            table[str(index)] = (self.width, self.block_track, True)
        for name, width, track in self.top_layers():
            table[name] = (width, track, False)
        for index in range(1, self.depth + 1):
            for name, width in self.taps_of(index).items():
                table[f"block.{index}.{name}"] = (width, self.block_track, False)
        return table

    def layer_infos(self) -> tuple[LayerInfo, ...]:
        """The layer table."""
        return tuple(
            LayerInfo(name, width, "frame", track.grid, default)
            for name, (width, track, default) in self.tracks().items()
        )

    def rows_of(self, samples: int) -> int:
        """Rows that a recording of ``samples`` samples takes in a batch."""
        return 1

    # Running, once a module is there.

    def attach(self, module: nn.Module, *, normalize: bool) -> None:
        """Take the module whose blocks will run, in eval mode, and the input normalisation."""
        self.module, self.normalize = module, normalize
        signature = inspect.signature(type(self.blocks[0]).forward) if len(self.blocks) else None
        # transformers 4 passes a head mask by position.
        self._head_mask = signature is not None and "layer_head_mask" in signature.parameters

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The Transformer (or Conformer) blocks."""

    def inside(self, index: int) -> Any:
        """Block ``index`` (1..N), whose parts differ from model to model."""
        return self.blocks[index - 1]

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module | None:
        """The LayerNorm after block N of a pre-norm model."""

    @abstractmethod
    def taps(self, index: int) -> dict[str, Tap]:
        """The places of :meth:`tap_widths` in block ``index`` (1..N)."""

    @abstractmethod
    def local(
        self, waves: Sequence[Tensor], wanted: Wanted, sink: Sink, *, padded: bool
    ) -> list[Piece]:
        """Run the local encoder.

        Args:
            waves: B recordings [S], on the model's device, float32.
            wanted: how far to run.
            sink: takes the local layers.
            padded: whether recordings of different lengths may share a call.

        Returns:
            what :meth:`embed` takes, in order of recordings and time; empty where no block (nor
            layer 0) is wanted.
        """

    @abstractmethod
    def embed(self, pieces: list[Piece]) -> State:
        """What enters block 1."""

    def block(self, index: int, state: State) -> Tensor:
        """Output [B, T, D] of block ``index`` (1..N)."""
        extra = {"layer_head_mask": None} if self._head_mask else {}
        return first(self.inside(index)(state.hidden, attention_mask=state.attention, **extra))

    def top(self, state: State, sink: Sink) -> None:
        """Give the layers of :meth:`top_layers` to ``sink``."""
        return

    def run(
        self, waves: Sequence[Tensor], wanted: Wanted, *, padded: bool
    ) -> list[dict[str, Tensor]]:
        """Wanted layers of each recording, name to [T, D]; blocks above the last are not run."""
        sink = Sink(wanted, len(waves))
        pieces = self.local(waves, wanted, sink, padded=padded)
        size = self.max_rows or len(pieces)
        if wanted.top > 0 or (wanted.top == 0 and self.options.layer0 != "cnn"):
            for start in range(0, len(pieces), size):
                self._climb(self.embed(pieces[start : start + size]), wanted, sink)
        return sink.results()

    def _climb(self, state: State, wanted: Wanted, sink: Sink) -> None:
        if self.options.layer0 != "cnn":
            sink.put("0", state.hidden, state.lengths, state.rows)
        for index in range(1, wanted.top + 1):
            places = {f"block.{index}.{name}": tap for name, tap in self.taps(index).items()}
            with tapping(places, sink, state.lengths, state.rows):
                state.hidden = self.block(index, state)
            if str(index) in wanted:
                out = state.hidden
                if index == self.depth and self.options.final_norm and self.last_norm is not None:
                    out = self.last_norm(out)
                sink.put(str(index), out, state.lengths, state.rows)
        self.top(state, sink)

    def cut(self, index: int) -> None:
        """Drop the blocks above ``index`` from the attached module."""
        del self.blocks[index:]

    # Shared pieces.

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        found: torch.dtype = next(self.module.parameters()).dtype
        return found

    def scale(self, wave: Tensor) -> Tensor:
        """Zero mean and unit variance over one recording [S], if the model wants it.

        ``(x - mean) / sqrt(var + 1e-7)`` with the population variance, as transformers'
        ``Wav2Vec2FeatureExtractor`` does.
        """
        if not self.normalize:
            return wave
        wide = wave.double()
        return ((wide - wide.mean()) / (wide.var(correction=0) + 1e-7).sqrt()).to(wave.dtype)


def first(output: Any) -> Tensor:
    """The tensor of a module's output, which is a tuple in some versions of transformers."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def pad(features: Sequence[Tensor]) -> tuple[Tensor, list[int], Tensor | None]:
    """Stack [T, C] tensors into [B, T, C]: with lengths, and a mask if lengths differ."""
    lengths = [f.shape[0] for f in features]
    stacked = nn.utils.rnn.pad_sequence(list(features), batch_first=True)
    return stacked, lengths, length_mask(lengths, stacked.shape[1], stacked.device)


def length_mask(lengths: Sequence[int], longest: int, device: torch.device) -> Tensor | None:
    """[B, T] mask of real frames; ``None`` where every row is full."""
    if all(length == longest for length in lengths):
        return None
    counts = torch.tensor(list(lengths), device=device)
    return torch.arange(longest, device=device)[None] < counts[:, None]


def additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """[B, 1, T, T] to be added to attention scores: 0 for real keys, the lowest number else."""
    if mask is None:
        return None
    batch, longest = mask.shape
    bias = torch.zeros(batch, 1, 1, longest, dtype=dtype, device=mask.device)
    bias.masked_fill_(~mask[:, None, None], torch.finfo(dtype).min)
    return bias.expand(batch, 1, longest, longest)


def blank(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """[B, T, D] with zeros in padded frames."""
    return hidden if mask is None else hidden.masked_fill(~mask[..., None], 0)


def share_calls(lengths: Sequence[int], *, padded: bool, limit: int) -> Iterator[list[int]]:
    """Indices of recordings that go through the convolutions together.

    Equal lengths always may; different ones only if ``padded``. A call holds at most ``limit``
    samples, padding included, and at least one recording.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    group: list[int] = []
    for index in order:
        grown = (len(group) + 1) * lengths[index]
        alike = padded or not group or lengths[index] == lengths[group[-1]]
        if group and (not alike or grown > limit):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
