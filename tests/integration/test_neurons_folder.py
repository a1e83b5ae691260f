"""What a neurons run leaves in its folder: nothing in a refused one, labels, a fresh start."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ivectors_made
from neurons_spoken import write
from voxstrata.corpora import load_corpus
from voxstrata.errors import ResultsError, StorageError, UsageError
from voxstrata.models import load_model
from voxstrata.neurons.conditions.vectors import vector_clusters
from voxstrata.neurons.job import run_neurons
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.neurons.unit_vectors import Vectors
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.results import load_results
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.training.kinds import KINDS
from voxstrata.verification.embed import embed

MODEL = "random:melhubert,inputs=80,width=32,layers=2,heads=4,ffn=48,conv_pos=8,conv_groups=4"
OTHER = "random:melhubert,inputs=80,width=16,layers=1,heads=2,ffn=16,conv_pos=8,conv_groups=2"
VECTORS = f"vectors=2:{OTHER}"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoken") / "c", 12, 4, phones=3)


def config(corpus: Path, **changes: Any) -> NeuronsConfig:
    values: dict[str, Any] = {
        "models": (MODEL,), "corpus": str(corpus), "contrasts": (VECTORS,), "rule": "top=0.1",
        "draws": 0, "splits": 0, "rankings": False, "twins": False, "device": "cpu",
    }  # fmt: skip
    return NeuronsConfig.model_validate(values | changes)


def held(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def labels(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "labels.csv").open() as file:
        return {line["utterance"]: line for line in csv.DictReader(file)}


def test_a_folder_that_is_refused_gets_nothing_new(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    similar = SimilarityConfig.model_validate(
        {"models": (OTHER,), "corpus": str(corpus), "device": "cpu"}
    )
    run_similarity(similar, out)
    before = held(out)
    with pytest.raises(ResultsError, match="results of other settings"):
        run_neurons(config(corpus), out)
    assert held(out) == before
    with pytest.raises(ResultsError, match="results already"):
        run_neurons(config(corpus), out, overwrite="never")
    assert held(out) == before
    # Of its own job too, whether finished or not.
    run_neurons(config(corpus, contrasts=("gender",)), tmp_path / "own")
    before = held(tmp_path / "own")
    with pytest.raises(ResultsError, match="contrasts"):
        run_neurons(config(corpus), tmp_path / "own")
    assert held(tmp_path / "own") == before
    state = tmp_path / "half" / "state"
    state.mkdir(parents=True)
    (state / "plan.json").write_text(json.dumps({"identity": "another", "plan": []}))
    before = held(tmp_path / "half")
    with pytest.raises(StorageError, match="unfinished run of other settings"):
        run_neurons(config(corpus), tmp_path / "half")
    assert held(tmp_path / "half") == before


def test_missing_twice_is_read_and_always_twice_is_done_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    made: list[str] = []
    plain = Vectors.labels
    monkeypatch.setattr(
        Vectors, "labels", lambda self, text, *rest: made.append(text) or plain(self, text, *rest)
    )
    first = run_neurons(config(corpus), out)
    before = held(out)
    assert made == [VECTORS]
    again = run_neurons(config(corpus), out)
    assert made == [VECTORS]  # not even labels
    assert held(out) == before
    assert again.record == first.record
    for name in ("ivector", "vectors", "learned", "sets", "counts"):
        (out / name).mkdir(exist_ok=True)
        (out / name / "left.txt").write_text("of an earlier run")
    for _ in range(2):
        afresh = run_neurons(config(corpus), out, overwrite="always")
        pd.testing.assert_frame_equal(afresh.table, first.table)
        assert afresh.record["identity"] == first.record["identity"]
        assert set(held(out)) == set(before)
    assert made == [VECTORS] * 3
    other = run_neurons(config(corpus, contrasts=("gender",)), out, overwrite="always")
    assert [c["name"] for c in other.record["contrasts"]] == ["gender"]
    assert not (out / "vectors").exists()
    assert {line["gender"] for line in labels(out).values()} == {"F", "M"}


def test_afresh_keeps_a_model_in_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The i-vector model of the first run, given to the second one by its path."""
    speech = ivectors_made.write_voices(tmp_path / "speech", 4, 3)
    changes = ivectors_made.recipe(speech, **{"model.rank": 2})
    plain = KINDS.get("ivector").read

    def small(name: str, given: Any, *rest: Any) -> Any:
        kept = [one for one in changes if not one.startswith("data.")]
        return plain(name, [*kept, *given], *rest)

    monkeypatch.setattr(KINDS.get("ivector"), "read", small)
    out = tmp_path / "out"
    first = run_neurons(config(speech, contrasts=("ivector=2",)), out)
    named = config(speech, contrasts=("ivector=2",), ivector=str(out / "ivector" / "model"))
    second = run_neurons(named, out, overwrite="always")
    assert second.record["labels"][0]["sizes"] == first.record["labels"][0]["sizes"]
    assert (out / "ivector" / "model").is_dir()


