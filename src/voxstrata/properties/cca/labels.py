"""cca-phone and cca-word: CCA of layers with one-hot labels of phones and words (P2023).

Rows are balanced draws: at most 200 instances of every phone, at most 15 of each of the 500 most
frequent words (P2023, sections 3.3 and 3.4). The small scale keeps the types that have at least
five tokens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxstrata.properties.cca.engine import (
    LEAST_TOKENS,
    CcaDraw,
    one_hot,
    pick_types,
    scored_widths,
)
from voxstrata.properties.linear.targets import frequencies, stress_free
from voxstrata.properties.property import Property, PropertyFacts, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig


@dataclass(frozen=True)
class LabelCca(PropertyFacts):
    """CCA with the labels of the rows; the unit says of what."""

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> CcaDraw:
        """A balanced draw of labelled rows and their one-hot view.

        Raises:
            TooFewError: too few types or rows.
        """
        phones = self.unit == "phone"
        given = sample.labels or ()
        labels = [stress_free(label) for label in given] if phones else list(given)
        small = settings.scale == "small"
        wanted = None if phones else settings.words
        per_type = settings.phones_per_type if phones else settings.words_per_type
        least = LEAST_TOKENS if small or not phones else 1
        often = None if phones else frequencies(sample, "words")
        rows, types = pick_types(labels, wanted, per_type, seed, least, often)
        needed = 3 if phones or small else settings.words
        if len(types) < needed:
            raise TooFewError(
                f"too few types of {self.unit}s",
                got=f"{len(types)} with at least {least} tokens",
                expected=f"at least {needed}",
                fix="a larger corpus" if small else "--scale small, or a larger corpus",
            )
        chosen = [labels[i] for i in rows]
        full = settings.preset == "pasad2023"
        view, _ = one_hot(chosen, drop_one=not full)
        counts = Counter(chosen)
        facts: dict[str, Any] = {
            "types": len(types),
            "tokens_per_type": {"least": min(counts.values()), "most": max(counts.values())},
        }
        everything = len({label for label in labels if label})
        published = everything if wanted is None else wanted
        if small and len(types) < published:
            facts["reduced"] = {f"{self.unit} types": {"published": published, "used": len(types)}}
        notices = []
        if not full:
            where: dict[str, set[int]] = {t: set() for t in types}
            for label, fold in zip(chosen, sample.fold[rows].tolist(), strict=True):
                where[label].add(fold)
            alone = sorted(t for t, folds in where.items() if len(folds) < 2)
            if alone:
                notices.append(
                    f"{len(alone)} of {len(types)} types stand in one fold only and cannot be "
                    f"predicted there ({', '.join(alone[:5])}{', ...' if len(alone) > 5 else ''})."
                )
        return CcaDraw(
            view,
            rows,
            sample.fold[rows],
            settings,
            seed,
            groups=np.asarray(sample.groups(settings.group))[rows],
            labels=chosen,
            widths=scored_widths(sample),
            facts=facts,
            notices=notices,
            what=f"{self.unit} labels",
        )


def cca_phone(argument: str) -> Property:
    """CCA with phone identity."""
    no_argument("cca-phone", argument)
    return LabelCca(
        "cca-phone", "phone identity (PWCCA)", "phonetic", "phone", "pwcca", ("phones",)
    )


def cca_word(argument: str) -> Property:
    """CCA with word identity."""
    no_argument("cca-word", argument)
    return LabelCca("cca-word", "word identity (PWCCA)", "lexical", "word", "pwcca", ("words",))
