"""Any ``nn.Module`` as a stack of named layers: outputs are caught by forward hooks."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.errors import ModelError, UsageError
from voxstrata.files import fingerprint
from voxstrata.models.base import Wave
from voxstrata.models.batching import check_audio
from voxstrata.models.placement import torch_device, torch_dtype
from voxstrata.models.weights import hash_tensors
from voxstrata.registry import unknown_name
from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo, LayerKind

Prepare = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Output:
    """How a hooked module's output is read.

    Attributes:
        name: layer name.
        module: name of the hooked module inside the model.
        kind: ``"frame"`` or ``"utterance"``.
        time_axis: axis of time in the output [1, T, D] or [1, D, T] (1 or 2); 0 for utterances.
        width: D.
        grid: frame-to-time map of frame layers.
        first: fewest samples that give a frame.
    """

    name: str
    module: str
    kind: LayerKind
    time_axis: int
    width: int
    grid: FrameGrid | None
    first: int

    def frames(self, samples: int) -> int:
        """``floor((S - first) / stride) + 1``, or 1 for utterance layers."""
        if samples < self.first:
            return 0
        return 1 if self.grid is None else (samples - self.first) // self.grid.stride + 1

    def read(self, value: Tensor) -> Tensor:
        """[T, D] (or [1, D]) from the module's output for one recording."""
        if self.kind == "utterance":
            return value.reshape(1, -1)
        return value[0] if self.time_axis == 1 else value[0].T.contiguous()


def refuse_widening(spec: str, before: torch.dtype, after: torch.dtype) -> None:
    """Weights that have been rounded cannot be had back.

    Raises:
        UsageError: from a half precision to a wider one, or to the other half precision.
    """
    if before.itemsize < 4 and after != before:
        raise UsageError(
            f"model {spec!r} cannot go from {before} to {after}",
            got="weights that have been rounded",
            fix="load it again, then choose the precision",
        )


class ModuleModel:
    """A module of the user's own as a :class:`voxstrata.models.base.SpeechModel`.

    Recordings run one at a time, so nothing need be known about how the module treats padding.
    """

    family = "module"

    def __init__(
        self,
        module: nn.Module,
        outputs: Sequence[Output],
        *,
        name: str,
        prepare: Prepare,
        flops_per_second: float,
    ) -> None:
        self.spec = name
        self.module = module
        self.device, self.dtype = torch.device("cpu"), "float32"
        self._outputs = {output.name: output for output in outputs}
        self._prepare = prepare
        self.layers = tuple(
            LayerInfo(o.name, o.width, o.kind, o.grid, default=True) for o in outputs
        )
        self._digest = hash_tensors(module.state_dict())
        self.fingerprint = fingerprint({"tensors": self._digest, "layers": self._facts()})
        self.flops_per_second = flops_per_second
        self.details: Mapping[str, Any] = {
            "class": f"{type(module).__module__}.{type(module).__qualname__}",
            "parameters": sum(p.numel() for p in module.parameters()),
            "hooked": {output.name: output.module for output in outputs},
            "dtype": self.dtype,
        }

    def _facts(self) -> list[list[Any]]:
        return [[o.name, o.module, o.kind, o.width, str(o.grid)] for o in self._outputs.values()]

    def encode(self, audio: Sequence[Wave], layers: Sequence[str]) -> list[dict[str, Tensor]]:
        """Layer outputs of each recording; see the protocol.

        Raises:
            UnknownNameError: no such layer; AudioError: a recording is too short.
        """
        chosen = [self._output(name) for name in layers]
        if not chosen:
            return [{} for _ in audio]
        waves = check_audio(audio, max(output.first for output in chosen), self.spec)
        results = []
        for wave in waves:
            caught = _run(self.module, [o.module for o in chosen], self._ready(wave))
            results.append({o.name: o.read(caught[o.module]) for o in chosen})
        return results

    def _ready(self, wave: Tensor) -> Any:
        floats = next((p.dtype for p in self.module.parameters()), torch.float32)
        return self._prepare(wave.to(self.device, floats))

    def frames(self, layer: str, samples: int) -> int:
        """Number of frames of ``layer`` for ``samples`` samples."""
        return self._output(layer).frames(samples)

    def to(self, device: str, dtype: str) -> ModuleModel:
        """This model on ``device`` in ``dtype``, its module copied; the original stays as it is.

        Raises:
            UsageError: no such device or dtype, or rounded weights would have to be widened.
        """
        place, kind = torch_device(device), torch_dtype(dtype)
        if (place, dtype) == (self.device, self.dtype):
            return self
        refuse_widening(self.spec, torch_dtype(self.dtype), kind)
        moved = copy.copy(self)
        moved.module = copy.deepcopy(self.module).to(device=place, dtype=kind)
        moved.device, moved.dtype = place, dtype
        moved.details = {**self.details, "dtype": dtype}
        facts: dict[str, Any] = {"tensors": self._digest, "layers": self._facts()}
        moved.fingerprint = fingerprint(facts if dtype == "float32" else {**facts, "dtype": dtype})
        return moved

    def _output(self, name: str) -> Output:
        if name not in self._outputs:
            raise unknown_name(f"layer of model {self.spec!r}", name, list(self._outputs))
        return self._outputs[name]


