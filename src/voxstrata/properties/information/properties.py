"""Mutual information of k-means codes and labels: ``mi-phone``, ``mi-word``, ``mi:TIER``, ``pnmi``.

What each number means: :mod:`.counts` and docs/properties/mutual_information.md; how it is
estimated: :mod:`.draw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import UsageError
from voxstrata.properties.cca.engine import pick_types
from voxstrata.properties.information.counts import Codebook
from voxstrata.properties.information.draw import Half, MiDraw
from voxstrata.properties.linear.targets import (
    dealt_folds,
    frequencies,
    labels_at,
    numbered,
    permute_over,
    stress_free,
    tier_missing,
    tier_target,
)
from voxstrata.properties.property import PropertyFacts, TooFewError, UnitName
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig

ROWS_PER_CLUSTER = 5
"""Fewest training rows a cluster at the published k (P2023 had about 90 for words, 400 for
phones); the small scale keeps ten."""

FIT_PER_TYPE = {"phone": 7000, "word": 1200}
"""Instances of one phone or word that k-means is fitted on, at most (P2023)."""

BATCH = {"phone": 1500, "word": 4000}
"""Mini-batches of P2023; other units take that of phones."""


def halve(fold: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which rows are in the first half: folds dealt at random, heavy ones first, to balance rows.

    Raises:
        TooFewError: fewer than two folds have rows.
    """
    folds, sizes = np.unique(fold, return_counts=True)
    if len(folds) < 2:
        raise TooFewError(
            "mutual information needs groups to fit codes on and others to test them",
            got=f"{len(folds)} fold with labelled rows",
            expected="at least 2",
            fix="more recordings (or --group utterance)",
        )
    jitter = np.random.default_rng([seed, 11]).uniform(0.8, 1.25, len(folds))
    sums, counts, first = [0, 0], [0, 0], []
    for position in np.argsort(-sizes * jitter, kind="stable"):
        side = min((0, 1), key=lambda s: (sums[s], counts[s], s))
        sums[side] += int(sizes[position])
        counts[side] += 1
        if side == 0:
            first.append(folds[position])
    return np.isin(fold, first)


Kind = Literal["phone", "word", "tier", "frame"]


