"""Samples with planted contents, for the tests of mutual information and linear predictability."""

from __future__ import annotations

from typing import Any

import numpy as np

from voxstrata.properties.sample import Sample, sample_of
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.stack import StackLayer
from voxstrata.types import LayerInfo, Segment, Utterance

WIDTH = 24
LAYER = StackLayer(0, "planted", LayerInfo("1", WIDTH))
PHONES = ("AA", "B", "CH", "D", "EH0", "EH1")


def settings(**changes: Any) -> PropertiesConfig:
    return PropertiesConfig(models=("planted",), corpus="none", **{"scale": "small", **changes})


def segments(seed: int = 0, n: int = 1200, strength: float = 1.5) -> tuple[Sample, np.ndarray]:
    """Phone rows of 40 recordings, five folds; the first rows of the result hold the phone."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, len(PHONES), n)
    utterance = np.arange(n) % 40
    means = rng.normal(size=(len(PHONES), WIDTH)) * strength
    means[5] = means[4]  # both are EH
    rows = means[which] + rng.normal(size=(n, WIDTH))
    start = (np.arange(n) // 40) * 0.1
    words = {u: [] for u in range(40)}
    for i in range(n):
        words[int(utterance[i])].append(
            Segment(start[i], start[i] + 0.1, f"w{int(rng.integers(0, 25))}")
        )
    utterances = {
        f"u{u}": Utterance(
            f"u{u}",
            n / 40 * 0.1,
            {"speaker": f"s{u // 4}", "words": tuple(words[u])},
        )
        for u in range(40)
    }
    sample = sample_of(
        [rows],
        layers=[LAYER],
        utterances=utterances,
        utterance=[f"u{u}" for u in utterance],
        fold=utterance % 5,
        labels=[PHONES[w] for w in which],
        start_s=start,
        end_s=start + 0.1,
    )
    return sample, rows.astype(np.float32)


def recordings(
    speakers: int = 30, each: int = 6, seed: int = 1, speaker_strength: float = 2.0
) -> tuple[Sample, np.ndarray, dict[str, np.ndarray]]:
    """Utterance rows: a strong speaker vector, a weak loudness, and tiers.

    ``coin`` is a random coin and ``height`` a random number of each speaker, which no direction
    of the rows holds beyond who speaks; ``loud`` is a number of each recording, in one direction;
    ``gender`` is in another direction; ``mood`` is a class of each recording, in none.
    """
    rng = np.random.default_rng(seed)
    n = speakers * each
    who = np.repeat(np.arange(speakers), each)
    gender = np.arange(speakers) % 2
    coin = rng.permutation(gender)
    height = rng.normal(size=speakers)
    loud = rng.normal(size=n)
    mood = rng.integers(0, 3, n)
    rows = rng.normal(size=(n, WIDTH)) + speaker_strength * rng.normal(size=(speakers, WIDTH))[who]
    rows[:, 0] = loud * 2 + 0.3 * rng.normal(size=n)
    rows[:, 1] = (2 * gender[who] - 1) * 2 + rng.normal(size=n)
    utterances = {
        f"u{i}": Utterance(
            f"u{i}",
            2.0,
            {
                "speaker": f"s{who[i]}",
                "gender": "FM"[gender[who[i]]],
                "coin": "HT"[coin[who[i]]],
                "height": float(height[who[i]]),
                "loud": float(loud[i]),
                "mood": f"m{mood[i]}",
                "same": "x",
            },
        )
        for i in range(n)
    }
    sample = sample_of(
        [rows],
        layers=[LAYER],
        utterances=utterances,
        utterance=[f"u{i}" for i in range(n)],
        fold=np.arange(n) % 5,
        unit="utterance",
    )
    return sample, rows.astype(np.float32), {"who": who, "loud": loud}
