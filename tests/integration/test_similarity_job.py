"""The similarity job whole: routes agree, runs resume after SIGKILL, bad input is named."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import killable
from fakes import noise
from voxstrata.config import build
from voxstrata.errors import (
    ConfigError,
    CorpusError,
    LabelError,
    ResultsError,
    RunInterruptedError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from voxstrata.results import load_results
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig

MODELS = ("log-mel", "mfcc", "random:ecapa,channels=16,mfa=24,embed=8,se=8,attention=8")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen recordings of coloured noise, 0.5 to 1.9 s, four speakers."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    lines = []
    for number in range(14):
        samples = int(rng.integers(8000, 30000))
        tone = np.sin(np.arange(samples) * (0.02 + 0.01 * (number % 4)))
        audio = noise(samples, number) + 0.2 * tone.astype(np.float32) * rng.random()
        soundfile.write(folder / f"r{number:02d}.wav", audio, 16000)
        duration = samples / 16000
        lines.append(
            {
                "id": f"r{number:02d}",
                "file": f"r{number:02d}.wav",
                "speaker": f"s{number % 4}",
                "duration": duration,
                "sampling_rate": 16000,
                "phones": [[0.0, 0.2, "AA"], [0.2, 0.4, "B"], [0.4, duration, "AA"]],
            }
        )
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


def config(recordings: Path, **changes: object) -> SimilarityConfig:
    values: dict[str, object] = {
        "models": MODELS,
        "corpus": str(recordings),
        "units": ("frame", "utterance", "phone"),
        "folds": 5,
        "shard_s": 2.0,
    }
    return SimilarityConfig.model_validate(values | changes)


def test_three_routes_agree_to_1e10_in_float64(recordings: Path, tmp_path: Path) -> None:
    """Moments in memory, blocks from the store, Gram form: the same values and intervals."""
    tables = {}
    for route in ("moments", "blocks", "gram"):
        settings = config(
            recordings, route=route, precision="float64", measures=("cka", "cka-biased", "rsa")
        )
        tables[route] = run_similarity(settings, tmp_path / route).table
        plan = load_results(tmp_path / route).record["plan"]
        assert {item["route"] for item in plan} == {route}
    one = tables["moments"]
    assert len(one) > 300
    assert np.isfinite(one[["value", "ci_low", "ci_high"]].to_numpy()).all()
    for other in ("blocks", "gram"):
        keys = ["model", "layer", "other_model", "other_layer", "measure", "unit", "n", "groups"]
        pd.testing.assert_frame_equal(one[keys], tables[other][keys])
        for column in ("value", "ci_low", "ci_high"):
            np.testing.assert_allclose(one[column], tables[other][column], rtol=0, atol=1e-10)


def test_blocks_do_not_depend_on_memory(recordings: Path, tmp_path: Path) -> None:
    tables = []
    for number, memory in enumerate((1.0, 2e-4)):
        settings = config(
            recordings,
            route="blocks",
            memory_gib=memory,
            units=("phone",),
            measures=("cka", "pwcca", "regression"),
        )
        if memory < 1:  # many chunks: force the planner's hand with the engine's own floor
            settings = settings.model_copy(update={"memory_gib": 1e-3})
        tables.append(run_similarity(settings, tmp_path / str(number)).table)
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=0, atol=1e-9)
    ways = tables[0][tables[0]["measure"] == "regression"]
    assert len(ways) == len(set(zip(ways["model"], ways["layer"], strict=True))) ** 2


def test_moment_measures_agree_between_routes(recordings: Path, tmp_path: Path) -> None:
    # not pwcca-pasad (arbitrary signs), not ECAPA (nearly dead channels: ill-conditioned)
    names = ("cca-mean", "pwcca-x", "procrustes", "svcca")
    tables = {}
    for route in ("moments", "blocks"):
        settings = config(
            recordings,
            models=MODELS[:2],
            route=route,
            precision="float64",
            measures=names,
            units=("frame",),
        )
        tables[route] = run_similarity(settings, tmp_path / route).table
    frame = tables["moments"]
    for column in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(frame[column], tables["blocks"][column], rtol=0, atol=1e-9)


def test_row_measures_and_minibatch(recordings: Path, tmp_path: Path) -> None:
    rows = run_similarity(
        config(recordings, measures=("mutual-knn", "rsa-spearman", "cka-rbf"), units=("phone",)),
        tmp_path / "rows",
    ).table
    own = rows[(rows.model == rows.other_model) & (rows.layer == rows.other_layer)]
    np.testing.assert_allclose(own["value"], 1.0, atol=1e-9)
    cheap = run_similarity(
        config(
            recordings, measures=("cka",), units=("frame",), route="minibatch", minibatch_rows=64
        ),
        tmp_path / "minibatch",
    ).table
    exact = run_similarity(
        config(recordings, measures=("cka",), units=("frame",)), tmp_path / "exact"
    ).table
    assert set(cheap["estimator"]) == {"minibatch"}
    assert np.corrcoef(cheap["value"], exact["value"])[0, 1] > 0.9


def test_speaker_folds_keep_speakers_together(recordings: Path, tmp_path: Path) -> None:
    result = run_similarity(
        config(recordings, group="speaker", folds=4, units=("utterance",)), tmp_path
    )
    assert set(result.table["groups"]) == {4}
    assert result.record["folds"] == 4


def test_run_record_is_complete(recordings: Path, tmp_path: Path) -> None:
    record = run_similarity(config(recordings), tmp_path).record
    assert record["schema"] == 2
    assert record["corpus"]["utterances"] == 14
    assert [model["spec"] for model in record["models"]] == list(MODELS)
    assert record["config"]["folds"] == 5
    assert record["dropped"]["frame"] == {} or sum(record["dropped"]["frame"].values()) >= 0
    assert any("randomly initialised" in notice for notice in record["notices"])
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("route", ["moments", "blocks"])
def test_killed_and_resumed_equals_uninterrupted(
    recordings: Path, tmp_path: Path, route: str
) -> None:
    """Real processes, real SIGKILL, at three points of the pass; the table is the same bits."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["voxstrata.similarity.job", "killable"])
    settings = config(recordings, route=route, units=("frame", "utterance"), shard_s=1.0)
    arguments = settings.model_dump(mode="json")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finishing = context.Process(target=killable.run, args=(arguments, str(whole), 0.0))
    finishing.start()
    # just after a checkpoint, and a while later, in the middle of a shard or of its writing
    for shards, delay_s in ((2, 0.0), (5, 0.11), (9, 0.13)):
        process = context.Process(target=killable.run, args=(arguments, str(broken), 0.1))
        process.start()
        cursor, deadline = broken / "state" / "pass.json", time.monotonic() + 120
        while time.monotonic() < deadline and process.is_alive():
            if cursor.exists() and json.loads(cursor.read_text())["done"] >= shards:
                break
            time.sleep(0.01)
        time.sleep(delay_s)
        assert process.is_alive(), "the run ended before it could be killed"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (broken / "results.parquet").exists()
    process = context.Process(target=killable.run, args=(arguments, str(broken), 0.0))
    process.start()
    for last in (finishing, process):
        last.join()
        assert last.exitcode == 0
    result = load_results(broken)
    assert result.record["resumed"] is True
    pd.testing.assert_frame_equal(load_results(whole).table, result.table, check_exact=True)


