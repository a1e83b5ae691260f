"""Codes of every recording of a run: computed once, kept in one file, taken over by later runs.

``targets/codes.npz`` in the output folder holds the codes of all recordings, one after another
(``uint16``, a code a frame of the network), where each recording begins, and the centres;
``targets/targets.json`` says how they were made and is written last. What an interrupted run has
done so far is in ``state/``, which goes when the run is finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.config import build
from voxstrata.errors import ConfigError, CorpusError, StorageError
from voxstrata.files import fingerprint, read_json, storage_errors, write_json
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import KaldiConfig
from voxstrata.numerics.kmeans import assign, fit_best, perplexity
from voxstrata.streaming.runs import STATE
from voxstrata.sums import DamagedError, read_arrays
from voxstrata.training.objective import Context
from voxstrata.training.objectives.masked.phones import agreement, labels
from voxstrata.training.objectives.masked.recordings import (
    PART,
    Features,
    Recordings,
    compute,
    finish,
    raw_front,
    save_arrays,
    with_statistics,
)
from voxstrata.training.objectives.masked.settings import MaskedOptions, TargetsConfig
from voxstrata.training.objectives.masked.sources import (
    FrontSource,
    Source,
    nearest_frames,
    open_source,
    with_context,
)

FOLDER, CODES, RECORD = "targets", "codes.npz", "targets.json"
_SAMPLE, _HELD = 5301, 5302  # purpose numbers of the random generators

Say = Callable[[str], None]


@dataclass(frozen=True)
class Targets:
    """Codes, and the front end they go with.

    Attributes:
        front: front end of the network, with the training corpus's statistics.
        centres: float64 [K, D'].
        config: how the codes were made.
        facts: what is worth telling about them.
        recordings: which.
        features: raw log-mel frames, if they were kept, and frame counts.
    """

    front: FrontEnd
    centres: NDArray[np.float64]
    config: TargetsConfig
    facts: dict[str, Any]
    recordings: Recordings
    features: Features
    _codes: NDArray[np.uint16]
    _offsets: NDArray[np.int64]

    def codes(self, recording: int) -> NDArray[np.uint16]:
        """Codes of a recording, one a frame of the network; none where it cannot be used."""
        return self._codes[self._offsets[recording] : self._offsets[recording + 1]]


def prepare_targets(options: MaskedOptions, context: Context, clusters: int) -> Targets:
    """Statistics, centres and codes: what is on disk is taken, the rest is computed.

    Args:
        options: settings of the objective.
        context: the run.
        clusters: how many centres.

    Raises:
        ConfigError: another run's targets do not fit this one.
        CorpusError: too little speech for so many clusters, or no recording can be used.
        StorageError: the disk is full, or a file is damaged.
    """
    config, say = options.targets, context.say
    recordings = Recordings.among(context.items)
    raw = raw_front(context.front)
    seconds = sum(item.duration_s for item in recordings.items)
    keep = seconds * 100 * raw.width * 4 <= config.features_gb * 1e9
    partial = context.folder / STATE / "features"
    features, statistics = compute(recordings, raw, partial, keep=keep, say=say)
    if config.folder is not None:
        return _taken_over(config.folder, context, clusters, recordings, features)
    front = context.front
    if config.statistics == "corpus":
        front = with_statistics(front, statistics.mean, statistics.std)
    source = open_source(config, front)
    about = {**_about(context, clusters), "targets": config.model_dump(mode="json")}
    about |= {"source": source.fingerprint, "front": front.fingerprint}
    about["targets"].pop("features_gb")
    identity = fingerprint([about, recordings.copies.tolist()])
    place = context.folder / FOLDER
    if not ((place / RECORD).exists() and read_json(place / RECORD).get("identity") == identity):
        _make(config, place, source, front, recordings, features, clusters, identity, about, say)
    return _open(place, recordings, features)


def _about(context: Context, clusters: int) -> dict[str, Any]:
    """What must be the same for codes to be another run's."""
    return {
        "corpus": context.items.corpus.fingerprint,
        "speeds": list(context.items.speeds),
        "raw": raw_front(context.front).fingerprint,
        "stack": getattr(context.front.config, "stack", 1),
        "clusters": clusters,
    }


def _taken_over(
    folder: str, context: Context, clusters: int, recordings: Recordings, features: Features
) -> Targets:
    place = targets_folder(folder)
    record = read_json(place / RECORD)
    ours = _about(context, clusters)
    other = [
        f"{k}: {record['about'].get(k)} there, {v} here"
        for k, v in ours.items()
        if record["about"].get(k) != v
    ]
    if other:
        raise ConfigError(
            f"the targets in {place} are for another training corpus, front end or head",
            got="; ".join(other),
            expected="the same recordings, speeds, features and number of clusters",
            fix="drop objective.targets.folder, so that targets are computed",
        )
    return _open(place, recordings, features)


def targets_folder(folder: str | Path) -> Path:
    """The folder with targets that a run's folder, or itself, stands for.

    Raises:
        ConfigError: there are none.
    """
    path = Path(folder).expanduser()
    for place in (path / FOLDER, path):
        if (place / RECORD).is_file():
            return place
    raise ConfigError(
        f"{path} holds no targets",
        got=f"no {FOLDER}/{RECORD}",
        expected="the output folder of a finished or running `masked` training",
        fix="run that training first, or drop objective.targets.folder",
    )


def _open(place: Path, recordings: Recordings, features: Features) -> Targets:
    record = read_json(place / RECORD)
    found = _read(place / CODES, place)
    codes, offsets, centres = found["codes"], found["offsets"], found["centres"]
    if len(offsets) != len(recordings) + 1 or offsets[-1] != len(codes):
        raise StorageError(
            f"{place / CODES} is for other recordings",
            got=f"{len(offsets) - 1} recordings, {len(codes)} codes",
            expected=f"{len(recordings)} recordings",
            fix=f"delete {place} and run the same command again",
        )
    front = FrontEnd(
        build(KaldiConfig, record["front"]["settings"], source=str(place / RECORD)),
        record["front"]["name"],
    )
    config = build(TargetsConfig, record["config"], source=str(place / RECORD))
    return Targets(front, centres, config, record["facts"], recordings, features, codes, offsets)


def _read(path: Path, folder: Path) -> dict[str, NDArray[Any]]:
    try:
        return read_arrays(path)
    except (DamagedError, OSError) as error:
        raise StorageError(
            f"{path} is damaged or missing",
            got=str(error),
            fix=f"delete {folder} and run the same command again",
        ) from None


def _make(
    config: TargetsConfig, place: Path, source: Source, front: FrontEnd, recordings: Recordings,
    features: Features, clusters: int, identity: str, about: dict[str, Any], say: Say,
) -> None:  # fmt: skip
    read_rows = _Reader(source, front, recordings, features)
    partial = place.parent / STATE / f"codes-{identity}"
    if not (partial / "centres.npz").exists():
        say(f"targets: {clusters} clusters of {source.summary}")
        _fit(config, read_rows, recordings, features, clusters, partial)
    found = _read(partial / "centres.npz", partial)
    centres, fits = found["centres"], found["fits"]
    sums = np.zeros(2)
    parts = []
    for number, part in enumerate(recordings.parts()):
        path = partial / f"part-{number:05d}.npz"
        if not path.exists():
            _assign(read_rows, part, features, front, centres, path)
            if number % 8 == 7:
                say(f"targets: codes of {part.stop} of {len(recordings)} recordings")
        found = _read(path, partial)
        parts.append((found["codes"], found["counts"]))
        sums += found["sums"]
    codes = np.concatenate([one for one, _ in parts])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([c for _, c in parts]))])
    facts = {
        **_facts(codes, offsets, recordings, front),
        "inertia": float(sums[1] / sums[0]),
        "fits": [dict(zip(("seed", "fitted", "held"), row, strict=True)) for row in fits.tolist()],
        "source": source.summary,
        "unusable": {recordings.items[i].id: why for i, why in features.bad.items()},
    }
    say(_sentence(facts, clusters))
    with storage_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        (place / RECORD).unlink(missing_ok=True)
    save_arrays(place / CODES, codes=codes, offsets=offsets.astype(np.int64), centres=centres)
    kept = config.model_copy(
        update={"model": _absolute(config.model), "folder": None} if config.model else {}
    )
    write_json(
        place / RECORD,
        {
            "identity": identity,
            "about": about,
            "config": kept.model_dump(mode="json"),
            "front": {"name": front.name, "settings": front.config.model_dump(mode="json")},
            "facts": facts,
        },
    )


