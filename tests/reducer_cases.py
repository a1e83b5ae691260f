"""Everything that is summed in parts and merged: how to make it, feed it and read it off.

A new reducer, or anything else with a ``merge``, needs one line in :data:`CASES`;
tests/property/test_reducers.py finds those without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from voxstrata.neurons.counting import CountReducer
from voxstrata.neurons.interventions.activity import ActivityReducer
from voxstrata.neurons.meeting import Meeting, MeetReducer
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.sample import SampleReducer
from voxstrata.numerics.mixture import Aligner, Mixture, MixtureSums
from voxstrata.numerics.variability import Statistics, Totals, TotalVariability, VariabilitySums
from voxstrata.probing.norms import MeanReducer
from voxstrata.similarity.fold_moments import FoldMoments, SweepMoments
from voxstrata.similarity.minibatch import MinibatchHsic
from voxstrata.similarity.minibatch_reducer import MinibatchReducer
from voxstrata.similarity.view_folds import ViewFolds
from voxstrata.streaming.moments import MomentsReducer
from voxstrata.streaming.onepass import PassReport
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.store import StoreReducer

WIDTHS, FOLDS, MOST = (3, 2), 3, 8
"""Of the two layers; of the rows; recordings at most."""

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One thing that merges.

    Attributes:
        kind: its class.
        make: an empty one, of a folder that is new in each example.
        feed: takes in the rows of one recording.
        numbers: what it holds, by name, in a form that does not depend on the order of merging.
        tolerance: relative, 0 for equal bits.
        whole_folds: parts hold all recordings of their folds.
        stateful: has ``state`` and ``restore``.
        commutes: whether parts may be merged in any order.
    """

    kind: type
    make: Callable[[Path], Any]
    feed: Callable[[Any, Rows], None]
    numbers: Callable[[Any], Numbers]
    tolerance: float = 1e-10
    whole_folds: bool = False
    stateful: bool = True
    commutes: bool = True


def rows_of(number: int, fold: int, count: int) -> Rows:
    """Rows of a recording, the same for the same number; far from zero, as features are."""
    rng = np.random.default_rng([number, count])
    values = [torch.from_numpy(rng.normal(5, 2, (count, width))) for width in WIDTHS]
    times = np.arange(count) / 50
    return Rows(f"u{number}", fold, values, list(times), list(times + 0.02), ["a"] * count)


def _update(thing: Any, rows: Rows) -> None:
    thing.update(rows)


class Codes:
    """Labels of frames that depend on the recording and the frame alone; some have none."""

    layers: tuple[str, ...] = ()

    def __init__(self, name: str, rows: int) -> None:
        self.name, self.rows = name, tuple(f"{name}{i}" for i in range(rows))

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float], states: Any
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """One of the rows, or -1."""
        seed = int.from_bytes(hashlib.sha256(f"{self.name}{utterance}".encode()).digest()[:4])
        rng = np.random.default_rng(seed)
        return rng.integers(-1, len(self.rows), len(start_s))


UNIT_OF = {f"u{i}": i % 2 for i in range(MOST)}
LAYERS = ("m/0", "m/1")


def _count(_folder: Path) -> CountReducer:
    return CountReducer(
        LAYERS, WIDTHS, [Codes("c", 3), Codes("d", 2)], [(), ()], UNIT_OF, ["p", "q"],
        make_rule("threshold=5"),
    )  # fmt: skip


def _counted(thing: CountReducer) -> Numbers:
    found: Numbers = {}
    for name, counts in thing.finish().items():
        found |= {f"{name} seen": counts.seen}
        for layer, active in counts.active.items():
            found[f"{name} {layer}"] = active.toarray()
            found[f"{name} {layer} chance"] = np.asarray(counts.base[layer])
    return found


def _store(folder: Path) -> StoreReducer:
    layers: Any = [
        SimpleNamespace(key=key, name="m", describe=lambda w=w: {"width": w})
        for key, w in zip(LAYERS, WIDTHS, strict=True)
    ]
    return StoreReducer(folder / "store", layers, dtype="float64")


def _stored(thing: StoreReducer) -> Numbers:
    store = thing.finish()
    found: Numbers = {str(i): store.layer(i).numpy() for i in range(len(WIDTHS))}
    return found | {"utterances": [*store.index["utterance"]], "folds": store.folds()}


def _moments(thing: MomentsReducer) -> Numbers:
    if not thing.state()[0]["n"].any():
        return {}
    m = thing.finish()
    blocks = {f"block {i}": block.numpy() for i, block in enumerate(m.blocks)}
    return {name: getattr(m, name).numpy() for name in "nsavq"} | blocks


def _view(thing: ViewFolds) -> Numbers:
    """About zero, because the shift is that of whatever came first."""
    if thing.shift is None:
        return {}
    thing.move(torch.zeros_like(thing.shift))
    return {name: getattr(thing, name).numpy() for name in "nsP"}


def _sweep(thing: SweepMoments) -> Numbers:
    found: Numbers = {}
    if thing.y.shift is None:
        return found
    for layer in range(len(thing.widths)):
        pair = thing.pair(layer)
        for name, held in (("own", pair), ("control", pair.control())):
            whole = held.total()
            found[f"{layer} {name}"] = whole.Sxy.numpy()
            found[f"{layer} {name} rows"] = whole.n
    return found


def _sweep_feed(thing: SweepMoments, rows: Rows) -> None:
    x, y = rows.values
    layers = [x, y[:, :1]][: len(thing.widths)]
    thing.update(layers, y, [rows.fold] * len(rows), y.flip(0))


