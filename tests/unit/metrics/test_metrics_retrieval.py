"""Average precision against scikit-learn's, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from voxstrata.errors import NumericsError, ShapeError
from voxstrata.metrics.retrieval import average_precision


def test_by_hand() -> None:
    """Relevant at places 1 and 3: (1/1 + 2/3) / 2. All equal: the share of relevant ones."""
    scores = [[9.0, 5, 4, 1], [2, 2, 2, 2], [1, 2, 3, 4]]
    relevant = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    first, second, third = average_precision(scores, relevant)
    assert first == pytest.approx(5 / 6)
    assert second == 0.25
    assert np.isnan(third)


def test_equal_to_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    for levels in (3, 10, 10_000):
        scores = rng.integers(0, levels, (30, 25)).astype(float)
        relevant = rng.random((30, 25)) < 0.2
        relevant[:, 7] = True
        expected = [average_precision_score(*pair) for pair in zip(relevant, scores, strict=True)]
        np.testing.assert_allclose(average_precision(scores, relevant), expected, atol=1e-12)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        average_precision([[1.0]], [[True, False]])
    with pytest.raises(NumericsError, match="finite"):
        average_precision([[np.nan, 1.0]], [[True, False]])
