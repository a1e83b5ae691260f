"""Trials: pairs of recordings, and whether one speaker spoke both. Lists in files, and matching.

Read: ``LABEL ID ID`` (VoxCeleb), ``ENROL TEST LABEL`` (Kaldi, WeSpeaker) and ``trials/*.csv`` of
prepared corpora, with labels 1 / 0, target / nontarget or target / imposter. Written: ``1 ID ID``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import LabelError, ShapeError, UsageError
from voxstrata.files import atomic_write, fingerprint

LABELS = {
    "1": True, "target": True, "tgt": True,
    "0": False, "nontarget": False, "non-target": False, "imposter": False, "impostor": False,
    "imp": False,
}  # fmt: skip
"""How lists say "same speaker" and "two speakers"."""

ENDINGS = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".sph", ".aac", ".aiff"})
"""Endings of file names that are no part of an id."""

SHOWN = 50
"""Malformed lines shown in a message; all are counted."""


@dataclass(frozen=True)
class Trials:
    """A list of trials.

    Attributes:
        ids: recordings, each once, in order of first mention.
        first, second: [N] int32; positions in ``ids`` of the two sides (enrolment, test).
        target: [N] bool; whether one speaker spoke both.
        source: where the list comes from, for the record.
    """

    ids: tuple[str, ...]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    target: NDArray[np.bool_]
    source: str = ""

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.target):
            raise ShapeError(
                "the columns of a trial list differ in length",
                got=f"{len(self.first)}, {len(self.second)} and {len(self.target)}",
            )

    def __len__(self) -> int:
        return len(self.target)

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of ids, pairs and labels, in order."""
        digest = hashlib.sha256()
        for column in (self.first, self.second, self.target):
            digest.update(np.ascontiguousarray(column).tobytes())
        return fingerprint([list(self.ids), digest.hexdigest()])

    def keep(self, chosen: NDArray[Any]) -> Trials:
        """The trials at positions (or where a mask is true), with the recordings they need."""
        pairs = np.stack([self.first[chosen], self.second[chosen]])
        used, places = np.unique(pairs, return_inverse=True)
        first, second = places.reshape(pairs.shape).astype(np.int32)
        ids = tuple(self.ids[i] for i in used)
        return replace(self, ids=ids, first=first, second=second, target=self.target[chosen])

    def without(self, gone: Collection[str]) -> Trials:
        """The trials that need none of these recordings."""
        bad = np.array([name in gone for name in self.ids], dtype=bool)
        if not bad.any():
            return self
        return self.keep(~(bad[self.first] | bad[self.second]))

    def need_both_kinds(
        self, fix: str = "give at least two speakers, and of one of them two recordings"
    ) -> None:
        """Check that error rates can be computed.

        Args:
            fix: the remedy told.

        Raises:
            UsageError: there are no trials, no target or no non-target trials.
        """
        targets = int(self.target.sum())
        if not targets or targets == len(self):
            raise UsageError(
                f"error rates need trials of both kinds ({self.source or 'trials'})",
                got=f"{targets} target and {len(self) - targets} non-target trials",
                expected="at least one of each",
                fix=fix,
            )

    def summary(self, speakers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Facts for the record.

        Args:
            speakers: speaker by recording, where known.

        Returns:
            ``trials``, ``targets``, ``nontargets``, ``recordings``; with ``speakers`` also their
            number, and ``contradicted``: trials whose label the speakers contradict.
        """
        targets = int(self.target.sum())
        found: dict[str, Any] = {
            "source": self.source,
            "trials": len(self),
            "targets": targets,
            "nontargets": len(self) - targets,
            "recordings": len(self.ids),
        }
        if speakers is not None and all(name in speakers for name in self.ids):
            code = np.unique([speakers[name] for name in self.ids], return_inverse=True)[1]
            same = code[self.first] == code[self.second]
            found["speakers"] = len(np.unique(code))
            found["contradicted"] = int((same != self.target).sum())
        return found


def make_trials(pairs: Iterable[tuple[str, str, bool]], source: str = "") -> Trials:
    """Trials of (id, id, same speaker) triples."""
    places: dict[str, int] = {}
    first, second, target = [], [], []
    for one, other, same in pairs:
        first.append(places.setdefault(one, len(places)))
        second.append(places.setdefault(other, len(places)))
        target.append(same)
    return Trials(
        tuple(places),
        np.array(first, dtype=np.int32),
        np.array(second, dtype=np.int32),
        np.array(target, dtype=bool),
        source,
    )


def read_trials(path: str | Path) -> Trials:
    """Read a list of trials; which column holds the label is found from the whole file.

    Raises:
        UsageError: the file cannot be read or holds no trial.
        LabelError: lines are malformed (all are counted, the first fifty shown with their
            numbers): not three fields, an unknown label, a recording against itself, a pair that
            came before with the other label.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the trial list {file} cannot be read",
            got=str(error),
            expected="a text file with lines such as `1 ID ID`",
            fix="check the path",
        ) from None
    lines = _cells(text)
    if not lines:
        raise UsageError(f"the trial list {file} is empty", expected="lines such as `1 ID ID`")
    at = _label_column(lines)
    problems: list[str] = []
    good: list[tuple[str, str, bool]] = []
    seen: dict[tuple[str, str], tuple[bool, int]] = {}
    for number, cells in lines:
        problem = _malformed(cells, at)
        if not problem:
            one, other = cells[1:] if at == 0 else cells[:2]
            same = LABELS[cells[at].lower()]
            pair = (one, other) if one <= other else (other, one)
            before = seen.setdefault(pair, (same, number))
            if before[0] != same:
                problem = f"line {before[1]} gives this pair the other label"
            else:
                good.append((one, other, same))
        if problem:
            problems.append(f"line {number}: {problem}")
    if problems:
        shown = problems[:SHOWN]
        if len(problems) > SHOWN:
            shown.append(f"... and {len(problems) - SHOWN} more")
        raise LabelError(
            f"{len(problems)} of {len(lines)} lines of the trial list {file} are malformed",
            got="\n    " + "\n    ".join(shown),
            expected="`LABEL ID ID` or `ID ID LABEL`, labels 1 / 0 or target / nontarget",
            fix="correct or remove these lines",
        )
    return make_trials(good, str(file))


