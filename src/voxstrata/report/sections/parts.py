"""The results folders that a page was joined from, each with its own page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from voxstrata.report.join import part_names
from voxstrata.report.section import Section, render
from voxstrata.report.sections.run import DRAWS, INTERVALS
from voxstrata.report.view import View
from voxstrata.report.words import duration
from voxstrata.results import CSV


def parts(view: View) -> Section | None:
    """Links and commands; nothing for a single results folder."""
    if not view.parts:
        return None
    rows = [
        _row(view, name, part)
        for name, part in zip(part_names(view.parts), view.parts, strict=True)
    ]
    intervals = [INTERVALS] if any(part.facets for part in view.parts) else []
    intervals += [DRAWS] if any(part.curves for part in view.parts) else []
    html = render("sections/parts.html", rows=rows, intervals=intervals)
    return Section("parts", "What was run, and where all of it is", "Full results", html)


def _row(view: View, name: str, part: View) -> dict[str, Any]:
    record = part.record
    corpus, versions = _mapping(record.get("corpus")), _mapping(record.get("versions"))
    wall = record.get("wall_s")
    links = [(label, file) for label, file in (("its page", "report.html"), ("table", CSV))]
    return {
        "name": name,
        "job": str(record.get("job", "")),
        "links": [
            (label, _link(part, file, view))
            for label, file in links
            if (part.folder / file).exists()
        ],
        "facts": [
            (key, text)
            for key, text in (
                ("recordings", str(corpus.get("spec") or corpus.get("name") or "")),
                ("command", str(record.get("command") or "")),
                ("seed", str(record.get("seed", ""))),
                ("finished", str(record.get("finished") or "")),
                ("wall time", duration(float(wall)) if isinstance(wall, int | float) else ""),
                ("voxstrata", str(versions.get("voxstrata") or "")),
            )
            if text
        ],
    }


def _link(part: View, file: str, view: View) -> str:
    """An address relative to the page, so that both can be moved together."""
    path = os.path.relpath((part.folder / file).resolve(), view.folder.resolve())
    return quote(path.replace(os.sep, "/"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
