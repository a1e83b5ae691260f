"""Spoken commands with intent and slots, and keywords."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.corpora.synthetic.lexicon import article

KEYWORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "zero", "one",
    "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip

_SLOTS: dict[str, tuple[str, ...]] = {
    "action": ("on", "off"),
    "device": ("lights", "lamp", "heating", "fan", "radio", "television", "oven", "alarm"),
    "room": ("kitchen", "bedroom", "bathroom", "hallway", "garden", "office", "garage"),
    "direction": ("up", "down"),
    "quantity": ("volume", "temperature", "brightness", "music"),
    "amount": ("a little", "a lot", "by half", "by ten percent", "by two steps"),
    "genre": ("jazz", "rock", "classical music", "folk songs", "the news", "a podcast"),
    "artist": ("anna and the wolves", "the paper boats", "victor stone", "the quiet hour"),
    "person": ("anna", "peter", "clara", "david", "my mother", "my brother", "the doctor"),
    "phone": ("mobile", "home", "work"),
    "hour": ("six", "seven", "half past eight", "nine", "ten", "noon", "midnight"),
    "day": ("today", "tomorrow", "on monday", "on friday", "this evening"),
    "drink": ("coffee", "tea", "espresso", "hot chocolate", "lemonade"),
    "size": ("small", "medium", "large"),
    "extra": ("milk", "sugar", "cream", "two sugars", "lemon"),
    "place": ("london", "boston", "the airport", "the station", "the museum", "the beach"),
    "city": ("london", "boston", "paris", "dublin", "sydney"),
    "vehicle": ("car", "bus", "train", "bicycle"),
}

# Words in braces are slots; <a> is a or an; each intent has its own phrasings.
_INTENTS: dict[str, tuple[str, ...]] = {
    "switch_device": (
        "turn {action} the {device} in the {room}",
        "switch the {device} {action}",
        "please turn the {room} {device} {action}",
        "could you switch {action} the {device}",
    ),
    "change_level": (
        "turn the {quantity} {direction} {amount}",
        "turn {direction} the {quantity} in the {room}",
        "i want the {quantity} {direction} {amount}",
    ),
    "play_audio": (
        "play {genre} in the {room}",
        "play some songs by {artist}",
        "please put {genre} on",
        "i would like to hear {genre}",
    ),
    "call_person": (
        "call {person}",
        "call {person} at {phone}",
        "please ring {person} {day}",
    ),
    "set_alarm": (
        "set an alarm for {hour} {day}",
        "wake me at {hour}",
        "remind me {day} at {hour}",
    ),
    "order_drink": (
        "can i have <a> {size} {drink} with {extra}",
        "one {size} {drink} please",
        "make me <a> {drink} with {extra}",
    ),
    "ask_weather": (
        "what is the weather like {day}",
        "will it rain in {city} {day}",
        "is it cold in {city}",
    ),
    "find_route": (
        "how do i get to {place} by {vehicle}",
        "take me to {place}",
        "when is the next {vehicle} to {place}",
    ),
}


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: lower-case tokens.
        intent: what is asked for.
        slots: the values in it.
    """

    words: tuple[str, ...]
    intent: str
    slots: Mapping[str, str] = field(default_factory=dict)


def command(seed: int, index: int) -> Command:
    """Command number ``index`` of a seed; intents come in turn, phrasing and values by draw."""
    draw = Draw(seed, "command", index)
    intents = list(_INTENTS)
    intent = intents[index % len(intents)]
    pattern = draw.one(_INTENTS[intent])
    slots: dict[str, str] = {}
    for name, values in _SLOTS.items():
        if f"{{{name}}}" in pattern:
            slots[name] = draw.one(values)
    words = pattern.format_map(slots).split()
    for place, word in enumerate(words):
        if word == "<a>":
            words[place] = article(words[place + 1])
    return Command(tuple(words), intent, slots)


def vocabulary() -> tuple[str, ...]:
    """Every word of keywords and commands, sorted."""
    found = set(KEYWORDS)
    for values in _SLOTS.values():
        found.update(word for value in values for word in value.split())
    for patterns in _INTENTS.values():
        for pattern in patterns:
            found.update(w for w in pattern.split() if not w.startswith(("{", "<")))
    return tuple(sorted(found | {"a", "an"}))