def _cells(text: str) -> list[tuple[int, list[str]]]:
    """Fields of every line that is not empty, with its number; a header of a CSV file is none."""
    kept = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not (kept and "," in kept[0][1] and len(kept[0][1].split()) < 3):
        return [(n, line.split()) for n, line in kept]
    if "label" in kept[0][1].lower().split(","):
        kept = kept[1:]
    return [(n, [cell.strip() for cell in line.split(",")]) for n, line in kept]


def _label_column(lines: Sequence[tuple[int, list[str]]]) -> Literal[0, 2]:
    """0 or 2, whichever more lines bear out; where they tie, words say more than digits, which
    may be ids."""
    three = [cells for _, cells in lines if len(cells) == 3]
    front, back = (
        (
            sum(cells[at].lower() in LABELS for cells in three),
            sum(cells[at].lower() in LABELS and not cells[at].isdigit() for cells in three),
        )
        for at in (0, 2)
    )
    return 0 if front >= back else 2


def _malformed(cells: Sequence[str], at: int) -> str:
    if len(cells) != 3:
        return f"{len(cells)} fields, not 3: {' '.join(cells)[:80]}"
    if cells[at].lower() not in LABELS:
        return f"unknown label {cells[at][:40]!r}"
    one, other = cells[1:] if at == 0 else cells[:2]
    if one == other:
        return f"{one} against itself"
    return ""


def save_trials(trials: Trials, path: str | Path) -> Path:
    """Write a list in VoxCeleb's format (``1 ID ID``), whole or not at all.

    Raises:
        UsageError: an id holds white space, which the format cannot carry.
        StorageError: the file cannot be written.
    """
    spaced = [name for name in trials.ids if len(name.split()) != 1]
    if spaced:
        raise UsageError(
            "a trial list cannot hold ids with white space",
            got=f"{len(spaced)}, such as {spaced[0]!r}",
            fix="rename these recordings in their manifest",
        )
    columns = zip(trials.target, trials.first, trials.second, strict=True)
    lines = [f"{int(same)} {trials.ids[a]} {trials.ids[b]}" for same, a, b in columns]
    place = Path(path)
    with atomic_write(place) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))
    return place


@dataclass(frozen=True)
class Matched:
    """A list in the ids of a corpus.

    Attributes:
        trials: with the corpus' ids; trials of absent recordings are not among them.
        absent: ids of the list that the corpus has not, as the list writes them.
        lost: trials that went with them.
    """

    trials: Trials
    absent: tuple[str, ...]
    lost: int


def match_trials(trials: Trials, ids: Collection[str]) -> Matched:
    """Find the recordings of a list in a corpus.

    An id of the list is the corpus' id itself, or the same without the file ending, with folders
    in front of either ("wav/id10270/x/1.wav" for "id10270/x/1"), or with "-" for "/" (the
    ids that ``voxstrata corpora prepare`` gives VoxCeleb). What could be two recordings is
    absent.

    Args:
        trials: as read.
        ids: of the corpus.
    """
    finder = _Finder(ids)
    names = [finder.find(name) for name in trials.ids]
    absent = tuple(old for old, new in zip(trials.ids, names, strict=True) if new is None)
    kept = trials.without(set(absent))
    renamed = {old: new for old, new in zip(trials.ids, names, strict=True) if new is not None}
    columns = zip(kept.first, kept.second, kept.target, strict=True)
    # Two spellings may be one recording, so positions are dealt anew.
    matched = make_trials(
        ((renamed[kept.ids[a]], renamed[kept.ids[b]], bool(same)) for a, b, same in columns),
        trials.source,
    )
    if (matched.first == matched.second).any():
        at = int(np.argmax(matched.first == matched.second))
        raise LabelError(
            f"the trial list {trials.source} holds a recording against itself",
            got=f"{kept.ids[kept.first[at]]} and {kept.ids[kept.second[at]]} are one recording",
            fix="remove these lines",
        )
    return Matched(matched, absent, len(trials) - len(kept))


class _Finder:
    """Recordings of a corpus by all the ways a list may write them."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = frozenset(ids)
        self.plain: dict[str, str | None] = {}
        self.tails: dict[str, str | None] = {}
        for name in ids:
            parts = _parts(name)
            _enter(self.plain, "/".join(parts), name)
            _enter(self.plain, "-".join(parts), name)
            for start in range(1, len(parts)):
                _enter(self.tails, "/".join(parts[start:]), name)

    def find(self, name: str) -> str | None:
        if name in self.ids:
            return name
        parts = _parts(name)
        for start in range(len(parts)):
            for joint in ("/", "-"):
                key = joint.join(parts[start:])
                if key in self.plain:
                    return self.plain[key]
        return self.tails.get("/".join(parts))


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    return tuple(part for part in path.parts if part not in ("/", "."))


def _enter(table: dict[str, str | None], key: str, name: str) -> None:
    """``None`` marks what two recordings share."""
    table[key] = name if table.get(key, name) == name else None
