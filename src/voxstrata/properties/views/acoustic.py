"""Acoustic properties: CCA with log-mel, F0, level, tilt (frames) and speaking rate (recordings).

Views of frames are layers of helper models in the same pass, so they share the sample's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.properties.cca.engine import CcaDraw, scored_widths
from voxstrata.properties.property import PropertyFacts, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.unit_segment import SILENCES
from voxstrata.types import Utterance

ALL_VOICED = 1 - 1e-6
"""Mean voicing (0 or 1 a frame) from which all pooled frames are voiced, up to rounding."""


@dataclass(frozen=True)
class FrameView(PropertyFacts):
    """CCA of frames with a layer of a helper model.

    Attributes:
        helper: the helper model.
        layer: its layer.
        voiced: only rows all of whose frames are voiced.
    """

    helper: str = ""
    layer: str = ""
    voiced: bool = False

    def helpers(self, settings: PropertiesConfig) -> Sequence[str]:
        """The model whose layer is the view."""
        return (self.helper,)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> CcaDraw:
        """All rows of the sample (voiced ones for F0); the seed deals the control's rows.

        Raises:
            TooFewError: too few voiced rows, or too few rows for the widths.
            UsageError: the sample lacks the helper's layer.
        """
        view = read_view(sample, self.helper, self.layer)
        rows = np.arange(len(sample), dtype=np.int64)
        facts: dict[str, Any] = {"view": f"{self.helper}/{self.layer}"}
        if self.voiced:
            rows = voiced_rows(sample)
            facts["voiced_share"] = len(rows) / max(1, len(sample))
        return CcaDraw(
            view[rows],
            rows,
            sample.fold[rows],
            settings,
            seed,
            groups=sample.groups(settings.group)[rows],
            reduce_view=True,
            widths=[layer.width for layer in sample.layers if layer.name != self.helper],
            facts=facts,
            what=f"{self.helper}/{self.layer}",
        )


def read_view(sample: Sample, model: str, layer: str) -> NDArray[np.float64]:
    """Rows of a helper's layer, float64 [N, D].

    Raises:
        UsageError: the sample lacks it.
    """
    position = sample.find(model, layer)
    if position is None:
        raise UsageError(
            f"the sample lacks the layer {layer!r} of {model!r}",
            got=", ".join(item.key for item in sample.layers[-4:]),
            expected=f"{model}/{layer}, from a helper model or one asked for",
        )
    return sample.read(position).double().numpy()


def voiced_rows(sample: Sample) -> NDArray[np.int64]:
    """Rows whose frames are all voiced, int64.

    Raises:
        TooFewError: fewer than two.
    """
    rows = np.flatnonzero(read_view(sample, "acoustic", "voicing")[:, 0] >= ALL_VOICED)
    if len(rows) < 2:
        raise TooFewError(
            "there are too few voiced frames for F0",
            got=f"{len(rows)} of {len(sample)} rows",
            expected="at least 2",
            fix="more --frames, or a corpus of speech",
        )
    return rows.astype(np.int64)


@dataclass(frozen=True)
class SpeakingRate(PropertyFacts):
    """CCA of recordings with their phones a second."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> CcaDraw:
        """All recordings with at least two phones.

        Raises:
            TooFewError: too few of them.
        """
        rate = {key: speaking_rate(u) for key, u in sample.utterances.items()}
        values = np.array([rate[key] for key in sample.utterance], dtype=np.float64)
        rows = np.flatnonzero(np.isfinite(values))
        if len(rows) < 2 or np.ptp(values[rows]) == 0:
            raise TooFewError(
                "there are too few recordings with a speaking rate",
                got=f"{len(rows)} of {len(sample)}",
                expected="at least 2 different ones, from recordings of two phones or more",
                fix="attach alignments (docs/corpora.md)",
            )
        kept = values[rows]
        facts = {
            "without_phones": len(sample) - len(rows),
            "phones_per_second": {"mean": float(kept.mean()), "deviation": float(kept.std())},
        }
        return CcaDraw(
            kept[:, None],
            rows,
            sample.fold[rows],
            settings,
            seed,
            groups=sample.groups(settings.group)[rows],
            widths=scored_widths(sample),
            facts=facts,
            what="the speaking rate",
        )


def speaking_rate(utterance: Utterance) -> float:
    """Phones a second from the start of the first to the end of the last phone that is no silence.

    Pauses in between count. NaN with fewer than two phones or no time.
    """
    spoken = [s for s in utterance.segments("phones") if s.label not in SILENCES]
    if len(spoken) < 2:
        return float("nan")
    seconds = max(s.end_s for s in spoken) - min(s.start_s for s in spoken)
    return len(spoken) / seconds if seconds > 0 else float("nan")


def mel(argument: str) -> FrameView:
    """``cca-mel``."""
    return _frame("cca-mel", "mel filter bank (PWCCA)", "log-mel", "logmel", argument)


def f0(argument: str) -> FrameView:
    """``cca-f0``."""
    title = "F0 of voiced frames (CCA)"
    return _frame("cca-f0", title, "acoustic", "f0", argument, voiced=True)


def energy(argument: str) -> FrameView:
    """``cca-energy``."""
    return _frame("cca-energy", "level (CCA)", "acoustic", "energy", argument)


def tilt(argument: str) -> FrameView:
    """``cca-tilt``."""
    return _frame("cca-tilt", "spectral tilt (CCA)", "acoustic", "tilt", argument)


def rate(argument: str) -> SpeakingRate:
    """``speaking-rate``."""
    no_argument("speaking-rate", argument)
    return SpeakingRate(
        name="speaking-rate",
        title="speaking rate (CCA)",
        group="acoustic",
        unit="utterance",
        main="pwcca",
        tiers=("phones",),
    )


def _frame(
    name: str, title: str, helper: str, layer: str, argument: str, *, voiced: bool = False
) -> FrameView:
    no_argument(name, argument)
    return FrameView(
        name=name,
        title=title,
        group="acoustic",
        unit="frame",
        main="pwcca",
        helper=helper,
        layer=layer,
        voiced=voiced,
    )
