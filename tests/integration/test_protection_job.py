"""The protection job whole, tiny: what is protected stays, runs resume, what is wrong is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from protection_made import LAYERS, MODEL, config, rows_kept, spoken
from voxstrata import load_model
from voxstrata.cli import app, commands
from voxstrata.errors import (
    ConfigError,
    ModelError,
    ResultsError,
    UnknownNameError,
    UsageError,
    VoxstrataError,
)
from voxstrata.neurons.protection import job, models, variants
from voxstrata.neurons.protection.inside import neurons_config
from voxstrata.neurons.protection.job import run_protection
from voxstrata.neurons.sets import load_set
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.results import Results, load_results

if not app.registered_commands:
    commands.attach(app)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(tmp_path_factory.mktemp("spoken"), "sid")


@pytest.fixture(scope="module")
def done(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("protection") / "out"
    return out, run_protection(config(corpus), out)


def test_what_is_protected_stays_in_the_pruned_models(done: tuple[Path, Results]) -> None:
    out, result = done
    whole = load_model(MODEL)
    protected = load_set(out / "sets" / "protected.json")
    control = load_set(out / "sets" / "score-0.json")
    assert len(protected) > 0
    assert protected.counts() == control.counts() == result.record["protected"]
    (own,) = (p for p in (out / "neurons" / "sets").glob("*/*.json") if "tested" not in p.name)
    assert load_set(own).layers == protected.layers
    weight, rows, worth = {}, dict[tuple[str, str], set[int]](), {}
    for condition in ("none", "protected", "random"):
        pruned = load_model(out / "pruned" / f"{condition}-36-0" / "model")
        for block, layer in enumerate(LAYERS, start=1):
            kept = rows_kept(whole, pruned, block)
            assert len(kept) == 36
            asked = {"protected": protected, "random": control}.get(condition)
            if asked is not None:
                assert set(asked.of(layer)) <= set(kept)
            part = whole._module.encoder.layers[block - 1]  # type: ignore[attr-defined]
            score = (
                part.fc1.weight.abs().sum(1) + part.fc1.bias.abs() + part.fc2.weight.abs().sum(0)
            )
            weight[condition, layer] = float(score[kept].sum())
            rows[condition, layer] = set(kept)
            if condition == "none":
                assert set(kept) == set(score.topk(36).indices.tolist())
                places = score.argsort(stable=True).argsort()
                worth[layer] = {
                    name: places[list(one.of(layer))].float().mean()
                    for name, one in (("found", protected), ("other", control))
                }
    for condition in ("protected", "random"):
        (told,) = (e for e in result.record["rows_differ"] if e["condition"] == condition)
        own = sum(len(rows[condition, layer] - rows["none", layer]) for layer in LAYERS)
        assert told == {"condition": condition, "keep": 36, "seed": 0, "rows": own, "of": 72}
    for layer in LAYERS:  # protection costs weight, at most none
        assert worth[layer]["found"] == pytest.approx(worth[layer]["other"], abs=48 / 8)
        assert weight["protected", layer] <= weight["none", layer]
        assert not set(protected.of(layer)) & set(control.of(layer))


def test_the_table_joins_what_the_jobs_inside_measured(done: tuple[Path, Results]) -> None:
    out, result = done
    table = result.table
    probing = load_results(out / "probing").table
    main = table[table.measure == "accuracy"]
    curves = main[main.layer != "plain"]
    assert set(curves.layer) == {"unpruned", "none", "protected", "random"}
    assert set(curves.property) == {"sid"}
    names = {"unpruned": MODEL} | {
        c: str(out / "pruned" / f"{c}-36-0" / "model") for c in ("none", "protected", "random")
    }
    for line in curves.to_dict("records"):
        theirs = probing[(probing.model == names[line["layer"]]) & (probing.measure == "accuracy")]
        theirs = theirs[(theirs.control == "") & (theirs.property == "sid")]
        assert line["value"] in theirs["value"].tolist()
        assert line["d"] == (48 if line["layer"] == "unpruned" else 36)
    over = table[table.measure.str.startswith("accuracy-over-") & (table.layer == "protected")]
    assert {"accuracy-over-none", "accuracy-over-random", "accuracy-over-unpruned"} == set(
        over.measure
    )
    value = curves.set_index("layer")["value"]
    for rival in ("none", "random", "unpruned"):
        gain = over[over.measure == f"accuracy-over-{rival}"]["value"].item()
        assert gain == pytest.approx(value["protected"] - value[rival])
    costs = {c["condition"]: c for c in result.record["costs"]}
    assert costs["unpruned"]["parameters"] > costs["protected"]["parameters"]
    assert costs["none"]["parameters"] == costs["protected"]["parameters"]
    own = result.record["neurons"]["all"]
    assert own["observed"] == len(load_set(out / "sets" / "protected.json"))
    assert own["low"] <= own["null"] <= own["high"]
    found = load_results(out / "neurons").table
    found = found[(found.measure == "neurons-p") & (found.layer == "all")]
    assert own["p"] == found["value"].item()
    assert any("recordings that SID is tested on" in text for text in result.record["notices"])
    assert result.record["unpruned"] == result.record["model"]
    assert any("not trained on" in notice for notice in result.record["notices"])
    assert set(result.record["wall_parts_s"]) == {"neurons", "pruning", "probing"}
    assert not (out / "state").exists()


def test_a_stopped_run_goes_on_with_what_is_there(
    corpus: Path, done: tuple[Path, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = models.run_pruning, [0]

    def stopping(*args: Any, **rest: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return plain(*args, **rest)

    monkeypatch.setattr(models, "run_pruning", stopping)
    out = tmp_path / "out"
    with pytest.raises(VoxstrataError, match="stopped"):
        run_protection(config(corpus), out)
    first = out / "pruned" / "none-36-0" / "model" / "model.safetensors"
    written, neurons = first.stat().st_mtime_ns, (out / "neurons" / "run.json").stat().st_mtime_ns
    got = run_protection(config(corpus), out)
    assert got.record["resumed"] is True
    assert first.stat().st_mtime_ns == written
    assert (out / "neurons" / "run.json").stat().st_mtime_ns == neurons
    pd.testing.assert_frame_equal(got.table, done[1].table, check_exact=True)
    again = run_protection(config(corpus), out)  # finished: read, not done again
    assert again.record["wall_s"] == got.record["wall_s"]
    with pytest.raises(ResultsError, match="other settings"):
        run_protection(config(corpus, keep=(30,)), out)


def test_all_is_made_afresh_where_asked(corpus: Path, tmp_path: Path) -> None:
    """Also what lies in the folders of the jobs inside, which were of other settings."""
    out = tmp_path / "out"
    short = {"conditions": ("protected", "random"), "draws": 0}
    first = run_protection(config(corpus, **short), out)
    changed = config(corpus, sigma=0.4, contrast="clusters=2", keep=(40,), **short)
    result = run_protection(changed, out, overwrite="always")
    assert result.record["resumed"] is False
    assert {p.name for p in (out / "pruned").iterdir()} == {"protected-40-0", "random-40-0"}
    protected = load_set(out / "sets" / "protected.json")
    assert protected.name == "clusters=2"
    assert load_set(out / "sets" / "score-0.json").counts() == protected.counts()
    assert protected.counts() != first.record["protected"]


def test_more_to_protect_than_to_keep_is_told_before_anything_is_pruned(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "prune_all", lambda *_: pytest.fail("pruned"))
    many = {"contrast": "clusters=2", "draws": 0}
    with pytest.raises(UsageError, match="more neurons are to be protected than rows") as told:
        run_protection(config(corpus, keep=(1, 40), **many), tmp_path / "out")
    assert "1 rows kept" in str(told.value.got)
    assert "block." in str(told.value.got)
    assert "--keep" in told.value.fix
    assert not (tmp_path / "out" / "pruned").exists()


def test_nothing_to_protect_is_told(corpus: Path, tmp_path: Path) -> None:
    for given, error, words in (
        ({"contrast": "gender/phones", "rule": "threshold=1e9"}, ResultsError, "selects no neuron"),
        ({"contrast": "clusters=2", "found": "tested"}, ResultsError, "holds no neurons"),
        ({"group": "X"}, UsageError, "no group 'X'"),
    ):
        with pytest.raises(error, match=words) as told:
            run_protection(config(corpus, draws=0, **given), tmp_path / words[:8])
        assert told.value.fix or told.value.expected or told.value.got
        assert not (tmp_path / words[:8] / "pruned").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "log-mel"}, ModelError, "no feed-forward parts"),
        ({"model": "random:ecapa,channels=32,mfa=48,embed=12,attention=8,se=8"}, ModelError,
         "no feed-forward parts"),
        ({"keep": (48,)}, UsageError, "smaller than the model's"),
        ({"rule": "top=0.001"}, UsageError, "leaves no choice"),
        ({"rule": "tops=0.1"}, UnknownNameError, "activation rule"),
        ({"corpus_map": "nowhere.yaml"}, VoxstrataError, "nowhere"),
        ({"tasks": ("sid", "pr")}, ConfigError, "says nothing about"),
        ({"corpus": "nowhere"}, VoxstrataError, "nowhere"),
        ({"contrast": "gendr"}, VoxstrataError, "gendr"),
        ({"ivector": "no/such/model", "contrast": "ivector=2"}, VoxstrataError, "no/such"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_pruning(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as told:
        run_protection(config(corpus, **changes), tmp_path / "out")
    assert isinstance(told.value, VoxstrataError)
    assert told.value.fix or told.value.expected or told.value.got
    assert not (tmp_path / "out" / "pruned").exists()


def test_sizes_must_differ_and_have_defaults(corpus: Path) -> None:
    with pytest.raises(ValueError, match="sizes must be different"):
        config(corpus, keep=(30, 30))
    assert variants.sizes(config(corpus, keep=None), load_model(MODEL)) == (12, 24, 36)
    assert config(corpus, keep=(40, 20)).keep == (20, 40)
    wanted = variants.variants(config(corpus, keep=(20, 40), seeds=2, seed=3), (20, 40), Path("o"))
    assert len(wanted) == 2 * 3 * 2
    assert {v.seed for v in wanted} == {3, 4}
    assert len({v.folder for v in wanted}) == 12


def test_norm_matched_controls_are_of_like_weight(corpus: Path, tmp_path: Path) -> None:
    from voxstrata.neurons.job import run_neurons

    settings = config(corpus, control="norm", seeds=2)
    run_neurons(neurons_config(settings), tmp_path / "neurons")
    chosen = models.found_set(settings, tmp_path / "neurons")
    found = models.controls(settings, chosen, load_model(MODEL), tmp_path)
    assert sorted(found) == [0, 1]
    sets = [load_set(path) for path in found.values()]
    for one in sets:
        assert one.counts() == chosen.counts()
        assert not any(set(one.of(layer)) & set(chosen.of(layer)) for layer in LAYERS)
    said = models.unlike(found)
    # A layer with a single neuron has no spread to hold a difference against.
    apart = [[m["difference_sd"] or 0.0 for m in s.details["match"].values()] for s in sets]
    poor = [max(map(abs, one)) > 0.25 for one in apart]
    assert len(said) == sum(poor)
    assert all("another weight" in line for line in said)


def test_command(corpus: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    base = ["protect", MODEL, "-c", str(corpus), "-m", str(corpus / "map.yaml"), "--contrast",
            "gender/clusters=2", "--rule", "top=0.1", "--keep", "36", "--tasks", "sid"]  # fmt: skip
    plan = runner.invoke(app, [*base, "--dry-run", "-o", str(tmp_path / "dry")])
    assert plan.exit_code == 0, plan.output
    assert not (tmp_path / "dry").exists()
    nothing = runner.invoke(app, ["protect"])
    assert isinstance(nothing.exception, UsageError)
    shutil.rmtree(tmp_path / "dry", ignore_errors=True)


def test_tuned_models_come_from_one_that_was_trained_as_long(corpus: Path, tmp_path: Path) -> None:
    """The recipe first trains the model that all are pruned from, then every pruned one."""
    recipe = {
        "name": "tiny",
        "model": {"family": "melhubert", "options": {"inputs": 80, "clusters": 8}},
        "data": {"corpus": str(corpus), "batch_s": 6, "workers": 0, "buckets": 2},
        "objective": {"name": "masked", "max_frames": 60, "dropout": 0.1,
                      "targets": {"starts": 1, "statistics": "corpus"}},
        "optimiser": {"kind": "adamw", "clip": 5.0, "weight_decay": 0.1},
        "schedule": {"kind": "constant", "lr": 0.003},
        "run": {"steps": 99, "device": "cpu", "log_every": 2, "save_every_s": 0.0},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    settings = config(
        corpus, model=f"{MODEL},clusters=8", conditions=("none", "protected"), draws=0,
        tune=str(tmp_path / "tiny.yaml"), base_steps=4, tune_steps=3, steps=2, trials=str(corpus),
        channel="none",
    )  # fmt: skip
    out = tmp_path / "out"
    result = run_protection(settings, out)
    base = load_model(str(out / "base" / "model"))
    protected = load_set(out / "sets" / "protected.json")
    protected.check(base)  # neurons are those of the trained model
    first = load_model(f"{MODEL},clusters=8")
    assert base.fingerprint != first.fingerprint
    assert result.record["model"]["fingerprint"] == base.fingerprint
    whole = load_model(str(out / "unpruned" / "model"))  # what the pruned ones are held against
    assert whole.fingerprint not in (base.fingerprint, first.fingerprint)
    assert result.record["unpruned"]["fingerprint"] == whole.fingerprint
    for place in (out / "unpruned", out / "pruned" / "none-36-0"):
        done = [load_results(one / "tuned").record for one in sorted((place / "steps").iterdir())]
        assert [one["steps"] for one in done] == [3, 3]
        assert done[0]["config"]["model"]["start"].startswith(
            str(out / "base" if place.name == "unpruned" else place)
        )
        assert {one["config"]["run"]["seed"] for one in done} == {0}
        assert {one["config"]["objective"]["targets"]["folder"] for one in done} == {
            str(out / "base")
        }
    probed = load_results(out / "probing").table
    assert str(out / "unpruned" / "model") in set(probed.model)
    assert str(out / "base" / "model") not in set(probed.model)
    own = probed[(probed.model == str(out / "unpruned" / "model")) & (probed.measure == "accuracy")]
    told = result.table[(result.table.layer == "unpruned") & (result.table.property == "sid")]
    assert own["value"].tolist() == told["value"].tolist()
    step = out / "pruned" / "protected-36-0" / "steps" / "01"
    cut = load_model(str(step / "pruned"))
    for block, layer in enumerate(LAYERS, start=1):
        kept = rows_kept(base, cut, block)
        assert set(protected.of(layer)) <= set(kept)
    tuned = load_model(str(out / "pruned" / "protected-36-0" / "model"))
    assert tuned.fingerprint != cut.fingerprint
    assert {i.width for i in tuned.layers if i.name in LAYERS} == {36}
    table = result.table
    assert set(table.model) >= {settings.model}  # by the name the user gave
    assert not table.model.str.contains("base/model|unpruned/model").any()
    eer = table[(table.property == "verification") & (table.measure == "eer")]
    assert {"unpruned", "none", "protected"} <= set(eer.layer)
    assert eer["value"].between(0, 1).all()
    assert not any("not trained on" in notice for notice in result.record["notices"])
    assert {t["name"] for t in result.record["tasks"]} == {"sid", "verification"}
