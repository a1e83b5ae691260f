"""Rules of activity: what is active, how many, and what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from voxstrata.errors import UnknownNameError, UsageError
from voxstrata.neurons.rules import Quantile, Threshold, Top, make_rule, tau


def pairs(rule, values: torch.Tensor) -> set[tuple[int, int]]:  # type: ignore[no-untyped-def]
    frames, neurons = rule.hits("x", values)
    assert frames.dtype == neurons.dtype == np.int64
    assert (np.diff(frames) >= 0).all()
    found = set(zip(frames.tolist(), neurons.tolist(), strict=True))
    assert len(found) == len(frames)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_top_takes_the_largest_absolute_values_of_each_frame(dtype: torch.dtype) -> None:
    values = torch.randn(40, 90, generator=torch.Generator().manual_seed(1)).to(dtype)
    rule = make_rule("top=0.05")
    found = pairs(rule, values)
    assert rule.top(90) == 4  # 4.5 rounds to even
    size = values.double().abs().numpy()
    for frame in range(40):
        mine = [n for f, n in found if f == frame]
        assert len(mine) == 4
        rest = np.delete(size[frame], mine)
        assert size[frame][mine].min() >= rest.max()
    assert rule.base(90, np.zeros(90, np.int64), 40) == 4 / 90


def test_equal_activations_still_give_tau_neurons() -> None:
    values = torch.zeros(3, 20)
    values[1, 7] = -1.0
    found = pairs(Top(0.1), values)
    for frame in range(3):
        assert sum(f == frame for f, _ in found) == 2
    assert (1, 7) in found  # ties share what is left, never displace a larger one


@pytest.mark.parametrize(
    ("width", "share", "expected"),
    [(3072, 0.01, 31), (450, 0.01, 4), (650, 0.01, 6), (150, 0.01, 2), (48, 0.02, 1)],
)
def test_tau_rounds_as_published(width: int, share: float, expected: int) -> None:
    assert tau(width, share) == expected


@pytest.mark.parametrize(("width", "share"), [(48, 0.01), (50, 0.01), (10, 0.96)])
def test_a_share_that_leaves_no_choice_is_refused(width: int, share: float) -> None:
    with pytest.raises(UsageError, match="leaves no choice") as error:
        tau(width, share)
    assert "--rule top=" in error.value.fix
    proposed = float(error.value.fix.partition("top=")[2])
    assert 0 < tau(width, proposed) < width


def test_threshold_is_strict_and_its_chance_is_the_neurons_own_rate() -> None:
    values = torch.tensor([[0.5, -0.6, 0.0], [-0.5, 0.4, 2.0]])
    rule = Threshold(0.5)
    assert pairs(rule, values) == {(0, 1), (1, 2)}
    assert rule.top(3) is None
    np.testing.assert_array_equal(rule.base(3, np.array([0, 1, 5]), 10), [0.0, 0.1, 0.5])


def test_quantile_is_each_neurons_own_over_the_sample() -> None:
    rng = np.random.default_rng(0)
    sample = (rng.standard_normal((2000, 6)) * np.arange(1, 7)).astype(np.float32)
    rule = Quantile(0.9)
    rule.learn("x", sample)
    rule.learn("y", 100 * sample)
    least = np.sort(np.abs(sample), axis=0)
    _, neurons = rule.hits("x", torch.from_numpy(sample))
    rates = np.bincount(neurons, minlength=6) / 2000
    np.testing.assert_allclose(rates, 0.1, atol=1e-3)  # whatever the neuron's scale
    for neuron in range(6):
        threshold = float(rule.learned()["x"][neuron])
        assert least[1798, neuron] <= threshold <= least[1800, neuron]
    assert not len(rule.hits("y", torch.from_numpy(sample[:50]))[0])
    assert rule.top(6) is None


@pytest.mark.parametrize("text", ["top=0.01", "threshold=0.5", "quantile=0.99"])
def test_a_rule_names_itself_as_it_was_written(text: str) -> None:
    assert make_rule(text).name == text


@pytest.mark.parametrize(
    "text",
    ["top=0", "top=1", "top=nan", "threshold=-1", "threshold=nan", "quantile=1", "quantile=0",
     "top", "top=", "top=many"],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        make_rule(text)


def test_an_unknown_rule_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="threshold"):
        make_rule("tops=0.01")