def test_labels_that_cannot_be_made_leave_no_unfinished_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Vectors, *_: Any) -> Any:
        raise UsageError("no vectors today")

    with monkeypatch.context() as patch:
        patch.setattr(Vectors, "_embeddings", fail)
        with pytest.raises(UsageError, match="no vectors today"):
            run_neurons(config(corpus), tmp_path / "out")
    other = run_neurons(config(corpus, contrasts=("gender",)), tmp_path / "out")
    assert other.record["resumed"] is False


def test_the_clusters_of_recordings_are_kept(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "utterance,a\n" + "".join(f"r{i:02d},x{i % 3}\n" for i in range(9))
    )
    table = f"labels={tmp_path}/t.csv"
    result = run_neurons(config(corpus, contrasts=(VECTORS, "gender", table)), tmp_path / "out")
    found = labels(tmp_path / "out")
    spoken = load_corpus(str(corpus))
    assert list(found) == [u.id for u in spoken.utterances]
    want = vector_clusters(VECTORS, embed(load_model(OTHER), spoken), 2, 0)
    for utterance in spoken.utterances:
        line = found[utterance.id]
        assert line["gender"] == utterance.tiers["gender"]
        assert line[VECTORS] == want.groups[want.of[utterance.id]]
        number = int(utterance.id[1:])
        assert line["labels=t.csv:a"] == (f"x{number % 3}" if number < 9 else "")
    notice = "labels=t.csv:a: 3 of 12 recordings have no label"
    assert sum(notice in text for text in result.record["notices"]) == 1
    assert not any(
        text.startswith("gender: ") and "no label" in text for text in result.record["notices"]
    )
    # And can be used as labels themselves.
    again = run_neurons(
        config(corpus, contrasts=(f"labels={tmp_path}/out/labels.csv:{VECTORS}",)), tmp_path / "re"
    )
    one, two = (
        r.table[(r.table.measure == "neurons") & (r.table.estimator == "published")]
        for r in (result, again)
    )
    one = one[one.property == VECTORS]
    np.testing.assert_array_equal(one["value"], two["value"])
    assert load_results(tmp_path / "out").record["labels"][2]["unlabelled"] == 3


def test_frames_of_a_file_that_knows_some_recordings(corpus: Path, tmp_path: Path) -> None:
    model = load_model(MODEL)
    lines = map(json.loads, (corpus / "manifest.jsonl").read_text().splitlines())
    frames = {e["id"]: model.frames("2", round(16000 * e["duration"])) for e in lines}
    kept = list(frames)[:10]
    (tmp_path / "x.tsv").write_text("\n".join(["/", *(f"{name}.wav\t1" for name in kept)]))
    (tmp_path / "x.km").write_text(
        "\n".join(" ".join(str(i % 2) for i in range(frames[name])) for name in kept)
    )
    settings = config(corpus, contrasts=(f"gender/km={tmp_path}/x.km",))
    result = run_neurons(settings, tmp_path / "out")
    assert any("x.km: 2 of 12 recordings have no label" in n for n in result.record["notices"])
    assert result.record["contrasts"][0]["frames"] == sum(frames[name] for name in kept)


def test_what_a_sweep_cannot_try_is_told(corpus: Path, tmp_path: Path) -> None:
    """Four recordings in 5 and 8 clusters; half of the top 2 % of 48 neurons."""
    small = write(tmp_path / "small", 4, 2, phones=6)
    settings = config(
        small, sweep=True, contrasts=(VECTORS, "gender/clusters=2"), rule="top=0.02",
    )  # fmt: skip
    result = run_neurons(settings, tmp_path / "out")
    told = [n for n in result.record["notices"] if "not tried" in n]
    assert [n.partition(", because")[0] for n in told if n.startswith(VECTORS)] == [
        f"{VECTORS}: not tried with vectors=5", f"{VECTORS}: not tried with vectors=8",
    ]  # fmt: skip
    assert any(n.startswith("all contrasts: not tried with top=0.01") for n in told)
    swept = result.table[result.table.measure == "jaccard-asked"]
    swept = swept[(swept.property == VECTORS) & (swept.control == "")]
    assert set(swept.estimator) == {"vectors=3", "seed=1000", "top=0.04"}
