"""What heads of a model read, and what results call it."""

from __future__ import annotations

from voxstrata.probing.cells import SUM, Reads

NAMES = ("0", "1", "2", "3")


def test_every_layer_subsets_and_the_sum() -> None:
    reads = Reads(NAMES, {"0-1": (0, 1)})
    assert reads.grid == [(0,), (1,), (2,), (3,), (0, 1), (0, 1, 2, 3)]
    assert reads.label((0, 1)) == f"{SUM} of 0-1"
    assert reads.label((0, 1, 2, 3)) == SUM
    assert [reads.label(r) for r in reads.without] == [f"{SUM} without {n}" for n in NAMES]


def test_a_subset_of_all_but_one_is_what_the_ablation_trains() -> None:
    """Under another name the row of what the sum loses without that layer would be missing."""
    reads = Reads(NAMES, {"1-3": (1, 2, 3)})
    assert (1, 2, 3) not in reads.grid
    assert reads.label((1, 2, 3)) == f"{SUM} without 0"
    alone = Reads(NAMES, {"1-3": (1, 2, 3)}, ablated=False)
    assert (1, 2, 3) in alone.grid
    assert alone.label((1, 2, 3)) == f"{SUM} of 1-3"


def test_several_models_are_read_as_one_sum() -> None:
    reads = Reads(NAMES, joint=True)
    assert reads.grid == [(0, 1, 2, 3)]
    assert reads.without == []
    assert Reads(("only",)).grid == [(0,)]
