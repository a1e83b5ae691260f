"""The seam through which corpora are added: one file and one registry line each.

Two tables. :data:`SOURCES` are ways to open something that is a corpus already (a folder of
audio, a manifest, the synthetic corpus). :data:`CORPORA` are recipes that turn a public corpus,
as it is published, into lhotse cut manifests; third parties add theirs through the entry-point
group ``voxstrata.corpora``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from voxstrata.corpora.problems import Problem
from voxstrata.registry import Registry

if TYPE_CHECKING:
    from lhotse import CutSet

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)`` now and then; ``total`` is 0 where unknown."""


@dataclass(frozen=True)
class FileProblem:
    """Something wrong with a published tree or a file of it that did not stop the work.

    Attributes:
        path: file or folder it is about.
        what: what is wrong, in one sentence.
    """

    path: str
    what: str


@dataclass(frozen=True)
class PartCount:
    """What one prepared part holds.

    Attributes:
        utterances: cuts written.
        seconds: their total length.
        speakers: distinct speakers (0 where the part has no speaker labels).
    """

    utterances: int
    seconds: float
    speakers: int


@dataclass(frozen=True)
class PrepareReport:
    """What a recipe wrote and what it met on the way.

    Attributes:
        parts: counts by part name, for the parts that were written.
        problems: files left out and oddities, all of them.
    """

    parts: Mapping[str, PartCount] = field(default_factory=dict)
    problems: tuple[FileProblem, ...] = ()


class Recipe(Protocol):
    """How one public corpus becomes cut manifests.

    Attributes:
        name: registry name ("librispeech").
        title: the corpus's own name ("LibriSpeech").
        licence: licence of the corpus, as its publisher states it.
        homepage: where it is to be had.
        summary: one line for listings.
        parts: names of the parts it can prepare ("dev-clean", ...).
        tiers: tiers its utterances carry.
    """

    name: str
    title: str
    licence: str
    homepage: str
    summary: str
    parts: tuple[str, ...]
    tiers: tuple[str, ...]

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Write ``out/<part>/cuts.jsonl.gz`` for each part, by the tier rules of
        :mod:`voxstrata.corpora.tiers`.

        Args:
            source: the corpus as published (a local directory).
            out: where the manifests go; audio is referred to, not copied.
            parts: which parts; ``None`` for all that ``source`` holds.
            progress: see :data:`Progress`.

        Raises:
            CorpusError: ``source`` is not laid out as published, or holds nothing usable.
            UnknownNameError: a part does not exist.
        """
        ...


@dataclass(frozen=True)
class SourceResult:
    """What a source hands to :func:`voxstrata.corpora.load_corpus`.

    Attributes:
        name: short name of the corpus.
        cuts: one cut an utterance, by the tier rules of :mod:`voxstrata.corpora.tiers`.
        problems: what was met on the way; those of severity "error" did not become a cut.
        details: JSON-like facts for the run record.
    """

    name: str
    cuts: CutSet
    problems: tuple[Problem, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)


class Source(Protocol):
    """A kind of place that holds a corpus."""

    name: str

    def recognises(self, spec: str) -> bool:
        """Whether ``spec`` is of this kind; reads no more than names and a first line."""
        ...

    def open(
        self, spec: str, *, limit: int | None = None, progress: Progress | None = None
    ) -> SourceResult:
        """Read it.

        Args:
            spec: what the user typed.
            limit: stop after so many utterances; ``None`` for all.
            progress: told about work that takes long.

        Raises:
            CorpusError: it is missing, empty or malformed as a whole.
        """
        ...


SOURCES: Registry[Source] = Registry("corpus source", "voxstrata.corpus_sources")
# Order matters: the first source that recognises a spec opens it.
for _name, _summary in (
    (
        "synthetic",
        "speech made here: synthetic, synthetic:SIZE, synthetic:SIZE,KEY=VALUE,...",
    ),
    (
        "mixtures",
        "two speakers in conversation, mixed from another corpus: mixtures:CORPUS, "
        "mixtures,KEY=VALUE,...:CORPUS",
    ),
    ("jsonl", "a JSONL manifest, or a folder with manifest.jsonl"),
    ("prepared", "a prepared public corpus: NAME:FOLDER, or the folder itself"),
    ("lhotse", "lhotse manifests: cuts.jsonl.gz, or recordings and supervisions"),
    ("folder", "a folder of audio, a sub-folder a speaker"),
):
    SOURCES.add(_name, f"voxstrata.corpora.sources.{_name}:SOURCE", _summary)

CORPORA: Registry[Recipe] = Registry("corpus", "voxstrata.corpora")
for _name, _summary in (
    ("librispeech", "LibriSpeech: read English, with published phone alignments if present"),
    ("voxceleb1", "VoxCeleb1: celebrity interviews, with verification and identification splits"),
    ("voxceleb2", "VoxCeleb2: more celebrity interviews"),
    ("speechcommands", "Speech Commands: one-second keywords"),
    ("fluent", "Fluent Speech Commands: spoken commands with action, object, location"),
    ("librimix", "LibriMix: two or three LibriSpeech speakers at once, with turns"),
    ("ami", "AMI: meetings with turns"),
    ("timit", "TIMIT: hand-labelled phones and words"),
    ("musan", "MUSAN: music, speech and noise, for augmentation"),
    ("rirs", "RIRS_NOISES: room impulse responses and noises, for augmentation"),
    ("iemocap", "IEMOCAP: acted dialogues with emotions"),
    ("audiosnips", "Audio SNIPS: spoken requests with intent and slots"),
    ("quesst14", "QUESST 2014: spoken term detection"),
):
    CORPORA.add(_name, f"voxstrata.corpora.recipes.{_name}:RECIPE", _summary)
