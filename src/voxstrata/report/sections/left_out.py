"""Properties that were asked for and not run, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from voxstrata.report.curve_view import JOB
from voxstrata.report.reading import mappings
from voxstrata.report.section import Section, render
from voxstrata.report.view import View


def left_out(view: View) -> Section | None:
    """What the record says was left out or refused; nothing where all was run."""
    if view.record.get("job") != JOB:
        return None
    kinds = (("left_out", "this corpus does not allow it"), ("refused", "too few units"))
    found: dict[tuple[str, str], list[str]] = {}
    for key, kind in kinds:
        for item in mappings(view.record.get(key)):
            why = kind, str(item.get("reason", ""))
            found.setdefault(why, []).append(str(item.get("name", "?")))
    if not found:
        return None
    rows = [
        {"names": names, "kind": kind, "reason": reason} for (kind, reason), names in found.items()
    ]
    refused = any(kind == kinds[1][1] for kind, _ in found)
    config = view.record.get("config")
    published = isinstance(config, Mapping) and config.get("scale") == "published"
    html = render("sections/left_out.html", rows=rows, smaller=refused and published)
    return Section("left-out", "What was left out, and why", "Left out", html)
