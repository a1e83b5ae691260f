"""IEMOCAP: acted dialogues with emotions (lhotse has no recipe)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import child, find_root, folders, read_lines, tree_files
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.types import Segment

SESSIONS = tuple(f"session{n}" for n in range(1, 6))
CLASSES = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
"""SUPERB's four classes; excitement counts as happiness."""
FRAME_S = 0.01
"""Frame of the forced alignments (Sphinx)."""
LAYOUT = (
    "a folder with Session1/ to Session5/, each sentences/wav/DIALOGUE/UTTERANCE.wav, "
    "dialog/EmoEvaluation/DIALOGUE.txt and dialog/transcriptions/DIALOGUE.txt "
    "(IEMOCAP_full_release/ of the archive)"
)
_EMOTION = re.compile(
    r"^\[[\d. ]+-[\d. ]+\]\s+(?P<id>Ses\S+)\s+(?P<label>[a-z]+)\s+\[(?P<scales>[^\]]*)\]"
)
_TEXT = re.compile(r"^(?P<id>Ses\S+_[FM]\d+)\s+\[[^\]]*\]:?\s*(?P<text>.*)$")


def read_emotions(path: Path) -> dict[str, dict[str, Any]]:
    """Label and the three scales (1 to 5) by utterance, from one ``EmoEvaluation`` file."""
    found: dict[str, dict[str, Any]] = {}
    for line in read_lines(path):
        match = _EMOTION.match(line)
        if match is None:
            continue
        tiers: dict[str, Any] = {
            "emotion": CLASSES.get(match["label"]),
            "emotion_raw": match["label"],
        }
        scales = match["scales"].split(",")
        try:
            values = [float(v) for v in scales]
        except ValueError:
            values = []
        if len(values) == 3:
            tiers.update(zip(("valence", "activation", "dominance"), values, strict=True))
        found[match["id"]] = tiers
    return found


def read_texts(path: Path) -> dict[str, str]:
    """Transcript by utterance, from one ``transcriptions`` file."""
    matches = (_TEXT.match(line) for line in read_lines(path))
    return {m["id"]: m["text"] for m in matches if m is not None}


def read_words(path: Path) -> list[Segment]:
    """Words of a Sphinx ``.wdseg`` (columns first frame, last frame, score, word).

    Frames are 10 ms and the last one belongs to the word. Fillers (``<s>``, ``<sil>``,
    ``++GARBAGE++``) are left out, the mark of a variant (``THE(2)``) is cut off.
    """
    spans = []
    for line in read_lines(path):
        cells = line.split()
        if len(cells) != 4 or not (cells[0].isdigit() and cells[1].isdigit()):
            continue
        word = re.sub(r"\(\d+\)$", "", cells[3])
        if word.startswith(("<", "+")):
            continue
        spans.append(Segment(int(cells[0]) * FRAME_S, (int(cells[1]) + 1) * FRAME_S, word))
    return spans


class Iemocap:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "iemocap"
    title = "IEMOCAP"
    licence = "IEMOCAP release agreement (research, on request)"
    homepage = "https://sail.usc.edu/iemocap/"
    summary = "acted dialogues with emotions; a part is a session, that is a fold"
    parts: tuple[str, ...] = SESSIONS
    tiers: tuple[str, ...] = (
        "speaker", "gender", "text", "language", "emotion", "emotion_raw", "valence",
        "activation", "dominance", "session", "dialogue", "style", "words",
    )  # fmt: skip

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare all utterances; those outside the four classes have no tier ``emotion``."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: any(child(place, f"{s}/sentences/wav") for s in SESSIONS),
            corpus=self.title,
            layout=LAYOUT,
            names=("IEMOCAP_full_release", "IEMOCAP"),
        )
        job.details = {"root": str(root)}
        for part in SESSIONS:
            if job.wants(part):
                place = child(root, part)
                if place is None:
                    job.problem(root / part.capitalize(), "this session is missing")
                else:
                    job.write(part, self._rows(job, part, place))
        return job.finish(LAYOUT)

    def _rows(self, job: Job, part: str, place: Path) -> Iterator[Row]:
        wavs = child(place, "sentences/wav")
        if wavs is None:
            job.problem(place / "sentences" / "wav", "missing")
            return
        for folder in folders(wavs):
            emotions = self._table(job, place, "EmoEvaluation", folder.name, read_emotions)
            texts = self._table(job, place, "transcriptions", folder.name, read_texts)
            seen = set()
            for path in tree_files(folder, (".wav",), job.problem):
                id = path.stem
                seen.add(id)
                turn = re.fullmatch(r"(Ses\d\d)[FM]_(\w+)_([FM])[A-Z]*\d+", id)
                if turn is None:
                    job.problem(path, "not named as an utterance of IEMOCAP, ignored")
                    continue
                if emotions and id not in emotions:
                    job.problem(path, f"{id} has no emotion label")
                if texts and id not in texts:
                    job.problem(path, f"{id} has no transcript")
                # The letter after the session says who wears the markers, the last one who speaks.
                yield Row(
                    id,
                    path,
                    {
                        "speaker": turn[1] + turn[3],
                        "gender": turn[3],
                        "text": texts.get(id),
                        "language": "English",
                        "session": int(part[-1]),
                        "dialogue": folder.name,
                        "style": "improvised" if "impro" in folder.name else "scripted",
                        **emotions.get(id, {}),
                        "words": self._words(place, folder.name, id),
                    },
                )
            for id in sorted(set(emotions) - seen):
                job.problem(folder / f"{id}.wav", f"{id} is labelled, but the recording is missing")

    def _table(self, job: Job, place: Path, kind: str, dialogue: str, read: Any) -> dict[str, Any]:
        path = child(place, f"dialog/{kind}/{dialogue}.txt")
        if path is None:
            job.problem(place / "dialog" / kind / f"{dialogue}.txt", "missing")
            return {}
        found: dict[str, Any] = read(path)
        if not found:
            job.problem(path, "holds no line of the published form")
        return found

    def _words(self, place: Path, dialogue: str, id: str) -> list[Segment]:
        path = child(place, f"sentences/ForcedAlignment/{dialogue}/{id}.wdseg")
        return read_words(path) if path is not None else []


RECIPE = Iemocap()
