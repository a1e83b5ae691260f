"""Trained probes on disk, so that a stopped run goes on: arrays and text only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxstrata.errors import StorageError
from voxstrata.files import atomic_write
from voxstrata.probing.cells import Ran
from voxstrata.probing.linear.probes import Probe
from voxstrata.sums import read_arrays


def keep(path: Path, made: Sequence[Ran]) -> None:
    """Write probes of one round, all with the same measures and looks at dev."""
    width = max(len(one.weights) for one in made)
    weights = np.full((len(made), width), np.nan)
    for i, one in enumerate(made):
        weights[i, : len(one.weights)] = one.weights
    scores, counts, draws = (list(held) for held in (made[0].scores, made[0].counts, made[0].draws))
    arrays: dict[str, Any] = {
        "layer": np.array([one.layer for one in made]),
        "round": np.array([one.round for one in made]),
        "dev": np.array([one.dev for one in made]),
        "step": np.array([one.step for one in made]),
        "weights": weights,
        "diverged": np.array([one.diverged for one in made]),
        "lower": np.array([one.lower for one in made]),
        "measures": np.array(scores),
        "scores": np.array([[one.scores[m] for m in scores] for one in made]),
        "counted": np.array(counts, dtype=np.str_),
        "above": np.array([[one.counts[m][0] for m in counts] for one in made]),
        "below": np.array([[one.counts[m][1] for m in counts] for one in made]),
        "drawn": np.array(draws, dtype=np.str_),
        "draws": np.array([[one.draws[m] for m in draws] for one in made]),
        "on_test": np.array([one.on_test for one in made]),
        "chose": np.array([one.chose for one in made], dtype=np.str_),
        "tie": np.array([one.tie for one in made]),
    }
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read(path: Path, probes: Sequence[Probe]) -> list[Ran]:
    """Probes as :func:`keep` wrote them.

    Raises:
        StorageError: the file is damaged, or of other probes.
    """
    try:
        held = read_arrays(path)
        measures, counted, drawn = (
            [str(m) for m in held[n]] for n in ("measures", "counted", "drawn")
        )
        return [
            Ran(
                layer=str(held["layer"][i]),
                round=str(held["round"][i]),
                probe=probe,
                dev=tuple(float(v) for v in held["dev"][i]),
                step=int(held["step"][i]),
                weights=held["weights"][i][: len(probe.layers)],
                diverged=bool(held["diverged"][i]),
                lower=bool(held["lower"][i]),
                scores=dict(zip(measures, map(float, held["scores"][i]), strict=True)),
                counts={
                    m: (held["above"][i][j], held["below"][i][j]) for j, m in enumerate(counted)
                },
                draws={m: held["draws"][i][j] for j, m in enumerate(drawn)},
                on_test=bool(held["on_test"][i]),
                chose=str(held["chose"][i]),
                tie=float(held["tie"][i]),
            )
            for i, probe in enumerate(probes)
        ]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StorageError(
            f"the kept heads {path} are damaged",
            got=str(error),
            fix="delete that file and run the same command again",
        ) from None
