"""espeak-ng through ctypes: text in, samples and events out, the same every time.

The library keeps its state in C globals, so there is one engine a process. Three things leak
from one utterance into the next and are dealt with here and in ``voices``:

* parameters and voice: set anew before every utterance;
* the noise of ``breath``: seeded before every utterance (``espeak_ng_SetRandSeed``);
* the phase of ``flutter`` and of the cycle counter behind ``roughness``: C statics that nothing
  resets, so our voices use neither.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from voxstrata.errors import CorpusError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENGINE_RATE = 22_050
"""Sampling rate of espeak-ng's own synthesis, Hz."""

# Of the 19 MB of data, what English needs.
_DATA_FILES = ("phondata", "phonindex", "phontab", "intonations", "en_dict")

# Values of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INIT_PHONEME_EVENTS = 0x0001
_INIT_PHONEME_IPA = 0x0002
_INIT_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_EVENT_END_OF_LIST = 0
_EVENT_NAMES: Mapping[int, Literal["word", "phoneme"]] = {1: "word", 7: "phoneme"}
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
# Milliseconds of sound between two calls back; the library's own choice of 60 means six times as
# many. Samples and events are the same from 60 to 1,000 (from 2,000 on events differ).
_BUFFER_MS = 500
# The longest path that fits espeak-ng's buffer of 160 bytes with the longest file name.
_MAX_PATH = 120


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Event(NamedTuple):
    """One event of the synthesis plan.

    Attributes:
        kind: ``"word"`` or ``"phoneme"``.
        sample: where it begins, samples at ``ENGINE_RATE``.
        position: for words, first character in the text, counted from 0.
        name: for phonemes, espeak-ng's mnemonic (IPA if the engine was opened so).
    """

    kind: Literal["word", "phoneme"]
    sample: int
    position: int = 0
    name: str = ""


@dataclass(frozen=True)
class Prosody:
    """espeak-ng's parameters of one utterance.

    Attributes:
        rate: speaking rate, words a minute (80 to 450).
        pitch: 0 to 99; 50 is the voice's own pitch.
        range: pitch range, 0 to 99; 50 is the voice's own.
        volume: percent; so low that the engine's automatic gain, another thing that leaks
            into the next utterance, never acts.
    """

    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 30


def _loader() -> Any:
    try:
        import espeakng_loader
    except ImportError:
        raise MissingDependencyError(
            "the synthetic corpus speaks with espeak-ng, which is not installed",
            got="no module named 'espeakng_loader'",
            fix="pip install 'voxstrata[synth]'",
        ) from None
    return espeakng_loader


def engine_version() -> str:
    """Version of espeak-ng in the installed wheel.

    Raises:
        MissingDependencyError: the wheel is absent or its library does not load.
    """
    library = _library()
    library.espeak_Info.restype = ctypes.c_char_p
    path = ctypes.c_char_p()
    text = library.espeak_Info(ctypes.byref(path))
    return str((text or b"unknown").decode()).split()[0]


def _library() -> ctypes.CDLL:
    path = _loader().get_library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise MissingDependencyError(
            f"the espeak-ng library {path} does not load",
            got=str(error),
            fix="pip install --force-reinstall 'voxstrata[synth]'",
        ) from None
    if not hasattr(library, "espeak_ng_SetRandSeed"):
        raise MissingDependencyError(
            "this espeak-ng cannot be seeded, so its speech would not be reproducible",
            got=path,
            expected="espeak-ng 1.52 or later (espeakng-loader 0.2.4)",
            fix="pip install --upgrade 'voxstrata[synth]'",
        )
    return library


def data_path() -> Path:
    """espeak-ng's own data, as installed.

    Raises:
        MissingDependencyError: the wheel is absent.
    """
    return Path(_loader().get_data_path())


