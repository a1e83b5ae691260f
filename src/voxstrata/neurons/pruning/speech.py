"""The speech that scores from activations look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from voxstrata.corpora import Corpus
from voxstrata.errors import AudioError, CorpusError
from voxstrata.models.base import Wave
from voxstrata.streaming.batches import make_batches

_CHOICE = 6107  # purpose number of the recordings that are drawn
_BATCH_S = 30.0


def speech(
    corpus: Corpus, seconds: float, seed: int, batch_s: float = _BATCH_S
) -> Callable[[], Iterator[list[Wave]]]:
    """Batches of about so many seconds of speech, the same ones at every call.

    Args:
        corpus: recordings; they are taken in a seeded order. Unreadable ones are passed over.
        seconds: how much.
        seed: of the order.
        batch_s: seconds of a batch.
    """
    chosen, left = [], seconds
    order = np.random.default_rng([_CHOICE, seed]).permutation(len(corpus))
    for place in order.tolist():
        if left <= 0:
            break
        chosen.append(place)
        left -= corpus.utterances[place].duration_s

    def batches() -> Iterator[list[Wave]]:
        read = 0
        for batch in make_batches(corpus.utterances, chosen, batch_s):
            waves: list[Wave] = []
            for place in batch:
                try:
                    waves.append(corpus.utterances[place].read())
                except AudioError:
                    continue
            read += len(waves)
            if waves:
                yield waves
        if not read:
            raise CorpusError(
                f"no recording of {corpus.spec} can be read", got=f"{len(chosen)} tried"
            )

    return batches
