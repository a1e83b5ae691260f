"""Who says what, how and where: the whole corpus as a list, before any sound is made.

Texts are numbered and drawn from the seed alone. Speakers get them by a seeded deal in which
every text goes to at least ``readings`` different speakers; channels are dealt to each speaker
from his own shuffled deck of all of them. So neither text nor channel predicts the speaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voxstrata.corpora.synthetic import commands
from voxstrata.corpora.synthetic.channel import NOISES as NOISE_RANGES
from voxstrata.corpora.synthetic.channel import Channel, Setting, channels
from voxstrata.corpora.synthetic.config import SyntheticConfig
from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.corpora.synthetic.engine import Prosody
from voxstrata.corpora.synthetic.grammar import sentence
from voxstrata.corpora.synthetic.voices import Voice, voices

Part = Literal["sentence", "prompt", "keyword", "command"]
PARTS: tuple[Part, ...] = ("sentence", "prompt", "keyword", "command")


@dataclass(frozen=True)
class Reading:
    """A text as it stands in the plan.

    Attributes:
        words: tokens, an ending comma for a pause.
        labels: the tiers that come with the text (topic, prompt, keyword, intent, slots).
    """

    words: tuple[str, ...]
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """One utterance to be made.

    Attributes:
        id: unique in the corpus.
        part: which part of the corpus it belongs to.
        voice: the speaker.
        reading: what is said.
        prosody: how.
        setting: channel and levels.
        lead_s: silence before, seconds.
        tail_s: silence after, seconds.
        seed: of the breath noise.
    """

    id: str
    part: Part
    voice: Voice
    reading: Reading
    prosody: Prosody
    setting: Setting
    lead_s: float
    tail_s: float
    seed: int


def plan(config: SyntheticConfig) -> list[Planned]:
    """Every utterance of a corpus, ordered by speaker and then by part."""
    speakers = voices(config.speakers, config.seed, config.accents)
    offered = channels(config.channels, config.seed)
    deals = {part: _deal(config, part) for part in PARTS}
    planned: list[Planned] = []
    for number, voice in enumerate(speakers):
        deck: list[Channel] = []
        draw = Draw(config.seed, "speaker", number)
        for part, deal in deals.items():
            for index, reading in enumerate(deal[number]):
                if not deck:
                    deck = draw.shuffled(offered)
                name = f"{voice.name}-{part}-{index:04d}"
                planned.append(_utterance(config.seed, name, part, voice, reading, deck.pop()))
    return planned


def _utterance(
    seed: int, name: str, part: Part, voice: Voice, reading: Reading, channel: Channel
) -> Planned:
    draw = Draw(seed, "utterance", name)
    prosody = Prosody(
        rate=round(voice.rate * draw.between(0.8, 1.25)),
        pitch=round(draw.between(42, 58)),
        range=round(draw.between(35, 65)),
    )
    setting = Setting(
        channel=channel,
        snr_db=round(draw.between(*NOISE_RANGES[channel.noise]), 1),
        level_db=round(draw.between(-29, -22), 1),
        noise_start=draw.unit(),
    )
    return Planned(
        id=name,
        part=part,
        voice=voice,
        reading=reading,
        prosody=prosody,
        setting=setting,
        lead_s=draw.between(0.12, 0.4),
        tail_s=draw.between(0.12, 0.4),
        seed=draw.integer(2**31 - 1),
    )


def _deal(config: SyntheticConfig, part: Part) -> list[list[Reading]]:
    """For each speaker, the texts of one part."""
    seed, count = config.seed, config.speakers
    if part == "prompt":
        texts = [sentence(seed, i, "prompt") for i in range(config.prompts)]
        every = [
            Reading(t.words, {"topic": t.topic, "prompt": f"p{i:03d}"}) for i, t in enumerate(texts)
        ]
        return [every] * count
    each: int = getattr(config, f"{part}s")
    # Keywords are few and always shared; other texts as many as their readings allow.
    pool = count * each // min(config.readings, count) or 1
    if part == "keyword":
        pool = len(commands.KEYWORDS)
    order = _cards(Draw(seed, "deal", part), pool, count, each)
    return [[_reading(seed, part, card) for card in hand] for hand in order]


def _reading(seed: int, part: Part, index: int) -> Reading:
    if part == "sentence":
        text = sentence(seed, index)
        return Reading(text.words, {"topic": text.topic})
    if part == "command":
        asked = commands.command(seed, index)
        return Reading(asked.words, {"intent": asked.intent, "slots": dict(asked.slots)})
    word = commands.KEYWORDS[index]
    return Reading((word,), {"keyword": word})


def _cards(draw: Draw, pool: int, speakers: int, each: int) -> list[list[int]]:
    """Deal cards 0 .. pool-1, over and over, so that nobody gets one twice if it can be helped.

    Every round of the pool is shuffled anew; a speaker passes over a card that he has, and it
    waits for the next one.
    """
    hands: list[list[int]] = [[] for _ in range(speakers)]
    deck: list[int] = []
    for _ in range(each):
        # A new order of speakers each turn, so that no two share a run of texts.
        for speaker in draw.shuffled(range(speakers)):
            hand = hands[speaker]
            place = next((i for i, card in enumerate(deck) if card not in hand), None)
            if place is None:
                fresh = draw.shuffled(range(pool))
                place = next(
                    (len(deck) + i for i, card in enumerate(fresh) if card not in hand),
                    len(deck),
                )
                deck.extend(fresh)
            hand.append(deck.pop(place))
    return hands
