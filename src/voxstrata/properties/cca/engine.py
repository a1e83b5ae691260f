"""The engine of all cca-* properties: one view of some rows, held against layer after layer.

Method, controls and the choice of defaults: docs/properties/cca.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, ShapeError
from voxstrata.numerics.linalg import whiten
from voxstrata.properties.property import SHUFFLED, Score, TooFewError
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.views.tiers import one_column_less
from voxstrata.similarity.checks import FEW_ROWS
from voxstrata.similarity.crossval import LEAST_ROWS, MEASURES, corrected_error, cross_validate
from voxstrata.similarity.crossval_pasad import (
    SPLITS,
    TRIALS,
    PasadCrossValidated,
    cross_validate_pasad,
    draw_eps,
    draw_splits,
    draw_trials,
)
from voxstrata.similarity.fold_moments import FoldMoments
from voxstrata.similarity.view_folds import ViewFolds, shuffle_within
from voxstrata.streaming.stack import StackLayer

BOUNDS = (-1.0, 1.0)
LEAST_TOKENS = 5
"""Tokens a type needs at the small scale."""

ROWS_A_COMPONENT = 10
"""Training rows for each principal component that is kept at the small scale."""

_OF_ROWS = {"by": "row", "why": "the published splits are of single rows"}

_SPLIT, _TRIAL, _EPS, _SHUFFLE, _TYPES = 701, 702, 703, 704, 705


def one_hot(
    labels: Sequence[str], drop_one: bool = True
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """One-hot rows [N, V] and the label of each column.

    Args:
        labels: label of each row.
        drop_one: leave out the column of the most frequent label: the columns sum to 1, so one of
            them says nothing, and centred it is a direction without variance.

    Example:
        >>> one_hot(["b", "a", "b"], drop_one=False)[0].tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    if drop_one:
        return one_column_less(labels)
    columns = tuple(sorted(set(labels)))
    return (np.asarray(labels)[:, None] == np.asarray(columns)).astype(np.float64), columns