class _Reader:
    """Frames that are clustered, of any recording; from the kept features where they are those."""

    def __init__(
        self, source: Source, front: FrontEnd, recordings: Recordings, features: Features
    ) -> None:
        self.source, self._recordings, self._features = source, recordings, features
        assert isinstance(front.config, KaldiConfig)
        self._own = front.config.model_copy(update={"stack": 1})
        self._context = getattr(source, "context", 0)
        self._same = (
            features.kept and isinstance(source, FrontSource) and source.front.config == self._own
        )

    def __call__(self, indices: list[int]) -> list[NDArray[np.float32]]:
        """[T, D'] of each; recordings that are too short for the source have no frame."""
        if self._same:
            counts = self._features.counts
            made = [finish(self._features.rows(i, 0, int(counts[i])), self._own) for i in indices]
            return [with_context(rows.numpy(), self._context) for rows in made]
        minimum = self.source.minimum
        waves = [self._recordings.items[i].read() for i in indices]
        long = [k for k, wave in enumerate(waves) if len(wave) >= minimum]
        found: list[NDArray[np.float32]] = [np.empty((0, 0), dtype=np.float32)] * len(indices)
        for k, rows in zip(long, self.source.rows([waves[k] for k in long]), strict=True):
            found[k] = rows
        return found


