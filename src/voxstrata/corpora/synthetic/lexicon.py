"""The words of the synthetic corpus: lists by topic and part of speech, and their inflections."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

NOUN_KINDS = ("people", "things", "places")
"""Countable nouns; ``stuff`` is the mass nouns."""

WORD_KINDS = (*NOUN_KINDS, "stuff", "does", "acts", "qualities")

_SIBILANT = re.compile(r"(s|x|z|ch|sh)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")
_SHORT_CLOSED = re.compile(r"^(?:[^aeiou]|qu)*[aeiou][^aeiouwxy]$")
# Spelled with a vowel but spoken with a consonant first, and the reverse.
_A_BEFORE_VOWEL = re.compile(r"^(uni|use|eu|one)")
_AN_BEFORE_H = re.compile(r"^(hour|honest|heir)")


@dataclass(frozen=True)
class Topic:
    """One latent topic.

    Attributes:
        name: "kitchen", ...
        group: topics of one group are related, and lend each other words.
        words: by kind (``WORD_KINDS``), most frequent first.
    """

    name: str
    group: str
    words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Lexicon:
    """All words.

    Attributes:
        topics: in the order of the file.
        general: word lists that belong to no topic.
        verbs: irregular verbs, base form to (third person, past, -ing).
        nouns: irregular plurals.
    """

    topics: tuple[Topic, ...]
    general: Mapping[str, tuple[str, ...]]
    verbs: Mapping[str, tuple[str, str, str]]
    nouns: Mapping[str, str]

    def plural(self, noun: str) -> str:
        """Plural of a countable noun."""
        if noun in self.nouns:
            return self.nouns[noun]
        return _add_s(noun)

    def third(self, verb: str) -> str:
        """Third person singular present."""
        return self.verbs[verb][0] if verb in self.verbs else _add_s(verb)

    def past(self, verb: str) -> str:
        """Simple past."""
        if verb in self.verbs:
            return self.verbs[verb][1]
        if verb.endswith("e"):
            return verb + "d"
        if _CONSONANT_Y.search(verb):
            return verb[:-1] + "ied"
        return _double(verb) + "ed"

    def participle(self, verb: str) -> str:
        """Past participle of the verbs used in passives (regular ones, and a few others)."""
        return _PARTICIPLES.get(verb, self.past(verb))

    def progressive(self, verb: str) -> str:
        """The -ing form."""
        if verb in self.verbs:
            return self.verbs[verb][2]
        if verb.endswith("ie"):
            return verb[:-2] + "ying"
        if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
            return verb[:-1] + "ing"
        return _double(verb) + "ing"

    def topics_of(self) -> dict[str, set[str]]:
        """Surface form to the topics whose lists hold it, every inflected form included."""
        found: dict[str, set[str]] = {}
        for topic in self.topics:
            for kind, words in topic.words.items():
                for word in words:
                    for form in self.forms(word, kind):
                        found.setdefault(form, set()).add(topic.name)
        return found

    def forms(self, word: str, kind: str) -> tuple[str, ...]:
        """Every surface form of a word of one kind."""
        if kind in NOUN_KINDS:
            return (word, self.plural(word))
        if kind in ("does", "acts"):
            made = (self.third(word), self.past(word), self.progressive(word))
            return tuple(dict.fromkeys((word, *made, self.participle(word))))
        return (word,)


_PARTICIPLES = {
    "write": "written", "sing": "sung", "draw": "drawn", "drive": "driven", "ride": "ridden",
    "throw": "thrown", "sink": "sunk", "bite": "bitten", "freeze": "frozen", "blow": "blown",
    "grow": "grown", "sow": "sown", "steal": "stolen", "overtake": "overtaken",
    "beat": "beaten",
}  # fmt: skip


def article(word: str) -> str:
    """``a`` or ``an`` before ``word``."""
    vowel = word[0] in "aeiou" and not _A_BEFORE_VOWEL.match(word)
    return "an" if vowel or _AN_BEFORE_H.match(word) else "a"


@functools.cache
def lexicon() -> Lexicon:
    """The word lists of ``words.yaml``."""
    import yaml

    source = resources.files("voxstrata.corpora.synthetic").joinpath("words.yaml")
    raw: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    topics = tuple(
        Topic(name, entry["group"], {kind: tuple(entry[kind].split()) for kind in WORD_KINDS})
        for name, entry in raw["topics"].items()
    )
    general = {name: tuple(words.split()) for name, words in raw["general"].items()}
    verbs: dict[str, tuple[str, str, str]] = {}
    for base, forms in raw["irregular"]["verbs"].items():
        third, past, progressive = forms.split()
        verbs[base] = (third, past, progressive)
    return Lexicon(topics, general, verbs, raw["irregular"]["nouns"])


def _add_s(word: str) -> str:
    if _SIBILANT.search(word):
        return word + "es"
    if _CONSONANT_Y.search(word):
        return word[:-1] + "ies"
    if re.search(r"[^aeiou]o$", word):
        return word + "es"
    return word + "s"


def _double(verb: str) -> str:
    return verb + verb[-1] if _SHORT_CLOSED.match(verb) else verb
