"""Results of a study arranged as the pages arrange them, so that claims and pages read alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxstrata.errors import VoxstrataError
from voxstrata.report.view import View, read_view
from voxstrata.results import Results
from voxstrata.studies.claims.evidence import Evidence


@dataclass(frozen=True)
class Seen:
    """All analyses of one job.

    Attributes:
        views: one an analysis, in the order of the study.
        missing: why there is none; "" where there is one.
    """

    views: tuple[View, ...]
    missing: str


def analysis_of(view: View) -> str:
    """Name of the analysis that a view of :func:`seen` is of."""
    return str(view.folder)


def seen(evidence: Evidence, job: str) -> Seen:
    """Analyses of a job ("properties", "probing", "neurons", "protection") as views."""
    views: list[View] = []
    damaged: list[str] = []
    for name, table in evidence.tables.items():
        record = evidence.records.get(name, {})
        if record.get("job") != job:
            continue
        try:
            # Views name their parts by folder; the results themselves are in memory.
            views.append(read_view(Results(table, dict(record), Path(name))))
        except VoxstrataError as error:
            damaged.append(f"{name} cannot be read ({error.what})")
    if views:
        return Seen(tuple(views), "")
    return Seen((), "; ".join(damaged) or f"the study has no results of {job}")
