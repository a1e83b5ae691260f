"""What a model's numbers are held against: its untrained twin, and features without a network."""

from __future__ import annotations

from collections.abc import Mapping

from voxstrata.report.view import Model, View


def is_baseline(model: Model) -> bool:
    """Whether a model is plain features (log-mel, MFCC): nothing in it could be trained."""
    details = model.record.get("details")
    return isinstance(details, Mapping) and details.get("parameters") == 0


def asked_models(view: View) -> list[int]:
    """Positions of the models that a page is about: no twins, no plain features."""
    return [
        i for i, model in enumerate(view.models) if model.twin_of is None and not is_baseline(model)
    ]


def baselines(view: View) -> list[int]:
    """Positions of plain features."""
    return [i for i, model in enumerate(view.models) if is_baseline(model)]
