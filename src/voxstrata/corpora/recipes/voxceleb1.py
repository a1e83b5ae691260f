"""VoxCeleb1: verification parts (dev, test), the identification split, and the trial lists.

lhotse's ``prepare_voxceleb`` is not used: it fetches the trial list from the network into the
current folder, stops at the first speaker that is not in ``vox1_meta.csv``, knows only the
merged ``wav/`` layout, and has no identification split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row, gender
from voxstrata.corpora.recipes._files import (
    child,
    find_root,
    folders,
    read_lines,
    read_table,
    tree_files,
)
from voxstrata.corpora.registry import PrepareReport, Progress

SETS = ("dev", "test")
IDENTIFICATION = {"1": "iden-train", "2": "iden-dev", "3": "iden-test"}
NUMBERS = range(10_001, 100_000)
TRIALS = (
    "veri_test.txt",
    "veri_test2.txt",
    "list_test_hard.txt",
    "list_test_hard2.txt",
    "list_test_all.txt",
    "list_test_all2.txt",
    "voxceleb1_test.txt",
    "voxceleb1_test_v2.txt",
)
PLACES = {
    "": ("wav",),
    "dev": ("dev/wav", "vox1_dev_wav/wav", "vox1_dev_wav"),
    "test": ("test/wav", "vox1_test_wav/wav", "vox1_test_wav"),
}
AUDIO = (".wav", ".flac")
LAYOUT = (
    "a folder with wav/idNNNNN/VIDEO/NNNNN.wav, or dev/wav/... and test/wav/..., and beside it "
    "vox1_meta.csv, iden_split.txt and veri_test2.txt"
)


def utterance_id(path: str) -> str:
    """``id10270/x6uYqmx31kE/00001.wav`` as ``id10270-x6uYqmx31kE-00001`` (as lhotse does)."""
    return "-".join(path.strip().rsplit(".", 1)[0].split("/")[-3:])


def is_speaker(folder: Path) -> bool:
    """Whether a folder is named as a VoxCeleb speaker (``id10001``)."""
    return folder.name[:2].lower() == "id" and folder.name[2:].isdigit()


def holds_speakers(place: Path | None, numbers: range) -> bool:
    """Whether a folder holds a speaker with a number in ``numbers``: VoxCeleb1 counts from
    10001, VoxCeleb2 stays below, which tells the two apart in the same layout."""
    return place is not None and any(
        is_speaker(p) and int(p.name[2:]) in numbers for p in folders(place)
    )


def audio_places(root: Path, places: dict[str, tuple[str, ...]]) -> list[tuple[str, Path]]:
    """Folders below ``root`` that hold speakers, each with its set ("" where merged)."""
    found: list[tuple[str, Path]] = []
    for part, names in places.items():
        for name in names:
            place = child(root, name)
            if place is not None and holds_speakers(place, NUMBERS):
                found.append((part, place))
                break
    return found


def beside(root: Path, name: str) -> Path | None:
    """A list of the corpus: in its folder, in ``meta/`` or ``txt/`` there, or one folder up."""
    for place in (root, root / "meta", root / "txt", root.parent, root.parent / "meta"):
        found = child(place, name)
        if found is not None and found.is_file():
            return found
    return None


def utterances(
    job: Job, places: Sequence[tuple[str, Path]], suffixes: Sequence[str] = AUDIO
) -> Iterator[tuple[str, str, Path]]:
    """Set, utterance id and file of every recording ``SPEAKER/VIDEO/NNNNN.wav``."""
    for part, place in places:
        for path in tree_files(place, suffixes, job.problem, known=(".m4a", ".txt")):
            if not is_speaker(path.parent.parent) or path.parent.parent.parent != place:
                job.problem(path, "not at SPEAKER/VIDEO/NNNNN, ignored")
                continue
            yield part, "-".join((path.parent.parent.name, path.parent.name, path.stem)), path


class VoxCeleb1:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "voxceleb1"
    title = "VoxCeleb1"
    licence = "CC BY 4.0 for the annotations; copyright of the videos stays with their owners"
    homepage = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html"
    summary = "celebrity interviews, with verification and identification splits"
    parts: tuple[str, ...] = (*SETS, *IDENTIFICATION.values())
    on_request: tuple[str, ...] = tuple(IDENTIFICATION.values())
    tiers: tuple[str, ...] = ("speaker", "gender", "nationality", "name", "video", "set")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the verification sets with their trials, and (named) the identification
        split."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: bool(audio_places(place, PLACES)),
            corpus=self.title,
            layout=LAYOUT,
            names=("VoxCeleb1", "voxceleb1"),
        )
        job.details = {"root": str(root)}
        meta = self._meta(job, root)
        rows: dict[str, Row] = {}
        for part, id, path in utterances(job, audio_places(root, PLACES)):
            if id in rows:
                job.problem(path, f"{id} left out: also at {rows[id].audio}")
            else:
                rows[id] = Row(id, path, self._tiers(job, meta, part, id, path))
        for part in SETS:
            if job.wants(part):
                job.write(part, [r for r in rows.values() if r.tiers["set"] == part])
        self._identification(job, root, rows)
        self._trials(job, root, rows)
        return job.finish(LAYOUT)

    def _meta(self, job: Job, root: Path) -> dict[str, dict[str, str]]:
        path = beside(root, "vox1_meta.csv")
        if path is None:
            job.problem(root / "vox1_meta.csv", "missing: no gender, nationality and name")
            return {}
        columns = ("VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set")
        return {r["VoxCeleb1 ID"]: r for r in read_table(path, job.problem, needed=columns)}

    def _tiers(
        self, job: Job, meta: dict[str, dict[str, str]], part: str, id: str, path: Path
    ) -> dict[str, Any]:
        speaker = path.parent.parent.name
        known = meta.get(speaker, {})
        if meta and not known:
            job.problem(path.parent.parent, f"speaker {speaker} is not in vox1_meta.csv")
        listed = known.get("Set", "").lower()
        if part and listed and part != listed:
            job.problem(
                path.parent.parent,
                f"speaker {speaker} lies in {part} but vox1_meta.csv says {listed}; kept in {part}",
            )
        # The 40 test speakers are id10270 to id10309 (vox1_meta.csv says so too).
        usual = "test" if 10270 <= int(speaker[2:]) <= 10309 else "dev"
        return {
            "speaker": speaker,
            "gender": gender(known.get("Gender")),
            "nationality": known.get("Nationality"),
            "name": known.get("VGGFace1 ID"),
            "video": path.parent.name,
            "set": part or listed or usual,
        }

    def _identification(self, job: Job, root: Path, rows: dict[str, Row]) -> None:
        if not any(job.wants(part) for part in IDENTIFICATION.values()):
            return
        path = beside(root, "iden_split.txt")
        if path is None:
            job.problem(
                root / "iden_split.txt",
                "missing: no identification split (it is on the home page of the corpus)",
            )
            return
        split: dict[str, list[Row]] = {part: [] for part in IDENTIFICATION.values()}
        for line in read_lines(path):
            number, _, name = line.partition(" ")
            if number not in IDENTIFICATION or name.count("/") < 2:
                job.problem(path, f"malformed line, ignored: {line[:80]}")
                continue
            row = rows.get(utterance_id(name))
            if row is not None:
                split[IDENTIFICATION[number]].append(row)
            elif job.wants(IDENTIFICATION[number]):
                job.problem(
                    root / name.strip(),
                    f"listed for {IDENTIFICATION[number]}, but the recording is missing",
                )
        for part, chosen in split.items():
            if job.wants(part):
                job.write(part, chosen)

    def _trials(self, job: Job, root: Path, rows: dict[str, Row]) -> None:
        written = []
        for name in TRIALS:
            path = beside(root, name)
            if path is None:
                continue
            kept, absent = [], set()
            for line in read_lines(path):
                cells = line.split()
                if len(cells) != 3 or cells[0] not in ("0", "1"):
                    job.problem(path, f"malformed line, ignored: {line[:80]}")
                    continue
                first, second = utterance_id(cells[1]), utterance_id(cells[2])
                gone = [id for id in (first, second) if id not in rows]
                absent.update(gone)
                if not gone:
                    kept.append((cells[0], first, second))
            if absent:
                job.problem(
                    path,
                    f"trials with {len(absent)} missing recording(s) left out, the first "
                    f"{min(absent)}: {len(kept)} trials remain",
                )
            job.trials(path.stem, kept)
            written.append(path.stem)
        job.details["trials"] = written
        if not written and job.asked is None:
            job.problem(root / "veri_test2.txt", "missing: no verification trials")


RECIPE = VoxCeleb1()