def test_values_resume_from_partial_blocks(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run stopped among the blocks goes on with the pairs that are missing."""
    from voxstrata.similarity import blocks, sweep
    from voxstrata.similarity.blocks import BlockEngine

    settings = config(
        recordings, route="blocks", units=("phone",), measures=("cka", "cca-mean"), memory_gib=1.0
    )
    monkeypatch.setattr(blocks, "GROUP_WIDTH", 64)
    monkeypatch.setattr(sweep, "SAVE_EVERY_S", 0.0)
    want = run_similarity(settings, tmp_path / "whole").table
    plain, calls = BlockEngine._group, []

    def dying(self: BlockEngine, i: int, group: list[int], *rest: object) -> None:
        if len(calls) >= 9:
            raise KeyboardInterrupt
        calls.extend((i, j) for j in group)
        plain(self, i, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockEngine, "_group", dying)
    with pytest.raises(RunInterruptedError, match="same command again"):
        run_similarity(settings, tmp_path / "broken")
    again: list[tuple[int, int]] = []

    def counting(self: BlockEngine, i: int, group: list[int], *rest: object) -> None:
        again.extend((i, j) for j in group)
        plain(self, i, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockEngine, "_group", counting)
    got = run_similarity(settings, tmp_path / "broken").table
    pd.testing.assert_frame_equal(want, got, check_exact=True)
    layers = len(set(zip(got["model"], got["layer"], strict=True)))
    assert sorted(calls + again) == [(i, j) for i in range(layers) for j in range(i, layers)]


def test_overwrite_words(recordings: Path, tmp_path: Path) -> None:
    settings = config(recordings, units=("utterance",), models=("log-mel", "mfcc"))
    with pytest.raises(ResultsError, match="no finished results"):
        run_similarity(settings, tmp_path, overwrite="only-cache")
    first = run_similarity(settings, tmp_path).record["finished"]
    stamp = (tmp_path / "results.parquet").stat().st_mtime_ns
    assert run_similarity(settings, tmp_path, overwrite="missing").record["finished"] == first
    assert run_similarity(settings, tmp_path, overwrite="only-cache").record["finished"] == first
    assert (tmp_path / "results.parquet").stat().st_mtime_ns == stamp
    with pytest.raises(ResultsError, match="holds results already"):
        run_similarity(settings, tmp_path, overwrite="never")
    with pytest.raises(ResultsError, match="other settings"):
        run_similarity(settings.model_copy(update={"seed": 9}), tmp_path)
    run_similarity(settings.model_copy(update={"seed": 9}), tmp_path, overwrite="always")
    assert (tmp_path / "results.parquet").stat().st_mtime_ns > stamp


def test_two_runs_on_one_folder_are_refused(recordings: Path, tmp_path: Path) -> None:
    from voxstrata.files import lock

    with lock(tmp_path), pytest.raises(StorageError, match="another run"):
        run_similarity(config(recordings), tmp_path)


def test_bad_settings_are_named_before_work(recordings: Path, tmp_path: Path) -> None:
    for changes, error, text in (
        ({"models": ("log-mell",)}, UnknownNameError, "log-mel"),
        ({"layers": ("nope",)}, UnknownNameError, "layer of any model"),
        ({"measures": ("ckaa",)}, UnknownNameError, "did you mean 'cka'"),
        ({"units": ("word",)}, LabelError, "words"),
        ({"corpus": str(tmp_path / "nothing")}, CorpusError, "nothing"),
        ({"models": ("mfcc", "mfcc")}, UsageError, "twice"),
        ({"route": "minibatch", "measures": ("svcca",)}, UsageError, "CKA alone"),
        ({"layers": ("embedding",), "models": MODELS[2:]}, UsageError, "utterance layers only"),
        ({"measures": ("mutual-knn",), "folds": 2}, UsageError, "too few rows"),
    ):
        with pytest.raises(error, match=text):
            run_similarity(config(recordings, **changes), tmp_path / "out")
    assert not (tmp_path / "out" / "store").exists()
    with pytest.raises(ConfigError, match="did you mean 'folds'"):
        build(SimilarityConfig, {"models": ["mfcc"], "corpus": "x", "fold": 3})


def test_full_disk_is_named_and_resumable(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    plain, count = os.fsync, 0

    def filling(handle: int) -> None:
        nonlocal count
        count += 1
        if count == 25:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(handle)

    settings = config(recordings, route="blocks", units=("frame",))
    monkeypatch.setattr(os, "fsync", filling)
    with pytest.raises(StorageError, match="No space left"):
        run_similarity(settings, tmp_path / "full")
    monkeypatch.setattr(os, "fsync", plain)
    got = run_similarity(settings, tmp_path / "full").table
    want = run_similarity(settings, tmp_path / "whole").table
    pd.testing.assert_frame_equal(want, got, check_exact=True)


def _stopped(
    settings: SimilarityConfig,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: str = "missing",
) -> RunInterruptedError:
    """Stop a run by Ctrl-C after its third checkpoint; returns what it said."""
    from voxstrata.streaming.onepass import Pass

    plain = Pass._checkpoint

    def stopping(self: Pass, done: int) -> None:
        plain(self, done)
        if done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "_checkpoint", stopping)
        with pytest.raises(RunInterruptedError) as caught:
            run_similarity(settings, out, overwrite=overwrite)  # type: ignore[arg-type]
    return caught.value


SMALL = {"models": ("log-mel", "mfcc"), "units": ("frame",), "route": "blocks"}


def test_killed_while_results_are_written_or_cleaned_up(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxstrata import results
    from voxstrata.similarity import job

    settings = config(recordings, **SMALL)
    want = run_similarity(settings, tmp_path / "whole").table

    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(results, "write_json", dying)  # the table is there, the record is not
        with pytest.raises(RunInterruptedError):
            run_similarity(settings, out)
    assert (out / "results.parquet").exists()
    with pytest.raises(ResultsError, match="no finished results"):
        load_results(out)
    with monkeypatch.context() as patch:
        patch.setattr(job, "clean_up", dying)  # all is written, nothing is removed
        with pytest.raises(RunInterruptedError):
            run_similarity(settings, out)
    assert (out / "store").exists()
    got = run_similarity(settings, out)
    assert got.record["resumed"] is True
    pd.testing.assert_frame_equal(want, got.table, check_exact=True)
    assert not (out / "store").exists()
    assert not (out / "state").exists()


def test_a_store_without_a_plan_never_gets_into_the_numbers(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--overwrite always killed after it removed the state but not the store."""
    import shutil

    settings = config(recordings, **SMALL)
    _stopped(settings, tmp_path / "stale", monkeypatch)
    shutil.rmtree(tmp_path / "stale" / "state")
    fewer = config(recordings, **SMALL, limit=9, shard_s=60.0)
    got = run_similarity(fewer, tmp_path / "stale").table
    pd.testing.assert_frame_equal(
        run_similarity(fewer, tmp_path / "fresh").table, got, check_exact=True
    )


def test_another_route_or_estimator_is_never_taken_for_the_same_run(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    settings = config(recordings, **SMALL)
    error = _stopped(settings, out, monkeypatch, "always")
    assert "--overwrite missing" in str(error)
    with pytest.raises(UsageError, match="another route"):
        run_similarity(settings.model_copy(update={"route": "moments"}), out)
    forced = run_similarity(
        settings.model_copy(update={"route": "moments"}), out, overwrite="always"
    )
    assert [item["route"] for item in forced.record["plan"]] == ["moments"]
    assert forced.record["resumed"] is False
    # exact routes share their results, the minibatch estimator does not
    assert run_similarity(settings, out).record["finished"] == forced.record["finished"]
    with pytest.raises(ResultsError, match="other settings"):
        run_similarity(settings.model_copy(update={"route": "minibatch"}), out)


@pytest.mark.parametrize("route", ["moments", "blocks", "gram"])
def test_folds_lost_in_the_pass(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """All recordings of a speaker fail while they are read: that fold is gone, and said so."""
    from voxstrata.errors import AudioError
    from voxstrata.streaming import outputs

    plain, bad = outputs._load, {"s0"}

    def failing(utterances: list) -> outputs.Loaded:
        good = [u for u in utterances if u.tiers["speaker"] not in bad]
        lost = [(u, AudioError("broken")) for u in utterances if u.tiers["speaker"] in bad]
        found = plain(good)
        return outputs.Loaded(found.utterances, found.audio, found.failed + lost)

    monkeypatch.setattr(outputs, "_load", failing)
    settings = config(
        recordings,
        models=("log-mel", "mfcc"),
        units=("frame", "utterance"),
        group="speaker",
        folds=4,
        route=route,
        measures=("cka", "cka-biased"),
    )
    result = run_similarity(settings, tmp_path / "some")
    assert set(result.table["groups"]) == {3}
    assert np.isfinite(result.table[["value", "ci_low", "ci_high"]].to_numpy()).all()
    assert any("skipped during the run" in notice for notice in result.record["notices"])
    bad |= {"s1", "s2"}
    with pytest.raises(UsageError, match="too few rows of the unit 'utterance'"):
        run_similarity(settings, tmp_path / "one-utterance")
    alone = settings.model_copy(update={"units": ("frame",)})
    result = run_similarity(alone, tmp_path / "one")
    assert set(result.table["groups"]) == {1}
    assert np.isfinite(result.table["value"]).all()
    assert result.table["ci_low"].isna().all()


def test_moments_resume_between_rare_checkpoints(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxstrata.similarity import prepare
    from voxstrata.streaming.onepass import Pass

    monkeypatch.setattr(prepare, "checkpoint_shards", lambda *_: 3)
    settings = config(recordings, models=("log-mel", "mfcc"), route="moments", shard_s=1.0)
    want = run_similarity(settings, tmp_path / "whole").table
    plain = Pass.work
    for stop in (2, 5, 7):
        calls: list[int] = []

        def stopping(
            self: Pass, shard: object, advance: object, calls: list[int] = calls, stop: int = stop
        ) -> None:
            calls.append(1)
            if len(calls) > stop - 1:
                raise KeyboardInterrupt
            plain(self, shard, advance)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Pass, "work", stopping)
            with pytest.raises(RunInterruptedError):
                run_similarity(settings, tmp_path / "broken")
    got = run_similarity(settings, tmp_path / "broken").table
    pd.testing.assert_frame_equal(want, got, check_exact=True)
