"""Linear predictability of labels and tiers: ``linear-phone``, ``linear-word``,
``linear-speaker``, ``linear:TIER``.

Numbers are predicted by ridge regression, names by logistic regression; docs/properties/
linear_predictability.md says how, and what the controls are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import UsageError
from voxstrata.numerics.jackknife import assign_folds, fold_of_rows
from voxstrata.properties.cca.engine import pick_types
from voxstrata.properties.linear.draw import (
    CLASS_FOLDS,
    RIDGE_FOLDS,
    ClassDraw,
    RidgeDraw,
    class_draw,
    view_draw,
)
from voxstrata.properties.linear.targets import (
    Target,
    dealt_folds,
    frequencies,
    labels_at,
    merged_folds,
    stress_free,
    tier_missing,
    tier_target,
)
from voxstrata.properties.property import PERMUTED, PropertyFacts, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig

WORD_TYPES = 200
"""Word types of ``linear-word``, at most: a class costs as much as a phone does."""

SPEAKERS, PER_SPEAKER = 200, 20
"""Speakers of ``linear-speaker`` and recordings of each, at most."""

RECORDINGS = 8000
"""Recordings of ``linear:TIER``, at most."""


@dataclass(frozen=True)
class LinearLabels(PropertyFacts):
    """Predictability of the labels of phone or word rows."""

    kind: Literal["phone", "word"] = "phone"

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> ClassDraw:
        """Rows balanced over types, with folds of the run dealt into five.

        Raises:
            TooFewError: fewer than three folds, or fewer than two types in two folds.
        """
        labels = np.array(list(sample.labels or ()), dtype=object)
        facts: dict[str, Any] = {}
        types = None
        if self.kind == "phone":
            labels = np.array([stress_free(x) for x in labels], dtype=object)
            rows, _ = pick_types(labels.tolist(), None, settings.phones_per_type, seed)
            words = labels_at(sample, "words")
            if any(words):
                types = [f"{words[r]}|{labels[r]}" for r in rows]
                facts["control_task"] = "random label for each pair of word and phone"
        else:
            count = min(settings.words, WORD_TYPES)
            often = frequencies(sample, "words")
            rows, _ = pick_types(
                labels.tolist(), count, settings.words_per_type, seed, frequency=often
            )
            if settings.words > WORD_TYPES:
                facts["word_types_at_most"] = WORD_TYPES
        return class_draw(
            rows,
            labels[rows],
            merged_folds(sample.fold, CLASS_FOLDS)[rows],
            seed,
            what=self.name,
            types=types,
            facts=facts,
        )


@dataclass(frozen=True)
class LinearSpeaker(PropertyFacts):
    """Predictability of who speaks, from recordings; folds split the recordings of a speaker."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> ClassDraw:
        """Speakers with two recordings or more.

        Raises:
            TooFewError: fewer than two such speakers, or fewer than three folds.
        """
        speaker = np.array(
            ["" if s is None else str(s) for s in sample.tier("speaker")], dtype=object
        )
        counts = Counter(speaker[speaker != ""].tolist())
        several = sorted(s for s, c in counts.items() if c >= 2)
        if len(several) < 2:
            raise TooFewError(
                f"{self.name} needs speakers with at least two recordings",
                got=f"{len(several)} of {len(counts)} speakers",
                expected="at least 2 such speakers",
                fix="a corpus with several recordings a speaker",
            )
        rng = np.random.default_rng([seed, 42])
        used = {several[i] for i in rng.permutation(len(several))[:SPEAKERS]}
        listed = [s if s in used else "" for s in speaker]
        rows, _ = pick_types(listed, None, PER_SPEAKER, seed)
        fold = dealt_folds(speaker, sample.utterance, CLASS_FOLDS, settings.seed)[rows]
        return class_draw(
            rows,
            speaker[rows],
            fold,
            seed,
            what=self.name,
            facts={"folds_keep": "recordings", "speakers_left_out": len(counts) - len(used)},
        )


