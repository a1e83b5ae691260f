"""An optional phone loss on one layer of the encoder: connectionist temporal classification (CTC).

It strengthens what a chosen frame layer knows of phones while the embedding is trained for
speakers. Graves et al., ICML 2006. Targets are the phones that a time-aligned tier has within each
crop; their order counts, not their times.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from voxstrata.config import Config
from voxstrata.errors import CorpusError
from voxstrata.frontend import FrontEnd
from voxstrata.metrics.edit import collapse_padded, edit_distances
from voxstrata.streaming.unit_segment import SILENCES, stress_free
from voxstrata.training import distributed
from voxstrata.training.data.crops import CropExamples
from voxstrata.training.data.items import Item, Items
from voxstrata.training.objective import Batch, Made
from voxstrata.types import SAMPLE_RATE, Segment

BLANK = 0
"""Class of "no phone here"; phones count from 1."""


class PhoneOptions(Config):
    """The option ``phones`` of objectives on speaker encoders.

    Attributes:
        layer: frame layer that a linear layer reads phones from (100 frames a second).
        weight: factor of the phone loss.
        tier: interval tier with the phones; silences are no targets, stress marks are dropped.
        inside: share of a phone that must lie within the crop for it to be a target.
    """

    layer: Literal["conv", "block1", "block2", "block3", "mfa"] = "block2"
    weight: Annotated[float, Field(gt=0)] = 0.1
    tier: str = "phones"
    inside: Annotated[float, Field(gt=0, le=1)] = 0.5


def inventory(items: Items, tier: str) -> tuple[str, ...]:
    """All phones of a tier, sorted; without silences, and without stress marks of vowels.

    Raises:
        CorpusError: the tier holds something else than segments.
    """
    found: set[str] = set()
    for item in items:
        if item.speed != 1.0 or item.copy:
            continue
        segments = item.utterance.segments(tier)
        if not all(isinstance(s, Segment) for s in segments):
            raise CorpusError(
                f"the tier {tier!r} of {item.id} has no times",
                got=repr(item.utterance.tiers[tier])[:60],
                expected="segments: start, end, label",
                fix="set objective.phones.tier to an interval tier",
            )
        found |= {s.label for s in segments}
    return tuple(sorted({stress_free(label) for label in found - SILENCES}))


def check_phones(options: PhoneOptions, items: Items) -> None:
    """Refuse corpora without phones.

    Raises:
        CorpusError: no recording has the tier, or it holds no segments or one phone.
    """
    names = inventory(items, options.tier)
    if len(names) < 2:
        tiers = sorted({tier for item in items for tier in item.utterance.tiers})
        raise CorpusError(
            f"the phone loss finds no phones in {items.corpus.spec}",
            got=f"{len(names)} phones in the tier {options.tier!r}; there are the tiers "
            + (", ".join(tiers) or "(none)"),
            expected="an interval tier with phones on some recordings",
            fix="set objective.phones.tier, align the corpus, or drop objective.phones",
        )


@dataclass(frozen=True)
class PhoneExamples:
    """Crops with the phones spoken in them.

    Adds to a batch ``phones`` [crops x B, L] int64 (padded with 0) and ``phone_count``
    [crops x B] int64: how many of them there are, -1 where the recording has no such tier.

    Attributes:
        crops: what cuts the crops.
        key: which of them are read.
        names: the phones, :func:`inventory`.
        options: settings.
    """

    crops: CropExamples
    key: str
    names: tuple[str, ...]
    options: PhoneOptions

    @property
    def seconds(self) -> float:
        """Seconds of audio of all crops of a recording."""
        return self.crops.seconds

    @property
    def front(self) -> FrontEnd:
        """Front end of the crops."""
        return self.crops.front

    def make(self, item: Item, rng: np.random.Generator) -> Made:
        """Crops as they would be without phones, and their phones.

        Raises:
            AudioError: see :meth:`CropExamples.make`.
        """
        made = dataclasses.replace(self.crops, starts=True).make(item, rng)
        begins = made.pop(f"{self.key}.start") / SAMPLE_RATE
        lengths = [crop.seconds for crop in self.crops.wanted if crop.key == self.key]
        for other in {crop.key for crop in self.crops.wanted} - {self.key}:
            made.pop(f"{other}.start")
        if self.options.tier not in item.utterance.tiers:
            made["phones"] = np.zeros((len(lengths), 1), dtype=np.int64)
            made["phone_count"] = np.full(len(lengths), -1, dtype=np.int64)
            return made
        rows = [
            self._spoken(item, float(begin), length)
            for begin, length in zip(begins, lengths, strict=True)
        ]
        made["phones"] = _padded(rows)
        made["phone_count"] = np.array([len(row) for row in rows], dtype=np.int64)
        return made

    def _spoken(self, item: Item, begin: float, length: float) -> list[int]:
        """Numbers of the phones in a stretch of a recording; a short one goes round and round."""
        code = {name: i for i, name in enumerate(self.names, start=BLANK + 1)}
        end, whole = begin + length, item.duration_s
        found = []
        for again in range(math.floor(begin / whole), math.ceil(end / whole)):
            for s in item.utterance.segments(self.options.tier):
                first, last = (again * whole + t / item.speed for t in (s.start_s, s.end_s))
                within = min(last, end) - max(first, begin)
                enough = within >= self.options.inside * (last - first) - 1e-9
                if s.label not in SILENCES and last > first and enough:
                    found.append((first, code[stress_free(s.label)]))
        return [number for _, number in sorted(found)]

    def collate(self, made: Sequence[Made]) -> Batch:
        """Crop-major stacks; lists of phones as long as the longest."""
        width = max(one["phones"].shape[1] for one in made)
        even = []
        for one in made:
            wider = np.pad(one["phones"], ((0, 0), (0, width - one["phones"].shape[1])))
            even.append({**one, "phones": wider})
        return self.crops.collate(even)


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rows of different lengths as one array padded with 0, at least one wide."""
    out = np.zeros((len(rows), max(1, *map(len, rows))), dtype=np.int64)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


