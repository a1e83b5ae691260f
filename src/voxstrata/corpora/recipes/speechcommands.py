"""Speech Commands 0.01 (or 0.02) by the 12-class protocol of SUPERB's keyword spotting.

lhotse's ``prepare_speechcommands`` is not used: it fails where a list is missing, puts one
background file into the validation part, and does not know the 12 classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from voxstrata.corpora.audio import read_header
from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import (
    child,
    find_root,
    folders,
    read_lines,
    report_strays,
    tree_files,
)
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import AudioError

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE, NOISE = "_unknown_", "_silence_", "_background_noise_"
PARTS = ("train", "dev", "test", "held-out")
BUCKETS = 2**27 - 1
LAYOUT = (
    "a folder with speech_commands_v0.01/WORD/SPEAKER_nohash_N.wav (and _background_noise_, "
    "validation_list.txt) and speech_commands_test_set_v0.01/ (12 folders), unpacked apart"
)


def bucket(name: str) -> str:
    """Part of a recording by the corpus's own hash of its speaker.

    The file name up to ``_nohash_`` is hashed with SHA-1; modulo 2^27, as a percentage: below
    10 is ``dev``, below 20 ``held-out`` (the corpus's own testing list), else ``train``.

    Args:
        name: file name, ``0a7c2a8d_nohash_0.wav``.
    """
    speaker = name.split("_nohash_")[0]
    value = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (BUCKETS + 1)
    percent = value * (100.0 / BUCKETS)
    return "dev" if percent < 10 else "held-out" if percent < 20 else "train"


def is_training(place: Path) -> bool:
    """Whether a folder is the unpacked main archive (it has the word folders or the noise)."""
    return (place / NOISE).is_dir() or (
        not (place / UNKNOWN).is_dir() and sum((place / w).is_dir() for w in WORDS) >= 2
    )


def is_test(place: Path) -> bool:
    """Whether a folder is the unpacked test archive (it has ``_unknown_``)."""
    return (place / UNKNOWN).is_dir() and not (place / NOISE).is_dir()


class SpeechCommands:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "speechcommands"
    title = "Speech Commands"
    licence = "CC BY 4.0"
    homepage = "http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz"
    summary = "one-second keywords, 12 classes by SUPERB's protocol"
    parts: tuple[str, ...] = PARTS
    tiers: tuple[str, ...] = ("speaker", "text", "language", "keyword", "word", "background")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare ``train``, ``dev`` and ``held-out`` from the main archive, ``test`` from the
        test archive (both unpacked into folders of their own)."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda p: is_training(p) or is_test(p) or any(map(is_training, folders(p))),
            corpus=self.title,
            layout=LAYOUT,
            names=("SpeechCommands1", "SpeechCommands"),
        )
        near = [root, *folders(root), *folders(root.parent)]
        training = [p for p in near if is_training(p)][:1]
        version = "v0.02" if training and "v0.02" in training[0].name else "v0.01"
        tests = [p for p in near if is_test(p)]
        tests = [p for p in tests if version in p.name] or tests
        job.details = {"training": [str(p) for p in training], "test": [str(p) for p in tests[:1]]}
        if training:
            self._training(job, training[0])
        elif job.asked is None or any(p != "test" for p in job.asked):
            job.problem(root, "no main archive (speech_commands_v0.01): no train, dev, held-out")
        if tests and job.wants("test"):
            job.write("test", self._test_rows(job, tests[0]))
        elif job.wants("test"):
            job.problem(root, "no test archive (speech_commands_test_set_v0.01): no test part")
        return job.finish(LAYOUT)

    def _training(self, job: Job, place: Path) -> None:
        rows: dict[str, list[Row]] = {part: [] for part in PARTS}
        for folder in folders(place):
            if folder.name == NOISE:
                continue
            for path in tree_files(folder, (".wav",), job.problem):
                keyword = folder.name if folder.name in WORDS else UNKNOWN
                rows[bucket(path.name)].append(self._spoken(job, path, folder.name, keyword))
        strays = [p.name for p in sorted(place.iterdir()) if p.is_file() and not _belongs(p)]
        if strays:
            report_strays(place, strays, job.problem)
        self._check_list(job, place, rows["dev"])
        for part, row in self._silence(job, place):
            rows[part].append(row)
        for part in PARTS:
            if part != "test" and job.wants(part):
                job.write(part, rows[part])

    def _spoken(self, job: Job, path: Path, word: str, keyword: str) -> Row:
        speaker, mark, _ = path.name.partition("_nohash_")
        if not mark:
            job.problem(path, "no _nohash_ in its name: no speaker")
        return Row(
            f"{word}-{path.stem}",
            path,
            {
                "speaker": speaker if mark else None,
                "text": word,
                "language": "English",
                "keyword": keyword,
                "word": word,
            },
        )

    def _check_list(self, job: Job, place: Path, dev: list[Row]) -> None:
        """The published validation list must agree with the hash; what it misses is damage."""
        path = child(place, "validation_list.txt")
        if path is None:
            job.problem(place / "validation_list.txt", "missing; the hash decides in any case")
            return
        listed = set(read_lines(path))
        here = {f"{row.tiers['word']}/{row.audio.name}" for row in dev}
        for name in sorted(listed - here):
            there = (place / name).is_file()
            what = "listed for validation, but the hash says otherwise" if there else "is missing"
            job.problem(place / name, what)
        extra = sorted(here - listed)
        if extra:
            job.problem(
                path, f"{len(extra)} dev recording(s) by the hash are not listed, as {extra[0]}"
            )

    def _silence(self, job: Job, place: Path) -> Iterator[tuple[str, Row]]:
        """Whole seconds of the background files: every fifth into dev, the others into train."""
        folder = place / NOISE
        if not folder.is_dir():
            job.problem(folder, f"missing: no {SILENCE} in train and dev")
            return
        for path in tree_files(folder, (".wav",), job.problem, known=("readme.md",)):
            try:
                header = read_header(path)
            except AudioError as error:
                job.problem(path, f"no {SILENCE} from it: {error.what}")
                continue
            for second in range(int(header.duration_s)):
                yield (
                    "dev" if second % 5 == 4 else "train",
                    Row(
                        f"{SILENCE}-{path.stem}-{second:04d}",
                        path,
                        {"keyword": SILENCE, "background": path.stem},
                        start_s=float(second),
                        duration_s=1.0,
                    ),
                )

    def _test_rows(self, job: Job, place: Path) -> Iterator[Row]:
        for folder in folders(place):
            if folder.name not in (*WORDS, UNKNOWN, SILENCE):
                job.problem(folder, "not one of the 12 classes, ignored")
                continue
            for path in tree_files(folder, (".wav",), job.problem):
                if folder.name == SILENCE:
                    tiers = {"keyword": SILENCE}
                    yield Row(f"test-{SILENCE}-{path.stem}", path, tiers)
                elif folder.name == UNKNOWN:
                    # Named WORD_SPEAKER_nohash_N.wav there.
                    word, _, rest = path.name.partition("_")
                    row = self._spoken(job, path, word, UNKNOWN)
                    speaker = rest.partition("_nohash_")[0]
                    yield Row(f"test-{row.id}", path, {**row.tiers, "speaker": speaker})
                else:
                    row = self._spoken(job, path, folder.name, folder.name)
                    yield Row(f"test-{row.id}", path, row.tiers)


def _belongs(path: Path) -> bool:
    return path.name.lower() in ("license", "readme.md", "testing_list.txt", "validation_list.txt")


RECIPE = SpeechCommands()
