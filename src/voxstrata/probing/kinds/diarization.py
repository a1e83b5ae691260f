"""Recurrent heads that say of every frame who speaks: speaker diarization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.metrics.diarization import DiarizationErrors, activity_turns, diarization_errors
from voxstrata.probing.cells import Ran
from voxstrata.probing.frames import FrameFeatures
from voxstrata.probing.heads.diarization import DiarizationHead, best_order
from voxstrata.probing.kinds.costly import CostlyKind, plan_of, ran_of
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.steps import SummedHead, cut, epochs, train_steps
from voxstrata.probing.task import Round
from voxstrata.probing.tasks.turns import TurnExamples, Turns
from voxstrata.types import SAMPLE_RATE, FrameGrid

THRESHOLDS, MEDIANS = (0.3, 0.4, 0.5, 0.6, 0.7), (1, 11)
"""What is tried of thresholds and of median filters (frames), as published."""

MIDDLE = (0.5, 11)
"""Threshold and filter while a head is trained."""

Answers = list[NDArray[np.float64]]


class DiarizationKind(CostlyKind):
    """One LSTM layer, linear, permutation-free loss."""

    def train(self, work: Work, division: Round, probe: Probe) -> Ran:
        """Train and test one head on one round."""
        return _Training(work, division, probe).run()

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Training recordings without a frame."""
        assert work.frames is not None
        found = []
        for division in work.data.rounds:
            ids = [i for i in division.parts["train"].ids if i in work.frames.place]
            lengths = work.frames.lengths(range(len(work.names)), ids, work.plan.stride)
            found += [name for name, n in zip(ids, lengths, strict=True) if not n]
        reason = "training recordings have no frame and are left out"
        return {reason: list(dict.fromkeys(found))} if found else {}


KIND = DiarizationKind()


def active(turns: Turns, grid: FrameGrid, frames: int, outputs: int) -> torch.Tensor:
    """Who speaks in each frame: float32 [T, S], 1 where a turn covers the frame's centre.

    Of more speakers than outputs those who talk longest; their order does not matter to the loss.
    """
    talked: dict[str, float] = {}
    for turn in turns:
        talked[turn.label] = talked.get(turn.label, 0.0) + turn.end_s - turn.start_s
    names = sorted(talked, key=lambda name: -talked[name])[:outputs]
    centres = (2 * grid.start + grid.receptive + 2 * grid.stride * np.arange(frames)) / (
        2 * SAMPLE_RATE
    )
    found = torch.zeros(frames, outputs)
    for turn in turns:
        if turn.label not in names:
            continue
        here = (centres >= turn.start_s) & (centres < turn.end_s)
        found[torch.from_numpy(here), names.index(turn.label)] = 1
    return found


class _Part:
    """Recordings of one part that have features, with who speaks in each frame."""

    def __init__(
        self, examples: TurnExamples, features: FrameFeatures, probe: Probe, work: Work
    ) -> None:
        kept = [i for i, name in enumerate(examples.ids) if name in features.place]
        self.ids = [examples.ids[i] for i in kept]
        self.turns = [examples.turns[i] for i in kept]
        self.lengths = features.lengths(probe.layers, self.ids, work.plan.stride)
        self.usable = np.flatnonzero(self.lengths)
        self.grid = features.grid(probe.layers, work.plan.stride)

    def targets(self, outputs: int) -> list[torch.Tensor]:
        """Who speaks in each frame of each recording."""
        return [
            active(turns, self.grid, int(n), outputs)
            for turns, n in zip(self.turns, self.lengths, strict=True)
        ]

    def errors(self, answers: Answers, threshold: float, median: int) -> list[DiarizationErrors]:
        """Errors of each recording."""
        stride = self.grid.stride / SAMPLE_RATE
        begin = self.grid.centre_s(0) - stride / 2
        return [
            diarization_errors(
                [(t.start_s, t.end_s, t.label) for t in turns],
                activity_turns(said, stride, threshold=threshold, median=median, start_s=begin),
            )
            for turns, said in zip(self.turns, answers, strict=True)
        ]


def _rate(errors: Sequence[DiarizationErrors]) -> float:
    return sum(e.errors for e in errors) / max(sum(e.speech for e in errors), 1e-9)


