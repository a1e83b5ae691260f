"""Making the module: untrained and seeded, or filled from a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from voxstrata.errors import ConfigError
from voxstrata.models.huggingface.kinds import Kind
from voxstrata.models.huggingface.lib import transformers_class

_DRAWS = frozenset(
    {
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.uniform_,
        nn.init.xavier_normal_,
        nn.init.xavier_uniform_,
    }
)


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are where initialisation would draw random numbers.

    Only for modules whose every tensor is overwritten (and checked to be) right after.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def random_module(kind: Kind, config: Any, seed: int) -> nn.Module:
    """An untrained encoder, initialised as transformers initialises it, from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _make(kind, config)


def empty_module(kind: Kind, config: Any) -> nn.Module:
    """An encoder whose tensors hold nothing yet; for :func:`tensors.fill`."""
    with _NoDraws():
        module = _make(kind, config)
    drop_mask_vector(module)
    return module


def _make(kind: Kind, config: Any) -> nn.Module:
    maker = transformers_class(kind.model)
    with _float32():
        try:
            module: nn.Module = maker(config)
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"transformers cannot build a {config.model_type} from this configuration",
                got=f"{type(error).__name__}: {error}",
                fix="check its config.json",
            ) from error
    return module.eval().requires_grad_(False)


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def drop_mask_vector(module: nn.Module) -> None:
    """Take out the vector that training puts in place of masked frames; nothing here reads it."""
    module._parameters.pop("masked_spec_embed", None)


def merge_weight_norm(module: nn.Module) -> None:
    """Replace weight normalisation by its result: the same numbers, computed once."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
            merged = part._buffers.pop("weight", None)  # a buffer, where no gradient is wanted
            if merged is not None:
                part.register_parameter("weight", nn.Parameter(merged, requires_grad=False))
        elif hasattr(part, "weight_g"):  # torch's old way, in transformers 4 on old torch
            nn.utils.remove_weight_norm(part)
