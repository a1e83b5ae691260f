"""One embedding a recording: the layer of a model, pooled over time where it has a time axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.corpora import Corpus
from voxstrata.errors import CorpusError, UsageError, VoxstrataError
from voxstrata.files import atomic_write, fingerprint, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.base import layer as find_layer
from voxstrata.registry import unknown_name
from voxstrata.streaming.batches import Shard, make_batches, make_shards
from voxstrata.streaming.fitting import Room
from voxstrata.streaming.outputs import Clock, Loaded, encode_batch, prefetch
from voxstrata.streaming.progress import Advance
from voxstrata.streaming.stack import StackLayer
from voxstrata.sums import read_arrays
from voxstrata.types import LayerInfo, Utterance

Wave = NDArray[np.float32]
Channel = Callable[[Wave], Wave]
"""What happens to one recording on its way: float32 [S] to float32 [S']."""

ChannelOf = Callable[[str], Channel]
"""The channel of a recording, by its id."""

Pooling = Literal["auto", "none", "mean", "mean+std"]

METHOD = 1
"""Raised when embeddings change for the same settings, so that caches do not outlive it."""

CROPS, CROP = 5, 300 * 160 + 240
"""Crops of a recording and their samples (3.015 s), as TaoRuijie/ECAPA-TDNN takes them."""

PART_S = 300.0
"""Seconds of audio whose embeddings are saved together: what a kill may cost."""


@dataclass(frozen=True)
class Extraction:
    """What is taken from a model.

    Attributes:
        layer: the layer.
        pooling: "none" (utterance layers), "mean" or "mean+std" over time.
        crops: whether five crops are embedded beside the whole recording.
    """

    layer: LayerInfo
    pooling: Pooling
    crops: bool = False

    @property
    def width(self) -> int:
        """Dimensions D of an embedding."""
        return self.layer.width * (2 if self.pooling == "mean+std" else 1)

    def describe(self) -> dict[str, Any]:
        """JSON-like facts."""
        return {
            "layer": self.layer.name,
            "pooling": self.pooling,
            "width": self.width,
            "crops": CROPS if self.crops else 0,
        }


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a corpus by one model.

    Attributes:
        model: text the model was named by.
        extraction: what was taken from it.
        ids: [N] recordings, in the order of the corpus.
        vectors: [N, D] float32.
        crops: [N, 5, D] float32, or ``None``.
        skipped: recordings that have none, with the reason.
    """

    model: str
    extraction: Extraction
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    crops: NDArray[np.float32] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def of(self, ids: Sequence[str]) -> Embeddings:
        """The embeddings of these recordings, in this order.

        Raises:
            CorpusError: one has none.
        """
        places = {name: at for at, name in enumerate(self.ids)}
        absent = [name for name in ids if name not in places]
        if absent:
            raise CorpusError(
                f"{len(absent)} recordings have no embedding by {self.model}", got=absent[0]
            )
        rows = [places[name] for name in ids]
        crops = None if self.crops is None else self.crops[rows]
        return replace(self, ids=tuple(ids), vectors=self.vectors[rows], crops=crops)


def choose(
    model: SpeechModel, layer: str | None = None, pooling: Pooling = "auto", *, crops: bool = False
) -> Extraction:
    """What to take from a model.

    Args:
        model: the model.
        layer: name of a layer; ``None`` for the last utterance layer ("embedding"), or where
            there is none the last default layer.
        pooling: "auto" takes mean and standard deviation of acoustic features (families
            "baseline" and "acoustic"), the mean of other layers over time, and utterance layers
            as they are.
        crops: embed five crops too.

    Raises:
        UnknownNameError: no such layer or pooling.
        UsageError: an utterance layer would be pooled, or a frame layer not.
    """
    if pooling not in get_args(Pooling):
        raise unknown_name("pooling", pooling, list(get_args(Pooling)))
    if layer is not None:
        info = find_layer(model, layer)
    else:
        usual = [info for info in model.layers if info.default] or list(model.layers)
        info = ([i for i in usual if i.kind == "utterance"] or usual)[-1]
    if pooling == "auto":
        features = model.family in ("baseline", "acoustic")
        chosen: Pooling = "mean+std" if features else "mean"
        pooling = "none" if info.kind == "utterance" else chosen
    if (pooling == "none") != (info.kind == "utterance"):
        raise UsageError(
            f"layer {info.name} of {model.spec} cannot be pooled by {pooling!r}",
            got=f"one vector {'a recording' if info.kind == 'utterance' else 'a frame'}",
            expected="'none'" if info.kind == "utterance" else "'mean' or 'mean+std'",
            fix="use --pooling auto",
        )
    return Extraction(info, pooling, crops)


def embed(
    model: SpeechModel,
    corpus: Corpus | Sequence[Utterance],
    *,
    layer: str | None = None,
    pooling: Pooling = "auto",
    crops: bool = False,
    channel: ChannelOf | None = None,
    channel_key: str = "",
    cache: Path | None = None,
    batch_s: float = 30.0,
    on_error: Literal["skip", "stop"] = "skip",
    advance: Advance = lambda _amount: None,
) -> Embeddings:
    """Embeddings of every recording of a corpus by one model; see :func:`embed_all`."""
    wanted = choose(model, layer, pooling, crops=crops)
    return embed_all(
        [(model, wanted)],
        corpus,
        channel=channel,
        channel_key=channel_key,
        cache=cache,
        batch_s=batch_s,
        on_error=on_error,
        advance=advance,
    )[0]


def embed_all(
    systems: Sequence[tuple[SpeechModel, Extraction]],
    corpus: Corpus | Sequence[Utterance],
    *,
    channel: ChannelOf | None = None,
    channel_key: str = "",
    cache: Path | None = None,
    batch_s: float = 30.0,
    on_error: Literal["skip", "stop"] = "skip",
    advance: Advance = lambda _amount: None,
) -> list[Embeddings]:
    """Embeddings of every recording by several models: each recording is read once.

    Args:
        systems: models with what is taken from each.
        corpus: recordings.
        channel: what each recording passes through first; it must depend on the id alone.
        channel_key: text that identifies ``channel`` (its kind and seed), for the cache.
        cache: folder in which finished parts are kept and found again, keyed by model, settings,
            corpus and channel; ``None`` keeps nothing. Needs a :class:`Corpus`.
        batch_s: seconds of audio in a batch.
        on_error: "skip" leaves a bad recording out and lists it; "stop" raises its error.
        advance: called with seconds of audio as they are done.

    Returns:
        one :class:`Embeddings` a system; recordings may be missing in one and present in another.

    Raises:
        CorpusError: a model could use no recording at all.
        UsageError: a cache is asked for a bare list, or for a channel without a key.
        VoxstrataError: with ``on_error="stop"``, the first bad recording's error.
    """
    utterances = corpus.utterances if isinstance(corpus, Corpus) else tuple(corpus)
    if cache is not None and not isinstance(corpus, Corpus):
        raise UsageError("embeddings of a bare list of recordings cannot be kept", fix="cache=None")
    if cache is not None and channel is not None and not channel_key:
        raise UsageError("kept embeddings of a channel need its key", fix="channel_key='random:0'")
    digest = corpus.fingerprint if isinstance(corpus, Corpus) else ""
    shards = make_shards(utterances, [0] * len(utterances), PART_S)
    works = [
        _System(model, wanted, _place(cache, model, wanted, digest, channel_key))
        for model, wanted in systems
    ]
    for work in works:
        work.remember(digest, channel_key)
    heard = utterances if channel is None else [through(u, channel) for u in utterances]
    for shard in shards:
        todo = [work for work in works if not work.load(shard)]
        if todo:
            _shard(todo, [heard[m] for m in shard.members], batch_s, on_error)
            for work in todo:
                work.save(shard)
        advance(sum(utterances[member].duration_s for member in shard.members))
    return [work.finish([u.id for u in utterances]) for work in works]


def through(utterance: Utterance, channel: ChannelOf) -> Utterance:
    """The recording as it comes out of its channel."""

    def read() -> Wave:
        heard = channel(utterance.id)(utterance.read())
        return np.ascontiguousarray(heard, dtype=np.float32)

    return replace(utterance, read=read)


def _place(
    cache: Path | None, model: SpeechModel, wanted: Extraction, corpus: str, channel: str
) -> Path | None:
    if cache is None:
        return None
    settings = [METHOD, PART_S, wanted.describe(), corpus, channel]
    return cache / fingerprint([model.fingerprint, *settings])


def _shard(
    todo: Sequence[_System],
    utterances: Sequence[Utterance],
    batch_s: float,
    on_error: Literal["skip", "stop"],
) -> None:
    groups = make_batches(utterances, range(len(utterances)), batch_s)
    for loaded in prefetch([[utterances[member] for member in group] for group in groups]):
        for utterance, error in loaded.failed:
            if on_error == "stop":
                raise error
            for work in todo:
                work.skip(utterance.id, error)
        for work in todo:
            failed = work.encode(loaded)
            if failed and on_error == "stop":
                raise failed[0][1]


class _System:
    """One model at work: vectors of finished shards, on disk where there is a cache."""

    def __init__(self, model: SpeechModel, wanted: Extraction, place: Path | None) -> None:
        self.model, self.wanted, self.place = model, wanted, place
        self.stack = [StackLayer(0, model.spec, wanted.layer)]
        self.vectors: dict[str, NDArray[np.float32]] = {}
        self.skipped: dict[str, str] = {}
        self._room = Room()
        self._fresh: list[str] = []
        self._gone: list[str] = []

    def remember(self, corpus: str, channel: str) -> None:
        """Say in the cache what its folder holds."""
        if self.place is None or (self.place / "about.json").exists():
            return
        about = {"model": self.model.spec, "fingerprint": self.model.fingerprint}
        about |= {**self.wanted.describe(), "corpus": corpus, "channel": channel}
        write_json(self.place / "about.json", about)

    def skip(self, name: str, error: VoxstrataError) -> None:
        self.skipped[name] = error.what if error.got is None else f"{error.what} ({error.got})"
        self._gone.append(name)

    def encode(self, loaded: Loaded) -> list[tuple[Utterance, VoxstrataError]]:
        """Embed one batch; returns what failed."""
        if not loaded.utterances:
            return []
        views = _views(loaded) if self.wanted.crops else loaded
        with torch.inference_mode():
            good, failed = encode_batch([self.model], self.stack, views, Clock(), self._room)
            rows = {u.id: _pooled(outputs[0], self.wanted.pooling) for u, outputs in good}
        bad = {u.id.partition(_VIEW)[0]: error for u, error in failed}
        for utterance in loaded.utterances:
            name = utterance.id
            if name in bad:
                self.skip(name, bad[name])
                continue
            parts = [rows[name]]
            if self.wanted.crops:
                parts += [rows[f"{name}{_VIEW}{number}"] for number in range(CROPS)]
            self.vectors[name] = np.stack(parts)
            self._fresh.append(name)
        return failed

    def _path(self, shard: Shard) -> Path | None:
        return None if self.place is None else self.place / f"part-{shard.number:05d}.npz"

    def load(self, shard: Shard) -> bool:
        """Take the shard's vectors from the cache, if they are there."""
        path = self._path(shard)
        if path is None or not path.exists():
            return False
        try:
            held = read_arrays(path)
            ids, vectors = held["ids"].tolist(), held["vectors"]
            gone = dict(zip(held["gone"].tolist(), held["why"].tolist(), strict=True))
        except (OSError, ValueError, KeyError):
            return False  # damaged: made anew
        if len(ids) + len(gone) != len(shard.members):
            return False
        self.vectors |= dict(zip(ids, vectors, strict=True))
        self.skipped |= gone
        return True

    def save(self, shard: Shard) -> None:
        path = self._path(shard)
        if path is not None:
            vectors = [self.vectors[name] for name in self._fresh]
            with atomic_write(path) as file:
                np.savez(
                    file,
                    ids=np.array(self._fresh, dtype=np.str_),
                    vectors=np.stack(vectors) if vectors else np.zeros((0, 1, 1), np.float32),
                    gone=np.array(self._gone, dtype=np.str_),
                    why=np.array([self.skipped[name] for name in self._gone], dtype=np.str_),
                )
        self._fresh, self._gone = [], []

    def finish(self, order: Sequence[str]) -> Embeddings:
        ids = tuple(name for name in order if name in self.vectors)
        if not ids:
            reasons = "; ".join(list(dict.fromkeys(self.skipped.values()))[:3])
            raise CorpusError(
                f"no recording could be embedded by {self.model.spec}",
                got=f"{len(self.skipped)} skipped: {reasons}",
            )
        rows = np.stack([self.vectors[name] for name in ids])
        crops = rows[:, 1:] if self.wanted.crops else None
        skipped = {name: self.skipped[name] for name in order if name in self.skipped}
        return Embeddings(self.model.spec, self.wanted, ids, rows[:, 0], crops, skipped)


_VIEW = "\0crop"
"""Between a recording's id and the number of a crop of it."""


def _views(loaded: Loaded) -> Loaded:
    """The batch with five crops of each recording."""
    utterances, audio = list(loaded.utterances), list(loaded.audio)
    for utterance, wave in zip(loaded.utterances, loaded.audio, strict=True):
        for number, crop in enumerate(crops_of(wave)):
            utterances.append(replace(utterance, id=f"{utterance.id}{_VIEW}{number}"))
            audio.append(crop)
    return Loaded(utterances, audio, [])


def crops_of(wave: torch.Tensor) -> list[torch.Tensor]:
    """Five evenly spaced crops of 3.015 s [48240]; a shorter recording is repeated up to that."""
    if len(wave) < CROP:
        wave = wave.repeat(-(-CROP // max(1, len(wave))))[:CROP]
    starts = np.linspace(0, len(wave) - CROP, CROPS).astype(int)
    return [wave[start : start + CROP] for start in starts]


def _pooled(output: torch.Tensor, pooling: Pooling) -> NDArray[np.float32]:
    """[T, D] to [D] or [2 D], summed in float64 (float32 on devices that lack it)."""
    frames = output if output.device.type == "mps" else output.double()
    if pooling == "none":
        found = frames[0]
    else:
        found = frames.mean(dim=0)
        if pooling == "mean+std":
            found = torch.cat([found, frames.std(dim=0, correction=0)])
    return np.asarray(found.float().cpu().numpy())