class _Training:
    """One head on one round."""

    def __init__(self, work: Work, division: Round, probe: Probe) -> None:
        assert work.frames is not None
        self.work, self.division, self.probe = work, division, probe
        self.features = work.frames
        self.plan, self.outputs = plan_of(work, probe), work.classes[0]
        self.parts: dict[str, _Part] = {}
        for part, examples in division.parts.items():
            assert isinstance(examples, TurnExamples)
            self.parts[part] = _Part(examples, self.features, probe, work)
        self.model = SummedHead(
            self.features,
            probe,
            self.plan,
            lambda width: DiarizationHead(
                width, self.outputs, hidden=self.plan.hidden, seed=probe.seed
            ),
        )

    def _head(self, width: int) -> DiarizationHead:
        seed = self.probe.seed
        return DiarizationHead(width, self.outputs, hidden=self.plan.hidden, seed=seed)

    def run(self) -> Ran:
        """Train, choose step, threshold and filter, and score the test recordings."""
        train = self.parts["train"]
        published = self.work.protocol.selection == "superb" and not self.probe.screen
        targets = train.targets(self.outputs)
        rng = np.random.default_rng([self.probe.seed, 5])
        if self.probe.control:
            targets = _dealt(targets, rng)
            dev = self.parts["dev"]
            dev.turns = [dev.turns[i] for i in rng.permutation(len(dev.turns))]
        if not len(train.usable):
            raise UsageError(
                "no training recording has a frame",
                got=f"{len(train.ids)} recordings",
                fix="use longer recordings, or layers with more frames a second",
            )
        batches = epochs(len(train.usable), self.plan.batch, self.probe.seed)
        most = self.plan.most_s
        frames = None if most is None else round(most * SAMPLE_RATE / train.grid.stride)

        def loss(step: int) -> torch.Tensor:
            at = train.usable[next(batches)]
            rows, lengths = self.features.batch(
                self.probe.layers, [train.ids[i] for i in at], self.plan.stride
            )
            wanted = torch.nn.utils.rnn.pad_sequence([targets[i] for i in at], batch_first=True)
            if frames is not None:
                (*rows, wanted), lengths, _ = cut([*rows, wanted], lengths, frames, rng)
            z = self.model.summed(rows, lengths)
            return self.model.head.loss(self.model.head(z, lengths), lengths, wanted)

        dev_targets = self.parts["dev"].targets(self.outputs)

        def look() -> float:
            said = self._said("dev")
            if published:
                return 1 - _accuracy(said, dev_targets)
            return _rate(self.parts["dev"].errors(said, *MIDDLE))

        course = train_steps(self.model, self.plan, self.probe.lr, loss, look)
        with torch.no_grad():
            said = self._said("test")
            chooses = "test" if published else "dev"
            answers = said if published else self._said("dev")
        tried = {
            (threshold, median): _rate(self.parts[chooses].errors(answers, threshold, median))
            for threshold in THRESHOLDS
            for median in MEDIANS
        }
        errors = self.parts["test"].errors(said, *min(tried, key=lambda way: tried[way]))
        counts = (np.array([e.errors for e in errors]), np.array([e.speech for e in errors]))
        return ran_of(
            self.work,
            self.division,
            self.probe,
            self.model,
            course,
            scores={"der": _rate(errors)},
            counts={"der": counts},
            on_test=published,
            chose="frame-error" if published else "der",
        )

    def _said(self, part: str) -> Answers:
        """Probability of each speaker in each frame of each recording, [T_i, S]."""
        held = self.parts[part]
        found: Answers = [np.zeros((0, self.outputs)) for _ in held.ids]
        order = np.argsort(held.lengths, kind="stable")
        for begin in range(0, len(order), self.plan.batch):
            at = [int(i) for i in order[begin : begin + self.plan.batch] if held.lengths[i]]
            if not at:
                continue
            rows, lengths = self.features.batch(
                self.probe.layers, [held.ids[i] for i in at], self.plan.stride
            )
            logits = self.model.head(self.model.summed(rows, lengths), lengths).sigmoid().double()
            for row, i in enumerate(at):
                found[i] = logits[row, : int(lengths[row])].numpy()
        return found


def _dealt(targets: Sequence[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    """Targets of other recordings, cut off or filled up with silence."""
    found = []
    for own, i in zip(targets, rng.permutation(len(targets)), strict=True):
        other = targets[i][: len(own)]
        missing = len(own) - len(other)
        found.append(torch.nn.functional.pad(other, (0, 0, 0, missing)))
    return found


def _accuracy(said: Answers, wanted: Sequence[torch.Tensor]) -> float:
    """Share of frames and outputs that are right at a half, in the best order of speakers: what
    the published code chooses steps by."""
    right = total = 0.0
    for answer, target in zip(said, wanted, strict=True):
        if not len(answer):
            continue
        logits = torch.logit(torch.from_numpy(answer), eps=1e-12)[None]
        order = best_order(logits, torch.tensor([len(answer)]), target.double()[None])[1][0]
        right += float(((logits[0] > 0) == (target[:, order] > 0)).double().sum())
        total += float(target.numel())
    return right / max(total, 1.0)
