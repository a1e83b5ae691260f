"""Cross-entropy of the codes of hidden frames."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from voxstrata.models.melhubert.network import MelHubert
from voxstrata.training import distributed
from voxstrata.training.objective import Batch, Loss, Objective
from voxstrata.training.objectives.masked.examples import IGNORED
from voxstrata.training.objectives.masked.settings import MaskedOptions


class Masked(Objective):
    """A MelHuBERT that finds the codes of frames it cannot see.

    Args:
        network: features [B, T, F] to logits [B, T, K].
        options: settings.
    """

    def __init__(self, network: MelHubert, options: MaskedOptions) -> None:
        super().__init__()
        self.encoder, self.options = network, options

    def forward(self, batch: Batch) -> Loss:
        """Mean cross-entropy of hidden frames, and of visible ones if those have a weight.

        Over several processes it is the mean over the frames of all of them. Logs: loss and
        accuracy of hidden and of visible frames (``masked_*``, ``unmasked_*``; losses in nats),
        and how many equally common codes would be as diverse as the network's own
        (``perplexity``) and as those to be found (``code_perplexity``).
        """
        logits, codes, hidden = predict(self.encoder, batch)
        losses = functional.cross_entropy(logits, codes, reduction="none")
        right = (logits.detach().argmax(dim=1) == codes).float()
        value = losses.new_zeros(())
        logs: dict[str, float | torch.Tensor] = {}
        for name, chosen, weight in (
            ("masked", hidden, self.options.masked_weight),
            ("unmasked", ~hidden, self.options.unmasked_weight),
        ):
            count = chosen.sum()
            everywhere = distributed.total(count.float()).clamp(min=1.0)
            mean = (losses * chosen).sum() * distributed.size() / everywhere
            if weight:
                value = value + weight * mean
            logs[f"{name}_loss"] = mean.detach()
            logs[f"{name}_accuracy"] = (right * chosen).sum() * distributed.size() / everywhere
        found = logits.detach()[hidden].argmax(dim=1)
        classes = logits.shape[1]
        logs["perplexity"] = _perplexity(torch.bincount(found, minlength=classes))
        logs["code_perplexity"] = _perplexity(torch.bincount(codes[hidden], minlength=classes))
        return Loss(value, logs)

    def network(self) -> nn.Module:
        """The encoder, with its prediction head."""
        return self.encoder

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Never stops: a network that predicts the codes' mere frequencies for a while may still
        be about to learn, and no threshold tells the two apart without false alarms."""
        return None


def predict(network: MelHubert, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits [N, K] in float32, codes [N] and whether hidden [N], of the N valid frames."""
    features, mask, lengths = batch["features"], batch["mask"], batch["lengths"]
    features = features.masked_fill(mask[..., None], 0.0)
    whole = bool((lengths == features.shape[1]).all())
    logits = network(features, None if whole else lengths)
    valid = batch["codes"] != IGNORED
    return logits[valid].float(), batch["codes"][valid], mask[valid]


def _perplexity(counts: torch.Tensor) -> torch.Tensor:
    p = counts.float() / counts.sum().clamp(min=1)
    return torch.exp(-(p * p.clamp(min=1e-12).log()).sum())