def _fit(
    config: TargetsConfig, read_rows: _Reader, recordings: Recordings, features: Features,
    clusters: int, partial: Path,
) -> None:  # fmt: skip
    """Centres from frames of recordings in seeded order, each as often as it comes in a pass."""
    usable = np.flatnonzero(features.counts > 0)
    drawn = np.repeat(usable, recordings.copies[usable])
    names = np.array([recordings.items[i].utterance.id for i in usable])
    different = np.unique(names)
    rng = np.random.default_rng([config.seed, _HELD])
    count = min(len(different) - 1, max(1, round(config.held * len(different))))
    held_names = set(rng.permutation(different)[:count].tolist())
    order = np.random.default_rng([config.seed, _SAMPLE]).permutation(drawn)
    wanted = {False: config.frames, True: max(1, round(config.frames * config.held))}
    chosen: list[tuple[int, int, bool]] = []  # recording, which visit, whether held
    seen: dict[int, int] = {}
    for index in order.tolist():
        held = recordings.items[index].utterance.id in held_names
        if wanted[held] <= 0:
            continue
        chosen.append((index, seen.get(index, 0), held))
        seen[index] = seen.get(index, 0) + 1
        wanted[held] -= min(config.per_recording, int(features.counts[index]))
    rows: dict[bool, list[NDArray[np.float32]]] = {False: [], True: []}
    unique = sorted(seen)
    cached: dict[int, list[NDArray[np.float32]]] = {}
    for start in range(0, len(unique), PART):
        block = unique[start : start + PART]
        cached |= {
            i: _some(found, i, seen[i], config)
            for i, found in zip(block, read_rows(block), strict=True)
        }
    for index, visit, held in chosen:
        rows[held].append(cached[index][visit])
    fitted = np.concatenate(rows[False])[: config.frames]
    if len(fitted) < clusters or not rows[True]:
        raise CorpusError(
            f"the training corpus is too small for {clusters} clusters",
            got=f"{len(fitted)} frames of {len(different)} recordings",
            fix="give more recordings, or fewer clusters (model.options.clusters)",
        )
    seeds = [config.seed + k for k in range(config.starts)]
    best, fits = fit_best(fitted, np.concatenate(rows[True]), clusters, seeds)
    save_arrays(
        partial / "centres.npz",
        centres=best.centres,
        fits=np.array([[one.seed, one.inertia, one.held] for one in fits], dtype=np.float64),
    )


