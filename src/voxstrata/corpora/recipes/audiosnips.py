"""Audio SNIPS: spoken requests with intent and slots (lhotse has no recipe).

Layout and speaker lists are those of SUPERB's slot filling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import find_root, read_lines, tree_files
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import CorpusError

SPLITS = ("train", "valid", "test")
SPEAKERS = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
VOICES = {
    **dict.fromkeys(("Ivy", "Joanna", "Kendra", "Kimberly", "Salli"), ("F", "en-US")),
    **dict.fromkeys(("Joey", "Justin", "Matthew"), ("M", "en-US")),
    "Aditi": ("F", "en-IN"),
    "Raveena": ("F", "en-IN"),
    "Amy": ("F", "en-GB"),
    "Emma": ("F", "en-GB"),
    "Brian": ("M", "en-GB"),
    "Geraint": ("M", "en-GB-WLS"),
    "Nicole": ("F", "en-AU"),
    "Russell": ("M", "en-AU"),
}
"""Gender and accent of the sixteen Amazon Polly voices."""
LIST = "all.iob.snips.txt"
LAYOUT = (
    f"a folder with {LIST}, train/, valid/ and test/ holding SPEAKER-snips-SPLIT-N.wav "
    "(SNIPS/ after SUPERB's preparation)"
)


@dataclass(frozen=True)
class Labels:
    """Labels of one request.

    Attributes:
        text: its words, as listed.
        intent: its intent, empty where the line has none.
        slots: value by slot name; values of a slot that occurs twice are joined by " ; ".
        tagged: the words with ``B-slot`` and ``E-slot`` around each value, as SUPERB's target
            (upper case, punctuation left out, ``&`` read "AND").
    """

    text: str
    intent: str
    slots: dict[str, str]
    tagged: str


def parse_line(line: str) -> tuple[str, Labels]:
    """One line of ``all.iob.snips.txt``: ``ID BOS word ... EOS<tab>O tag ... INTENT``.

    Tags may have the prefixes ``B-`` and ``I-``, or be bare slot names (then neighbours of one
    name are one value, as SUPERB takes them).

    Raises:
        CorpusError: there is no tab, or the numbers of words and tags differ.
    """
    left, tab, right = line.partition("\t")
    id, _, sentence = left.strip().partition(" ")
    words = sentence.split()
    tags = right.split()
    if words[:1] == ["BOS"]:
        words, tags = words[1:], tags[1:]
    if words[-1:] == ["EOS"]:
        words = words[:-1]
    intent = tags[-1] if len(tags) == len(words) + 1 else ""
    if intent:
        tags = tags[:-1]
    if not tab or not words or len(words) != len(tags):
        raise CorpusError(f"line of {id or '?'}: {len(words)} words, {len(tags)} tags")
    values: dict[str, list[str]] = {}
    tagged: list[str] = []
    for number, (word, tag) in enumerate(zip(words, tags, strict=True)):
        slot = re.sub(r"^[BI]-", "", tag)
        before = tags[number - 1] if number else "O"
        after = tags[number + 1] if number + 1 < len(tags) else "O"
        inside = slot != "O"
        starts = inside and (tag.startswith("B-") or re.sub(r"^[BI]-", "", before) != slot)
        ends = inside and (after.startswith("B-") or re.sub(r"^[BI]-", "", after) != slot)
        if starts:
            values.setdefault(slot, []).append(word)
            tagged.append(f"B-{slot}")
        elif inside:
            values[slot][-1] += f" {word}"
        if word not in ("?", "!", ".", ",", ";", "-"):
            tagged.append("AND" if word == "&" else word.upper())
        if ends:
            tagged.append(f"E-{slot}")
    slots = {slot: " ; ".join(found) for slot, found in values.items()}
    return id, Labels(" ".join(words), intent, slots, " ".join(tagged))


class AudioSnips:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "audiosnips"
    title = "Audio SNIPS"
    licence = "see LICENSE at its home page"
    homepage = "https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding"
    summary = "spoken requests with intent and slots"
    parts: tuple[str, ...] = (*SPLITS, *(f"{split}-all" for split in SPLITS))
    on_request: tuple[str, ...] = tuple(f"{split}-all" for split in SPLITS)
    tiers: tuple[str, ...] = (
        "speaker",
        "gender",
        "accent",
        "text",
        "language",
        "intent",
        "slots",
        "text_slots",
    )

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare SUPERB's splits (disjoint speakers); ``-all`` parts only when asked for."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: (place / LIST).is_file(),
            corpus=self.title,
            layout=LAYOUT,
            names=("SNIPS",),
        )
        job.details = {"root": str(root)}
        labels = self._labels(job, root / LIST)
        for split in SPLITS:
            wanted = [part for part in (split, f"{split}-all") if job.wants(part)]
            if not wanted:
                continue
            if not (root / split).is_dir():
                job.problem(root / split, "this split is missing")
                continue
            rows = list(self._rows(job, root / split, labels))
            for part in wanted:
                some = [r for r in rows if r.tiers["speaker"] in SPEAKERS[split]]
                job.write(part, some if part == split else rows)
            self._missing(job, root / split, labels, {row.id for row in rows})
        return job.finish(LAYOUT)

    def _labels(self, job: Job, path: Path) -> dict[str, Labels]:
        found = {}
        for line in read_lines(path):
            try:
                id, labels = parse_line(line)
            except CorpusError as error:
                job.problem(path, f"ignored: {error.what}")
                continue
            found[id] = labels
        return found

    def _rows(self, job: Job, place: Path, labels: dict[str, Labels]) -> Iterator[Row]:
        seen: set[str] = set()
        for path in tree_files(place, (".wav", ".flac", ".mp3"), job.problem):
            id = path.stem
            known = labels.get(id)
            if known is None:
                job.problem(path, f"{id} left out: no line in {LIST}")
                continue
            if id in seen:
                # The archive's mp3 may lie beside the wav that SUPERB's preparation made.
                continue
            seen.add(id)
            speaker = id.split("-")[0]
            sex, accent = VOICES.get(speaker, (None, None))
            if speaker not in VOICES:
                job.problem(place, f"{speaker} is not one of the sixteen voices")
            tiers: dict[str, Any] = {
                "speaker": speaker,
                "gender": sex,
                "accent": accent,
                "text": known.text,
                "language": "English",
                "intent": known.intent,
                "slots": known.slots,
                "text_slots": known.tagged,
            }
            better = path.with_suffix(".wav")
            yield Row(id, better if better.is_file() else path, tiers)

    def _missing(self, job: Job, place: Path, labels: dict[str, Labels], here: set[str]) -> None:
        mark = f"-snips-{place.name}-"
        lost = sorted(id for id in labels if mark in id and id not in here)
        if lost:
            job.problem(place, f"{len(lost)} listed recording(s) are missing, the first {lost[0]}")


RECIPE = AudioSnips()
