"""Untrained twins: the same network with random weights, the control of whatever a model shows."""

from __future__ import annotations

from voxstrata.errors import ModelError, UsageError
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import load_model


def add_twins(
    models: list[SpeechModel], *, device: str, dtype: str
) -> tuple[dict[str, str], list[str]]:
    """Load the untrained twin of every trained model that has one; appended to ``models``.

    Models of one shape and front end have one twin between them: the same network would else
    run several times.

    Args:
        models: loaded models; twins are added at the end.
        device, dtype: of the twins.

    Returns:
        trained model to twin; and a sentence for each model that has none.
    """
    twins: dict[str, str] = {}
    without: list[str] = []
    for model in list(models):
        if model.details.get("random") or not model.details.get("parameters", 1):
            continue
        name = f"random:{model.spec}"
        if name not in {m.spec for m in models}:
            try:
                twin = load_model(name, device=device, dtype=dtype)
            except (ModelError, UsageError) as error:
                without.append(f"{model.spec} has no untrained twin beside it: {error.what}.")
                continue
            same = next((m.spec for m in models if m.fingerprint == twin.fingerprint), None)
            if same is None:
                models.append(twin)
            name = same or name
        twins[model.spec] = name
    return twins, without
