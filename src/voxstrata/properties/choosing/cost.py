"""What using ``MODEL@LAYER`` instead of the whole model saves in time and memory."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import load_model
from voxstrata.models.spec import format_spec, parse
from voxstrata.types import SAMPLE_RATE


@dataclass(frozen=True)
class LayerCost:
    """A whole model and the same model cut after a layer.

    Attributes:
        model, cut: both specs.
        seconds, cut_seconds: median time of one run over the noise; NaN if not measured.
        flops, cut_flops: operations of one second of audio, by the models' own estimate.
        parameters, cut_parameters: parameters held in memory.
        audio_s: length of the noise.
    """

    model: str
    cut: str
    seconds: float
    cut_seconds: float
    flops: float
    cut_flops: float
    parameters: int
    cut_parameters: int
    audio_s: float

    @property
    def time_saved(self) -> float:
        """Share of the measured time that the cut saves; NaN if not measured."""
        return 1 - self.cut_seconds / self.seconds

    @property
    def flops_saved(self) -> float:
        """Share of the operations that the cut saves."""
        return 1 - self.cut_flops / self.flops if self.flops else 0.0

    @property
    def memory_saved(self) -> float:
        """Share of the parameters, thus of their memory, that the cut saves."""
        return 1 - self.cut_parameters / self.parameters if self.parameters else 0.0


def cut_spec(model: str, layer: str) -> str:
    """The text that names ``model`` cut after ``layer``, revision and options kept.

    Raises:
        UsageError: the layer is no place to cut (a tap inside a block, say).

    Example:
        >>> cut_spec("random:hubert-base,seed=1", "4")
        'random:hubert-base@4,seed=1'
    """
    spec = parse(model)
    text = format_spec(spec.base, spec.random, spec.revision, layer, spec.options)
    if parse(text).cut != layer:
        raise UsageError(
            f"{model!r} cannot be cut after the layer {layer!r}",
            got=layer,
            expected="a numbered layer, convN, or a block of a speaker model",
        )
    return text


def layer_cost(
    model: str,
    layer: str,
    *,
    audio_s: float = 4.0,
    repeats: int = 3,
    seed: int = 0,
    measure: bool = True,
    device: str = "cpu",
) -> LayerCost:
    """Load both models, count parameters and operations, and time both on noise.

    Runs of both alternate, after one warm-up each, so that a busy machine slows both alike; the
    median is kept. The whole model is asked for its last layer, the cut one for ``layer``.

    Args:
        model: its spec.
        layer: where to cut.
        audio_s: seconds of noise.
        repeats: timed runs of each.
        seed: of the noise.
        measure: ``False`` to time nothing.
        device: where both run.

    Raises:
        UsageError: the layer is no place to cut.
        ModelError, UnknownNameError: the model cannot be loaded or has no such layer.
    """
    text = cut_spec(model, layer)
    whole, part = load_model(model, device=device), load_model(text, device=device)
    times = [float("nan"), float("nan")]
    if measure:
        noise = np.random.default_rng([seed, 9]).normal(
            scale=0.1, size=round(audio_s * SAMPLE_RATE)
        )
        audio = [torch.as_tensor(noise, dtype=torch.float32)]
        pair = ((whole, _last(whole)), (part, layer))
        runs: tuple[list[float], list[float]] = ([], [])
        for repeat in range(repeats + 1):
            for kept, (one, name) in zip(runs, pair, strict=True):
                took = _timed(one, audio, name, device)
                if repeat:
                    kept.append(took)
        times = [statistics.median(kept) for kept in runs]
    return LayerCost(
        model,
        text,
        times[0],
        times[1],
        whole.flops_per_second,
        part.flops_per_second,
        int(whole.details.get("parameters", 0)),
        int(part.details.get("parameters", 0)),
        audio_s,
    )


def _last(model: SpeechModel) -> str:
    """The deepest layer of the default set."""
    return [info.name for info in model.layers if info.default][-1]


def _timed(model: SpeechModel, audio: list[torch.Tensor], layer: str, device: str) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        model.encode(audio, [layer])
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
