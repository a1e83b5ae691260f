"""What an intervention does to any measurement, beside what its controls do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.errors import NumericsError, UsageError
from voxstrata.models.base import SpeechModel

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[SpeechModel], Mapping[str, float]]
"""Numbers of a model by name: accuracy on each group of speakers, a view's CCA, ..."""


def effects(
    measure: Measure,
    intact: SpeechModel,
    edited: Mapping[str, SpeechModel],
    controls: Mapping[str, Sequence[SpeechModel]] | None = None,
) -> pd.DataFrame:
    """Measure a model, interventions on it, and their controls.

    Args:
        measure: from a model to numbers by name; the same names every time.
        intact: the model itself.
        edited: interventions by name (groups whose neurons were erased, say).
        controls: by the same names, models with as many other neurons changed in the same way.

    Returns:
        a row for each intervention and name: ``intervention``, ``measure``, ``intact``, ``after``,
        ``effect`` (intact minus after: what is lost), and with controls ``controls`` (their
        number), ``control_effect`` (mean), ``control_sd``, ``beyond`` (effect minus mean) and
        ``p``: share of controls, this intervention among them, whose effect is as far or farther
        from zero (Phipson and Smyth 2010: never 0, at least 1 / (controls + 1)).

    Raises:
        UsageError: controls are named that belong to no intervention, or names differ.
        NumericsError: a measurement is not finite.
    """
    import pandas as pd

    given = controls or {}
    if strange := sorted(set(given) - set(edited)):
        raise UsageError(
            "there are controls of interventions that are not there",
            got=", ".join(strange),
            expected=", ".join(edited),
        )
    before = _measured(measure, intact, None)
    rows: list[dict[str, Any]] = []
    for name, model in edited.items():
        after = _measured(measure, model, before)
        others = [_measured(measure, control, before) for control in given.get(name, ())]
        for key, value in before.items():
            row = {
                "intervention": name,
                "measure": key,
                "intact": value,
                "after": after[key],
                "effect": value - after[key],
                **_against(value - after[key], [value - other[key] for other in others]),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _against(effect: float, others: list[float]) -> dict[str, Any]:
    if not others:
        return {"controls": 0}
    values = np.array(others)
    farther = int(np.sum(np.abs(values) >= abs(effect)))
    return {
        "controls": len(values),
        "control_effect": float(values.mean()),
        "control_sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "beyond": effect - float(values.mean()),
        "p": (1 + farther) / (1 + len(values)),
    }


def _measured(
    measure: Measure, model: SpeechModel, like: Mapping[str, float] | None
) -> dict[str, float]:
    found = {str(key): float(value) for key, value in measure(model).items()}
    if like is not None and found.keys() != like.keys():
        raise UsageError(
            f"the measurement names other things for {model.spec}",
            got=", ".join(found),
            expected=", ".join(like),
        )
    if bad := [key for key, value in found.items() if not np.isfinite(value)]:
        raise NumericsError(f"measurements of {model.spec} are not finite", got=", ".join(bad))
    return found
