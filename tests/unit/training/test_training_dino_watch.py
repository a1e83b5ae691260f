"""The collapse watch: its numbers, its counts, and no false alarms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from voxstrata.training.objective import Clock
from voxstrata.training.objectives.dino.watch import Watch, WatchConfig, teacher_state


def _line(information: float = 0.3, spread: float = 0.9, ratio: float = 0.99) -> dict[str, float]:
    return {
        "teacher_information": information,
        "teacher_entropy_ratio": ratio,
        "teacher_entropy": 7 * ratio,
        "teacher_kl": 5 * information,
        "spread": spread,
    }


def _watch(share: float = 0.5, **config: Any) -> Watch:
    watch = Watch(WatchConfig(**config))
    watch.begin_step(Clock(round(share * 1000) - 1, 1000, 10))
    return watch


def _said(watch: Watch, *lines: dict[str, float]) -> list[bool]:
    return [watch.judge(line) is not None for line in lines]


def test_what_the_numbers_are_for_known_teachers() -> None:
    rows = torch.nn.functional.normalize(torch.randn(4000, 64), dim=1)
    flat = teacher_state(torch.full((8, 16), 1 / 16), rows)
    assert float(flat["teacher_entropy"]) == pytest.approx(math.log(16), rel=1e-5)
    assert float(flat["teacher_kl"]) == pytest.approx(0, abs=1e-5)
    assert float(flat["spread"]) == pytest.approx(1, abs=0.02)
    one = torch.zeros(8, 16)
    one[:, 3] = 1
    point = teacher_state(one, rows[:1].expand(8, -1))
    assert [float(point[k]) for k in ("teacher_entropy", "teacher_kl", "spread")] == pytest.approx(
        [0, 0, 0], abs=1e-6
    )
    each = teacher_state(torch.eye(16)[:8], rows)
    assert float(each["teacher_information"]) == pytest.approx(1, rel=1e-5)
    assert float(each["teacher_kl"]) == pytest.approx(math.log(8), rel=1e-5)


def test_a_collapse_is_told_after_some_lines_and_not_before_the_grace_ends() -> None:
    bad = _line(0.001)
    assert _said(_watch(), *[bad] * 6) == [False] * 4 + [True] * 2
    assert not any(_said(_watch(share=0.05), *[bad] * 20))
    assert not any(_said(_watch(stop=False), *[bad] * 20))
    watch = _watch()
    assert _said(watch, *[bad] * 4, _line(), *[bad] * 4) == [False] * 9
    assert _said(watch, bad) == [True]


def test_a_healthy_teacher_near_the_flat_distribution_is_left_alone() -> None:
    assert not any(_said(_watch(), *[_line(0.02, ratio=0.999)] * 20))
    rising = [_line(0.0005 * 1.3**i) for i in range(12)]
    assert not any(_said(_watch(), *rising))
    assert any(_said(_watch(), *[_line(0.0005 * 1.05**i) for i in range(12)]))


def test_embeddings_that_shrink_to_a_direction_are_told() -> None:
    watch = _watch()
    why = list(map(watch.judge, [_line(spread=0.01)] * 5))[-1]
    assert why is not None
    assert "spread was 0.01" in why


def test_error_rates_at_chance_are_told_where_no_corpus_is_below() -> None:
    def at(*rates: float) -> dict[str, float]:
        return {f"c{i}_eer": rate for i, rate in enumerate(rates)} | {"c0_eer_plain": 10.0}

    assert _said(_watch(), at(48, 46), at(47, 49)) == [False, True]
    assert _said(_watch(), at(48, 30), at(47, 49), at(30, 47)) == [False] * 3
    assert _said(_watch(share=0.2), at(48), at(48), at(48)) == [False] * 3
    watch = _watch()
    assert _said(watch, at(48), _line(), at(48)) == [False, False, True]


def test_the_count_survives_a_resume() -> None:
    watch = _watch()
    assert not any(_said(watch, *[_line(0.001)] * 4))
    other = Watch(WatchConfig())
    other.load_state_dict(watch.state_dict())
    assert _said(other, _line(0.001)) == [True]
