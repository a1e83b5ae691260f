"""Heads on the time means of recordings: classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxstrata.probing.cells import Ran
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.kinds.linear import LinearKind
from voxstrata.probing.linear.probes import Part, Probe
from voxstrata.probing.linear.train import score, train_linear
from voxstrata.probing.task import PARTS, Round


class UtteranceKind(LinearKind):
    """Linear, mean over time, linear; trained on means, many side by side."""

    def parts(self, work: Work, division: Round) -> dict[str, Part]:
        """Features and targets of train, dev and test."""
        return {name: work.means.part(division, name)[0] for name in PARTS}

    def make(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """Train and test heads on one round."""
        parts = self.parts(work, division)
        trained = train_linear(
            parts, work.classes, probes, work.plan, workers=work.workers, done=work.advance
        )
        truth = parts["test"].targets.numpy()
        groups = np.full(len(truth), float(truth.shape[1]))
        return [
            Ran(
                layer=work.reads.label(one.probe.layers),
                round=division.name,
                probe=one.probe,
                dev=one.dev,
                step=one.step,
                weights=one.weights,
                diverged=one.diverged,
                lower=False,
                scores={m: score(one.test, truth, m) for m in work.task.measures},
                counts={
                    "accuracy": (
                        (one.test == truth).all(axis=1).astype(np.float64),
                        np.ones(len(truth)),
                    ),
                    "group-accuracy": ((one.test == truth).sum(axis=1).astype(np.float64), groups),
                },
            )
            for one in trained
        ]


KIND = UtteranceKind()