def pick_types(
    labels: Sequence[str],
    types: int | None,
    per_type: int,
    seed: int,
    min_tokens: int = 1,
    frequency: Mapping[str, int] | None = None,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A balanced draw of labelled rows: the most frequent types, at most so many rows of each.

    P2023: all phones with at most 200 instances each; the 500 most frequent words with 15.

    Args:
        labels: label of each row; rows with an empty label are left out.
        types: how many types, by frequency (ties by name); ``None`` for all.
        per_type: most rows of a type, drawn at random.
        seed: of the draw.
        min_tokens: rows that a type must have.
        frequency: how often each label occurs, where rows are capped already; the labels
            themselves are counted if not given.

    Returns:
        rows, int64, rising; types, most frequent first.
    """
    where: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        if label:
            where.setdefault(label, []).append(i)
    usable = [label for label, found in where.items() if len(found) >= min_tokens]
    often = {label: max(len(where[label]), (frequency or {}).get(label, 0)) for label in usable}
    chosen = sorted(usable, key=lambda label: (-often[label], label))[:types]
    rng = np.random.default_rng([seed, _TYPES])
    rows = [
        rng.choice(where[label], min(per_type, len(where[label])), replace=False)
        for label in chosen
    ]
    return np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64), tuple(chosen)


def scored_widths(sample: Sample) -> list[int]:
    """Widths of the layers that will be scored."""
    return [layer.width for i, layer in enumerate(sample.layers) if i not in sample.helpers]


class CcaDraw:
    """Held-out CCA of every layer with one view (see :class:`voxstrata.properties.property.Draw`).

    With the preset "voxstrata" each layer gets "pwcca" (weights of the narrower side; the mean of
    both at equal widths), "pwcca-x" (weights of the layer), "pwcca-y" (of the view), "cca-mean"
    and "svcca"; with "pasad2023" it gets "pwcca-pasad". Each comes with its value for shuffled
    rows.

    Args:
        view: one row a unit, float [n, V]; one-hot or continuous.
        rows: which rows of the sample these are, int64 [n].
        fold: their folds, int64 [n]; whole groups share a fold.
        settings: preset, scale, pca.
        seed: of splits, trials, epsilons and shuffling.
        groups: group of each row, [n]; counted.
        labels: labels that the published splits are stratified by, [n]; ``None`` for none.
        reduce_view: whether the small scale may replace the view by principal components
            (continuous views; one-hot views have types left out instead).
        widths: widths of the layers to come, to refuse early.
        facts: more facts for the record ("reduced" among them).
        notices: sentences to start with.
        what: how messages call the view.
        quick: for a view that is itself a control: without shuffled rows and "svcca", which cost
            two thirds of the time.

    Raises:
        ShapeError: view, rows and folds do not fit.
        TooFewError: too few rows for the widths, fewer than two folds, or fewer rows than splits.
    """

    def __init__(
        self,
        view: NDArray[Any],
        rows: NDArray[np.int64],
        fold: NDArray[np.int64],
        settings: PropertiesConfig,
        seed: int,
        *,
        groups: NDArray[Any] | None = None,
        labels: Sequence[str] | None = None,
        reduce_view: bool = False,
        widths: Sequence[int] = (),
        facts: Mapping[str, Any] | None = None,
        notices: Sequence[str] = (),
        what: str = "the view",
        quick: bool = False,
    ) -> None:
        matrix = torch.as_tensor(np.asarray(view, dtype=np.float64))
        if matrix.ndim != 2 or not len(matrix) == len(rows) == len(fold):
            raise ShapeError(
                "view, rows and folds do not fit each other",
                got=f"view {tuple(matrix.shape)}, {len(rows)} rows, {len(fold)} folds",
            )
        self.what, self.settings, self.seed = what, settings, seed
        self.published = settings.preset == "pasad2023"
        self._quick = quick
        self._rows = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        self._matrix = matrix
        self._fold = self._split(np.asarray(fold, dtype=np.int64), labels)
        self._train, self._test = self._sizes()
        self.groups = len(set(np.asarray(groups).tolist())) if groups is not None else 0
        self._view_components = self._small(matrix.shape[1]) if reduce_view else None
        self._order = shuffle_within(self._fold, np.random.default_rng([seed, _SHUFFLE]))
        self._shuffled = matrix[torch.from_numpy(self._order)]
        self._y = ViewFolds(matrix.shape[1], int(self._fold.max()) + 1)
        self._y.update(matrix, self._fold)
        self.facts: dict[str, Any] = {
            "rows": len(matrix),
            "view_width": matrix.shape[1],
            "training_rows": self._train,
            "folds": len(self._y.filled()),
            "groups": self.groups,
            **(facts or {}),
        }
        self._said: dict[str, str] = {f"given {i}": text for i, text in enumerate(notices)}
        if self.published:
            asked = (facts or {}).get("folds_keep_together", {}).get("by", settings.group)
            if asked != "utterance":
                self._said["splits"] = (
                    f"The published splits are of single rows: a {asked} stands in training and "
                    f"test, and a layer that tells {asked}s apart gains by it."
                )
            self.facts |= {"folds": SPLITS, "folds_keep_together": _OF_ROWS}
        self._check_view()
        fit = [width for width in widths if not self._shortage(width)]
        if widths and 2 * len(fit) < len(widths):
            self._require(max(widths))
        elif not widths:
            self._require(1)

    @property
    def notices(self) -> list[str]:
        """Sentences for the reader, about the layers scored so far."""
        return list(self._said.values())

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Scores of one layer, rows [N, D] of the whole sample.

        Raises:
            TooFewError: too few rows for this layer's width.
            NumericsError: the layer is not finite or does not vary.
        """
        x = rows[self._rows]
        d = x.shape[1]
        self._require(d)
        if not bool(torch.isfinite(x).all()):
            raise NumericsError(f"{layer.key} is not finite in the rows of {self.what}")
        m = FoldMoments(d, self._y, control=not self._quick)
        m.update([x], self._matrix, self._fold, None if self._quick else self._shuffled)
        components = self._small(d)
        self._describe(layer, d, components)
        if self.published:
            return self._pasad(m, layer, components)
        found = cross_validate(
            m,
            components=components,
            other_components=self._view_components,
            measures=[name for name in MEASURES if not self._quick or name != "svcca"],
        )
        if found.rank_x < found.d:
            self._said[f"null {layer.key}"] = (
                f"{layer.key} has {found.d} dimensions but rank {found.rank_x} in some training "
                "rows: directions without variance are left out."
            )
        scores = []
        for control, table in (("", found.measures), (SHUFFLED, found.control)):
            for name, one in table.items():
                by_fold = tuple(zip(found.folds, one.by_fold.tolist(), strict=True))
                shared = self._shared(found.d, found.other_d, control)
                scores.append(
                    Score(measure=name, value=one.value, error=one.error, by_fold=by_fold, **shared)
                )
        return scores

    def _pasad(self, m: FoldMoments, layer: StackLayer, components: int | None) -> list[Score]:
        trials = draw_trials([self.seed, _TRIAL])
        eps = [draw_eps([self.seed, _EPS, t]) for t in range(len(trials))]
        scores = []
        pairs = [("", m)] if self._quick else [("", m), (SHUFFLED, m.control())]
        for control, moments in pairs:
            found = cross_validate_pasad(
                moments,
                trials,
                eps,
                components=components,
                other_components=self._view_components,
                signs=0 if control else 8,
                seed=self.seed,
            )
            m.x.forget()
            if not control:
                self._note_signs(found, layer)
            held = self._test / self._train
            scored = [trial.score for trial in found.trials]
            d, v = components or m.x.width, self._view_components or m.y.width
            scores.append(
                Score(
                    measure="pwcca-pasad",
                    value=found.score,
                    error=corrected_error(scored, held) if len(scored) > 1 else None,
                    # The error is the spread of three trials, however many groups there are.
                    **{**self._shared(d, v, control), "groups": len(scored)},
                )
            )
        return scores

    def _shared(self, d: int, other_d: int, control: str) -> dict[str, Any]:
        return {
            "n": len(self._matrix),
            "groups": self.groups,
            "d": d,
            "other_d": other_d,
            "control": control,
            "bounds": BOUNDS,
        }

    def _split(self, fold: NDArray[np.int64], labels: Sequence[str] | None) -> NDArray[np.int64]:
        """Given folds of groups, or (published) random splits of rows."""
        if self.published:
            if len(fold) < SPLITS:
                raise self._too_few("rows", len(fold), SPLITS)
            return draw_splits(len(fold), [self.seed, _SPLIT], labels)
        scored = int((np.bincount(fold) >= LEAST_ROWS).sum())
        if scored < 2:
            raise self._too_few(f"folds with {LEAST_ROWS} rows in them", scored, 2)
        return fold

    def _sizes(self) -> tuple[int, int]:
        """Rows of the smallest training set; of an average held-out one."""
        counts = np.bincount(self._fold)
        counts = counts[counts > 0]
        largest = np.sort(counts)[-2:] if self.published else counts.max()
        return int(len(self._fold) - largest.sum()), int(counts.mean())

    def _small(self, width: int) -> int | None:
        """Principal components to keep of a view this wide; ``None`` for all of it."""
        wanted = self.settings.pca or width
        if self.settings.scale == "small":
            wanted = min(wanted, max(1, self._train // ROWS_A_COMPONENT))
        return wanted if wanted < width else None

    def _shortage(self, width: int) -> tuple[str, int, int] | None:
        """What there is too little of for a layer this wide: what, found, needed."""
        d = self._small(width) or width
        v = self._view_components or self._matrix.shape[1]
        if self._train < d + v + 1:
            return f"training rows for {d} + {v} dimensions", self._train, d + v + 1
        needed = max(LEAST_ROWS, min(d, v))
        if self.published and self._test < needed:
            return "rows in each split", self._test, needed
        return None

    def _require(self, width: int) -> None:
        short = self._shortage(width)
        if short:
            raise self._too_few(*short)

    def _too_few(self, what: str, got: int, needed: int) -> TooFewError:
        small = self.settings.scale == "small"
        return TooFewError(
            f"too few {what} for CCA with {self.what}",
            got=f"{got} {what}",
            expected=f"at least {needed}",
            fix="a larger corpus" if small else "--scale small, or a larger corpus",
        )

    def _check_view(self) -> None:
        total = self._y.but()
        width = self._matrix.shape[1]
        rank = whiten(total.view.S).rank
        self._y.forget()
        if rank < width:
            outcome = (
                "the published score gives it a weight and a correlation that is rounding noise"
                if self.published
                else "it is left out"
            )
            self._said["null view"] = (
                f"{self.what} has {width} columns but rank {rank}: a direction without "
                f"variance; {outcome}."
            )

    def _describe(self, layer: StackLayer, d: int, components: int | None) -> None:
        small = self.settings.scale == "small"
        reduced = self.facts.setdefault("reduced" if small else "pca", {})
        if components is not None:
            reduced[f"dimensions of layers {d} wide"] = {"published": d, "used": components}
        if self._view_components is not None:
            reduced["dimensions of the view"] = {
                "published": self._matrix.shape[1],
                "used": self._view_components,
            }
        widest = max(components or d, self._view_components or self._matrix.shape[1])
        if self._train < FEW_ROWS * widest:
            self._said[f"few {widest}"] = (
                f"{self._train} training rows for {widest} dimensions "
                f"(n/d = {self._train / widest:.1f}, below {FEW_ROWS}): held-out values are "
                "too low, the more so the wider the layer; compare layers of one width."
            )

    def _note_signs(self, found: PasadCrossValidated, layer: StackLayer) -> None:
        low, high = found.sign_range
        ranges = self.facts.setdefault("sign_range", {})
        ranges[layer.key] = [low, high]
        widest = max(ranges, key=lambda key: ranges[key][1] - ranges[key][0])
        low, high = ranges[widest]
        self._said["signs"] = (
            "The published score depends on the arbitrary signs of an SVD: other signs move it by "
            f"up to {high - low:.3f} ({widest}: {low:.3f} to {high:.3f}); differences between "
            "layers below that mean nothing."
        )
        fitted = len(found.trials)
        if fitted < TRIALS:
            self._said["trials"] = f"Only {fitted} of {TRIALS} trials could be fitted."
