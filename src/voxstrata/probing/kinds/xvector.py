"""x-vector heads: speaker verification with speakers that training never had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.metrics.bootstrap import SpeakerBootstrap
from voxstrata.metrics.curve import SortedTrials
from voxstrata.metrics.dcf import DetectionCost
from voxstrata.metrics.eer import equal_error
from voxstrata.probing.cells import Ran
from voxstrata.probing.heads.xvector import MIN_FRAMES, XVectorHead
from voxstrata.probing.kinds.costly import CostlyKind, plan_of, ran_of
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.steps import SummedHead, cut, epochs, train_steps
from voxstrata.probing.task import PARTS, Round
from voxstrata.probing.tasks.trials import TrialExamples
from voxstrata.types import SAMPLE_RATE

POOLED = 1500 / 512
"""Width of the last time-delay layer by that of the others, as published."""

COST = DetectionCost(p_target=0.01)


class XVectorKind(CostlyKind):
    """Linear, time-delay layers, statistics over time, AM-softmax; cosine of embeddings."""

    def train(self, work: Work, division: Round, probe: Probe) -> Ran:
        """Train and test one head on one round."""
        return _Training(work, division, probe).run()

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Recordings with fewer frames than the head's context."""
        assert work.frames is not None
        found: list[str] = []
        every = range(len(work.names))
        for division in work.data.rounds:
            for part in PARTS:
                ids = [i for i in division.parts[part].ids if i in work.frames.place]
                lengths = work.frames.lengths(every, ids, work.plan.stride)
                short = np.flatnonzero(lengths < MIN_FRAMES)
                found += [ids[i] for i in short]
        reason = f"recordings have fewer than {MIN_FRAMES} frames, the head's context, and are "
        reason += "left out with their trials"
        return {reason: list(dict.fromkeys(found))} if found else {}


KIND = XVectorKind()


@dataclass(frozen=True)
class _Heard:
    """Recordings of one part that the head can hear."""

    ids: list[str]
    lengths: NDArray[np.int64]
    kept: NDArray[np.bool_]


