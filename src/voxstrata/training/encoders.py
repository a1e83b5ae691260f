"""Networks to be trained, with their front ends, from a configuration."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from voxstrata.config import build
from voxstrata.errors import CheckpointError, ConfigError
from voxstrata.frontend import FrontEnd, front_end
from voxstrata.models.ecapa.network import Ecapa, minimum_frames
from voxstrata.models.ecapa.options import EcapaOptions, preset_options
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.models.weights import load_strictly
from voxstrata.training.settings import ModelConfig


def build_front_end(config: ModelConfig) -> FrontEnd:
    """The front end of a configuration; where it names none, that of the model it starts from.

    Raises:
        ConfigError, UnknownNameError: it is unknown or its changes are wrong.
    """
    if config.start and config.front_end is None and not config.front_end_options:
        from voxstrata.models.load import load_model

        own = getattr(load_model(str(config.start)), "front", None)
        if isinstance(own, FrontEnd):
            return own
    if config.family == "melhubert":
        inputs = int(config.options.get("inputs", 80))
        usual = {40: "melhubert-10ms", 80: "melhubert-20ms"}.get(inputs)
    else:
        usual = config.preset or "wespeaker"
    name = config.front_end or usual
    if name is None:
        raise ConfigError(
            "model.front_end is needed: no front end has so many features",
            got=f"inputs={config.options.get('inputs')}",
        )
    return front_end(name, **config.front_end_options)


def build_encoder(config: ModelConfig, front: FrontEnd, seed: int) -> Callable[[], nn.Module]:
    """A maker of networks whose initial weights depend on ``seed`` alone (or on ``start``).

    Raises:
        ConfigError: an option is unknown or wrong, or the front end has another width.
        CheckpointError: the start weights do not fit.
    """
    kind: Any  # one of the two networks; each takes its own options
    if config.family == "melhubert":
        if config.preset:
            raise ConfigError("model.preset is for ecapa", got=config.preset)
        options = build(MelHubertOptions, dict(config.options), source="model.options")
        kind, inputs = MelHubert, options.inputs
    else:
        given = {"inputs": front.width, **config.options}
        speaker = preset_options(config.preset or "wespeaker", given)
        kind, inputs, options = Ecapa, speaker.inputs, speaker  # type: ignore[assignment]
    if inputs != front.width:
        raise ConfigError(
            "the front end does not fit the network",
            got=f"{front.name} gives {front.width} numbers a frame",
            expected=f"{inputs}",
            fix="change model.options.inputs or model.front_end",
        )
    start = _start(config, options, front) if config.start else None
    if config.keep_zeros and (start is None or config.family != "melhubert"):
        raise ConfigError(
            "model.keep_zeros is for a pruned MelHuBERT",
            got=f"model.family {config.family}, model.start {config.start}",
            fix="drop it, or set model.start to a folder that `voxstrata prune` wrote",
        )

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: nn.Module = kind(options)
        if start is not None:
            load_strictly(network, start, str(config.start))
        if config.keep_zeros:
            keep_zeros(network)
        return network

    make()  # a wrong start is found now, not after targets were computed
    return make


def keep_zeros(network: nn.Module) -> None:
    """Hold the zeros in the linear maps of the blocks: no gradient reaches them.

    An optimiser that starts without memory then leaves them at zero, with weight decay too.
    """
    for name, value in network.named_parameters():
        if re.fullmatch(r"encoder\.layers\.\d+\.(self_attn\.\w+_proj|fc[12])\..*", name):
            held = (value.detach() != 0).to(value.dtype)
            hook = functools.partial(_under, held)
            value.register_hook(hook)  # type: ignore[no-untyped-call]


def _under(mask: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return gradient * mask.to(gradient.device)


def frames_needed(network: nn.Module) -> int:
    """Fewest frames of a whole recording that a network gives finite numbers for."""
    options = getattr(network, "options", None)
    return minimum_frames(options) if isinstance(options, EcapaOptions) else 1


def _start(config: ModelConfig, options: object, front: FrontEnd) -> dict[str, torch.Tensor]:
    """Weights of a trained model folder, checked against the configuration."""
    from voxstrata.models.load import load_model

    model = load_model(str(config.start))
    network = getattr(model, "_module", None)
    if network is None or model.family != config.family:
        raise CheckpointError(
            f"{config.start} is not a model of the family {config.family}",
            got=model.family,
            expected=config.family,
            fix="give model.start a folder that `voxstrata train` wrote, or set model.family",
        )
    if network.options != options:
        theirs, ours = network.options.model_dump(), dict(options)  # type: ignore[call-overload]
        other = [name for name in ours if theirs.get(name) != ours[name]]
        raise CheckpointError(
            f"{config.start} has another architecture than model.options",
            got=", ".join(f"{name}={theirs.get(name)}" for name in other),
            expected=", ".join(f"{name}={ours[name]}" for name in other),
            fix="set model.preset and model.options as in its card.json, or drop model.start",
        )
    own = getattr(model, "front", None)
    if own is not None and own.fingerprint != front.fingerprint:
        raise CheckpointError(
            f"{config.start} was trained with another front end",
            got=own.name,
            expected=front.name,
            fix="set model.front_end to its front end",
        )
    state: dict[str, torch.Tensor] = network.state_dict()
    return state
