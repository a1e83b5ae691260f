"""Error of every measure against a reference in long double, on inputs that are hard on arithmetic.

    OMP_NUM_THREADS=1 python benchmarks/numerics.py            # the tables of docs/numerics.md

A cell is |value - reference| / max(|reference|, 0.01), or what the measure said instead. ``!``
stands behind errors above 1e-3 without a warning.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numerics_inputs import INPUTS, Made
from numerics_properties import STATISTICS
from numerics_reference import LONG, Pair

from voxstrata.errors import VoxstrataError, VoxstrataWarning
from voxstrata.similarity import compare
from voxstrata.similarity.blocks import MemoryRows
from voxstrata.similarity.registry import MEASURES
from voxstrata.similarity.sweep import Work, sweep
from voxstrata.streaming.moments import MomentsReducer, StackMoments
from voxstrata.streaming.reducers import Rows

FEW_ROWS = "in-sample value is biased"
"""The warning that few rows bring says nothing of arithmetic: it has a sign of its own."""


NOTED = "the run's record notes layers with directions that float32 products do not resolve"


class Cell:
    """What a measure made of an input.

    Attributes:
        error: relative error; NaN where there is no value.
        said: refusal or warnings.
        refused: whether there is no value.
    """

    def __init__(self, error: float, said: tuple[str, ...] = (), refused: bool = False) -> None:
        self.error, self.refused = error, refused
        self.said = tuple(text for text in said if FEW_ROWS not in text)

    def text(self) -> str:
        if self.refused:
            return "refused"
        if math.isnan(self.error):
            return "no reference" + (", warned" if self.said else "")
        shown = "0" if self.error < 1e-16 else f"{self.error:.0e}".replace("e-0", "e-")
        return shown + (" warned" if self.said else " !" if self.error > 1e-3 else "")


def worst(cells: Sequence[Cell]) -> str:
    """The worst of several routes; a dagger where one of them refuses what others do."""
    there = [cell for cell in cells if not cell.refused]
    if not there:
        return "refused"
    dagger = " †" if len(there) < len(cells) else ""
    return max(there, key=lambda cell: (not math.isnan(cell.error), cell.error)).text() + dagger


Route = Callable[[str, Made], float]
Statistic = Callable[[Made], dict[str, float]]


def arrays(name: str, made: Made) -> float:
    """The Python functions."""
    return float(compare(name, *made, folds=0))


def _swept(route: str, precision: str) -> Route:
    def value(name: str, made: Made) -> float:
        rows = [torch.from_numpy(np.ascontiguousarray(v)) for v in made]
        measure = MEASURES.get(name)
        fold = np.arange(len(rows[0])) * 3 // len(rows[0])  # three folds, as a job has
        result: StackMoments | MemoryRows = MemoryRows(rows, fold)
        if route == "moments":
            reducer = MomentsReducer([v.shape[1] for v in rows], 3, dtype=getattr(torch, precision))
            for f in range(3):
                part = np.flatnonzero(fold == f)
                times = [0.0] * len(part)
                reducer.update(Rows("u", f, [v[part] for v in rows], times, times))
            result = reducer.finish()
        with tempfile.TemporaryDirectory() as folder:
            work = Work(route, {name: measure}, precision, 1e9, "cpu", 2000, 0, Path(folder) / "p")
            found = sweep(result, work)
        if found.weak:
            warnings.warn(NOTED, VoxstrataWarning, stacklevel=2)
        return float(found.values[name][0, 0, 1])

    return value


ROUTES: Mapping[str, tuple[Route, frozenset[str]]] = {
    "arrays": (arrays, frozenset({"terms", "moments", "rows"})),
    "moments float64": (_swept("moments", "float64"), frozenset({"terms", "moments"})),
    "moments float32": (_swept("moments", "float32"), frozenset({"terms", "moments"})),
    "blocks float64": (_swept("blocks", "float64"), frozenset({"terms", "moments", "rows"})),
    "blocks float32": (_swept("blocks", "float32"), frozenset({"terms", "moments", "rows"})),
    "gram float64": (_swept("gram", "float64"), frozenset({"terms"})),
    "gram float32": (_swept("gram", "float32"), frozenset({"terms"})),
}
"""Ways to a value, and what the measures that go them need."""


def attempt(work: Callable[[], float], reference: float) -> Cell:
    """Run, catch what is said, compare."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VoxstrataWarning)
        try:
            value = work()
        except VoxstrataError as error:
            return Cell(math.nan, (error.what,), refused=True)
    said = tuple(str(w.message) for w in caught if issubclass(w.category, VoxstrataWarning))
    if math.isnan(value):
        return Cell(math.nan, ("NaN", *said), refused=True)
    return Cell(abs(value - reference) / max(abs(reference), 0.01), said)


def similarity_cells(name: str, input_name: str, references: dict[str, float]) -> dict[str, Cell]:
    """Cells of one measure on one input, by route."""
    made = INPUTS[input_name]()
    needs = MEASURES.get(name).needs
    return {
        route: attempt(lambda work=work: work(name, made), references[name])
        for route, (work, serves) in ROUTES.items()
        if needs in serves
    }


def property_cells(work: Statistic, reference: Statistic, made: Made) -> dict[str, Cell]:
    """Cells of one property statistic on one input, by value."""
    return {
        name: attempt(lambda name=name: work(made)[name], value)
        for name, value in reference(made).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", help="measures (default: all)")
    parser.add_argument("--inputs", nargs="*", help="inputs (default: all)")
    parser.add_argument("--routes", action="store_true", help="each route by itself")
    given = parser.parse_args()
    torch.set_num_threads(1)
    inputs = given.inputs or list(INPUTS)
    print(f"Reference: {np.finfo(LONG).nmant + 1} bits of precision.\n")
    said: dict[str, set[str]] = {}
    references = {name: Pair(*INPUTS[name]()).values() for name in inputs}

    def note(name: str, cells: Mapping[str, Cell]) -> None:
        for i, cell in cells.items():
            for text in cell.said:
                said.setdefault(text, set()).add(f"{name} ({i})")

    def line(name: str, label: str, texts: Iterable[str]) -> None:
        print(f"| {name} | {label} | " + " | ".join(texts) + " |")

    line("measure", "route" if given.routes else "products", inputs)
    print("|---" * (len(inputs) + 2) + "|")
    for name in given.only or sorted(MEASURES.names()):
        cells = {i: similarity_cells(name, i, references[i]) for i in inputs}
        routes = list(cells[inputs[0]])
        for route in routes:
            note(f"`{name}`", {i: cells[i][route] for i in inputs})
        groups = {route: [route] for route in routes}
        if not given.routes:
            # Measures on rows are computed in float64, whatever the products are made in.
            products = MEASURES.get(name).needs != "rows"
            low = [route for route in routes if products and "float32" in route]
            groups = {"float64": [route for route in routes if route not in low]}
            groups |= {"float32": low} if low else {}
        for label, members in groups.items():
            line(f"`{name}`", label, [worst([cells[i][r] for r in members]) for i in inputs])
    if not given.only:
        print()
        line("statistic", "value", inputs)
        print("|---" * (len(inputs) + 2) + "|")
        for name, (work, reference) in STATISTICS.items():
            row = {i: property_cells(work, reference, INPUTS[i]()) for i in inputs}
            for value in row[inputs[0]]:
                line(name, value, [row[i][value].text() for i in inputs])
                note(name, {i: row[i][value] for i in inputs})
    print("\nWhat was said:\n")
    for text, where in said.items():
        print(f"* {text} - {', '.join(sorted(where))}")


if __name__ == "__main__":
    main()
