"""What claims look at: tables of a study's analyses, and which model plays which part."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxstrata.errors import UsageError
from voxstrata.models.spec import parse
from voxstrata.report.reading import mappings

if TYPE_CHECKING:
    import pandas as pd

SHARED = "the models share one untrained twin"
"""Why twins say nothing of a difference: between a network and itself it is 0 by construction."""

RANDOM = "random:"
"""How names of untrained networks begin."""


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

    def is_untrained(self, spec: str) -> bool:
        """Whether a model is an untrained network: a twin in any analysis, or one by its name."""
        named = (twin for twins in self._every_twin() for twin in twins.values())
        return spec.startswith(RANDOM) or spec in {str(twin) for twin in named}

    def names_of_twin(self, spec: str) -> tuple[str, ...]:
        """What analyses call its untrained twin, each name once, in order of analyses."""
        named = (twins.get(spec) for twins in self._every_twin())
        return tuple(dict.fromkeys(str(twin) for twin in named if twin is not None))

    def _every_twin(self) -> list[Mapping[Any, Any]]:
        found = (record.get("twins") for record in self.records.values())
        return [twins for twins in found if isinstance(twins, Mapping)]

    def twin_in(self, analysis: str, spec: str) -> str | None:
        """Its untrained twin in one analysis.

        Models of one shape share a twin, which is named after the first of them in that analysis.
        Where an analysis does not say whose twins its models are (similarity), the others do.
        """
        record = self.records.get(analysis, {})
        own = record.get("twins")
        if isinstance(own, Mapping):
            return None if own.get(spec) is None else str(own[spec])
        here = self._prints(analysis)
        return next((name for name in self.names_of_twin(spec) if name in here), None)

    def twins_apart(
        self, analysis: str, specs: Iterable[str], layers: Collection[str] = ()
    ) -> tuple[tuple[str, ...], str]:
        """Untrained twins of models that are held against each other, no two the same network.

        Where models share a twin, another untrained network of that shape in the same analysis
        (``random:MODEL,seed=1``, named as a model of the study) stands for one of them.

        Args:
            layers: names of the only layers that are compared. Twins of one family, seed, front end
                and width of these have the same weights there, whatever follows them.

        Returns:
            a twin for each model, in order, and ""; or none, and why (:data:`SHARED`; "" where a
            model has no twin here).
        """
        own: dict[str, str] = {}
        for spec in specs:
            twin = self.twin_in(analysis, spec)
            if twin is None:
                return (), ""
            own[spec] = twin
        prints = self._prints(analysis, layers)
        found: dict[str, str] = {}
        for twin in own.values():
            network = prints.get(twin, twin)
            shape = {base_of(m) for m, its in own.items() if prints.get(its, its) == network}
            more = [n for n in prints if n.startswith(RANDOM) and base_of(n) in shape]
            left = (name for name in (twin, *more) if prints.get(name, name) not in found)
            pick = next(left, None)
            if pick is None:
                return (), SHARED
            found[prints.get(pick, pick)] = pick
        return tuple(found.values()), ""

    def twin_network(self, analysis: str, spec: str) -> str:
        """Which network its twin in an analysis is: models that share one have the same; "" where
        it has none."""
        twin = self.twin_in(analysis, spec)
        return "" if twin is None else self._prints(analysis).get(twin, twin)

    def _prints(self, analysis: str, layers: Collection[str] = ()) -> dict[str, str]:
        """Fingerprints of the models of an analysis, by spec; the spec where there is none. Of some
        layers of untrained networks alone: what their initial weights follow from."""
        found = {}
        for model in mappings(self.records.get(analysis, {}).get("models")):
            name, details = str(model.get("spec")), model.get("details")
            found[name] = str(model.get("fingerprint") or name)
            if layers and isinstance(details, Mapping) and details.get("random"):
                held = mappings(model.get("layers"))
                widths = [(x.get("name"), x.get("width")) for x in held if x.get("name") in layers]
                made = (model.get("family"), details.get("seed"), details.get("front_end"))
                found[name] = repr((*made, widths))
        return found

    def label(self, spec: str) -> str:
        """What a sentence calls a model."""
        return self.labels.get(spec, spec)


def base_of(spec: str) -> str:
    """The model that a spec is of: ``ecapa`` for ``random:ecapa,seed=1``."""
    try:
        return parse(spec).base
    except UsageError:
        return spec
