"""Removals in steps are one removal; sets follow their neurons."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxstrata import load_model
from voxstrata.neurons.pruning.order import lowest_of_all, lowest_of_each
from voxstrata.neurons.pruning.rows import after_removal
from voxstrata.neurons.pruning.surgery import remove_rows
from voxstrata.neurons.sets import neuron_set

WIDTH = 14
LAYER = "block.1.ffn.inner"


@cache
def model() -> Any:
    return load_model(
        f"random:melhubert,inputs=80,width=16,layers=1,heads=2,ffn={WIDTH},conv_pos=8,"
        "conv_groups=4,clusters=5"
    )


def keys(of: Any) -> torch.Tensor:
    return of._module.encoder.layers[0].fc1.weight  # type: ignore[no-any-return]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_steps_are_one_removal(data: st.DataObject) -> None:
    first = data.draw(st.sets(st.integers(0, WIDTH - 1), max_size=WIDTH - 2))
    left = [i for i in range(WIDTH) if i not in first]
    second = data.draw(st.sets(st.integers(0, len(left) - 1), max_size=len(left) - 1))
    members = data.draw(st.sets(st.integers(0, WIDTH - 1)))
    found = neuron_set("s", model(), {LAYER: members})
    one = remove_rows(model(), {LAYER: sorted(first)})
    moved = after_removal(found, {LAYER: sorted(first)}, one)
    two = remove_rows(one, {LAYER: sorted(second)})
    moved = after_removal(moved, {LAYER: sorted(second)}, two)
    both = sorted(first | {left[i] for i in second})
    whole = remove_rows(model(), {LAYER: both})
    assert two.fingerprint == whole.fingerprint
    moved.check(two)
    stay = sorted(members - set(both))
    assert torch.equal(keys(two)[list(moved.of(LAYER))], keys(model())[stay])


scores = st.lists(
    st.lists(st.integers(0, 5).map(float), min_size=2, max_size=7), min_size=1, max_size=4
)


@settings(max_examples=100, deadline=None)
@given(scores, st.data())
def test_what_goes_is_never_above_what_could_have_gone(
    values: list[list[float]], data: st.DataObject
) -> None:
    import numpy as np

    table = {i: np.array(row) for i, row in enumerate(values)}
    barred = {
        i: data.draw(st.sets(st.integers(0, len(row) - 1), max_size=len(row)))
        for i, row in enumerate(values)
    }
    keep = data.draw(st.integers(1, 2))
    most = sum(max(0, len(r) - max(keep, len(barred[i]))) for i, r in enumerate(values))
    count = data.draw(st.integers(0, most))
    gone = lowest_of_all(table, count, barred, keep)
    assert sum(map(len, gone.values())) == count
    for i, row in enumerate(values):
        assert not set(gone[i]) & barred[i]
        assert len(row) - len(gone[i]) >= min(len(row), max(keep, len(barred[i])))
        free = [row[j] for j in range(len(row)) if j not in barred[i] and j not in gone[i]]
        assert not gone[i] or not free or max(row[j] for j in gone[i]) <= min(free)
    each = lowest_of_each(table, dict.fromkeys(table, 1), barred)
    assert all(len(each[i]) == min(1, len(row) - len(barred[i])) for i, row in enumerate(values))
