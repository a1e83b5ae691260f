"""Peak memory of a similarity run against the length of the corpus: it should be flat.

    python benchmarks/memory.py [--models log-mel mfcc random:ecapa,channels=64,mfa=192]

Each length runs in a process of its own (peak resident memory is a property of a process), with
the moments route, whose memory does not depend on the number of rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from overhead import make_corpus

RUN = """
import json, sys
from voxstrata.similarity.job import run_similarity
from voxstrata.similarity.settings import SimilarityConfig
settings = SimilarityConfig.model_validate(json.loads(sys.argv[1]))
record = run_similarity(settings, sys.argv[2]).record
print(json.dumps({"peak": record["peak_memory_bytes"], "rows": record["rows"]}))
"""


MODELS = ("log-mel", "mfcc", "random:ecapa,channels=64,mfa=192")


def peaks(lengths: Sequence[float], models: Sequence[str] = MODELS) -> Iterator[tuple[int, float]]:
    """Rows and peak bytes of a run over each length of speech (seconds)."""
    with tempfile.TemporaryDirectory() as name:
        for seconds in lengths:
            folder = Path(name) / f"{seconds:.0f}"
            folder.mkdir()
            settings = {
                "models": list(models),
                "corpus": str(make_corpus(folder, seconds)),
                "units": ["frame"],
                "route": "moments",
            }
            command = [sys.executable, "-c", RUN, json.dumps(settings), str(folder) + "-out"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            yield found["rows"]["frame"], found["peak"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seconds", nargs="+", type=float, default=[1000, 4000, 16000])
    given = parser.parse_args()
    print(f"{'seconds':>9s} {'rows':>9s} {'peak MiB':>9s} {'ratio':>7s}")
    first = None
    for seconds, (rows, taken) in zip(
        given.seconds, peaks(given.seconds, given.models), strict=True
    ):
        peak = taken / 2**20
        first = first or peak
        print(f"{seconds:9.0f} {rows:9d} {peak:9.0f} {peak / first:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
