"""How long commands take to begin, against an empty Python and against one that loads torch.

    python benchmarks/startup.py [--repeats 10]

The commands of this package run beside ``python -c pass`` (the floor: no Python program is faster)
and ``python -c 'import torch'`` (what a command that needs a model costs before it does anything).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from _timing import HEADER, Timing, alternate

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch'": ["-c", "import torch"],
    "voxstrata --help": ["-m", "voxstrata", "--help"],
    "voxstrata models list": ["-m", "voxstrata", "models", "list"],
}


def run(name: str) -> Callable[[], object]:
    """Run a command, its output thrown away."""
    command = [sys.executable, *COMMANDS[name]]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def timings(repeats: int) -> dict[str, Timing]:
    """All of them in turns."""
    return alternate({name: run(name) for name in COMMANDS}, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    found = timings(parser.parse_args().repeats)
    print(HEADER)
    for timing in found.values():
        print(timing.line(found["python -c pass"]))


if __name__ == "__main__":
    main()
