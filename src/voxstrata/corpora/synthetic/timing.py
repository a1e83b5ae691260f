"""From synthesis events to word and phone spans, to the sample.

espeak-ng reports where each word and each phoneme begins. Four of its habits are undone:

* The silence it plans before a consonant (the closure of a stop) comes before that phoneme's
  event. It is exact digital silence, so it is found in the samples and given to the consonant,
  never across a word's beginning.
* A palatal on-glide (``;``) is reported as a phoneme of the word before; it joins the vowel
  that it leads to.
* An L after a vowel may be rendered wholly within the vowel's last frames; its event then has no
  samples of its own, and it gets the last ``_COLOURED`` of the span that holds both.
* Some pairs of words ("of the") are spoken from one dictionary entry with one word event.
  :func:`speak` keeps them apart with a zero-width space instead of the space between them.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxstrata.corpora.synthetic import phonemes
from voxstrata.corpora.synthetic.engine import Engine, Event, Prosody
from voxstrata.errors import LabelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Span = tuple[int, int, str]
"""Start, end (samples at the engine's rate) and label."""

_ZERO_WIDTH_SPACE = "\u200b"
_SHORTEST_CLOSURE = 64  # samples; shorter runs of zeros happen by chance
_CLOSURE = bytes(2 * _SHORTEST_CLOSURE)
_SHORTEST_PHONE = 64  # samples; espeak-ng's own step, so what is shorter was not rendered
_COLOURED = 0.4

_PAIRS = frozenset(
    pair
    for first, seconds in {
        "of": "the",
        "in": "the",
        "on": "the",
        "for": "the a",
        "from": "the",
        "with": "the",
        "that": "the a it one",
        "there": "was are were",
        "do": "not",
        "did": "not",
        "does": "not",
    }.items()
    for pair in ((first, second) for second in seconds.split())
)


@dataclass(frozen=True)
class Speech:
    """A spoken text with its spans.

    Attributes:
        samples: int16 at ``ENGINE_RATE``, without silence before or after.
        words: one span a word, in order.
        phones: ARPAbet and ``SIL``, covering every sample.
        ipa: the same in IPA, one span a phoneme of espeak-ng.
    """

    samples: NDArray[np.int16]
    words: list[Span]
    phones: list[Span]
    ipa: list[Span]


def speak(
    engine: Engine,
    voice: str,
    accent: str,
    words: Sequence[str],
    prosody: Prosody,
    seed: int = 0,
) -> Speech:
    """Speak words and find their spans.

    Args:
        engine: an open engine that has the voice.
        voice: name of the voice.
        accent: the voice's accent.
        words: lower-case words; an ending comma asks for a pause.
        prosody: rate, pitch, range, volume.
        seed: of the breath noise.

    Raises:
        LabelError: espeak-ng does not report every word, or speaks an unknown phoneme.
    """
    apart = [pair in _PAIRS for pair in itertools.pairwise(words)]
    for _ in range(len(words)):
        text, starts = _text(words, apart)
        samples, events = engine.say(voice, text, prosody, seed)
        heard = {_owner(starts, e.position) for e in events if e.kind == "word"}
        lost = [i for i in range(len(words)) if i not in heard]
        if not lost:
            return _spans(samples, events, words, starts, accent)
        fresh = [i - 1 for i in lost if i > 0 and not apart[i - 1]]
        if not fresh:
            break
        # The first one only: splitting it may change what follows.
        apart[fresh[0]] = True
    raise LabelError(
        "espeak-ng did not report every word",
        got=f"no event for {[words[i] for i in lost]} in {' '.join(words)!r}",
        expected="one event a word",
        fix="write the word without digits, hyphens or symbols",
    )


def _text(words: Sequence[str], apart: Sequence[bool]) -> tuple[str, list[int]]:
    text, starts = "", []
    for index, word in enumerate(words):
        if index:
            text += _ZERO_WIDTH_SPACE if apart[index - 1] else " "
        starts.append(len(text))
        text += word
    return text, starts


def _owner(starts: Sequence[int], position: int) -> int:
    return max(0, bisect.bisect_right(starts, position) - 1)


@dataclass(slots=True)
class _Piece:
    start: int
    name: str
    word: int


def _pieces(
    samples: NDArray[np.int16], events: Sequence[Event], starts: Sequence[int]
) -> list[_Piece]:
    """Phonemes with corrected starts and the word each belongs to."""
    raw = samples.tobytes()
    pieces: list[_Piece] = []
    word, floor, glide = 0, 0, None
    for event in events:
        if event.kind == "word":
            word = _owner(starts, event.position)
            floor = event.sample
            continue
        if phonemes.joins_next(event.name):
            glide = event.sample
            continue
        start = event.sample
        if glide is not None:
            start, glide = max(glide, floor), None
        elif not phonemes.is_pause(event.name) and raw.endswith(_CLOSURE, 0, 2 * start):
            # A small sample's upper byte may be zero too, hence the rounding up.
            start = floor + (len(raw[2 * floor : 2 * start].rstrip(b"\0")) + 1) // 2
        pieces.append(_Piece(start, event.name, word))
        floor = max(floor, event.sample)
    return _separate(pieces, len(samples))


def _separate(pieces: list[_Piece], total: int) -> list[_Piece]:
    """Give a phoneme without samples its share of the one before it."""
    for index in range(1, len(pieces)):
        piece, before = pieces[index], pieces[index - 1]
        end = pieces[index + 1].start if index + 1 < len(pieces) else total
        if end - piece.start >= _SHORTEST_PHONE or phonemes.is_pause(piece.name):
            continue
        if phonemes.is_pause(before.name) or before.word != piece.word:
            raise LabelError(
                "espeak-ng gave a phoneme no time",
                got=f"{piece.name!r} after {before.name!r}, {end - piece.start} samples",
                expected=f"at least {_SHORTEST_PHONE}, or a vowel before it in the same word",
            )
        piece.start = end - round(_COLOURED * (end - before.start))
    return pieces


def _spans(
    samples: NDArray[np.int16],
    events: Sequence[Event],
    words: Sequence[str],
    starts: Sequence[int],
    accent: str,
) -> Speech:
    pieces = _pieces(samples, events, starts)
    ends = [piece.start for piece in pieces[1:]] + [len(samples)]
    phones: list[Span] = []
    ipa: list[Span] = []
    bounds: dict[int, tuple[int, int]] = {}
    for index, (piece, end) in enumerate(zip(pieces, ends, strict=True)):
        start = piece.start if index else 0
        if phonemes.is_pause(piece.name):
            if end > start:
                _silence(phones, start, end)
                _silence(ipa, start, end)
            continue
        after = pieces[index + 1] if index + 1 < len(pieces) else piece
        following = after.name if after is not piece and after.word == piece.word else ""
        label = phonemes.label(piece.name, accent, following)
        ipa.append((start, end, label.ipa))
        if len(label.arpabet) == 1:
            phones.append((start, end, label.arpabet[0]))
        else:
            middle = start + round(label.share * (end - start))
            phones.append((start, middle, label.arpabet[0]))
            phones.append((middle, end, label.arpabet[1]))
        first = bounds.get(piece.word, (start, end))[0]
        bounds[piece.word] = (first, end)
    missing = [words[i] for i in range(len(words)) if i not in bounds]
    if missing:
        raise LabelError(
            "espeak-ng spoke no phoneme for a word",
            got=f"{missing} in {' '.join(words)!r}",
            expected="at least one phoneme a word",
        )
    spans = [(*bounds[i], words[i].rstrip(",")) for i in range(len(words))]
    return Speech(samples, spans, phones, ipa)


def _silence(spans: list[Span], start: int, end: int) -> None:
    """Append silence, joined to silence just before it."""
    if spans and spans[-1][2] == phonemes.SILENCE:
        start = spans.pop()[0]
    spans.append((start, end, phonemes.SILENCE))
