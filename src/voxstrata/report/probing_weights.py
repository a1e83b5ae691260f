"""Layer weights of learned sums: means from the table, seeds from the file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ResultsError
from voxstrata.report.probing_view import Task, layer_values, tasks
from voxstrata.report.view import View

WEIGHT, BY_NORM, LOST = "layer-weight", "layer-weight-by-norm", "lost-without-layer"
WEIGHTS = "weights.parquet"
"""The file of a probing run that has a line for every layer and run of a sum."""

COLUMNS = {WEIGHT: "weight", BY_NORM: "corrected"}
"""Where that file holds what a measure of the table is the mean of."""


@dataclass(frozen=True)
class SeedWeights:
    """Layer weights of every chosen run.

    Attributes:
        held: by (task, model, measure, layer), one number a seed and round.
    """

    held: dict[tuple[str, str, str, str], list[float]]

    def of(self, task: Task, model: str, measure: str, layer: str) -> list[float]:
        """Weights of one layer; none where the file does not know it."""
        return self.held.get((str(task.get("name")), model, measure, layer), [])


def seed_weights(view: View) -> SeedWeights | None:
    """Weights of every seed; ``None`` where the file is not beside the table.

    Raises:
        ResultsError: the file is there and cannot be read, or lacks columns.
    """
    path = view.folder / WEIGHTS
    if not path.exists():
        return None
    import pandas as pd

    needed = ["task", "model", "layer", *COLUMNS.values()]
    try:
        frame = pd.read_parquet(path, columns=needed)
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(
            f"{path} cannot be read",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected=f"a table with the columns {', '.join(needed)}",
            fix="run the same voxstrata probe command again with --overwrite always, or move the "
            "file away: the page then shows means alone",
        ) from None
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for line in frame.to_dict("records"):
        for measure, column in COLUMNS.items():
            key = (str(line["task"]), str(line["model"]), measure, str(line["layer"]))
            found.setdefault(key, []).append(float(line[column]))
    return SeedWeights(found)


def weighted(view: View) -> list[int]:
    """Positions of models whose layers were summed."""
    held = set(view.table[view.table["measure"] == WEIGHT]["model"])
    return [i for i, model in enumerate(view.models) if model.spec in held]


def weighted_tasks(view: View, model: str) -> list[Task]:
    """Tasks in which the layers of a model were summed."""
    return [task for task in tasks(view) if layer_values(view, task, model, WEIGHT)]


def weights(view: View, model: str, measure: str) -> tuple[list[str], list[str], NDArray[Any]]:
    """Layer weights of one model, means over seeds.

    Args:
        view: the results.
        model: its spec.
        measure: :data:`WEIGHT` or :data:`BY_NORM`.

    Returns:
        titles of tasks, names of layers, and the weights [tasks, layers].
    """
    asked = weighted_tasks(view, model)
    by_task = [layer_values(view, task, model, measure) for task in asked]
    known = {name for held in by_task for name in held}
    layers = [
        layer.name
        for layer in view.layers
        if view.models[layer.model].spec == model and layer.name in known
    ]
    found = np.full((len(asked), len(layers)), np.nan)
    for i, held in enumerate(by_task):
        for name, value in held.items():
            found[i, layers.index(name)] = value.value
    return [str(task.get("title")) for task in asked], layers, found
