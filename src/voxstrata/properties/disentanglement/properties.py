"""Disentanglement as properties: variance shares, the phone probe gap, phone-speaker angles.

All three draw from the phone sample and need to know who speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.numerics.jackknife import jackknife
from voxstrata.properties.disentanglement import probe_gap, subspace_angles
from voxstrata.properties.disentanglement.phone_layout import LEAST, SMALL, Layout, coded, layout
from voxstrata.properties.disentanglement.variance_shares import (
    CellSums,
    Shares,
    Shuffle,
    jackknife_speakers,
    shares_of,
    shuffled_cells,
    shuffled_shares,
)
from voxstrata.properties.property import PERMUTED, Better, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.streaming.stack import StackLayer

if TYPE_CHECKING:
    from voxstrata.properties.settings import PropertiesConfig

RANDOM = "random-subspaces"
"""Name of a control: uniformly random subspaces of the same dimensions."""

SHUFFLES = 20
SPLITS = 5
PROBE_LEAST, PROBE_LEAST_SMALL, PROBE_MOST = 5, 2, 50
"""Tokens a phone needs in each of the four sets, and its cap in training."""
VARIANCE = 0.9
"""Share of the variance of means that their subspace holds."""

SHARES = ("phone", "speaker", "interaction", "rest")
MEASURES = tuple(f"share-{s}" for s in SHARES) + tuple(f"share-{s}-corrected" for s in SHARES)


def _numbers(shares: Shares) -> list[float]:
    return [getattr(shares, m.removeprefix("share-").replace("-", "_")) for m in MEASURES]


NULLS: Mapping[str, Shuffle] = {
    "share-phone": "phones",
    "share-speaker": "speakers",
    "share-interaction": "residuals",
}


@dataclass(frozen=True)
class SharesDraw:
    """Draw of :class:`VarianceShares`: a layout and the permutations that all layers share."""

    layout: Layout
    orders: dict[Shuffle, NDArray[np.int64]]
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Shares with jackknife errors over speakers, and those of shuffled labels.

        The value of a control is the mean over its permutations, its error their spread.
        """
        cells = self.layout.take(rows)
        n, groups, width = self.layout.rows.size, cells.shape[1], cells.shape[-1]
        sums = CellSums.of(cells)
        values = _numbers(shares_of(sums))
        left_out = [_numbers(s) for s in jackknife_speakers(sums)]
        errors = jackknife(values, left_out, np.ones(groups)).error
        made = [
            _share(m, v, e, n, groups, width)
            for m, v, e in zip(MEASURES, values, errors.tolist(), strict=True)
        ]
        for base, what in NULLS.items():
            null = np.array([_numbers(s) for s in shuffled_shares(cells, what, self.orders[what])])
            for name in (base, f"{base}-corrected"):
                x = null[:, MEASURES.index(name)]
                made.append(
                    _share(name, x.mean(), float(x.std(ddof=1)), n, groups, width, PERMUTED)
                )
        return made


def _share(
    name: str, value: float, error: float, n: int, groups: int, width: int, control: str = ""
) -> Score:
    corrected = name.endswith("-corrected")
    return Score(
        name,
        float(value),
        error,
        n=n,
        groups=groups,
        d=width,
        estimator="variance-components" if corrected else "in-sample",
        control=control,
        bounds=(-np.inf, np.inf) if corrected else (0.0, 1.0),
    )


