"""The commands ``properties`` and ``layers`` as a user runs them."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planted
from voxstrata.cli import app, commands
from voxstrata.errors import StorageError, UnknownNameError, UsageError
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.results import load_results

if not app.registered_commands:
    commands.attach(app)

CHOSEN = "cca-phone,linear-phone,variance-shares"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_corpus(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    code, text = _invoke(
        *("properties", "log-mel", "mfcc", "-c", str(recordings), "-p", CHOSEN, "-o", str(out)),
        *("--scale", "small", "--group", "speaker", "--folds", "6", "--quiet"),
    )
    assert code == 0, text
    return out


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def _raise(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is not None, result.output
    raise result.exception


def test_a_folder_to_a_report(finished: Path) -> None:
    page = (finished / "report.html").read_text("utf-8")
    assert "phone identity" in page.lower()
    table = load_results(finished).table
    assert set(table["property"]) == set(CHOSEN.split(","))
    controls = table[table["control"] != ""]
    assert set(controls["property"]) == set(CHOSEN.split(",")), "every property has a control"
    assert (finished / "folds.parquet").exists()
    assert not (finished / "store").exists()


def test_layers_recommends_from_a_finished_run(finished: Path) -> None:
    code, text = _invoke("layers", str(finished), "--for", "phone recognition")
    assert code == 0, text
    assert "log-mel" in text
    code, text = _invoke("layers", "--list")
    assert code == 0
    assert "asr" in text
    with pytest.raises(UnknownNameError, match="asr"):
        _raise("layers", str(finished), "--for", "asrr")


def test_a_dry_run_plans_and_computes_nothing(recordings: Path, tmp_path: Path) -> None:
    code, text = _invoke(
        *("properties", "mfcc", "-c", str(recordings), "-o", str(tmp_path / "o"), "--dry-run")
    )
    assert code == 0, text
    assert "cca-phone" in text
    assert "left out" in text
    assert not (tmp_path / "o").exists()


def test_list_names_every_property() -> None:
    from voxstrata.properties.registry import PROPERTIES

    code, text = _invoke("properties", "--list")
    assert code == 0
    assert all(name in text for name in PROPERTIES.names())
    assert "takes an argument" in text
    assert "--wordsim FILE" in text


@pytest.mark.parametrize("flag", ["folds", "draws", "frames", "words", "clusters_word", "seed"])
def test_help_gives_the_defaults_of_the_settings(flag: str) -> None:
    from voxstrata.cli.properties import properties

    hints = typing.get_type_hints(properties, include_extras=True)
    said = re.search(r"\(default (\d+)\)", hints[flag].__metadata__[0].help)
    assert said
    assert int(said[1]) == PropertiesConfig.model_fields[flag].default


def test_a_refused_property_is_named_once(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no property has enough units") as refused:
        _raise("properties", "mfcc", "-c", str(recordings), "-o", str(tmp_path), "-p", "mi-phone")
    assert str(refused.value).count("mi-phone") == 1


def test_bad_input_is_named(recordings: Path, tmp_path: Path) -> None:
    here = ("-c", str(recordings), "-o", str(tmp_path / "o"))
    with pytest.raises(UsageError, match="no model is named"):
        _raise("properties", *here)
    with pytest.raises(UsageError, match="NAME=FILE"):
        _raise("properties", "mfcc", *here, "--vectors", "glove.txt")
    with pytest.raises(UsageError, match=r"vectors glove.*\n.*nowhere"):
        _raise(
            *("properties", "mfcc", *here, "-p", "cca-glove"),
            *("--vectors", f"glove={tmp_path}/nowhere.txt"),
        )
    with pytest.raises(UnknownNameError, match="cca-phone"):
        _raise("properties", "mfcc", *here, "-p", "cca-phon")
    with pytest.raises(StorageError, match="do not fit"):
        _raise("properties", "mfcc", *here, "--disk-gib", "0.000001")
    assert not (tmp_path / "o" / "results.parquet").exists()


def test_every_setting_has_a_flag(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can stand in YAML can be typed, and arrives."""
    import inspect

    from voxstrata.cli import properties, properties_plan
    from voxstrata.properties import prepare as prepared

    renamed = {"properties": "wanted", "tables": "table"}
    typed = inspect.signature(properties.properties).parameters
    assert {renamed.get(name, name) for name in PropertiesConfig.model_fields} <= set(typed)

    seen: list[PropertiesConfig] = []
    monkeypatch.setattr(prepared, "prepare", lambda settings, *_a, **_k: seen.append(settings))
    monkeypatch.setattr(properties_plan, "show_plan", lambda *_: None)
    flags = {
        "phones_per_type": 7, "words": 8, "words_per_type": 9, "all_words_per_type": 10,
        "clusters_phone": 11, "clusters_word": 12, "kmeans_seeds": 13, "pca": 14,
    }  # fmt: skip
    options = [text for k, v in flags.items() for text in (f"--{k.replace('_', '-')}", str(v))]
    code, text = _invoke("properties", "mfcc", "-c", str(recordings), *options, "--dry-run")
    assert code == 0, text
    assert {name: getattr(seen[0], name) for name in flags} == flags


def test_the_plan_says_how_long_and_gives_one_reason_once(recordings: Path, tmp_path: Path) -> None:
    code, text = _invoke(
        *("properties", "mfcc", "-c", str(recordings), "-o", str(tmp_path / "o"), "--dry-run")
    )
    assert code == 0, text
    assert "a rough guess" in text
    assert text.count("'emotion'") == 1
    assert "1 model, 1 layer" in text


def test_limits_that_exclude_each_other_are_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--min-seconds below --max-seconds"):
        _raise(
            *("properties", "mfcc", "-c", str(recordings), "-o", str(tmp_path / "o")),
            *("--min-seconds", "2", "--max-seconds", "1"),
        )
