"""Every benchmark of docs/benchmarks.md, one after the other.

python benchmarks/run.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
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
)


def main() -> None:
    here = Path(__file__).parent
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, str(here / name)], check=True, cwd=here)


if __name__ == "__main__":
    main()
