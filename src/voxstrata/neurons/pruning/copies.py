"""A copy of a loaded model that may be cut up, and the model that comes of it.

Surgery never touches the model it was given. A copy lists the parts of each block; when they were
changed, :meth:`Copy.model` builds a network of the new sizes, loads the tensors strictly, and
returns a model that is the same as the one a saved folder would give.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.card import read_card, write_model
from voxstrata.models.family import ModelSpec
from voxstrata.models.huggingface import sizes as hf
from voxstrata.models.huggingface.model import HuggingFaceModel
from voxstrata.models.melhubert.model import MelHubertModel
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.weights import load_strictly

if TYPE_CHECKING:
    from voxstrata.models.melhubert.options import MelHubertOptions


@dataclass(frozen=True)
class BlockParts:
    """Linear maps of a block, by the names that surgery uses.

    Attributes:
        number: of the block, from 1.
        block: the module.
        maps: "q", "k", "v", "out" and for each feed-forward part its two maps, "ffn.up" and
            "ffn.down": module names inside the block.
        head_width: of its attention heads.
    """

    number: int
    block: nn.Module
    maps: Mapping[str, str]
    head_width: int

    def map(self, name: str) -> Any:
        """The linear map of that name (``nn.Linear`` or ``LowRank``)."""
        return self.block.get_submodule(self.maps[name])

    @property
    def feed_forwards(self) -> tuple[str, ...]:
        """Names of the feed-forward parts: "ffn", or "ffn1" and "ffn2"."""
        return tuple(name.removesuffix(".up") for name in self.maps if name.endswith(".up"))

    def layer(self, part: str) -> str:
        """Name of the tap that gives a feed-forward part's neurons."""
        return f"block.{self.number}.{part}.inner"

    @property
    def heads(self) -> int:
        """Attention heads that are there."""
        return int(self.map("q").out_features) // self.head_width


class Copy(ABC):
    """A model being changed.

    Attributes:
        source: the model as it was.
        module: the copied network, float32, on the CPU.
        blocks: its blocks.
    """

    source: SpeechModel
    module: nn.Module
    blocks: tuple[BlockParts, ...]

    @abstractmethod
    def refuse_heads(self) -> None:
        """Whether heads may be taken out.

        Raises:
            ModelError: they may not, and why.
        """

    @abstractmethod
    def set_heads(self, parts: BlockParts) -> None:
        """Tell a block's attention that its maps were cut."""

    @abstractmethod
    def keep_blocks(self, count: int) -> None:
        """Drop the blocks above the first ``count``."""

    @abstractmethod
    def model(self, spec: str, where: str = "") -> SpeechModel:
        """The changed model.

        Args:
            spec: text to name it by.
            where: folder it was saved in, for messages and records.
        """

    @abstractmethod
    def save(self, folder: Path, name: str, history: Mapping[str, Any]) -> None:
        """Write a model folder that :func:`voxstrata.load_model` reads.

        Args:
            folder: made if needed.
            name: of the model.
            history: JSON-like, what was done to it.

        Raises:
            StorageError: it cannot be written.
        """

    def part(self, layer: str) -> tuple[BlockParts, str]:
        """Block and feed-forward part of a neuron layer ("block.3.ffn.inner").

        Raises:
            UsageError: the model has no such layer.
        """
        for parts in self.blocks:
            for name in parts.feed_forwards:
                if parts.layer(name) == layer:
                    return parts, name
        raise UsageError(
            f"{self.source.spec} has no feed-forward neurons called {layer!r}",
            expected=", ".join(self.layers()[:6]) + ", ...",
        )

    def layers(self) -> list[str]:
        """Neuron layers, in order of depth."""
        return [parts.layer(name) for parts in self.blocks for name in parts.feed_forwards]


def take_copy(model: SpeechModel) -> Copy:
    """A copy of a model's network that may be changed.

    Raises:
        ModelError: a family that has no blocks to prune.
        UsageError: it was cut with ``@LAYER``, edited, or rounded to half precision.
    """
    if getattr(model, "unedited", None) is not None:
        raise UsageError(
            f"{model.spec} is an edited model", fix="prune the model without its edits"
        )
    if str(getattr(model, "dtype", "")).removeprefix("torch.") != "float32":
        raise UsageError(
            f"{model.spec} is not in float32",
            got=str(getattr(model, "dtype", None)),
            fix="load it in float32, prune, then choose a precision",
        )
    if isinstance(model, MelHubertModel):
        return _MelHubertCopy(model)
    if isinstance(model, HuggingFaceModel):
        return _HuggingFaceCopy(model)
    raise ModelError(
        f"models of the family {model.family} cannot be pruned",
        got=model.spec,
        expected="a Transformer: MelHuBERT or one of the huggingface family",
    )


def _refuse_cut(model: SpeechModel, blocks: int) -> None:
    deepest = max((int(i.name) for i in model.layers if i.name.isdigit()), default=0)
    if deepest < blocks:
        raise UsageError(
            f"{model.spec} was cut after layer {deepest}",
            fix="prune the whole model, then cut what comes of it with @LAYER",
        )


