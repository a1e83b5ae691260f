"""Which works a results folder rests on, found in its records and tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from voxstrata.config import Config, build, read_yaml
from voxstrata.errors import ResultsError
from voxstrata.references.bibliography import bibliography
from voxstrata.references.explanation import explanations
from voxstrata.results import RECORD, TABLE, Results, load_results

FILE = Path(__file__).parent / "cited.yaml"

DEPTH = 8
"""How many folders deep results are looked for: a study holds parts, which hold jobs that train."""

Keys = dict[str, tuple[str, ...]]


class Cited(Config):
    """What to cite for the parts of a run, keys of the bibliography by name of the part.

    Attributes: tables of ``cited.yaml``; ``learners`` are jobs that use scikit-learn.
    """

    jobs: Keys
    estimators: Keys
    called: Keys
    families: Keys
    types: Keys
    releases: Keys
    objectives: Keys
    backends: Keys
    normalised: tuple[str, ...]
    corpora: Keys
    sources: Keys
    libraries: Keys
    learners: tuple[str, ...]


@cache
def cited() -> Cited:
    """``cited.yaml``, read.

    Raises:
        ConfigError: it is malformed.
    """
    return build(Cited, read_yaml(FILE), source=FILE.name)


def keys_called(name: str) -> tuple[str, ...]:
    """Keys of the bibliography behind a key or a short name ("a2024"); empty where unknown."""
    return (name,) if name in bibliography() else cited().called.get(name, ())


@dataclass
class Used:
    """What a folder rests on.

    Attributes:
        reasons: by key of the bibliography, what it is for, in the order in which it was met.
        unknown: models and corpora for which no work is known.
        unfinished: folders that hold an unfinished run, which is left out.
    """

    reasons: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)

    def add(self, keys: Iterable[str], reason: str) -> None:
        """Note what ``keys`` are for."""
        for key in keys:
            held = self.reasons.setdefault(key, [])
            if reason not in held:
                held.append(reason)

    def lack(self, what: str) -> None:
        """Note that no work is known for something."""
        if what not in self.unknown:
            self.unknown.append(what)


def works_used(folder: str | Path) -> Used:
    """The works behind a results folder, or behind a folder of several.

    Args:
        folder: as written by any job, by a study, or by the demo.

    Raises:
        ResultsError: there are no finished results in it, or some are damaged.
        StorageError: a run record is damaged.
    """
    root = Path(folder)
    used = Used()
    finished = 0
    for place, whole in _places(root):
        if not whole:
            used.unfinished.append(place)
            continue
        finished += 1
        _of_run(load_results(place), used)
    if not finished:
        raise ResultsError(
            f"{root} holds no finished results",
            expected=f"a folder with {TABLE} and {RECORD}, or folders with them in it",
            fix="finish the run first (the same command resumes it), or check the path",
        )
    return used


def _places(root: Path) -> Iterator[tuple[Path, bool]]:
    """Folders that hold results, and whether these are whole; links are not followed."""
    if not root.is_dir():
        raise ResultsError(
            f"there is no folder {root}", expected="a results folder", fix="check the path"
        )
    for place, folders, files in os.walk(root):
        here = Path(place)
        if len(here.relative_to(root).parts) >= DEPTH:
            folders.clear()
        folders.sort()
        if RECORD in files and TABLE not in files:
            # The record is written last, so a table was there.
            raise ResultsError(
                f"{here} is damaged", got=f"{RECORD} without {TABLE}", fix="run it again"
            )
        if TABLE in files:
            yield here, RECORD in files


def _of_run(results: Results, used: Used) -> None:
    record: Any = results.record
    if not isinstance(record, dict):
        raise ResultsError(
            f"{results.folder / RECORD} is not a run record",
            got=type(record).__name__,
            expected="a mapping",
        )
    tables = cited()
    versions = record.get("versions")
    version = versions.get("voxstrata") if isinstance(versions, Mapping) else None
    used.add(["voxstrata"], f"the program, version {version or '?'}")
    job = str(record.get("job", ""))
    used.add(tables.jobs.get(job, ()), f"the job {job}")
    for name in _list(record.get("cites")):
        keys = keys_called(str(name))
        used.add(keys, f"the study {record.get('study', '')}")
        if not keys:
            used.lack(f"what the study calls {name}")
    _of_table(results, used)
    models = [held for held in _list(record.get("models")) if isinstance(held, Mapping)]
    for model in models:
        _of_model(model, used)
    _of_corpora(record, used)
    _of_settings(record.get("config"), used)
    _of_libraries(versions if isinstance(versions, Mapping) else {}, job, models, used)


def _of_table(results: Results, used: Used) -> None:
    """Works of the measures, properties, tasks and scores that the table holds numbers of."""
    for name, keys in cited().estimators.items():
        if (results.table["estimator"] == name).any():
            used.add(keys, f"the {name} estimate")
    pairs = results.table[["property", "measure"]].drop_duplicates()
    for what, measure in zip(pairs["property"], pairs["measure"], strict=True):
        asked, number = str(what).partition(":")[0], str(measure)
        if asked == "similarity":
            _add_explained("measures", "the measure", number, used)
            continue
        for kind, noun in (("properties", "the property"), ("tasks", "the task")):
            _add_explained(kind, noun, asked, used)
        base = number.partition("/")[0].partition(":")[0]
        _add_explained("scores", "the score", "eer" if base.startswith("eer") else base, used)


def _add_explained(kind: str, noun: str, name: str, used: Used) -> None:
    about = explanations(kind).get(name)
    if about is not None:
        used.add(about.cite, f"{noun} {name}")


def _of_model(model: Mapping[str, Any], used: Used) -> None:
    tables = cited()
    spec, family = str(model.get("spec", "")), str(model.get("family", ""))
    details = model.get("details")
    facts: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
    kind = str(facts.get("model_type", ""))
    keys = [*tables.families.get(family, ()), *tables.types.get(kind, ())]
    named = f"{spec} {facts.get('source', '')}"
    for part, more in tables.releases.items():
        if part in named:
            keys += more
    used.add(keys, f"the model {spec}")
    objective = str(facts.get("objective") or "")
    if objective and not model.get("random"):
        used.add(tables.objectives.get(objective, ()), f"training of {spec} by {objective}")
    for corpus in _list(facts.get("trained_on")):
        _of_spec(str(corpus), used, f"training of {spec}")
    if not keys and family not in tables.families:
        used.lack(f"the model {spec}")


def _of_settings(config: Any, used: Used) -> None:
    """Works of what a run was asked to do beside its main measures."""
    if not isinstance(config, Mapping):
        return
    tables = cited()
    if config.get("rankings"):
        for name, about in explanations("rankings").items():
            used.add(about.cite, f"the ranking {name}")
    if config.get("lm"):
        used.add(explanations("scores")["wer-lm"].cite, "the language model")
    objective = config.get("objective")
    if isinstance(objective, Mapping):
        name = str(objective.get("name", ""))
        used.add(tables.objectives.get(name, ()), f"training by {name}")
    for backend in _list(config.get("backend")):
        used.add(tables.backends.get(str(backend), ()), f"the backend {backend}")
    if config.get("as_norm"):
        used.add(tables.normalised, "normalisation of scores")


def _of_corpora(record: Mapping[str, Any], used: Used) -> None:
    """Corpora of a run: what their sources say of them, and how they were named."""
    corpus = record.get("corpus")
    if not isinstance(corpus, Mapping):
        return
    details = corpus.get("details")
    joined = details.get("corpora") if isinstance(details, Mapping) else None
    parts = dict(joined) if isinstance(joined, Mapping) else {}
    for spec, facts in (parts or {str(corpus.get("spec", "")): details}).items():
        known = _names(str(spec))
        for held in _mappings(facts):
            known += [str(held.get(key, "")) for key in ("corpus", "source")]
        tables = cited()
        known = [name for name in known if name in tables.corpora or name in tables.sources]
        for name in known:
            _of_name(name, used, f"the corpus {name}")
        if not known:
            used.lack(f"the corpus {spec or corpus.get('name')}")


def _of_spec(spec: str, used: Used, reason: str) -> None:
    for name in _names(spec):
        _of_name(name, used, reason)


def _names(spec: str) -> list[str]:
    """Recipes and sources that a spec names: "mixtures:librispeech:DIR" names LibriSpeech."""
    tables = cited()
    parts = [part.partition(",")[0].strip() for part in spec.split(":")]
    return [part for part in parts if part in tables.corpora or part in tables.sources]


def _of_name(name: str, used: Used, reason: str) -> None:
    tables = cited()
    used.add((*tables.corpora.get(name, ()), *tables.sources.get(name, ())), reason)


def _of_libraries(
    found: Mapping[str, Any], job: str, models: list[Mapping[str, Any]], used: Used
) -> None:
    """``found``: versions by library."""
    tables = cited()
    for name, keys in tables.libraries.items():
        if name == "transformers" and not any(m.get("family") == "huggingface" for m in models):
            continue
        if name == "scikit-learn":
            if job not in tables.learners:
                continue
        elif found.get(name, "absent") == "absent":
            continue
        used.add(keys, f"the library {name}")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """``value`` and all mappings inside it."""
    if isinstance(value, Mapping):
        yield value
        for held in value.values():
            yield from _mappings(held)
    elif isinstance(value, list):
        for held in value:
            yield from _mappings(held)
