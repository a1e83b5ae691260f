"""Made evidence for claims: small tables with planted numbers, no models and no audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from voxstrata.results import Row, empty_table
from voxstrata.studies.claims.evidence import Evidence

LOWER = {"asv": "eer", "pr": "per", "asr": "wer", "sd": "der"}
"""Tasks of which less is better, with their measure."""

HOSTILE = '<script>alert("1")</script> + a,b=c.*[\'"] %s {0} 表'
"""A model's name that breaks whatever is careless."""


@dataclass
class Made:
    """Collects rows; :meth:`evidence` gives what claims read.

    Attributes:
        roles: specs by role.
        twins: trained model to twin; rows of twins are added like those of any model.
        labels: names that a study gives models.
    """

    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def analysis(self, name: str, job: str = "", **record: Any) -> None:
        """An analysis of a job (of the same name if none is given), with what its record holds."""
        self.rows.setdefault(name, [])
        self.records.setdefault(name, {"job": job or name}).update(record)

    def row(self, analysis: str, value: float, half: float | None = 0.02, **given: Any) -> None:
        """A row with an interval of ``half`` to both sides (``None``: without one)."""
        self.analysis(analysis, self.records.get(analysis, {}).get("job", ""))
        ends = (None, None) if half is None else (value - half, value + half)
        row = Row(
            **{
                "study": "made",
                "model": "",
                "layer": "",
                "other_model": "",
                "other_layer": "",
                "property": "",
                "measure": "",
                "unit": "utterance",
                "value": value,
                "ci_low": ends[0],
                "ci_high": ends[1],
                "n": 400,
                "groups": 40,
                "d": 8,
                "other_d": 8,
                "estimator": "",
                "seed": 0,
                **given,
            }
        )
        self.rows[analysis].append(asdict(row))

    def score(
        self,
        task: str,
        model: str,
        value: float,
        half: float | None = 0.02,
        *,
        layer: str = "weighted-sum",
        dealt: float | None = None,
        analysis: str = "probing",
        **given: Any,
    ) -> None:
        """A probing score by the task's main measure; ``dealt`` is that of labels dealt anew."""
        measure = LOWER.get(task, "accuracy")
        self._described(analysis, "probing", task, measure, "lower" if task in LOWER else "higher")
        keys = {"model": model, "layer": layer, "property": task, "measure": measure}
        keys |= {"estimator": "dev-selected", **given}
        self.row(analysis, value, half, **keys)
        if dealt is not None:
            self.row(analysis, dealt, half, **keys, control="permuted-labels")

    def more(
        self, task: str, model: str, other: str, value: float, half: float | None = 0.02
    ) -> None:
        """A paired difference of two models, as probing gives it for configured pairs."""
        self.row(
            "probing",
            value,
            half,
            model=model,
            layer="weighted-sum",
            other_model=other,
            other_layer="weighted-sum",
            property=task,
            measure=f"{LOWER.get(task, 'accuracy')}-over-other-model",
            estimator="dev-selected",
        )

    def curve(
        self,
        name: str,
        model: str,
        values: Mapping[str, float],
        half: float | None = 0.02,
        *,
        measure: str = "pwcca",
        better: str = "high",
        dealt: float | None = None,
        control: str = "shuffled-rows",
        unit: str = "phone",
        **given: Any,
    ) -> None:
        """A property over layers; ``dealt`` is the height of a flat control curve."""
        self._described("properties", "properties", name, measure, better)
        for layer, value in values.items():
            keys = {"model": model, "layer": layer, "property": name, "measure": measure}
            keys |= {"unit": unit, "estimator": "held-out", **given}
            self.row("properties", value, half, **keys)
            if dealt is not None:
                self.row("properties", dealt, half, **keys, control=control)

    def similar(
        self,
        model: str,
        layers: Sequence[str],
        other: str,
        other_layers: Sequence[str],
        values: ArrayLike,
        half: float | None = 0.02,
        *,
        unit: str = "frame",
        measure: str = "cka",
    ) -> None:
        """CKA of every layer with every layer, [layers, other layers]; of a model with itself the
        upper triangle alone, as the job writes it."""
        matrix = np.asarray(values, dtype=np.float64)
        self.analysis("similarity", "similarity")
        for i, one in enumerate(layers):
            for j, two in enumerate(other_layers):
                if model == other and j < i:
                    continue
                self.row(
                    "similarity",
                    float(matrix[i, j]),
                    half,
                    model=model,
                    layer=one,
                    other_model=other,
                    other_layer=two,
                    property="similarity",
                    measure=measure,
                    unit=unit,
                    estimator="debiased",
                )

    def evidence(self, scale: str = "small") -> Evidence:
        """What claims look at."""
        tables = {}
        for name, rows in self.rows.items():
            frame = pd.DataFrame(rows, columns=list(empty_table().columns))
            for column in ("value", "ci_low", "ci_high"):
                frame[column] = frame[column].astype("float64")
            tables[name] = frame
            self.records[name]["twins"] = dict(self.twins)
        return Evidence(tables, self.records, self.roles, self.labels, scale)

    def _described(self, analysis: str, job: str, name: str, main: str, better: str) -> None:
        self.analysis(analysis, job)
        told = self.records[analysis].setdefault("properties", [])
        if all(entry["name"] != name for entry in told):
            told.append({"name": name, "title": name.upper(), "main": main, "better": better})
