"""What protection changes at all: rows that a model keeps and the one without protection lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxstrata.files import read_json
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import Variant
from voxstrata.results import RECORD


def swapped(wanted: Sequence[Variant]) -> list[dict[str, Any]]:
    """For each model with something protected, rows it has that the unprotected one has not.

    A protected neuron that would have stayed anyway changes nothing, so that two sets of the same
    size need not change the model as much.

    Args:
        wanted: the pruned models, made; those without a partner of condition "none" are left out.

    Returns:
        ``condition``, ``keep``, ``seed``, ``rows`` (over all layers) and ``of`` (rows it keeps).
    """
    kept = {(one.condition, one.keep, one.seed): one for one in wanted}
    found = []
    for (condition, keep, seed), one in kept.items():
        other = kept.get(("none", keep, seed))
        if condition == "none" or other is None:
            continue
        mine, its = _gone(one.folder), _gone(other.folder)
        sizes = read_json(one.folder / RECORD)["after"]["feed_forward"]
        found.append(
            {
                "condition": condition,
                "keep": keep,
                "seed": seed,
                "rows": sum(len(its[layer] - mine[layer]) for layer in its),
                "of": sum(sizes),
            }
        )
    return found


def unchanged(differ: Sequence[dict[str, Any]], config: ProtectionConfig) -> list[str]:
    """Sizes at which protection changed nothing, told: there the scores can only agree."""
    rows: dict[int, int] = {}
    for entry in differ:
        if entry["condition"] == "protected":
            rows[entry["keep"]] = rows.get(entry["keep"], 0) + entry["rows"]
    same = [str(keep) for keep, number in rows.items() if not number]
    if not same:
        return []
    return [
        f"With {' or '.join(same)} rows left, protection changed nothing: by their score "
        f"({config.score}) all protected neurons would have stayed anyway."
    ]


def _gone(folder: Path) -> dict[str, set[int]]:
    """Rows that went in all steps, in the numbering of the first model, by layer."""
    gone: dict[str, set[int]] = {}
    for step in read_json(folder / RECORD)["steps"]:
        for layer, removed in step.get("removed", {}).items():
            earlier = sorted(gone.get(layer, ()))
            found = set()
            for place in removed:
                for before in earlier:  # each earlier loss at or below moves it up by one
                    place += before <= place
                found.add(place)
            gone[layer] = {*earlier, *found}
    return gone
