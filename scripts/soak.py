"""Soak test: mixed work for as long as asked, and whether memory, files and processes stay flat.

    OMP_NUM_THREADS=1 python scripts/soak.py --minutes 60 --out build/soak

The first round runs each job from Python in this process (similarity, properties, probing, neurons,
verification, training with a loader process, a study), later ones two in turn. Every round draws
pages, is given bad input, runs a job that is stopped as by Ctrl-C at a random time and finished,
and one as a command, which is in turn left alone, stopped by Ctrl-C, or killed by SIGKILL at a
random time, and finished. Every finished run must hold the numbers of the first. After a round the
process is read (``soak_readings.py``). OUT holds ``readings.jsonl`` and ``soak.md``. Exit code 1:
something grew, was left behind, or came out differently. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import soak_jobs as jobs
import soak_readings as readings

import voxstrata
from voxstrata.errors import RunInterruptedError, VoxstrataError, VoxstrataWarning
from voxstrata.report import draw_comparison


class Soak:
    """The state of a soak test.

    Args:
        out: folder for everything.
        seed: of what is stopped when.
    """

    def __init__(self, out: Path, seed: int) -> None:
        self.work, self.kept, self.scratch = out / "work", out / "kept", out / "tmp"
        for folder in (self.work, self.kept, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.work, self.scratch):
            folder.mkdir(parents=True)
        self.cache = Path(os.environ["VOXSTRATA_CACHE"])
        self.files = jobs.write_files(out / "files")
        self.random = random.Random(seed)
        self.expected: dict[str, list[tuple[Any, ...]]] = {}
        self.seconds: dict[str, float] = {}
        self.counts = dict.fromkeys(
            ("in this process", "stopped here", "as commands", "interrupted", "killed",
             "refused", "corpus made again"), 0,
        )  # fmt: skip
        self.wrong: list[str] = []

    def round(self, number: int) -> None:
        """One round of everything."""
        if number % 3 == 0:
            shutil.rmtree(self.cache)
            self.counts["corpus made again"] += 1
        names = list(jobs.SETTINGS)
        turn = [names[(2 * number + k) % len(names)] for k in (0, 1)]
        for name in names if number == 1 else turn:
            self._here(name)
        if number == 1:  # results that pages are drawn of again and again
            shutil.copytree(self.work, self.kept)
        self._pages()
        self._refusals()
        self._stopped_here(self.random.choice(names))
        stops = (signal.SIGKILL, signal.SIGINT, None)
        self._command(self.random.choice(names), stops[number % len(stops)])
        shutil.rmtree(self.work)
        self.work.mkdir()

    def _same(self, name: str, out: Path, how: str) -> None:
        found = jobs.numbers(out)
        if not found or found != self.expected.setdefault(name, found):
            self.wrong.append(f"{name} {how} gave other numbers than the first run")
        unfinished = [p.name for p in out.rglob("*.tmp")] + [
            p.name for p in (out / "state", out / "store") if p.exists()
        ]
        if unfinished:
            self.wrong.append(f"{name} {how} left {', '.join(unfinished)}")

    def _here(self, name: str) -> None:
        begun = time.monotonic()
        jobs.run_here(name, self.files, self.work / name)
        self.seconds.setdefault(name, time.monotonic() - begun)
        self.counts["in this process"] += 1
        self._same(name, self.work / name, "in this process")

    def _pages(self) -> None:
        parts = [self.kept / name for name in ("similarity", "properties", "probe")]
        voxstrata.draw_joined(parts, self.work / "joined.html")
        draw_comparison(parts[0], self.kept / "study/similarity", self.work / "compared.html")

    def _refusals(self) -> None:
        """Bad input is told, and leaves nothing open."""
        similarity = {**jobs.SETTINGS["similarity"], "corpus": str(self.work / "not-there")}
        damaged = self.work / "damaged"
        shutil.copytree(self.kept / "similarity", damaged)
        with (damaged / "results.parquet").open("r+b") as file:
            file.truncate(100)
        config = voxstrata.similarity.settings.SimilarityConfig
        for refused in (
            lambda: voxstrata.run_similarity(config.model_validate(similarity), self.work / "no"),
            lambda: voxstrata.load_results(damaged),
            lambda: voxstrata.load_model(str(damaged / "results.parquet")),
            lambda: voxstrata.load_corpus(str(damaged)),
        ):
            try:
                refused()
            except VoxstrataError:
                self.counts["refused"] += 1
            else:
                self.wrong.append("bad input was not refused")

    def _stopped_here(self, name: str) -> None:
        """A job in this process, stopped as by Ctrl-C, then run to its end."""
        out = self.work / f"{name}-stopped"
        after = self.random.uniform(0.2, 0.8) * self.seconds[name]
        with contextlib.suppress(KeyboardInterrupt, RunInterruptedError), _interrupt(after):
            jobs.run_here(name, self.files, out)
        self.counts["stopped here"] += 1
        jobs.run_here(name, self.files, out)
        self._same(name, out, "stopped in this process and run again")

    def _command(self, name: str, stop: signal.Signals | None) -> None:
        """A job as a command, stopped or killed and then run to its end."""
        out = self.work / f"{name}-{stop.name if stop else 'command'}"
        scratch = self.scratch / "command"
        scratch.mkdir()
        environment = {**os.environ, "TMPDIR": str(scratch)}
        if stop == signal.SIGKILL and self.random.random() < 0.5:  # the corpus is made, too
            environment["VOXSTRATA_CACHE"] = str(self.work / "cache")
        words = jobs.command(name, self.files, out)
        if stop:
            after = self.random.uniform(0.1, 1.0) * (self.seconds[name] + 5.0)
            _run(words, environment, stop, after)
            self.counts["killed" if stop == signal.SIGKILL else "interrupted"] += 1
        self.counts["as commands"] += 1
        code, text = _run(words, environment)
        how = f"as a command{f' after {stop.name}' if stop else ''}"
        if code:
            self.wrong.append(f"{name} {how} ended with {code}: {text[-400:]}")
        else:
            self._same(name, out, how)
        if stop == signal.SIGKILL:  # what was killed could not remove its temporary folder
            shutil.rmtree(scratch)
        elif scratch.exists() and not any(scratch.iterdir()):
            scratch.rmdir()


@contextlib.contextmanager
def _interrupt(after: float) -> Iterator[None]:
    """What Ctrl-C does, ``after`` seconds from now, unless the block has ended by then."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run(
    words: list[str],
    environment: Mapping[str, str],
    stop: signal.Signals | None = None,
    after: float = 0.0,
) -> tuple[int, str]:
    """Run a command in a group of its own, sending it a signal after some seconds.

    Ctrl-C goes to the whole group, as from a terminal; SIGKILL to the one process.
    """
    with subprocess.Popen(
        words, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, process_group=0,
    ) as running:  # fmt: skip
        if stop:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(after)
            with contextlib.suppress(ProcessLookupError):
                if stop == signal.SIGKILL:
                    running.kill()
                else:
                    os.killpg(running.pid, stop)
        _, text = running.communicate()
    return running.returncode, text


