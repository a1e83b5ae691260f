"""One planned utterance to a recording and its manifest line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.corpora.synthetic.channel import Studio
from voxstrata.corpora.synthetic.engine import ENGINE_RATE, Engine
from voxstrata.corpora.synthetic.phonemes import SILENCE
from voxstrata.corpora.synthetic.plan import Planned
from voxstrata.corpora.synthetic.timing import Span, Speech, speak
from voxstrata.files import storage_errors
from voxstrata.types import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Words a minute below and above which speech is called slow and fast.
_SLOW, _FAST = 160, 195
# Utterances that go through each stage together: the processor's caches then hold one stage's code
# and tables at a time, which saves a tenth. No utterance hears of the others.
_GROUP = 16


class Renderer:
    """Speaks planned utterances: an engine and the studio of one corpus seed.

    Args:
        data: espeak-ng data with the voices, see ``engine.write_data``.
        seed: of the corpus.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self._engine = Engine(data)
        self._studio = Studio(seed)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def write(self, folder: Path, planned: Sequence[Planned]) -> list[dict[str, Any]]:
        """Render utterances into ``folder/audio`` as 16-bit FLAC; returns their lines.

        Raises:
            LabelError: words or phones cannot be placed in time.
            StorageError: the folder cannot be written.
        """
        rows: list[dict[str, Any]] = []
        for first in range(0, len(planned), _GROUP):
            group = planned[first : first + _GROUP]
            spoken = [self._speak(item) for item in group]
            audio = [self._record(*pair) for pair in zip(group, spoken, strict=True)]
            lines = [
                _row(item, speech, len(samples))
                for item, speech, samples in zip(group, spoken, audio, strict=True)
            ]
            for line, encoded in zip(lines, [_flac(samples) for samples in audio], strict=True):
                with storage_errors(folder):
                    (folder / line["file"]).write_bytes(encoded)
            rows += lines
        return rows

    def _speak(self, planned: Planned) -> Speech:
        voice = planned.voice
        words = planned.reading.words
        return speak(self._engine, voice.name, voice.accent, words, planned.prosody, planned.seed)

    def _record(self, planned: Planned, speech: Speech) -> NDArray[np.int16]:
        tail = round(planned.tail_s * ENGINE_RATE)
        return self._studio.record(speech.samples, _lead(planned), tail, planned.setting)


def _lead(planned: Planned) -> int:
    """Samples of silence before the speech, at the engine's rate."""
    return round(planned.lead_s * ENGINE_RATE)


def _row(planned: Planned, speech: Speech, length: int) -> dict[str, Any]:
    """Manifest line of an utterance of so many samples."""
    end = length / SAMPLE_RATE
    rate = planned.prosody.rate
    voice, channel = planned.voice, planned.setting.channel
    labels = planned.reading.labels
    tiers = (speech.words, speech.phones, speech.ipa)
    words, phones, ipa = _seconds(tiers, _lead(planned))
    return {
        "id": planned.id,
        "file": f"audio/{planned.id}.flac",
        "speaker": voice.name,
        "gender": voice.gender,
        "accent": voice.accent,
        "part": planned.part,
        "text": " ".join(word.rstrip(",") for word in planned.reading.words),
        "topic": labels.get("topic"),
        "prompt": labels.get("prompt"),
        "keyword": labels.get("keyword"),
        "intent": labels.get("intent"),
        "slots": labels.get("slots"),
        "rate": "slow" if rate < _SLOW else "fast" if rate > _FAST else "medium",
        "rate_wpm": rate,
        "channel": channel.name,
        "equaliser": channel.equaliser,
        "room": channel.room,
        "noise": channel.noise,
        "snr_db": planned.setting.snr_db,
        "words": words,
        "phones": _framed(phones, end),
        "phones_ipa": _framed(ipa, end),
        "sampling_rate": SAMPLE_RATE,
        "duration": round(end, 6),
    }


def _flac(samples: NDArray[np.int16]) -> memoryview:
    """A FLAC file in memory, so that a full disk is an OSError with a name, not a codec's code."""
    import soundfile

    file = io.BytesIO()
    # Level 0: 4 % larger files than the default level 5, in nine tenths of the time.
    soundfile.write(
        file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16", compression_level=0.0
    )
    return file.getbuffer()


def _seconds(tiers: Sequence[Sequence[Span]], lead: int) -> list[list[list[Any]]]:
    """Spans in seconds of the recording; most bounds are shared, so each is rounded once."""
    bounds = {bound for spans in tiers for span in spans for bound in span[:2]}
    at = {bound: round((bound + lead) / ENGINE_RATE, 5) for bound in bounds}
    return [[[at[start], at[end], label] for start, end, label in spans] for spans in tiers]


def _framed(spans: list[list[Any]], end: float) -> list[list[Any]]:
    """Spans with the silence before and after, up to the very end of the audio."""
    end = round(end, 6)
    first, last = spans[0], spans[-1]
    if first[2] == SILENCE:
        first[0] = 0.0
    else:
        spans = [[0.0, first[0], SILENCE], *spans]
    if last[2] == SILENCE:
        last[1] = end
        return spans
    return [*spans, [last[1], end, SILENCE]]
