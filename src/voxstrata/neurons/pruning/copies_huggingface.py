"""Copies of transformers encoders: the configuration they came from, and what is left of each
block."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from voxstrata.files import atomic_write, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.family import ModelSpec
from voxstrata.models.huggingface import sizes as hf
from voxstrata.models.huggingface.assemble import assemble
from voxstrata.models.huggingface.model import HuggingFaceModel
from voxstrata.models.huggingface.save import preprocessor
from voxstrata.models.huggingface.source import Source
from voxstrata.models.low_rank import LowRank
from voxstrata.neurons.pruning.copies import BlockParts, Copy, refuse_cut


class HuggingFaceCopy(Copy):
    """transformers: the configuration of the model it came from, and what is left of each block."""

    def __init__(self, model: HuggingFaceModel) -> None:
        self.source, shape = model, model.shape
        refuse_cut(model, shape.depth)
        self._normalize, self._options = shape.normalize, shape.options
        self._config = copy.deepcopy(shape.config)
        self._shape = copy.copy(shape)
        self._shape.config = self._config
        self.module: Any = copy.deepcopy(shape.module).to("cpu", torch.float32)
        self._shape.module = self.module
        self._list()

    def _list(self) -> None:
        self.blocks = tuple(
            BlockParts(
                number,
                self._shape.inside(number),
                hf.map_names(self._shape.inside(number)),
                hf.head_width(self._shape.inside(number)),
            )
            for number in range(1, len(self._shape.blocks) + 1)
        )

    def refuse_heads(self) -> None:
        """See :class:`Copy`."""
        hf.refuse_heads(self._config.model_type)

    def set_heads(self, parts: BlockParts) -> None:
        """See :class:`Copy`."""
        hf.set_heads(parts.block, parts.heads)

    def keep_blocks(self, count: int) -> None:
        """See :class:`Copy`."""
        self._shape.cut(count)
        setattr(self._config, self._shape.layers_key, count)
        self._list()

    def _sizes(self) -> hf.Sizes:
        ranks = {}
        for name in self.blocks[0].maps:
            found = [parts.map(name) for parts in self.blocks]
            if all(isinstance(one, LowRank) for one in found):
                ranks[name] = tuple(one.rank for one in found)
        heads = tuple(parts.heads for parts in self.blocks)
        whole = int(self._shape.width) // self.blocks[0].head_width
        return hf.Sizes(
            feed_forward={
                part: tuple(int(p.map(f"{part}.up").out_features) for p in self.blocks)
                for part in self.blocks[0].feed_forwards
            },
            heads=heads if set(heads) != {whole} else (),
            ranks=ranks,
        )

    def _written(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
        """``config.json``, ``preprocessor_config.json`` and tensors."""
        config = self._config.to_diff_dict()
        config["model_type"] = self._config.model_type
        config[hf.KEY] = self._sizes().model_dump(mode="json")
        if self.source.details.get("random"):
            config["voxstrata_untrained"] = self.source.spec
        facts = {"input_normalisation": self._normalize}
        # Weight normalisation was merged when the model was loaded, and stays so.
        state = {name: v.detach().contiguous() for name, v in self.module.state_dict().items()}
        return config, preprocessor(self._shape, facts), state

    def model(self, spec: str, where: str = "") -> SpeechModel:
        """See :class:`Copy`."""
        config, prepared, state = self._written()
        options = self._options.model_copy(update={"seed": None, "layers": None, "config": None})
        found = Source(where or spec, config, prepared)
        made = assemble(ModelSpec(spec, where or spec), options, found, state)
        made.details = {**made.details, "pruned_from": self.source.spec}
        return made

    def save(self, folder: Path, name: str, history: Mapping[str, Any]) -> None:
        """See :class:`Copy`."""
        config, prepared, state = self._written()
        (folder / "config.json").unlink(missing_ok=True)
        with atomic_write(folder / "model.safetensors") as file:
            file.write(save(state, metadata={"format": "pt"}))
        write_json(folder / "preprocessor_config.json", prepared)
        write_json(folder / "pruning.json", {"name": name, **history})
        # Last, so that a folder without it is known to be unfinished.
        write_json(folder / "config.json", config)
