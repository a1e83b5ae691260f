"""What counting active neurons costs beyond the bare forward passes, and against loops over frames.

    python benchmarks/neurons.py [--seconds 120] [--repeats 5] [--loop-seconds 30]

A HuBERT Base of random weights, all 12 feed-forward layers of 3072 neurons, four contrasts:
gender/phones, i-vector/clusters=3, pitch/phones and speaker/clusters=3. Genders, speakers, phones,
pitch and i-vector clusters are made up; the clusters of frames are real ones of the middle layer.

First the pass (reading, resampling, checks, counting, checkpoints) and the contrasts' tables at its
end, against the forward passes alone over the same recordings in memory, whose hidden states are
asked for. Then counting alone, activations in memory, against the published way written out
(arXiv 2409.05910): every frame's active neurons added to a dense row of each contrast, in loops;
and against the best plain code that we could write: ``topk`` of all frames, ``bincount`` of places.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _timing import HEADER, Timing, measure
from numpy.typing import NDArray
from overhead import make_corpus

from voxstrata.corpora import load_corpus
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import neuron_layers
from voxstrata.neurons.analysed import clustered_layer
from voxstrata.neurons.conditions.condition import Crossed
from voxstrata.neurons.conditions.states import StateClusters
from voxstrata.neurons.conditions.tiers import Spans
from voxstrata.neurons.counting import CountReducer, FrameLabels
from voxstrata.neurons.counts import Counts, UnitCounts
from voxstrata.neurons.rules import make_rule, tau
from voxstrata.streaming.batches import make_shards
from voxstrata.streaming.onepass import Pass, Sink
from voxstrata.streaming.reducers import Rows
from voxstrata.streaming.setup import SHARD_S
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.unit_frame import FrameUnit
from voxstrata.types import Utterance

Ints = NDArray[np.int64]

RULE, SHARE = "top=0.01", 0.01
CONTRASTS = (
    ("gender/phones", "phones", 2),
    ("i-vector/clusters=3", "clusters=3", 2),
    ("pitch/phones", "pitch/phones", 1),
    ("speaker/clusters=3", "clusters=3", 8),
)
"""Name, frame condition, and groups of recordings of each contrast."""


def made_up(
    name: str, labels: Sequence[str], recordings: Sequence[Utterance], least: float, most: float
) -> Spans:
    """Spans of random labels and lengths (seconds) from begin to end of each recording."""
    rng = np.random.default_rng(len(labels))
    table = {}
    for one in recordings:
        cuts = np.cumsum(rng.uniform(least, most, int(one.duration_s / least) + 1))
        ends = np.append(cuts[cuts < one.duration_s], one.duration_s)
        rows = rng.integers(0, len(labels), len(ends))
        table[one.id] = (np.concatenate([[0.0], ends[:-1]]), ends, rows)
    return Spans(name, labels, table)


class Setting:
    """The model, the recordings and the conditions.

    Args:
        folder: where recordings are written.
        seconds: how much speech.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.model: SpeechModel = load_model("random:hubert-base")
        (folder / "audio").mkdir()
        self.recordings = load_corpus(str(make_corpus(folder / "audio", seconds))).utterances
        self.audio = [torch.from_numpy(one.read()) for one in self.recordings]
        self.names = [one.id for one in self.recordings]
        self.neurons = [info.name for info in neuron_layers(self.model)]
        self.widths = [info.width for info in neuron_layers(self.model)]
        clustered = clustered_layer(self.model, "")
        clusters = StateClusters("clusters=3", 3, clustered)
        self.wanted = [*self.neurons, clustered.removeprefix(f"{self.model.spec}/")]
        phones = made_up("phones", [f"p{i}" for i in range(39)], self.recordings, 0.04, 0.2)
        pitch = made_up("pitch", ("low", "middle", "high"), self.recordings, 0.1, 0.6)
        self.conditions: tuple[FrameLabels, ...] = (phones, clusters, Crossed(pitch, phones))
        infos = {info.name: info for info in self.model.layers}
        self.stack = [StackLayer(0, self.model.spec, infos[name]) for name in self.wanted]
        self.labels = np.random.default_rng(0).integers(0, 8, len(self.names))
        states = [self.model.encode([a], self.wanted[-1:])[0] for a in self.audio[:4]]
        clusters.learn([np.concatenate([s[self.wanted[-1]].numpy() for s in states])])

    def reducer(self) -> CountReducer:
        reads = [(), (len(self.neurons),), ()]
        place = {name: i for i, name in enumerate(self.names)}
        return CountReducer(
            self.neurons, self.widths, self.conditions, reads, place, self.names, make_rule(RULE)
        )

    def contrasts(self, found: dict[str, UnitCounts]) -> list[Counts]:
        """The tables of the four contrasts."""
        return [
            found[rows].grouped(self.labels % groups, [str(g) for g in range(groups)])
            for _, rows, groups in CONTRASTS
        ]

    def forward(self, names: Sequence[str]) -> None:
        """The model over all recordings, nothing kept."""
        for samples in self.audio:
            self.model.encode([samples], names)

    def counted(self, folder: Path) -> dict[str, float]:
        """The pass and the tables; returns the seconds of its parts."""
        reducer = self.reducer()
        sink = Sink(FrameUnit(), tuple(range(len(self.stack))), reducer, "counts")
        shards = make_shards(self.recordings, [0] * len(self.recordings), SHARD_S)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            report = Pass(
                self.recordings, [self.model], self.stack, [sink], shards,
                batch_s=1.0, state=Path(place), every=max(1, len(shards) // 10),
            ).run()  # fmt: skip
        self.contrasts(reducer.finish())
        return report.clock


def ours(setting: Setting, held: list[Rows]) -> list[Counts]:
    """Counts of recordings in memory by the reducer."""
    reducer = setting.reducer()
    for rows in held:
        reducer.update(rows)
    return setting.contrasts(reducer.finish())


def loops(setting: Setting, held: list[Rows]) -> list[list[Ints]]:
    """The same as published: dense rows, frame by frame; [layer] of [R, D] for each contrast."""
    codes = dict(zip((c.name for c in setting.conditions), setting.conditions, strict=True))
    found = [
        [np.zeros((groups * len(codes[rows].rows), w), np.int64) for w in setting.widths]
        for _, rows, groups in CONTRASTS
    ]
    for rows in held:
        label = setting.labels[setting.names.index(rows.utterance)]
        of_frame = [
            codes[name].codes(rows.utterance, rows.start_s, rows.end_s, rows.values[-1:])
            for _, name, _ in CONTRASTS
        ]
        for layer, width in enumerate(setting.widths):
            size = rows.values[layer].abs()
            for frame in range(len(rows)):
                active = np.zeros(width, np.int64)
                active[size[frame].topk(tau(width, SHARE)).indices.numpy()] = 1
                for number, (_, name, groups) in enumerate(CONTRASTS):
                    code = of_frame[number][frame]
                    if code >= 0:
                        row = label % groups * len(codes[name].rows) + code
                        found[number][layer][row] += active
    return found


def plain(setting: Setting, held: list[Rows]) -> list[list[Ints]]:
    """The same as good plain code would do it: all frames of a recording at once, the places of
    their largest counted by ``bincount``; [layer] of [R, D] for each contrast."""
    codes = dict(zip((c.name for c in setting.conditions), setting.conditions, strict=True))
    sizes = [groups * len(codes[rows].rows) for _, rows, groups in CONTRASTS]
    found = [[torch.zeros(size * w, dtype=torch.int64) for w in setting.widths] for size in sizes]
    for rows in held:
        label = int(setting.labels[setting.names.index(rows.utterance)])
        lines = []
        for _, name, groups in CONTRASTS:
            code = codes[name].codes(rows.utterance, rows.start_s, rows.end_s, rows.values[-1:])
            known = torch.from_numpy(np.asarray(code))
            base = label % groups * len(codes[name].rows)
            lines.append((known >= 0, (base + known.clamp_min(0))[:, None]))
        for layer, width in enumerate(setting.widths):
            most = tau(width, SHARE)
            largest = rows.values[layer].abs().topk(most, sorted=False).indices
            for number, (known, row) in enumerate(lines):
                at = (row * width + largest)[known].flatten()
                table = found[number][layer]
                table += torch.bincount(at, minlength=len(table))
    return [
        [t.view(-1, w).numpy() for t, w in zip(tables, setting.widths, strict=True)]
        for tables in found
    ]


def touched(held: list[Rows]) -> None:
    """The floor: the size of every activation looked at once, in blocks that stay in cache."""
    scratch = np.empty((32, held[0].values[0].shape[1]), np.float32)
    for rows in held:
        for values in rows.values[:-1]:
            whole = values.numpy()
            for begin in range(0, len(whole), 32):
                part = whole[begin : begin + 32]
                np.abs(part, out=scratch[: len(part)]).max()


def same(tables: list[Counts], expected: list[list[Ints]], neurons: Sequence[str]) -> None:
    """Stop if counts differ."""
    for counts, layers in zip(tables, expected, strict=True):
        for name, table in zip(neurons, layers, strict=True):
            if not (counts.active[name] == table).all():
                raise SystemExit(f"counts differ in {name}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loop-seconds", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        setting = Setting(folder, given.seconds)
        seconds = sum(len(a) for a in setting.audio) / 16000
        default = [info.name for info in setting.model.layers if info.default]
        print(f"{seconds:.0f} s of speech, {torch.get_num_threads()} threads")
        print(HEADER)
        works = {
            "forward passes": lambda: setting.forward(default),
            "forward passes that give the neurons": lambda: setting.forward(setting.wanted),
            "the counting pass": lambda: setting.counted(folder),
        }
        # Alternating runs, so that a change in the machine's load touches all alike.
        runs: dict[str, list[Timing]] = {what: [] for what in works}
        for number in range(given.repeats):
            for what, work in works.items():
                runs[what].append(measure(what, work, 1, warm=not number))
        timings = {}
        for what, found in runs.items():
            timings[what] = Timing(what, tuple(t.best for t in found))
            print(timings[what].line())
        bare, plain, whole = (timings[what].best for what in works)
        fastest = min(runs["the counting pass"], key=lambda t: t.best)
        assert isinstance(fastest.result, dict)
        print("of that: " + ", ".join(f"{k} {v:.2f} s" for k, v in fastest.result.items()))
        print(
            f"overhead of the counting pass, best against best: {whole / bare - 1:+.1%}; "
            f"of giving the neurons: {plain / bare - 1:+.1%}"
        )

        held: list[Rows] = []
        for one, samples in zip(setting.recordings, setting.audio, strict=True):
            if sum(map(len, held)) / 50 >= given.loop_seconds:
                break
            outputs = setting.model.encode([samples], setting.wanted)[0]
            values = [outputs[w].clone() for w in setting.wanted]
            cut = FrameUnit().rows(one, values, setting.stack)
            held.append(Rows(one.id, 0, cut.values, cut.start_s, cut.end_s))
        frames = sum(map(len, held))
        print(f"counting alone, {frames} frames in memory, 12 layers, four contrasts")
        slow = measure("loops over frames, as published", lambda: loops(setting, held), 3)
        good = measure("plain code, all frames at once", lambda: plain(setting, held), 10)
        fast = measure("voxstrata", lambda: ours(setting, held), 2 * given.repeats)
        floor = measure(
            "floor: |a| of every activation once, one thread",
            lambda: touched(held),
            2 * given.repeats,
        )
        assert isinstance(slow.result, list)
        assert isinstance(fast.result, list)
        assert isinstance(good.result, list)
        same(fast.result, slow.result, setting.neurons)
        same(fast.result, good.result, setting.neurons)
        for found_timing in (slow, good, fast, floor):
            print(found_timing.line(slow))


if __name__ == "__main__":
    main()
