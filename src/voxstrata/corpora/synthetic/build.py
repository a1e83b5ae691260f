"""Build a synthetic corpus into the cache: once, resumable, the same bytes however it is built."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from voxstrata import __version__
from voxstrata.corpora.synthetic.config import SyntheticConfig
from voxstrata.corpora.synthetic.engine import data_path, engine_version, write_data
from voxstrata.corpora.synthetic.plan import Planned, plan
from voxstrata.corpora.synthetic.render import Renderer
from voxstrata.files import (
    atomic_write,
    built_once,
    cache_dir,
    fingerprint,
    numbered,
    sha256_file,
    write_json,
)

GENERATION = 2
"""Raised whenever the same configuration would give other audio or labels."""

MANIFEST = "manifest.jsonl"
DONE = "corpus.json"
"""Written last: a folder that holds it is complete."""

Progress = Callable[[int, int], None]

# Utterances made between two marks on disk: what a killed build loses at most (a second of work).
_CHUNK = 64

_renderer: Renderer | None = None


def corpus_fingerprint(config: SyntheticConfig) -> str:
    """Sixteen hex digits that stand for configuration, generator and espeak-ng version.

    Raises:
        MissingDependencyError: espeak-ng is not installed.
    """
    return fingerprint(
        {
            "config": config.model_dump(mode="json"),
            "voxstrata": __version__,
            "generation": GENERATION,
            "espeak-ng": engine_version(),
        }
    )


def build_synthetic(
    config: SyntheticConfig, *, jobs: int = 1, progress: Progress | None = None
) -> Path:
    """The folder of a synthetic corpus, made now unless the cache has it.

    The folder holds ``audio/*.flac`` (16 kHz, mono, 16 bit), ``manifest.jsonl`` and
    ``corpus.json`` (configuration, versions, counts, digest of the manifest). A build that was
    killed goes on from its last finished chunk. Audio and manifest depend on the configuration
    alone, not on ``jobs``, order or interruptions.

    Args:
        config: what to make.
        jobs: processes; with more than one, the calling script needs the usual
            ``if __name__ == "__main__"`` guard.
        progress: called as ``progress(done, total)`` with numbers of utterances.

    Raises:
        MissingDependencyError: espeak-ng is not installed.
        StorageError: the cache cannot be written, or another process is building this corpus.
    """
    name = corpus_fingerprint(config)
    final = cache_dir("synthetic", name)
    with built_once(final, DONE) as work:
        if work is None:
            if progress:
                progress(config.utterances, config.utterances)
            return final
        (work / "audio").mkdir(parents=True, exist_ok=True)
        (work / "chunks").mkdir(exist_ok=True)
        started = time.monotonic()
        _render_missing(config, work, jobs, progress)
        _finish(config, work, time.monotonic() - started)
    return final


def _render_missing(
    config: SyntheticConfig, work: Path, jobs: int, progress: Progress | None
) -> None:
    planned = plan(config)
    chunks = [planned[i : i + _CHUNK] for i in range(0, len(planned), _CHUNK)]
    missing = [i for i in range(len(chunks)) if not _chunk_file(work, i).exists()]
    done = sum(len(chunk) for i, chunk in enumerate(chunks) if i not in set(missing))
    if progress:
        progress(done, len(planned))
    if not missing:
        return
    with _data(planned) as data:
        for index, rows in _rendered(config.seed, data, work, chunks, missing, jobs):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            with atomic_write(_chunk_file(work, index)) as file:
                file.write(text.encode("utf-8"))
            done += len(rows)
            if progress:
                progress(done, len(planned))


@contextlib.contextmanager
def _data(planned: Sequence[Planned]) -> Iterator[Path]:
    """Private espeak-ng data with the voices of a corpus (0.8 MB, removed afterwards)."""
    voices = {item.voice.name: item.voice for item in planned}
    # Not in the cache: espeak-ng takes short paths only.
    with tempfile.TemporaryDirectory(prefix="vx-") as folder:
        source = data_path()
        yield write_data(Path(folder), {n: v.file(source) for n, v in voices.items()})


def _rendered(
    seed: int,
    data: Path,
    work: Path,
    chunks: Sequence[Sequence[Planned]],
    missing: Sequence[int],
    jobs: int,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Chunk numbers with their manifest lines, in the order in which they get ready."""
    if min(jobs, len(missing)) <= 1:
        renderer = Renderer(data, seed)
        try:
            for index in missing:
                yield index, renderer.write(work, chunks[index])
        finally:
            renderer.close()
        return
    # Spawned, not forked: espeak-ng starts a thread.
    with ProcessPoolExecutor(
        min(jobs, len(missing)),
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(data, seed),
    ) as pool:
        waiting = {pool.submit(_work, work, chunks[i]): i for i in missing}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker(data: Path, seed: int) -> None:
    global _renderer
    _renderer = Renderer(data, seed)


def _work(work: Path, chunk: Sequence[Planned]) -> list[dict[str, Any]]:
    if _renderer is None:
        raise RuntimeError("the worker was not started through _start_worker")
    return _renderer.write(work, chunk)


def _finish(config: SyntheticConfig, work: Path, seconds: float) -> None:
    """Join the chunks into the manifest and write the mark of completion."""
    files = numbered(work / "chunks", "*.jsonl")
    length = 0.0
    with atomic_write(work / MANIFEST) as manifest:
        for file in files:
            content = file.read_bytes()
            manifest.write(content)
            length += sum(json.loads(line)["duration"] for line in content.splitlines())
    shutil.rmtree(work / "chunks")
    write_json(
        work / DONE,
        {
            "config": config.model_dump(mode="json"),
            "fingerprint": corpus_fingerprint(config),
            "utterances": config.utterances,
            "audio_seconds": round(length, 3),
            "wall_seconds_of_last_run": round(seconds, 3),
            "manifest_sha256": sha256_file(work / MANIFEST),
            "voxstrata": __version__,
            "generation": GENERATION,
            "espeak_ng": engine_version(),
        },
    )


def _chunk_file(work: Path, index: int) -> Path:
    return work / "chunks" / f"{index:06d}.jsonl"