@dataclass(frozen=True)
class LinearTier(PropertyFacts):
    """Predictability of a scalar tier from recordings."""

    tier: str = ""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the tier if no recording has it, or it has one value only."""
        return tier_missing(corpus, self.tier)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> RidgeDraw | ClassDraw:
        """Folds of whole speakers where the tier is one value a speaker, else the run's folds.

        Raises:
            TooFewError: the tier does not vary, or has too few groups.
        """
        whole = tier_target(sample, self.tier)
        fold = self._folds(sample, settings, whole)
        kept = _kept(len(whole.rows), seed)
        target, fold = _fewer(whole, kept), fold[kept]
        notices = []
        if target.carrier == "speaker":
            notices.append(
                f"{self.name}: {self.tier!r} is one value a speaker, so folds keep speakers "
                f"together ({len(set(target.carriers))} of them carry all the evidence)."
            )
        facts = {
            "folds_keep": target.carrier if target.carrier == "speaker" else settings.group,
            "carriers": len(set(target.carriers)),
        }
        if target.numeric:
            return view_draw(
                target.rows,
                target.values,
                fold,
                seed,
                carriers=target.carriers,
                control=PERMUTED,
                facts=facts,
                notices=notices,
            )
        return class_draw(
            target.rows,
            target.values,
            fold,
            seed,
            what=self.name,
            carriers=target.carriers,
            facts=facts,
            notices=notices,
        )

    def _folds(
        self, sample: Sample, settings: PropertiesConfig, target: Target
    ) -> NDArray[np.int64]:
        """Fold of each row of the target: the same in every draw."""
        most = RIDGE_FOLDS if target.numeric else CLASS_FOLDS
        if target.carrier == "speaker" and not target.numeric:
            return dealt_folds(target.values, target.carriers, most, settings.seed)
        if target.carrier != "speaker" or settings.group == "speaker":
            return merged_folds(sample.fold[target.rows], most)
        count = len(set(target.carriers))
        if count < 3:
            raise TooFewError(
                f"{self.name}: {self.tier!r} is one value a speaker, and there are few speakers",
                got=f"{count} speakers",
                expected="at least 3",
                fix="a corpus with more speakers",
            )
        speakers = [str(s) for s in target.carriers]
        return fold_of_rows(speakers, assign_folds(speakers, min(most, count), settings.seed))


def _kept(n: int, seed: int) -> NDArray[np.int64]:
    """At most :data:`RECORDINGS` of n rows, at random, rising."""
    if n <= RECORDINGS:
        return np.arange(n)
    rng = np.random.default_rng([seed, 43])
    return np.sort(rng.choice(n, RECORDINGS, replace=False))


def _fewer(target: Target, kept: NDArray[np.int64]) -> Target:
    return Target(
        target.rows[kept],
        target.values[kept],
        target.numeric,
        target.carrier,
        target.carriers[kept],
    )


def linear_phone(argument: str) -> LinearLabels:
    """``linear-phone``: phone identity of phone segments."""
    no_argument("linear-phone", argument)
    return LinearLabels(
        "linear-phone",
        "phone identity (linear probe)",
        "phonetic",
        "phone",
        "balanced-accuracy",
        ("phones",),
        "phone",
    )


def linear_word(argument: str) -> LinearLabels:
    """``linear-word``: word identity of word segments."""
    no_argument("linear-word", argument)
    return LinearLabels(
        "linear-word",
        "word identity (linear probe)",
        "lexical",
        "word",
        "balanced-accuracy",
        ("words",),
        "word",
    )


def linear_speaker(argument: str) -> LinearSpeaker:
    """``linear-speaker``: who speaks, from recordings."""
    no_argument("linear-speaker", argument)
    return LinearSpeaker(
        "linear-speaker",
        "speaker identity (linear probe)",
        "speaker",
        "utterance",
        "balanced-accuracy",
        ("speaker",),
    )


def linear_tier(argument: str) -> LinearTier | LinearSpeaker:
    """``linear:TIER``: any scalar tier of recordings; ``linear:speaker`` is ``linear-speaker``.

    The curve of a tier shows ``selectivity``, which numbers and names both have.

    Raises:
        UsageError: no tier.
    """
    if not argument:
        raise UsageError(
            "linear needs a scalar tier", got="linear", expected="linear:TIER, e.g. linear:gender"
        )
    if argument == "speaker":
        return linear_speaker("")
    return LinearTier(
        f"linear:{argument}",
        f"{argument} (linear probe)",
        "speaker" if argument in ("gender", "age", "accent") else "acoustic",
        "utterance",
        "selectivity",
        (),
        argument,
    )