class _Training:
    """One head on one round."""

    def __init__(self, work: Work, division: Round, probe: Probe) -> None:
        assert work.frames is not None
        self.work, self.division, self.probe = work, division, probe
        self.features = work.frames
        self.plan = plan_of(work, probe)
        self.model = SummedHead(self.features, probe, self.plan, self._head)
        self.heard = {part: self._hear(part) for part in PARTS}
        if not self.heard["train"].ids:
            raise UsageError(
                "no training recording has as many frames as the head needs",
                got=f"{len(division.parts['train'].ids)} recordings",
                expected=f"at least {MIN_FRAMES} frames",
                fix="use longer recordings, or layers with more frames a second",
            )
        # A screen chooses a layer, which no published rule does on test.
        self.test_chooses = work.protocol.selection == "superb" and not probe.screen

    def _head(self, width: int) -> XVectorHead:
        hidden = self.plan.hidden
        return XVectorHead(
            width,
            self.work.classes[0],
            hidden=hidden,
            pooled=round(POOLED * hidden),
            margin=self.work.constants.margin,
            seed=self.probe.seed,
        )

    def _hear(self, part: str) -> _Heard:
        ids = self.division.parts[part].ids
        here = np.array([name in self.features.place for name in ids], dtype=bool)
        present = [name for name, good in zip(ids, here, strict=True) if good]
        lengths = self.features.lengths(self.probe.layers, present, self.plan.stride)
        # The grid of all layers decides, so that every probe of a cell has the same recordings.
        every = range(len(self.work.names))
        enough = self.features.lengths(every, present, self.plan.stride) >= MIN_FRAMES
        enough &= lengths >= MIN_FRAMES
        kept = here.copy()
        kept[here] = enough
        return _Heard(
            [n for n, good in zip(present, enough, strict=True) if good], lengths[enough], kept
        )

    def run(self) -> Ran:
        """Train, choose the step, and score the test trials."""
        train = self.heard["train"]
        labels = self.division.parts["train"].targets[train.kept, 0]
        rng = np.random.default_rng([self.probe.seed, 4])
        if self.probe.control:
            labels = rng.permutation(labels)
        batches = epochs(len(train.ids), self.plan.batch, self.probe.seed)
        stride = self.features.grid(self.probe.layers, self.plan.stride).stride
        most = round(self.plan.most_s * SAMPLE_RATE / stride) if self.plan.most_s else None

        def loss(step: int) -> torch.Tensor:
            at = next(batches)
            rows, lengths = self.features.batch(
                self.probe.layers, [train.ids[i] for i in at], self.plan.stride
            )
            if most is not None:
                rows, lengths, _ = cut(rows, lengths, max(most, MIN_FRAMES), rng)
            head = self.model.head
            outputs = head(self.model.summed(rows, lengths), lengths)
            return head.loss(outputs, lengths, torch.from_numpy(labels[at]))

        def look() -> float:
            return self._errors("test" if self.test_chooses else "dev")[0]

        course = train_steps(self.model, self.plan, self.probe.lr, loss, look)
        with torch.no_grad():
            eer, cost, draws = self._tested()
        return ran_of(
            self.work,
            self.division,
            self.probe,
            self.model,
            course,
            scores={"eer": eer, "min-dcf": cost},
            draws=draws,
            on_test=self.test_chooses,
            chose="test-eer" if self.test_chooses else "eer",
        )

    def _scores(self, part: str) -> tuple[NDArray[np.float64], TrialExamples, NDArray[np.bool_]]:
        """Cosines of the trials whose recordings can be heard, and which they are."""
        examples, heard = self.division.parts[part], self.heard[part]
        assert isinstance(examples, TrialExamples)
        place = np.cumsum(heard.kept) - 1
        usable = heard.kept[examples.first] & heard.kept[examples.second]
        vectors = self._embedded(heard)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.maximum(length, 1e-12)  # a head that died says 0 of every trial
        first, second = (place[side[usable]] for side in (examples.first, examples.second))
        return np.einsum("nd,nd->n", unit[first], unit[second]), examples, usable

    def _embedded(self, heard: _Heard) -> NDArray[np.float64]:
        head = self.model.head
        assert isinstance(head, XVectorHead)
        found = np.zeros((len(heard.ids), head.embed.out_features))
        order = np.argsort(heard.lengths, kind="stable")
        for begin in range(0, len(order), self.plan.batch):
            at = order[begin : begin + self.plan.batch]
            rows, lengths = self.features.batch(
                self.probe.layers, [heard.ids[i] for i in at], self.plan.stride
            )
            made = head.embedding(self.model.summed(rows, lengths), lengths)
            found[at] = made.double().numpy()
        return found

    def _errors(self, part: str) -> tuple[float, float]:
        scores, examples, usable = self._scores(part)
        same = examples.same[usable]
        if self.probe.control and part == "dev":
            same = np.random.default_rng([self.probe.seed, 6]).permutation(same)
        curve = SortedTrials(scores, same).curve()
        return equal_error(curve).value, COST.least(curve)[0]

    def _tested(self) -> tuple[float, float, dict[str, NDArray[np.float64]]]:
        scores, examples, usable = self._scores("test")
        same = examples.same[usable]
        curve = SortedTrials(scores, same).curve()
        who = np.array(examples.groups)
        drawn = SpeakerBootstrap(
            who[examples.first[usable]],
            who[examples.second[usable]],
            seed=self.work.config.seed,
        ).replicates(scores, same, [lambda c: equal_error(c).value, lambda c: COST.least(c)[0]])
        return (
            equal_error(curve).value,
            COST.least(curve)[0],
            {"eer": drawn[:, 0], "min-dcf": drawn[:, 1]},
        )
