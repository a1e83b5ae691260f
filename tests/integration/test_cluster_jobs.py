"""Jobs whose pass is made by worker processes: the tables of a single process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clusters
import planted
from voxstrata.neurons.job import run_neurons
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.probing.job import run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.properties.job import run_properties
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.cluster import workers

MODEL = "random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8"
NUMBERS = ["value", "ci_low", "ci_high"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted.write_corpus(tmp_path_factory.mktemp("planted"), 24, 4))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Tcp]:
    with clusters.tcp(tmp_path_factory.mktemp("cluster"), 2) as one:
        yield one
        workers.close_all()


def run(job: str, corpus: str, out: Path, cluster: str | None, **more: Any) -> pd.DataFrame:
    common: dict[str, Any] = {"corpus": corpus, "cluster": cluster, **more}
    two = (MODEL, "log-mel")
    if job == "similarity":
        settings = {"models": two, "units": ("frame", "utterance"), "shard_s": 2.0, "folds": 3}
        return run_similarity(SimilarityConfig(**{**settings, **common}), out).table
    if job == "properties":
        chosen = ("variance-shares", "phone-gap")
        return run_properties(
            PropertiesConfig(
                models=two, properties=chosen, scale="small", folds=4, twins=False, **common
            ),
            out,
        ).table
    if job == "probing":
        return run_probing(
            ProbeConfig(
                models=two, tasks=("sid", "gender"), steps=20, seeds=1, lrs=(0.1,), twins=False,
                **common,
            ),
            out,
        ).table  # fmt: skip
    return run_neurons(
        NeuronsConfig(
            models=(MODEL,), contrasts=("gender/clusters=2",), rule="top=0.25", draws=20, splits=2,
            twins=False, **common,
        ),
        out,
    ).table  # fmt: skip


@pytest.mark.parametrize("job", ["similarity", "properties", "neurons"])
def test_rows_and_counts_are_those_of_one_process_bit_by_bit(
    job: str, recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    alone = run(job, recordings, tmp_path / "alone", None)
    spread = run(job, recordings, tmp_path / "spread", cluster.address)
    pd.testing.assert_frame_equal(alone, spread, check_exact=True)
    assert not (tmp_path / "spread" / "state").exists()


def test_heads_read_the_same_rows_and_norms_of_layers_are_means_in_another_order(
    recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    alone = run("probing", recordings, tmp_path / "alone", None)
    spread = run("probing", recordings, tmp_path / "spread", cluster.address)
    normed = alone["measure"].str.contains("norm")
    pd.testing.assert_frame_equal(alone[~normed], spread[~normed], check_exact=True)
    pd.testing.assert_frame_equal(alone[normed], spread[normed], rtol=1e-12)


@pytest.mark.parametrize("route", ["moments", "minibatch"])
def test_sums_are_those_of_one_process_but_for_the_order_of_sixty_four_bit_additions(
    route: str, recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"route": route, "units": ("frame",)}
    if route == "moments":
        more["precision"] = "float64"
    alone = run("similarity", recordings, tmp_path / "alone", None, **more)
    spread = run("similarity", recordings, tmp_path / "spread", cluster.address, **more)
    pd.testing.assert_frame_equal(alone, spread, check_exact=False, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_how_many_workers_there_are_changes_no_bit(
    recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"route": "moments", "units": ("frame",)}
    two = run("similarity", recordings, tmp_path / "two", cluster.address, **more)
    with clusters.tcp(tmp_path / "other", 1) as other:
        one = run("similarity", recordings, tmp_path / "one", other.address, **more)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.slow
def test_a_bad_recording_is_skipped_and_listed_as_in_one_process(
    recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    import shutil

    from voxstrata.results import load_results

    folder = tmp_path / "corpus"
    shutil.copytree(recordings, folder)
    whole = (folder / "r05.wav").read_bytes()
    (folder / "r05.wav").write_bytes(whole[: len(whole) // 2])
    run("similarity", str(folder), tmp_path / "alone", None)
    run("similarity", str(folder), tmp_path / "spread", cluster.address)
    found = [
        load_results(tmp_path / name).record["corpus"]["skipped"] for name in ("alone", "spread")
    ]
    assert found[0] == found[1]
    assert [item["id"] for item in found[0]] == ["r05"]


def test_jobs_that_share_models_and_recordings_are_one_pass_on_a_cluster_too(
    recordings: str, cluster: clusters.Tcp, tmp_path: Path
) -> None:
    from voxstrata.properties.job import open_properties
    from voxstrata.similarity.job import open_similarity
    from voxstrata.streaming.together import advance_together

    def settings(cluster: str | None) -> tuple[SimilarityConfig, PropertiesConfig]:
        common: dict[str, Any] = {"corpus": recordings, "models": (MODEL,), "cluster": cluster}
        return (
            SimilarityConfig(**common, units=("frame",), route="moments", precision="float64"),
            PropertiesConfig(
                **common, properties=("variance-shares",), scale="small", folds=4, twins=False
            ),
        )

    similarity, properties = settings(cluster.address)
    one, two = tmp_path / "together" / "similarity", tmp_path / "together" / "properties"
    report = advance_together(
        [
            (one, lambda: open_similarity(similarity, one)),
            (two, lambda: open_properties(properties, two)),
        ]
    )
    assert report.groups == ((one, two),)
    assert report.left == {}
    assert report.saved == 24
    found = run_similarity(similarity, one).table, run_properties(properties, two).table
    similarity, properties = settings(None)
    alone = (
        run_similarity(similarity, tmp_path / "alone-1").table,
        run_properties(properties, tmp_path / "alone-2").table,
    )
    pd.testing.assert_frame_equal(found[0], alone[0], rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(found[1], alone[1], check_exact=True)
