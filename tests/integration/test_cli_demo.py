"""``voxstrata demo`` and ``voxstrata report`` of several folders, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from voxstrata.cli import app, commands
from voxstrata.cli.demo import installed, run_demo
from voxstrata.errors import ModelError, UsageError
from voxstrata.frontend import front_end
from voxstrata.models import card
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import preset_options
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.results import load_results

if not app.registered_commands:
    commands.attach(app)


def _stand_ins(folder: Path) -> list[str]:
    """Two speaker encoders of one shape and one MelHuBERT, all tiny, as finished model folders."""
    specs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        sizes = {"channels": 16, "mfa": 24, "embed": 8, "attention": 4, "se": 4}
        network = Ecapa(preset_options("wespeaker", sizes)).eval()
        about = {"name": f"speaker-{seed}", "family": "ecapa"}
        card.write_model(folder / f"speaker-{seed}", about, network, front_end("wespeaker"))
        specs.append(str(folder / f"speaker-{seed}"))
    torch.manual_seed(3)
    options = MelHubertOptions(width=16, layers=2, heads=2, ffn=32, conv_pos=8, conv_groups=4)
    about = {"name": "speech", "family": "melhubert"}
    front = front_end("melhubert-20ms", mean=(0.0,) * 40, std=(1.0,) * 40)
    card.write_model(folder / "speech", about, MelHubert(options).eval(), front)
    return [*specs, str(folder / "speech")]


@pytest.mark.slow
def test_demo_tiny(tmp_path: Path) -> None:
    models = _stand_ins(tmp_path / "models")
    names = ("contrastive", "dino", "supervised", "hubert", "wavlm")
    instead = dict(zip(names, (models[0], models[1], models[1], models[2], models[2]), strict=True))
    page = run_demo(tmp_path / "demo", "tiny", "missing", models=instead, quiet=True)
    assert page == tmp_path / "demo" / "report.html"
    found = load_results(tmp_path / "demo" / "properties")
    assert set(found.table["property"]) == {"linear-phone", "cca-phone", "linear-speaker"}
    twins = found.record["twins"]
    assert list(twins) == models
    assert len(set(twins.values())) == 2, "the speaker encoders are of one shape"
    compared = load_results(tmp_path / "demo" / "similarity")
    expected = {*models, *twins.values(), "log-mel"}
    assert set(compared.table["model"]) | set(compared.table["other_model"]) == expected
    assert set(compared.table["unit"]) == {"frame", "utterance"}
    text = page.read_text()
    for said in ("Phone information", "Speaker information", "speech is synthetic"):
        assert said in text
    for part in ("properties", "similarity"):
        assert f'href="{part}/report.html"' in text
        assert (tmp_path / "demo" / part / "report.html").stat().st_size > 10_000


def test_models_that_come_with_the_package_are_found() -> None:
    found = installed()
    assert "ecapa-small-supervised" in found
    for name in found:
        assert card.read_card(card.BUNDLED / name)["metrics"]["measured"]


def test_missing_models_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "BUNDLED", tmp_path / "nothing")
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo")])
    assert isinstance(result.exception, ModelError)
    assert "make models" in str(result.exception)
    assert not (tmp_path / "demo").exists()


def test_an_unknown_size_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="demo or tiny"):
        run_demo(tmp_path / "demo", "huge", "missing")
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("arguments", [["a", "b"], ["a", "-o", "page.html"]])
def test_report_says_when_a_page_is_named(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert isinstance(result.exception, UsageError)
    assert "-o page.html" in str(result.exception)
