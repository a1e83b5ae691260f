"""The page of a study: what was asked, each claim with what was found, then all figures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voxstrata.errors import ConfigError
from voxstrata.references.citations import citations
from voxstrata.registry import unknown_name
from voxstrata.report.reading import mappings
from voxstrata.report.section import SECTIONS, Section, render
from voxstrata.report.sections.joined_opening import joined_findings, joined_notices
from voxstrata.report.study_view import StudyView
from voxstrata.report.view import View
from voxstrata.report.words import counted, duration, listing, number

OWN = ("study", "claims", "provenance")
"""Sections that only a study's page has."""

OF_PARTS = ("probing", "probing-layers", "probing-summed")
"""Sections that a page of several results leaves to the pages of the parts; a study's has the first
part's that has one."""

LONG = "answers"
"""The section that tells every curve and pair of layers in sentences."""

WHOLE = ("pairs", "steps")
"""Sections that it leaves to them too, and that can be drawn of all parts together."""

ALONE = ("opening", "paper", "run", "parts")
"""Sections of single results that a study's page says in its own way."""

MARKS = {"supported": "yes", "not supported": "no", "cannot tell": "unsure"}
"""Style class of each verdict."""

_HREF = re.compile(r'href="(?!#|https?:|mailto:)')


def study_sections(study: StudyView) -> list[Section]:
    """Every section of a study's page, in the order that the study asks for.

    Raises:
        ConfigError: the study names a section that there is not.
    """
    found = [_opening(study)]
    if study.claims:
        found.append(_claims(study))
    seen = {section.id for section in found}
    for view in (study.main, *study.others):
        for name in SECTIONS.names() if view is not None else ():
            section = None if view is None or name in ALONE else _section(name, view, study.folder)
            if section is not None and section.id not in seen:
                seen.add(section.id)
                found.append(section)
    if study.claims:  # they have said what matters; the long answers follow the figures
        found.sort(key=lambda section: section.id == LONG)
    found.append(_provenance(study))
    wanted = _wanted(study)
    if wanted is None:
        return found
    by_id = {section.id: section for section in found}
    known = {*by_id, *SECTIONS.names(), *OWN}
    for name in wanted:
        if name not in known:
            error = unknown_name("section of the page", name, sorted(known))
            raise ConfigError(error.what, expected=", ".join(sorted(known)), fix=error.fix)
    return [by_id[name] for name in dict.fromkeys(("study", *wanted)) if name in by_id]


def _section(name: str, view: View, page: Path) -> Section | None:
    """A section of a view, or of the first of its parts that has it."""
    make = SECTIONS.get(name)
    if name in WHOLE:
        return make(replace(view, parts=()))
    made = make(view)
    if made is not None:
        return _moved(made, view, page)
    for part in view.parts if name in OF_PARTS else ():
        if (made := make(part)) is not None:
            return _moved(made, part, page)
    return None


def study_title(study: StudyView) -> str:
    """The page's title."""
    return str(study.record.get("title") or study.record.get("study") or "Study")


def _wanted(study: StudyView) -> list[str] | None:
    config = study.record.get("config")
    shown = config.get("report") if isinstance(config, Mapping) else None
    sections = shown.get("sections") if isinstance(shown, Mapping) else None
    return [str(name) for name in sections] if sections else None


def _moved(section: Section, view: View, page: Path) -> Section:
    """Links of a section that was made for another folder's page lead there from here."""
    if view.parts or view.folder.resolve() == page.resolve():
        return section
    start = quote(view.folder.name)
    return replace(section, html=_HREF.sub(f'href="{start}/', section.html))


