"""From a phone sample to a balanced phone x speaker layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.properties.disentanglement.variance_shares import Grid, balanced_rows, complete_grid
from voxstrata.properties.linear.targets import stress_free
from voxstrata.properties.property import TooFewError
from voxstrata.properties.sample import Sample

if TYPE_CHECKING:
    from voxstrata.properties.settings import PropertiesConfig

TOKENS = (5, 4, 3, 2)
"""Tokens a cell, most wanted first."""
LEAST = (10, 5)
"""Phones and speakers that a complete layout must have; the small scale goes down to SMALL."""
SMALL = (3, 3)


@dataclass(frozen=True)
class Coded:
    """The usable rows of a phone sample: with a phone label and a known speaker.

    Attributes:
        rows: their positions, [n].
        phone, speaker, recording: indices, [n].
        phones, speakers: names by index.
    """

    rows: NDArray[np.int64]
    phone: NDArray[np.int64]
    speaker: NDArray[np.int64]
    recording: NDArray[np.int64]
    phones: list[str]
    speakers: list[str]

    def counts(self) -> NDArray[np.int64]:
        """Tokens of each phone and speaker, [P, Q]."""
        table = np.zeros((len(self.phones), len(self.speakers)), dtype=np.int64)
        np.add.at(table, (self.phone, self.speaker), 1)
        return table


def coded(sample: Sample) -> Coded:
    """Phones (without stress digits), speakers and recordings of a sample as numbers."""
    speakers = sample.tier("speaker")
    labels = [stress_free(label) for label in sample.labels or ()]
    rows = np.array(
        [i for i, who in enumerate(speakers) if who is not None and i < len(labels) and labels[i]],
        dtype=np.int64,
    )
    if not len(rows):
        raise TooFewError(
            "no phone of the sample has a known speaker",
            got=f"{len(sample)} rows",
            expected="rows with a phone label from recordings with the tier 'speaker'",
            fix="attach speakers to the corpus (docs/corpora.md)",
        )
    names, phone = np.unique([labels[i] for i in rows], return_inverse=True)
    who, speaker = np.unique([str(speakers[i]) for i in rows], return_inverse=True)
    _, recording = np.unique([str(sample.utterance[i]) for i in rows], return_inverse=True)
    return Coded(rows, phone, speaker, recording, names.tolist(), who.tolist())


@dataclass(frozen=True)
class Layout:
    """A balanced layout drawn from a sample.

    Attributes:
        rows: positions in the sample, [A, B, m].
        facts: for the run record.
        notices: for the reader.
    """

    rows: NDArray[np.int64]
    facts: dict[str, Any]
    notices: tuple[str, ...]

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """The layout's rows of one layer, float64 [A, B, m, D]."""
        return rows[torch.as_tensor(self.rows.reshape(-1))].double().view(*self.rows.shape, -1)


def layout(sample: Sample, settings: PropertiesConfig, seed: int) -> Layout:
    """The largest complete layout with as many tokens a cell as keep most phones and speakers.

    Tokens a cell go from 5 down to 2 until the layout holds half of all phones and half of all
    speakers (at least 10 and 5); failing that, the layout with two tokens is used as it is.

    Raises:
        TooFewError: fewer than 10 phones or 5 speakers (3 and 3 at the small scale).
    """
    data = coded(sample)
    counts = data.counts()
    half = (len(data.phones) / 2, len(data.speakers) / 2)
    grid = Grid(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), TOKENS[-1])
    for tokens in TOKENS:
        grid = complete_grid(counts, tokens)
        size = (len(grid.phones), len(grid.speakers))
        if all(s >= max(h, least) for s, h, least in zip(size, half, LEAST, strict=True)):
            break
    size = (len(grid.phones), len(grid.speakers))
    small = settings.scale == "small"
    floor = SMALL if small else LEAST
    if size[0] < floor[0] or size[1] < floor[1]:
        raise TooFewError(
            "too few phones were said by enough speakers often enough",
            got=f"{size[0]} phones x {size[1]} speakers with {grid.tokens} tokens each "
            f"(of {len(data.phones)} phones and {len(data.speakers)} speakers)",
            expected=f"{floor[0]} phones x {floor[1]} speakers with 2 tokens in every cell",
            fix="more speech of each speaker" + ("" if small else ", or --scale small"),
        )
    drawn = balanced_rows(data.phone, data.speaker, grid, np.random.default_rng([seed, 1]))
    facts: dict[str, Any] = {
        "phones": [data.phones[int(i)] for i in grid.phones],
        "speakers": size[1],
        "tokens_per_cell": grid.tokens,
        "cells": grid.cells,
        "rows": int(drawn.size),
    }
    reduced = {
        what: {"published": least, "used": used}
        for what, used, least in zip(("phones", "speakers"), size, LEAST, strict=True)
        if used < least
    }
    if reduced:
        facts["reduced"] = reduced
    notices: tuple[str, ...] = ()
    if size[1] < 10:
        notices = (
            f"only {size[1]} speakers: their share and subspace stand for these speakers, "
            "not for speakers at large",
        )
    return Layout(data.rows[drawn], facts, notices)
