"""Speaker models are better at who speaks and worse at what is said (A2024, Table 1)."""

from __future__ import annotations

from typing import Any

from voxstrata.report.words import counted
from voxstrata.studies.claims.ashihara import PAPER
from voxstrata.studies.claims.claim import Claimed
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.scores import CONTENT, SPEAKER, Sides, compared, pair_table


def speaker_against_speech(evidence: Evidence) -> Claimed:
    """Speaker models beat WavLM in SID and ASV and lose in PR, ASR, IC, SF and KS.

    An effect a task: the mean over pairs of models of the difference
    (:func:`~voxstrata.studies.claims.scores.compared`). Where no model plays "wavlm", those that
    play "speech" stand for it.
    """
    wavlm = evidence.role("wavlm")
    sides = Sides(
        "speaker models",
        evidence.role("speaker"),
        "WavLM" if wavlm or not evidence.role("speech") else "speech SSL models",
        wavlm or evidence.role("speech"),
    )
    lines = pair_table(evidence, (*SPEAKER, *CONTENT), sides)
    return Claimed(
        name="speaker-against-speech",
        title="Speaker models know better who speaks, WavLM what is said",
        paper=f"{PAPER}, Table 1: speaker models beat WavLM in SID and ASV and lose in PR, ASR, "
        "IC, SF and KS.",
        effects=(
            *(compared(evidence, name, sides) for name in SPEAKER),
            *(compared(evidence, name, sides, -1) for name in CONTENT),
        ),
        found=tuple(_tally(title, lines) for title in dict.fromkeys(x["task"] for x in lines)),
        tables={"Every pair of models": lines} if lines else {},
    )


def _tally(title: str, lines: list[dict[str, Any]]) -> str:
    """ "SID: of 2 pairs of models the speaker model is better in 2, worse in 0, ..."."""
    mine = [line["interval"] for line in lines if line["task"] == title]
    rest = len(mine) - mine.count("above 0") - mine.count("below 0")
    return (
        f"{title}: of {counted(len(mine), 'pair')} of models the speaker model is better in "
        f"{mine.count('above 0')}, worse in {mine.count('below 0')} and not told apart in {rest}."
    )
