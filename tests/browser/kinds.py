"""Made results of every kind of page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

JOINED, COMPARED, STUDY = "joined", "compared", "study"

HOSTILE: list[tuple[str, int, int, list[str] | None]] = [
    ("</script><script>window.owned=1</script>", 2, 4, ["<b>x</b>", "'\"&"]),
    ("<img src=x onerror=window.owned=2>", 3, 4, None),
]


def _similarity(folder: Path) -> Path:
    from report_made import MADE, made_record, made_rows, write_made

    models = [("small", 5, 64, None), *MADE[3:5]]
    return write_made(folder, made_rows(models), made_record(models))


def _properties(folder: Path) -> Path:
    from report_made_properties import (
        ASKED,
        WITH_TWINS,
        property_made_record,
        property_made_rows,
        write_property_made,
    )

    asked = ASKED[:4]
    rows = property_made_rows(WITH_TWINS, asked)
    return write_property_made(folder, rows, property_made_record(WITH_TWINS, asked))


def _hostile(folder: Path) -> Path:
    from report_made import made_record, made_rows, write_made

    return write_made(folder, made_rows(HOSTILE), made_record(HOSTILE))


def _probing(folder: Path) -> Path:
    from report_made_probing import SID, write_probing

    return write_probing(folder, (SID,))


def _neurons(folder: Path) -> Path:
    from report_made_neurons import EQUAL, MORE, Asked, layers, write_neurons

    twin = Asked(MORE.name, layers(12), (10.0, 5.0, 15.0, 0.4), model="random:m")
    return write_neurons(folder, (MORE, twin, EQUAL))


def _protection(folder: Path) -> Path:
    from report_made_protection import Task, always, write_protection

    return write_protection(folder, (Task(none=always(0.2), random=always(0.1)),))


def _pruning(folder: Path) -> Path:
    from report_made_pruning import write_pruning

    return write_pruning(folder)


def _verification(folder: Path) -> Path:
    from report_made_verification import write_verification

    return write_verification(folder)


def _training(folder: Path) -> Path:
    from report_made_training import made_training

    made_training(folder)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "similarity": _similarity,
    "properties": _properties,
    "probing": _probing,
    "neurons": _neurons,
    "protection": _protection,
    "pruning": _pruning,
    "verification": _verification,
    "training": _training,
    "hostile": _hostile,
}


def _compared(folder: Path) -> Path:
    from report_made_joined import PLANTED_CURVES, write_properties
    from voxstrata.report import draw_comparison

    other = {key: value + 0.2 * (key[1] == "a") for key, value in PLANTED_CURVES.items()}
    one = write_properties(folder / "one", PLANTED_CURVES)
    draw_comparison(one, write_properties(folder / "two", other), folder / "report.html")
    return folder / "report.html"


KINDS = (*(kind for kind in WRITERS if kind != "hostile"), JOINED, COMPARED, STUDY)


def draw(kind: str, folder: Path) -> Path:
    """The page of a kind, drawn from results that are made in ``folder``."""
    from report_made_joined import joined
    from voxstrata.report.page import PAGE, page_html
    from voxstrata.report.view import read_view
    from voxstrata.results import load_results

    folder.mkdir(exist_ok=True)
    if kind == COMPARED:
        return _compared(folder)
    if kind == STUDY:
        from report_made_study import write_study
        from voxstrata.report import draw_report

        return draw_report(write_study(folder))
    view = joined(folder) if kind == JOINED else read_view(load_results(WRITERS[kind](folder)))
    page = folder / PAGE
    page.write_text(page_html(view), "utf-8")
    return page
