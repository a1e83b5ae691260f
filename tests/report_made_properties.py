"""Made results folders of a properties run: smooth curves, no models, no audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from report_made import MADE, UTTERANCE_ONLY
from voxstrata.report.view import View, read_view
from voxstrata.results import Row, load_results, write_results

Models = list[tuple[str, int, int, list[str] | None]]

CONV = [f"conv{i}" for i in range(1, 8)]
WITH_TWINS: Models = [
    ("facebook/hubert-base-ls960", 20, 768, [*CONV, *map(str, range(13))]),
    ("microsoft/wavlm-base", 13, 768, None),
    ("random:facebook/hubert-base-ls960,seed=0", 20, 768, [*CONV, *map(str, range(13))]),
    ("random:microsoft/wavlm-base,seed=0", 13, 768, None),
    MADE[3],
    MADE[4],
]
TWINS = {
    "facebook/hubert-base-ls960": "random:facebook/hubert-base-ls960,seed=0",
    "microsoft/wavlm-base": "random:microsoft/wavlm-base,seed=0",
}

# name, title, group, unit, main, depth of the peak, its height, floor, controls, other measures
ASKED: list[tuple[str, str, str, str, str, float, float, float, dict[str, float], list[str]]] = [
    *(
        ("cca-mel", "log-mel frames (PWCCA)", "acoustic", "frame", "pwcca", 0.0, 0.92, 0.45)
        + ({"shuffled-rows": 0.05}, ["cca-mean"]),
        ("regress-f0", "pitch (R²)", "acoustic", "frame", "r2", 0.25, 0.7, 0.2)
        + ({"shuffled-rows": -2.5}, []),
        ("cca-phone", "phone identity (PWCCA)", "phonetic", "phone", "pwcca", 0.7, 0.74, 0.3)
        + ({"shuffled-rows": 0.08}, ["cca-mean", "cca-r2"]),
        ("mi-phone", "phone identity (MI of clusters)", "phonetic", "phone", "mi-normalised")
        + (0.75, 0.52, 0.2, {"permuted-labels": 0.11}, ["mi"]),
        ("abx-phone", "phone discrimination (ABX)", "phonetic", "phone", "abx-error")
        + (0.7, 0.04, 0.3, {"chance": 0.5}, []),
        ("cca-word", "word identity (PWCCA)", "lexical", "word", "pwcca", 0.75, 0.6, 0.3)
        + ({"shuffled-rows": 0.21}, []),
        ("word-discrimination", "acoustic word discrimination", "lexical", "word")
        + ("average-precision", 0.65, 0.66, 0.05, {"permuted-labels": 0.01}, []),
        ("cca-glove", "word meaning (GloVe, PWCCA)", "semantic", "word", "pwcca", 0.65, 0.31, 0.26)
        + ({"shuffled-rows": 0.27}, []),
        ("speaker-id", "speaker identity", "speaker", "utterance", "accuracy", 0.2, 0.9, 0.3)
        + ({"permuted-labels": 0.03, "chance": 0.025}, []),
        ("variance-shares", "shares of variance", "disentanglement", "phone", "phone-share")
        + (0.6, 0.4, 0.1, {"permuted-labels": 0.02}, ["speaker-share", "residual-share"]),
        ("layer-choice", "layer choice for a task", "task", "utterance", "spearman")
        + (0.5, 0.5, 0.1, {"permuted-labels": 0.0}, []),
    ),
]


def curve_value(name: str, depth: float, peak: float, height: float, floor: float) -> float:
    """A made value: a bump over depth; a bowl for error rates."""
    bump = float(np.exp(-6 * (depth - peak) ** 2))
    if name.endswith("error"):
        return height + (0.35 - height) * (1 - bump) * 0.7
    return floor + (height - floor) * bump


def property_made_rows(
    models: Models = WITH_TWINS,
    asked: list[Any] = ASKED,
    *,
    spread: float | None = 0.02,
) -> list[Row]:
    """Rows as the properties job writes them: values and controls."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for name, _, _, unit, main, peak, height, floor, controls, others in asked:
        for at, (spec, count, width, names) in enumerate(models):
            for i in range(count):
                layer = names[i] if names else str(i)
                if layer in UTTERANCE_ONLY and unit != "utterance":
                    continue
                if layer.startswith("conv") and layer != "conv" and not name.startswith("cca-mel"):
                    continue
                depth = i / max(1, count - 1)
                for k, measure in enumerate([main, *others]):
                    value = curve_value(measure, depth, peak, height, floor) * (1 - 0.2 * k)
                    value *= 1 - 0.05 * at + 0.01 * rng.standard_normal()
                    if spec.startswith("random:"):
                        value = 0.3 if main.endswith("error") else 0.45 * value
                    for control, level in [("", value), *controls.items()]:
                        half = spread * (0.5 if control else 1.0) if spread is not None else None
                        rows.append(
                            Row(
                                study="made",
                                model=spec,
                                layer=layer,
                                other_model="",
                                other_layer="",
                                property=name,
                                measure=measure,
                                unit=unit,
                                value=level,
                                ci_low=None if half is None else level - half,
                                ci_high=None if half is None else level + half,
                                n=20_000 if unit == "frame" else 7_140,
                                groups=120,
                                d=width,
                                other_d=39,
                                estimator="held-out",
                                seed=0,
                                control=control,
                            )
                        )
    return rows


