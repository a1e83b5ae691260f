"""All-pairs linear CKA of two 13-layer, 768-wide models against the usual per-pair computation.

    python benchmarks/similarity.py [--rows 10000] [--layers 13] [--width 768] [--repeats 3]

Every route computes the biased and the debiased value of every pair of the 26 layers. The usual
way computes three products a pair (X'Y, X'X, Y'Y); a second alternative keeps X'X and Y'Y; a third,
the best plain code that we could write, makes one product of each layer with all that follow it.
All run in float32 on the same rows and are checked against float64.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _timing import HEADER, Timing, measure

from voxstrata.similarity.blocks import BlockEngine, MemoryRows
from voxstrata.similarity.estimators import cka
from voxstrata.similarity.from_gram import terms_by_gram
from voxstrata.similarity.minibatch import MinibatchHsic


def make_rows(layers: int, rows: int, width: int) -> list[torch.Tensor]:
    """Layers that share a changing part, with uneven variances and large means, like real ones."""
    maker = torch.Generator().manual_seed(0)
    state = torch.randn(rows, width, generator=maker)
    found = []
    for _ in range(layers):
        mix = torch.randn(width, width, generator=maker) / width**0.5
        state = 0.8 * state + 0.6 * torch.tanh(state @ mix)
        scale = torch.exp(0.5 * torch.randn(width, generator=maker))
        found.append(state * scale + 3 * torch.randn(width, generator=maker))
    return found


def per_pair(layers: list[torch.Tensor], *, keep_own: bool) -> np.ndarray:
    """Feature-form CKA pair by pair, biased and debiased [2, L, L], in plain torch."""
    count, n = len(layers), len(layers[0])
    out = np.ones((2, count, count))
    centred = [x - x.mean(dim=0) for x in layers]
    norms = [x.square().sum(dim=1, dtype=torch.float64) for x in centred]
    own = [float((x.T @ x).double().square().sum()) for x in centred] if keep_own else []

    def debias(square: float, i: int, j: int) -> float:
        a, b = norms[i], norms[j]
        return square - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))

    for i, j in itertools.combinations(range(count), 2):
        x, y = centred[i], centred[j]
        xy = float((x.T @ y).double().square().sum())
        xx = own[i] if keep_own else float((x.T @ x).double().square().sum())
        yy = own[j] if keep_own else float((y.T @ y).double().square().sum())
        out[0, i, j] = out[0, j, i] = xy / (xx * yy) ** 0.5
        value = debias(xy, i, j) / (debias(xx, i, i) * debias(yy, j, j)) ** 0.5
        out[1, i, j] = out[1, j, i] = value
    return out


def by_rows(layers: list[torch.Tensor]) -> np.ndarray:
    """The same as good plain code would do it: one product of each layer with all that follow it,
    squares summed in float64 without a copy, [2, L, L]."""
    count, n = len(layers), len(layers[0])
    widths = [x.shape[1] for x in layers]
    z = torch.cat([x - x.mean(dim=0) for x in layers], dim=1)
    own = torch.stack([x.square().sum(dim=1, dtype=torch.float64) for x in z.split(widths, dim=1)])
    square, begin = torch.zeros(count, count, dtype=torch.float64), 0
    for i, width in enumerate(widths):
        product = z[:, begin : begin + width].T @ z[:, begin:]
        sums = product.square_().sum(dim=0, dtype=torch.float64).split(widths[i:])
        square[i, i:] = square[i:, i] = torch.stack([part.sum() for part in sums])
        begin += width
    total = own.sum(dim=1)
    debiased = (
        square - n / (n - 2) * (own @ own.T) + torch.outer(total, total) / ((n - 1) * (n - 2))
    )
    found = []
    for hsic in (square, debiased):
        size = hsic.diag().sqrt()
        found.append((hsic / torch.outer(size, size)).numpy())
    return np.stack(found)


def by_blocks(
    layers: list[torch.Tensor], folds: int, dtype: torch.dtype = torch.float32
) -> np.ndarray:
    """voxstrata's block route, both estimators, [2, L, L]; with folds also all replicates."""
    fold = np.arange(len(layers[0])) * folds // len(layers[0])
    terms = BlockEngine(MemoryRows(layers, fold), memory_bytes=12e9, dtype=dtype).run()
    return np.stack([cka(terms, debiased=False)[0], cka(terms, debiased=True)[0]])