class PhoneLoss(nn.Module):
    """A linear layer to phones, and CTC.

    Args:
        width: D of the layer.
        names: the phones.
        options: settings.
    """

    def __init__(self, width: int, names: tuple[str, ...], options: PhoneOptions) -> None:
        super().__init__()
        self.names, self.options = names, options
        self.head = nn.Linear(width, len(names) + 1)

    def forward(
        self, frames: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        """The weighted loss, and ``phone_loss`` and ``phone_error_rate`` to be logged.

        The loss is nats a phone: the sum over crops by the number of phones in the crops of all
        processes, each process having its share of it. Crops without tier, and such as have more
        phones than frames could hold, count for nothing.

        Args:
            frames: output of the layer, [N, T, D].
            batch: with ``phones`` and ``phone_count``.
        """
        phones, counts = batch["phones"], batch["phone_count"]
        known = counts >= 0
        with torch.autocast(frames.device.type, enabled=False):
            rows = frames if frames.dtype == torch.float64 else frames.float()
            scores = self.head(rows).log_softmax(2)
            each = nn.functional.ctc_loss(
                scores.transpose(0, 1),
                phones,
                torch.full_like(counts, frames.shape[1]),
                counts.clamp_min(0),
                blank=BLANK,
                reduction="none",
                zero_infinity=True,
            )
            total = distributed.total(counts.clamp_min(0).sum().to(each.dtype)).clamp_min(1)
            share = distributed.size() / total
            loss = (each * known).sum() * share
        decoded = greedy(scores.detach())[known.cpu().numpy()]
        wanted = phones[known].cpu().numpy()
        wrong = edit_distances(wanted, decoded).sum()
        logs: dict[str, float | torch.Tensor] = {
            "phone_loss": loss.detach(),
            "phone_error_rate": float(wrong) * share,
        }
        return self.options.weight * loss, logs


def encode(
    network: nn.Module, features: torch.Tensor, phones: PhoneLoss | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Embeddings [B, D], and the frames [B, T, C] that a phone loss reads (``None`` without)."""
    if phones is None:
        return network(features), None
    found: dict[str, torch.Tensor] = network.stack(features, "embedding")  # type: ignore[operator]
    return found["embedding"], found[phones.options.layer]


def build_phones(options: PhoneOptions | None, network: Any, items: Items) -> PhoneLoss | None:
    """The phone loss on an ECAPA-TDNN, or ``None``."""
    if options is None:
        return None
    o = network.options
    width = o.mfa if options.layer == "mfa" else o.channels
    return PhoneLoss(width, inventory(items, options.tier), options)


def with_phones(
    examples: CropExamples, key: str, options: PhoneOptions | None, items: Items
) -> CropExamples | PhoneExamples:
    """Examples with phones, where they are wanted."""
    if options is None:
        return examples
    return PhoneExamples(examples, key, inventory(items, options.tier), options)


def greedy(scores: torch.Tensor) -> NDArray[np.int64]:
    """Best class of every frame, repeats merged, blanks dropped: [N, T, C] to [N, L].

    Rows are padded with 0.
    """
    return collapse_padded(scores.argmax(2).cpu().numpy(), blank=BLANK)
