"""Mix the speakers of a corpus into the cache, once."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata import __version__
from voxstrata.corpora.corpus import Corpus
from voxstrata.corpora.mixtures.config import MixturesConfig
from voxstrata.corpora.mixtures.plan import Planned, plan
from voxstrata.corpora.problems import Problem
from voxstrata.corpora.recipes._turns import join_spans
from voxstrata.files import (
    atomic_write,
    built_once,
    cache_dir,
    fingerprint,
    sha256_file,
    write_json,
)
from voxstrata.types import SAMPLE_RATE, Segment

GENERATION = 1
"""Raised whenever the same settings and corpus would give other audio or labels."""

MANIFEST = "manifest.jsonl"
DONE = "corpus.json"
"""Written last: a folder that holds it is complete."""

PEAK = 0.9
"""A louder mixture is made softer as a whole (LibriMix does the same)."""

FLOOR = 10 ** (-70 / 20)
"""Amplitude of the noise under a mixture, so that pauses are no digital silence."""

Progress = Callable[[int, int], None]


def mixtures_fingerprint(config: MixturesConfig, corpus: Corpus) -> str:
    """Sixteen hex digits that stand for settings, corpus and generator."""
    return fingerprint(
        {
            "config": config.model_dump(mode="json"),
            "corpus": corpus.fingerprint,
            "voxstrata": __version__,
            "generation": GENERATION,
        }
    )


def build_mixtures(
    config: MixturesConfig, corpus: Corpus, *, progress: Progress | None = None
) -> Path:
    """The folder of the mixtures of a corpus, made now unless the cache has it.

    The folder holds ``audio/*.flac`` (16 kHz, mono, 16 bit), ``manifest.jsonl`` and
    ``corpus.json`` (settings, corpus, counts, recordings that were not used, digest of the
    manifest). It appears whole or not at all.

    Args:
        config: what to make.
        corpus: recordings of one speaker each, with the tier ``speaker``.
        progress: called as ``progress(done, total)`` with numbers of mixtures.

    Raises:
        LabelError: a recording has no speaker.
        UsageError: there are too few speakers, or one of them says nothing.
        AudioError: a recording cannot be read again.
        StorageError: the cache cannot be written, or another process is at it.
    """
    name = mixtures_fingerprint(config, corpus)
    final = cache_dir("mixtures", name)
    with built_once(final, DONE) as work:
        if work is None:
            return final
        (work / "audio").mkdir(exist_ok=True)
        problems: list[Problem] = []
        rows = []
        for made in plan(config, corpus, problems):
            rows.append(_write(work, made, f"mixture-{name[:8]}-{made.number:05d}", config.seed))
            if progress:
                progress(len(rows), config.count)
        _finish(work, rows, config, corpus, name, problems)
    return final


def mix(made: Planned, seed: int) -> NDArray[np.float64]:
    """Samples of a mixture, [S], between -0.9 and 0.9.

    Raises:
        AudioError: a recording cannot be read.
    """
    size = math.ceil(made.duration_s * SAMPLE_RATE)
    noise = np.random.default_rng([seed, made.number]).random(size)
    audio = FLOOR * (2.0 * noise - 1.0)
    for clip, start, level in zip(made.clips, made.starts_s, made.levels_db, strict=True):
        samples = clip.read() * (10 ** (level / 20) / clip.rms)
        at = round(start * SAMPLE_RATE)
        samples, at = samples[max(0, -at) :], max(0, at)
        samples = samples[: size - at]
        audio[at : at + len(samples)] += samples
    peak = float(np.abs(audio).max())
    return audio if peak <= PEAK else audio * (PEAK / peak)


def turns_of(made: Planned) -> list[Segment]:
    """Who speaks when, in order of time; pauses of a speaker up to 0.2 s belong to the turn."""
    found: list[Segment] = []
    for speaker in made.speakers:
        mine = [
            Segment(span.start_s + start, span.end_s + start, speaker)
            for clip, start in zip(made.clips, made.starts_s, strict=True)
            for span in clip.spans
            if span.label == speaker
        ]
        found += join_spans(mine, speaker)
    return sorted(found, key=lambda s: (s.start_s, s.end_s, s.label))


def _write(work: Path, made: Planned, id: str, seed: int) -> dict[str, Any]:
    import soundfile

    audio = mix(made, seed)
    file = f"audio/{id}.flac"
    soundfile.write(work / file, audio, SAMPLE_RATE, subtype="PCM_16")
    return {
        "id": id,
        "file": file,
        "split": made.part,
        "speakers": sorted(made.speakers),
        "turns": [[round(s.start_s, 5), round(s.end_s, 5), s.label] for s in turns_of(made)],
        "turns_from": "+".join(sorted({clip.way for clip in made.clips})),
        "sources": [clip.utterance.id for clip in made.clips],
        "duration": len(audio) / SAMPLE_RATE,
    }


def _finish(
    work: Path,
    rows: list[dict[str, Any]],
    config: MixturesConfig,
    corpus: Corpus,
    name: str,
    problems: list[Problem],
) -> None:
    with atomic_write(work / MANIFEST) as manifest:
        for row in rows:
            manifest.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))
    speech, both = (sum(part) for part in zip(*map(_shared, rows), strict=True))
    write_json(
        work / DONE,
        {
            "config": config.model_dump(mode="json"),
            "fingerprint": name,
            "corpus": {"spec": corpus.spec, "fingerprint": corpus.fingerprint},
            "mixtures": dict(Counter(row["split"] for row in rows)),
            "audio_seconds": round(sum(row["duration"] for row in rows), 3),
            "overlap": round(both / speech, 4),
            "left_out": [problem.to_dict() for problem in problems],
            "manifest_sha256": sha256_file(work / MANIFEST),
            "voxstrata": __version__,
            "generation": GENERATION,
        },
    )


def _shared(row: dict[str, Any]) -> tuple[float, float]:
    """Seconds in which somebody speaks, and in which both do."""
    edges = sorted(
        (time, step) for begin, end, _ in row["turns"] for time, step in ((begin, 1), (end, -1))
    )
    speech = both = 0.0
    for duration, active in _stretches(edges):
        speech += duration * (active > 0)
        both += duration * (active > 1)
    return speech, both


def _stretches(edges: list[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    active = 0
    for (time, step), (following, _) in itertools.pairwise(edges):
        active += step
        yield following - time, active
