"""lhotse, kept at arm's length: import it late, read manifests line by line, read a cut's audio."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.corpora.audio import Header, finish, read_file, read_header
from voxstrata.corpora.manifests import check_cut, sources_in
from voxstrata.errors import AudioError, CorpusError, MissingDependencyError
from voxstrata.files import atomic_write
from voxstrata.types import SAMPLE_RATE, Utterance

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut


def need_lhotse() -> None:
    """Import lhotse (about three seconds the first time).

    Raises:
        MissingDependencyError: it, or something it needs, is absent or broken.
    """
    try:
        import lhotse  # noqa: F401
    except Exception as error:
        raise MissingDependencyError(
            "lhotse, which keeps the corpora, cannot be imported",
            got=f"{type(error).__name__}: {error}",
            fix="pip install 'lhotse>=1.30' urllib3; a torchaudio that does not fit torch also "
            "breaks it: pip uninstall torchaudio",
        ) from None


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector.

    Millions of spans are made while a corpus opens and none is in a cycle; the collector would
    look through them again and again (measured: 40 % of the time).
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and values of a JSONL or JSONL.gz file; blank lines are passed over.

    A line that is not JSON comes as a :class:`ValueError` object in place of its value.

    Raises:
        CorpusError: the file is missing, not UTF-8, or its gzip stream is damaged.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                    if "\\ud" in line.lower():  # half a character, which no file can hold
                        json.dumps(value, ensure_ascii=False).encode()
                except (ValueError, RecursionError) as error:
                    yield number, ValueError(str(error))
                    continue
                yield number, value
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"cannot read the manifest {path}", got=str(error)) from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text", got=str(error)) from None


def recording_of(header: Header, id: str | None = None) -> Recording:
    """A lhotse recording of one audio file.

    Args:
        header: its header.
        id: recording id; the file's name without ending if ``None``.
    """
    from lhotse import AudioSource, Recording

    channels = list(range(header.channels))
    return Recording(
        id=id or Path(header.path).stem,
        sources=[AudioSource(type="file", channels=channels, source=str(header.path))],
        sampling_rate=header.rate_hz,
        num_samples=header.frames,
        duration=header.duration_s,
        channel_ids=channels,
    )


MALFORMED = (
    TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RecursionError,
    OverflowError,
)  # fmt: skip
"""What lhotse raises where a manifest's line is not what it should be."""


def cut_from_dict(data: dict[str, Any]) -> Cut:
    """A lhotse cut from its JSON; ``custom`` stays as it is written.

    Raises:
        CorpusError: it is not a cut.
    """
    from lhotse.serialization import deserialize_item

    # lhotse would turn a custom mapping that has, say, a key "width" into an image.
    custom = data.pop("custom", None)
    try:
        inner = [s.pop("custom", None) for s in data.get("supervisions", [])]
        cut = deserialize_item(data)
        kind = type(cut).__name__
        if kind not in ("MonoCut", "MultiCut", "MixedCut"):
            raise ValueError(f"a {kind}")
        if custom is not None:
            cut.custom = custom
        if kind != "MixedCut":
            for supervision, values in zip(cut.supervisions, inner, strict=True):
                supervision.custom = values
        check_cut(cut)
    except MALFORMED as error:
        raise CorpusError("not a lhotse cut", got=f"{type(error).__name__}: {error}") from None
    return cut


def write_cuts(path: Path, cuts: Iterable[Cut]) -> None:
    """Write a cut manifest (``.jsonl.gz``), whole or not at all, the same bytes every time.

    Raises:
        StorageError: it cannot be written.
    """
    with (
        atomic_write(path) as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file,
    ):
        for cut in cuts:
            line = json.dumps(cut.to_dict(), ensure_ascii=False, sort_keys=True)
            file.write(line.encode("utf-8") + b"\n")


def recordings_of(cut: Cut) -> list[Recording]:
    """Every recording a cut reads from."""
    if hasattr(cut, "tracks"):
        return [r for track in cut.tracks for r in recordings_of(track.cut)]
    recording = getattr(cut, "recording", None)
    return [recording] if recording is not None else []


def files_of(cut: Cut) -> list[str]:
    """Paths of the audio files a cut reads from."""
    return [
        str(source.source)
        for recording in recordings_of(cut)
        for source in recording.sources
        if source.type == "file"
    ]


