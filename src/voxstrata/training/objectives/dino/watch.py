"""Collapse: seen in what teacher and embeddings look like, and in error rates at chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import normalize

from voxstrata.config import Config
from voxstrata.training.objective import Clock

_Share = Annotated[float, Field(ge=0, le=1)]


class WatchConfig(Config):
    """When a run counts as collapsed.

    Attributes:
        stop: whether such a run is stopped (it is logged in any case).
        grace: share of the run in which nothing is judged: before anything is learned a teacher
            that tells recordings apart badly is normal.
        lines: log lines in a row that must look collapsed, and do not get better: a line with
            more than twice the information of an earlier one in the row begins the count anew.
        min_information: least information, as a share of its largest value, that the teacher's
            distributions carry about which recording they belong to.
        min_spread: least spread of embeddings (1: all directions alike, 0: one point).
        max_eer: equal error rate, percent, that counts as chance.
        eer_after: share of the run after which error rates are judged.
        evaluations: evaluations in a row, all corpora at chance.
    """

    stop: bool = True
    grace: _Share = 0.1
    lines: Annotated[int, Field(ge=1)] = 5
    min_information: _Share = 0.01
    min_spread: _Share = 0.05
    max_eer: Annotated[float, Field(gt=0, le=100)] = 45.0
    eer_after: _Share = 0.3
    evaluations: Annotated[int, Field(ge=1)] = 2


def teacher_state(p: torch.Tensor, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    """Numbers that tell a collapse.

    Args:
        p: the teacher's distributions [N, K], one a crop.
        embeddings: its embeddings [N, D].

    Returns:
        ``teacher_entropy``, mean entropy of a distribution, nats, and ``teacher_entropy_ratio``,
        the same over log K; ``teacher_kl``, mean divergence of a distribution from the mean of
        the batch, nats (what a crop's distribution tells about which crop it is; 0 where all are
        the same, be it flat or a single peak), and ``teacher_information``, the same over its
        largest possible value, log min(N, K); ``spread``, mean over dimensions of the deviation
        of embeddings of length 1, times sqrt(D).
    """
    rows, prototypes = p.shape
    entropy = torch.special.entr(p).sum(1).mean()
    kl = torch.special.entr(p.mean(0)).sum() - entropy
    unit = normalize(embeddings.float(), dim=1)
    spread = unit.std(0, correction=0).mean() * math.sqrt(unit.shape[1])
    return {
        "teacher_entropy": entropy,
        "teacher_entropy_ratio": entropy / math.log(prototypes),
        "teacher_kl": kl,
        "teacher_information": kl / math.log(min(rows, prototypes)),
        "spread": spread,
    }


class Watch(nn.Module):
    """Counts collapsed log lines and evaluations in a row; the counts are part of a checkpoint.

    Args:
        config: the limits.
    """

    share: torch.Tensor
    bad: torch.Tensor
    lowest: torch.Tensor

    def __init__(self, config: WatchConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("share", torch.zeros((), dtype=torch.float64))
        # In a row: no information, no spread, error rates at chance.
        self.register_buffer("bad", torch.zeros(3, dtype=torch.int64))
        # Information and spread in those rows of lines.
        self.register_buffer("lowest", torch.full((2,), math.inf, dtype=torch.float64))

    def begin_step(self, clock: Clock) -> None:
        """Note where the run stands."""
        self.share.fill_((clock.step + 1) / max(1, clock.steps))

    def judge(self, found: Mapping[str, float]) -> str | None:
        """Why the run must stop, from a log line or an evaluation; else ``None``."""
        config, share = self.config, float(self.share)
        if not config.stop:
            return None
        line = "teacher_information" in found and "spread" in found
        if line and share >= config.grace:
            self._count(0, found["teacher_information"], config.min_information)
            self._count(1, found["spread"], config.min_spread)
        rates = [value for name, value in found.items() if name.endswith("_eer")]
        if rates and share >= config.eer_after:
            self.bad[2] = self.bad[2] + 1 if min(rates) >= config.max_eer else 0
        blind, narrow, chance = self.bad.tolist()
        if line and blind >= config.lines:
            return _blind(found, blind)
        if line and narrow >= config.lines:
            return (
                f"the embeddings collapsed to one direction: their spread was "
                f"{found['spread']:.3g} (healthy: near 1) and below {config.min_spread:g} in "
                f"the last {narrow} log lines. Lower the learning rate"
            )
        if rates and chance >= config.evaluations:
            return (
                f"the model does not tell speakers apart: its equal error rate was "
                f"{min(rates):.1f} % on the best corpus, and at chance (from {config.max_eer:g} % "
                f"on) in the last {chance} evaluations"
            )
        return None

    def _count(self, place: int, value: float, least: float) -> None:
        """One more line in the row, or none where the value is well or on its way up."""
        lowest = float(self.lowest[place])
        if value >= least or value > 2 * lowest:
            self.bad[place] = 0
            self.lowest[place] = math.inf
        if value < least:
            self.bad[place] += 1
            self.lowest[place] = min(value, float(self.lowest[place]))


def _blind(found: Mapping[str, float], lines: int) -> str:
    ratio = found.get("teacher_entropy_ratio", math.nan)
    kind, cure = "the same distribution for every recording", "Change temperatures and centring"
    if ratio > 0.9:
        kind = "the flat distribution for every recording"
        cure = "Lower teacher_temperature, keep BatchNorm in the head, or lower the learning rate"
    elif ratio < 0.1:
        kind = "the same single prototype for every recording"
        cure = "Lower centre_momentum (centring follows faster) or raise teacher_temperature"
    return (
        f"the teacher collapsed: it gives {kind} (entropy {found['teacher_entropy']:.3g} nats, "
        f"{100 * ratio:.3g} % of its largest value; information about the recording "
        f"{found['teacher_kl']:.2g} nats in the last {lines} log lines). {cure}"
    )
