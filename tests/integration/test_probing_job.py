"""The probing job whole: planted layers are found, runs resume, what is left out is said."""

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
from typer.testing import CliRunner

import killable
import planted
from voxstrata.cli import app, commands
from voxstrata.errors import ResultsError, StorageError, UnknownNameError, UsageError
from voxstrata.probing.cells import SUM
from voxstrata.probing.job import PROBES, WEIGHTS, run_probing
from voxstrata.probing.settings import ProbeConfig
from voxstrata.report import draw_report

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in which two speakers differ in every layer."""
    return planted.write_corpus(tmp_path_factory.mktemp("planted"), 24, 4)


def config(recordings: Path, **changes: object) -> ProbeConfig:
    values: dict[str, object] = {
        "models": ("random:melhubert,layers=2,width=16,ffn=32,heads=2,conv_pos=8", "log-mel"),
        "corpus": str(recordings),
        "tasks": ("sid", "gender", "ks"),
        "steps": 30,
        "seeds": 2,
        "lrs": (0.1, 0.01),
    }
    return ProbeConfig.model_validate(values | changes)


def test_everything_is_there_and_chosen_on_dev(recordings: Path, tmp_path: Path) -> None:
    result = run_probing(config(recordings), tmp_path)
    table = result.table
    model = config(recordings).models[0]
    mine = table[(table["model"] == model) & (table["property"] == "sid")]
    scores = mine[(mine["measure"] == "accuracy") & (mine["control"] == "")]
    assert list(scores["layer"]) == ["0", "1", "2", SUM]
    assert scores["value"].between(0, 1).all()
    assert set(table["model"]) == {model, "log-mel", "mfcc"}
    assert "ks" in {item["name"] for item in result.record["left_out"]}
    probes = pd.read_parquet(tmp_path / PROBES)
    # four readings and three sums without a layer, two rates, two seeds; controls have one seed
    grid = probes[(probes["model"] == model) & (probes["task"] == "sid")]
    whole = grid[~grid["layer"].str.contains("without")]
    assert len(whole[whole["control"] == ""]) == 4 * 2 * 2
    assert len(whole[whole["control"] != ""]) == 4 * 2
    assert len(grid) - len(whole) == 3 * 2
    for (layer, control), cell in whole.groupby(["layer", "control"]):
        dev = cell.groupby("lr")["dev"].mean()
        picked = set(cell[cell["chosen"]]["lr"])
        assert len(picked) == 1
        assert dev[picked.pop()] == dev.max(), (layer, control)
        if control == "":
            value = scores[scores["layer"] == layer]["value"].item()
            assert value == pytest.approx(cell[cell["chosen"]]["test"].mean())
    over = table[table["measure"] == "accuracy-over-other-model"]
    over = over[(over["property"] == "sid") & (over["model"] == model)].set_index("other_model")
    assert set(over.index) == {"log-mel", "mfcc"}  # an untrained model has no twin
    mfcc = table[(table["model"] == "mfcc") & (table["property"] == "sid")]
    its = mfcc[(mfcc["measure"] == "accuracy") & (mfcc["control"] == "")]["value"].item()
    ours = scores[scores["layer"] == SUM]["value"].item()
    assert over.loc["mfcc", "value"] == pytest.approx(ours - its)
    assert over.loc["mfcc", "ci_low"] <= ours - its <= over.loc["mfcc", "ci_high"]
    weights = pd.read_parquet(tmp_path / WEIGHTS)
    sums = weights.groupby(["task", "model", "seed"])[["weight", "corrected"]].sum()
    np.testing.assert_allclose(sums, 1.0)
    html = draw_report(tmp_path).read_text()
    assert "What can simple heads do" in html
    assert "Which layers does the sum use" in html


def test_killed_and_resumed(recordings: Path, tmp_path: Path) -> None:
    settings = config(recordings, tasks=("sid", "gender"), models=("log-mel",))
    want = run_probing(settings, tmp_path / "whole").table
    out = tmp_path / "broken"
    context = multiprocessing.get_context("spawn")
    child = context.Process(
        target=killable.run_slow_probing, args=(settings.model_dump(mode="json"), str(out), 2.0)
    )
    child.start()
    until = time.monotonic() + 60
    while not list(out.glob("state/heads/*.npz")) and time.monotonic() < until:
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert list(out.glob("state/heads/*.npz"))
    assert not (out / "run.json").exists()
    got = run_probing(settings, out)
    assert got.record["resumed"] is True
    pd.testing.assert_frame_equal(want, got.table, check_exact=True)
    with pytest.raises(ResultsError):
        run_probing(settings.model_copy(update={"steps": 31}), out)


def test_a_bad_recording_is_left_out_of_every_part(recordings: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(recordings, broken)
    file = sorted(broken.rglob("*.wav"))[0]
    file.write_bytes(b"RIFF and then nothing")
    settings = config(broken, tasks=("sid",), models=("log-mel",), baseline="")
    result = run_probing(settings, tmp_path / "out")
    assert len(result.record["corpus"]["skipped"]) == 1
    assert set(result.table["model"]) == {"log-mel"}


def test_nothing_to_do_is_refused_before_work(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the tasks"):
        run_probing(config(recordings, tasks=("ks",)), tmp_path / "out")
    assert not (tmp_path / "out" / "state").exists()


def test_command(recordings: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["probe", "--list"])
    assert found.exit_code == 0
    assert "speaker" in found.output
    done = runner.invoke(
        app,
        ["probe", "log-mel", "-c", str(recordings), "-t", "sid", "--steps", "10", "--seeds", "1",
         "--lrs", "0.01", "--baseline", "", "-q", "-o", str(tmp_path / "out")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").exists()


PROTOCOL = """
name: tiny
lrs: [0.1, 0.02]
seeds: 1
tasks:
  pr: {steps: 40, batch: 6, hidden: 16, every: 10, stride: 320}
  asr: {steps: 30, batch: 6, hidden: 12, every: 10, stride: 640, screen: 20, lrs: [0.01],
        chooses: cer, masks: {warp: 2, feature_masks: 1, widest_feature: 3, time_masks: 1}}
