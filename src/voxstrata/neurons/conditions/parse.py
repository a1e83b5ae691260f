"""Contrasts from text: ``GROUPS`` or ``GROUPS/ROWS``.

gender/phones          groups of recordings, within each phone
ivector=2/clusters=3   two clusters of i-vectors, within three clusters of frames (L2025)
classes/phones         broad classes as groups of phones
pitch/phones           thirds of F0, within each phone
clusters=3             each cluster a group
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxstrata.corpora import Corpus
from voxstrata.errors import ConfigError, LabelError, UsageError, VoxstrataError
from voxstrata.neurons.conditions.condition import Contrast, Crossed, Everything, Labels
from voxstrata.neurons.conditions.files import file_cuts, read_km, read_labels
from voxstrata.neurons.conditions.states import PitchThirds, StateClusters
from voxstrata.neurons.conditions.tiers import (
    Take,
    classes_of,
    durations,
    spans,
    tier_labels,
)
from voxstrata.neurons.conditions.vectors import known_vectors
from voxstrata.neurons.counting import FrameLabels

NAMES = (
    "phones", "classes", "pitch", "duration", "all",
    "clusters", "ivector", "vectors", "km", "labels",
)  # fmt: skip
"""What can stand behind a slash, besides tiers."""

VECTORS, FILES = ("ivector", "vectors"), ("km", "labels")
"""Those that are clusters of recordings, and those that are files."""

MANY = 2000
"""Rows of a contrast beyond which something is likely a slip (speakers x phones of VoxCeleb)."""


@dataclass
class Sources:
    """What conditions are made of; each is made once a run.

    Attributes:
        corpus: the recordings.
        clustered: key of the layer whose states are clustered where the text names none.
        vectors: labels of recordings from vectors: text of the model (empty for i-vectors) and
            number of clusters.
        take: frames of a span that count.
        semivowels: whether L, R, W, Y are a class of their own.
        seed: of k-means.
        note: put behind the names of clusters, so that those of another seed are told apart.
    """

    corpus: Corpus
    clustered: Callable[[str], str]
    vectors: Callable[[str, str, int, int], Labels]
    take: Take = "all"
    semivowels: bool = False
    seed: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        self._made: dict[str, FrameLabels | Labels] = {}

    def make(self, text: str) -> FrameLabels | Labels:
        """The condition that a text names.

        Raises:
            VoxstrataError: it cannot be made of this corpus.
        """
        if text not in self._made:
            self._made[text] = self._make(text)
        return self._made[text]

    def _make(self, text: str) -> FrameLabels | Labels:
        name, count, place = condition(text)
        if name == "clusters":
            called = f"{text}{self.note}"
            return StateClusters(called, count, self.clustered(place), self.seed)
        if name in VECTORS:
            return self.vectors(text, place, count, self.seed)
        if name == "km":
            return read_km(place, self.corpus)
        if name == "labels":
            return read_labels(place, self.corpus)
        if name == "all":
            return Everything()
        if name == "pitch":
            return PitchThirds()
        if name == "duration":
            return durations(self.corpus, self.take)
        if name in ("phones", "classes"):
            return spans(self.corpus, "phones", take=self.take)
        if name in self.corpus.tiers():
            with_spans = [u for u in self.corpus.utterances if isinstance(u.tiers.get(name), tuple)]
            if with_spans:
                return spans(self.corpus, name, take=self.take)
            return tier_labels(self.corpus, name)
        raise LabelError(
            f"the corpus {self.corpus.name} has nothing called {name!r}",
            got=f"tiers {', '.join(self.corpus.tiers()) or 'none'}",
            expected="a tier, or one of phones, classes, pitch, duration, all, clusters=K, "
            "ivector=G, vectors=G:MODEL, km=FILE, labels=FILE",
        )


def condition(text: str) -> tuple[str, int, str]:
    """The parts of a condition: its name, the number of clusters (0 for those without), and what
    it is made from: a layer, a model or a file; "" where the text names none.

    Raises:
        ConfigError: malformed.
    """
    name, equals, rest = text.partition("=")
    if name in ("clusters", *VECTORS):
        number, _, place = rest.partition(":")
        return name, _whole(text, number, equals), place
    if equals and name not in FILES:
        raise ConfigError(
            f"the condition {text!r} is not known",
            expected="clusters=K, ivector=G, vectors=G:MODEL, km=FILE, labels=FILE",
        )
    return name, 0, rest


def check_contrast(text: str) -> None:
    """Refuse a contrast that no corpus and no model could mend; nothing is opened.

    Tiers, layers and what is inside files are looked at where there is a corpus
    (:func:`make_contrast`).

    Raises:
        ConfigError: malformed.
        UsageError: a file is not there, or too few groups.
        VoxstrataError: no such model (:func:`~voxstrata.models.load.find_family`).
    """
    cuts = [_cut(text, ())]
    if cuts == [(text, None)]:
        cuts += _cuts(text)  # what is behind a slash may be a tier: one reading that holds will do
    errors = []
    for first, second in cuts:
        try:
            _known(first)
            if second is not None:
                _known_rows(text, first, second)
            return
        except VoxstrataError as error:
            errors.append(error)
    raise errors[0]


def _known(text: str) -> None:
    name, count, place = condition(text)
    if name in VECTORS:
        known_vectors(text, place, count)
    if name in FILES and not _there(text):
        raise UsageError(f"{text!r}: there is no such file", fix="check the path")


def _known_rows(text: str, first: str, second: str) -> None:
    _known(second)
    _classes(text, first, second)
    if condition(second)[0] in VECTORS:
        raise ConfigError(
            f"the contrast {text!r} has labels of recordings behind the slash",
            got=second,
            expected="labels of frames there: phones, clusters=K, pitch, ...",
        )


def _classes(text: str, first: str, second: str | None) -> None:
    if first == "classes" and second not in (None, "phones"):
        raise ConfigError(f"{text!r}: classes are groups of phones", fix="classes/phones")


def make_contrast(text: str, sources: Sources) -> Contrast:
    """A contrast from its text.

    Raises:
        ConfigError: malformed.
        VoxstrataError: a part cannot be made of this corpus.
    """
    first, second = _cut(text, sources.corpus.tiers())
    groups = sources.make(first)
    if isinstance(groups, Labels):
        rows = Everything() if second is None else sources.make(second)
        if isinstance(rows, Labels):
            raise ConfigError(
                f"the contrast {text!r} has labels of recordings as rows",
                got=second,
                expected="labels of frames behind the slash: phones, clusters=K, pitch, ...",
                fix=f"--contrast {first}",
            )
        return _checked(Contrast(text, rows, groups.groups, labels=groups))
    _classes(text, first, second)
    if first == "classes":
        names, of = classes_of(groups.rows, semivowels=sources.semivowels)
        return Contrast(text, groups, tuple(names), group_of=tuple(of))
    if second is None:
        return _checked(
            Contrast(text, groups, groups.rows, group_of=tuple(range(len(groups.rows))))
        )
    rows = sources.make(second)
    if isinstance(rows, Labels):
        raise ConfigError(
            f"the contrast {text!r} has labels of recordings behind the slash",
            got=second,
            expected="groups before the slash, labels of frames behind it",
            fix=f"--contrast {second}/{first}",
        )
    crossed = Crossed(groups, rows)
    each = len(rows.rows)
    group_of = tuple(g for g in range(len(groups.rows)) for _ in range(each))
    held = tuple(range(each)) * len(groups.rows)
    return _checked(Contrast(text, crossed, groups.rows, group_of=group_of, held=held))


def frame_conditions(contrasts: Sequence[Contrast]) -> list[FrameLabels]:
    """The different frame conditions of some contrasts: what one pass must count."""
    found: dict[str, FrameLabels] = {}
    for contrast in contrasts:
        found.setdefault(contrast.rows.name, contrast.rows)
    return list(found.values())


def learners(conditions: Sequence[FrameLabels]) -> list[Any]:
    """The parts of frame conditions that must see a sample of frames first, each once."""
    found: dict[int, Any] = {}
    for condition in conditions:
        parts = [condition.first, condition.second] if isinstance(condition, Crossed) else [
            condition
        ]  # fmt: skip
        for part in parts:
            if hasattr(part, "learn"):
                found[id(part)] = part
    return list(found.values())


def _checked(contrast: Contrast) -> Contrast:
    count = len(contrast.rows.rows)
    groups = len(contrast.groups) if contrast.labels is not None else 1
    if count * groups > MANY:
        raise UsageError(
            f"the contrast {contrast.name!r} has too many rows to count",
            got=f"{groups} groups x {count} rows",
            expected=f"at most {MANY}",
            fix="cross fewer labels, or merge some of them with labels=FILE",
        )
    return contrast


def _cut(text: str, tiers: Iterable[str]) -> tuple[str, str | None]:
    """``GROUPS`` and ``ROWS``; a slash inside the path of a file or model is no cut.

    Args:
        text: of the contrast.
        tiers: of the corpus, which can stand behind the slash.
    """
    cuts = _cuts(text)
    if not re.match(r"(km|labels|vectors)=", text):
        return cuts[0] if cuts else (text, None)
    known = {*NAMES, *tiers}
    named = [cut for cut in cuts if (cut[1] or "").partition("=")[0] in known]
    for cut in ((text, None), *named):
        if _there(cut[0]):
            return cut
    return named[0] if named else (text, None)


def _cuts(text: str) -> list[tuple[str, str | None]]:
    """Every slash at which a text could be cut."""
    places = [found.start() for found in re.finditer("/", text)]
    cuts = [(text[:at], text[at + 1 :]) for at in places]
    return [(a, b) for a, b in cuts if a and re.fullmatch(r"[A-Za-z_]+(=.*)?", b)]


def _there(text: str) -> bool:
    """Whether the file of ``km=`` or ``labels=``, or the folder of ``vectors=``, exists."""
    name, _, place = text.partition("=")
    if name == "vectors":
        path = place.partition(":")[2]
        return any(Path(p).expanduser().is_dir() for p in (path, path.rpartition("@")[0]) if p)
    paths = [place, *(file for file, column in file_cuts(place) if "/" not in column)]
    return any(Path(p).expanduser().is_file() for p in paths if p)


def _whole(text: str, number: str, equals: str) -> int:
    if not equals or not number.isdigit() or int(number) < 1:
        raise ConfigError(
            f"the condition {text!r} has no number of clusters",
            got=number or "nothing",
            expected=f"for example {text.partition('=')[0]}=3",
        )
    return int(number)
