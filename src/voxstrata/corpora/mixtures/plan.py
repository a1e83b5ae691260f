"""Which speakers and utterances meet in which mixture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voxstrata.corpora.corpus import Corpus
from voxstrata.corpora.mixtures.clips import Clip, clips_of
from voxstrata.corpora.mixtures.config import MixturesConfig
from voxstrata.corpora.mixtures.conversation import LEAD_S, Tally, order, place
from voxstrata.corpora.problems import Problem
from voxstrata.corpora.selection import apportion, groups, rank
from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.errors import AudioError, LabelError, UsageError
from voxstrata.types import Utterance

SHARES = {"train": 0.6, "dev": 0.2, "test": 0.2}
TWO = 2


@dataclass(frozen=True)
class Planned:
    """One mixture.

    Attributes:
        number: from 0.
        part: "train", "dev" or "test".
        speakers: the two.
        clips: what is said, in order of time.
        starts_s: when each clip (with its margin) begins; may be a little below 0 for the first.
        levels_db: level of each clip's speech, dB of full scale.
        duration_s: of the mixture.
    """

    number: int
    part: str
    speakers: tuple[str, str]
    clips: tuple[Clip, ...]
    starts_s: tuple[float, ...]
    levels_db: tuple[float, ...]
    duration_s: float


LEVEL_DB = -25.0
"""Level of speech in a mixture, before its two speakers are set apart: root mean square against
full scale."""


def speakers_by_part(names: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Speakers of each part, none in two.

    Raises:
        UsageError: fewer than six.
    """
    if len(names) < TWO * len(SHARES):
        raise UsageError(
            "too few speakers for mixtures of two, with other speakers in train, dev and test",
            got=f"{len(names)} speakers",
            expected=f"at least {TWO * len(SHARES)}",
            fix="use a corpus of more speakers",
        )
    ranked = sorted(names, key=lambda name: rank(name, seed, "mixtures"))
    counts = apportion(len(ranked), SHARES)
    for part in SHARES:
        while counts[part] < TWO:
            largest = max(counts, key=lambda p: counts[p])
            counts[part], counts[largest] = counts[part] + 1, counts[largest] - 1
    found, at = {}, 0
    for part, count in counts.items():
        found[part] = ranked[at : at + count]
        at += count
    return found


def pairs(names: Sequence[str], seed: int) -> Iterator[tuple[str, str]]:
    """Pairs of speakers without end; all speakers come as often as each other, to within one, where
    their number is even."""
    for turn in itertools.count():
        mixed = Draw(seed, "mixtures", "pairs", turn, *names).shuffled(names)
        for i in range(0, len(mixed) - 1, TWO):
            yield mixed[i], mixed[i + 1]


class Voice:
    """What one speaker says, utterance after utterance, again and again.

    Args:
        name: of the speaker.
        utterances: recordings.
        config: settings.
        problems: filled with recordings that cannot be used.
    """

    def __init__(
        self,
        name: str,
        utterances: Sequence[Utterance],
        config: MixturesConfig,
        problems: list[Problem],
    ) -> None:
        found: list[Clip] = []
        for utterance in utterances:
            try:
                mine = list(clips_of(utterance, name, config.longest))
            except AudioError as error:
                problems.append(
                    Problem(utterance.id, "", f"not mixed: {error}", "error", error.fix, "decode")
                )
                continue
            if not mine:
                what = "not mixed: nothing of 0.1 s or more is said in it"
                problems.append(Problem(utterance.id, "", what, "error", "leave it out", "silent"))
            found += mine
        self.clips = Draw(config.seed, "mixtures", "voice", name).shuffled(found)
        self._at = 0

    def take(self, count: int) -> list[Clip]:
        """The next utterances, different ones; ``count`` is at most what there is."""
        at = [(self._at + i) % len(self.clips) for i in range(count)]
        self._at += count
        return [self.clips[i] for i in at]


def plan(config: MixturesConfig, corpus: Corpus, problems: list[Problem]) -> Iterator[Planned]:
    """All mixtures of a corpus, train first.

    Args:
        config: settings.
        corpus: recordings of one speaker each.
        problems: filled with recordings that cannot be used.

    Raises:
        LabelError: a recording has no speaker.
        UsageError: there are too few speakers, or one of them says nothing.
    """
    lacking = [u.id for u in corpus.utterances if u.tiers.get("speaker") is None]
    if lacking:
        raise LabelError(
            f"{len(lacking)} of {len(corpus)} recordings name no speaker, so they cannot be mixed",
            got=", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else ""),
            expected="recordings of one speaker each, with the tier 'speaker'",
            fix='add "speaker" to the lines of the manifest; in a folder of audio it is the first '
            "sub-folder",
        )
    held = groups(corpus.utterances, "speaker")
    counts = apportion(config.count, SHARES)
    number = 0
    for part, names in speakers_by_part(sorted(held), config.seed).items():
        names = names[: TWO * counts[part]]
        # No more recordings are looked at than can be used: corpora may be large.
        most = config.turns * -(-TWO * counts[part] // len(names))
        voices: dict[str, Voice] = {}
        meet, tally = pairs(names, config.seed), Tally()
        for _ in range(counts[part]):
            two = next(meet)
            for name in two:
                if name not in voices:
                    mine = [corpus.utterances[i] for i in held[name]]
                    mine.sort(key=lambda u: rank(u.id, config.seed, "mixtures"))
                    voices[name] = Voice(name, mine[:most], config, problems)
                    _need_speech(name, voices[name], len(mine[:most]))
            yield _mixture(number, part, two, [voices[name] for name in two], config, tally)
            number += 1


def _need_speech(name: str, voice: Voice, recordings: int) -> None:
    if not voice.clips:
        raise UsageError(
            f"speaker {name} says nothing that could be mixed",
            got=f"no speech of 0.1 s or more in {recordings} recording(s)",
            fix="leave this speaker out of the corpus, or correct its tiers `words` and `phones`",
        )


def _mixture(
    number: int,
    part: str,
    two: tuple[str, str],
    voices: Sequence[Voice],
    config: MixturesConfig,
    tally: Tally,
) -> Planned:
    draw = Draw(config.seed, "mixtures", number)
    who = order(config.turns, [len(voice.clips) for voice in voices], draw)
    taken = [iter(voice.take(who.count(i))) for i, voice in enumerate(voices)]
    clips = [next(taken[i]) for i in who]
    begins = place(who, [clip.length_s for clip in clips], config.overlap, tally, draw)
    apart = draw.between(-config.level, config.level) / 2
    ends = [begin + clip.length_s for begin, clip in zip(begins, clips, strict=True)]
    return Planned(
        number=number,
        part=part,
        speakers=two,
        clips=tuple(clips),
        starts_s=tuple(b - clip.voice_s[0] for b, clip in zip(begins, clips, strict=True)),
        levels_db=tuple(LEVEL_DB + (apart if i == 0 else -apart) for i in who),
        duration_s=max(ends) + draw.between(*LEAD_S),
    )
