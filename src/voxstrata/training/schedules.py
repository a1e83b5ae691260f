"""Values that change while a model trains: pure functions of the step.

Steps count optimiser updates from 0. Formulas follow the public training code of wespeaker,
3D-Speaker, SpeechBrain and TaoRuijie/ECAPA-TDNN, so that their recipes can be run as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from voxstrata.errors import ConfigError
from voxstrata.training.settings import ScheduleConfig

Shape = Literal["linear", "cosine", "exponential"]
"""How a ramp goes: in equal steps; as half a cosine; quickly at first, then ever more slowly."""

_REACHED = math.log(1e-3)


def ramp(
    step: float, start: float, end: float, over: float, shape: Shape = "linear", begin: float = 0.0
) -> float:
    """From ``start`` to ``end`` in ``over`` steps, and ``end`` ever after.

    ``cosine`` is ``end - (end - start) (1 + cos(pi r)) / 2`` with r the share that is done, as
    DINO's moving average uses it; ``exponential`` is
    ``start + (end - start) (1 - exp(r ln 1e-3))``, wespeaker's margin, which comes within a
    thousandth of ``end`` before it jumps there.

    Args:
        step: now; any unit, the same in all arguments.
        start, end: first and last value.
        over: how long it takes; 0 for at once.
        shape: see :data:`Shape`.
        begin: until when the value stays ``start``.

    Example:
        >>> [round(ramp(s, 0.04, 0.07, over=2, begin=1), 3) for s in range(5)]
        [0.04, 0.04, 0.055, 0.07, 0.07]
    """
    if step - begin >= over:
        return end if step >= begin else start
    if step <= begin:
        return start
    share = (step - begin) / over
    if shape == "linear":
        return start + (end - start) * share
    if shape == "cosine":
        return end - (end - start) * (1 + math.cos(math.pi * share)) / 2
    return start + (end - start) * (1 - math.exp(share * _REACHED))


def exponential(step: int, steps: int, warmup: float, lr: float, final: float) -> float:
    """``lr (final / lr)^(step / steps)``, times a linear rise from zero (wespeaker).

    The decay runs during the rise too, so ``lr`` itself is never reached where there is one.
    """
    rise = min(1.0, step / warmup) if warmup > 0 else 1.0
    return rise * lr * math.exp(step / steps * math.log(final / lr))


def cosine(
    step: int,
    steps: int,
    warmup: int,
    lr: float,
    final: float,
    *,
    start: float = 0.0,
    repeat: bool = True,
) -> float:
    """A linear rise from ``start`` to ``lr``, then half a cosine towards ``final``.

    Args:
        step: now.
        steps: of the whole run; ``final`` would be reached in the step after the last.
        warmup: steps of the rise.
        lr, final: highest and lowest value.
        start: value at step 0 where there is a rise.
        repeat: whether the last step of the rise and the first of the fall both have ``lr``
            (DINO's scheduler), or only the latter (3D-Speaker, with ``start=final``).
    """
    if step < warmup:
        reach = warmup - 1 if repeat else warmup
        return start + (lr - start) * (step / reach if reach else 1.0)
    share = (step - warmup) / max(1, steps - warmup)
    return final + (lr - final) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def triangle(step: int, half_cycle: int, low: float, high: float) -> float:
    """Up from ``low`` to ``high`` in ``half_cycle`` steps, down again, and so on.

    The triangular policy of Smith (WACV 2017), as SpeechBrain's recipe uses it.
    """
    within = step % (2 * half_cycle)
    return low + (high - low) * (1 - abs(within - half_cycle) / half_cycle)


def learning_rate(
    config: ScheduleConfig, steps: int, steps_per_epoch: int, batch_total: int
) -> Callable[[int], float]:
    """The learning rate of each step.

    Args:
        config: the schedule.
        steps: of the whole run.
        steps_per_epoch: of one pass.
        batch_total: recordings of an optimiser step: batch x processes x accumulated batches.

    Raises:
        ConfigError: ``final`` does not go with the kind of schedule.
    """
    scale = batch_total / config.scale_to if config.scale_to else 1.0
    lr = config.lr * scale
    final = config.final * (scale if config.scale_final else 1.0)
    kind, per_epoch = config.kind, max(1, steps_per_epoch)
    warmup = round(config.warmup_epochs * per_epoch)
    if kind == "exponential" and not final > 0:
        raise ConfigError(
            "an exponential schedule needs a positive final learning rate",
            got=f"schedule.final {config.final:g}",
            fix="set schedule.final, or use kind: cosine",
        )
    if kind in ("exponential", "cosine", "cyclic") and final > lr:
        raise ConfigError(
            "the learning rate would rise where it should fall",
            got=f"lr {lr:g}, final {final:g}"
            + (f" (scaled by {scale:g})" if config.scale_to else ""),
            expected="schedule.final no larger than schedule.lr",
            fix="lower schedule.final, or set schedule.scale_final",
        )

    def risen(step: int) -> float:
        return min(1.0, (step + 1) / warmup) if warmup else 1.0

    def rate(step: int) -> float:
        if kind == "exponential":
            return exponential(step, steps, warmup, lr, final)
        if kind == "cosine":
            return cosine(step, steps, warmup, lr, final)
        if kind == "cyclic":
            return triangle(step, config.half_cycle, final, lr)
        passed = config.decay ** (step // per_epoch) if kind == "step" else 1.0
        return lr * passed * risen(step)

    return rate
