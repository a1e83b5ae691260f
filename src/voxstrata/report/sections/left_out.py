"""Properties that were asked for and not run, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from voxstrata.report.curve_view import JOB, PROBING
from voxstrata.report.join import JOINED
from voxstrata.report.reading import by_reason, mappings
from voxstrata.report.section import Section, render
from voxstrata.report.view import View


def left_out(view: View) -> Section | None:
    """What the record says was left out or refused; nothing where all was run."""
    if view.record.get("job") not in (JOB, PROBING, JOINED):
        return None
    kinds = (("left_out", "this corpus does not allow it"), ("refused", "too few units"))
    rows = [
        {"names": names, "kind": kind, "reason": reason}
        for key, kind in kinds
        for reason, names in by_reason(
            (str(item.get("name", "?")), str(item.get("reason", "")))
            for item in mappings(view.record.get(key))
        )
    ]
    if not rows:
        return None
    refused = rows[-1]["kind"] == kinds[1][1]
    config = view.record.get("config")
    published = isinstance(config, Mapping) and config.get("scale") == "published"
    noun = "task" if view.record.get("job") == PROBING else "property"
    html = render("sections/left_out.html", rows=rows, noun=noun, smaller=refused and published)
    return Section("left-out", "What was left out, and why", "Left out", html)
