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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["log-mel", "mfcc", "random:ecapa,channels=64,mfa=192"]
    )
    parser.add_argument("--seconds", nargs="+", type=float, default=[1000, 4000, 16000])
    given = parser.parse_args()
    print(f"{'seconds':>9s} {'rows':>9s} {'peak MiB':>9s} {'ratio':>7s}")
    first = None
    with tempfile.TemporaryDirectory() as name:
        for seconds in given.seconds:
            folder = Path(name) / f"{seconds:.0f}"
            folder.mkdir()
            settings = {
                "models": given.models,
                "corpus": str(make_corpus(folder, seconds)),
                "units": ["frame"],
                "route": "moments",
            }
            command = [sys.executable, "-c", RUN, json.dumps(settings), str(folder) + "-out"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            peak = found["peak"] / 2**20
            first = first or peak
            rows = found["rows"]["frame"]
            print(f"{seconds:9.0f} {rows:9d} {peak:9.0f} {peak / first:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
