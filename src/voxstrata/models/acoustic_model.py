"""F0, voicing, periodicity, energy, tilt and zero crossings as layers of width 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.files import fingerprint
from voxstrata.frontend import acoustic
from voxstrata.frontend.config import WINDOW
from voxstrata.frontend.pitch import PitchConfig, estimate_pitch, frames_of
from voxstrata.models.base import layer as find_layer
from voxstrata.models.placement import PlacedModel
from voxstrata.types import LayerInfo

PITCH_LAYERS = ("f0", "voicing", "periodicity")
SIMPLE_LAYERS = {
    "energy": acoustic.energy_db,
    "tilt": acoustic.tilt_db,
    "zcr": acoustic.zero_crossings,
}

METHOD = 1
"""Raised when a formula changes, so that fingerprints do."""


class AcousticModel(PlacedModel):
    """Acoustic measures on the time grid of log-mel: every 10 ms, centred at sample 200 + 160 t.

    Each recording is worked on alone, in float64 on the CPU, and the result moved to the model's
    device and dtype, so a batch cannot change a bit.

    Args:
        spec: text the model was named by.
        pitch: settings of the F0 search.
    """

    def __init__(self, spec: str, pitch: PitchConfig) -> None:
        self.pitch = pitch
        layers = [LayerInfo(name, 1, "frame", pitch.grid) for name in PITCH_LAYERS]
        layers += [LayerInfo(name, 1, "frame", acoustic.GRID) for name in SIMPLE_LAYERS]
        settings = pitch.model_dump(mode="json")
        super().__init__(
            spec,
            "acoustic",
            tuple(layers),
            fingerprint(["acoustic", METHOD, settings]),
            {"pitch": settings, "parameters": 0},
            # Transforms of 1024 and 4096 points (5 n log2 n), a hundred times a second.
            100.0 * 5 * (1024 * 10 + 4096 * 12 + 512 * 9),
            WINDOW,
            None,
        )

    def frames(self, layer: str, samples: int) -> int:
        """Frames for ``samples`` samples; 0 where the recording is too short.

        Raises:
            UnknownNameError: there is no such layer.
        """
        find_layer(self, layer)
        return frames_of(samples)

    def _run(
        self, audio: Sequence[torch.Tensor], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor]]:
        results = []
        for wave in audio:
            found = self._measure(wave.detach().cpu().to(torch.float64).numpy(), layers)
            results.append(
                {
                    name: torch.from_numpy(values[:, None]).to(self.device, self.dtype)
                    for name, values in found.items()
                }
            )
        return results

    def _measure(self, wave: NDArray[np.float64], layers: Sequence[str]) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        if any(name in PITCH_LAYERS for name in layers):
            pitch = estimate_pitch(wave, self.pitch)
            found["f0"] = pitch.log2_hz
            found["voicing"] = pitch.voiced.astype(np.float64)
            found["periodicity"] = pitch.periodicity
        if any(name in SIMPLE_LAYERS for name in layers):
            frames = acoustic.windows(wave)
            for name, measure in SIMPLE_LAYERS.items():
                if name in layers:
                    found[name] = measure(frames)
        return {name: found[name] for name in layers}
