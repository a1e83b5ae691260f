"""Made results folders of a properties run: smooth curves, no models, no audio."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Asked:
    """A made property: where its curve peaks, how high, from which floor, and its controls."""

    name: str
    title: str
    group: str
    unit: str
    main: str
    peak: float
    height: float
    floor: float
    controls: dict[str, float]
    others: tuple[str, ...] = ()


SHUFFLED, PERMUTED = "shuffled-rows", "permuted-labels"

ASKED = [
    Asked(
        *("cca-mel", "log-mel frames (PWCCA)", "acoustic", "frame", "pwcca", 0.0, 0.92, 0.45),
        {SHUFFLED: 0.05},
        ("cca-mean",),
    ),
    Asked(
        *("regress-f0", "pitch (R²)", "acoustic", "frame", "r2", 0.25, 0.7, 0.2),
        {SHUFFLED: -2.5},
    ),
    Asked(
        *("cca-phone", "phone identity (PWCCA)", "phonetic", "phone", "pwcca", 0.7, 0.74, 0.3),
        {SHUFFLED: 0.08},
        ("cca-mean", "cca-r2"),
    ),
    Asked(
        *("mi-phone", "phone identity (MI of clusters)", "phonetic", "phone", "mi-normalised"),
        *(0.75, 0.52, 0.2, {PERMUTED: 0.11}, ("mi",)),
    ),
    Asked(
        *("abx-phone", "phone discrimination (ABX)", "phonetic", "phone", "abx-error"),
        *(0.7, 0.04, 0.3, {"chance": 0.5}),
    ),
    Asked(
        *("cca-word", "word identity (PWCCA)", "lexical", "word", "pwcca", 0.75, 0.6, 0.3),
        {SHUFFLED: 0.21},
    ),
    Asked(
        *("word-discrimination", "acoustic word discrimination", "lexical", "word"),
        "average-precision",
        *(0.65, 0.66, 0.05, {PERMUTED: 0.01}),
    ),
    Asked(
        *("cca-glove", "word meaning (GloVe, PWCCA)", "semantic", "word", "pwcca"),
        *(0.65, 0.31, 0.26, {SHUFFLED: 0.27}),
    ),
    Asked(
        *("speaker-id", "speaker identity", "speaker", "utterance", "accuracy", 0.2, 0.9, 0.3),
        {PERMUTED: 0.03, "chance": 0.025},
    ),
    Asked(
        *("variance-shares", "shares of variance", "disentanglement", "phone", "phone-share"),
        *(0.6, 0.4, 0.1, {PERMUTED: 0.02}, ("speaker-share", "residual-share")),
    ),
    Asked(
        *("layer-choice", "layer choice for a task", "task", "utterance", "spearman"),
        *(0.5, 0.5, 0.1, {PERMUTED: 0.0}),
    ),
]


def curve_value(ask: Asked, measure: str, depth: float) -> float:
    """A made value: a bump over depth; a bowl for error rates."""
    bump = float(np.exp(-6 * (depth - ask.peak) ** 2))
    if measure.endswith("error"):
        return ask.height + (0.35 - ask.height) * (1 - bump) * 0.7
    return ask.floor + (ask.height - ask.floor) * bump


def property_made_rows(
    models: Models = WITH_TWINS,
    asked: list[Asked] = ASKED,
    *,
    spread: float | None = 0.02,
) -> list[Row]:
    """Rows as the properties job writes them: values and controls."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for ask in asked:
        for at, (spec, count, width, names) in enumerate(models):
            for i in range(count):
                layer = names[i] if names else str(i)
                if layer in UTTERANCE_ONLY and ask.unit != "utterance":
                    continue
                if layer in CONV and ask.group != "acoustic":
                    continue
                for k, measure in enumerate([ask.main, *ask.others]):
                    value = curve_value(ask, measure, i / max(1, count - 1)) * (1 - 0.2 * k)
                    value *= 1 - 0.05 * at + 0.01 * rng.standard_normal()
                    if spec.startswith("random:"):
                        value = 0.3 if measure.endswith("error") else 0.45 * value
                    for control, level in {"": value, **ask.controls}.items():
                        half = None if spread is None else spread * (0.5 if control else 1.0)
                        rows.append(
                            Row(
                                study="made",
                                model=spec,
                                layer=layer,
                                other_model="",
                                other_layer="",
                                property=ask.name,
                                measure=measure,
                                unit=ask.unit,
                                value=level,
                                ci_low=None if half is None else level - half,
                                ci_high=None if half is None else level + half,
                                n=20_000 if ask.unit == "frame" else 7_140,
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
    models: Models = WITH_TWINS, asked: list[Asked] = ASKED, **more: Any
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
                "name": ask.name,
                "title": ask.title,
                "group": ask.group,
                "unit": ask.unit,
                "main": ask.main,
                "facts": [{"rows": 7140, "types": 39, "seed": s} for s in range(2)]
                if ask.name != "cca-word"
                else [{"reduced": {"words": {"published": 500, "used": 120}}}],
                "notices": (
                    ["only 12 speakers have two recordings"] if ask.group == "speaker" else []
                ),
                "rows": 7140,
            }
            for ask in asked
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
