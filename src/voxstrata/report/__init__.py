"""Figures and the report page, drawn from a results folder alone (see docs/report.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.report.page import draw_report

__all__ = ["draw_report"]


def __getattr__(name: str) -> Any:
    if name == "draw_report":
        from voxstrata.report.page import draw_report

        return draw_report
    raise AttributeError(f"module 'voxstrata.report' has no attribute {name!r}")
