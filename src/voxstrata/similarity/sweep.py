"""From what a pass left behind to values of every measure for every pair of layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voxstrata.errors import NumericsError
from voxstrata.files import atomic_write
from voxstrata.similarity.blocks import BlockEngine, LayerRows, PairMoments
from voxstrata.similarity.from_gram import terms_by_gram
from voxstrata.similarity.from_moments import terms_from_moments
from voxstrata.similarity.measure import Measure
from voxstrata.similarity.minibatch import MinibatchHsic
from voxstrata.similarity.pair_sums import empty_grid
from voxstrata.similarity.row_measures import evaluate_rows
from voxstrata.similarity.terms import Array, HsicTerms
from voxstrata.streaming.moments import StackMoments
from voxstrata.streaming.sealed import damaged, read_tensors, write_tensors
from voxstrata.sums import DamagedError

SAVE_EVERY_S = 30.0
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}

Advance = Callable[[float], None]
Pair = tuple[int, int]


@dataclass(frozen=True)
class UnitValues:
    """Values of one unit.

    Attributes:
        values: for each measure [R, L, L]; replicate 0 uses all rows, 1 + f leaves fold f out.
        n: rows behind the values of each measure.
        sizes: rows in each fold, for each measure [F].
        weak: layers whose CCA-like values rounding of the products may have moved
            (:meth:`voxstrata.similarity.moments.View.weak`).
    """

    values: dict[str, Array]
    n: dict[str, int]
    sizes: dict[str, Array]
    weak: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Work:
    """What :func:`sweep` needs besides the reducer's result.

    Attributes:
        route: the unit's route.
        measures: measures by name.
        precision: of the products.
        memory_bytes: memory for rows and products.
        device: where products run.
        max_rows: rows that row measures use.
        seed: seed of the row sample.
        partial: file that keeps what is done if the run is stopped.
    """

    route: str
    measures: Mapping[str, Measure]
    precision: str
    memory_bytes: float
    device: str
    max_rows: int
    seed: int
    partial: Path

    def needing(self, what: str) -> dict[str, Measure]:
        """The measures that work on "terms", "moments" or "rows"."""
        return {name: m for name, m in self.measures.items() if m.needs == what}


def pair_count(layers: int) -> int:
    """Pairs i <= j of L layers."""
    return layers * (layers + 1) // 2


def sweep(
    result: StackMoments | LayerRows | MinibatchHsic,
    work: Work,
    advance: Advance = lambda _amount: None,
) -> UnitValues:
    """All measures for all pairs of layers of one unit.

    Args:
        result: moments, an open store (or rows in memory), or minibatch sums.
        work: settings.
        advance: called with the number of pairs as they are done; in all :func:`pair_count`
            of them, and once more for each measure on rows.

    Raises:
        NumericsError: products overflowed.
    """
    if isinstance(result, MinibatchHsic):
        return _from_minibatch(result, work)
    collect = _Collector(work)
    on_pair = collect.pair if collect.of_moments else None
    if isinstance(result, StackMoments):
        layers, folds = len(result.widths), int((result.n > 0).sum())
        collect.allocate(folds, layers)
        terms = terms_from_moments(
            result, dtype=DTYPES[work.precision], on_pair=on_pair, advance=advance
        )
    elif work.route == "gram":
        share = pair_count(len(result.widths)) / max(1, len(result.folds()))
        terms = terms_by_gram(
            result,
            dtype=DTYPES[work.precision],
            device=work.device,
            advance=lambda rows: advance(rows * share),
        )
    else:
        terms = _from_blocks(result, work, collect, advance)
    rows = None if isinstance(result, StackMoments) else result
    return collect.finish(terms, rows, advance)


def _from_minibatch(result: MinibatchHsic, work: Work) -> UnitValues:
    counted = result.rows > 0
    kept = MinibatchHsic(result.sums.shape[1], int(counted.sum()))
    kept.sums, kept.rows = result.sums[counted], result.rows[counted]
    grid = kept.cka()
    names = list(work.measures)
    return UnitValues(
        dict.fromkeys(names, grid),
        dict.fromkeys(names, int(kept.rows.sum())),
        dict.fromkeys(names, kept.rows),
    )


class _Collector:
    """Gathers values of moment measures pair by pair, and saves what is done now and then."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.of_moments = work.needing("moments")
        self.values: dict[str, Array] = {}
        self.done: list[Pair] = []
        self.weak: set[int] = set()
        self._saved = time.monotonic()

    def allocate(self, folds: int, layers: int) -> None:
        """Room for the values of moment measures."""
        replicates = 1 + folds if folds > 1 else 1
        for name in self.of_moments:
            if name not in self.values:
                self.values[name] = np.full((replicates, layers, layers), np.nan)

    def pair(self, pair: PairMoments) -> None:
        """Values of one pair, both ways round for measures that are not symmetric."""
        for name, measure in self.of_moments.items():
            grid = self.values[name]
            forward = [float(measure.compute(m)) for m in pair.replicates]
            grid[:, pair.i, pair.j] = forward
            if pair.i != pair.j:
                grid[:, pair.j, pair.i] = (
                    forward
                    if measure.symmetric
                    else [float(measure.compute(m.swap())) for m in pair.replicates]
                )
        whole = pair.replicates[0]
        for layer, view in ((pair.i, whole.view_x), (pair.j, whole.view_y)):
            if layer not in self.weak and view.weak(whole.n):
                self.weak.add(layer)

    def save(self, products: Array) -> None:
        """Keep what is done, at most every :data:`SAVE_EVERY_S` seconds."""
        now = time.monotonic()
        if now - self._saved >= SAVE_EVERY_S:
            self._saved = now
            save_partial(self.work.partial, products, self.done, self.values)

    def finish(self, terms: HsicTerms, rows: LayerRows | None, advance: Advance) -> UnitValues:
        """Values of all measures."""
        parts = [terms.c2]
        if self.work.needing("terms"):
            parts += [terms.sCs, terms.q, terms.uv]
        if not all(np.isfinite(part).all() for part in parts):
            raise NumericsError(
                "products of layers overflowed or are not a number",
                fix="use --precision float64, or leave the offending layers out (--layers)",
            )
        names = list(self.work.measures)
        n = dict.fromkeys(names, int(terms.n[0]))
        sizes = dict.fromkeys(names, terms.n[0] - terms.n[1:])
        values: dict[str, Array] = dict(self.values)
        for name, measure in self.work.needing("terms").items():
            values[name] = measure.compute(terms)
        of_rows = self.work.needing("rows")
        if of_rows and rows is not None:
            more = evaluate_rows(rows, of_rows, self.work.max_rows, self.work.seed, advance)
            values |= more.values
            n |= more.n
            sizes |= more.sizes
        found = {name: values[name] for name in names}
        return UnitValues(found, n, sizes, frozenset(self.weak))


