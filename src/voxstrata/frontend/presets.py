"""The front ends that have names, each as its authors define it.

Sources: the feature definitions of wespeaker, 3D-Speaker, SpeechBrain and TaoRuijie/ECAPA-TDNN;
MelHuBERT, arXiv 2211.09944. ``docs/models_speaker.md`` compares them.
"""

from __future__ import annotations

import json
from importlib import resources

from voxstrata.frontend.config import FrontEndConfig, KaldiConfig, StftConfig
from voxstrata.registry import Registry

FRONT_ENDS: Registry[FrontEndConfig] = Registry("front end", "voxstrata.frontends")
"""Name to frozen configuration."""

_HERE = "voxstrata.frontend.presets"

WESPEAKER = KaldiConfig(window="hamming", scale=32768.0, normalise="mean")
THREED = KaldiConfig(window="povey", scale=1.0, normalise="mean")
SPEECHBRAIN = StftConfig(n_fft=400, pad="zeros", triangles="symmetric", log="db")
TAORUIJIE = StftConfig(preemphasis=0.97, low_hz=20.0, high_hz=7600.0)
RDINO = StftConfig(window="hanning", normalise="instance")
LOG_MEL = KaldiConfig()
MFCC = KaldiConfig(kind="mfcc", mels=40, low_hz=50.0, high_hz=7500.0)


def _melhubert(stack: int) -> KaldiConfig:
    text = resources.files("voxstrata.frontend").joinpath("librispeech960.json").read_text("utf-8")
    found = json.loads(text)
    return KaldiConfig(
        window="hamming",
        mels=40,
        normalise="global",
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        stack=stack,
    )


MELHUBERT_10MS, MELHUBERT_20MS = _melhubert(1), _melhubert(2)

for _name, _target, _summary in (
    ("log-mel", "LOG_MEL", "80 Kaldi log-mel filters"),
    ("mfcc", "MFCC", "20 Kaldi cepstra of 40 mel filters, 50-7500 Hz"),
    ("wespeaker", "WESPEAKER", "Kaldi fbank, Hamming window, 16-bit scale, mean removed"),
    ("3dspeaker", "THREED", "Kaldi fbank, Povey window, [-1, 1] scale, mean removed"),
    ("speechbrain", "SPEECHBRAIN", "centred STFT, symmetric mel triangles, dB, mean removed"),
    ("taoruijie", "TAORUIJIE", "pre-emphasis, centred STFT, 20-7600 Hz, ln, mean removed"),
    ("rdino", "RDINO", "centred STFT, Hann window, ln, mean and variance removed"),
    ("melhubert-10ms", "MELHUBERT_10MS", "40 Kaldi log-mel filters, LibriSpeech-960 statistics"),
    ("melhubert-20ms", "MELHUBERT_20MS", "the same, two frames joined"),
):
    FRONT_ENDS.add(_name, f"{_HERE}:{_target}", _summary)
