"""A copy of a loaded model that may be cut up, and the model that comes of it.

Surgery never touches the model it was given. A copy lists the parts of each block; when they were
changed, :meth:`Copy.model` builds a network of the new sizes, loads the tensors strictly, and
returns a model that is the same as the one a saved folder would give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from voxstrata.errors import ModelError, UsageError
from voxstrata.files import read_json, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.card import read_card


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
    from voxstrata.models.huggingface.model import HuggingFaceModel
    from voxstrata.models.melhubert.model import MelHubertModel

    if isinstance(model, MelHubertModel):
        from voxstrata.neurons.pruning.copies_melhubert import MelHubertCopy

        return MelHubertCopy(model)
    if isinstance(model, HuggingFaceModel):
        from voxstrata.neurons.pruning.copies_huggingface import HuggingFaceCopy

        return HuggingFaceCopy(model)
    raise ModelError(
        f"models of the family {model.family} cannot be pruned",
        got=model.spec,
        expected="a Transformer: MelHuBERT or one of the huggingface family",
    )


def refuse_cut(model: SpeechModel, blocks: int) -> None:
    """Whether a model has all of its blocks.

    Raises:
        UsageError: it was cut.
    """
    deepest = max((int(i.name) for i in model.layers if i.name.isdigit()), default=0)
    if deepest < blocks:
        raise UsageError(
            f"{model.spec} was cut after layer {deepest}",
            fix="prune the whole model, then cut what comes of it with @LAYER",
        )


def history_of(folder: Path) -> dict[str, Any]:
    """What was done to the model in a folder; empty where nothing is known."""
    if (folder / "pruning.json").is_file():
        found: dict[str, Any] = read_json(folder / "pruning.json")
        return found
    if (folder / "card.json").is_file():
        return dict(read_card(folder).get("pruning", {}))
    return {}


def write_history(
    folder: Path, name: str, history: Mapping[str, Any], source: Mapping[str, Any]
) -> None:
    """Write into a finished model folder what was done to the model, and what it is called.

    Args:
        folder: the folder.
        name: of the model.
        history: JSON-like.
        source: licence and credit of the model it came from, as far as they are known.
    """
    card = folder / "card.json"
    if card.is_file():
        write_json(card, {**read_json(card), **source, "name": name, "pruning": dict(history)})
    else:
        write_json(folder / "pruning.json", {**history, **source, "name": name})


def terms_of(model: SpeechModel) -> dict[str, Any]:
    """Licence and credit of a model, as far as they are known: what is made of it owes them."""
    from voxstrata.models.card import card_folder
    from voxstrata.models.spec import parse

    folder = card_folder(parse(model.spec).base, model.family)
    known = read_card(folder) if folder is not None else model.details
    return {key: known[key] for key in ("licence", "credit") if known.get(key)}
