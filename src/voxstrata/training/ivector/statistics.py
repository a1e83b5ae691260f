"""Baum-Welch statistics of a corpus on disk, and expectation steps over them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voxstrata.errors import StorageError
from voxstrata.files import atomic_write
from voxstrata.models.ivector.network import align
from voxstrata.numerics.mixture import Aligner, Mixture
from voxstrata.numerics.variability import Statistics, Totals, TotalVariability, VariabilitySums
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.runs import STATE
from voxstrata.sums import read_arrays
from voxstrata.training import state
from voxstrata.training.ivector.speech import Speech

FOLDER, TOTALS = "statistics", "totals.pt"


class StatisticsStore:
    """Statistics of every recording, a file a part, and their totals.

    Totals are written after each part, with the number of parts they hold, so that a stopped run
    goes on behind the last of them.

    Args:
        folder: output folder of the run.
        identity: digest of all that must be the same for a run to go on.
        dtype: "float64" or "float32", of the statistics on disk.
        device: where they are made and used.
    """

    def __init__(self, folder: Path, identity: str, dtype: str, device: str) -> None:
        self.folder, self.identity, self.dtype, self.device = folder, identity, dtype, device
        self.parts = 0

    def _path(self, number: int) -> Path:
        return self.folder / STATE / FOLDER / f"part-{number:05d}.npz"

    def build(
        self,
        speech: Speech,
        aligner: Aligner,
        chosen: Collection[int],
        advance: Advance = lambda _amount: None,
    ) -> Totals:
        """Align every chosen recording; what is on disk already is not done again.

        Args:
            speech: of the corpus.
            aligner: the background mixture.
            chosen: positions of recordings.
            advance: called with the number of recordings as they are done.
        """
        totals, self.parts = self._begun(aligner)
        advance(totals.recordings)
        for part in speech.parts(begin=self.parts):
            mine = [rows for member, rows in part.recordings() if member in chosen]
            totals.merge(self._align(self.parts, mine, aligner))
            self.parts += 1
            self._remember(totals, self.parts)
            advance(len(mine))
        return totals

    def _align(self, number: int, recordings: Sequence[torch.Tensor], aligner: Aligner) -> Totals:
        mixture = aligner.mixture
        found = _empty(mixture)
        counts, firsts = [], []
        for frames in recordings:
            one = align(aligner, frames, found.second)
            # Totals must be those of the statistics that are used, rounded ones too.
            counts.append(one.count.to(getattr(torch, self.dtype)))
            firsts.append(one.first.to(getattr(torch, self.dtype)))
            found.count += counts[-1][0].double()
            found.first += firsts[-1][0].double()
            found.recordings += 1
        C, D = mixture.means.shape
        kind = np.dtype(self.dtype)
        with atomic_write(self._path(number)) as file:
            np.savez(
                file,
                count=torch.cat(counts).cpu().numpy() if counts else np.zeros((0, C), kind),
                first=torch.cat(firsts).cpu().numpy() if firsts else np.zeros((0, C, D), kind),
            )
        return found

    def _begun(self, aligner: Aligner) -> tuple[Totals, int]:
        empty = _empty(aligner.mixture)
        path = self.folder / STATE / TOTALS
        if not path.exists():
            return empty, 0
        held: dict[str, Any] = state.read(path)
        if held["identity"] != self.identity:
            return empty, 0
        count, first, second = (held[name].to(self.device) for name in ("count", "first", "second"))
        return Totals(count, first, second, int(held["recordings"])), int(held["parts"])

    def _remember(self, totals: Totals, parts: int) -> None:
        values = {name: getattr(totals, name).cpu() for name in ("count", "first", "second")}
        facts = {"identity": self.identity, "recordings": totals.recordings, "parts": parts}
        state.save(self.folder, {**values, **facts}, TOTALS)

    def read(self) -> Iterator[Statistics]:
        """All statistics, part by part, float64.

        Raises:
            StorageError: a part is gone or damaged.
        """
        for number in range(self.parts):
            path = self._path(number)
            try:
                held = read_arrays(path)
                count, first = (
                    torch.from_numpy(held[name].astype(np.float64)).to(self.device)
                    for name in ("count", "first")
                )
            except (OSError, ValueError, KeyError) as error:
                raise StorageError(
                    f"{path} cannot be read",
                    got=str(error),
                    fix="start again with --overwrite always",
                ) from None
            if len(count):
                yield Statistics(count, first)

    def expect(
        self, tell: Callable[[int], None] = lambda _recordings: None
    ) -> Callable[[TotalVariability], VariabilitySums]:
        """An expectation step over all recordings.

        Args:
            tell: called with the number of recordings as they are done.
        """

        def step(model: TotalVariability) -> VariabilitySums:
            sums = VariabilitySums.of(model)
            for one in self.read():
                sums.add(one, model)
                tell(len(one))
            return sums

        return step

    def ivectors(self, model: TotalVariability) -> torch.Tensor:
        """i-vectors of all recordings [U, R]."""
        return torch.cat([model.ivectors(one) for one in self.read()])


def _empty(mixture: Mixture) -> Totals:
    like = torch.zeros_like
    return Totals(like(mixture.weights), like(mixture.means), like(mixture.covariances))