def main() -> int:
    """Run the test; 0 if all stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder")
    parser.add_argument("--seed", type=int, default=0, help="of what is stopped when")
    given = parser.parse_args()
    out = given.out.resolve()
    if readings.MARK not in os.environ:
        # From the start of the process, so that forked and orphaned children carry the mark.
        here = {readings.MARK: str(os.getpid()), "TMPDIR": str(out / "tmp"),
                "VOXSTRATA_CACHE": str(out / "cache"), "PYTHONWARNINGS": "ignore"}  # fmt: skip
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **here})
    warnings.simplefilter("ignore", VoxstrataWarning)
    import torch

    torch.set_num_threads(1)
    shutil.rmtree(out / "cache", ignore_errors=True)
    soak = Soak(out, given.seed)
    begun, seen = time.monotonic(), []
    with (out / "readings.jsonl").open("w", encoding="utf-8") as log:
        while time.monotonic() - begun < 60 * given.minutes:
            soak.round(len(seen) + 1)
            seen.append(readings.read(begun, [soak.scratch], soak.cache))
            print(f"round {len(seen)}: {asdict(seen[-1])}", flush=True)
            log.write(json.dumps(asdict(seen[-1])) + "\n")
            log.flush()
            for line in soak.wrong:
                print(f"  WRONG: {line}", flush=True)
    lines, wrong = readings.verdict(seen)
    done = ", ".join(f"{count} {what}" for what, count in soak.counts.items())
    text = [f"{len(seen)} rounds in {seen[-1].minutes:.1f} minutes: {done}.", ""]
    text += [f"* {line}" for line in [*lines, *soak.wrong]]
    if not soak.wrong:
        text.append("* every run, stopped or not, ended with the numbers of the first")
    text += ["", readings.table(seen), ""]
    (out / "soak.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))
    return 1 if wrong or soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
