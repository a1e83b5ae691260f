"""Properties that were asked for and not run, with the reason."""

from __future__ import annotations

from voxstrata.report.curve_view import JOB
from voxstrata.report.reading import mappings
from voxstrata.report.section import Section, render
from voxstrata.report.view import View


def left_out(view: View) -> Section | None:
    """What the record says was left out or refused; nothing where all was run."""
    if view.record.get("job") != JOB:
        return None
    kinds = (("left_out", "this corpus does not allow it"), ("refused", "too few units"))
    rows = [
        {"name": str(item.get("name", "?")), "kind": kind, "reason": str(item.get("reason", ""))}
        for key, kind in kinds
        for item in mappings(view.record.get(key))
    ]
    if not rows:
        return None
    html = render("sections/left_out.html", rows=rows)
    return Section("left-out", "What was left out, and why", "Left out", html)
