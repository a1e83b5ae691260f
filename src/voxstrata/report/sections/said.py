"""Sentences of all facets, as the templates want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from voxstrata.report.view import Facet, View


def said(
    view: View,
    speak: Callable[[Facet], Sequence[str]],
    caution: Callable[[Facet], Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Sentences and cautions for every facet; empty sentences are left out.

    Args:
        view: whose facets.
        speak: sentences of one facet.
        caution: what weakens its numbers.
    """
    return [
        {
            "about": f"{facet.spoken}, one row per {facet.unit}",
            "says": [text for text in speak(facet) if text],
            "cautions": list(caution(facet)) if caution is not None else [],
        }
        for facet in view.facets
    ]


def beside(view: View) -> tuple[str, ...]:
    """What line charts of matrices can leave out: intervals, where there are any."""
    return ("intervals",) if any(np.isfinite(facet.low).any() for facet in view.facets) else ()
