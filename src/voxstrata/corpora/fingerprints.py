"""What a corpus is, in sixteen digits.

The digest covers, utterance by utterance in order: id, start, duration, channels, every tier,
and of each recording its sampling rate, length, size in bytes and a sample of its bytes (4 kB at
the beginning, middle and end). Paths and modification times do not enter: a copy of a corpus has
the fingerprint of the original, and a run resumes on another machine; an edited recording or
label changes it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.corpora.cuts import files_of, is_plain
from voxstrata.corpora.tiers import Tiers
from voxstrata.types import Segment

if TYPE_CHECKING:
    from lhotse.cut import Cut

BLOCK = 4096

_known: dict[str, tuple[int, int, str]] = {}
_lock = threading.Lock()


def file_print(path: str) -> str:
    """Digest of a file's size and of three blocks of it; ``"absent"`` where there is none."""
    file = Path(path)
    try:
        stat = file.stat()
        known = _known.get(path)
        if known is not None and known[:2] == (stat.st_mtime_ns, stat.st_size):
            return known[2]
        digest = hashlib.sha256(str(stat.st_size).encode())
        with file.open("rb") as handle:
            for at in (0, stat.st_size // 2, max(0, stat.st_size - BLOCK)):
                handle.seek(at)
                digest.update(handle.read(BLOCK))
    except OSError:
        return "absent"
    found = digest.hexdigest()[:16]
    with _lock:
        _known[path] = (stat.st_mtime_ns, stat.st_size, found)
    return found


def corpus_print(cuts: Iterable[Cut], workers: int = 8) -> str:
    """Sixteen hex digits that identify the content of a corpus."""
    held = list(cuts)
    paths = list(dict.fromkeys(path for cut in held for path in files_of(cut)))
    with ThreadPoolExecutor(workers) as pool:
        prints = dict(zip(paths, pool.map(file_print, paths, chunksize=64), strict=True))
    digest = hashlib.sha256()
    for cut in held:
        facts: list[Any] = [cut.id, cut.duration, dict(sorted(Tiers(cut).items()))]
        facts.append([prints[path] for path in files_of(cut)])
        if is_plain(cut):
            recording = cut.recording
            facts += [cut.start, cut.channel, recording.sampling_rate, recording.num_samples]
        else:  # mixed or augmented: all that lhotse knows, paths apart
            facts.append(_without_paths(cut.to_dict()))
        text = json.dumps(facts, default=_plain, ensure_ascii=False, sort_keys=True)
        digest.update(text.encode("utf-8") + b"\n")
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Segment):
        return [value.start_s, value.end_s, value.label]
    return str(value)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_paths(v) for k, v in value.items() if k != "source"}
    if isinstance(value, list | tuple):
        return [_without_paths(v) for v in value]
    return value
