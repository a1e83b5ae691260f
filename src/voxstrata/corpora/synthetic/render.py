"""One planned utterance to a recording and its manifest line."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.corpora.synthetic.channel import Studio
from voxstrata.corpora.synthetic.engine import ENGINE_RATE, Engine
from voxstrata.corpora.synthetic.phonemes import SILENCE
from voxstrata.corpora.synthetic.plan import Planned
from voxstrata.corpora.synthetic.timing import Span, speak
from voxstrata.files import storage_errors
from voxstrata.types import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Words a minute below and above which speech is called slow and fast.
_SLOW, _FAST = 160, 195


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

    def render(self, planned: Planned) -> tuple[NDArray[np.int16], dict[str, Any]]:
        """Audio (int16, 16 kHz) and manifest line of one utterance.

        Raises:
            LabelError: words or phones cannot be placed in time.
        """
        voice = planned.voice
        lead, tail = (round(s * ENGINE_RATE) for s in (planned.lead_s, planned.tail_s))
        speech = speak(
            self._engine,
            voice.name,
            voice.accent,
            planned.reading.words,
            planned.prosody,
            planned.seed,
        )
        audio = self._studio.record(speech.samples, ENGINE_RATE, lead, tail, planned.setting)
        end = len(audio) / SAMPLE_RATE
        rate = planned.prosody.rate
        channel = planned.setting.channel
        labels = planned.reading.labels
        row = {
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
            "words": _seconds(speech.words, lead),
            "phones": _framed(_seconds(speech.phones, lead), end),
            "phones_ipa": _framed(_seconds(speech.ipa, lead), end),
            "sampling_rate": SAMPLE_RATE,
            "duration": round(end, 6),
        }
        return audio, row

    def write(self, folder: Path, planned: Iterable[Planned]) -> list[dict[str, Any]]:
        """Render utterances into ``folder/audio`` as 16-bit FLAC; returns their lines."""
        import soundfile

        rows = []
        for item in planned:
            audio, row = self.render(item)
            # Through memory, so that a full disk is an OSError with a name, not a codec's code.
            encoded = io.BytesIO()
            soundfile.write(encoded, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            with storage_errors(folder):
                (folder / row["file"]).write_bytes(encoded.getbuffer())
            rows.append(row)
        return rows


def _seconds(spans: Iterable[Span], lead: int) -> list[list[Any]]:
    return [
        [round((start + lead) / ENGINE_RATE, 5), round((end + lead) / ENGINE_RATE, 5), label]
        for start, end, label in spans
    ]


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
