"""Fluent Speech Commands.

lhotse's recipe for it (``prepare_slu``) is not used: it returns nothing, carries no speakers,
and stops at the first missing file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from voxstrata.corpora.recipes._common import Job, Row, gender
from voxstrata.corpora.recipes._files import child, find_root, read_table, tree_files
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import CorpusError

PARTS = ("train", "valid", "test")
COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")
LAYOUT = (
    "a folder with data/train_data.csv, valid_data.csv, test_data.csv, speaker_demographics.csv "
    "and wavs/speakers/SPEAKER/*.wav (fluent_speech_commands_dataset/ of the archive)"
)


class FluentSpeechCommands:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "fluent"
    title = "Fluent Speech Commands"
    licence = "Fluent Speech Commands Public Licence (academic research)"
    homepage = "https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/"
    summary = "spoken commands with action, object, location"
    parts: tuple[str, ...] = PARTS
    tiers: tuple[str, ...] = (
        "speaker", "gender", "text", "language", "intent", "action", "object", "location",
        "age", "first_language", "fluency",
    )  # fmt: skip

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the three published splits."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda p: any(child(p, f"data/{part}_data.csv") for part in PARTS),
            corpus=self.title,
            layout=LAYOUT,
            names=("fluent_speech_commands_dataset",),
        )
        job.details = {"root": str(root)}
        people = self._people(job, root)
        listed: set[Path] = set()
        complete = True
        for part in PARTS:
            path = child(root, f"data/{part}_data.csv")
            if path is None:
                complete = False
                if job.wants(part):
                    job.problem(root / "data" / f"{part}_data.csv", f"missing: no part {part}")
                continue
            rows = list(self._rows(job, root, path, people, job.wants(part)))
            listed.update(row.audio for row in rows)
            if job.wants(part):
                job.write(part, rows)
        wavs = child(root, "wavs")
        if wavs is not None and complete:
            extra = [
                p
                for p in tree_files(wavs, (".wav",), job.problem, known=(".csv", ".txt"))
                if p not in listed
            ]
            if extra:
                job.problem(
                    extra[0], f"in no list, ignored (with {len(extra) - 1} more recording(s))"
                )
        return job.finish(LAYOUT)

    def _people(self, job: Job, root: Path) -> dict[str, dict[str, str]]:
        path = child(root, "data/speaker_demographics.csv")
        if path is None:
            job.problem(
                root / "data" / "speaker_demographics.csv", "missing: no gender, age, fluency"
            )
            return {}
        try:
            table = read_table(path, job.problem, needed=("speakerId", "gender"))
        except CorpusError as error:
            job.problem(path, f"not used: {error.what}")
            return {}
        return {row["speakerId"]: row for row in table}

    def _rows(
        self,
        job: Job,
        root: Path,
        path: Path,
        people: dict[str, dict[str, str]],
        report: bool,
    ) -> Iterator[Row]:
        for line in read_table(path, job.problem, needed=COLUMNS):
            audio = child(root, line["path"])
            if audio is None:
                if report:
                    job.problem(root / line["path"], "listed, but the recording is missing")
                continue
            person = people.get(line["speakerId"], {})
            if people and not person and report:
                job.problem(path, f"speaker {line['speakerId']} is not in speaker_demographics.csv")
            intent = {key: line[key] for key in ("action", "object", "location")}
            yield Row(
                audio.stem,
                audio,
                {
                    "speaker": line["speakerId"],
                    "gender": gender(person.get("gender")),
                    "text": line["transcription"],
                    "language": "English",
                    "intent": "|".join(intent.values()),
                    **intent,
                    "age": person.get("ageRange"),
                    "first_language": person.get("First Language spoken"),
                    "fluency": person.get("Self-reported fluency level"),
                },
            )


RECIPE = FluentSpeechCommands()
