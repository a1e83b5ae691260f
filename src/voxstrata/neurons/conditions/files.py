"""Labels from files: fairseq's ``.tsv`` and ``.km`` (frames or recordings), tables by recording."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import LabelError, UsageError
from voxstrata.neurons.conditions.condition import Labels
from voxstrata.properties.views.tables import read_values
from voxstrata.registry import unknown_name

Ints = NDArray[np.int64]

SLACK = 3
"""Frames by which labels and layer may differ in length: front ends round ends differently."""


MOST_CLUSTERS = 1_000_000
"""Labels are counted from 0 to the largest, so that one wild number would take all memory."""


class FileFrames:
    """One label a frame, from a file.

    Args:
        name: of the condition.
        codes: labels of each recording.
        groups: how many different ones there are.
        unlabelled: recordings of the corpus that the file says nothing of.
    """

    layers: tuple[str, ...] = ()

    def __init__(
        self, name: str, codes: Mapping[str, Ints], groups: int, unlabelled: int = 0
    ) -> None:
        self.name, self._codes, self.unlabelled = name, codes, unlabelled
        self.rows = tuple(f"cluster {i}" for i in range(groups))

    def digest(self) -> str:
        """Changes when a label does: the file may be another one when a run goes on."""
        found = hashlib.sha256()
        for recording in sorted(self._codes):
            found.update(f"{recording} {self._codes[recording].tolist()}".encode())
        return found.hexdigest()

    def codes(
        self, utterance: str, start_s: Sequence[float], end_s: Sequence[float],
        states: Sequence[torch.Tensor],
    ) -> Ints:  # fmt: skip
        """Labels of the frames; those beyond the end of the labels have none.

        Raises:
            LabelError: lengths differ by more than rounding.
        """
        found = np.full(len(start_s), -1, np.int64)
        given = self._codes.get(utterance)
        if given is None:
            return found
        if abs(len(given) - len(found)) > SLACK:
            raise LabelError(
                f"the labels {self.name} do not fit the recording {utterance}",
                got=f"{len(given)} labels, {len(found)} frames",
                expected=f"as many, up to {SLACK}",
                fix="use labels at the frame rate of the model",
            )
        least = min(len(given), len(found))
        found[:least] = given[:least]
        return found


def read_km(path: str | Path, corpus: Corpus) -> FileFrames | Labels:
    """Labels of fairseq's k-means files.

    ``NAME.km`` holds a line of integers a recording, ``NAME.tsv`` beside it the root folder, then a
    line a recording: its path and, behind a tab or space, a number. A recording's id is its
    file name without extension. One integer on every line makes labels of recordings.

    Raises:
        UsageError: a file is missing or malformed, with its line.
        LabelError: they are of another corpus.
    """
    labels = Path(path).expanduser()
    if not labels.name:
        raise UsageError(
            "km= names no file", got=str(path), expected="km=NAME.km with NAME.tsv beside it"
        )
    manifest = labels.with_suffix(".tsv")
    names = [_id(line) for line in _lines(manifest)[1:]]
    lines = _lines(labels)
    if len(lines) != len(names):
        raise UsageError(
            f"{labels.name} and {manifest.name} are of different lengths",
            got=f"{len(lines)} lines of labels, {len(names)} recordings",
            expected="one line of labels a recording",
        )
    codes: dict[str, Ints] = {}
    for number, (name, line) in enumerate(zip(names, lines, strict=True), start=1):
        try:
            found = np.array([int(part) for part in line.split()], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{labels}, line {number}", got=str(error)) from None
        if found.min(initial=0) < 0:
            raise UsageError(f"{labels}, line {number}: a negative label", got=int(found.min()))
        if found.max(initial=0) >= MOST_CLUSTERS:
            raise UsageError(
                f"{labels}, line {number}: a label that is no cluster's number",
                got=int(found.max()),
                expected=f"numbers below {MOST_CLUSTERS:,}",
            )
        if name in codes:
            raise UsageError(
                f"{manifest}: two recordings are called {name!r}",
                expected="file names without extension that are the ids of the corpus",
            )
        codes[name] = found
    unlabelled = _unlabelled(str(labels), codes, codes, corpus)
    title = f"km={labels.name}"
    if all(len(c) == 1 for c in codes.values()):
        # A subset of the recordings may lack a label that the file has elsewhere.
        own = {u.id: int(codes[u.id][0]) for u in corpus.utterances if u.id in codes}
        used = sorted(set(own.values()))
        if len(used) < 2:
            raise LabelError(f"{labels.name} tells no groups apart", got=f"{len(used)} labels")
        place = {label: i for i, label in enumerate(used)}
        names_of = tuple(f"cluster {label}" for label in used)
        of = {name: place[label] for name, label in own.items()}
        return Labels(title, names_of, of, {"unlabelled": unlabelled})
    groups = 1 + max((int(c.max(initial=0)) for c in codes.values()), default=0)
    return FileFrames(title, codes, groups, unlabelled)


def read_labels(path: str | Path, corpus: Corpus) -> Labels:
    """Labels of recordings or speakers from a table (csv, tsv, parquet).

    Args:
        path: ``FILE``, or ``FILE:COLUMN`` where it has several.
        corpus: the recordings.

    Raises:
        UsageError: malformed, several columns and none named; UnknownNameError: no such column.
        LabelError: it is of another corpus, or holds fewer than two labels.
    """
    text, column = next(
        (cut for cut in file_cuts(str(path)) if Path(cut[0]).expanduser().is_file()),
        (str(path), ""),
    )
    table = read_values(text)
    if not column:
        if len(table.values) != 1:
            raise UsageError(
                f"{table.file} has several columns of labels",
                got=", ".join(table.values),
                expected="one, or its name behind a colon",
                fix=f"labels={text}:{next(iter(table.values))}",
            )
        column = next(iter(table.values))
    if column not in table.values:
        raise unknown_name(f"column of {table.file}", column, list(table.values))
    values = table.values[column]
    found: dict[str, str] = {}
    for utterance in corpus.utterances:
        key = utterance.id if table.key == "utterance" else str(utterance.tiers.get("speaker"))
        row = table.index.get(key)
        if row is not None and values[row] is not None:
            value = values[row]
            whole = isinstance(value, float) and value.is_integer()
            found[utterance.id] = str(int(value)) if whole else str(value)
    unlabelled = _unlabelled(table.file, found, table.index, corpus, table.key)
    groups = tuple(sorted(set(found.values())))
    if len(groups) < 2:
        raise LabelError(f"{table.file} tells no groups apart", got=f"{len(groups)} labels")
    own = {name: groups.index(value) for name, value in found.items()}
    return Labels(f"labels={table.file}:{column}", groups, own, {"unlabelled": unlabelled})


def file_cuts(text: str) -> list[tuple[str, str]]:
    """``FILE`` and ``COLUMN`` at every colon from the last one on: columns may be called
    "vectors=2:MODEL"."""
    places = [found.start() for found in re.finditer(":", text)]
    return [(text[:at], text[at + 1 :]) for at in reversed(places) if at]


def _unlabelled(
    file: str,
    found: Mapping[str, object],
    ids: Iterable[str],
    corpus: Corpus,
    key: str = "utterance",
) -> int:
    """Recordings of the corpus without a label.

    Args:
        file: for the message.
        found: labels of recordings.
        ids: of the file.
        corpus: the recordings.
        key: what the file's ids are of, "utterance" or "speaker".

    Raises:
        LabelError: more than half of them have none.
    """
    have = sum(u.id in found for u in corpus.utterances)
    if 2 * have < len(corpus):
        own = [
            u.id if key == "utterance" else str(u.tiers.get("speaker")) for u in corpus.utterances
        ]
        theirs = list(ids)
        strange = [name for name in theirs if name not in set(own)] or theirs
        raise LabelError(
            f"{file} holds labels of another corpus than {corpus.name}",
            got=f"labels of {have} of its {len(corpus)} recordings; the file has "
            + (", ".join(map(repr, strange[:3])) or "no id"),
            expected=f"ids such as {own[0]!r}",
            fix="give labels of this corpus",
        )
    return len(corpus) - have


def _id(line: str) -> str:
    """A recording's id from its line: path, then a tab or a space, then a number."""
    path = line.partition("\t")[0] if "\t" in line else re.sub(r" +\d+ *$", "", line)
    return Path(path.strip()).stem


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise UsageError(
            f"there is no file {path}",
            expected="NAME.km with NAME.tsv beside it",
            fix="check the path",
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text", expected="fairseq's .tsv or .km") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", got=error.strerror or str(error)) from None
