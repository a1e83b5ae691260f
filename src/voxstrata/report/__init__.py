"""Figures and the report page, drawn from a results folder alone (see docs/report.md)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.report.compare_page import draw_comparison
    from voxstrata.report.notebook import read_figures
    from voxstrata.report.page import draw_joined, draw_report

__all__ = ["draw_comparison", "draw_joined", "draw_report", "read_figures"]

_HOMES = {"draw_comparison": "compare_page", "read_figures": "notebook"}
"""Modules of functions that are not in ``page``."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = _HOMES.get(name, "page")
        return getattr(importlib.import_module(f"voxstrata.report.{home}"), name)
    raise AttributeError(f"module 'voxstrata.report' has no attribute {name!r}")