def from_module(
    module: nn.Module,
    layers: Sequence[str] | Mapping[str, str],
    *,
    name: str = "module",
    prepare: Prepare | None = None,
    grid: FrameGrid | Mapping[str, FrameGrid] | None = None,
    time_axis: int | Mapping[str, int] | None = None,
    probe_s: float = 1.0,
    flops_per_second: float | None = None,
) -> ModuleModel:
    """Make a model of any module.

    The module is put in eval mode and run on one recording at a time. What is not stated is
    measured with seeded noise: which axis of an output is time (the one that grows with the
    audio; none: an utterance vector), how many samples each further frame takes, and, from
    gradients, which samples a frame sees. A layer that sees the whole recording (attention,
    normalisation over time) has no receptive field to measure: state its ``grid`` then.

    Args:
        module: takes what ``prepare`` returns.
        layers: names of modules inside it (as in ``module.named_modules()``), or a mapping from
            layer names of your choice to them, in order of depth.
        name: what results call the model.
        prepare: from a recording [S] to the module's argument (or a tuple or dict of arguments);
            default: ``wave[None]``, a batch of one.
        grid: samples each frame sees, one for all frame layers or one a layer.
        time_axis: 1 for [1, T, D], 2 for [1, D, T], 0 for utterance vectors, one or one a layer.
        probe_s: length of the noise used for measuring, seconds.
        flops_per_second: cost of a second of audio; default: two a parameter and hundredth of a
            second.

    Raises:
        UnknownNameError: no module of that name.
        UsageError: no layers, or a mapping names a layer that is not among them.
        ModelError: the module cannot be run, or something cannot be measured and must be stated.
    """
    from voxstrata.models.module_probe import measure

    named = dict(layers) if isinstance(layers, Mapping) else {item: item for item in layers}
    if not named:
        raise UsageError("a module needs at least one layer", fix="layers=['encoder.layers.0']")
    inside = [key for key, _ in module.named_modules() if key]
    for target in named.values():
        if target not in inside:
            raise unknown_name(f"module inside {type(module).__name__}", target, inside)
    grids = _spread(grid, named, "grid")
    axes = _spread(time_axis, named, "time_axis")
    module.eval()
    ready = prepare if prepare is not None else _as_batch
    outputs = measure(module, named, ready, grids, axes, int(probe_s * SAMPLE_RATE))
    weights = sum(p.numel() for p in module.parameters())
    cost = flops_per_second if flops_per_second is not None else 200.0 * weights
    return ModuleModel(module, outputs, name=name, prepare=ready, flops_per_second=cost)


def _as_batch(wave: Tensor) -> Tensor:
    return wave[None]


def _spread(stated: Any, layers: Mapping[str, str], what: str) -> dict[str, Any]:
    """One statement for all layers, or a mapping checked against their names."""
    if stated is None:
        return {}
    if not isinstance(stated, Mapping):
        return dict.fromkeys(layers, stated)
    for key in stated:
        if key not in layers:
            raise unknown_name(f"layer in {what}=", str(key), list(layers))
    return dict(stated)


class _Enough(Exception):  # noqa: N818 - a signal, not an error
    """Raised by the last hook so that nothing above it runs."""


def _run(
    module: nn.Module, targets: Sequence[str], argument: Any, *, gradients: bool = False
) -> dict[str, Tensor]:
    """Outputs of the named modules inside ``module``; stops as soon as all are there.

    Raises:
        ModelError: the module fails, or a target is not reached or gives no tensor.
    """
    caught: dict[str, Tensor] = {}
    with _hooked(module, set(targets), caught):
        try:
            with torch.enable_grad() if gradients else torch.inference_mode():
                if isinstance(argument, dict):
                    module(**argument)
                elif isinstance(argument, tuple):
                    module(*argument)
                else:
                    module(argument)
        except _Enough:
            pass
        except Exception as error:
            raise ModelError(
                f"the module {type(module).__name__} cannot be run",
                got=f"{type(error).__name__}: {error}",
                fix="give prepare=..., which turns a recording [samples] into its argument",
            ) from error
    if lacking := [t for t in targets if t not in caught]:
        raise ModelError(
            f"{type(module).__name__} does not run {', '.join(lacking)}",
            fix="name modules that its forward calls once",
        )
    return caught


@contextlib.contextmanager
def _hooked(module: nn.Module, targets: set[str], caught: dict[str, Tensor]) -> Iterator[None]:
    def catch(target: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, value: Any) -> None:
            while isinstance(value, tuple | list):
                value = value[0]
            if not isinstance(value, Tensor):
                raise ModelError(f"the module {target!r} gives no tensor", got=type(value).__name__)
            caught[target] = value
            if len(caught) == len(targets):
                raise _Enough

        return hook

    handles = [
        part.register_forward_hook(catch(key))
        for key, part in module.named_modules()
        if key in targets
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
