"""Made pairs of results folders, properties and similarities of the same models, as one view.

Every value is given by the test, so that sentences can be checked against what was planted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxstrata.report.join import join_views
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

Curves = dict[tuple[str, str, str], float]
"""(property, model, layer) to value."""

Pairs = dict[tuple[str, str, str, str], float]
"""(model, layer, other model, other layer) to similarity."""

ASKED = {
    "linear-phone": ("phone identity (linear probe)", "phonetic", "phone"),
    "cca-phone": ("phone identity (PWCCA)", "phonetic", "phone"),
    "linear-speaker": ("speaker identity (linear probe)", "speaker", "utterance"),
    "cca-word": ("word identity (PWCCA)", "lexical", "word"),
    "cca-speaker": ("speaker (PWCCA)", "speaker", "utterance"),
}
CORPUS = {"spec": "synthetic:tiny", "name": "synthetic", "fingerprint": "c", "skipped": []}
TWINS = {"a": "random:a", "b": "random:a", "m": "random:m"}
"""``a`` and ``b`` are of one shape and share a twin."""

FAMILIES = {
    "a": "ecapa",
    "b": "ecapa",
    "random:a": "ecapa",
    "m": "melhubert",
    "random:m": "melhubert",
}


def models_record(specs: list[str]) -> list[dict[str, Any]]:
    """Entries of a run record."""
    return [
        {
            "spec": spec,
            "family": FAMILIES.get(spec, "baseline"),
            "fingerprint": f"print-of-{spec}",
            "random": spec.startswith("random:"),
            "details": {
                "parameters": 0 if spec == "log-mel" else 1000,
                **({"trained_on": ["synthetic,seed=1"]} if spec == "a" else {}),
            },
        }
        for spec in specs
    ]


def _row(**given: Any) -> Row:
    half = given.pop("half")
    value = given["value"]
    low, high = (None, None) if half is None else (value - half, value + half)
    return Row(
        **{
            "study": "made",
            "ci_low": low,
            "ci_high": high,
            "n": 900,
            "groups": 5,
            "seed": 0,
            **given,
        }
    )


def write_properties(
    folder: Path, curves: Curves, *, half: float | None = 0.02, control: float = 0.1, **record: Any
) -> Path:
    """A properties folder; every value has the same interval, every layer the same control."""
    rows = []
    for (name, model, layer), value in curves.items():
        for kind, number in (("", value), ("permuted-labels", control)):
            rows.append(
                _row(
                    model=model, layer=layer, other_model="", other_layer="", property=name,
                    measure="balanced-accuracy", unit=ASKED[name][2], value=number, d=8, other_d=39,
                    estimator="held-out", control=kind, half=half,
                )
            )  # fmt: skip
    specs = list(dict.fromkeys(model for _, model, _ in curves))
    told = {
        "job": "properties",
        "study": "made",
        "models": models_record(specs),
        "twins": {k: v for k, v in TWINS.items() if k in specs and v in specs},
        "corpus": CORPUS,
        "properties": [
            {"name": name, "title": ASKED[name][0], "group": ASKED[name][1], "unit": ASKED[name][2],
             "main": "balanced-accuracy"}
            for name in dict.fromkeys(name for name, _, _ in curves)
        ],
        "notices": [], "left_out": [], "refused": [],
        **record,
    }  # fmt: skip
    write_results(folder, rows, told)
    return folder


def write_similarities(
    folder: Path, pairs: Pairs, *, half: float | None = 0.02, unit: str = "frame", **record: Any
) -> Path:
    """A similarity folder."""
    rows = [
        _row(
            model=a, layer=i, other_model=b, other_layer=j, property="similarity", measure="cka",
            unit=unit, value=value, d=8, other_d=8, estimator="debiased", half=half,
        )
        for (a, i, b, j), value in pairs.items()
    ]  # fmt: skip
    specs = list(dict.fromkeys(s for a, _, b, _ in pairs for s in (a, b)))
    told = {
        "job": "similarity",
        "study": "made",
        "models": models_record(specs),
        "measures": [{"name": "cka", "estimator": "debiased", "symmetric": True}],
        "corpus": {
            "spec": "synthetic:tiny",
            "name": "synthetic",
            "fingerprint": "c",
            "skipped": [],
        },
        "notices": ["2 of 5 models are randomly initialised and have learned nothing (random:a)"],
        **record,
    }
    write_results(folder, rows, told)
    return folder


PLANTED_CURVES: Curves = {
    ("linear-phone", "a", "block1"): 0.50,
    ("linear-phone", "a", "block2"): 0.60,
    ("linear-phone", "b", "block1"): 0.41,
    ("linear-phone", "b", "block2"): 0.42,
    ("linear-phone", "m", "0"): 0.45,
    ("linear-phone", "m", "1"): 0.70,
    ("linear-phone", "m", "2"): 0.68,
    ("linear-phone", "log-mel", "logmel"): 0.35,
    ("linear-phone", "random:a", "block1"): 0.43,
    ("linear-phone", "random:a", "block2"): 0.40,
    ("linear-phone", "random:m", "0"): 0.47,
    ("linear-phone", "random:m", "1"): 0.46,
    ("cca-phone", "a", "block1"): 0.55,
    ("cca-phone", "a", "block2"): 0.30,
    ("cca-phone", "log-mel", "logmel"): 0.20,
    ("cca-phone", "random:a", "block1"): 0.54,
    ("linear-speaker", "a", "block1"): 0.80,
    ("linear-speaker", "a", "embedding"): 0.95,
    ("linear-speaker", "b", "block1"): 0.30,
    ("linear-speaker", "b", "embedding"): 0.25,
    ("linear-speaker", "m", "0"): 0.60,
    ("linear-speaker", "m", "1"): 0.50,
    ("linear-speaker", "log-mel", "logmel"): 0.62,
    ("linear-speaker", "random:a", "block1"): 0.55,
    ("linear-speaker", "random:a", "embedding"): 0.40,
    ("linear-speaker", "random:m", "0"): 0.40,
}
PLANTED_PAIRS: Pairs = {
    ("a", "block1", "b", "block1"): 0.90,
    ("a", "block2", "b", "block1"): 0.20,
    ("a", "block1", "m", "1"): 0.30,
    ("a", "block2", "m", "1"): 0.60,
    ("a", "block1", "m", "0"): 0.65,
    ("a", "block2", "m", "0"): 0.10,
    ("b", "block1", "m", "0"): 0.40,
    ("b", "block1", "m", "1"): 0.41,
    ("a", "block1", "random:a", "block1"): 0.95,
    ("a", "block2", "random:a", "block1"): 0.30,
    ("b", "block1", "random:a", "block1"): 0.93,
    ("a", "block1", "random:m", "0"): 0.70,
    ("a", "block2", "random:m", "0"): 0.35,
    ("b", "block1", "random:m", "0"): 0.45,
    ("m", "0", "random:a", "block1"): 0.66,
    ("m", "1", "random:a", "block1"): 0.38,
    ("a", "block1", "log-mel", "logmel"): 0.80,
    ("a", "block2", "log-mel", "logmel"): 0.70,
    ("b", "block1", "log-mel", "logmel"): 0.60,
    ("m", "0", "log-mel", "logmel"): 0.75,
    ("m", "1", "log-mel", "logmel"): 0.33,
}
"""Of a and m, block1 and 0 are most alike, which twins explain; block2 and 1 are beyond that."""


def joined(
    folder: Path,
    curves: Curves = PLANTED_CURVES,
    pairs: Pairs = PLANTED_PAIRS,
    half: float | None = 0.02,
) -> View:
    """Both folders, written, read and joined."""
    parts = [
        write_properties(folder / "properties", curves, half=half),
        write_similarities(folder / "similarity", pairs, half=half),
    ]
    return join_views([read_view(load_results(part)) for part in parts], folder)
