"""Figures of results in a notebook, where they show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from voxstrata.errors import UsageError
from voxstrata.files import atomic_write
from voxstrata.report.figures import ENDINGS, STYLE, Planned, drawn_box, encoded, planned
from voxstrata.report.view import View, read_view
from voxstrata.results import Results, load_results


@dataclass(frozen=True)
class Drawing:
    """One figure of a run, drawn when it is asked for.

    Attributes:
        stem: its name, that of its files in ``figures/``.
        title, label, unit: what it shows.
    """

    stem: str
    title: str
    label: str
    unit: str
    _plan: Planned = field(repr=False)
    _view: View = field(repr=False)

    def picture(self, ending: str = "svg") -> bytes:
        """The figure as the bytes of a file.

        Args:
            ending: "pdf", "svg" or "png" (300 dots an inch).

        Raises:
            UsageError: another ending.
        """
        from matplotlib import style

        if ending not in ENDINGS:
            raise UsageError(
                "figures are not written in this format",
                got=repr(ending),
                expected=", ".join(ENDINGS),
            )
        with style.context(["default", STYLE]):
            figure = self._plan.draw(self._view)
            return encoded(figure, ending, drawn_box(figure))

    def save(self, path: str | Path) -> Path:
        """Write the figure; the ending of the path says how.

        Raises:
            UsageError: an ending that is not known.
            StorageError: the file cannot be written.
        """
        place = Path(path)
        content = self.picture(place.suffix.removeprefix("."))
        with atomic_write(place) as file:
            file.write(content)
        return place

    def _repr_svg_(self) -> str:
        # Notebooks put it into a page, which has no use for the declaration before the element.
        text = self.picture("svg").decode("utf-8")
        return text[text.index("<svg") :]


def read_figures(results: Results | str | Path) -> dict[str, Drawing]:
    """Every figure of a results folder, by name; nothing is written.

    Args:
        results: as read by :func:`voxstrata.results.load_results`, or the folder.

    Raises:
        ResultsError: the folder has no results, or they are damaged.
    """
    held = results if isinstance(results, Results) else load_results(results)
    view = read_view(held)
    return {
        plan.stem: Drawing(plan.stem, plan.title, plan.label, plan.unit, plan, view)
        for plan in planned(view)
    }