def _from_blocks(rows: LayerRows, work: Work, collect: _Collector, advance: Advance) -> HsicTerms:
    engine = BlockEngine(
        rows,
        memory_bytes=work.memory_bytes,
        dtype=DTYPES[work.precision],
        device=work.device,
    )
    products = None
    if work.partial.exists():
        products = empty_grid(engine.replicates, len(engine.widths))
        collect.done = load_partial(work.partial, products, collect.values)
        advance(len(collect.done))
    collect.allocate(len(engine.counts), len(engine.widths))

    def on_block(partly: Array, pairs: list[Pair]) -> None:
        collect.done += pairs
        collect.save(partly)
        advance(len(pairs))

    return engine.run(
        on_pair=collect.pair if collect.of_moments else None,
        done=list(collect.done),
        on_block=on_block,
        products=products,
    )


def save_partial(
    path: Path, products: Array, done: list[Pair], values: Mapping[str, Array]
) -> None:
    """Write partly filled norms of products and values (safetensors), atomically."""
    tensors: dict[str, Any] = {
        "products": products,
        "done": np.array(done, dtype=np.int64).reshape(-1, 2),
    }
    tensors |= {f"value:{name}": value for name, value in values.items()}
    with atomic_write(path) as file:
        arrays = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
        write_tensors(file, {name: torch.from_numpy(t) for name, t in arrays.items()})


def load_partial(path: Path, products: Array, values: dict[str, Array]) -> list[Pair]:
    """Fill products and values from :func:`save_partial`'s file; returns the pairs it holds.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        held, _ = read_tensors(path)
    except (DamagedError, OSError) as error:
        remedy = "delete that file and run the same command again"
        raise damaged(f"the file of saved values {path}", error, remedy) from None
    found = {name: tensor.numpy() for name, tensor in held.items()}
    products[:] = found["products"]
    for name, value in found.items():
        if name.startswith("value:"):
            values[name.removeprefix("value:")] = value.copy()
    return [(int(i), int(j)) for i, j in found["done"]]
