"""What claims look at: tables of a study's analyses, and which model plays which part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """Results of one study.

    Attributes:
        tables: tidy table of each analysis (:class:`voxstrata.results.Row` has its columns).
        records: run record of each.
        roles: model specs by role ("speech", "speaker", "dino", "supervised", ...).
        labels: model specs to the names that the study file gives them.
        scale: "demo", "small" or "paper".
    """

    tables: Mapping[str, pd.DataFrame]
    records: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str]
    scale: str = ""

    def of(self, job: str) -> pd.DataFrame:
        """All rows of the analyses of one job ("probing", "similarity", "properties", ...).

        Returns:
            the table, with a column ``analysis``; without rows where there is none.
        """
        import pandas as pd

        from voxstrata.results import empty_table

        mine = [
            table.assign(analysis=name)
            for name, table in self.tables.items()
            if self.records[name].get("job") == job
        ]
        return pd.concat(mine, ignore_index=True) if mine else empty_table().assign(analysis="")

    def role(self, name: str) -> tuple[str, ...]:
        """Specs of the models that play a part; empty where none does."""
        return self.roles.get(name, ())

    @property
    def twins(self) -> Mapping[str, str]:
        """Trained model to its untrained twin, of all analyses."""
        found: dict[str, str] = {}
        for record in self.records.values():
            twins = record.get("twins")
            if isinstance(twins, Mapping):
                found |= {str(k): str(v) for k, v in twins.items()}
        return found

    def twin(self, spec: str) -> str | None:
        """Its untrained twin, where one was run."""
        return self.twins.get(spec)

    def twin_in(self, analysis: str, spec: str) -> str | None:
        """Its untrained twin in one analysis.

        Models of one shape share a twin, which is named after the first of them in that analysis.
        Where an analysis does not say whose twins its models are (similarity), the others do.
        """
        record = self.records.get(analysis, {})
        own = record.get("twins")
        if isinstance(own, Mapping):
            return None if own.get(spec) is None else str(own[spec])
        listed = record.get("models")
        here = {str(m.get("spec")) for m in listed or () if isinstance(m, Mapping)}
        twins = [other.get("twins") for other in self.records.values()]
        named = [str(t[spec]) for t in twins if isinstance(t, Mapping) and spec in t]
        return next((name for name in named if name in here), None)

    def label(self, spec: str) -> str:
        """What a sentence calls a model."""
        return self.labels.get(spec, spec)
