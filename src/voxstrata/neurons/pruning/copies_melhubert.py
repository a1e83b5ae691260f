"""Copies of MelHuBERT, whose options hold the sizes of every block."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from voxstrata.models.base import SpeechModel
from voxstrata.models.card import write_model
from voxstrata.models.low_rank import LowRank
from voxstrata.models.melhubert.model import MelHubertModel
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.models.weights import load_strictly
from voxstrata.neurons.pruning.copies import BlockParts, Copy, refuse_cut


def _ints(values: list[int]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


def melhubert_blocks(network: Any, options: MelHubertOptions) -> tuple[BlockParts, ...]:
    """Blocks of a MelHuBERT network."""
    maps = {name: f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")}
    maps |= {"ffn.up": "fc1", "ffn.down": "fc2"}
    return tuple(
        BlockParts(number, block, maps, options.width_of_head)
        for number, block in enumerate(network.encoder.layers, start=1)
    )


class MelHubertCopy(Copy):
    """MelHuBERT: its options hold the sizes of every block."""

    def __init__(self, model: MelHubertModel) -> None:
        self.source, self._front, self._final = model, model.front, model.final_norm
        refuse_cut(model, model.options.layers)
        network: Any = model._module
        self.module: Any = copy.deepcopy(network).to("cpu", torch.float32)
        self._options = model.options
        self._list()

    def _list(self) -> None:
        self.blocks = melhubert_blocks(self.module, self._options)

    def refuse_heads(self) -> None:
        """Heads of MelHuBERT depend on nothing but their own rows."""

    def set_heads(self, parts: BlockParts) -> None:
        """See :class:`Copy`."""
        attention: Any = parts.block.self_attn
        attention.heads = parts.heads

    def keep_blocks(self, count: int) -> None:
        """See :class:`Copy`."""
        del self.module.encoder.layers[count:]
        self._list()

    def options(self) -> MelHubertOptions:
        """Options of the network as it is now."""
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
        """See :class:`Copy`."""
        details = {**self.source.details, "pruned_from": self.source.spec}
        return MelHubertModel(spec, self._network(), self._front, details, final_norm=self._final)

    def save(self, folder: Path, name: str, history: Mapping[str, Any]) -> None:
        """See :class:`Copy`."""
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
