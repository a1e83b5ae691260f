"""Which properties "all" stands for on a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from voxstrata.corpora import Corpus
from voxstrata.properties.registry import PROPERTIES, TAKES_ARGUMENT, TIER_SHORTCUTS
from voxstrata.properties.settings import PropertiesConfig

_NOT_LABELS = frozenset({"text", "speaker", "gender", "chapter", "part", "prompt"})
"""Scalar tiers that are no property of the sound, or have a property of their own."""


def label_tiers(corpus: Corpus) -> list[str]:
    """Scalar tiers with at least two values and, on average, two recordings a value."""
    values: dict[str, list[object]] = {}
    for utterance in corpus.utterances:
        for name, value in utterance.tiers.items():
            if isinstance(value, str | int | float) and name not in _NOT_LABELS:
                values.setdefault(name, []).append(value)
    chosen = []
    for name, found in values.items():
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)
        distinct = len(set(found))
        if distinct >= 2 and (numbers or distinct <= len(found) / 2):
            chosen.append(name)
    return sorted(chosen)


def expand(wanted: Sequence[str], corpus: Corpus, config: PropertiesConfig) -> list[str]:
    """Names of properties, with "all" written out.

    "all" is every registered property that takes no argument, and those that take one for every
    label tier of the corpus and every file given in the settings.

    Args:
        wanted: names, or "all".
        corpus: what tiers there are.
        config: what files there are.
    """
    names: list[str] = []
    for name in wanted:
        if name != "all":
            names.append(name)
            continue
        names += [known for known in PROPERTIES.names() if known not in TAKES_ARGUMENT]
        tiers = label_tiers(corpus)
        names += [f"cca-tier:{tier}" for tier in tiers if tier not in TIER_SHORTCUTS]
        names += [f"linear:{tier}" for tier in ("gender", *tiers) if _has(corpus, tier)]
        names += [f"cca-vectors:{v}" for v in config.vectors if v not in ("agwe", "glove")]
        names += [
            f"cca-attributes:{a}" for a in config.attributes if a not in ("semantic", "syntactic")
        ]
        names += [f"cca-table:{table}" for table in config.tables]
    return [n for n in dict.fromkeys(names) if n in wanted or n.partition(":")[0] in PROPERTIES]


def _has(corpus: Corpus, tier: str) -> bool:
    return any(utterance.tiers.get(tier) is not None for utterance in corpus.utterances)
