"""The vocabulary every room shares.

Shape legend, used in all docstrings: ``B`` utterances of a batch, ``S`` samples, ``T`` frames,
``L`` layers, ``D`` width of a layer, ``F`` inner width of a feed-forward block, ``N`` rows
(units), ``K`` clusters. Times in seconds end in ``_s``, rates in ``_hz``; audio inside voxstrata
is always 16 kHz mono float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Sampling rate of all audio inside voxstrata, Hz."""

LayerKind = Literal["frame", "utterance"]


@dataclass(frozen=True)
class FrameGrid:
    """Which samples a frame stands for: frame ``i`` sees ``[start + i*stride, ... + receptive)``.

    Attributes:
        stride: samples between neighbouring frames (320 is 20 ms).
        receptive: samples that the local encoder reads for one frame (400 for wav2vec 2.0).
        start: first sample of frame 0's receptive field; negative where the encoder pads
            or centres its frames.
    """

    stride: int
    receptive: int
    start: int = 0

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        return SAMPLE_RATE / self.stride

    def centre2(self, index: int) -> int:
        """Twice the centre of frame ``index`` in samples (twice, so that it is an integer)."""
        return 2 * (self.start + index * self.stride) + self.receptive

    def centre_s(self, index: int) -> float:
        """Centre of frame ``index`` in seconds."""
        return self.centre2(index) / (2 * SAMPLE_RATE)


@dataclass(frozen=True)
class LayerInfo:
    """One named layer of a model.

    Attributes:
        name: ``"0"`` (what enters the first Transformer block), ``"1"``.., ``"conv1"``..,
            ``"block1"``, ``"embedding"``, or a tap such as ``"block.3.ffn.inner"``.
        width: number of dimensions D.
        kind: ``"frame"`` (output [T, D]) or ``"utterance"`` (output [1, D]).
        grid: frame-to-time map; ``None`` for utterance layers.
        default: whether the layer belongs to the set used when the user names none.
    """

    name: str
    width: int
    kind: LayerKind = "frame"
    grid: FrameGrid | None = None
    default: bool = True


@dataclass(frozen=True)
class Segment:
    """A labelled span of one recording.

    Attributes:
        start_s: start, seconds from the beginning of the utterance.
        end_s: end, seconds.
        label: phone, word, speaker of a turn, ...
    """

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Utterance:
    """One stretch of speech with its labels, as the pass over a corpus sees it.

    Attributes:
        id: unique within its corpus.
        duration_s: length in seconds.
        tiers: labels by tier name. Scalar tiers (``speaker``, ``gender``, ``text``,
            ``keyword``, ``intent``, ...) are strings or numbers; ``slots`` is a mapping;
            interval tiers (``words``, ``phones``, ``turns``) are tuples of :class:`Segment`.
            A tier the utterance lacks is absent.
        read: returns the audio, float32 [S], 16 kHz mono; raises ``AudioError``.
    """

    id: str
    duration_s: float
    tiers: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[], NDArray[np.float32]] = field(repr=False, compare=False, default=None)  # type: ignore[assignment]

    def segments(self, tier: str) -> tuple[Segment, ...]:
        """The spans of an interval tier; empty where the utterance has none."""
        found = self.tiers.get(tier)
        return tuple(found) if found else ()
