"""What codes and layers know of phones, measured on recordings with a phone tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxstrata.types import FrameGrid, Utterance

TIER = "phones"


def labels(utterance: Utterance, grid: FrameGrid, frames: int) -> list[str | None]:
    """The phone at the centre of each frame; ``None`` where there is none."""
    segments = utterance.segments(TIER)
    if not segments:
        return [None] * frames
    starts = np.array([one.start_s for one in segments])
    ends = np.array([one.end_s for one in segments])
    centres = (2 * (grid.start + np.arange(frames) * grid.stride) + grid.receptive) / 32_000
    places = np.searchsorted(starts, centres, side="right") - 1
    inside = (places >= 0) & (centres < ends[places])
    return [segments[p].label if ok else None for p, ok in zip(places, inside, strict=True)]


@dataclass(frozen=True)
class Agreement:
    """How far codes go with phones (HuBERT, arXiv 2106.07447, section V-A).

    Attributes:
        pnmi: I(phone; code) / H(phone), from counts.
        purity: share of frames whose phone is the most frequent one of their code.
        frames: that have a phone.
    """

    pnmi: float
    purity: float
    frames: int


def agreement(codes: NDArray[np.int64], phones: Sequence[str | None]) -> Agreement | None:
    """Agreement of codes and phones frame by frame; ``None`` with fewer than two phones.

    Args:
        codes: [N], not negative.
        phones: N labels; frames without are left out.
    """
    kept = np.array([one is not None for one in phones], dtype=np.bool_)
    names, numbers = np.unique([one for one in phones if one is not None], return_inverse=True)
    if len(names) < 2:
        return None
    table = np.zeros((len(names), int(codes[kept].max()) + 1))
    np.add.at(table, (numbers, codes[kept]), 1)
    joint = table / table.sum()
    of_phone, of_code = joint.sum(axis=1), joint.sum(axis=0)
    some = joint > 0
    expected = np.outer(of_phone, of_code)
    information = float((joint[some] * np.log(joint[some] / expected[some])).sum())
    entropy = float(-(of_phone * np.log(of_phone)).sum())
    return Agreement(information / entropy, float(joint.max(axis=0).sum()), int(kept.sum()))


def frame_accuracy(
    rows: NDArray[np.float32],
    phones: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    folds: int = 5,
    ridge: float = 1e-3,
) -> float:
    """Share of frames whose phone a linear map finds, on groups it was not fitted on.

    Ridge regression of one-hot phones on centred features, the largest output taken; the penalty
    is ``ridge`` times the mean variance of a feature. Sums of products by fold make every fit.

    Args:
        rows: [N, D].
        phones: class of each row [N].
        groups: rows of a group (speaker or recording) are never in both parts [N].
        folds: parts of the groups.
    """
    names = np.unique(groups)
    fold_of = {int(name): i % folds for i, name in enumerate(names)}
    fold = np.array([fold_of[int(one)] for one in groups])
    classes = int(phones.max()) + 1
    x = np.hstack([rows - rows.mean(axis=0), np.ones((len(rows), 1), dtype=rows.dtype)])
    x = x.astype(np.float64)
    width = x.shape[1]
    grams, crosses = [], []
    for number in range(folds):
        own = x[fold == number]
        target = np.zeros((len(own), classes))
        target[np.arange(len(own)), phones[fold == number]] = 1.0
        grams.append(own.T @ own)
        crosses.append(own.T @ target)
    gram, cross = np.sum(grams, axis=0), np.sum(crosses, axis=0)
    penalty = np.eye(width) * ridge * np.trace(gram[:-1, :-1]) / max(1, width - 1)
    penalty[-1, -1] = 0.0
    right = 0
    for number in range(folds):
        chosen = fold == number
        if not chosen.any() or chosen.all():
            continue
        weights = np.linalg.lstsq(
            gram - grams[number] + penalty, cross - crosses[number], rcond=None
        )[0]
        right += int(((x[chosen] @ weights).argmax(axis=1) == phones[chosen]).sum())
    return right / len(rows)
