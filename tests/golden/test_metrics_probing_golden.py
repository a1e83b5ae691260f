"""Scores of probing against values of the tools of the field on inputs that a formula gives.

Computed with jiwer 4.0.0, dtw-python 1.9.0 and pyannote.metrics 4.2.0.
"""

from __future__ import annotations

import numpy as np
import pytest

from voxstrata.metrics.diarization import Turn, diarization_errors
from voxstrata.metrics.edit import error_rate
from voxstrata.metrics.spoken_terms import subsequence_costs


def sentences() -> tuple[list[str], list[str]]:
    """Forty references and hypotheses that share some words."""
    words = ["a", "bc", "abc", "cab", "dad", "ed", "bead"]
    wanted = [[words[(i * j + 3 * j) % 7] for j in range(1, 4 + i % 9)] for i in range(40)]
    found = [
        [
            words[(words.index(w) + (i + k) % 5 // 4) % 7]
            for k, w in enumerate(row)
            if (i * k) % 6 != 5
        ]
        + ["a"] * (i % 4 == 1)
        for i, row in enumerate(wanted)
    ]
    return [" ".join(row) for row in wanted], [" ".join(row) for row in found]


def tables() -> list[np.ndarray]:
    """Distances of a query to documents of several lengths."""
    i, j = np.arange(9)[:, None], np.arange(40)
    whole = (13 * i * i + 7 * j * j + 5 * i * j + 3 * j) % 97 / 97
    return [whole[:, :6], whole[:, 5:11], whole[:, 11:30], whole[:, 30:31], whole[:, 31:]]


def recordings() -> list[tuple[list[Turn], list[Turn]]]:
    """Overlapping turns of three speakers, and of two to four who are found."""
    made = []
    for seed in range(3):
        wanted = [
            (2.5 * k + (k * seed) % 3 / 2, 2.5 * k + 2 + (k * k) % 4 / 2, "abc"[(k + k * seed) % 3])
            for k in range(8)
        ]
        found = [
            (3.1 * k + 0.3, 3.1 * k + 2.9 + (k % 2), "wxyz"[(k * k + seed) % (2 + seed)])
            for k in range(7)
        ]
        made.append((wanted, found))
    return made


def test_word_and_character_error_rates_are_jiwer_s() -> None:
    wanted, found = sentences()
    words = [[text.split() for text in side] for side in (wanted, found)]
    assert error_rate(*words) == pytest.approx(0.25925925925925924, abs=1e-15)
    assert error_rate(wanted, found) == pytest.approx(0.1726457399103139, abs=1e-15)


def test_subsequence_costs_are_dtw_python_s() -> None:
    """``dtw(table, step_pattern="asymmetric", open_begin=True, open_end=True)``."""
    parts = tables()
    lengths = [part.shape[1] for part in parts]
    found = subsequence_costs(np.concatenate(parts, axis=1), np.cumsum(lengths) - lengths)
    expected = [
        0.19243986254295534,
        0.2646048109965636,
        0.18900343642611686,
        0.6552119129438716,
        0.2050400916380298,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("collar", "parts"),
    [
        (0.0, [(1.8, 5.0, 7.1, 18.0), (1.7, 7.9, 7.1, 14.5), (1.3, 8.5, 5.5, 14.0)]),
        (0.25, [(1.55, 2.45, 5.1, 14.0), (1.2, 4.75, 5.1, 10.5), (1.05, 4.7, 3.5, 10.5)]),
    ],
)
def test_diarisation_errors_are_pyannote_s(collar: float, parts: list[tuple[float, ...]]) -> None:
    """Whose collar is the sum of both sides (0.5 here); miss, false alarm, confusion, speech."""
    for (wanted, found), expected in zip(recordings(), parts, strict=True):
        errors = diarization_errors(wanted, found, collar=collar)
        values = errors.miss, errors.false_alarm, errors.confusion, errors.speech
        assert values == pytest.approx(expected, abs=1e-9)
