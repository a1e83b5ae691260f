"""Figures and the report page, drawn from a results folder alone (see docs/report.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.report.compare_page import draw_comparison
    from voxstrata.report.page import draw_joined, draw_report

__all__ = ["draw_comparison", "draw_joined", "draw_report"]


def __getattr__(name: str) -> Any:
    if name == "draw_comparison":
        from voxstrata.report.compare_page import draw_comparison

        return draw_comparison
    if name in __all__:
        from voxstrata.report import page

        return getattr(page, name)
    raise AttributeError(f"module 'voxstrata.report' has no attribute {name!r}")