def by_gram(layers: list[torch.Tensor], folds: int) -> np.ndarray:
    """voxstrata's Gram route."""
    fold = np.arange(len(layers[0])) * folds // len(layers[0])
    terms = terms_by_gram(MemoryRows(layers, fold))
    return np.stack([cka(terms, debiased=False)[0], cka(terms, debiased=True)[0]])


def by_minibatch(layers: list[torch.Tensor], rows: int) -> np.ndarray:
    """Minibatch-debiased CKA, [L, L]."""
    sums = MinibatchHsic(len(layers))
    for start in range(0, len(layers[0]), rows):
        sums.add([x[start : start + rows] for x in layers])
    return sums.cka()[0]


def peak(stretches: int = 5) -> float:
    """Rate of square float32 products (3072) kept up for a second, best of some; FLOP/s."""
    x, y = torch.randn(3072, 3072), torch.randn(3072, 3072)
    best = 0.0
    for _ in range(stretches):
        done, begun = 0, time.perf_counter()
        while (spent := time.perf_counter() - begun) < 1.0:
            x @ y
            done += 1
        best = max(best, 2 * 3072**3 * done / spent)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    count = 2 * given.layers
    layers = make_rows(count, given.rows, given.width)
    exact = per_pair([x.double() for x in layers], keep_own=True)
    rates = [peak()]
    flops = count * (count + 1) * given.rows * given.width**2
    print(
        f"{count} layers {given.width} wide, {given.rows} rows, {torch.get_num_threads()} threads; "
        f"products {rates[0] / 1e9:.0f} GFLOP/s (float32), floor of all pairs "
        f"{flops / rates[0]:.2f} s"
    )
    print(HEADER)

    def show(name: str, work: Callable[[], object], repeats: int, **how: Any) -> Timing:
        timing = measure(name, work, repeats, warm=repeats > 2)
        found = np.asarray(timing.result)
        error = np.abs(found - (exact if found.ndim == 3 else exact[1])).max()
        share = ""
        if how.get("exact"):  # the machine's speed drifts: ask again right after the timing
            rates.append(peak())
            share = f", {flops / max(rates) / timing.best:.0%} of the peak"
            share += f" ({max(rates) / 1e9:.0f} GFLOP/s)"
        print(timing.line(how.get("against"), f"max error {error:.1e}{share}"), flush=True)
        return timing

    plain = show("per pair, three products", lambda: per_pair(layers, keep_own=False), 2)
    n = given.repeats
    kept = "per pair, own products kept"
    show(kept, lambda: per_pair(layers, keep_own=True), n, against=plain)
    rows = "a product of each layer with all that follow"
    show(rows, lambda: by_rows(layers), n, against=plain, exact=True)
    show("blocks, no folds", lambda: by_blocks(layers, 1), n, against=plain, exact=True)
    name = "blocks, 10 folds, with intervals"
    show(name, lambda: by_blocks(layers, 10), n, against=plain, exact=True)
    show("Gram form, no folds", lambda: by_gram(layers, 1), n, against=plain)
    low = torch.bfloat16
    show("blocks, bfloat16 products", lambda: by_blocks(layers, 1, low), n, against=plain)
    for rows in (250, 500, 1000):
        name = f"minibatch-debiased, {rows} rows"
        show(name, lambda rows=rows: by_minibatch(layers, rows), n, against=plain)


if __name__ == "__main__":
    main()
