"""How well k-means codes of a model's layers go with phones, by what is done to frames before.

    python benchmarks/layer_codes.py MODEL [--shared ../shared] [--clusters 200]

Codes are fitted to 20,000 frames of 500 synthetic recordings with one k-means++ start of at most 25
iterations, and judged on all frames of these and of every second recording of the shared test
data's ``librispeech_train_clean_100``, whose speakers are other ones.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata import load_corpus, load_model
from voxstrata.models.base import SpeechModel
from voxstrata.numerics import kmeans
from voxstrata.properties.linear.targets import stress_free
from voxstrata.streaming.unit_segment import SILENCES
from voxstrata.training.objectives.masked.sources import ModelSource
from voxstrata.types import Utterance

SYNTHETIC = (
    "synthetic,seed=101,speakers=600,sentences=8,prompts=2,keywords=0,commands=2,channels=100"
)
WAYS = (("none", 0), ("mean", 0), ("instance", 0), ("instance", 1), ("instance", 2))


def phones(model: SpeechModel, layer: str, utterance: Utterance, frames: int) -> list[str]:
    """Phone at the centre of each frame; "" in silence."""
    grid = ModelSource(model, layer).grid
    segments = utterance.segments("phones")
    starts = np.array([s.start_s for s in segments])
    found = []
    for t in range(frames):
        centre = grid.centre2(t) / 2 / 16000
        at = int(np.searchsorted(starts, centre, side="right")) - 1
        inside = at >= 0 and centre < segments[at].end_s
        label = segments[at].label if inside else ""
        found.append("" if label in SILENCES else stress_free(label))
    return found


def pnmi(codes: NDArray[np.int64], labels: NDArray[np.object_]) -> float:
    """I(phone; code) / H(phone) over frames with a phone."""
    kept = labels != ""
    _, number = np.unique(labels[kept].astype(str), return_inverse=True)
    joint = np.zeros((codes.max() + 1, number.max() + 1))
    np.add.at(joint, (codes[kept], number), 1)
    joint /= joint.sum()
    code, phone = joint.sum(1), joint.sum(0)
    there = joint > 0
    shared = (joint[there] * np.log(joint[there] / np.outer(code, phone)[there])).sum()
    return float(shared / -(phone * np.log(phone)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--clusters", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    made = load_corpus(SYNTHETIC).subset(utterances=500, seed=0).utterances
    real = load_corpus(f"{given.shared}/data/librispeech_train_clean_100").utterances[::2]
    model = load_model(given.model)
    for layer in [info.name for info in model.layers if info.default]:
        for how, context in WAYS:
            source = ModelSource(model, layer, how, context)
            rows, labels = [], []
            for part in (made, real):
                found = [source.rows([u.read()])[0] for u in part]
                rows.append(np.concatenate(found))
                named = [
                    name
                    for u, one in zip(part, found, strict=True)
                    for name in phones(model, layer, u, len(one))
                ]
                labels.append(np.array(named, dtype=object))
            sample = rows[0][rng.choice(len(rows[0]), min(20_000, len(rows[0])), replace=False)]
            fitted = kmeans.fit(sample, given.clusters, 0, max_iter=25)
            scores = [
                pnmi(kmeans.assign(x, fitted.centres)[0], y)
                for x, y in zip(rows, labels, strict=True)
            ]
            print(f"layer {layer}, {how}, context {context}: {scores[0]:.3f} / {scores[1]:.3f}")


if __name__ == "__main__":
    main()
