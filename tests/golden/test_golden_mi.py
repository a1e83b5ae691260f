"""MI / H(label) against the numbers of P2023's public code on fixed inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxstrata.properties.information import counts as info


def case(shared: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(shared / "golden" / "similarity" / f"{name}.npz") as data:
        found = {key: data[key] for key in data.files}
    return found, json.loads(str(found["meta"]))


@pytest.mark.parametrize("name", ["mi_00", "mi_01"])
def test_from_the_stored_assignment(shared: Path, name: str) -> None:
    gold, meta = case(shared, name)
    train = info.Counts.of(gold["train_assign"], gold["labels"])
    evaluated = info.Counts.of(gold["eval_assign"], gold["eval_labels"])
    for part, counts in (("train", train), ("eval", evaluated)):
        assert info.mutual_information(counts) == pytest.approx(
            float(gold[f"mi_{part}_unnorm_nats"]), abs=1e-12
        )
        assert info.entropy(counts.by_label) == pytest.approx(
            float(gold[f"entropy_{part}"]), abs=1e-12
        )
    chosen = evaluated if meta["split"] == "dev-clean" else train
    assert info.normalised(chosen) == pytest.approx(float(gold["mi"]), abs=1e-12)


@pytest.mark.parametrize("name", ["mi_00", "mi_01"])
@pytest.mark.parametrize("seeding_width", [None, 8])
def test_clustering_anew(shared: Path, name: str, seeding_width: int | None) -> None:
    gold, meta = case(shared, name)
    train = (gold["Xq"] * meta["scale"]).astype(np.float32)
    scored = train if meta["split"] == "train-clean" else gold["Eq"] * meta["scale"]
    labels = gold["labels" if meta["split"] == "train-clean" else "eval_labels"]
    book = info.Codebook(meta["n_clusters"], meta["batch_size"], meta["max_iter"], seeding_width)
    codes = info.cluster(train, [scored.astype(np.float32)], book, seeds=range(6))
    values = np.array([info.normalised(info.Counts.of(c[0], labels)) for c in codes])
    stored = np.append(gold["mi_other_seeds"], gold["mi"])
    # Six runs a side, other random streams: the means differ by less than their joint error
    # allows, and no run falls outside the stored range widened by its own spread.
    error = np.hypot(stored.std(ddof=1), values.std(ddof=1)) / np.sqrt(6)
    assert abs(values.mean() - stored.mean()) < 4 * error
    spread = 2 * stored.std(ddof=1)
    assert values.min() > stored.min() - spread
    assert values.max() < stored.max() + spread


def test_stored_codes_are_those_of_the_stored_centres(shared: Path) -> None:
    """The golden assignment is nearest-centre, which is what `cluster` returns too."""
    gold, meta = case(shared, "mi_00")
    rows = gold["Eq"] * meta["scale"]
    distance = ((rows[:, None] - gold["centers"][None]) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == gold["eval_assign"]).mean() > 0.999
