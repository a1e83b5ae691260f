"""Sentences from latent topics: a small phrase-structure grammar with agreement.

A sentence has one topic. Each of its content words comes from that topic's lists
(probability ``OWN``), else from a topic of the same group (``RELATED``), else from any topic;
so words that go together occur together, in graded fashion, as topic models assume. Everything
here depends on the text's seed and number alone, never on who will read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.corpora.synthetic.lexicon import NOUN_KINDS, Lexicon, Topic, article, lexicon

OWN = 0.80
RELATED = 0.17

_POSSESSIVES = ("my", "her", "his", "our", "their", "your")
_PREPOSITIONS = ("in", "near", "behind", "at", "from", "outside", "inside", "beside", "around")
_WITH = ("with", "without", "for", "about", "like", "on", "under", "over")
_MODALS = ("can", "will", "must", "should", "could", "would", "may", "might")
_JOINS = (("and", 5.0), ("but", 3.0), ("so", 2.0), ("or", 1.0))
_SUBORDINATORS = ("when", "because", "if", "while", "after", "before", "although", "until")
_SUBJECTS = (  # pronoun, person class, weight
    (("he", "third"), 4.0),
    (("she", "third"), 4.0),
    (("it", "third"), 1.5),
    (("i", "first"), 3.0),
    (("you", "plural"), 2.5),
    (("we", "plural"), 2.5),
    (("they", "plural"), 2.5),
)
_OBJECTS = ("it", "them", "him", "her", "us", "me", "you")

_FUNCTION_WORDS = (
    "the", "a", "an", "this", "that", "these", "those", "some", "every", "another", "one",
    "of", "all", "many", "not", "very", "too", "there", "is", "are", "am", "was", "were",
    "do", "does", "did", "to", "by", "who", "why", "when", "where",
)  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """One generated text.

    Attributes:
        words: lower-case tokens; an ending comma marks a spoken pause.
        topic: name of its latent topic.
    """

    words: tuple[str, ...]
    topic: str

    @property
    def text(self) -> str:
        """The words joined, without punctuation."""
        return " ".join(word.rstrip(",") for word in self.words)


@dataclass(frozen=True)
class _Subject:
    """A noun phrase that a verb must agree with."""

    words: list[str]
    person: str  # first, third (singular), plural


class _Writer:
    """Writes the phrases of one sentence."""

    def __init__(self, draw: Draw, lex: Lexicon, topic: Topic) -> None:
        self.draw = draw
        self.lex = lex
        self.topic = topic
        self.related = [t for t in lex.topics if t.group == topic.group and t is not topic]

    # -- words ---------------------------------------------------------------------------

    def word(self, kind: str) -> str:
        """A content word; which topic it comes from is drawn first."""
        point = self.draw.unit()
        if point < OWN:
            source = self.topic
        elif point < OWN + RELATED:
            source = self.draw.one(self.related)
        else:
            source = self.draw.one(self.lex.topics)
        return self.draw.zipf(source.words[kind])

    def adjective(self) -> str:
        if self.draw.chance(0.25):
            return self.draw.zipf(self.lex.general["adjectives"])
        return self.word("qualities")

    def name(self) -> str:
        return self.draw.zipf(self.lex.general["names_f" if self.draw.chance(0.5) else "names_m"])

    # -- noun phrases --------------------------------------------------------------------

    def noun_phrase(self, kind: str, *, definite: bool = False) -> _Subject:
        """Determiner, perhaps an adjective, noun."""
        draw = self.draw
        adjectives = [self.adjective()] if draw.chance(0.3) else []
        if kind == "stuff" or (kind == "things" and draw.chance(0.12)):
            noun = self.word("stuff")
            determiner = draw.weighted(
                (("the", 5.0), ("", 2.5), ("some", 1.5), ("this", 0.7), ("all the", 0.4))
            )
            return _Subject([*determiner.split(), *adjectives, noun], "third")
        if kind == "things" and draw.chance(0.06):
            noun = draw.zipf(self.lex.general["things"])
        else:
            noun = self.word(kind)
        if draw.chance(0.25):
            determiner = draw.weighted(
                (
                    ("the", 6.0),
                    ("some", 1.2),
                    ("these", 0.8),
                    ("those", 0.6),
                    ("many", 0.6),
                    ("all the", 0.5),
                    (draw.zipf(self.lex.general["numbers"]), 1.0),
                    (draw.zipf(_POSSESSIVES), 1.3),
                )
            )
            words = [*determiner.split(), *adjectives, self.lex.plural(noun)]
            return _Subject(words, "plural")
        determiner = draw.weighted(
            (
                ("the", 7.5),
                ("a", 0.0 if definite else 2.6),
                (draw.zipf(_POSSESSIVES), 1.8),
                ("this", 0.6),
                ("that", 0.4),
                ("every", 0.3),
                ("another", 0.25),
                ("one of the", 0.3),
            )
        )
        if determiner == "one of the":
            return _Subject(["one", "of", "the", *adjectives, self.lex.plural(noun)], "third")
        words = [*adjectives, noun]
        if determiner == "a":
            determiner = article(words[0])
        return _Subject([determiner, *words], "third")

    def subject(self) -> _Subject:
        """Who acts: a pronoun, a name, a person, an animal or thing, or two of them."""
        draw = self.draw
        sort = draw.weighted(
            (("person", 4.2), ("pronoun", 3.6), ("name", 1.3), ("thing", 0.9), ("two", 0.5))
        )
        if sort == "pronoun":
            pronoun, person = draw.weighted(_SUBJECTS)
            return _Subject([pronoun], person)
        if sort == "name":
            return _Subject([self.name()], "third")
        if sort == "two":
            first = self.noun_phrase("people").words
            second = self.noun_phrase("people").words
            return _Subject([*first, "and", *second], "plural")
        return self.noun_phrase("people" if sort == "person" else "things")

    def object(self) -> list[str]:
        draw = self.draw
        if draw.chance(0.12):
            return [draw.zipf(_OBJECTS)]
        phrase = self.noun_phrase("people" if draw.chance(0.12) else "things").words
        if draw.chance(0.12):
            return [*phrase, "of", *self.noun_phrase("people", definite=True).words]
        return phrase

    def place(self) -> list[str]:
        preposition = self.draw.zipf(_PREPOSITIONS, exponent=1.1)
        return [preposition, *self.noun_phrase("places", definite=True).words]

    def adjunct(self) -> list[str]:
        """Where, when, how or with what."""
        draw = self.draw
        sort = draw.weighted((("place", 4.0), ("time", 1.6), ("adverb", 1.8), ("with", 1.4)))
        if sort == "place":
            return self.place()
        if sort == "time":
            return draw.zipf(self.lex.general["times"]).split("_")
        if sort == "adverb":
            return [draw.zipf(self.lex.general["adverbs"])]
        return [draw.zipf(_WITH, exponent=1.1), *self.noun_phrase("things").words]

    # -- verb phrases --------------------------------------------------------------------

    def be(self, person: str, past: bool) -> str:
        if past:
            return "were" if person == "plural" else "was"
        return {"first": "am", "third": "is", "plural": "are"}[person]

    def finite(self, verb: str, person: str, past: bool) -> str:
        if past:
            return self.lex.past(verb)
        return self.lex.third(verb) if person == "third" else verb

    def verb_group(self, verb: str, person: str) -> list[str]:
        """Tense, aspect, modality and negation around one verb."""
        draw = self.draw
        sort = draw.weighted(
            (("past", 5.0), ("present", 2.4), ("modal", 1.3), ("progressive", 1.2), ("not", 0.9))
        )
        if sort == "modal":
            return [draw.zipf(_MODALS), *(["not"] if draw.chance(0.15) else []), verb]
        if sort == "progressive":
            return [self.be(person, draw.chance(0.6)), self.lex.progressive(verb)]
        if sort == "not":
            present = "does" if person == "third" else "do"
            return ["did" if draw.chance(0.6) else present, "not", verb]
        return [self.finite(verb, person, sort == "past")]

    def predicate(self, person: str) -> list[str]:
        """Everything after the subject."""
        draw = self.draw
        sort = draw.weighted((("does", 5.5), ("acts", 2.2), ("is", 1.6), ("wants", 0.9)))
        if sort == "does":
            words = [*self.verb_group(self.word("does"), person), *self.object()]
            return [*words, *(self.adjunct() if draw.chance(0.45) else [])]
        if sort == "acts":
            words = self.verb_group(self.word("acts"), person)
            return [*words, *(self.adjunct() if draw.chance(0.8) else [])]
        if sort == "wants":
            verb = draw.zipf(self.lex.general["wants"])
            words = [self.finite(verb, person, draw.chance(0.6)), "to", self.word("does")]
            return [*words, *self.object()]
        be = self.be(person, draw.chance(0.5))
        degree = draw.weighted((([], 5.0), (["very"], 1.5), (["not"], 1.2), (["too"], 0.8)))
        return [be, *degree, self.word("qualities"), *(self.place() if draw.chance(0.35) else [])]

    def clause(self) -> list[str]:
        subject = self.subject()
        return [*subject.words, *self.predicate(subject.person)]

    # -- sentences -----------------------------------------------------------------------

    def passive(self) -> list[str]:
        subject = self.noun_phrase("things")
        verb = self.lex.participle(self.word("does"))
        words = [*subject.words, self.be(subject.person, self.draw.chance(0.75)), verb]
        return [*words, *(["by", *self.noun_phrase("people").words])]

    def existence(self) -> list[str]:
        phrase = self.noun_phrase("things")
        be = self.be(phrase.person, self.draw.chance(0.5))
        return ["there", be, *phrase.words, *self.place()]

    def report(self) -> list[str]:
        subject = self.subject()
        verb = self.finite(
            self.draw.zipf(self.lex.general["says"]), subject.person, self.draw.chance(0.6)
        )
        return [*subject.words, verb, "that", *self.clause()]

    def relative(self) -> list[str]:
        subject = self.noun_phrase("people", definite=True)
        verb = self.finite(self.word("does"), subject.person, True)
        return [*subject.words, "who", verb, *self.object(), *self.predicate(subject.person)]

    def question(self) -> list[str]:
        subject = self.subject()
        auxiliary = "did" if self.draw.chance(0.6) else "do"
        if auxiliary == "do" and subject.person == "third":
            auxiliary = "does"
        start = self.draw.weighted((([], 3.0), (["why"], 1.0), (["when"], 0.8), (["where"], 0.8)))
        return [*start, auxiliary, *subject.words, self.word("does"), *self.object()]

    def sentence(self) -> list[str]:
        sort = self.draw.weighted(
            (
                ("clause", 5.0),
                ("joined", 1.6),
                ("subordinate", 1.2),
                ("passive", 0.8),
                ("existence", 0.8),
                ("report", 0.9),
                ("relative", 0.8),
                ("question", 0.6),
            )
        )
        if sort == "joined":
            return [*_pause(self.clause()), self.draw.weighted(_JOINS), *self.clause()]
        if sort == "subordinate":
            first = [self.draw.zipf(_SUBORDINATORS), *self.clause()]
            return [*_pause(first), *self.clause()]
        words: list[str] = getattr(self, sort)()
        return words


def _pause(words: list[str]) -> list[str]:
    return [*words[:-1], words[-1] + ","]


def sentence(seed: int, index: int, part: str = "sentence") -> Sentence:
    """Text number ``index`` of a stream.

    Args:
        seed: of the corpus.
        index: texts of equal (seed, part, index) are equal; others are independent.
        part: name of the stream, so that prompts and sentences differ.
    """
    lex = lexicon()
    draw = Draw(seed, "text", part, index)
    writer = _Writer(draw, lex, draw.one(lex.topics))
    words = writer.sentence()
    while not 4 <= len(words) <= 22:
        words = writer.sentence()
    return Sentence(tuple(words), writer.topic.name)


def sentences(count: int, seed: int = 0) -> list[Sentence]:
    """The first ``count`` texts of a seed: the text side of the corpus without any audio."""
    return [sentence(seed, index) for index in range(count)]


def topic_similarity() -> dict[tuple[str, str], float]:
    """How alike two topics are by construction: 1 the same, 0.5 the same group, else 0."""
    topics = lexicon().topics
    return {
        (a.name, b.name): 1.0 if a is b else (0.5 if a.group == b.group else 0.0)
        for a in topics
        for b in topics
    }


def vocabulary() -> tuple[str, ...]:
    """Every form that the grammar can emit for a content word or general list, sorted."""
    lex = lexicon()
    found = set(lex.topics_of())
    for kind, words in lex.general.items():
        for word in words:
            found.update(word.split("_"))
            if kind in ("says", "wants"):
                found.update((lex.third(word), lex.past(word)))
            if kind in NOUN_KINDS:
                found.add(lex.plural(word))
    for items in (_POSSESSIVES, _PREPOSITIONS, _WITH, _MODALS, _SUBORDINATORS, _OBJECTS):
        found.update(items)
    found.update(word for word, _ in _JOINS)
    found.update(pair[0] for pair, _ in _SUBJECTS)
    found.update(_FUNCTION_WORDS)
    return tuple(sorted(found))
