"""AMI meetings: utterances of the headsets, and windows with turns of the mixed signals.

lhotse's parser of the annotations and its table of the full-corpus split are used. Its
``prepare_ami`` is not: one damaged XML file or one empty part stops it, it unpacks archives
into the corpus, and where a headset is missing it gives the next ones the wrong speakers.
"""

from __future__ import annotations

import logging
import re
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxstrata.corpora.audio import read_header
from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import child, find_root
from voxstrata.corpora.recipes._turns import join_spans
from voxstrata.corpora.registry import PrepareReport, Progress
from voxstrata.errors import AudioError, CorpusError
from voxstrata.types import Segment

SPLITS = ("train", "dev", "test")
MICS = ("ihm", "mix", "sdm")
PARTS = tuple(f"{mic}-{split}" for mic in MICS for split in SPLITS)
WINDOW_S = 30.0
"""Length of the windows that meetings are cut into; the last one may be shorter."""
SHORTEST_S = 1.0
ANNOTATIONS = "ami_public_manual_1.6.2"
LAYOUT = (
    f"a folder with {ANNOTATIONS}/ (or its .zip) and MEETING/audio/MEETING.Mix-Headset.wav, "
    "MEETING.Headset-N.wav or MEETING.Array1-01.wav somewhere below"
)
_WAV = re.compile(
    r"(?P<meeting>[A-Z]{2}\d{4}[a-z]?)\.(?:(?P<mix>Mix-Headset)|Headset-(?P<channel>\d)"
    r"|(?P<sdm>Array1-01))\.wav",
    re.IGNORECASE,
)
_XML = re.compile(r"(?P<key>\w+\.[A-Z])\.(?P<kind>segments|words)\.xml")

Annotations = dict[tuple[str, str, int], list[Any]]
"""Meeting, speaker and channel to lhotse's ``AmiSegmentAnnotation``s."""


def annotation_place(root: Path) -> Path | None:
    """The folder of the annotations, or their archive."""
    if (root / "corpusResources" / "meetings.xml").is_file():
        return root
    found = child(root, ANNOTATIONS) or child(root, f"{ANNOTATIONS}.zip")
    if found is None:
        others = sorted(root.glob("ami_public_manual*"))
        found = others[0] if others else None
    return found


