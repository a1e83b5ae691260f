"""Scores that look at nothing but weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from voxstrata.models.base import SpeechModel
from voxstrata.neurons.pruning.copies import BlockParts, take_copy
from voxstrata.neurons.pruning.scores import Evidence, Floats, HeadScores, RowScores


class MagnitudeScore:
    """Sums of magnitudes, in float64.

    A neuron: its row and bias in the first map and its column in the second,
    ``||W1[i]||_1 + |b1[i]| + ||W2[:, i]||_1``. A head: its rows and biases of q, k and v; the
    output map does not count (the MelHuBERT authors' compression code).
    """

    summary = "sum of magnitudes of the weights"
    needs: Literal["nothing"] = "nothing"

    def rows(self, model: SpeechModel, evidence: Evidence) -> RowScores:
        """See the class."""
        found = {}
        for parts in take_copy(model).blocks:
            for name in parts.feed_forwards:
                up, down = parts.map(f"{name}.up"), parts.map(f"{name}.down")
                columns = np.abs(_double(down.weight)).sum(axis=0)
                found[parts.layer(name)] = _outputs(up) + columns
        return found

    def heads(self, model: SpeechModel, evidence: Evidence) -> HeadScores:
        """See the class."""
        return {parts.number: _heads(parts) for parts in take_copy(model).blocks}


class RandomScore:
    """Random numbers that depend on the seed, the layer and its width alone."""

    summary = "a seeded random order"
    needs: Literal["nothing"] = "nothing"

    def rows(self, model: SpeechModel, evidence: Evidence) -> RowScores:
        """See the class."""
        widths = [
            (parts.layer(name), int(parts.map(f"{name}.up").out_features))
            for parts in take_copy(model).blocks
            for name in parts.feed_forwards
        ]
        return {
            layer: np.random.default_rng([evidence.seed, number, width]).random(width)
            for number, (layer, width) in enumerate(widths)
        }

    def heads(self, model: SpeechModel, evidence: Evidence) -> HeadScores:
        """See the class."""
        return {
            parts.number: np.random.default_rng([evidence.seed, parts.number, parts.heads]).random(
                parts.heads
            )
            for parts in take_copy(model).blocks
        }


def _double(tensor: Any) -> Floats:
    values: Floats = tensor.detach().double().cpu().numpy()
    return values


def _outputs(one: Any) -> Floats:
    """Magnitudes of everything that makes each output of a linear map."""
    total: Floats = np.abs(_double(one.weight)).sum(axis=1)
    return total if one.bias is None else total + np.abs(_double(one.bias))


def _heads(parts: BlockParts) -> Floats:
    total = np.sum([_outputs(parts.map(name)) for name in "qkv"], axis=0)
    found: Floats = total.reshape(parts.heads, parts.head_width).sum(axis=1)
    return found


L1 = MagnitudeScore()
RANDOM = RandomScore()