def property_made_record(
    models: Models = WITH_TWINS, asked: list[Any] = ASKED, **more: Any
) -> dict[str, Any]:
    """A run record with every key the report knows."""
    specs = [spec for spec, *_ in models]
    return {
        "job": "properties",
        "study": "made",
        "command": "voxstrata properties hubert wavlm --corpus synthetic --twins -o out",
        "config": {"properties": ["all"], "draws": 2},
        "models": [
            {
                "spec": spec,
                "family": "huggingface" if width == 768 else "ecapa",
                "fingerprint": "0123456789abcdef",
                "layers": [
                    {
                        "name": names[i] if names else str(i),
                        "kind": "utterance" if names and names[i] in UTTERANCE_ONLY else "frame",
                        "stride": 320,
                        "width": width,
                    }
                    for i in range(count)
                ],
                "details": {"parameters": 94_371_712},
                "random": spec.startswith("random:"),
            }
            for spec, count, width, names in models
        ],
        "twins": {m: t for m, t in TWINS.items() if m in specs and t in specs},
        "corpus": {
            "spec": "synthetic:demo",
            "name": "synthetic",
            "fingerprint": "fedcba9876543210",
            "utterances": 320,
            "seconds": 1767.2,
            "speakers": 40,
            "skipped": [{"id": "utt-7", "what": "the file is empty"}],
        },
        "properties": [
            {
                "name": name,
                "title": title,
                "group": group,
                "unit": unit,
                "main": main,
                "facts": [{"rows": 7140, "types": 39, "seed": s} for s in range(2)]
                if name != "cca-word"
                else [{"reduced": {"words": {"published": 500, "used": 120}}}],
                "notices": ["only 12 speakers have two recordings"] if group == "speaker" else [],
                "rows": 7140,
            }
            for name, title, group, unit, main, *_ in asked
        ],
        "left_out": [{"name": "cca-tier:emotion", "reason": "no recording has the tier 'emotion'"}],
        "refused": [{"name": "mi-word", "reason": "5,000 clusters need 50,000 rows; got 3,120"}],
        "device": "cpu",
        "notices": ["this corpus is made of synthetic speech"],
        "wall_s": 1234.5,
        "folds": 10,
        "group": "utterance",
        **more,
    }


def write_property_made(
    folder: Path, rows: list[Row] | None = None, record: dict[str, Any] | None = None
) -> Path:
    """Write a results folder; ``None`` stands for the default rows and record."""
    write_results(
        folder,
        property_made_rows() if rows is None else rows,
        property_made_record() if record is None else record,
    )
    return folder


def property_made_view(
    folder: Path, rows: list[Row] | None = None, record: dict[str, Any] | None = None
) -> View:
    """The default or given rows, written, read and arranged."""
    return read_view(load_results(write_property_made(folder, rows, record)))
