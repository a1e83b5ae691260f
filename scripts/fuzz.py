"""Fuzz every file reader with atheris for a bounded time: `python scripts/fuzz.py --seconds 60`.

Needs `pip install atheris` (coverage-guided, libFuzzer). A finding is an exception outside the
family of ``voxstrata/errors.py``, a read of more than ``HANG_S`` seconds, or more than
``MEMORY_GIB`` of address space. Inputs that made one are kept under ``--out``; put a small one into
``tests/property/test_readers.py`` with the repair.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

HANG_S, MEMORY_GIB = 20, 8
MOST_RESTARTS = 20
"""Fresh starts of a reader that hung or was ended, within its time."""


def main() -> int:
    """Fuzz the readers asked for, one process each; 1 where something was found."""
    from fuzzing import TARGETS

    known = [target.name for target in TARGETS]
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=int, default=60, help="for each reader")
    options.add_argument("--reader", action="append", choices=known, help="default: all")
    options.add_argument("--out", type=Path, default=Path("build/fuzz"), help="for findings")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        fuzz(given.child, given.seconds, given.out, given.seed)
        return 0
    print(f"{'reader':<24}{'seconds':>8}{'executions':>12}{'findings':>10}", flush=True)
    rows = [one(name, given.seconds, given.out, given.seed) for name in given.reader or known]
    total = [sum(column) for column in zip(*rows, strict=True)]
    print(f"{'all':<24}{total[0]:>8}{total[1]:>12}{total[2]:>10}")
    return 1 if total[2] else 0


def one(name: str, seconds: int, out: Path, seed: int) -> tuple[int, int, int]:
    """Fuzz one reader: seconds, executions and findings."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun, runs = time.monotonic(), 0
    for start in range(MOST_RESTARTS):
        left = seconds - int(time.monotonic() - begun)
        if left <= 0:
            break
        command = [sys.executable, __file__, "--child", name, "--seconds", str(left)]
        command += ["--out", str(folder), "--seed", str(seed + start)]
        with (folder / "log.txt").open("ab") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, check=False)
        counted = folder / "runs.json"
        runs += json.loads(counted.read_text()) if counted.exists() else 0
        counted.unlink(missing_ok=True)
        if ended.returncode == 0:
            break
    kept = [
        p for p in folder.iterdir() if p.name.startswith(("finding-", "timeout-", "crash-", "oom-"))
    ]
    found = len([p for p in kept if p.suffix != ".txt"])
    took = round(time.monotonic() - begun)
    print(f"{name:<24}{took:>8}{runs:>12}{found:>10}", flush=True)
    for path in sorted(folder.glob("finding-*.txt")):
        print(f"    {path.with_suffix('')}: {path.read_text().splitlines()[-1][:120]}", flush=True)
    for path in kept:
        if not path.name.startswith("finding-"):
            print(f"    {path}", flush=True)
    return took, runs, found


def fuzz(name: str, seconds: int, out: Path, seed: int) -> None:
    """The process of one reader; libFuzzer ends it."""
    import atheris
    from fuzzing import named
    from fuzzing.mutants import mutant

    target = named(name)
    most = MEMORY_GIB << 30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))  # what asks for more gets MemoryError
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    target.beside(place)
    corpus = out / "corpus"
    corpus.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=["voxstrata", "praatio"], enable_loader_override=False):
        for number, data in enumerate(target.seeds()):
            (corpus / f"seed-{number}").write_bytes(data)
            target.attempt(data, place)  # imports what the reader needs
    seen: set[str] = set()
    runs = 0

    def attempt(data: bytes) -> None:
        nonlocal runs
        runs += 1
        if runs % 100 == 0:
            (out / "runs.json").write_text(str(runs))
        try:
            target.attempt(data, place)
        except Exception as error:  # the point of all this
            last = [
                f for f in traceback.extract_tb(error.__traceback__) if "/voxstrata/" in f.filename
            ]
            where = f"{last[-1].filename}:{last[-1].lineno}" if last else "?"
            key = hashlib.sha256(f"{type(error).__name__} {where}".encode()).hexdigest()[:10]
            if key not in seen:
                seen.add(key)
                (out / f"finding-{key}").write_bytes(data)
                told = f"{type(error).__name__} at {where}: {str(error)[:200]!r}"
                (out / f"finding-{key}.txt").write_text(
                    f"{traceback.format_exc()[-4000:]}\n{told}\n"
                )

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        source = random.Random(seed)
        if source.random() < 0.3:
            changed: Any = atheris.Mutate(data, most)
            return bytes(changed)
        return mutant(data, source, structured=target.json)[:most]

    flags = [f"-max_total_time={seconds}", f"-timeout={HANG_S}", "-rss_limit_mb=4096",
             "-max_len=65536", f"-artifact_prefix={out}/", f"-seed={seed}"]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags, str(corpus)], attempt, custom_mutator=mutated)
    try:
        atheris.Fuzz()
    finally:
        (out / "runs.json").write_text(str(runs))
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