"""


def test_phones_and_words_are_written_from_frames(recordings: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(PROTOCOL)
    settings = config(recordings, tasks=("pr", "asr"), protocol=str(file), ablation=False,
                      steps=None, seeds=None, lrs=None, twins=False)  # fmt: skip
    result = run_probing(settings, tmp_path / "out")
    table = result.table
    model = settings.models[0]
    mine = table[(table["property"] == "pr") & (table["measure"] == "per")]
    scores = mine[mine["control"] == ""].set_index(["model", "layer"])["value"]
    assert set(scores[model].index) == {"0", "1", "2", SUM}
    # Phones are tones of a fixed frequency: cepstra tell them apart, dealt transcripts do not.
    dealt = mine[mine["control"] != ""].set_index(["model", "layer"])["value"]
    assert scores["mfcc", "mfcc"] < 0.6 < dealt["mfcc", "mfcc"]
    over = table[table["measure"] == "per-over-best-layer"]
    best = result.record["best"][f"pr {model}"]
    assert over["other_layer"].item() == best
    assert over["value"].item() == pytest.approx(scores[model, SUM] - scores[model, best])
    probes = pd.read_parquet(tmp_path / "out" / PROBES)
    grid = probes[(probes["task"] == "pr") & (probes["control"] == "")]
    for _, cell in grid.groupby(["model", "layer"]):
        assert cell[cell["chosen"]]["dev"].item() == cell["dev"].min()
    written = probes[(probes["task"] == "asr") & (probes["model"] == model)]
    # a recurrent head on the sum, on the layer that linear heads chose, and the sum's control
    full, screened = written[~written["screen"]], written[written["screen"]]
    assert len(full) == 3
    best = result.record["best"][f"asr {model}"]
    assert set(full["layer"]) == {SUM, best}
    assert set(written["dev_measure"]) == {"cer"}
    assert set(screened["layer"]) == {"0", "1", "2"}
    assert screened.set_index("layer")["dev"].idxmin() == best
    short = table[(table["property"] == "asr") & (table["estimator"] == "screen")]
    assert set(short[short["model"] == model]["layer"]) == {"0", "1", "2"}
    said = table[(table["property"] == "asr") & (table["control"] == "")]
    assert {"wer", "cer", "wer-over-best-layer"} < set(said["measure"])
    assert said[said["measure"] == "wer"]["value"].between(0, 3).all()
    html = draw_report(tmp_path / "out").read_text()
    assert "phone error rate, % ↓" in html
    assert "word error rate, % ↓" in html


def test_frames_that_do_not_fit_on_the_disk_are_refused(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxstrata.probing import prepare

    monkeypatch.setattr(prepare, "free_disk", lambda _out, _afresh: 1e5)
    settings = config(recordings, tasks=("sid",))
    assert prepare.prepare(settings, tmp_path).frame_bytes == 0
    with pytest.raises(StorageError, match="do not fit") as error:
        prepare.prepare(config(recordings, tasks=("pr",), frames="disk"), tmp_path)
    assert "all frames of 24 recordings" in str(error.value)
    assert "--frames live" in str(error.value)
    planned = prepare.prepare(config(recordings, tasks=("pr",)), tmp_path)
    assert planned.live
    assert any("more than the disk has room for" in notice for notice in planned.notices)
    assert not prepare.prepare(config(recordings, tasks=("sid",)), tmp_path).notices[1:]


TINY = {
    "twins": False,
    "controls": False,
    "ablation": False,
    "steps": 10,
    "lrs": (0.01,),
    "seeds": 1,
}


def test_frames_made_live_give_the_numbers_of_those_on_disk(
    recordings: Path, tmp_path: Path
) -> None:
    for normalise in (False, True):
        found = []
        for way in ("disk", "live"):
            settings = config(
                recordings, tasks=("pr", "sid"), frames=way, normalise=normalise, **TINY
            )
            found.append(run_probing(settings, tmp_path / f"{way}{normalise}"))
        one, other = (result.table for result in found)
        # Probabilities of the same recordings, alone and in a batch of them, differ in rounding.
        np.testing.assert_allclose(one["value"], other["value"], atol=0.02)
        assert list(one["layer"]) == list(other["layer"])


def test_a_task_that_fails_does_not_take_the_others_with_it(
    recordings: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text("name: odd\nlrs: [0.01]\nseeds: 1\ntasks: {pr: {steps: 5, chooses: wer}}")
    tiny = {**TINY, "lrs": None, "seeds": None, "steps": 5}
    settings = config(recordings, tasks=("pr", "sid"), protocol=str(odd), **tiny)
    result = run_probing(settings, tmp_path / "out")
    assert set(result.table["property"]) == {"sid"}
    gone = {item["name"]: item["reason"] for item in result.record["left_out"]}
    assert set(gone) == {f"pr of {m}" for m in (*settings.models, "mfcc")}
    assert "chooses by a measure" in next(iter(gone.values()))
    with pytest.raises(UsageError, match="no task could be done"):
        run_probing(config(recordings, tasks=("pr",), protocol=str(odd), **tiny), tmp_path / "none")


def test_a_part_that_could_not_be_read_is_no_crash(recordings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    planted.write_corpus(folder, 24, 4)
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for i, line in enumerate(lines):
        line["split"] = "test" if i >= 20 else "train"
        if line["split"] == "test":  # too short for any frame
            soundfile.write(folder / line["file"], np.zeros(100, np.float32), 16000)
            line |= {"duration": 100 / 16000, "phones": None, "words": None}
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    settings = config(folder, tasks=("sid",), **TINY)
    with pytest.raises(UsageError, match="no task could be done") as error:
        run_probing(settings, tmp_path / "out")
    assert "no recording of test could be read" in str(error.value)


def test_states_can_be_standardised_first(recordings: Path, tmp_path: Path) -> None:
    norms = {}
    model = "random:ecapa,channels=16,mfa=48"
    for normalise in (False, True):
        settings = config(
            recordings, models=(model,), tasks=("sid",), normalise=normalise, baseline="", **TINY
        )
        run_probing(settings, tmp_path / str(normalise))
        weights = pd.read_parquet(tmp_path / str(normalise) / WEIGHTS)
        norms[normalise] = weights.set_index("layer")["norm"]
    # A standardised frame of 16 numbers has norm 4.
    np.testing.assert_allclose(norms[True]["block1"], 4, atol=0.01)
    assert abs(norms[False]["block1"] - 4) > 0.1


def test_sums_of_some_layers_and_of_several_models(recordings: Path, tmp_path: Path) -> None:
    settings = config(
        recordings, tasks=("sid", "pr", "ks"), subsets=("0+2",), together=True, **TINY
    )
    result = run_probing(settings, tmp_path)
    model = settings.models[0]
    both = f"{model} + log-mel"
    mine = result.table[result.table["property"] == "sid"]
    some = mine[mine["layer"] == "weighted-sum of 0+2"]
    assert set(some["model"]) == {model}
    joint = mine[mine["model"] == both]
    scores = {
        name: float(mine[(mine["model"] == name) & (mine["measure"] == "accuracy")
                         & (mine["layer"] == reading)]["value"].iloc[0])
        for name, reading in ((both, SUM), (model, SUM), ("log-mel", "logmel"))
    }  # fmt: skip
    over = joint[joint["measure"] == "accuracy-over-other-model"].set_index("other_model")
    assert list(over.index) == [model, "log-mel"], "against each of its models, and nothing else"
    for part in over.index:
        assert over["value"][part] == pytest.approx(scores[both] - scores[part])
        assert over["ci_low"][part] <= over["value"][part] <= over["ci_high"][part]
    assert list(over["other_layer"]) == [SUM, "logmel"]
    assert set(joint[joint["measure"] == "accuracy"]["layer"]) == {SUM}
    shares = joint[joint["measure"] == "layer-weight"]
    assert set(shares["layer"]) == {f"{model} {i}" for i in "012"} | {"log-mel logmel"}
    assert shares["value"].sum() == pytest.approx(1)
    written = result.table[(result.table["property"] == "pr") & (result.table["model"] == both)]
    assert {"per", "per-over-other-model"} <= set(written["measure"])
    assert "random:melhubert + log-mel" in draw_report(tmp_path).read_text()
    with pytest.raises(UsageError, match="no sum of some layers"):
        run_probing(config(recordings, subsets=("1",), **TINY), tmp_path / "odd")
    with pytest.raises(UsageError, match="the same layers"):
        run_probing(config(recordings, subsets=("0+2", "2+0"), **TINY), tmp_path / "odd")
    with pytest.raises(UsageError, match="--layers leaves out"):
        run_probing(config(recordings, layers=("0-1",), subsets=("0+2",), **TINY), tmp_path / "odd")
    with pytest.raises(UnknownNameError, match="block9"):
        run_probing(config(recordings, subsets=("0+block9",), **TINY), tmp_path / "odd")