@dataclass(frozen=True)
class VarianceShares(PropertyFacts):
    """Shares of variance explained by phone, speaker and their interaction."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> SharesDraw:
        """See :func:`layout`.

        Raises:
            TooFewError: too few phones or speakers.
        """
        chosen = layout(sample, settings, seed)
        A, B, m = chosen.rows.shape
        rng = np.random.default_rng([seed, 2])
        orders = {
            what: np.stack([shuffled_cells(A, B, m, what, rng) for _ in range(SHUFFLES)])
            for what in NULLS.values()
        }
        facts = {**chosen.facts, "shuffles": SHUFFLES}
        return SharesDraw(chosen, orders, facts, chosen.notices)


@dataclass(frozen=True)
class GapDraw:
    """Draw of :class:`PhoneGap`: the splits; ``fold`` is the fold of each used row, [n]."""

    rows: NDArray[np.int64]
    phone: NDArray[np.int64]
    fold: NDArray[np.int64]
    splits: Sequence[probe_gap.Split]
    speakers: int
    seed: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Gap and both accuracies, their means over splits, and those of permuted labels.

        Values of single folds are plain accuracies over the fold's rows and all splits.
        """
        used = rows[torch.as_tensor(self.rows)].double()
        ratio = float(np.mean([split.ratio for split in self.splits]))
        n = round(float(np.mean([sum(map(len, s.train + s.test)) for s in self.splits])))
        classes = round(float(np.mean([len(s.phones) for s in self.splits])))
        made = []
        for control in ("", PERMUTED):
            found = []
            for i, split in enumerate(self.splits):
                rng = np.random.default_rng([self.seed, 4, i]) if control else None
                found.append(probe_gap.probe_gap(used, self.phone, split, rng))
            same = np.stack([g.right_same for g in found])
            new = np.stack([g.right_new for g in found])
            for name, bounds, values, right in (
                ("gap", (-1.0, 1.0), [g.gap for g in found], same - new),
                ("accuracy-same-speakers", (0.0, 1.0), [g.same for g in found], same),
                ("accuracy-new-speakers", (0.0, 1.0), [g.new for g in found], new),
            ):
                made.append(
                    Score(
                        name,
                        float(np.mean(values)),
                        probe_gap.resampled_error(values, ratio),
                        n=n,
                        # The error is the spread of the splits: they bound what it knows.
                        groups=min(self.speakers, len(self.splits)),
                        d=used.shape[1],
                        other_d=classes,
                        control=control,
                        bounds=bounds,
                        by_fold=() if control else self._by_fold(right),
                    )
                )
        return made

    def _by_fold(self, right: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
        tested = ~np.isnan(right)
        return tuple(
            (int(f), float(right[:, self.fold == f][tested[:, self.fold == f]].mean()))
            for f in np.unique(self.fold)
            if tested[:, self.fold == f].any()
        )


@dataclass(frozen=True)
class PhoneGap(PropertyFacts):
    """Accuracy of a phone probe on the speakers it was trained on, less that on new speakers."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> GapDraw:
        """Halve speakers and recordings, several times.

        Raises:
            TooFewError: fewer than four speakers with two recordings, or too few phones that are
                frequent enough.
        """
        data = coded(sample)
        small = settings.scale == "small"
        least = PROBE_LEAST_SMALL if small else PROBE_LEAST
        floor = SMALL[0] if small else LEAST[0]
        pairs = np.unique(np.stack([data.speaker, data.recording]), axis=1)
        speakers = int((np.bincount(pairs[0]) > 1).sum())
        if speakers < 4:
            raise TooFewError(
                "the probe gap tests on other recordings of the same speakers",
                got=f"{speakers} speakers with two recordings or more",
                expected="4 or more",
                fix="a corpus with several recordings of each speaker",
            )
        rng = np.random.default_rng([seed, 3])
        splits = [
            probe_gap.make_split(
                data.phone, data.speaker, data.recording, rng, least=least, most=PROBE_MOST
            )
            for _ in range(SPLITS)
        ]
        phones = [len(split.phones) for split in splits]
        if min(phones) < floor:
            raise TooFewError(
                "too few phones are frequent enough for the probe gap",
                got=f"{min(phones)} phones with {least} tokens in each quarter of the sample",
                expected=f"{floor} or more",
                fix="more speech" + ("" if small else ", or --scale small"),
            )
        facts: dict[str, Any] = {
            "speakers": speakers,
            "splits": SPLITS,
            "phones": phones,
            "training_rows": [len(s.train[0]) for s in splits],
            "test_rows": [len(s.test[0]) + len(s.test[1]) for s in splits],
        }
        if small and min(phones) < LEAST[0]:
            facts["reduced"] = {"phones": {"published": LEAST[0], "used": min(phones)}}
        fold = sample.fold[data.rows]
        return GapDraw(data.rows, data.phone, fold, splits, speakers, seed, facts)


@dataclass(frozen=True)
class AnglesDraw:
    """Draw of :class:`PhoneSpeakerAngles`: a layout and shuffles."""

    layout: Layout
    orders: dict[Shuffle, NDArray[np.int64]]
    seed: int
    facts: Mapping[str, Any]
    notices: Sequence[str]

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Overlap, smallest angle and shares inside, with random and permuted controls."""
        x = self.layout.take(rows)
        x = x - x.mean(dim=(0, 1, 2))
        groups, width = x.shape[1], x.shape[-1]
        half = x.shape[2] // 2
        cells = x.mean(dim=2)
        halves = (x[:, :, :half].mean(dim=2), x[:, :, half:].mean(dim=2))
        whole = subspace_angles.mean_angles(cells, share=VARIANCE)
        values = _angle_numbers(cells, halves, whole.ranks)
        left_out = []
        for b in range(groups):
            keep = [i for i in range(groups) if i != b]
            pair = (halves[0][:, keep], halves[1][:, keep])
            left_out.append(_angle_numbers(cells[:, keep], pair, whole.ranks))
        errors = jackknife(values, left_out, np.ones(groups)).error.tolist()
        rng = np.random.default_rng([self.seed, 5])
        randoms = subspace_angles.random_angles(width, whole.ranks, rng, SHUFFLES)
        made = self._scores(values, errors, width, whole.ranks, "")
        null = [[a.overlap, a.smallest] for a in randoms]
        made += self._scores(*_spread(null), width, whole.ranks, RANDOM)
        made += self._scores(*_spread(self._permuted(x, whole.ranks)), width, whole.ranks, PERMUTED)
        return made

    def _permuted(self, x: torch.Tensor, ranks: tuple[int, int]) -> list[list[float]]:
        """Overlap and angle of means of tokens dealt to phones and speakers at random."""
        A, B, m, D = x.shape
        flat = x.reshape(-1, D)
        found = []
        for order in self.orders["residuals"]:
            cells = flat[torch.as_tensor(order)].view(A, B, m, D).mean(dim=2)
            angles = subspace_angles.mean_angles(cells, ranks=ranks)
            found.append([angles.overlap, angles.smallest])
        return found

    def _scores(
        self,
        values: Sequence[float],
        errors: Sequence[float],
        width: int,
        ranks: tuple[int, int],
        control: str,
    ) -> list[Score]:
        bounds = ((0.0, 1.0), (0.0, 90.0), (-np.inf, np.inf), (-np.inf, np.inf))
        estimators = ("in-sample", "in-sample", "split-half", "split-half")
        return [
            Score(
                name,
                value,
                error,
                n=self.layout.rows.size,
                groups=self.layout.rows.shape[1],
                d=width,
                other_d=ranks[1],
                estimator=estimator,
                control=control,
                bounds=limit,
            )
            for name, value, error, limit, estimator in zip(
                ANGLES, values, errors, bounds, estimators, strict=False
            )
        ]


ANGLES = ("overlap", "angle-smallest", "phone-in-speaker", "speaker-in-phone")


def _angle_numbers(
    cells: torch.Tensor, halves: tuple[torch.Tensor, torch.Tensor], ranks: tuple[int, int]
) -> list[float]:
    angles = subspace_angles.mean_angles(cells, ranks=ranks)
    swapped = tuple(h.transpose(0, 1) for h in halves)
    return [
        angles.overlap,
        angles.smallest,
        subspace_angles.share_inside(*halves, share=VARIANCE),
        subspace_angles.share_inside(*swapped, share=VARIANCE),
    ]


def _spread(found: list[list[float]]) -> tuple[list[float], list[float]]:
    x = np.array(found)
    return x.mean(axis=0).tolist(), x.std(axis=0, ddof=1).tolist()


@dataclass(frozen=True)
class PhoneSpeakerAngles(PropertyFacts):
    """Principal angles between the subspaces of phone means and of speaker means."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> AnglesDraw:
        """See :func:`layout`.

        Raises:
            TooFewError: too few phones or speakers.
        """
        chosen = layout(sample, settings, seed)
        A, B, m = chosen.rows.shape
        rng = np.random.default_rng([seed, 6])
        orders: dict[Shuffle, NDArray[np.int64]] = {
            "residuals": np.stack(
                [shuffled_cells(A, B, m, "residuals", rng) for _ in range(SHUFFLES)]
            )
        }
        facts = {**chosen.facts, "variance_kept": VARIANCE, "shuffles": SHUFFLES}
        return AnglesDraw(chosen, orders, seed, facts, chosen.notices)


def _make(
    kind: Callable[..., Any],
    name: str,
    argument: str,
    title: str,
    main: str,
    better: Better = "high",
) -> Any:
    no_argument(name, argument)
    tiers = ("phones", "speaker")
    return kind(name, title, "disentanglement", "phone", main, tiers, better=better)


def shares(argument: str) -> VarianceShares:
    """The property ``variance-shares``."""
    made: VarianceShares = _make(
        VarianceShares,
        "variance-shares",
        argument,
        "variance shared out between phone and speaker",
        "share-phone-corrected",
    )
    return made


def gap(argument: str) -> PhoneGap:
    """The property ``phone-gap``."""
    made: PhoneGap = _make(
        PhoneGap, "phone-gap", argument, "what a phone probe loses on new speakers", "gap", "low"
    )
    return made


def angles(argument: str) -> PhoneSpeakerAngles:
    """The property ``phone-speaker-angles``."""
    made: PhoneSpeakerAngles = _make(
        PhoneSpeakerAngles,
        "phone-speaker-angles",
        argument,
        "overlap of phone and speaker subspaces",
        "overlap",
        "low",
    )
    return made
