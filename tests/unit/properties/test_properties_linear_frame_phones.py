"""``linear-phone-frame`` on planted frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from properties_planted import LAYER, segments, settings

from voxstrata.errors import UsageError
from voxstrata.properties.linear.frame_phones import linear_phone_frame
from voxstrata.properties.property import PERMUTED, TooFewError
from voxstrata.properties.sample import Sample
from voxstrata.types import Segment


def _frames(n: int = 800) -> tuple[Sample, np.ndarray]:
    """Segments whose rows stand for frames; the phone B is silence."""
    sample, rows = segments(n=n)
    phones: dict[str, list[Segment]] = {name: [] for name in sample.utterances}
    for i, label in enumerate(sample.labels or ()):
        spoken = "SIL" if label == "B" else label
        span = Segment(float(sample.start_s[i]), float(sample.end_s[i]), spoken)
        phones[sample.utterance[i]].append(span)
    spans = {
        name: dataclasses.replace(u, tiers={"phones": tuple(phones[name])})
        for name, u in sample.utterances.items()
    }
    return dataclasses.replace(sample, labels=None, utterances=spans, unit="frame"), rows


def test_frames_are_classed_by_the_phone_at_their_centre() -> None:
    sample, rows = _frames()
    draw = linear_phone_frame("").draw(sample, settings(), seed=0)
    assert draw.facts["frames_used"] == draw.facts["frames_with_a_phone"] < len(sample)
    found = {(s.measure, s.control): s for s in draw.score(torch.from_numpy(rows), LAYER)}
    assert found["accuracy", ""].value > 0.85
    commonest = found["accuracy", "chance"].value
    assert commonest < 0.5
    assert found["accuracy", PERMUTED].value == pytest.approx(commonest, abs=0.05)
    noise = np.random.default_rng(0).normal(size=rows.shape).astype(np.float32)
    none = {(s.measure, s.control): s for s in draw.score(torch.from_numpy(noise), LAYER)}
    assert none["accuracy", ""].value == pytest.approx(commonest, abs=0.05)


def test_a_sample_is_drawn_from_many_frames() -> None:
    sample, _ = _frames()
    few = linear_phone_frame("").draw(sample, settings(frames=500), seed=0)
    assert few.facts["frames_used"] == 250
    other = linear_phone_frame("").draw(sample, settings(frames=500), seed=1)
    assert few.rows.tolist() != other.rows.tolist()


def test_what_cannot_be_asked() -> None:
    sample, _ = _frames(200)
    silent = {
        name: dataclasses.replace(u, tiers={"phones": ()}) for name, u in sample.utterances.items()
    }
    with pytest.raises(TooFewError, match="no frame with a phone"):
        linear_phone_frame("").draw(
            dataclasses.replace(sample, utterances=silent), settings(), seed=0
        )
    with pytest.raises(UsageError):
        linear_phone_frame("word")
