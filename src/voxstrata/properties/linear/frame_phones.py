"""Linear predictability of the phone that a frame lies in: ``linear-phone-frame``.

Unlike ``linear-phone``, which reads means over phone segments, every row is one frame, and phones
come as often as speech has them: the share of frames that a linear classifier gets right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxstrata.properties.linear.draw import CLASS_FOLDS, ClassDraw, class_draw
from voxstrata.properties.linear.targets import labels_at, merged_folds, stress_free
from voxstrata.properties.property import PropertyFacts, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig

SHARE = 0.5
"""Share of the frame sample's cap that a draw uses, at most: a logistic regression of forty classes
asks for its time."""


@dataclass(frozen=True)
class LinearFramePhones(PropertyFacts):
    """Predictability of the phone at the centre of each frame; silence is left out."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> ClassDraw:
        """A random share of the labelled frames, with folds of the run dealt into five.

        Raises:
            TooFewError: no labelled frames, fewer than three folds, or one phone.
        """
        labels = np.array([stress_free(x) for x in labels_at(sample, "phones")], dtype=object)
        labelled = np.flatnonzero(labels != "")
        if not len(labelled):
            raise TooFewError(
                f"{self.name} found no frame with a phone",
                got=f"{len(labels)} frames",
                fix="a corpus with alignments (docs/corpora.md)",
            )
        rows, most = labelled, max(1, int(SHARE * settings.frames))
        if len(labelled) > most:
            rng = np.random.default_rng([seed, 44])
            rows = np.sort(rng.choice(labelled, most, replace=False))
        return class_draw(
            rows,
            labels[rows],
            merged_folds(sample.fold, CLASS_FOLDS)[rows],
            seed,
            what=self.name,
            facts={"frames_with_a_phone": len(labelled), "frames_used": len(rows)},
        )


def linear_phone_frame(argument: str) -> LinearFramePhones:
    """``linear-phone-frame``: phone identity of frames."""
    no_argument("linear-phone-frame", argument)
    return LinearFramePhones(
        "linear-phone-frame",
        "phone identity of frames (linear probe)",
        "phonetic",
        "frame",
        "accuracy",
        ("phones",),
    )
