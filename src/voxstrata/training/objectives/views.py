"""What the contrastive objectives share: crops of one recording, and which ones oppose each other.

None of them looks at labels. Two crops of a recording are the positive pair; crops of other
recordings are negatives. Where a pass holds a recording several times (a repeated corpus), its
copies are the same recording and can be kept from opposing each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from voxstrata.config import Config
from voxstrata.errors import ConfigError, CorpusError
from voxstrata.training import distributed
from voxstrata.training.data.crops import Crop, CropExamples, Place
from voxstrata.training.data.items import Items
from voxstrata.training.objective import Context
from voxstrata.training.settings import TrainConfig

COLLAPSED = 0.02
"""Spread of embeddings below which they all point the same way (independent ones have 1)."""


class ViewOptions(Config):
    """Settings of all contrastive objectives.

    Attributes:
        crop_s: length of each crop, seconds.
        place: where the crops of a recording lie: "anywhere", "apart" (in different places as far
            as its length allows) or "adjacent" (one directly after the other).
        dither: noise on the waveform, steps of 16 bits.
        mask_copies: whether copies of a recording in a batch, and earlier crops of it in a queue,
            are kept from being its negatives. Speed-perturbed copies are another voice and stay
            negatives.
    """

    crop_s: Annotated[float, Field(ge=0.1)] = 2.0
    place: Place = "anywhere"
    dither: Annotated[float, Field(ge=0)] = 1.0
    mask_copies: bool = True


def check_views(options: ViewOptions, config: TrainConfig, items: Items) -> None:
    """Refuse what no contrast can be made of.

    Raises:
        ConfigError: batches are counted in seconds.
        CorpusError: one recording, or none that holds two different crops.
    """
    if config.data.batch is None:
        raise ConfigError(
            "a contrastive objective needs batches of a fixed number of recordings",
            got=f"data.batch_s={config.data.batch_s:g}",
            expected="data.batch: all crops have the same length, so length buckets bring nothing",
        )
    different = len({item.id for item in items})
    if different < 2:
        raise CorpusError(
            f"{items.corpus.spec} has no negatives to offer",
            got=f"{different} recording",
            expected="at least two different ones",
        )
    longest = max(item.duration_s for item in items)
    needed = options.crop_s * (2 if options.place == "adjacent" else 1)
    if longest <= needed:
        what = "two adjacent crops" if options.place == "adjacent" else "two different crops"
        raise CorpusError(
            f"no recording of {items.corpus.spec} is long enough for {what}",
            got=f"the longest has {longest:.2f} s",
            expected=f"more than {needed:g} s",
            fix="make objective.crop_s smaller",
        )


def view_examples(options: ViewOptions, context: Context, wanted: Sequence[Crop]) -> CropExamples:
    """The data side; tells the user what weakens the contrast."""
    from voxstrata.training.prepare import augmenter

    short = sum(item.duration_s <= options.crop_s for item in context.items)
    if short:
        context.say(
            f"{short} of {len(context.items)} recordings are no longer than a crop "
            f"({options.crop_s:g} s): their crops are the same speech"
        )
    if context.config.augment is None:
        context.say(
            "no augmentation: crops of a recording share its channel, which is easier to "
            "recognise than the speaker"
        )
    return CropExamples(
        tuple(wanted),
        context.front,
        augmenter(context.config, context.items),
        context.config.spec_augment,
        place=options.place,
        dither=options.dither,
    )


class Recordings:
    """Which recording each item is.

    Args:
        items: of the run; or ``None`` where every item is a recording of its own.
    """

    def __init__(self, items: Items | None) -> None:
        self._table: torch.Tensor | None = None
        if items is not None:
            names: dict[str, int] = {}
            found = [names.setdefault(item.id, len(names)) for item in items]
            if len(names) < len(found):
                self._table = torch.tensor(found)

    def __call__(self, item: torch.Tensor) -> torch.Tensor:
        """Recording numbers of item numbers, int64 [B]."""
        if self._table is None:
            return item
        self._table = self._table.to(item.device)
        return self._table[item]


def projector(width: int, widths: Sequence[int]) -> nn.Module:
    """Linear layers with ReLU between them; nothing where ``widths`` is empty."""
    layers: list[nn.Module] = []
    for out in widths:
        layers += [nn.Linear(width, out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers[:-1]) if layers else nn.Identity()


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, at least float32."""
    return nn.functional.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=1)


def contrast(
    cosines: torch.Tensor,
    target: torch.Tensor,
    excluded: torch.Tensor,
    scale: float | torch.Tensor,
    shift: float | torch.Tensor = 0.0,
) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
    """Cross-entropy of picking the positive among all candidates.

    Args:
        cosines: anchors by candidates [A, N].
        target: number of the positive of each anchor, int64 [A].
        excluded: candidates that do not count, bool [A, N]; never the positive.
        scale: factor on the cosines, 1 / temperature.
        shift: added to all of them (a softmax does not see it).

    Returns:
        the mean over anchors; and ``accuracy`` (share of anchors whose nearest candidate is the
        positive), ``positive`` and ``negative`` (cosines, the latter's mean of each anchor first).
    """
    logits = (cosines * scale + shift).masked_fill(excluded, float("-inf"))
    loss = nn.functional.cross_entropy(logits, target)
    with torch.no_grad():
        chosen = nn.functional.one_hot(target, cosines.shape[1]).bool()
        negatives = ~(excluded | chosen)
        count = negatives.sum(1).clamp_min(1)
        logs: dict[str, float | torch.Tensor] = {
            "accuracy": (logits.argmax(1) == target).float().mean(),
            "positive": cosines[chosen].mean(),
            "negative": ((cosines * negatives).sum(1) / count).mean(),
        }
    return loss, logs


def spread(embeddings: torch.Tensor) -> torch.Tensor:
    """How far normalised embeddings of all processes differ: the root of their mean variance in a
    dimension, times sqrt(D). 1 for independent directions, 0 where all are the same.

    Args:
        embeddings: of this process, [N, D].
    """
    rows = unit(embeddings.detach())
    mean = distributed.mean(rows.mean(0))
    # The mean square of unit rows, summed over dimensions, is 1.
    return (1 - mean.square().sum()).clamp_min(0).sqrt()


def judge_spread(found: Any) -> str | None:
    """Why training must stop where all embeddings have become one; else ``None``."""
    value = found.get("spread")
    if value is not None and value < COLLAPSED:
        return f"the embeddings collapsed (spread {value:.4f}; independent ones have 1)"
    return None
