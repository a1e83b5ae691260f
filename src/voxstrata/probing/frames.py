"""Frames of layers, kept on disk for the heads that need more than their means."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import NumericsError, StorageError
from voxstrata.models.base import SpeechModel
from voxstrata.probing.norms import Standardised
from voxstrata.probing.resampling import Resampler
from voxstrata.streaming.onepass import Sink
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.streaming.unit_frame import FrameUnit
from voxstrata.streaming.units import Unit, UnitRows
from voxstrata.types import SAMPLE_RATE, FrameGrid, LayerInfo, Utterance

OPEN_FILES = 256
"""Shards that are mapped at a time."""


class FramesOf(FrameUnit):
    """Every frame of some recordings; no row of the others.

    Args:
        ids: the recordings.
    """

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = frozenset(ids)

    def rows(
        self, utterance: Utterance, outputs: Sequence[torch.Tensor], layers: Sequence[StackLayer]
    ) -> UnitRows:
        """Frames of every layer."""
        if utterance.id in self._ids:
            return super().rows(utterance, outputs, layers)
        return UnitRows([output[:0] for output in outputs], [], [])

    def count(
        self, utterance: Utterance, frames: Sequence[int], layers: Sequence[StackLayer]
    ) -> int:
        """Frames, for a recording that is needed."""
        return super().count(utterance, frames, layers) if utterance.id in self._ids else 0


def alike(stack: Sequence[StackLayer]) -> list[tuple[int, ...]]:
    """Positions of the frame layers of one model and grid, which go into one store."""
    found: dict[Any, list[int]] = {}
    for position, layer in enumerate(stack):
        if layer.info.kind == "frame":
            found.setdefault((layer.model, layer.info.grid), []).append(position)
    return [tuple(members) for members in found.values()]


def frame_sinks(
    folder: Path,
    stack: Sequence[StackLayer],
    ids: Collection[str],
    identity: str,
    *,
    normalise: bool = False,
) -> list[Sink]:
    """Stores below ``folder`` for frames of ``ids``, one for each model and grid."""
    sinks = []
    for number, members in enumerate(alike(stack)):
        unit: Unit = Standardised(FramesOf(ids)) if normalise else FramesOf(ids)
        meta = {"unit": unit.describe(), "identity": identity}
        layers = [stack[p] for p in members]
        store = StoreReducer(folder / f"{number:03d}", layers, meta=meta)
        sinks.append(Sink(unit, members, store, f"frames-{number:03d}"))
    return sinks


def frame_bytes(
    utterances: Sequence[Utterance],
    ids: Collection[str],
    models: Sequence[SpeechModel],
    stack: Sequence[StackLayer],
) -> float:
    """Bytes that the frames of ``ids`` will take."""
    needed, total = frozenset(ids), 0.0
    for members in alike(stack):
        model, names = models[stack[members[0]].model], [stack[p].info.name for p in members]
        width = sum(stack[p].width for p in members)
        for utterance in utterances:
            if utterance.id in needed:
                samples = round(utterance.duration_s * SAMPLE_RATE)
                total += 4.0 * width * min(model.frames(name, samples) for name in names)
    return total


class Frames(Protocol):
    """Where frames of single recordings come from."""

    def count(self, recording: str) -> int:
        """Frames of a recording."""
        ...

    def rows(self, position: int, recording: str) -> torch.Tensor:
        """Frames [T, D] of the layer at a position."""
        ...


class FrameStore:
    """Frames of single recordings, read from a store as they are asked for.

    Args:
        store: a finished store of :class:`FramesOf`.
    """

    def __init__(self, store: RowStore) -> None:
        self._store, self._lock = store, Lock()
        index = store.index
        self._place = {
            str(name): (int(shard), int(first), int(rows))
            for name, shard, first, rows in zip(
                index["utterance"], index["shard"], index["first_row"], index["rows"], strict=True
            )
        }
        self._open: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._verified: set[tuple[int, int]] = set()

    def count(self, recording: str) -> int:
        """Frames of a recording."""
        return self._place[recording][2]

    def rows(self, position: int, recording: str) -> torch.Tensor:
        """Frames [T, D] of one layer of the store.

        Raises:
            StorageError: a shard is missing or damaged.
        """
        shard, first, rows = self._place[recording]
        if not rows:
            return torch.zeros(0, self._store.widths[position])
        found: torch.Tensor = self._slice(position, shard)[first : first + rows]
        return found

    def _slice(self, position: int, shard: int) -> Any:
        from safetensors import SafetensorError, safe_open

        key = (position, shard)
        with self._lock:
            if key not in self._open:
                path = self._store.shard(position, shard)
                if key not in self._verified:  # parts are read below, and a sum is over all
                    self._store.verify(position, shard)
                    self._verified.add(key)
                try:
                    shards: Any = safe_open(path, "pt")
                    self._open[key] = shards.get_slice("rows")
                except (SafetensorError, OSError) as error:
                    raise StorageError(
                        f"the shard {path} is missing or damaged",
                        got=str(error),
                        fix="run again with --overwrite always to compute it afresh",
                    ) from None
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            return self._open[key]


class FrameFeatures:
    """Frames of one model's layers.

    Args:
        infos: the layers.
        sources: for each layer the store with its position there, or vectors [N, D] of all
            recordings for an utterance layer, which is repeated in every frame.
        place: row of each recording in those vectors; the recordings there are.

    Attributes:
        names: of the layers.
        widths: of the layers.
    """

    def __init__(
        self,
        infos: Sequence[LayerInfo],
        sources: Sequence[tuple[Frames, int] | torch.Tensor],
        place: Mapping[str, int],
    ) -> None:
        self.infos, self._sources, self.place = tuple(infos), tuple(sources), place
        self.names = tuple(info.name for info in infos)
        self.widths = tuple(info.width for info in infos)
        self._timed = [i for i, info in enumerate(infos) if info.kind == "frame"]

    def batch(
        self, layers: Sequence[int], ids: Sequence[str], stride: int | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Frames of recordings, padded with zeros, all layers on one grid.

        Args:
            layers: which are read.
            ids: B recordings.
            stride: samples between frames, where layers are finer; the coarsest layer's otherwise.

        Returns:
            for each layer [B, T, D_l], and lengths int64 [B].
        """
        timed = self._grid_of(layers)
        held = {i: self._padded(i, ids) for i in timed}
        own = self._resampler(timed, stride)
        if own is None:
            found = torch.stack([held[i][1] for i in timed]).amin(0)
            frames = int(found.max()) if len(found) else 0
            parts = {i: held[i][0][:, :frames] for i in timed}
        else:
            made, found = own([held[i][0] for i in timed], [held[i][1] for i in timed])
            parts = dict(zip(timed, made, strict=True))
            frames = made[0].shape[1]
        out = []
        for i in layers:
            source = self._sources[i]
            if isinstance(source, torch.Tensor):
                rows = source[[self.place[name] for name in ids]].float()
                out.append(rows[:, None].expand(-1, frames, -1))
            else:
                out.append(parts[i])
        return out, found

    def lengths(
        self, layers: Sequence[int], ids: Sequence[str], stride: int | None = None
    ) -> NDArray[np.int64]:
        """Frames of recordings as :meth:`batch` gives them, [N], without reading any."""
        timed = self._grid_of(layers)
        counts = {i: torch.tensor([self._store(i)[0].count(n) for n in ids]) for i in timed}
        own = self._resampler(timed, stride)
        if own is None:
            found: NDArray[np.int64] = torch.stack(list(counts.values())).amin(0).numpy()
            return found
        return own.lengths([counts[i] for i in timed])

    def at(self, layer: int, ids: Sequence[str], times: NDArray[np.float64]) -> torch.Tensor:
        """The frames of one layer whose centres are nearest to some times.

        Args:
            layer: which; a vector of the whole recording is the same at all times.
            ids: recordings, [N]; each may come often.
            times: seconds, [N].

        Returns:
            [N, D].
        """
        source = self._sources[layer]
        if isinstance(source, torch.Tensor):
            return source[[self.place[name] for name in ids]].float()
        grid = self.infos[layer].grid
        assert grid is not None
        first, step = grid.centre_s(0), grid.stride / SAMPLE_RATE
        wanted = np.floor((times - first) / step + 0.5).astype(np.int64)
        found = torch.zeros(len(ids), self.widths[layer])
        by_recording: dict[str, list[int]] = {}
        for i, name in enumerate(ids):
            by_recording.setdefault(name, []).append(i)
        store, position = source
        for name, members in by_recording.items():
            rows = store.rows(position, name)
            found[members] = rows[wanted[members].clip(0, len(rows) - 1)].float()
        return found

    def grid(self, layers: Sequence[int], stride: int | None = None) -> FrameGrid:
        """Where the frames of :meth:`batch` are in time."""
        timed = self._grid_of(layers)
        own = self._resampler(timed, stride)
        found = self.infos[timed[0]].grid if own is None else own.grid
        assert found is not None
        return found

    def _grid_of(self, layers: Sequence[int]) -> list[int]:
        """Frame layers that say how many frames there are: those read, or the model's first where
        only a repeated vector is."""
        return [i for i in layers if i in self._timed] or self._timed[:1]

    def _resampler(self, timed: Sequence[int], stride: int | None) -> Resampler | None:
        grids = [grid for i in timed if (grid := self.infos[i].grid) is not None]
        coarsest = max(grid.stride for grid in grids)
        wanted = max(coarsest, stride or 0)
        if len(set(grids)) == 1 and wanted == grids[0].stride:
            return None
        return Resampler(grids, wanted)

    def _store(self, layer: int) -> tuple[Frames, int]:
        source = self._sources[layer]
        assert not isinstance(source, torch.Tensor)
        return source

    def _padded(self, layer: int, ids: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        store, position = self._store(layer)
        rows = [store.rows(position, name) for name in ids]
        lengths = torch.tensor([len(row) for row in rows])
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return padded, lengths


def check_finite(names: Sequence[str], means: Sequence[torch.Tensor]) -> None:
    """Refuse layers with a frame that is not finite: its recording's mean is not either.

    Raises:
        NumericsError: there is one.
    """
    for name, rows in zip(names, means, strict=True):
        bad = ~torch.isfinite(rows).all(dim=1)
        if bool(bad.any()):
            raise NumericsError(
                f"features of layer {name} hold numbers that are not finite",
                got=f"{int(bad.sum())} of {len(rows)} recordings",
                expected="finite features",
                fix="run the model with --dtype float32, and check the recordings",
            )
