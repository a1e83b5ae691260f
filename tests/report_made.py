"""Made results folders for the tests of the report: smooth similarities, no models, no audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

MADE: list[tuple[str, int, int, list[str] | None]] = [
    ("facebook/hubert-base-ls960", 13, 768, None),
    ("microsoft/wavlm-base", 13, 768, None),
    ("random:hubert-base,seed=1", 13, 768, None),
    ("ecapa-tdnn", 7, 512, ["conv", "block1", "block2", "block3", "mfa", "pool", "embedding"]),
    ("log-mel", 1, 80, ["fbank"]),
]
UTTERANCE_ONLY = ("pool", "embedding")


def similarity(a: tuple[int, float, int], b: tuple[int, float, int]) -> float:
    """A made value from model, depth and number of layers of two layers; 1 for a layer itself."""
    if a[0] == b[0]:
        return float(np.exp(-2.2 * abs(a[1] - b[1])))
    strength = 0.8 - 0.13 * abs(a[0] - b[0])
    return float(strength * np.exp(-3 * (a[1] - 0.8 * b[1] - 0.05) ** 2) - 0.03)


def made_rows(
    models: list[tuple[str, int, int, list[str] | None]] = MADE,
    *,
    units: tuple[str, ...] = ("frame", "utterance"),
    estimators: tuple[str, ...] = ("debiased", "biased"),
    measure: str = "cka",
    spread: float | None = 0.04,
    n: int = 2000,
) -> list[Row]:
    """Rows as the similarity job writes them: each pair of layers once, in stack order."""
    rng = np.random.default_rng(0)
    stack = [
        (m, i / max(1, count - 1), count, spec, names[i] if names else str(i), width)
        for m, (spec, count, width, names) in enumerate(models)
        for i in range(count)
    ]
    rows = []
    for unit in units:
        used = [s for s in stack if unit != "frame" or s[4] not in UTTERANCE_ONLY]
        for estimator in estimators:
            for i, a in enumerate(used):
                for b in used[i:]:
                    value = similarity(a[:3], b[:3]) + (0.05 if estimator == "biased" else 0)
                    value = min(1.0, value + 0.005 * rng.standard_normal()) if a is not b else 1.0
                    half = None if spread is None else spread * (1 - value**2) + 1e-4
                    rows.append(
                        Row(
                            study="made",
                            model=a[3],
                            layer=a[4],
                            other_model=b[3],
                            other_layer=b[4],
                            property="similarity",
                            measure=measure,
                            unit=unit,
                            value=value,
                            ci_low=None if half is None else value - half,
                            ci_high=None if half is None else value + half,
                            n=n if unit == "frame" else 32,
                            groups=32,
                            d=a[5],
                            other_d=b[5],
                            estimator=estimator,
                            seed=0,
                        )
                    )
    return rows


def made_record(
    models: list[tuple[str, int, int, list[str] | None]] = MADE, **more: Any
) -> dict[str, Any]:
    """A run record with every key the report knows."""
    return {
        "job": "similarity",
        "study": "made",
        "command": "voxstrata similarity hubert wavlm --corpus synthetic -o out",
        "config": {"unit": ["frame", "utterance"], "measures": ["cka"]},
        "models": [
            {
                "spec": spec,
                "family": "huggingface" if width == 768 else "ecapa",
                "fingerprint": "0123456789abcdef",
                "layers": [
                    {
                        "name": names[i] if names else str(i),
                        "width": width,
                        "kind": "utterance" if names and names[i] in UTTERANCE_ONLY else "frame",
                        "stride": 320,
                        "receptive": 400,
                        "start": 0,
                    }
                    for i in range(count)
                ],
                "details": {"parameters": 94_371_712},
                "random": spec.startswith("random:"),
            }
            for spec, count, width, names in models
        ],
        "corpus": {
            "spec": "synthetic:speakers=20",
            "name": "synthetic",
            "fingerprint": "fedcba9876543210",
            "utterances": 32,
            "seconds": 767.2,
            "speakers": 20,
            "skipped": [{"id": "utt-7", "what": "the file is empty"}],
            "details": {"seed": 0},
        },
        "plan": [
            {"unit": "frame", "route": "blocks", "reason": "10 folds of moments need 48 GB"},
            {"unit": "utterance", "route": "gram", "reason": "32 rows against 34,000 columns"},
        ],
        "notices": ["random:hubert-base is randomly initialised: nothing was learned."],
        "wall_s": 1234.5,
        "measures": [
            {
                "name": "cka",
                "summary": "Squared covariance of the two layers over both of their own.",
                "estimator": "debiased",
                "reference": "Kornblith et al. (2019); Song et al. (2012)",
                "range": [0.0, 1.0],
                "needs": "terms",
            }
        ],
        "folds": 10,
        "group": "utterance",
        **more,
    }


def write_made(
    folder: Path, rows: list[Row] | None = None, record: dict[str, Any] | None = None
) -> Path:
    """Write a results folder; ``None`` stands for the default rows and record."""
    write_results(
        folder,
        made_rows() if rows is None else rows,
        made_record() if record is None else record,
    )
    return folder


def made_view(
    folder: Path, rows: list[Row] | None = None, record: dict[str, Any] | None = None
) -> View:
    """The default or given rows, written, read and arranged."""
    return read_view(load_results(write_made(folder, rows, record)))
