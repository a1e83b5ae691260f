"""Word similarity, spoken sentence similarity and word segmentation against the original code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from voxstrata.properties.tasks.segmentation import (
    change,
    count,
    curve_peaks,
    quality,
    zscore,
)
from voxstrata.properties.tasks.sentence_similarity import sentence_scores
from voxstrata.properties.tasks.word_similarity import Found, score_list


def load(shared: Path, name: str) -> tuple[dict, dict, np.ndarray]:
    with np.load(shared / "golden" / "similarity" / f"{name}.npz") as z:
        data = {k: z[k] for k in z.files}
    meta = json.loads(str(data["meta"]))
    return data, meta, data["Vq"] * meta["scale"]


def test_wordsim(shared: Path) -> None:
    z, _, vectors = load(shared, "wordsim")
    found = Found("golden", z["pairs"].astype(np.int64), z["human"], len(z["pairs"]))
    assert score_list(vectors, found).value == pytest.approx(float(z["spearman"]), abs=1e-12)


def test_spoken_sts(shared: Path) -> None:
    z, _, vectors = load(shared, "spoken_sts")
    human = z["similarity"]
    pair = np.repeat(np.arange(len(human)), 16)
    a, b = np.meshgrid(np.arange(4), np.arange(4, 8), indexing="ij")
    first, second = 8 * pair + np.tile(a.ravel(), 60), 8 * pair + np.tile(b.ravel(), 60)
    found = sentence_scores(vectors, first, second, human[pair], pair)
    assert found.pairs == 60
    assert found.utterance_pairs == 960
    assert found.mean == pytest.approx(float(z["spearman_mean"]), abs=1e-12)
    assert found.every == pytest.approx(float(z["spearman_all16"]), abs=1e-12)


def test_word_segmentation(shared: Path) -> None:
    z, meta, vectors = load(shared, "word_segmentation")
    frames = np.split(zscore(vectors), np.cumsum(z["lengths"])[:-1])
    gold = np.split(z["gt"], np.cumsum(z["gt_count"])[:-1])
    for (prominence, cosine, window), expected in zip(z["grid"], z["prec_rec_f1"], strict=True):
        curves = [change(x, "cosine" if cosine else "euclidean") for x in frames]
        found = curve_peaks(curves, int(window))
        total = np.zeros(7)
        for (peak, height), edges, x in zip(found, gold, frames, strict=True):
            times = meta["stride_s"] * (peak[height >= prominence] + int(window) // 2)
            # The gold edges stand for words one after another.
            words = [(edge, edge) for edge in edges]
            total += count(times, words, len(x) * meta["stride_s"], matching="pasad").array()
        q = quality(total, "pasad")
        assert [q.precision, q.recall, q.f1] == pytest.approx(expected.tolist(), abs=1e-9)
