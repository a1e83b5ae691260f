"""The forecast of a run: it grows with what makes runs long, and says what it is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from voxstrata.properties.forecast import Forecast, forecast, layer_seconds
from voxstrata.properties.registry import make_property
from voxstrata.properties.samples import SamplePlan
from voxstrata.properties.settings import PropertiesConfig

CONFIG = PropertiesConfig(models=("mfcc",), corpus="synthetic:tiny")


def _plan(kind: str, rows: int) -> SamplePlan:
    unit: Any = None  # the forecast looks at sizes alone
    return SamplePlan(kind, kind, unit, (0, 1), (0, 1), rows)


@pytest.mark.parametrize(
    ("name", "kind", "measured"),
    [
        ("cca-mel", "frame", 2.3),
        ("linear-mel", "frame", 6.5),
        ("pnmi", "frame", 5.1),
        ("abx-phone", "sequence", 1.1),
    ],
)
def test_of_the_size_that_was_measured(name: str, kind: str, measured: float) -> None:
    """17,700 rows of layers 768 wide, timed once on one core (seconds a layer)."""
    said = layer_seconds(make_property(name), _plan(kind, 17_700), 768, CONFIG)
    assert measured / 2 < said < 2 * measured


def test_grows_with_width_rows_and_clusters() -> None:
    cca, mi = make_property("cca-mel"), make_property("mi-word")
    frames = _plan("frame", 20_000)
    wide, narrow = (layer_seconds(cca, frames, width, CONFIG) for width in (1024, 512))
    assert wide > 4 * narrow
    assert layer_seconds(cca, frames, 1024, CONFIG.model_copy(update={"pca": 100})) < narrow
    words = _plan("word", 7_500)
    fewer = CONFIG.model_copy(update={"clusters_word": 500})
    assert layer_seconds(mi, words, 768, CONFIG) > 5 * layer_seconds(mi, words, 768, fewer)


def test_adds_up_layers_and_draws() -> None:
    prepared: Any = SimpleNamespace(
        config=CONFIG,
        device="cpu",
        properties=[make_property("linear-mel")],
        samples=[_plan("frame", 20_000), _plan("phone", 9_000)],
        stack=[SimpleNamespace(width=768)] * 2,
        pass_flops=0.0,
    )
    once = forecast(prepared)
    prepared.config = CONFIG.model_copy(update={"draws": 20})
    often = forecast(prepared)
    assert once.models_s == 0
    # The speed is measured anew each time, on a machine that others use, too.
    assert 5 < often.properties_s / once.properties_s < 80
    prepared.samples = prepared.samples[1:]
    assert forecast(prepared).properties_s == 0


def test_says_that_it_is_a_guess() -> None:
    said = Forecast(30.0, 7200.0)
    assert "rough guess: 30 s" in said.sentence()
    assert "2.0 h" in said.sentence()
    assert "10 min" in replace(said, properties_s=600.0).sentence()