@contextmanager
def caught_log(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand messages that lhotse logs to ``tell`` instead of the screen."""

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    logger = logging.getLogger()
    before = logger.handlers[:]
    logger.handlers = [Catch(logging.WARNING)]
    try:
        yield
    finally:
        logger.handlers = before


def _times(element: ET.Element, names: tuple[str, str]) -> bool:
    try:
        start, end = (float(element.attrib[name]) for name in names)
    except (KeyError, ValueError):
        return False
    return 0 <= start <= end


def _cleaned(path: Path, kind: str, job: Job) -> ET.ElementTree[ET.Element] | None:
    """A words or segments file without the elements that lhotse would stumble over."""
    try:
        tree = ET.parse(path)
    except (ET.ParseError, OSError, LookupError, ValueError) as error:  # of odd encodings too
        job.problem(path, f"not used: {error}")
        return None
    root = tree.getroot()
    bad = 0
    for element in list(root):
        if kind == "segments" and element.tag == "segment":
            good = _times(element, ("transcriber_start", "transcriber_end"))
        elif kind == "words" and element.tag == "w" and "starttime" in element.attrib:
            good = _times(element, ("starttime", "endtime")) and bool((element.text or "").strip())
        else:
            continue
        if not good:
            bad += 1
            root.remove(element)
    if bad:
        job.problem(path, f"{bad} element(s) without usable times or text, ignored")
    return tree


def read_annotations(place: Path, job: Job) -> Annotations:
    """Annotations of all meetings, through lhotse's parser, from a cleaned copy of the files.

    Raises:
        CorpusError: ``corpusResources/meetings.xml`` is missing or damaged.
    """
    from lhotse.recipes.ami import parse_ami_annotations

    with tempfile.TemporaryDirectory() as scratch:
        if place.is_file():
            try:
                with zipfile.ZipFile(place) as archive:
                    wanted = [one for one in archive.namelist() if one.endswith(".xml")]
                    archive.extractall(Path(scratch) / "zip", wanted)
            except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
                raise CorpusError(
                    f"{place} cannot be unpacked", got=str(error), fix="fetch it again"
                ) from None
            place = Path(scratch) / "zip"
            inner = [p.parent.parent for p in place.rglob("corpusResources/meetings.xml")]
            place = inner[0] if inner else place
        clean = Path(scratch) / "clean"
        files: dict[str, dict[str, Path]] = {"segments": {}, "words": {}}
        for kind in ("segments", "words"):
            folder = child(place, kind)
            for path in sorted(folder.iterdir()) if folder is not None else []:
                match = _XML.fullmatch(path.name)
                if match is None or match["kind"] != kind:
                    job.problem(path, "stray file, ignored")
                else:
                    files[kind][match["key"]] = path
        for kind in ("segments", "words"):
            (clean / kind).mkdir(parents=True)
        for key in sorted(set(files["segments"]) | set(files["words"])):
            lacking = [kind for kind in files if key not in files[kind]]
            if lacking:
                job.problem(place / lacking[0] / f"{key}.{lacking[0]}.xml", f"missing for {key}")
                continue
            trees = {kind: _cleaned(files[kind][key], kind, job) for kind in files}
            for kind, tree in trees.items():
                if None not in trees.values() and tree is not None:
                    tree.write(clean / kind / f"{key}.{kind}.xml", encoding="utf-8")
        try:
            meetings = ET.parse(place / "corpusResources" / "meetings.xml")
            (clean / "corpusResources").mkdir()
            meetings.write(clean / "corpusResources" / "meetings.xml", encoding="utf-8")
            with caught_log(lambda text: job.problem(place, f"lhotse: {text}")):
                found: Annotations = dict(parse_ami_annotations(clean, normalize="kaldi"))
        except (ET.ParseError, LookupError, ValueError, OSError) as error:
            raise CorpusError(
                f"the annotations in {place} cannot be read",
                got=f"{type(error).__name__}: {error}",
                expected="corpusResources/meetings.xml, segments/ and words/ as published",
                fix="unpack ami_public_manual_1.6.2.zip again",
            ) from None
    return found


class Ami:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "ami"
    title = "AMI Meeting Corpus"
    licence = "CC BY 4.0"
    homepage = "https://groups.inf.ed.ac.uk/ami/corpus/"
    summary = "meetings: headset utterances (ihm), windows with turns (mix, sdm)"
    parts: tuple[str, ...] = PARTS
    tiers: tuple[str, ...] = ("speaker", "gender", "text", "language", "words", "turns", "meeting")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare the microphones that are there, by the full-corpus split."""
        from lhotse.recipes.ami import PARTITIONS

        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda place: annotation_place(place) is not None,
            corpus=self.title,
            layout=LAYOUT,
            names=("AMI", "ami", "amicorpus"),
        )
        place = annotation_place(root)
        if place == root:
            root = root.parent
        assert place is not None  # find_root saw it
        split = {m: part for part, names in PARTITIONS["full-corpus"].items() for m in names}
        wavs = self._wavs(job, root, split)
        job.details = {"root": str(root), "annotations": str(place), "partition": "full-corpus"}
        annotations = read_annotations(place, job) if wavs else {}
        for part in PARTS:
            mic, _, name = part.partition("-")
            here = [w for w in wavs if w[1] == mic and split[w[0]] == name]
            if not job.wants(part):
                continue
            if here:
                make = self._headset if mic == "ihm" else self._windows
                job.write(part, make(job, here, annotations))
            elif job.asked is not None:
                job.problem(root, f"no recording of {part}")
        return job.finish(LAYOUT)

    def _wavs(
        self, job: Job, root: Path, split: dict[str, str]
    ) -> list[tuple[str, str, int, Path]]:
        """Meeting, microphone, headset channel and file of every recording, in order."""
        found: dict[tuple[str, str, int], Path] = {}
        for path in sorted(p for p in root.rglob("*") if p.suffix.lower() == ".wav"):
            match = _WAV.fullmatch(path.name)
            if match is None:
                job.problem(path, "not a recording this recipe uses, ignored")
                continue
            name = match["meeting"]
            meeting = name[:6].upper() + name[6:].lower()
            mic = "mix" if match["mix"] else "sdm" if match["sdm"] else "ihm"
            key = (meeting, mic, int(match["channel"] or 0))
            if meeting not in split:
                job.problem(path, f"meeting {meeting} is in no part of the corpus, ignored")
            elif key in found:
                job.problem(path, f"ignored: the same recording as {found[key]}")
            else:
                found[key] = path
        return [(*key, path) for key, path in sorted(found.items())]

    def _headset(
        self, job: Job, wavs: Sequence[tuple[str, str, int, Path]], annotations: Annotations
    ) -> Iterator[Row]:
        by_channel = {(key[0], key[2]): found for key, found in annotations.items()}
        for meeting, _, channel, path in wavs:
            if (meeting, channel) not in by_channel:
                job.problem(path, f"no annotation of headset {channel} of {meeting}, left out")
            for number, segment in enumerate(by_channel.get((meeting, channel), [])):
                start, end = segment.start_time, segment.end_time
                if end <= start:
                    continue
                words = [
                    Segment(w.start - start, w.start + w.duration - start, w.symbol)
                    for w in segment.words
                ]
                yield Row(
                    f"{meeting}-{channel}-{number:04d}",
                    path,
                    {
                        "speaker": segment.speaker,
                        "gender": segment.gender,
                        "text": segment.text,
                        "language": "English",
                        "words": words,
                        "meeting": meeting,
                    },
                    start_s=start,
                    duration_s=end - start,
                )

    def _windows(
        self, job: Job, wavs: Sequence[tuple[str, str, int, Path]], annotations: Annotations
    ) -> Iterator[Row]:
        for meeting, mic, _, path in wavs:
            try:
                length = read_header(path).duration_s
            except AudioError as error:
                job.problem(path, f"{meeting} left out: {error.what}")
                continue
            turns = []
            for (name, speaker, _), found in annotations.items():
                if name == meeting:
                    spans = [Segment(s.start_time, s.end_time, speaker) for s in found]
                    turns += join_spans(spans, speaker, gap_s=0.0)
            if not turns:
                job.problem(path, f"{meeting} left out: no annotation of it")
                continue
            late = [t for t in turns if t.end_s > length + 0.025]
            if late:
                job.problem(path, f"{len(late)} turn(s) of {meeting} end after {length:.3f} s")
            start, number = 0.0, 0
            while length - start >= SHORTEST_S:
                end = min(start + WINDOW_S, length)
                inside = [
                    Segment(max(t.start_s, start) - start, min(t.end_s, end) - start, t.label)
                    for t in turns
                    if t.start_s < end and t.end_s > start
                ]
                yield Row(
                    f"{meeting}-{mic}-{number:04d}",
                    path,
                    {
                        "turns": sorted(inside, key=lambda t: (t.start_s, t.end_s)),
                        "meeting": meeting,
                    },
                    start_s=start,
                    duration_s=end - start,
                )
                start, number = start + WINDOW_S, number + 1


RECIPE = Ami()
