"""What the page of a study looks at: its claims, and the results of its analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.files import read_json
from voxstrata.report.join import join_views
from voxstrata.report.reading import mappings
from voxstrata.report.view import View, read_view
from voxstrata.results import Results, load_results

JOB, CLAIMS = "study", "claims.json"


@dataclass(frozen=True)
class StudyView:
    """A study, arranged.

    Attributes:
        record: the study's own.
        claims: each with its verdict, and what was found with every seed.
        main: models and layers with their similarities, properties and tasks, of all analyses that
            have such; ``None`` where none has.
        others: results of other kinds (neurons, protection, ...), the first of each kind.
        linked: results without a place on the page: of another seed, another of a kind.
        folder: of the study.
    """

    record: Mapping[str, Any]
    claims: Sequence[Mapping[str, Any]]
    main: View | None
    others: tuple[View, ...]
    linked: tuple[View, ...]
    folder: Path


def is_study(record: Mapping[str, Any]) -> bool:
    """Whether a results folder is a study's."""
    return record.get("job") == JOB


def read_study_view(results: Results) -> StudyView:
    """Arrange a study's folder for drawing.

    Raises:
        ResultsError: an analysis that the record names has no results, or damaged ones.
    """
    folder, record = results.folder, results.record
    entries = [e for e in mappings(record.get("analyses")) if not e.get("failed")]
    first = next((e.get("seed") for e in entries if e.get("seed") is not None), None)
    joinable: list[View] = []
    others: list[View] = []
    linked: list[View] = []
    for entry in entries:
        view = read_view(load_results(folder / str(entry["folder"])))
        kinds = [one.record.get("job") for one in others]
        if entry.get("seed") not in (None, first):
            linked.append(view)
        elif view.facets or view.curves:
            joinable.append(view)
        elif view.record.get("job") in kinds:
            linked.append(view)
        else:
            others.append(view)
    main = None
    if joinable:
        main = join_views(joinable, folder) if len(joinable) > 1 else joinable[0]
    path = folder / CLAIMS
    claims = list(mappings(read_json(path))) if path.exists() else []
    return StudyView(record, claims, main, tuple(others), tuple(linked), folder)