def refuse_foreign_sources(cut: Cut) -> None:
    """Refuse audio that is not a local file: a manifest must not run commands or use the network.

    Raises:
        AudioError: a source is a command, a URL or the like.
    """
    # Only cuts that are changed on reading may name audio beside their recordings.
    found: Iterable[tuple[str, Any]]
    if hasattr(cut, "tracks") or any(recording.transforms for recording in recordings_of(cut)):
        found = sources_in(cut)
    else:
        found = ((s.type, s.source) for r in recordings_of(cut) for s in r.sources)
    for kind, source in found:
        if kind not in ("file", "memory"):
            raise AudioError(
                f"{cut.id}: its audio is not a local file",
                got=f"a source of type {kind!r}: {str(source)[:80]}",
                expected="type 'file'",
                fix="save the audio to files first (lhotse: cuts.save_audios)",
            )


def is_plain(cut: Cut) -> bool:
    """Whether our own reader can read the cut: one recording of files, no transforms."""
    recording = getattr(cut, "recording", None)
    return (
        recording is not None
        and not hasattr(cut, "tracks")
        and not recording.transforms
        and all(source.type == "file" for source in recording.sources)
    )


def channels_of(cut: Cut) -> tuple[int, ...]:
    """Channel numbers of the recording that the cut averages."""
    channel = cut.channel
    return (channel,) if isinstance(channel, int) else tuple(channel)


def _places(cut: Cut) -> list[tuple[str, list[int]]]:
    """Files and the indices of the wanted channels within them."""
    wanted = channels_of(cut)
    places = []
    for source in cut.recording.sources:
        held = list(source.channels)
        inside = [held.index(c) for c in wanted if c in held]
        if inside:
            places.append((str(source.source), inside))
    if sum(len(inside) for _, inside in places) != len(wanted):
        raise AudioError(
            f"{cut.id}: its recording lacks a channel",
            got=f"channels {list(wanted)}",
            expected=f"channels of {cut.recording.channel_ids}",
        )
    return places


def read_cut(cut: Cut) -> NDArray[np.float32]:
    """The audio of a cut, float32 [S], 16 kHz mono (mean of the cut's channels).

    Plain cuts are read with soundfile and soxr; mixed or augmented ones through lhotse.

    Raises:
        AudioError: see :func:`voxstrata.corpora.audio.read_file`; or lhotse failed.
    """
    refuse_foreign_sources(cut)
    if is_plain(cut):
        places = _places(cut)
        parts = [
            read_file(path, start_s=cut.start, duration_s=cut.duration, channels=inside)
            for path, inside in places
        ]
        if len(parts) == 1:
            return parts[0]
        weights = np.array([len(inside) for _, inside in places], dtype=np.float32)
        mean = np.einsum("c,cs->s", weights / weights.sum(), np.stack(parts))
        return np.ascontiguousarray(mean, dtype=np.float32)
    try:
        data = cut.load_audio()
    except Exception as error:
        raise AudioError(
            f"{cut.id} ({', '.join(files_of(cut)) or 'no file'}) cannot be read",
            got=f"{type(error).__name__}: {error}",
        ) from None
    if data is None:
        raise AudioError(f"{cut.id} has no recording", fix="use cuts that carry recordings")
    mono = np.asarray(data, dtype=np.float32)
    mono = mono.mean(axis=0) if mono.ndim == 2 else mono
    return finish(mono, int(cut.sampling_rate or SAMPLE_RATE), cut.duration, cut.id)


@dataclass(frozen=True)
class CutReader:
    """Reads one cut when called (picklable, unlike a closure)."""

    cut: Any

    def __call__(self) -> NDArray[np.float32]:
        """Audio [S]; see :func:`read_cut`."""
        return read_cut(self.cut)


def utterance(cut: Cut) -> Utterance:
    """The cut as the rest of voxstrata sees it."""
    from voxstrata.corpora.tiers import Tiers

    return Utterance(cut.id, float(cut.duration), Tiers(cut), CutReader(cut))


def headers(cut: Cut) -> list[Header]:
    """Headers of the files a cut reads from.

    Raises:
        AudioError: one is missing or unreadable.
    """
    return [read_header(path) for path in files_of(cut)]
