"""The phone probe gap: what a phone probe loses on speakers it was not trained on.

Speakers are halved, and so are each speaker's recordings. A probe trained on the training
recordings of one half of the speakers is tested on the other recordings of the same speakers and
of the other half; both test sets are also met by the probe trained on the other half, so that the
same rows are scored under both conditions by probes with the same number of speakers and of
tokens of each phone.

The probe is linear discriminant analysis with a pooled within-class covariance that is shrunk to
a multiple of the identity by the rule of Ledoit and Wolf (J. Multivariate Analysis 88, 2004,
365-411): closed form, nothing to tune, and defined where rows are fewer than dimensions. Columns
are first brought to unit variance within classes, so that the few very large dimensions of speech
Transformers do not set the size of what all others are shrunk to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError


@dataclass(frozen=True)
class Probe:
    """A linear classifier: scores are ``rows @ weights + offsets``.

    Attributes:
        weights: float64 [D, K].
        offsets: float64 [K].
        shrinkage: intensity of the Ledoit-Wolf shrinkage, 0..1.
    """

    weights: torch.Tensor
    offsets: torch.Tensor
    shrinkage: float

    def predict(self, rows: torch.Tensor) -> torch.Tensor:
        """The class with the highest score of each row [N, D], int64 [N]."""
        return (rows.to(torch.float64) @ self.weights + self.offsets).argmax(dim=1)


def ledoit_wolf(S: torch.Tensor, fourth: float, n: int) -> float:
    """Shrinkage intensity of a covariance towards its mean variance times the identity, 0..1.

    Args:
        S: z'z / n of centred rows z, [D, D].
        fourth: sum of |z|^4 over rows.
        n: rows.
    """
    d = S.shape[0]
    mu = float(S.diagonal().mean())
    size = float(S.square().sum())
    distance = size / d - mu**2
    if distance <= 0:
        return 1.0
    noise = (fourth / n - size) / (n * d)
    return min(max(noise, 0.0), distance) / distance


def fit_lda(rows: torch.Tensor, labels: torch.Tensor, classes: int) -> Probe:
    """Fit shrunken linear discriminant analysis with equal priors.

    Args:
        rows: [N, D].
        labels: class 0..K-1 of each row, int64 [N]; every class must occur.
        classes: K.

    Raises:
        NumericsError: the rows do not differ within classes, or are not finite.
    """
    x = rows.to(torch.float64)
    n, d = x.shape
    counts = torch.bincount(labels, minlength=classes).to(torch.float64)
    means = torch.zeros(classes, d, dtype=torch.float64).index_add_(0, labels, x)
    means /= counts[:, None]
    z = x - means[labels]
    variance = z.square().mean(dim=0)
    top = float(variance.max())
    if not np.isfinite(top) or top <= 0:
        raise NumericsError("a probe needs rows that differ within a class", got=f"variance {top}")
    # Columns that are constant but for rounding carry nothing.
    alive = variance > 1e-12 * top
    unit = torch.where(alive, variance.clamp_min(1e-300).rsqrt(), 0.0)
    z *= unit
    S = z.T @ z / n
    shrink = ledoit_wolf(S, float(z.square().sum(dim=1).square().sum()), n)
    mean_variance = float(S.diagonal().mean())
    S = (1 - shrink) * S
    # A floor of 1e-9 of the mean variance keeps a covariance without full rank solvable.
    S.diagonal().add_(max(shrink, 1e-9) * mean_variance)
    # Solved about the mean of the means, so that large common offsets cost no digits.
    centre = means.mean(dim=0)
    centred = means - centre
    solved = torch.cholesky_solve((centred * unit).T, torch.linalg.cholesky(S))
    weights = solved * unit[:, None]
    offsets = -0.5 * (centred * weights.T).sum(dim=1) - centre @ weights
    return Probe(weights, offsets, shrink)


def balanced_accuracy(found: torch.Tensor, labels: torch.Tensor, classes: int) -> float:
    """Mean over classes of the share of their rows that are right; every class must occur."""
    counts = torch.bincount(labels, minlength=classes).to(torch.float64)
    right = torch.bincount(labels[found == labels], minlength=classes).to(torch.float64)
    return float((right / counts).mean())


@dataclass(frozen=True)
class Split:
    """One halving of speakers and recordings; indices are rows.

    Attributes:
        train: training rows of each half of the speakers, the same number of each phone.
        test: test rows of each half, from other recordings.
        phones: phones (as given) that occur in all four sets.
    """

    train: tuple[NDArray[np.int64], NDArray[np.int64]]
    test: tuple[NDArray[np.int64], NDArray[np.int64]]
    phones: NDArray[np.int64]

    @property
    def ratio(self) -> float:
        """Test rows over training rows."""
        return sum(map(len, self.test)) / sum(map(len, self.train))


def make_split(
    phone: NDArray[np.int64],
    speaker: NDArray[np.int64],
    recording: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    least: int,
    most: int,
) -> Split:
    """Halve speakers, and recordings within each speaker, and balance the training rows.

    Args:
        phone, speaker, recording: indices of each row, [N]. Speakers with one recording are not
            used.
        rng: the draw.
        least: tokens that a phone must have in each of the four sets to be used.
        most: cap on training tokens of a phone in each half.
    """
    part = np.full(len(phone), -1)  # 2 * half + (0 train, 1 test)
    usable = [s for s in np.unique(speaker) if len(np.unique(recording[speaker == s])) > 1]
    for position, s in enumerate(rng.permutation(usable).tolist()):
        own = rng.permutation(np.unique(recording[speaker == s]))
        # An odd recording goes to training and to testing in turn.
        cut = (len(own) + position // 2 % 2) // 2
        for role, group in enumerate((own[:cut], own[cut:])):
            part[(speaker == s) & np.isin(recording, group)] = 2 * (position % 2) + role
    counts = np.stack([np.bincount(phone[part == k], minlength=phone.max() + 1) for k in range(4)])
    phones = np.flatnonzero((counts >= least).all(axis=0))
    train: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for p in phones.tolist():
        take = min(int(counts[0, p]), int(counts[2, p]), most)
        for half in (0, 1):
            rows = np.flatnonzero((part == 2 * half) & (phone == p))
            train[half].append(rng.permutation(rows)[:take])
    test = [np.flatnonzero((part == k) & np.isin(phone, phones)) for k in (1, 3)]
    none = np.zeros(0, dtype=np.int64)
    return Split(
        (np.concatenate([none, *train[0]]), np.concatenate([none, *train[1]])),
        (test[0], test[1]),
        phones,
    )


@dataclass(frozen=True)
class Gap:
    """Balanced accuracies of one split.

    Attributes:
        same: probe and test rows share speakers.
        new: they do not.
        right_same, right_new: whether each row was classified rightly under either condition,
            1 or 0, NaN where it was not tested, [N].
    """

    same: float
    new: float
    right_same: NDArray[np.float64]
    right_new: NDArray[np.float64]

    @property
    def gap(self) -> float:
        """``same - new``: what the probe loses on new speakers."""
        return self.same - self.new


def probe_gap(
    rows: torch.Tensor,
    phone: NDArray[np.int64],
    split: Split,
    shuffle: np.random.Generator | None = None,
) -> Gap:
    """Both accuracies of one layer on one split.

    Args:
        rows: [N, D].
        phone: phone index of each row, [N].
        split: from :func:`make_split`.
        shuffle: permute training labels with it (the control).
    """
    classes = np.full(int(phone.max()) + 1, -1)
    classes[split.phones] = np.arange(len(split.phones))
    K = len(split.phones)
    targets = [torch.as_tensor(classes[phone[test]]) for test in split.test]
    held = [rows[torch.as_tensor(test)] for test in split.test]
    if not all(bool(torch.isfinite(part).all()) for part in held):
        raise NumericsError("a probe needs rows that are finite")
    scores: tuple[list[float], list[float]] = ([], [])
    right = np.full((2, len(phone)), np.nan)
    for half, train in enumerate(split.train):
        labels = classes[phone[train]]
        if shuffle is not None:
            labels = shuffle.permutation(labels)
        probe = fit_lda(rows[torch.as_tensor(train)], torch.as_tensor(labels), K)
        for other in (0, 1):
            new = int(other != half)
            found = probe.predict(held[other])
            right[new, split.test[other]] = (found == targets[other]).double().numpy()
            scores[new].append(balanced_accuracy(found, targets[other], K))
    return Gap(float(np.mean(scores[0])), float(np.mean(scores[1])), right[0], right[1])


def resampled_error(values: Sequence[float], ratio: float) -> float:
    """Standard error of the mean over random splits that share their rows.

    sqrt((1/R + ratio) variance), ratio = test rows over training rows (Nadeau and Bengio, Machine
    Learning 52, 2003, 239-281, eq. 9): splits overlap, so variance / R would be far too small.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return float("nan")
    return float(np.sqrt((1 / len(x) + ratio) * x.var(ddof=1)))
