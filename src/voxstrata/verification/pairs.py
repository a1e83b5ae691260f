"""Trials made from a corpus: every pair of its recordings, perhaps fewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora.selection import groups
from voxstrata.errors import UsageError
from voxstrata.types import Utterance
from voxstrata.verification.trials import Trials

MOST = 25_000_000
"""Pairs that are ever listed (7,000 recordings): scores, their order and their curve take about
sixty bytes each."""


def all_pairs(
    utterances: Sequence[Utterance],
    *,
    same_gender: bool = False,
    session: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    source: str = "all pairs",
) -> Trials:
    """Every unordered pair of recordings, each once.

    Args:
        utterances: the corpus, with the tier ``speaker`` on each.
        same_gender: leave out pairs across values of the tier ``gender``: impostors of the same
            gender are the harder ones.
        session: a tier such as "chapter" or "video"; target pairs of one session are left out,
            since what they share may be the channel.
        limit: keep a seeded sample of at most this many, with the shares of target and
            non-target pairs as they are (at least one of each).
        seed: of the sample.
        source: name for the record.

    Raises:
        LabelError: recordings lack a tier that is needed.
        UsageError: there are too many pairs, a kind of trials is missing, or the limit is below 2.
    """
    size = len(utterances)
    if size * (size - 1) // 2 > MOST:
        raise UsageError(
            "there are too many pairs of recordings",
            got=f"{size:,} recordings, {size * (size - 1) // 2:,} pairs",
            expected=f"at most {MOST:,} pairs",
            fix="give a smaller part of the corpus (--limit 5000), or a trial list (--trials)",
        )
    if limit is not None and limit < 2:
        raise UsageError("a limit on trials", got=limit, expected="2 or more")
    speaker = codes(utterances, "speaker")
    first, second = (side.astype(np.int32) for side in np.triu_indices(size, 1))
    target = speaker[first] == speaker[second]
    keep = np.ones(len(target), dtype=bool)
    if same_gender:
        gender = codes(utterances, "gender")
        keep &= target | (gender[first] == gender[second])
    if session is not None:
        where = codes(utterances, session)
        keep &= ~(target & (where[first] == where[second]))
    ids = tuple(utterance.id for utterance in utterances)
    trials = Trials(ids, first, second, target, source)
    trials.need_both_kinds()
    if not keep.all():
        trials = trials.keep(keep)
        asked = ["--same-gender"] if same_gender else []
        asked += [f"--cross-session {session}"] if session is not None else []
        trials.need_both_kinds(f"drop {' or '.join(asked)}: it leaves too little of this corpus")
    if limit is not None and limit < len(trials):
        trials = trials.keep(_sample(trials.target, limit, seed))
    return trials


def codes(utterances: Sequence[Utterance], tier: str) -> NDArray[np.int64]:
    """A number for each value of a tier, [N].

    Raises:
        LabelError: some recordings lack it; all are counted.
    """
    found = np.zeros(len(utterances), dtype=np.int64)
    for code, members in enumerate(groups(utterances, tier).values()):
        found[members] = code
    return found


def _sample(target: NDArray[np.bool_], limit: int, seed: int) -> NDArray[np.int64]:
    share = target.mean()
    targets = min(max(1, round(limit * share)), limit - 1)
    rng = np.random.default_rng(seed)
    parts = [
        rng.choice(np.flatnonzero(kind), min(count, int(kind.sum())), replace=False)
        for kind, count in ((target, targets), (~target, limit - targets))
    ]
    return np.sort(np.concatenate(parts))
