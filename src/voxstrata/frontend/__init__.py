"""Waveform to acoustic features: fbank, MFCC, log-mel, and each speaker toolkit's own variant.

Importing this room loads no torch; ``FrontEnd`` and ``front_end`` are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxstrata.frontend.features import FrontEnd, front_end

__all__ = ["FrontEnd", "front_end"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from voxstrata.frontend import features

        return getattr(features, name)
    raise AttributeError(f"module 'voxstrata.frontend' has no attribute {name!r}")
