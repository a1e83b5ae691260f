"""``voxstrata models``: list, show, make-random."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxstrata import load_model
from voxstrata.cli.models import app
from voxstrata.errors import UnknownNameError, UsageError

RUN = CliRunner()


def output(*arguments: str) -> str:
    result = RUN.invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_list_names_every_model() -> None:
    text = output("list")
    for name, hub in (("hubert-base", "facebook/hubert-base-ls960"), ("whisper-tiny", "openai/")):
        assert re.search(rf"^{name} +huggingface .*{hub}", text, re.M)
    assert "random:NAME" in text
    assert "hubert-base" in output("list", "--family", "huggingface")
    with pytest.raises(UnknownNameError):
        output("list", "--family", "hugingface")


def test_show_needs_no_weights() -> None:
    text = output("show", "sew-tiny")
    assert re.search(r"^0\* +512 +frame +40 +45 +0$", text, re.M)
    assert re.search(r"^conv13 +512 +frame +20 +25 +0$", text, re.M)
    assert re.search(r"^block\.12\.ffn\.inner +2048 +frame +40 +45 +0$", text, re.M)
    assert "block." not in output("show", "sew-tiny", "--no-taps")
    assert re.search(r"^12\* +384", output("show", "random:whisper-tiny,layers=12"), re.M)
    assert not re.search(r"^3\*", output("show", "sew-tiny@2"), re.M)
    with pytest.raises(UnknownNameError):
        output("show", "sew-tinny")


def test_make_random_loads_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "twin"
    text = output("make-random", "wavlm-base", str(folder), "--seed", "3", "--layers", "1")
    assert "blocks: 1" in text
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 1
    assert json.loads((folder / "preprocessor_config.json").read_text())["do_normalize"] is False
    assert load_model(folder).details["blocks"] == 1
    assert "model_type: wavlm" in output("show", str(folder))
    with pytest.raises(UsageError):
        output("make-random", "wavlm-base", str(folder))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from voxstrata.cli.models import app; import voxstrata.models as m;"
        "m.parse('a/b@3');"
        "bad = {'torch', 'transformers', 'numpy', 'lhotse'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
