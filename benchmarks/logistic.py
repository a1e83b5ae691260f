"""The linear readers of classes: one fit against scikit-learn's, and what BLAS's threads cost.

    python benchmarks/logistic.py [--rows 4000] [--width 768] [--classes 40] [--repeats 5]

The alternative is scikit-learn's LogisticRegression (L-BFGS) on the same standardised float32
rows with the same penalty; the last column is the penalised loss that each one reached. The third
line is our fit without :func:`voxstrata.numerics.threads.one_blas_thread`.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from unittest import mock

import numpy as np
import torch
from _timing import HEADER, Timing, measure
from sklearn.linear_model import LogisticRegression

from voxstrata.properties.linear import logistic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--penalty", type=float, default=1e-2)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = np.arange(given.rows) % given.classes
    # Layers have a few strong directions: a spectrum that falls as 1/k.
    mixing = rng.standard_normal((given.width, given.width)) / np.arange(1, given.width + 1)
    centres = 0.3 * rng.standard_normal((given.classes, given.width))
    rows = ((rng.standard_normal((given.rows, given.width)) + centres[labels]) @ mixing.T).astype(
        np.float32
    )
    truth = torch.from_numpy(labels)
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)

    def ours() -> float:
        training = logistic.Training(torch.from_numpy(rows))
        weights, _ = training.fit(truth, given.classes, given.penalty)
        log_p = training.log_probabilities(training.rows, weights)
        return _loss(log_p.numpy(), float((weights[:-1] ** 2).sum()))

    def unguarded() -> float:
        with mock.patch.object(logistic, "one_blas_thread", nullcontext):
            return ours()

    def sklearn() -> float:
        c = 1 / (given.penalty * given.rows)
        fit = LogisticRegression(C=c, max_iter=1000, tol=1e-5).fit(standard, labels)
        return _loss(fit.predict_log_proba(standard), float((fit.coef_.astype(float) ** 2).sum()))

    def _loss(log_p: np.ndarray, square: float) -> float:
        return float(-log_p[np.arange(given.rows), labels].mean() + given.penalty / 2 * square)

    print(
        f"{given.rows} rows, {given.width} wide, {given.classes} classes, penalty {given.penalty}, "
        f"{torch.get_num_threads()} threads"
    )
    print(HEADER)
    runs: dict[str, list[Timing]] = {
        "scikit-learn": [],
        "voxstrata": [],
        "voxstrata, BLAS free": [],
    }
    # Alternating runs, so that a change in the machine's load touches all alike.
    for turn in range(given.repeats):
        for name, work in zip(runs, (sklearn, ours, unguarded), strict=True):
            runs[name].append(measure(name, work, 1, warm=turn == 0))
    done = {
        name: Timing(name, tuple(one.runs[0] for one in each), each[-1].result)
        for name, each in runs.items()
    }
    for one in done.values():
        print(one.line(done["scikit-learn"], f"loss {one.result:.6f}"))


if __name__ == "__main__":
    main()
