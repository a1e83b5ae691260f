"""Recurrent heads on frames, with CTC: the sum of layers, and the layer that linear heads choose.

A recurrent head on every layer costs too much to be the rule. The layer that gets one is that whose
linear head writes the same symbols best on dev, at one learning rate and seed. Their scores are
reported as those of screened layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voxstrata.probing.cells import Ran
from voxstrata.probing.kinds import frame
from voxstrata.probing.kinds.costly import CostlyKind
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.lm import MEASURE
from voxstrata.probing.sequences.recurrent import train_recogniser
from voxstrata.probing.sequences.train import Written, spoken
from voxstrata.probing.task import Round
from voxstrata.probing.tasks.symbols import SymbolTask

SCREEN_LR, SCREEN_HIDDEN = 0.01, 256
"""Learning rate and width of the linear heads that choose the layer."""


class RecurrentKind(CostlyKind):
    """Linear, two bidirectional LSTM layers, linear, CTC."""

    def train(self, work: Work, division: Round, probe: Probe) -> Ran:
        """Train and test one head on one round."""
        task, frames = work.task, work.frames
        assert isinstance(task, SymbolTask)
        assert frames is not None
        one = train_recogniser(
            frames,
            division,
            work.classes[0],
            probe,
            work.plan,
            work.constants.masks,
            frame.rate_of(work),
            stops=task.stops,
            read=work.reader.read if work.reader is not None else None,
        )
        return _with_words(work, division, one)

    def screen_lr(self, work: Work) -> float:
        """That of linear heads."""
        return SCREEN_LR

    def screen(self, work: Work, division: Round, probes: Sequence[Probe]) -> list[Ran]:
        """A linear head on every layer."""
        steps = work.constants.screen
        plan = replace(
            work.plan, steps=steps, hidden=SCREEN_HIDDEN, every=min(work.plan.every, steps)
        )
        return frame.run_round(work, division, probes, plan)

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Training recordings with fewer frames than their symbols need."""
        return frame.too_short(work)


KIND = RecurrentKind()


def _with_words(work: Work, division: Round, one: Written) -> Ran:
    """A trained head as the table needs it, with what the language model made of its outputs."""
    ran = frame.written(work, division, one)
    if work.reader is None or one.heard is None:
        return ran
    assert work.frames is not None
    names = next(iter(work.data.classes.values()))
    test = spoken(work.frames, one.probe.layers, division, "test", work.plan)
    above, below = work.reader.counts(names, test.symbols, one.heard)
    return replace(
        ran,
        scores={**ran.scores, MEASURE: float(above.sum() / below.sum())},
        counts={**ran.counts, MEASURE: (above, below)},
    )