def write_data(folder: Path, voices: Mapping[str, str]) -> Path:
    """A private copy of the English data with our own voice files.

    Args:
        folder: where to write; its path must be short (espeak-ng keeps paths in 160 bytes).
        voices: file name to content, see :mod:`voxstrata.corpora.synthetic.voices`.

    Returns:
        the data path to open an :class:`Engine` with.

    Raises:
        MissingDependencyError: the wheel is absent or incomplete.
        UsageError: the path is too long.
    """
    if len(os.fsencode(folder)) > _MAX_PATH:
        raise UsageError(
            f"the temporary folder {folder} has too long a path for espeak-ng",
            got=f"{len(os.fsencode(folder))} bytes",
            expected=f"at most {_MAX_PATH}",
            fix="set TMPDIR to a folder with a shorter path",
        )
    source = data_path()
    data = folder / "espeak-ng-data"
    (data / "voices" / "vx").mkdir(parents=True, exist_ok=True)
    (data / "lang").mkdir(exist_ok=True)
    for name in _DATA_FILES:
        if not (source / name).exists():
            raise MissingDependencyError(
                f"the espeak-ng data lacks {name}",
                got=str(source),
                fix="pip install --force-reinstall 'voxstrata[synth]'",
            )
        shutil.copyfile(source / name, data / name)
    for name, text in voices.items():
        (data / "voices" / "vx" / name).write_text(text, encoding="utf-8")
    return data


class Engine:
    """espeak-ng, opened on a data path; a context manager, one open at a time in a process.

    Args:
        data: what :func:`write_data` returned.
        ipa: phoneme events carry IPA instead of mnemonics (cut to 8 bytes by the library).

    Raises:
        MissingDependencyError: the wheel is absent or broken.
        CorpusError: the data cannot be read, or another engine is open in this process.
    """

    _open: Engine | None = None
    _data: Path

    def __init__(self, data: Path, *, ipa: bool = False) -> None:
        if Engine._open is not None:
            raise CorpusError(
                "espeak-ng is already open in this process",
                got=str(Engine._open._data),
                expected="one engine a process: its state is global",
                fix="close the other engine first, or use another process",
            )
        self._data = data
        self._library = _library()
        self._blocks: list[bytes] = []
        self._events: list[Event] = []
        # Kept alive as long as the engine: the library holds a bare pointer to it.
        self._callback = _Callback(self._receive)
        options = _INIT_PHONEME_EVENTS | _INIT_DONT_EXIT | (_INIT_PHONEME_IPA if ipa else 0)
        rate = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, os.fsencode(data), options
        )
        if rate != ENGINE_RATE:
            raise CorpusError(
                f"espeak-ng did not start on {data}", got=rate, expected=f"{ENGINE_RATE} Hz"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        Engine._open = self

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine; another may then be opened."""
        if Engine._open is self:
            self._library.espeak_Terminate()
            Engine._open = None

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count > 0:
            self._blocks.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while (event := events[index]).type != _EVENT_END_OF_LIST:
            kind = _EVENT_NAMES.get(event.type)
            if kind == "word":
                self._events.append(Event(kind, event.sample, event.text_position - 1))
            elif kind == "phoneme":
                name = event.id.string.decode("utf-8", "replace")
                self._events.append(Event(kind, event.sample, name=name))
            index += 1
        return 0

    def say(
        self, voice: str, text: str, prosody: Prosody | None = None, seed: int = 0
    ) -> tuple[NDArray[np.int16], list[Event]]:
        """Speak one text.

        Args:
            voice: name of a voice file written by :func:`write_data`.
            text: plain text, UTF-8.
            prosody: rate, pitch, range and volume.
            seed: of the breath noise.

        Returns:
            samples at ``ENGINE_RATE`` and the events in order of emission. The same arguments
            give the same samples whatever was spoken before.

        Raises:
            CorpusError: the voice is unknown or the library failed.
        """
        import numpy as np

        settings = prosody or Prosody()
        self._blocks, self._events = [], []
        if self._library.espeak_SetVoiceByName(f"vx/{voice}".encode()) != 0:
            raise CorpusError(f"espeak-ng has no voice {voice!r}", got=str(self._data))
        for parameter, value in (
            (_RATE, settings.rate),
            (_VOLUME, settings.volume),
            (_PITCH, settings.pitch),
            (_RANGE, settings.range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(seed)
        raw = text.encode("utf-8")
        status = self._library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        if status != 0 or not self._blocks:
            raise CorpusError(f"espeak-ng could not speak {text!r}", got=f"status {status}")
        return np.frombuffer(b"".join(self._blocks), dtype="<i2"), self._events