def _opening(study: StudyView) -> Section:
    """What was asked, and every claim with its verdict."""
    record = study.record
    views = [view for view in (study.main, *study.others) if view is not None]
    corpora = list(dict.fromkeys(name for view in views for name in _corpora(view)))
    counts = {
        verdict: sum(claim.get("verdict") == verdict for claim in study.claims) for verdict in MARKS
    }
    said = [f"{n} {verdict}" for verdict, n in counts.items() if n]
    notices = [str(text) for text in _list(record.get("notices"))]
    for view in views:
        told = joined_notices(view) if view.parts else _list(view.record.get("notices"))
        notices += [str(text) for text in told]
    failed = [e for e in mappings(record.get("analyses")) if e.get("failed")]
    kicker = [
        f"study {record['study']}" if record.get("study") else "",
        f"scale {record['scale']}" if record.get("scale") else "",
        f"on {listing(corpora)}" if corpora else "",
    ]
    html = render(
        "sections/study.html",
        kicker=" · ".join(filter(None, kicker)),
        title=study_title(study),
        question=_flat(record.get("question")),
        about=_flat(record.get("about")),
        verdicts=[
            {
                "name": str(claim.get("name", "")),
                "title": str(claim.get("title", "")),
                "verdict": str(claim.get("verdict", "")),
                "mark": MARKS.get(str(claim.get("verdict")), "unsure"),
                "found": _first_found(claim),
            }
            for claim in study.claims
        ],
        summary=f"Of {counted(len(study.claims), 'claim')}: {listing(said)}." if said else "",
        synthetic=bool(corpora) and all(name == "synthetic" for name in corpora),
        short=[] if study.claims or study.main is None else joined_findings(study.main),
        tiles=_tiles(study, views),
        notices=list(dict.fromkeys(notices)),
        failed=[(str(e.get("folder")), str(e.get("failed"))) for e in failed],
    )
    return Section("study", "", "", html)


def _first_found(claim: Mapping[str, Any]) -> str:
    for seed in mappings(claim.get("seeds")):
        found = _list(seed.get("found"))
        if found:
            return str(found[0])
    return ""


def _tiles(study: StudyView, views: Sequence[View]) -> list[tuple[str, str]]:
    models = {m.spec for view in views for m in view.models if m.twin_of is None}
    layers = sum(len(view.layers) for view in views[:1])
    tiles = [(f"{len(models):,}", "model" if len(models) == 1 else "models")]
    if layers:
        tiles.append((f"{layers:,}", "layers, twins counted"))
    seconds = max((_seconds(view) for view in views), default=0.0)
    if seconds:
        tiles.append((duration(seconds), "of speech"))
    rows = sum(int(e.get("rows") or 0) for e in mappings(study.record.get("analyses")))
    tiles.append((f"{rows:,}", "numbers in the table"))
    wall = study.record.get("wall_s")
    if isinstance(wall, int | float):
        tiles.append((duration(float(wall)), "to compute"))
    return tiles


def _seconds(view: View) -> float:
    parts = view.parts or (view,)
    found = [part.record.get("corpus") for part in parts]
    return max((float(c.get("seconds") or 0) for c in found if isinstance(c, Mapping)), default=0.0)


def _corpora(view: View) -> list[str]:
    names: list[str] = []
    for part in view.parts or (view,):
        corpus = part.record.get("corpus")
        if isinstance(corpus, Mapping):
            names += str(corpus.get("name") or corpus.get("spec") or "").split(" + ")
    return [name for name in names if name]


def _claims(study: StudyView) -> Section:
    """Every claim: what the paper found, the comparisons, what this run found."""
    told = []
    for claim in study.claims:
        seeds = list(mappings(claim.get("seeds")))
        told.append(
            {
                "name": str(claim.get("name", "")),
                "title": str(claim.get("title", "")),
                "paper": str(claim.get("paper", "")),
                "verdict": str(claim.get("verdict", "")),
                "mark": MARKS.get(str(claim.get("verdict")), "unsure"),
                "seeds": [
                    {
                        "label": f"seed {seed.get('seed')}" if len(seeds) > 1 else "",
                        "verdict": str(seed.get("verdict", "")),
                        "found": [str(text) for text in _list(seed.get("found"))],
                        "effects": [_effect(e) for e in mappings(seed.get("effects"))],
                        "tables": _tables(seed.get("tables")),
                    }
                    for seed in seeds
                ],
            }
        )
    html = render("sections/claims.html", claims=told)
    return Section("claims", "What the paper found, and what this run finds", "Claims", html)


