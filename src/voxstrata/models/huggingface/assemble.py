"""From what was found of a model to the model: module built, cut, filled, attached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from voxstrata.models.family import ModelSpec
from voxstrata.models.huggingface import build, tensors
from voxstrata.models.huggingface.family import build_shape, cut_layers
from voxstrata.models.huggingface.kinds import kind_of
from voxstrata.models.huggingface.model import HuggingFaceModel
from voxstrata.models.huggingface.options import HuggingFaceOptions
from voxstrata.models.huggingface.shape import Shape
from voxstrata.models.huggingface.sizes import resize
from voxstrata.models.huggingface.source import Source
from voxstrata.models.weights import hash_tensors


def assemble(
    spec: ModelSpec,
    options: HuggingFaceOptions,
    found: Source,
    checkpoint: Mapping[str, Tensor] | None,
) -> HuggingFaceModel:
    """Build a model from its configuration and its tensors.

    Args:
        spec: what was asked for.
        options: what the user chose.
        found: configuration and preprocessor; ``weights`` are named in messages only.
        checkpoint: tensors as a checkpoint names them; ``None`` for the untrained twin.

    Raises:
        ModelError, CheckpointError, ConfigError: see
            :meth:`voxstrata.models.huggingface.family.HuggingFaceFamily.load`.
    """
    shape, facts = build_shape(found, options)
    layers, blocks = cut_layers(shape, spec)
    kind = kind_of(found.config, found.name)
    depth = shape.depth
    if checkpoint is None:
        seed = options.seed or 0
        module = build.random_module(kind, shape.config, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _cut_to_size(shape, module)
        origin = _random_origin(seed)
        facts["seed"] = seed
    else:
        setattr(shape.config, shape.layers_key, blocks)
        module = build.empty_module(kind, shape.config)
        _cut_to_size(shape, module)
        if shape.sizes is not None:  # written with merged weight normalisation, number for number
            build.merge_weight_norm(module)
        where = ", ".join(str(path) for path in found.weights) or found.name
        state, left = tensors.encoder_tensors(checkpoint, kind, blocks, depth, where)
        tensors.fill(module, state, where)
        origin = {"tensors": hash_tensors(module.state_dict())}
        facts |= {"weights": [p.name for p in found.weights], "not_used": left}
        setattr(shape.config, shape.layers_key, depth)
    build.drop_mask_vector(module)
    build.merge_weight_norm(module)
    shape.attach(module, normalize=bool(facts["input_normalisation"]))
    shape.cut(blocks)
    facts["parameters"] = sum(p.numel() for p in module.parameters())
    # Directories written by make-random say so in their configuration.
    facts["random"] = spec.random or "voxstrata_untrained" in found.config
    identity = {
        **origin,
        "config": _plain(shape.config),
        "normalize": shape.normalize,
        "blocks": blocks,
        "final_norm": options.final_norm,
        "layer0": options.layer0,
    }
    return HuggingFaceModel(spec.text, shape, layers, identity, facts)


def _cut_to_size(shape: Shape, module: nn.Module) -> None:
    """Make a module's blocks as small as those of the pruned encoder it stands for."""
    if shape.sizes is not None:
        shape.module = module
        resize(shape.blocks, shape.sizes, shape.config.model_type)


def _random_origin(seed: int) -> dict[str, Any]:
    """What an untrained twin's weights follow from, beside its configuration."""
    from voxstrata.models.huggingface.lib import transformers_module

    return {
        "random": seed,
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers_module().__version__,
    }


def _plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON-like values, without what does not touch a number."""
    noise = {"_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype"}
    return {k: v for k, v in config.to_dict().items() if k not in noise}
