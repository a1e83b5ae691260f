"""Reading audio: any rate and channel count in, 16 kHz mono float32 out.

soundfile decodes, soxr resamples (VHQ). No ffmpeg, no torchaudio.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import AudioError
from voxstrata.types import SAMPLE_RATE

SUFFIXES = frozenset(
    {
        ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd",
        ".w64", ".rf64", ".caf", ".sph", ".nist",
    }
)  # fmt: skip
"""File endings taken for audio when a folder is searched."""

SHORTFALL_S = 0.025
"""How much shorter than promised a recording may be; lhotse allows the same."""

MP3_SHORTFALL_S = 0.1
"""MP3 headers do not count encoder delay and padding, which is up to two frames."""


@dataclass(frozen=True)
class Header:
    """What the header of an audio file says.

    Attributes:
        path: the file.
        frames: samples a channel.
        rate_hz: sampling rate.
        channels: number of channels.
        format: container as libsndfile names it ("WAV", "FLAC", ...).
        missing_bytes: bytes the header promises beyond the end of the file (WAV only).
    """

    path: str
    frames: int
    rate_hz: int
    channels: int
    format: str
    missing_bytes: int = 0

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate_hz

    @property
    def tolerance_s(self) -> float:
        """How much shorter than the header says the decoded audio may be."""
        return MP3_SHORTFALL_S if self.format == "MP3" else SHORTFALL_S


_headers: dict[str, tuple[int, int, Header]] = {}
_headers_lock = threading.Lock()


def read_header(path: str | Path) -> Header:
    """Read an audio file's header; remembered while the file does not change. Thread-safe.

    Raises:
        AudioError: the file is missing, empty or not audio.
    """
    file = Path(path)
    try:
        stat = file.stat()
    except (OSError, ValueError):  # the latter: a name that no file can have
        raise AudioError(
            f"the recording {file} is missing",
            fix="check the manifest's paths, or restore the file",
        ) from None
    known = _headers.get(str(file))
    if known is not None and known[:2] == (stat.st_mtime_ns, stat.st_size):
        return known[2]
    if stat.st_size == 0:
        raise AudioError(
            f"the recording {file} is empty", got="0 bytes", fix="fetch or export it again"
        )
    import soundfile as sf

    try:
        info = sf.info(str(file))
    except (sf.SoundFileError, RuntimeError, TypeError) as error:
        raise AudioError(
            f"the recording {file} cannot be read",
            got=str(error),
            expected="wav, flac, ogg, mp3 or another format that libsndfile reads",
            fix="fetch it again or convert it to wav or flac",
        ) from None
    frames = info.frames
    if not 0 <= frames < 1 << 40:  # a streamed FLAC header does not know its length
        frames = _count(file)
    header = Header(
        str(file), frames, info.samplerate, info.channels, info.format, _missing_bytes(file, info)
    )
    with _headers_lock:
        if len(_headers) > 1_000_000:
            _headers.clear()
        _headers[str(file)] = (stat.st_mtime_ns, stat.st_size, header)
    return header


def _count(file: Path) -> int:
    import soundfile as sf

    with sf.SoundFile(str(file)) as audio:
        return sum(len(block) for block in audio.blocks(blocksize=1 << 16, dtype="float32"))


def _missing_bytes(file: Path, info: object) -> int:
    """Bytes of a RIFF data chunk that lie beyond the end of the file (libsndfile hides them)."""
    if getattr(info, "format", "") not in ("WAV", "WAVEX"):
        return 0
    size = file.stat().st_size
    with file.open("rb") as handle:
        if handle.read(4) not in (b"RIFF",):
            return 0
        position = 12
        while position + 8 <= size:
            handle.seek(position)
            kind, length = struct.unpack("<4sI", handle.read(8))
            if kind == b"data":
                # 0 and all ones are what programs write that stream to a pipe.
                known = length not in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000)
                return max(0, position + 8 + length - size) if known else 0
            position += 8 + length + (length & 1)
    return 0


def samples_of(duration_s: float) -> int:
    """Number of samples S, at 16 kHz, of an utterance of ``duration_s`` seconds."""
    return int(duration_s * SAMPLE_RATE + 0.5)


def read_file(
    path: str | Path,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channels: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Read a stretch of a recording.

    Args:
        path: file that libsndfile reads.
        start_s: where to begin, seconds.
        duration_s: how much, seconds; ``None`` for all that follows.
        channels: indices of channels to average; ``None`` for all.

    Returns:
        float32 [S], 16 kHz mono, S = :func:`samples_of` (duration); where the resampler or a
        lossy decoder gives a few samples fewer, zeros follow.

    Raises:
        AudioError: the file is missing, corrupt, truncated, shorter than asked, lacks the
            channel, or holds NaN or infinity.
    """
    import soundfile as sf

    header = read_header(path)
    first = int(start_s * header.rate_hz + 0.5)
    if duration_s is None:
        duration_s = max(0.0, header.duration_s - first / header.rate_hz)
    wanted = int(duration_s * header.rate_hz + 0.5)
    if wanted <= 0 or header.frames == 0:
        raise AudioError(f"{path} holds no samples", got=f"{header.frames} samples in the file")
    _need(path, header, first, wanted, header.frames - first)
    picked = list(range(header.channels)) if channels is None else list(channels)
    if not picked or min(picked) < 0 or max(picked) >= header.channels:
        raise AudioError(
            f"{path} does not have the channel asked for",
            got=f"channels {picked}",
            expected=f"0 to {header.channels - 1}",
        )
    try:
        data, _ = sf.read(
            str(path),
            frames=wanted,
            start=min(first, header.frames),
            dtype="float32",
            always_2d=True,
        )
    except (sf.SoundFileError, RuntimeError, MemoryError) as error:
        # A header that lies asks for more memory than there is.
        raise AudioError(
            f"{path} is damaged",
            got=str(error) or f"a header that promises {header.duration_s:.0f} s",
            fix="fetch it again, or leave it out",
        ) from None
    _need(path, header, first, wanted, len(data))
    mono = data[:, picked[0]] if len(picked) == 1 else data[:, picked].mean(axis=1)
    return finish(mono, header.rate_hz, duration_s, str(path))