def _some(
    rows: NDArray[np.float32], index: int, visits: int, config: TargetsConfig
) -> list[NDArray[np.float32]]:
    """Random frames of a recording for each time it comes."""
    rng = np.random.default_rng([config.seed, _SAMPLE, index])
    count = min(len(rows), config.per_recording)
    return [rows[np.sort(rng.choice(len(rows), count, replace=False))] for _ in range(visits)]


def _assign(
    read_rows: _Reader, part: range, features: Features, front: FrontEnd,
    centres: NDArray[np.float64], path: Path,
) -> None:  # fmt: skip
    indices = [i for i in part if features.counts[i] > 0]
    counts = np.zeros(len(part), dtype=np.int64)
    codes, sums = [], np.zeros(2)
    stack = getattr(front.config, "stack", 1)
    for index, rows in zip(indices, read_rows(indices), strict=True):
        if not len(rows):
            continue
        found, distances = assign(rows, centres)
        frames = -(-int(features.counts[index]) // stack)
        near = nearest_frames(read_rows.source.grid, len(rows), front.grid, frames)
        codes.append(found[near].astype(np.uint16))
        counts[index - part.start] = frames
        sums += (len(rows), distances.sum())
    joined = np.concatenate(codes) if codes else np.zeros(0, dtype=np.uint16)
    save_arrays(path, codes=joined, counts=counts, sums=sums)


def _facts(
    codes: NDArray[np.uint16], offsets: NDArray[np.int64], recordings: Recordings, front: FrontEnd
) -> dict[str, Any]:
    """How diverse the codes are, how long they last, and how far they go with phones."""
    counts = np.bincount(codes)
    changes, parts, phones = 0, [], []
    for index, item in enumerate(recordings.items):
        own = codes[offsets[index] : offsets[index + 1]]
        changes += int((own[1:] != own[:-1]).sum())
        if item.speed == 1.0 and len(own) and item.utterance.segments("phones"):
            parts.append(own.astype(np.int64))
            phones += labels(item.utterance, front.grid, len(own))
    facts: dict[str, Any] = {
        "frames": len(codes),
        "used": int((counts > 0).sum()),
        "perplexity": perplexity(counts),
        "run_length": len(codes) / max(1, changes + len(recordings)),
    }
    found = agreement(np.concatenate(parts), phones) if parts else None
    if found is not None:
        facts |= {"pnmi": found.pnmi, "purity": found.purity, "labelled": found.frames}
    return facts


def _sentence(facts: dict[str, Any], clusters: int) -> str:
    text = (
        f"targets: {facts['used']} of {clusters} codes used, perplexity {facts['perplexity']:.1f}, "
        f"inertia {facts['inertia']:.4g}, {facts['run_length']:.2f} frames a run"
    )
    if "pnmi" in facts:
        text += f"; with phones: PNMI {facts['pnmi']:.3f}, purity {facts['purity']:.3f}"
    return text


def _absolute(text: str | None) -> str | None:
    """A model folder by its whole path, so that a later run finds it from anywhere."""
    if text is None:
        return None
    path = Path(text).expanduser()
    return str(path.absolute()) if path.exists() else text