def _ints(values: list[int]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


class _MelHubertCopy(Copy):
    """MelHuBERT: its options hold the sizes of every block."""

    def __init__(self, model: MelHubertModel) -> None:
        self.source, self._front, self._final = model, model.front, model.final_norm
        _refuse_cut(model, model.options.layers)
        network: Any = model._module
        self.module: Any = copy.deepcopy(network).to("cpu", torch.float32)
        self._options = model.options
        self._list()

    def _list(self) -> None:
        maps = {name: f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")}
        maps |= {"ffn.up": "fc1", "ffn.down": "fc2"}
        self.blocks = tuple(
            BlockParts(number, block, maps, self._options.width_of_head)
            for number, block in enumerate(self.module.encoder.layers, start=1)
        )

    def refuse_heads(self) -> None:
        return

    def set_heads(self, parts: BlockParts) -> None:
        attention: Any = parts.block.self_attn
        attention.heads = parts.heads

    def keep_blocks(self, count: int) -> None:
        del self.module.encoder.layers[count:]
        self._list()

    def options(self) -> MelHubertOptions:
        """Options of the network as it is now."""
        from voxstrata.models.low_rank import LowRank

        old = self._options
        ranks: dict[str, Any] = {}
        ours = {"ffn.up": "fc1", "ffn.down": "fc2"}
        for name in self.blocks[0].maps:
            found = [parts.map(name) for parts in self.blocks]
            if all(isinstance(one, LowRank) for one in found):
                ranks[ours.get(name, name)] = _ints([one.rank for one in found])
        heads = _ints([parts.heads for parts in self.blocks])
        # Where nothing says otherwise a head's width follows from the number of heads.
        same = heads == old.heads and old.head_width is None
        return type(old)(
            **{
                **old.model_dump(),
                "layers": len(self.blocks),
                "heads": heads,
                "head_width": None if same else old.width_of_head,
                "ffn": _ints([int(p.map("ffn.up").out_features) for p in self.blocks]),
                "ranks": ranks,
            }
        )

    def _network(self) -> MelHubert:
        with torch.random.fork_rng(devices=[]):
            network = MelHubert(self.options(), self.module.rate)
        load_strictly(network, self.module.state_dict(), "the pruned network")
        return network.eval()

    def model(self, spec: str, where: str = "") -> SpeechModel:
        details = {**self.source.details, "pruned_from": self.source.spec}
        return MelHubertModel(spec, self._network(), self._front, details, final_norm=self._final)

    def save(self, folder: Path, name: str, history: Mapping[str, Any]) -> None:
        details = self.source.details
        training = {"corpora": details.get("trained_on")} if details.get("trained_on") else {}
        if details.get("objective"):
            training["objective"] = {"name": details["objective"]}
        card = {
            "name": name,
            "family": "melhubert",
            "summary": str(history.get("summary", "pruned")),
            "training": training,
            "untrained": bool(details.get("random")),
            "pruning": dict(history),
        }
        write_model(folder, card, self._network(), self._front)


class _HuggingFaceCopy(Copy):
    """transformers: the configuration of the model it came from, and what is left of each block."""

    def __init__(self, model: HuggingFaceModel) -> None:
        self.source, shape = model, model.shape
        _refuse_cut(model, shape.depth)
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
        hf.refuse_heads(self._config.model_type)

    def set_heads(self, parts: BlockParts) -> None:
        hf.set_heads(parts.block, parts.heads)

    def keep_blocks(self, count: int) -> None:
        self._shape.cut(count)
        setattr(self._config, self._shape.layers_key, count)
        self._list()

    def _sizes(self) -> hf.Sizes:
        from voxstrata.models.low_rank import LowRank

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
        from voxstrata.models.huggingface.save import preprocessor

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
        from voxstrata.models.huggingface.assemble import assemble
        from voxstrata.models.huggingface.source import Source

        config, preprocessor, state = self._written()
        options = self._options.model_copy(update={"seed": None, "layers": None, "config": None})
        found = Source(where or spec, config, preprocessor)
        made = assemble(ModelSpec(spec, where or spec), options, found, state)
        made.details = {**made.details, "pruned_from": self.source.spec}
        return made

    def save(self, folder: Path, name: str, history: Mapping[str, Any]) -> None:
        from safetensors.torch import save

        from voxstrata.files import atomic_write, write_json

        config, preprocessor, state = self._written()
        (folder / "config.json").unlink(missing_ok=True)
        with atomic_write(folder / "model.safetensors") as file:
            file.write(save(state, metadata={"format": "pt"}))
        write_json(folder / "preprocessor_config.json", preprocessor)
        write_json(folder / "pruning.json", {"name": name, **history})
        # Last, so that a folder without it is known to be unfinished.
        write_json(folder / "config.json", config)


def history_of(folder: Path) -> dict[str, Any]:
    """What was done to the model in a folder; empty where nothing is known."""
    from voxstrata.files import read_json

    if (folder / "pruning.json").is_file():
        found: dict[str, Any] = read_json(folder / "pruning.json")
        return found
    if (folder / "card.json").is_file():
        return dict(read_card(folder).get("pruning", {}))
    return {}
