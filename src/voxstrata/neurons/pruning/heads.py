"""One step of head pruning: scores, order, surgery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voxstrata.errors import UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.order import lowest_of_all, lowest_of_each
from voxstrata.neurons.pruning.scores import SCORES, Evidence
from voxstrata.neurons.pruning.surgery import remove_heads


@dataclass(frozen=True)
class PrunedHeads:
    """What a step made.

    Attributes:
        model: the smaller model.
        removed: heads that went by block, lowest score first, in the numbering before.
    """

    model: SpeechModel
    removed: dict[int, list[int]]


def prune_heads(
    model: SpeechModel,
    heads: int | Sequence[int],
    *,
    score: str = "l1",
    evidence: Evidence | None = None,
    scope: Literal["layer", "whole"] = "layer",
    spec: str | None = None,
) -> PrunedHeads:
    """A model without the attention heads that are worth least.

    Args:
        model: left as it is.
        heads: how many go from each block (published ``by_layer``: 1); or one number a block.
        score: name of a pruning score.
        evidence: what a score from data looks at.
        scope: ``"layer"`` as above; ``"whole"``: as many in all, wherever scores are lowest, while
            each block keeps its best head (published ``by_whole``).
        spec: text to name the result by.

    Raises:
        UsageError: a block would be left without heads.
        ModelError: heads of this model cannot be pruned.
    """
    copy = take_copy(model)
    copy.refuse_heads()
    blocks = [parts.number for parts in copy.blocks]
    counts = [heads] * len(blocks) if isinstance(heads, int) else [int(n) for n in heads]
    if len(counts) != len(blocks) or min(counts) < 0:
        raise UsageError(
            "heads to prune are a number, or one for each block",
            got=str(heads),
            expected=f"{len(blocks)} numbers of at least 0",
        )
    values = SCORES.get(score).heads(model, evidence or Evidence())
    if scope == "whole":
        removed = lowest_of_all(values, sum(counts))
    else:
        short = [b for b, n in zip(blocks, counts, strict=True) if n >= len(values[b])]
        if short:
            raise UsageError(
                "a block would be left without heads",
                got=", ".join(f"block {b}: {len(values[b])} heads" for b in short[:4]),
                expected="at least one head more than go",
                fix="prune fewer heads a block, or over the whole model (scope whole)",
            )
        removed = lowest_of_each(values, dict(zip(blocks, counts, strict=True)))
    return PrunedHeads(remove_heads(model, removed, spec), removed)
