"""What keeps a poor model out of the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from voxstrata.files import read_json
from voxstrata.models.card import BUNDLED, CARD

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_models.py"
RATE = "EER %, training mean subtracted"


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("make_models", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rates(mine: float, mfcc: float, mel: float) -> dict[str, Any]:
    values = {"this model": mine, "mfcc": mfcc, "log-mel": mel}
    return {label: {RATE: [value, value - 1, value + 1]} for label, value in values.items()}


def _phones(mine: float, eleven: float) -> dict[str, Any]:
    values = {"this model": mine, "log-mel, one frame": 0.2, "log-mel, eleven frames": eleven}
    rows = {label: {"layer": "1", "value": value} for label, value in values.items()}
    return {"linear-phone-frame accuracy, best layer": rows}


@pytest.mark.parametrize(
    ("measured", "better"),
    [
        ({"librispeech_test_other, as recorded": _rates(5, 4, 9)}, False),
        ({"librispeech_test_other, as recorded": _rates(5, 9, 4)}, False),
        (
            {
                "librispeech_test_other, as recorded": _rates(5, 4, 9),
                "speechocean762_l2, random channels": _rates(20, 40, 41),
            },
            True,
        ),
        ({"synthetic, as recorded": _rates(1, 9, 9)}, False),
        ({"librispeech_test_other": _phones(0.3, 0.31)}, False),
        ({"speechocean762_l2": _phones(0.33, 0.31)}, True),
    ],
)
def test_a_model_that_no_real_set_speaks_for_is_not_packaged(
    measured: dict[str, Any], better: bool
) -> None:
    assert _script().beats_a_baseline(measured) is better


def test_what_is_in_the_package_has_earned_its_place_and_is_small() -> None:
    script = _script()
    cards = [read_json(path) for path in BUNDLED.glob(f"*/{CARD}")]
    assert cards
    for card in cards:
        assert script.beats_a_baseline(card["metrics"]["measured"]), card["name"]
        assert card["licence"]
        assert card["credit"]
        assert card["made_by"]
    assert sum(f.stat().st_size for f in BUNDLED.rglob("*") if f.is_file()) < 16e6
