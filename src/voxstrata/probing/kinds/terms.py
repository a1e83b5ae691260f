"""Spoken term detection: no head, one layer at a time; dev queries choose the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import ConfigError, UsageError
from voxstrata.metrics.retrieval import average_precision
from voxstrata.metrics.spoken_terms import TermTrials, query_scores
from voxstrata.numerics.threads import on_threads, one_blas_thread
from voxstrata.probing.cells import Ran, Reads
from voxstrata.probing.frames import FrameFeatures, check_finite
from voxstrata.probing.kinds.kind import Work
from voxstrata.probing.linear.probes import Probe
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig
from voxstrata.probing.task import Round, Task
from voxstrata.probing.terms import Terms
from voxstrata.types import SAMPLE_RATE, FrameGrid

Floats = NDArray[np.float64]


class TermKind:
    """Queries warped onto documents, on the frames of each layer."""

    ON_FRAMES = True

    def count(self, task: Task, reads: Reads, config: ProbeConfig, protocol: ProtocolConfig) -> int:
        """See :class:`voxstrata.probing.kinds.kind.Kind`."""
        layers = 0 if reads.joint else len(reads.names)
        return layers * (2 if config.controls else 1)

    def run(self, work: Work) -> list[Ran]:
        """See :class:`voxstrata.probing.kinds.kind.Kind`.

        Raises:
            ConfigError: the protocol chooses by a measure that the task has not.
            NumericsError: a layer has frames that are not finite, or all the same.
            UsageError: no query or no document could be read.
        """
        if work.plan.measure not in work.task.measures:
            raise ConfigError(
                f"the protocol chooses by a measure that the task {work.task.name!r} has not",
                got=work.plan.measure,
                expected=" or ".join(work.task.measures),
            )
        if work.reads.joint:
            return []  # nothing is summed here
        check_finite(work.names, work.means.rows)
        frames, seed = work.frames, work.config.seed
        assert frames is not None
        timed = [i for i, info in enumerate(frames.infos) if info.kind == "frame"]
        readable = {
            (division.name, name): _readable(work, part)
            for division in work.data.rounds
            for name, part in division.parts.items()
            if isinstance(part, Terms)
        }

        def layer(position: int) -> list[Ran]:
            probes = [Probe((position,), 0.0, seed)]
            if work.config.controls:
                probes.append(Probe((position,), 0.0, seed, control=True))

            def make(division: Round, probes: Sequence[Probe]) -> list[Ran]:
                parts = {name: readable[division.name, name] for name in ("dev", "test")}
                made = run_layer(work, frames, position, division.name, parts, probes)
                work.advance(len(probes))
                return made

            return work.stage(f"layer {position}", probes, make)

        with one_blas_thread():
            found = on_threads(layer, timed, work.workers)
        if untimed := len(frames.infos) - len(timed):
            work.advance(untimed * (2 if work.config.controls else 1) * len(work.data.rounds))
        return [one for made in found for one in made]

    def left_out(self, work: Work) -> dict[str, list[str]]:
        """Recordings that were needed and could not be read."""
        lost = [name for name in work.data.ids if name not in work.means.place]
        return {"queries or documents could not be read": lost} if lost else {}


KIND = TermKind()


@dataclass(frozen=True)
class Readable:
    """The queries and documents of a part that have features.

    Attributes:
        terms: the part.
        rows: its queries, and
        columns: its documents that are there.
        beside: recordings that count in the normalisation alone.
    """

    terms: Terms
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    beside: tuple[str, ...]

    @property
    def held(self) -> NDArray[np.bool_]:
        """Whether the document holds the query, [rows, columns]."""
        return self.terms.held[np.ix_(self.rows, self.columns)]

    @property
    def groups(self) -> list[str]:
        """What the queries are drawn again with."""
        return [self.terms.groups[i] for i in self.rows]


def _readable(work: Work, terms: Terms) -> Readable:
    frames, place = work.frames, work.means.place
    assert frames is not None
    rows = np.array([i for i, name in enumerate(terms.ids) if name in place], dtype=np.int64)
    columns = np.array([i for i, n in enumerate(terms.documents) if n in place], dtype=np.int64)
    documents = [terms.documents[i] for i in columns]
    for i, info in enumerate(frames.infos):
        if info.kind == "frame" and documents:
            # The same documents for every layer: those with a frame in all of them.
            columns = columns[frames.lengths([i], documents, work.plan.stride) > 0]
            documents = [terms.documents[i] for i in columns]
    found = Readable(terms, rows, columns, tuple(n for n in terms.beside if n in place))
    if len(terms) and not found.held.any():
        raise UsageError(
            f"the task {work.task.name!r} has no query left that is in a document",
            got=f"{len(rows)} of {len(terms.ids)} queries and {len(columns)} of "
            f"{len(terms.documents)} documents with features",
            expected="recordings that can be read",
            fix="see what was skipped and why, or leave the task out",
        )
    return found


class Stretches(Sequence[Floats]):
    """Frames of recordings, or of stretches of them, read from disk as they are asked for.

    Args:
        frames: of a model's layers.
        layer: which.
        ids: recordings.
        spans: for each the stretch in seconds; ``None`` for all of it.
        stride: samples between frames, where the layer is finer.
    """

    def __init__(
        self,
        frames: FrameFeatures,
        layer: int,
        ids: Sequence[str],
        spans: Sequence[tuple[float, float] | None],
        stride: int | None,
    ) -> None:
        self._frames, self._layer, self._stride = frames, layer, stride
        self._ids, self._spans = ids, spans
        self._grid = frames.grid([layer], stride)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        span = self._spans[index]
        batch, lengths = self._frames.batch([self._layer], [self._ids[index]], self._stride)
        rows = batch[0][0, : int(lengths[0])].double().numpy()
        return rows if span is None else rows[within(self._grid, span, len(rows))]


def within(grid: FrameGrid, span: tuple[float, float], frames: int) -> slice:
    """Frames with centres in a stretch [start, end), given in seconds."""
    first, last = (_first_from(grid, 2 * round(edge * SAMPLE_RATE)) for edge in span)
    return slice(min(max(first, 0), frames), min(max(last, 0), frames))


def _first_from(grid: FrameGrid, edge2: int) -> int:
    """The first frame whose centre is not before an edge (twice its sample)."""
    return -((grid.centre2(0) - edge2) // (2 * grid.stride))


def run_layer(
    work: Work,
    frames: FrameFeatures,
    layer: int,
    name: str,
    parts: dict[str, Readable],
    probes: Sequence[Probe],
) -> list[Ran]:
    """Score the queries of both parts on a layer.

    Args:
        work: the task.
        frames: of the model's layers.
        layer: which.
        name: of the round.
        parts: queries and documents by part.
        probes: one, and one with the documents dealt anew among queries.
    """
    scores = {part: _scores(frames, layer, held, work) for part, held in parts.items()}
    found = []
    for probe in probes:
        held = {part: _dealt(readable.held, probe) for part, readable in parts.items()}
        trials = {
            part: TermTrials(scores[part], held[part], readable.terms.weights)
            for part, readable in parts.items()
        }
        precise = {part: _precision(scores[part], held[part]) for part in parts}
        values = {
            part: {"mtwv": trials[part].maximum()[0], "map": float(above.sum() / below.sum())}
            for part, (above, below) in precise.items()
        }
        found.append(
            Ran(
                layer=work.names[layer],
                round=name,
                probe=probe,
                dev=(values["dev"][work.plan.measure],),
                tie=values["dev"]["map"],
                step=0,
                weights=np.ones(1),
                diverged=False,
                lower=False,
                scores={measure: values["test"][measure] for measure in work.task.measures},
                counts={"map": precise["test"]},
                draws={
                    "mtwv": trials["test"].replicates(parts["test"].groups, seed=work.config.seed)
                },
            )
        )
    return found


def _precision(scores: Floats, held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Average precision of each query (0 where no document holds it), and whether one does."""
    found = average_precision(scores, held)
    return np.nan_to_num(found), np.isfinite(found).astype(np.float64)


def _dealt(held: NDArray[np.bool_], probe: Probe) -> NDArray[np.bool_]:
    """Which documents hold which query; for a control those of another query, by seed."""
    if not probe.control:
        return held
    order = np.random.default_rng([probe.seed, len(held)]).permutation(len(held))
    return held[order]


def _scores(frames: FrameFeatures, layer: int, held: Readable, work: Work) -> Floats:
    terms, stride = held.terms, work.plan.stride

    def read(ids: Sequence[str], spans: Sequence[tuple[float, float] | None]) -> Stretches:
        return Stretches(frames, layer, ids, spans, stride)

    asked = read([terms.ids[i] for i in held.rows], [terms.spans[i] for i in held.rows])
    documents = [terms.documents[i] for i in held.columns]
    return query_scores(
        asked,
        read(documents, [None] * len(documents)),
        least_frames=terms.least_frames,
        beside=read(held.beside, [None] * len(held.beside)),
    )