def _batched(thing: MinibatchReducer) -> Numbers:
    thing._close()  # the rows that wait; `finish` refuses where there are no others
    return {"sums": thing.sums.sums, "rows": thing.sums.rows, "lost": thing.lost}


def _hsic_feed(thing: MinibatchHsic, rows: Rows) -> None:
    if len(rows) >= 4:
        thing.add(rows.values, rows.fold)


def _sampled(thing: SampleReducer) -> Numbers:
    """Rows in an order of their own: that of merging is the order of recordings."""
    return {
        name: np.sort(rows, axis=0) if rows.size else rows.reshape(0, 0)
        for name, rows in thing.finish().items()
    }


def _active(thing: ActivityReducer) -> Numbers:
    mean, size, pool = thing.finish()
    held = [(f"mean {k}", v) for k, v in mean.items()] + [(f"size {k}", v) for k, v in size.items()]
    return dict(held) | {f"pool {k}": v.numpy() for k, v in pool.items()}


def _tensors(thing: Any) -> Numbers:
    return {
        name: value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in vars(thing).items()
    }


RNG = np.random.default_rng(0)
MIXTURE = Mixture(
    torch.full((2,), 0.5, dtype=torch.float64),
    torch.from_numpy(RNG.normal(5, 2, (2, 3))),
    torch.full((2, 3), 4.0, dtype=torch.float64),
)
EXTRACTOR = TotalVariability(
    MIXTURE.means, MIXTURE.covariances, torch.from_numpy(RNG.normal(0, 1, (2, 3, 2)))
)


def _mixture_feed(thing: MixtureSums, rows: Rows) -> None:
    thing.add(rows.values[0], Aligner(MIXTURE))


def _statistics(rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sums = MixtureSums.of(MIXTURE)
    _mixture_feed(sums, rows)
    return sums.count, sums.first, sums.second


def _variability_feed(thing: VariabilitySums, rows: Rows) -> None:
    count, first, _ = _statistics(rows)
    thing.add(Statistics(count[None], first[None]), EXTRACTOR)


def _totals(_folder: Path) -> Totals:
    return Totals(*(torch.zeros_like(t) for t in _statistics(rows_of(0, 0, 1))))


def _totals_feed(thing: Totals, rows: Rows) -> None:
    thing.merge(Totals(*_statistics(rows), 1))


def _report_feed(thing: PassReport, rows: Rows) -> None:
    own = {"sink": len(rows)}
    skipped = [] if len(rows) else [{"id": rows.utterance, "why": "empty"}]
    folds = {"sink": {str(rows.fold): len(rows)}}
    thing.merge(
        PassReport(
            recordings=1, seconds=0.5, rows=own, skipped=skipped, fold_rows=folds,
            dropped={"sink": {"short": 1}}, clock={"x": 0.25},
        )
    )  # fmt: skip


def _reported(thing: PassReport) -> Numbers:
    told = thing.whole()
    told["skipped"] = sorted(one["id"] for one in told["skipped"])
    return told


def _norms_feed(thing: MeanReducer, rows: Rows) -> None:
    one = [value.sum().reshape(1, 1) for value in rows.values]
    thing.update(Rows(rows.utterance, rows.fold, one, [0.0], [1.0]))


SHIFT = torch.linspace(3, 6, sum(WIDTHS))
CASES: tuple[Case, ...] = (
    Case(MomentsReducer, lambda _: MomentsReducer(WIDTHS, FOLDS, dtype=torch.float64, shift=SHIFT),
         _update, _moments),
    Case(MinibatchReducer, lambda _: MinibatchReducer(2, FOLDS, 6), _update,
         _batched, whole_folds=True),
    Case(MinibatchHsic, lambda _: MinibatchHsic(2, FOLDS), _hsic_feed, _tensors, stateful=False),
    Case(MeanReducer, lambda _: MeanReducer(2), _norms_feed,
         lambda m: {"mean": np.array(m.finish())}),
    Case(CountReducer, _count, _update, _counted, tolerance=0),
    Case(MeetReducer, lambda _: MeetReducer([Meeting(Codes("c", 3), Codes("d", 2))], UNIT_OF, 2),
         _update, lambda m: {"table": m.finish()[0]}, tolerance=0),
    Case(SampleReducer, lambda _: SampleReducer(LAYERS, 0.6, 3), _update, _sampled, tolerance=0),
    Case(ActivityReducer, lambda _: ActivityReducer(LAYERS, 5, 3), _update, _active),
    Case(StoreReducer, _store, _update, _stored, tolerance=0),
    Case(ViewFolds, lambda _: ViewFolds(3, FOLDS),
         lambda m, rows: m.update(rows.values[0], [rows.fold] * len(rows)), _view, stateful=False),
    Case(SweepMoments, lambda _: SweepMoments([3, 1], 2, FOLDS, control=True), _sweep_feed,
         _sweep, stateful=False),
    Case(FoldMoments, lambda _: FoldMoments(3, 2, FOLDS, control=True), _sweep_feed, _sweep,
         stateful=False),
    Case(MixtureSums, lambda _: MixtureSums.of(MIXTURE), _mixture_feed, _tensors, stateful=False),
    Case(VariabilitySums, lambda _: VariabilitySums.of(EXTRACTOR), _variability_feed, _tensors,
         stateful=False),
    Case(Totals, _totals, _totals_feed, _tensors, stateful=False),
    Case(PassReport, lambda _: PassReport(), _report_feed, _reported, stateful=False),
)  # fmt: skip
"""One line each."""