@dataclass(frozen=True)
class MutualInformation(PropertyFacts):
    """Mutual information of codes and labels of rows.

    Attributes:
        kind: where labels come from: of phone or word rows, a scalar tier, phones at frames.
        tier: the scalar tier.
    """

    kind: Kind = "phone"
    tier: str = ""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> MiDraw:
        """Labelled rows in two halves of the groups, evaluation capped as published.

        Raises:
            TooFewError: one fold, one label, or too few rows for k at the published scale.
        """
        rows, labels, carriers, note = self._labelled(sample, settings)
        fold = sample.fold
        if carriers is not None and note == "speaker" and settings.group != "speaker":
            # Speakers are the independent units, of halves and of the error.
            fold = fold.copy()
            fold[rows] = dealt_folds(labels, carriers, settings.folds, settings.seed)
        first = halve(fold[rows], seed)
        names, number = numbered(labels)
        at = np.full(len(sample), -1, dtype=np.int64)
        at[rows] = np.arange(len(rows))
        rng = np.random.default_rng([seed, 12])
        seeds = tuple(int(s) for s in rng.integers(0, 2**31 - 1, settings.kmeans_seeds))
        halves = []
        for side in (first, ~first):
            fit = self._picked(sample, rows[side], labels[side], FIT_PER_TYPE, seed)
            caps = {"phone": settings.phones_per_type, "word": settings.words_per_type}
            chosen = self._picked(sample, rows[~side], labels[~side], caps, seed)
            here = at[chosen]
            held = None if carriers is None else carriers[here]
            shuffled = np.stack([permute_over(number[here], held, rng) for _ in seeds])
            halves.append(Half(fit, chosen, number[here], shuffled, fold[chosen]))
        few = min(len(half.train) for half in halves)
        clusters, reduced = self._clusters(settings, few)
        pasad = settings.preset == "pasad2023"
        book = Codebook(clusters, BATCH.get(self.kind, 1500), 500, None if pasad else 64)
        facts: dict[str, Any] = {
            "rows": [len(half.evaluate) for half in halves],
            "training_rows": [len(half.train) for half in halves],
            "types": len(names),
            "clusters": clusters,
            "kmeans_seeds": list(seeds),
            "permuted": "rows" if carriers is None else note,
            "folds_keep": "speaker" if note == "speaker" else settings.group,
        }
        if reduced:
            facts["reduced"] = {"clusters": reduced}
        notices = []
        if note == "speaker":
            notices.append(
                f"{self.name}: {self.tier!r} is one value a speaker, and codes that tell speakers "
                "apart tell it too; read it against its permuted control."
            )
        return MiDraw((halves[0], halves[1]), book, seeds, self.main, facts, tuple(notices))

    def _labelled(
        self, sample: Sample, settings: PropertiesConfig
    ) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any] | None, str]:
        """Rows, their labels, the carriers of labels (None: each row its own), their kind."""
        if self.kind == "tier":
            target = tier_target(sample, self.tier)
            return target.rows, target.values, target.carriers, target.carrier
        given = np.array(
            labels_at(sample, "phones") if self.kind == "frame" else list(sample.labels or ()),
            dtype=object,
        )
        if self.kind != "word":
            given = np.array([stress_free(x) for x in given], dtype=object)
        rows = np.flatnonzero(given != "")
        if self.kind == "word":
            often = frequencies(sample, "words")
            rows, _ = pick_types(given.tolist(), settings.words, len(given), 0, frequency=often)
        if len(set(given[rows].tolist())) < 2:
            raise TooFewError(
                f"{self.name} needs at least two kinds of labels",
                got=f"{len(rows)} labelled rows of {len(set(given[rows].tolist()))} kinds",
                fix="a corpus with alignments (docs/corpora.md)",
            )
        return rows, given[rows], None, "rows"

    def _picked(
        self,
        sample: Sample,
        rows: NDArray[np.int64],
        labels: NDArray[Any],
        caps: dict[str, int],
        seed: int,
    ) -> NDArray[np.int64]:
        """Rows with the cap of this kind on each label; all where it has none."""
        if self.kind not in caps:
            return rows
        listed = np.full(len(sample), "", dtype=object)
        listed[rows] = labels
        return pick_types(listed.tolist(), None, caps[self.kind], seed)[0]

    def _clusters(self, settings: PropertiesConfig, few: int) -> tuple[int, dict[str, int] | None]:
        """k, and what was published if the sample is too small for it."""
        wanted = settings.clusters_word if self.kind == "word" else settings.clusters_phone
        fitting = max(2, min(wanted, few // 10))
        if self.kind == "tier":  # nothing is published: as many as rows allow
            return fitting, None
        if settings.scale == "small":
            return fitting, {"published": wanted, "used": fitting} if fitting < wanted else None
        if few < ROWS_PER_CLUSTER * wanted:
            flag = "--clusters-word" if self.kind == "word" else "--clusters-phone"
            raise TooFewError(
                f"{self.name}: too few rows to fit {wanted} clusters",
                got=f"{few} rows in half of the groups",
                expected=f"at least {ROWS_PER_CLUSTER * wanted}",
                fix=f"--scale small, fewer {flag}, or a larger corpus",
            )
        return wanted, None


@dataclass(frozen=True)
class TierInformation(MutualInformation):
    """Mutual information with a scalar tier."""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the tier if no recording has it, or it has one value only."""
        return tier_missing(corpus, self.tier)


def mi_phone(argument: str) -> MutualInformation:
    """``mi-phone``: codes of phone segments and phone labels (P2023)."""
    no_argument("mi-phone", argument)
    return MutualInformation(
        "mi-phone", "phone identity (MI)", "phonetic", "phone", "mi", ("phones",), "phone"
    )


def mi_word(argument: str) -> MutualInformation:
    """``mi-word``: codes of word segments and word labels (P2023)."""
    no_argument("mi-word", argument)
    return MutualInformation(
        "mi-word", "word identity (MI)", "lexical", "word", "mi", ("words",), "word"
    )


def pnmi(argument: str) -> MutualInformation:
    """``pnmi``: codes of frames and the phones they lie in (HuBERT's PNMI)."""
    no_argument("pnmi", argument)
    return MutualInformation(
        "pnmi", "phone identity of frames (PNMI)", "phonetic", "frame", "pnmi", ("phones",), "frame"
    )


def mi_tier(argument: str) -> TierInformation:
    """``mi:TIER`` over utterances, ``mi:TIER@phone`` or ``mi:TIER@word`` over segments.

    Raises:
        UsageError: no tier, or an unknown unit.
    """
    tier, _, unit = argument.partition("@")
    units: dict[str, UnitName] = {
        "": "utterance",
        "utterance": "utterance",
        "phone": "phone",
        "word": "word",
        "frame": "frame",
    }
    if not tier or unit not in units:
        raise UsageError(
            "mi needs a scalar tier",
            got=f"mi:{argument}" if argument else "mi",
            expected="mi:TIER, mi:TIER@phone, mi:TIER@word or mi:TIER@frame, e.g. mi:gender",
        )
    return TierInformation(
        f"mi:{argument}",
        f"{tier} (MI{f', {unit}s' if unit else ''})",
        "speaker" if tier in ("speaker", "gender", "age", "accent") else "acoustic",
        units[unit],
        "mi",
        (),
        "tier",
        tier,
    )
