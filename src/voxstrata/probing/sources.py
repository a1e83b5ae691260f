"""Which recordings a task gets: the corpus map, and what it opens to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from voxstrata.augmentation.channel import random_channel
from voxstrata.config import Config, build, read_yaml
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import ConfigError
from voxstrata.types import Utterance
from voxstrata.verification.embed import through


class TaskSource(Config):
    """The corpora of one task, as an entry of the corpus map.

    Either ``corpus`` alone (parts are made by a seeded split), or ``train`` and ``test`` with or
    without ``dev`` (which is then split off training), or ``dev`` and ``test`` for a task that is
    not trained, or ``folds`` (each is tested once).

    Attributes:
        corpus: one corpus for all parts.
        train, dev, test: a corpus each.
        folds: at least two corpora.
        trials: list of verification trials of the test part; drawn from its recordings without.
        channels: "random" sends every recording through a channel of its own (a seeded room,
            equaliser and noise), so that speaker and channel no longer go together.
    """

    corpus: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    folds: tuple[str, ...] = ()
    trials: str | None = None
    channels: Literal["none", "random"] = "none"

    @field_validator("folds", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_way(self) -> TaskSource:
        parts = self.train or self.dev or self.test
        ways = sum((self.corpus is not None, bool(parts), bool(self.folds)))
        named = self.test and (self.train or self.dev)
        if ways != 1 or (parts and not named) or len(self.folds) == 1:
            raise ValueError(
                "give `corpus`, or `train` and `test` (and `dev`), or `dev` and `test` (of a task "
                "without training), or at least two `folds`"
            )
        return self

    @property
    def specs(self) -> dict[str, str]:
        """Corpus specs by part; folds are "fold1", ...; "all" for one corpus."""
        if self.corpus is not None:
            return {"all": self.corpus}
        if self.folds:
            return {f"fold{i + 1}": spec for i, spec in enumerate(self.folds)}
        named = {"train": self.train, "dev": self.dev, "test": self.test}
        return {part: spec for part, spec in named.items() if spec is not None}


@dataclass(frozen=True)
class Material:
    """The recordings of one task.

    Attributes:
        source: the entry of the corpus map.
        parts: recordings by part, as :attr:`TaskSource.specs` names them.
        skipped: recordings that the corpora left out, with reasons.
    """

    source: TaskSource
    parts: Mapping[str, tuple[Utterance, ...]]
    skipped: tuple[dict[str, str], ...] = ()


def _maps() -> Traversable:
    return resources.files("voxstrata.probing.maps")


def known_maps() -> list[str]:
    """Names of the maps that come with the package."""
    return sorted(
        f.name.removesuffix(".yaml") for f in _maps().iterdir() if f.name.endswith(".yaml")
    )


def read_map(path: str | Path | Mapping[str, Any], tasks: list[str]) -> dict[str, TaskSource]:
    """The corpus map: a YAML file with an entry a task, the name of one that comes with the
    package, or a mapping with an entry a task.

    An entry is a corpus spec, or a mapping with the keys of :class:`TaskSource`; the entry
    ``default`` serves the tasks that have none.

    Args:
        path: the file, a name of :func:`known_maps`, or the entries.
        tasks: tasks that need an entry.

    Raises:
        ConfigError: the file cannot be read or holds something else, or a task has no entry.
    """
    if isinstance(path, Mapping):
        given, path = dict(path), "the corpus map"
    elif str(path) in known_maps():
        with resources.as_file(_maps() / f"{path}.yaml") as place:
            given = read_yaml(place)
    else:
        given = read_yaml(path)
    entries = {
        str(name): build(
            TaskSource,
            {"corpus": entry} if isinstance(entry, str) else dict(entry or {}),
            source=f"{path}, {name}",
        )
        for name, entry in given.items()
        if isinstance(entry, str | Mapping) or entry is None
    }
    odd = [str(name) for name in given if str(name) not in entries]
    if odd:
        raise ConfigError(
            f"{path}: an entry is neither a corpus nor a mapping",
            got=", ".join(odd),
            expected="`sid: CORPUS` or `sid: {train: CORPUS, test: CORPUS}`",
        )
    without = [task for task in tasks if task not in entries and "default" not in entries]
    if without:
        raise ConfigError(
            f"{path} says nothing about some tasks",
            got=", ".join(without),
            expected="an entry for each task that is asked for, or `default: CORPUS`",
            fix="add them, or ask for other --tasks",
        )
    return {task: entries.get(task) or entries["default"] for task in tasks}


class Library:
    """Opens every corpus once, however many tasks name it."""

    def __init__(self, limit: int | None = None) -> None:
        self._held: dict[str, Corpus] = {}
        self._utterances: dict[str, tuple[Utterance, ...]] = {}
        self._by_id: dict[str, Utterance] = {}
        self.limit = limit

    def corpus(self, spec: str) -> Corpus:
        """The corpus named ``spec``; see :func:`voxstrata.corpora.load_corpus` for errors."""
        if spec not in self._held:
            self._held[spec] = load_corpus(spec, limit=self.limit)
        return self._held[spec]

    @property
    def opened(self) -> Mapping[str, Corpus]:
        """Every corpus that was asked for."""
        return self._held

    def material(self, source: TaskSource) -> Material:
        """The recordings of a task.

        Ids are unique over all corpora of a run: another recording with the id of one that came
        before is called ``corpus2/ID`` (by the number of its corpus).
        """
        held = {part: self.corpus(spec) for part, spec in source.specs.items()}
        skipped = [{"id": p.id, "what": p.what} for c in held.values() for p in c.skipped]
        parts = {part: self._named(spec, source.channels) for part, spec in source.specs.items()}
        return Material(source, parts, tuple(skipped))

    def _named(self, spec: str, channels: str) -> tuple[Utterance, ...]:
        key = f"{channels} {spec}"
        if key not in self._utterances:
            number = list(self._held).index(spec) + 1
            made = tuple(self._unique(u, number) for u in self._held[spec].utterances)
            if channels == "random":
                made = tuple(map(_degraded, made))
            self._utterances[key] = made
        return self._utterances[key]

    def _unique(self, utterance: Utterance, corpus: int) -> Utterance:
        before = self._by_id.setdefault(utterance.id, utterance)
        if before is utterance or _same(before, utterance):
            return utterance
        return replace(utterance, id=f"corpus{corpus}/{utterance.id}")


_RENAMED = re.compile(r"^corpus\d+/|~channel$")


def own_id(name: str) -> str:
    """The id that a recording has in its corpus, which lists of trials and of matches use."""
    return _RENAMED.sub("", name)


def _degraded(utterance: Utterance) -> Utterance:
    """The recording as it comes out of a channel of its own, under another id."""
    channel = random_channel(0, utterance.id)
    return replace(through(utterance, lambda _id: channel), id=f"{utterance.id}~channel")


def _same(a: Utterance, b: Utterance) -> bool:
    """Whether two utterances are the same stretch of the same files."""
    from voxstrata.corpora.cuts import CutReader, files_of

    if not (isinstance(a.read, CutReader) and isinstance(b.read, CutReader)):
        return False
    one, two = a.read.cut, b.read.cut
    return files_of(one) == files_of(two) and (one.start, one.duration) == (
        two.start,
        two.duration,
    )