def _effect(effect: Mapping[str, Any]) -> dict[str, str]:
    controls = effect.get("controls")
    held = controls if isinstance(controls, Mapping) else {}
    return {
        "what": str(effect.get("what", "")),
        "value": _number(effect.get("value")),
        "interval": _interval(effect.get("low"), effect.get("high")),
        "twin": _number(held.get("untrained twin")),
        "permutation": _number(held.get("permutation")),
        "n": f"{effect['n']} {effect.get('unit') or ''}".strip() if effect.get("n") else "",
        "verdict": str(effect.get("verdict", "")),
        "mark": MARKS.get(str(effect.get("verdict")), "unsure"),
        "doubt": str(effect.get("doubt") or ""),
    }


def _number(value: object) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    small = 0 < abs(value) < 0.0995  # two decimals would hide what stands beside zero
    return f"{value:.3f}".replace("-", "−") if small else number(float(value))


def _interval(low: object, high: object) -> str:
    ends = [_number(low), _number(high)]
    return "–" if "–" in ends else f"{ends[0]} to {ends[1]}"


def _tables(given: object) -> list[dict[str, Any]]:
    """Further tables of a claim, as heads and cells."""
    found = []
    for title, lines in given.items() if isinstance(given, Mapping) else ():
        rows = mappings(lines)
        if not rows:
            continue
        heads = list(dict.fromkeys(str(key) for row in rows for key in row))
        cells = [[_cell(row.get(head)) for head in heads] for row in rows]
        found.append({"title": str(title), "heads": heads, "rows": cells})
    return found


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return _number(value) if isinstance(value, float) else str(value)


def _provenance(study: StudyView) -> Section:
    """What was run, where all of it is, how to repeat and how to cite it."""
    record = study.record
    versions = record.get("versions")
    hardware = record.get("hardware")
    rows = []
    for entry in mappings(record.get("analyses")):
        folder = str(entry.get("folder", ""))
        wall = entry.get("wall_s")
        page = study.folder / folder / "report.html"
        rows.append(
            {
                "name": folder,
                "job": str(entry.get("job", "")),
                "rows": f"{int(entry.get('rows') or 0):,}",
                "wall": duration(float(wall)) if isinstance(wall, int | float) else "",
                "page": f"{quote(folder)}/report.html" if page.exists() else "",
                "failed": str(entry.get("failed") or ""),
            }
        )
    html = render(
        "sections/provenance.html",
        rows=rows,
        command=str(record.get("command") or ""),
        source=str(record.get("source") or ""),
        seeds=listing([str(s) for s in _list(_mapping(record.get("config")).get("seeds"))]),
        finished=str(record.get("finished") or ""),
        versions=[(str(k), str(v)) for k, v in _mapping(versions).items()],
        hardware=[(str(k), str(v)) for k, v in _mapping(hardware).items()],
        models=_models(study),
        bibtex="\n".join(citations([study.folder], "bibtex")),
        claims=bool(study.claims),
    )
    return Section("provenance", "How it was made, and how to cite it", "Provenance", html)


def _models(study: StudyView) -> list[dict[str, str]]:
    specs = {str(v): str(k) for k, v in _mapping(study.record.get("specs")).items()}
    roles: dict[str, list[str]] = {}
    for role, mine in _mapping(study.record.get("roles")).items():
        for spec in _list(mine):
            roles.setdefault(str(spec), []).append(str(role))
    return [
        {
            "name": name,
            "spec": spec,
            "roles": listing([role for role in roles.get(spec, []) if role != name]),
        }
        for spec, name in specs.items()
    ]


def _flat(text: object) -> str:
    return " ".join(str(text or "").split())


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