def _need(path: str | Path, header: Header, first: int, wanted: int, found: int) -> None:
    if wanted - found > header.tolerance_s * header.rate_hz or found <= 0:
        raise AudioError(
            f"{path} is truncated or shorter than its labels say",
            got=f"{max(found, 0) / header.rate_hz:.3f} s from {first / header.rate_hz:.3f} s on",
            expected=f"{wanted / header.rate_hz:.3f} s",
            fix="fetch it again, or correct the manifest",
        )


def finish(
    mono: NDArray[np.float32], rate_hz: int, duration_s: float, name: str
) -> NDArray[np.float32]:
    """Check, resample to 16 kHz and set the exact length.

    Args:
        mono: [samples at ``rate_hz``].
        rate_hz: its sampling rate.
        duration_s: length wanted, seconds.
        name: what to call it in messages.

    Returns:
        float32 [S].

    Raises:
        AudioError: a sample is NaN or infinite.
    """
    bad = ~np.isfinite(mono)
    if bad.any():
        at = int(np.argmax(bad))
        raise AudioError(
            f"{name} holds samples that are not numbers",
            got=f"{int(bad.sum())} NaN or infinite samples, the first at {at / rate_hz:.3f} s",
            fix="export the recording again",
        )
    if rate_hz != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE, quality="VHQ")
    size = samples_of(duration_s)
    if len(mono) < size:
        mono = np.pad(mono, (0, size - len(mono)))
    return np.ascontiguousarray(mono[:size], dtype=np.float32)


def read_headers(paths: Iterable[str], workers: int = 8) -> dict[str, Header | AudioError]:
    """Headers of many files, read by a few threads; an error stands in for its header.

    Args:
        paths: files, in any number; each is read once.
        workers: threads (disks and network file systems answer several at a time).
    """
    unique = list(dict.fromkeys(paths))

    def one(path: str) -> Header | AudioError:
        try:
            return read_header(path)
        except AudioError as error:
            return error
        except OSError as error:
            return AudioError(f"the recording {path} cannot be read", got=str(error))

    if len(unique) < 32:
        return {path: one(path) for path in unique}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(unique, pool.map(one, unique, chunksize=64), strict=True))
