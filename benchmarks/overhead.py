"""What extraction, pooling and statistics cost beyond the bare forward passes.

    python benchmarks/overhead.py [--models random:hubert-base] [--seconds 120] [--repeats 3]

The alternative is the forward pass alone, over the same recordings already in memory, one at a
time, all default layers asked for. The pass reads, resamples, checks, pools to utterances and
frames and feeds the reducers (row store for frames, row store for utterances), and writes its
checkpoints.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from _timing import HEADER, measure

from voxstrata.corpora import load_corpus
from voxstrata.models import load_model
from voxstrata.similarity.job import _sink
from voxstrata.similarity.prepare import Prepared, prepare
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.onepass import Pass


def make_corpus(folder: Path, seconds: float) -> Path:
    """Recordings of 4 to 14 s of noise with a syllable-like envelope, FLAC, 16 kHz."""
    rng = np.random.default_rng(0)
    done = 0.0
    while done < seconds:
        length = int(16000 * rng.uniform(4, 14))
        envelope = 0.05 + np.abs(np.sin(np.arange(length) * 2 * np.pi * 4 / 16000))
        soundfile.write(
            folder / f"r{done:07.1f}.flac",
            (0.1 * envelope * rng.standard_normal(length)).astype(np.float32),
            16000,
        )
        done += length / 16000
    return folder


def one_pass(prepared: Prepared, folder: Path) -> dict[str, float]:
    """The pass of a similarity job, without the measures that follow it."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        sinks = [_sink(job, prepared, Path(place)) for job in prepared.jobs]
        report = Pass(
            prepared.corpus.utterances,
            prepared.models,
            prepared.stack,
            sinks,
            prepared.shards,
            batch_s=prepared.batch_s,
            state=Path(place) / "state",
            every=prepared.every,
        ).run()
        return report.clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["random:hubert-base", "random:wavlm-base"])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--units", default="frame,utterance")
    parser.add_argument("--batch-seconds", type=float, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "audio").mkdir()
        corpus = make_corpus(folder / "audio", given.seconds)
        settings = SimilarityConfig(
            models=tuple(given.models),
            corpus=str(corpus),
            units=tuple(given.units.split(",")),
            batch_s=given.batch_seconds,
        )
        prepared = prepare(settings, folder / "out")
        audio = [torch.from_numpy(u.read()) for u in load_corpus(str(corpus)).utterances]
        models = [load_model(spec) for spec in given.models]
        wanted = [[i.name for i in m.layers if i.default] for m in models]

        def bare() -> None:
            for model, names in zip(models, wanted, strict=True):
                for samples in audio:
                    model.encode([samples], names)

        print(
            f"{len(models)} models over {sum(len(a) for a in audio) / 16000:.0f} s of speech, "
            f"{torch.get_num_threads()} threads; routes "
            + ", ".join(f"{job.unit.name}: {job.plan.route}" for job in prepared.jobs)
        )
        print(HEADER)
        # Alternating runs, so that a change in the machine's load touches both alike.
        forward = [measure("", bare, 1)]
        whole = [measure("", lambda: one_pass(prepared, folder), 1)]
        for _ in range(given.repeats - 1):
            forward.append(measure("", bare, 1, warm=False))
            whole.append(measure("", lambda: one_pass(prepared, folder), 1, warm=False))
        alone = [t.best for t in forward]
        full = [t.best for t in whole]
        for name, runs in (("bare forward passes", alone), ("the pass", full)):
            spread = f"{min(runs):9.3f} {np.median(runs):9.3f} {max(runs):9.3f}"
            print(f"{name:52s} {spread}  n={len(runs)}")
        clock = next(t.result for t in whole if t.best == min(full))
        print("of that: " + ", ".join(f"{what} {spent:.2f} s" for what, spent in clock.items()))
        print(f"overhead of the pass, best against best: {min(full) / min(alone) - 1:+.1%}")


if __name__ == "__main__":
    main()
