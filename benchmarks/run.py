"""The table of ratios; or every benchmark of docs/benchmarks.md, one after the other.

    python benchmarks/run.py [--quick] [--only NAME ...] [--json FILE]
    python benchmarks/run.py --all

The table has one line for each thing that this package claims to do quickly: ours against the best
plain code that we could write (kept in this folder, checked to give the same numbers), timed in
turns, with the number of turns, the spread of their ratios and the floor. Each line is made in a
process of its own. ``--all`` runs the scripts that look into each of them (about 40 minutes on two
cores).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCRIPTS = (
    "similarity.py",
    "overhead.py",
    "memory.py",
    "crossval.py",
    "logistic.py",
    "probing.py",
    "probing_frames.py",
    "neurons.py",
    "synthetic_corpus.py",
    "training.py",
    "store.py",
    "startup.py",
)

HERE = Path(__file__).parent


def machine() -> str:
    """Processor, cores, threads, versions."""
    import torch

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        named = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
        cpu = named[0].partition(":")[2].strip() if named else cpu
    torch_is = f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"{datetime.date.today()}; {cpu}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads of {torch_is}, Python "
        f"{platform.python_version()}; load at the beginning {load}"
    )


def one(name: str, quick: bool) -> None:
    """Run a case and print its lines as JSON."""
    from cases import CASES

    print(json.dumps([line.describe() for line in CASES[name](quick)]))


def asked(name: str, quick: bool) -> list[dict[str, Any]]:
    """The lines of a case, made in another process.

    Raises:
        SystemExit: it failed; its last words are shown.
    """
    command = [sys.executable, str(HERE / "run.py"), "--case", name, *(["--quick"] * quick)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(row: dict[str, Any]) -> str:
    """A line of a Markdown table."""
    unit = row["unit"]

    def size(value: float | None) -> str:
        if value is None:
            return "="
        return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"

    floor = row["floor_is"] if row["floor"] is None else f"{size(row['floor'])}, {row['floor_is']}"
    cells = (
        row["name"],
        size(row["ours"]),
        f"{size(row['alternative'])}, {row['against']}",
        f"**{row['ratio']:.2f}**",
        f"{row['low']:.2f} to {row['high']:.2f}",
        str(row["n"]),
        floor,
        row["checked"],
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller, fewer turns")
    parser.add_argument("--only", nargs="+", default=None, help="some cases")
    parser.add_argument("--json", type=Path, default=None, help="also write the lines here")
    parser.add_argument("--all", action="store_true", help="the long scripts instead")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        one(given.case, given.quick)
        return
    if given.all:
        for name in SCRIPTS:
            print(f"\n== {name}", flush=True)
            subprocess.run([sys.executable, str(HERE / name)], check=True, cwd=HERE)
        return
    from cases import CASES

    unknown = sorted(set(given.only or ()) - set(CASES))
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    begun, about = time.monotonic(), machine()
    print(about, end="\n\n")
    print("| what | ours | alternative | ratio | spread | n | floor | numbers |")
    print("|---|--:|---|--:|---|--:|---|---|", flush=True)
    found: list[dict[str, Any]] = []
    for name in given.only or CASES:
        rows = asked(name, given.quick)
        found += rows
        for row in rows:
            print(line(row), flush=True)
    print(f"\n{time.monotonic() - begun:.0f} s")
    if given.json:
        given.json.write_text(json.dumps({"machine": about, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
