"""Evaluation while training, and the mean embedding that is exported: short and odd recordings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import training_contrast as tc
import training_made as made
from voxstrata.errors import AudioError, CorpusError
from voxstrata.frontend import front_end
from voxstrata.training.data.items import Items
from voxstrata.training.evaluate import PairsEvaluator, check_evaluation
from voxstrata.training.export import training_mean


class _Corpus(made.PlantedCorpus):
    def __iter__(self) -> Any:
        return iter(self.utterances)

    def __len__(self) -> int:
        return len(self.utterances)


def _corpus(seconds: list[float], speakers: int) -> Any:
    return _Corpus(seconds, speakers)


SHORT = [0.01, 0.03]
"""No frame; one frame, of which an unbiased deviation is not a number."""


def _network() -> Any:
    network = tc.encoder(inputs=80).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 80)).isnan().all()  # what must not get into a mean
    return network


def test_recordings_too_short_for_the_network_take_no_part_in_the_error_rate() -> None:
    network, front = _network(), front_end("wespeaker")

    class Holder:
        def network(self) -> Any:
            return network

    with torch.no_grad():
        long = PairsEvaluator("v", _corpus([0.5, 0.6, 0.7, 0.8], 2), front, "cpu")
        mixed = PairsEvaluator("v", _corpus([0.5, 0.6, 0.7, 0.8, *SHORT], 2), front, "cpu")
        assert len(mixed.embed(network)) == 4
        assert mixed(Holder()) == long(Holder())  # type: ignore[arg-type]
        with pytest.raises(CorpusError, match="gives no error rate") as caught:
            PairsEvaluator("v", _corpus([*SHORT, 0.5, 0.5], 2), front, "cpu")(Holder())  # type: ignore[arg-type]
    assert "2 usable recordings of 2 speakers" in str(caught.value)


def test_the_mean_is_finite_though_a_recording_is_too_short() -> None:
    network, front = _network(), front_end("wespeaker")
    items = Items(_corpus([0.5, 0.6, *SHORT], 2))
    found = training_mean(network, items, front, "cpu", 10, False)
    with torch.no_grad():
        waves = [torch.from_numpy(u.read())[None] for u in items.corpus.utterances[:2]]
        rows = [network(front(wave))[0].double() for wave in waves]
    np.testing.assert_allclose(found, torch.stack(rows).mean(0).numpy(), atol=1e-6)
    with pytest.raises(AudioError, match="no training recording") as caught:
        training_mean(network, Items(_corpus([*SHORT], 2)), front, "cpu", 10, False)
    assert "data.min_s" in caught.value.fix


@pytest.mark.parametrize(("seconds", "speakers"), [([1.0, 1.0, 1.0], 1), ([1.0, 1.0, 1.0], 3)])
def test_an_evaluation_corpus_needs_pairs_of_both_kinds(
    seconds: list[float], speakers: int
) -> None:
    with pytest.raises(CorpusError, match="gives no error rate") as caught:
        check_evaluation("v", _corpus(seconds, speakers))
    assert f"3 recordings of {speakers} speakers" in str(caught.value)
    check_evaluation("v", _corpus(seconds, 2))


def test_an_evaluation_corpus_needs_speakers() -> None:
    corpus = _corpus([1.0] * 4, 2)
    first, *rest = corpus.utterances
    corpus.utterances = (replace(first, tiers={}), *rest)
    with pytest.raises(CorpusError, match="1 of 4 recordings of the evaluation corpus 'v'"):
        check_evaluation("v", corpus)
