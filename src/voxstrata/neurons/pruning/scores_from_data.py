"""Scores that look at what a network does: activations, and gradients of its own loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch

from voxstrata.errors import NumericsError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.pruning.copies import BlockParts
from voxstrata.neurons.pruning.scores import (
    Evidence,
    Floats,
    HeadScores,
    Losses,
    RowScores,
    lacking,
)


class ActivationScore:
    """Mean magnitude of a neuron's activation over all frames of some speech."""

    summary = "mean |activation| on speech"
    needs: Literal["audio"] = "audio"

    def rows(self, model: SpeechModel, evidence: Evidence) -> RowScores:
        """See the class.

        Raises:
            UsageError: no speech is given, or none of it gives a frame.
        """
        if evidence.audio is None:
            raise lacking("activation", "speech", "name a corpus (--corpus)")
        layers = [part.layer for part in feed_forwards(model)]
        model = model.to(evidence.device, "float32")
        sums: dict[str, torch.Tensor] = {}
        frames = 0
        for batch in evidence.audio():
            long = [wave for wave in batch if model.frames(layers[0], len(wave))]
            for found in model.encode(long, layers):
                for layer in layers:
                    value = found[layer].abs().sum(dim=0, dtype=torch.float64).cpu()
                    sums[layer] = sums[layer] + value if layer in sums else value
                frames += len(found[layers[0]])
        if not frames:
            raise UsageError("the speech for the pruning score gives no frame")
        return {layer: (total / frames).numpy() for layer, total in sums.items()}

    def heads(self, model: SpeechModel, evidence: Evidence) -> HeadScores:
        """There is none."""
        raise UsageError(
            "the pruning score 'activation' is for rows", expected="l1, taylor or random for heads"
        )


class TaylorScore:
    """First-order estimate of what the loss would change by without a part.

    A neuron: ``sum over frames of |a_i dL/da_i|``; a head with context c (before the output map):
    ``sum over frames of |<c, dL/dc>|``, divided by the 2-norm of its block's scores, as published
    (Michel et al. 2019; the MelHuBERT authors' compression code). Both are means over batches.
    The network runs in eval mode: no dropout.
    """

    summary = "|activation x gradient| of the training loss"
    needs: Literal["losses"] = "losses"

    def rows(self, model: SpeechModel, evidence: Evidence) -> RowScores:
        """See the class."""
        losses = _losses(model, evidence)
        places = {
            parts.layer(name): parts.map(f"{name}.down")
            for parts in losses.blocks
            for name in parts.feed_forwards
        }
        return _summed(losses, places, lambda _layer, product: product.abs().sum(dim=(0, 1)))

    def heads(self, model: SpeechModel, evidence: Evidence) -> HeadScores:
        """See the class."""
        losses = _losses(model, evidence)
        parts_of = {str(parts.number): parts for parts in losses.blocks}

        def by_head(block: str, product: torch.Tensor) -> torch.Tensor:
            parts: BlockParts = parts_of[block]
            split = product.reshape(*product.shape[:2], parts.heads, parts.head_width)
            return split.sum(dim=-1).abs().sum(dim=(0, 1))

        places = {block: parts.map("out") for block, parts in parts_of.items()}
        found = _summed(losses, places, by_head)
        return {int(k): v / (np.linalg.norm(v) + 1e-20) for k, v in found.items()}


def _losses(model: SpeechModel, evidence: Evidence) -> Losses:
    if evidence.losses is None:
        raise lacking(
            "taylor", "the model's own training loss", "give a training recipe (--tune RECIPE)"
        )
    return evidence.losses(model)


def _summed(
    losses: Losses,
    places: dict[str, Any],
    reduce: Callable[[str, torch.Tensor], torch.Tensor],
) -> dict[str, Floats]:
    """Mean over batches of what ``reduce`` makes of input times gradient [B, T, F] at places."""
    totals: dict[str, torch.Tensor] = {}
    count = 0
    with _inputs(places) as kept:
        for loss in losses.each():
            names = list(kept)
            gradients = torch.autograd.grad(loss, [kept[name] for name in names])
            for name, gradient in zip(names, gradients, strict=True):
                product = kept[name].detach().double() * gradient.double()
                value = reduce(name, product).cpu()
                totals[name] = totals[name] + value if name in totals else value
            kept.clear()
            count += 1
    if not count:
        raise UsageError("the training objective gave no batch to score with")
    found = {name: (total / count).numpy() for name, total in totals.items()}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise NumericsError("gradients of the training loss are not finite")
    return found


@contextmanager
def _inputs(places: dict[str, Any]) -> Iterator[dict[str, torch.Tensor]]:
    """Keeps what enters modules, with gradients wanted."""
    kept: dict[str, torch.Tensor] = {}
    handles = []

    def keep(name: str) -> Callable[[Any, Any], Any]:
        def hook(_module: Any, args: Any) -> Any:
            value = args[0] if args[0].requires_grad else args[0].detach().requires_grad_(True)
            kept[name] = value
            return (value, *args[1:])

        return hook

    try:
        for name, module in places.items():
            handles.append(module.register_forward_pre_hook(keep(name)))
        yield kept
    finally:
        for handle in handles:
            handle.remove()


ACTIVATION = ActivationScore()
TAYLOR = TaylorScore()
