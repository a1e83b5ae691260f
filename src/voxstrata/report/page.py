"""The page: one file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from voxstrata import __version__
from voxstrata.errors import UsageError
from voxstrata.files import atomic_write
from voxstrata.report.figures import draw_figures
from voxstrata.report.join import join_views
from voxstrata.report.layer_picks import merged
from voxstrata.report.pack import SCALE, pack_view
from voxstrata.report.section import SECTIONS, SHOWS, TEMPLATES, Section, json_for_script, render
from voxstrata.report.sections.opening import title
from voxstrata.report.study_page import study_sections, study_title
from voxstrata.report.study_view import StudyView, is_study, read_study_view
from voxstrata.report.view import View, read_view
from voxstrata.results import load_results

PAGE = "report.html"
"""File name of the page in the results folder."""

ALWAYS = ("core.js", "layers.js", "legend.js", "saving.js", "tables.js")
"""Scripts that every page has, in this order; sections name theirs."""


def draw_report(folder: Path) -> Path:
    """Draw the page and the figure files of a results folder; nothing is measured.

    Args:
        folder: holds ``results.parquet`` and ``run.json``; ``report.html`` and ``figures/`` are
            written there, replacing older ones of the same names.

    Returns:
        the path of the page.

    Raises:
        ResultsError: the folder has no results, or they are damaged.
        StorageError: it cannot be written.
    """
    results = load_results(folder)
    if is_study(results.record):
        return _draw_study(read_study_view(results))
    view = read_view(results)
    draw_figures(view, Path(folder) / "figures")
    page = Path(folder) / PAGE
    with atomic_write(page) as file:
        file.write(page_html(view).encode("utf-8"))
    return page


def draw_joined(folders: Sequence[Path], page: Path) -> Path:
    """Draw one page of several results folders; nothing is measured.

    The page opens with what they say together: where each model holds what, which layers of
    different models are alike. It links to the pages of the folders, which are left as they are.

    Args:
        folders: two or more, each with results of a similarity, properties or probing run.
        page: the file to write.

    Returns:
        the path of the page.

    Raises:
        UsageError: fewer than two folders, or one holds results of another kind.
        ResultsError: a folder has no results, or one name stands for different models.
        StorageError: the page cannot be written.
    """
    if len(folders) < 2:
        raise UsageError(
            "a joined page needs several results folders",
            got=f"{len(folders)}",
            expected="two or more",
            fix="draw_report draws the page of one",
        )
    view = join_views([read_view(load_results(folder)) for folder in folders], page.parent)
    with atomic_write(page) as file:
        file.write(page_html(view).encode("utf-8"))
    return page


def page_html(view: View) -> str:
    """The whole page as text.

    Args:
        view: the results, arranged by :func:`voxstrata.report.view.read_view`.
    """
    made = (SECTIONS.get(name)(view) for name in SECTIONS.names())
    return assembled(title(view), [section for section in made if section is not None], view)


def _draw_study(study: StudyView) -> Path:
    """The page of a study; those of its analyses are drawn by themselves."""
    shown = study.main or (*study.others, *study.linked)[0]
    if study.main is None:
        # Without matrices and curves of layers nothing on the page reads the shared data.
        shown = replace(shown, facets=(), curves=())
    page = study.folder / PAGE
    text = assembled(study_title(study), study_sections(study), shown)
    with atomic_write(page) as file:
        file.write(text.encode("utf-8"))
    return page


def assembled(heading: str, sections: list[Section], view: View) -> str:
    """One page of sections, with the data that their scripts share."""
    from markupsafe import Markup

    # Pages without charts that scripts draw are smaller by the library.
    library = _library() if any(section.specs for section in sections) else ""
    script = _script(sections)
    picks = merged(offer for section in sections for offer in section.layers)
    data = {
        **pack_view(view),
        "picks": picks,
        "scale": SCALE,
        "specs": {name: spec for s in sections for name, spec in s.specs.items()},
        "sections": {s.id: s.data for s in sections if s.data},
    }
    return render(
        "page.html",
        title=heading,
        policy=_policy(library, script),
        style=Markup(_style()),
        sections=[_shown(section) for section in sections],
        bars=[Markup(section.bar) for section in sections if section.bar],
        shows=[(n, SHOWS[n]) for n in SHOWS if any(n in section.shows for section in sections)],
        facets=view.facets,
        picks=bool(picks),
        joined=bool(view.parts),
        labels=list(dict.fromkeys(facet.label for facet in view.facets)),
        units=list(dict.fromkeys(facet.unit for facet in view.facets)),
        version=__version__,
        data=Markup(json_for_script(data)),
        charts=bool(library),
        library=Markup(library),
        script=Markup(script),
    )


def _shown(section: Section) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "id": section.id,
        "title": section.title,
        "short": section.short,
        "html": Markup(section.html),
    }


def _policy(*scripts: str) -> str:
    """A content security policy: only our own scripts run, and no address can be reached.

    Vega compiles its expressions, so ``unsafe-eval`` is needed; it styles elements inline.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode('utf-8')).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, from the files inside ``vl_convert``."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _inline(f"(() => {{{bundle}}})();")


def _script(sections: list[Section]) -> str:
    """The page's own JavaScript: the core, then each section's, once."""
    names = dict.fromkeys(name for section in sections for name in section.scripts)
    parts = [(TEMPLATES / name).read_text("utf-8") for name in (*ALWAYS, *names)]
    return _inline("\n".join([*parts, "window.voxstrata.start();\n"]))


def _inline(script: str) -> str:
    """A script that cannot end its element early; ``<\\/`` means ``</`` in JavaScript strings.

    Line ends are made plain, as the browser does before it computes the script's hash.
    """
    return script.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _style() -> str:
    """The style sheet, with the colour bar's stops taken from the map that the figures use."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    from voxstrata.report.charts import SCHEME

    stops = ", ".join(to_hex(colormaps[SCHEME](i / 10)) for i in range(11))
    return (TEMPLATES / "page.css").read_text("utf-8").replace("STOPS", stops)
