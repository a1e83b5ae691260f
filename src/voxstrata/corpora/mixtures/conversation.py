"""Who speaks after whom, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.corpora.synthetic.draw import Draw

GOES_ON = 0.3
"""Chance that the speaker of an utterance has the next one too. Were it 0, telling the speakers
apart would need no more than finding the beginnings of utterances."""

BREATH_S = (0.3, 0.8)
"""Pause between two utterances of one speaker."""

GAP_S = (0.05, 0.6)
"""Pause between utterances of two speakers that do not overlap."""

LEAD_S = (0.1, 0.4)
"""Before the first utterance, and after the last."""

SHORTEST_OVERLAP_S = 0.1
MOST = 0.9
"""An overlap takes at most this share of either utterance, so that it begins in the one and ends
in the other."""


@dataclass
class Tally:
    """Speech so far, over mixtures.

    Attributes:
        speech_s: in which somebody speaks.
        both_s: in which both do.
    """

    speech_s: float = 0.0
    both_s: float = 0.0


def order(turns: int, available: Sequence[int], draw: Draw) -> list[int]:
    """Speakers (0 or 1) of the utterances of a mixture; both speak.

    Args:
        turns: utterances wanted, at least 2.
        available: utterances that each speaker has, at least 1.
        draw: chances.

    Returns:
        at most ``turns`` numbers; fewer where both speakers have said all they have.
    """
    left = list(available)
    who = draw.integer(2)
    found: list[int] = []
    while len(found) < turns and any(left):
        if found:
            who = found[-1] if draw.chance(GOES_ON) else 1 - found[-1]
            if len(found) == turns - 1 and len(set(found)) == 1:
                who = 1 - found[-1]
        if not left[who]:
            who = 1 - who
        left[who] -= 1
        found.append(who)
    return found


def place(
    speakers: Sequence[int],
    lengths_s: Sequence[float],
    overlap: float,
    tally: Tally,
    draw: Draw,
) -> list[float]:
    """When each utterance begins.

    An utterance overlaps with the one before, of the other speaker, and with no other; nobody
    overlaps with themself. How long is drawn around what brings the overlap so far to its share.

    Args:
        speakers: of the utterances, in order.
        lengths_s: of their speech.
        overlap: share of the time with speech in which both speak.
        tally: of the mixtures before; this one is added.
        draw: chances.

    Returns:
        seconds at which the speech of each begins.
    """
    begins: list[float] = []
    ends = [0.0, 0.0]
    for i, (who, length) in enumerate(zip(speakers, lengths_s, strict=True)):
        shared = 0.0
        if i == 0:
            begin = draw.between(*LEAD_S)
        elif who == speakers[i - 1]:
            begin = ends[who] + draw.between(*BREATH_S)
        else:
            other = ends[1 - who]
            free = ends[who] + BREATH_S[0] if who in speakers[:i] else 0.0
            needed = (overlap * (tally.speech_s + length) - tally.both_s) / (1 + overlap)
            most = min(MOST * length, MOST * lengths_s[i - 1], other - free)
            shared = min(needed * draw.between(0.0, 2.0), most)
            gap = draw.between(*GAP_S)
            if shared < SHORTEST_OVERLAP_S:
                shared = 0.0
                begin = max(other + gap, free)
            else:
                begin = other - shared
        begins.append(begin)
        ends[who] = begin + length
        tally.speech_s += length - shared
        tally.both_s += shared
    return begins
