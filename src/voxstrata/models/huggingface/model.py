"""A transformers speech encoder as a :class:`voxstrata.models.base.SpeechModel`."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.errors import ModelError
from voxstrata.files import fingerprint
from voxstrata.models.base import Wave
from voxstrata.models.batching import check_audio
from voxstrata.models.huggingface.shape import Shape
from voxstrata.models.huggingface.sink import Wanted
from voxstrata.models.huggingface.sizes import head_width
from voxstrata.models.placement import torch_device, torch_dtype
from voxstrata.models.torch_module import refuse_widening
from voxstrata.registry import unknown_name
from voxstrata.types import SAMPLE_RATE, LayerInfo


class HuggingFaceModel:
    """See the protocol; made by :data:`voxstrata.models.huggingface.family.FAMILY`.

    Args:
        spec: the text it was named by.
        shape: the encoder, with its module attached.
        layers: the layers it offers (fewer than the shape's after a cut).
        identity: JSON-like facts that fix every number it gives; they become the fingerprint.
        details: facts for the run record.
    """

    family = "huggingface"

    def __init__(
        self,
        spec: str,
        shape: Shape,
        layers: tuple[LayerInfo, ...],
        identity: Mapping[str, Any],
        details: Mapping[str, Any],
    ) -> None:
        self.spec = spec
        self.shape = shape
        self.layers = layers
        self.device = torch.device("cpu")
        self.dtype = "float32"
        self._identity = dict(identity)
        self.details: Mapping[str, Any] = {**details, "dtype": self.dtype}
        self.fingerprint = fingerprint(self._identity)
        self.flops_per_second = estimate_flops(shape, layers)
        self._tracks = {name: track for name, (_, track, _) in shape.tracks().items()}

    def frames(self, layer: str, samples: int) -> int:
        """Number of frames T of ``layer`` for ``samples`` samples; 0 if that is too short."""
        self._check_names([layer])
        return self._tracks[layer].frames(samples)

    def encode(self, audio: Sequence[Wave], layers: Sequence[str]) -> list[dict[str, Tensor]]:
        """Layer outputs [T, D] of each recording, as if it were run alone.

        Args:
            audio: B tensors or numpy arrays [S], 16 kHz.
            layers: names of wanted layers; blocks above the highest are not run.

        Raises:
            UnknownNameError: no such layer.
            AudioError: a recording is not mono audio, or too short for a wanted layer.
        """
        self._check_names(layers)
        if not layers:
            return [{} for _ in audio]
        least = max(self._tracks[name].minimum for name in layers)
        waveforms = check_audio(audio, least, self.spec)
        wanted = Wanted(layers, self.shape.depth)
        how = self.shape.options.batching
        padded = how == "padded" or (how == "auto" and self.device.type != "cpu")
        groups = [list(range(len(audio)))] if padded else [[i] for i in range(len(audio))]
        results: list[dict[str, Tensor]] = [{} for _ in audio]
        with torch.inference_mode(), exact_products(self.device):
            for group in groups:
                waves = [waveforms[i].to(self.device, torch.float32) for i in group]
                for index, found in zip(
                    group, self.shape.run(waves, wanted, padded=padded), strict=True
                ):
                    results[index] = {name: found[name] for name in dict.fromkeys(layers)}
        return results

    def to(self, device: str, dtype: str) -> HuggingFaceModel:
        """This model on ``device`` in ``dtype``; the original stays as it is.

        Raises:
            UsageError: no such device or dtype, or rounded weights would have to be widened.
            ModelError: this machine computes the positional convolution wrongly in ``dtype``.
        """
        place, kind = torch_device(device), torch_dtype(dtype)
        if (place, dtype) == (self.device, self.dtype):
            return self
        refuse_widening(self.spec, torch_dtype(self.dtype), kind)
        moved = copy.copy(self)
        moved.shape = copy.copy(self.shape)
        module = copy.deepcopy(self.shape.module).to(device=place, dtype=kind)
        moved.shape.attach(module, normalize=self.shape.normalize)
        if kind.itemsize < 4:
            check_grouped(module, self.spec)
        moved.device, moved.dtype = place, dtype
        moved.details = {**self.details, "dtype": dtype}
        extra = {} if dtype == "float32" else {"dtype": dtype}
        moved.fingerprint = fingerprint({**self._identity, **extra})
        return moved

    def _check_names(self, names: Sequence[str]) -> None:
        known = {info.name for info in self.layers}
        for name in names:
            if name not in known:
                raise unknown_name(
                    f"layer of model {self.spec!r}", name, [info.name for info in self.layers]
                )


def check_grouped(module: nn.Module, name: str) -> None:
    """Compare grouped convolutions in low precision with float32, on noise.

    oneDNN's bfloat16 kernel is wrong for some group sizes (8 channels and an even kernel, torch
    2.13 on a CPU with AMX), without a word.

    Raises:
        ModelError: one is off by more than rounding.
    """
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if not isinstance(part, nn.Conv1d) or part.groups == 1:
            continue
        like = part.weight
        noise = torch.randn(1, part.in_channels, 2 * part.kernel_size[0], generator=generator)
        noise = noise.to(like.device, like.dtype)
        with torch.inference_mode():
            found = part(noise).float()
            exact = nn.functional.conv1d(
                noise.float(),
                like.float(),
                None if part.bias is None else part.bias.float(),
                part.stride,
                part.padding,
                part.dilation,
                part.groups,
            )
        if (found - exact).norm() > 0.05 * exact.norm():
            kind = str(like.dtype).removeprefix("torch.")
            raise ModelError(
                f"this machine computes a convolution of model {name!r} to wrong numbers in {kind}",
                got=f"relative error {float((found - exact).norm() / exact.norm()):.2f} against "
                f"float32, {part.in_channels // part.groups} channels a group",
                fix="use dtype='float32'",
            )


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Full float32 products on a GPU: TensorFloat-32 would cost three digits."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32)
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def estimate_flops(shape: Shape, layers: Sequence[LayerInfo]) -> float:
    """Floating-point operations of one second of audio, when all of ``layers`` are wanted.

    Two a weight and frame for convolutions and blocks, and ``4 T D`` a frame for attention at
    T of ten seconds (or of the window that the model always runs).
    """
    total, before = 0.0, 1
    kernels = list(getattr(shape.config, "conv_kernel", ()) or (3, 3))
    for (_, width, track), kernel in zip(shape.local_layers(), kernels, strict=False):
        total += 2.0 * before * width * kernel * track.grid.rate_hz
        before = width
    numbered = [int(info.name) for info in layers if info.name.isdigit()]
    if not numbered or not len(shape.blocks):
        return total
    rate = shape.block_track.grid.rate_hz
    # A window is run whole, however short the recording; ten seconds stand for a recording.
    span_s = getattr(shape, "window", 10 * SAMPLE_RATE) / SAMPLE_RATE
    blocks = list(shape.blocks)[: max(numbered)]
    weights = sum(p.numel() for block in blocks for p in block.parameters())
    attention = sum(_attended(shape, index) for index in range(len(blocks)))
    return total + rate * (2.0 * weights + 4.0 * span_s * rate * attention)


def _attended(shape: Shape, index: int) -> int:
    """Width of all attention heads of a block, fewer than the model's where some were pruned."""
    if shape.sizes is None or not shape.sizes.heads:
        return shape.width
    return shape.sizes.heads[index] * head_width(shape.blocks[index])
