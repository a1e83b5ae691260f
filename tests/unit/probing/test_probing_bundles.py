"""Which heads on frames are trained side by side."""

from __future__ import annotations

from planted_symbols import COARSE, FINE, made
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.linear.probes import Plan, Probe
from voxstrata.probing.sequences.bundles import HEADS, LOGITS, bundles, together
from voxstrata.types import LayerInfo

PROBES = [
    Probe(reads, rate, seed, control)
    for control in (False, True)
    for reads in ((0,), (1,), (0, 1))
    for rate in (0.1, 0.01)
    for seed in (0, 1)
]


def test_every_probe_once_and_one_seed_a_bundle() -> None:
    features, _ = made()
    for most in (1, 5, 6, 100):
        found = bundles(features, PROBES, most)
        assert sorted(i for one in found for i in one) == list(range(len(PROBES)))
        assert all(len({PROBES[i].seed for i in one}) == 1 for one in found)
        assert max(map(len, found)) <= most
        assert [len(one) for one in found] == sorted(map(len, found), reverse=True)
    # Twelve heads of a seed, five or fewer side by side: four each, a layer's together.
    read = [sorted({PROBES[i].layers for i in one}) for one in bundles(features, PROBES, 5)]
    assert read[:3] == [[(0,)], [(0, 1)], [(1,)]]


def test_layers_of_other_grids_have_batches_of_their_own() -> None:
    infos = [LayerInfo("a", 2, "frame", FINE), LayerInfo("b", 2, "frame", COARSE)]
    features = FrameFeatures(infos, [], {})
    found = bundles(features, PROBES, 100)
    assert len(found) == 6
    assert all(len({(PROBES[i].seed, PROBES[i].layers) for i in one}) == 1 for one in found)


def test_fewer_heads_where_recordings_are_long() -> None:
    assert together(100, 40, Plan(1, batch=8)) == HEADS
    assert together(1600, 74, Plan(1, batch=32)) == LOGITS // (1600 * 74 * 32)
    assert together(10**6, 1000, Plan(1, batch=32)) == 1
    assert together(0, 40, Plan(1)) == HEADS
