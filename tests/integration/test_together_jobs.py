"""Four jobs whose pass over the audio is made as one: tables as alone, each model run once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import planted
from voxstrata.models.melhubert.model import MelHubertModel
from voxstrata.neurons.job import open_neurons, run_neurons
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.probing.job import open_probing, run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.properties.job import open_properties, run_properties
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.results import Results
from voxstrata.similarity.job import open_similarity, run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.together import Opener, Report, advance_together

MODEL = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"
RECORDINGS = 24


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted.write_corpus(tmp_path_factory.mktemp("planted"), RECORDINGS, 4))


Runs = dict[str, tuple[Callable[[Path], Any], Callable[[Path], Results]]]


def jobs(corpus: str) -> Runs:
    """For each job what opens its pass in a folder, and what runs it."""
    common: dict[str, Any] = {"corpus": corpus, "models": (MODEL, "log-mel")}
    similarity = SimilarityConfig(**common, units=("frame", "utterance"))
    properties = PropertiesConfig(
        **common, properties=("variance-shares", "phone-gap"), scale="small", folds=4, twins=False
    )
    probing = ProbeConfig(
        **common, tasks=("sid", "gender"), steps=20, seeds=1, lrs=(0.1,), twins=False
    )
    neurons = NeuronsConfig(
        corpus=corpus, models=(MODEL,), contrasts=("gender",), rule="top=0.25", draws=20,
        splits=2, twins=False,
    )  # fmt: skip
    return {
        "similarity": (
            lambda folder: open_similarity(similarity, folder),
            lambda folder: run_similarity(similarity, folder),
        ),
        "properties": (
            lambda folder: open_properties(properties, folder),
            lambda folder: run_properties(properties, folder),
        ),
        "probing": (
            lambda folder: open_probing(probing, folder),
            lambda folder: run_probing(probing, folder),
        ),
        "neurons": (
            lambda folder: open_neurons(neurons, folder),
            lambda folder: run_neurons(neurons, folder),
        ),
    }


def share(runs: Runs, out: Path) -> Report:
    def opener(name: str) -> Opener:
        return lambda: runs[name][0](out / name)

    return advance_together([(out / name, opener(name)) for name in runs])


def test_all_jobs_are_served_by_one_pass(
    recordings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = jobs(recordings)
    want = {name: run(tmp_path / "alone" / name).table for name, (_, run) in runs.items()}
    encoded = 0
    plain = MelHubertModel.encode

    def counting(self: MelHubertModel, audio: Any, layers: Any) -> Any:
        nonlocal encoded
        encoded += len(audio)
        return plain(self, audio, layers)

    monkeypatch.setattr(MelHubertModel, "encode", counting)
    out = tmp_path / "together"
    report = share(runs, out)
    assert encoded == RECORDINGS
    assert report.groups == (tuple(out / name for name in runs),)
    assert not report.left
    # MelHuBERT for four, log-mel for three, mfcc (the baseline of probing) for one
    assert (report.asked, report.run) == (8 * RECORDINGS, 3 * RECORDINGS)
    shares = 0.0
    for name, (_, run) in runs.items():
        result = run(out / name)
        pd.testing.assert_frame_equal(result.table, want[name], check_exact=True)
        record = result.record
        assert record["resumed"] is False
        assert record["shared_pass"]["with"] == sorted(set(runs) - {name})
        assert record["wall_parts_s"]["shared pass"] == record["shared_pass"]["share_s"] > 0
        assert record["wall_s"] == pytest.approx(sum(record["wall_parts_s"].values()), abs=0.01)
        shares += record["shared_pass"]["share_s"]
        assert not (out / name / "state").exists()
    assert encoded == RECORDINGS  # no job ran the model again
    assert shares <= report.wall_s
    # finished folders have nothing to share, and stay as they are
    again = share(runs, out)
    assert not again.groups
    assert again.run == 0
    assert set(again.left.values()) == {"it has no pass to share"}
    table = runs["similarity"][1](out / "similarity").table
    pd.testing.assert_frame_equal(table, want["similarity"], check_exact=True)


def test_alone_a_job_says_nothing_of_sharing(recordings: str, tmp_path: Path) -> None:
    record = jobs(recordings)["similarity"][1](tmp_path).record
    assert "shared_pass" not in record
    assert "shared pass" not in record["wall_parts_s"]


def test_neurons_that_must_learn_first_make_their_pass_themselves(
    recordings: str, tmp_path: Path
) -> None:
    settings = NeuronsConfig(
        corpus=recordings, models=(MODEL,), contrasts=("clusters=2",), rule="top=0.25",
        draws=20, splits=2, twins=False,
    )  # fmt: skip
    assert open_neurons(settings, tmp_path) is None
    assert not list(tmp_path.iterdir())
