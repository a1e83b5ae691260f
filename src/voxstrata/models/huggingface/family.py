"""The family of speech encoders that transformers can build."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ModelError
from voxstrata.files import typed_path
from voxstrata.models.family import ModelSpec
from voxstrata.models.huggingface import architectures, source
from voxstrata.models.huggingface.options import HuggingFaceOptions, read_options
from voxstrata.registry import unknown_name
from voxstrata.types import SAMPLE_RATE, LayerInfo

if TYPE_CHECKING:
    from voxstrata.models.huggingface.model import HuggingFaceModel
    from voxstrata.models.huggingface.shape import Shape


class HuggingFaceFamily:
    """wav2vec 2.0, HuBERT, WavLM and their kin; see ``docs/models.md``."""

    name = "huggingface"

    def names(self) -> Mapping[str, str]:
        """Registered names, each with its hub id and one line."""
        return {row.name: f"{row.summary} ({row.hub})" for row in architectures.table().values()}

    def recognises(self, spec: ModelSpec) -> bool:
        """Registered names, anything shaped like a hub id, and files or directories with a
        ``config.json`` that names a model type (or the option ``config``)."""
        path = typed_path(spec.base)
        if os.path.exists(path):
            return source.model_type(path) is not None or (
                os.path.isfile(path) and "config" in spec.options
            )
        return architectures.lookup(spec.base) is not None or source.is_hub_id(spec.base)

    def describe(self, spec: ModelSpec) -> tuple[tuple[LayerInfo, ...], dict[str, Any]]:
        """Layer table and facts from the configuration alone; weights are not needed.

        Raises:
            ModelError, ConfigError: as :meth:`load`.
        """
        options = read_options(spec)
        found = source.find(spec, options, weights=False)
        shape, facts = build_shape(found, options)
        layers, _ = cut_layers(shape, spec)
        return layers, facts

    def load(self, spec: ModelSpec) -> HuggingFaceModel:
        """Build the model: from its checkpoint, or untrained where ``spec.random``.

        Raises:
            ModelError: not found, not supported, no weights.
            CheckpointError: weights do not fit, or cannot be read safely.
            ConfigError: an option or the configuration is wrong.
            MissingDependencyError: transformers is absent or broken.
        """
        from voxstrata.models.huggingface.assemble import assemble
        from voxstrata.models.huggingface.tensors import read_files

        options = read_options(spec)
        found = source.find(spec, options, weights=not spec.random)
        return assemble(spec, options, found, None if spec.random else read_files(found.weights))


def build_shape(found: source.Source, options: HuggingFaceOptions) -> tuple[Shape, dict[str, Any]]:
    """The shape of a found model, and what is known of it."""
    from voxstrata.models.huggingface.kinds import config_object, kind_of, normalize_rule

    kind = kind_of(found.config, found.name)
    config = config_object(found.config, found.name)
    made: Shape = kind.shape_class()(config, options)
    if options.layers is not None:
        setattr(config, made.layers_key, options.layers)
    rate = (found.preprocessor or {}).get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise ModelError(
            f"{found.name} wants audio at {rate} Hz",
            got=f"sampling_rate {rate} in preprocessor_config.json",
            expected=f"{SAMPLE_RATE} Hz, the only rate inside voxstrata",
        )
    stated = (found.preprocessor or {}).get("do_normalize")
    if options.normalize is not None:
        normalize, told_by = options.normalize, "option"
    elif made.normalises != "waveform":
        # do_normalize speaks of waveforms; the mel extractor normalises unless told otherwise.
        normalize, told_by = True, "family rule"
    elif isinstance(stated, bool):
        normalize, told_by = stated, "preprocessor_config.json"
    elif found.known is not None:
        normalize, told_by = found.known.normalize, "built-in table"
    else:
        normalize, told_by = normalize_rule(config, kind), "family rule"
    facts = {
        "model_type": config.model_type,
        "source": found.name,
        "revision": found.revision,
        "licence": found.known.licence if found.known else None,
        "blocks": made.depth,
        "pre_norm": made.pre_norm,
        "input_normalisation": normalize,
        "input_normalisation_from": told_by,
        "options": options.model_dump(exclude_defaults=True),
    }
    return made, facts


def cut_layers(shape: Shape, spec: ModelSpec) -> tuple[tuple[LayerInfo, ...], int]:
    """The layers that are left after the cut of ``spec``, and how many blocks they need.

    Raises:
        UnknownNameError: the cut names no layer of the stack.
    """
    infos = shape.layer_infos()
    if spec.cut is None:
        return infos, shape.depth
    stack = [info.name for info in infos if not info.name.startswith("block.")]
    if spec.cut not in stack:
        raise unknown_name(f"layer to cut model {spec.base!r} after", spec.cut, stack)
    kept = set(stack[: stack.index(spec.cut) + 1])
    blocks = max((int(name) for name in kept if name.isdigit()), default=0)
    taps = tuple(f"block.{i}." for i in range(1, blocks + 1))
    return (
        tuple(i for i in infos if i.name in kept or (taps and i.name.startswith(taps))),
        blocks,
    )


FAMILY = HuggingFaceFamily()
