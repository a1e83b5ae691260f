"""Numbers about the synthetic corpus: how fast it is made, how it sounds, what gives it away.

python benchmarks/synthetic_corpus.py [SPEC]     (default synthetic:small; needs the extra synth)

Speaker and channel are identified from the mean and deviation of 19 MFCCs of each sentence,
by the nearest centroid (leave one out) and by shrunk LDA (3 folds); phones by LDA on three MFCC
frames around their centre, trained and tested on different speakers, with the labels in place
and, as a control, moved by 80 ms.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy import fft
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from voxstrata.corpora.synthetic import build
from voxstrata.corpora.synthetic.config import SyntheticConfig
from voxstrata.corpora.synthetic.plan import plan
from voxstrata.corpora.synthetic.render import Renderer
from voxstrata.corpora.synthetic.timing import speak

RATE, HOP, WINDOW = 16_000, 160, 400


def speed(config: SyntheticConfig, repeats: int = 5) -> None:
    """CPU seconds over the first 600 utterances, after a warm-up: best and worst of the repeats."""
    planned = plan(config)[:600]
    cpu: dict[str, list[float]] = {"all": [], "espeak-ng and spans": [], "resample, channel": []}

    def timed(stage: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        made = call()
        cpu[stage].append(time.process_time() - start)
        return made

    with build._data(planned) as data, tempfile.TemporaryDirectory() as folder:
        # New files each time, as in a build.
        folders = [Path(folder) / str(i) for i in range(repeats + 1)]
        for each in folders:
            (each / "audio").mkdir(parents=True)
        renderer = Renderer(data, config.seed)
        engine, studio = renderer._engine, renderer._studio
        rows = renderer.write(folders[0], planned)
        for each in folders[1:]:
            timed("all", lambda each=each: renderer.write(each, planned))
            spoken = timed(
                "espeak-ng and spans",
                lambda: [
                    speak(engine, p.voice.name, p.voice.accent, p.reading.words, p.prosody, p.seed)
                    for p in planned
                ],
            )
            timed(
                "resample, channel",
                lambda spoken=spoken: [
                    studio.record(s.samples, 5000, 5000, p.setting)
                    for p, s in zip(planned, spoken, strict=True)
                ],
            )
        renderer.close()
        seconds = sum(row["duration"] for row in rows)
        size = sum(file.stat().st_size for file in (folders[0] / "audio").iterdir())
    print(f"{len(planned)} utterances, {seconds:.0f} s of audio, {size / 1e6:.1f} MB of FLAC")
    print(f"CPU time on one core, best and worst of {repeats}")
    named = [cpu[stage] for stage in ("espeak-ng and spans", "resample, channel")]
    rest = [w - sum(parts) for w, *parts in zip(cpu["all"], *named, strict=True)]
    for stage, found in {**cpu, "FLAC, files, rest": rest}.items():
        low, high = min(found), max(found)
        print(f"  {stage:22s}{low:6.2f} to {high:.2f} s {seconds / low:6.0f} to "
              f"{seconds / high:.0f} x real time")  # fmt: skip


def mfcc(wave: np.ndarray) -> np.ndarray:
    """19 coefficients a frame of 10 ms, and frame power as column 0."""
    count = 1 + (len(wave) - WINDOW) // HOP
    step = wave.strides[0]
    frames = np.lib.stride_tricks.as_strided(wave, (count, WINDOW), (step * HOP, step))
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), 512)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(512, 1 / RATE)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rise, fall))
    cepstra = fft.dct(np.log(power @ bank + 1e-8), norm="ortho", axis=1)[:, 1:20]
    return np.column_stack([power.sum(1), cepstra])


def pitch(wave: np.ndarray) -> float:
    """Median fundamental of strongly voiced frames, Hz, by autocorrelation."""
    found = []
    lags = np.arange(40, 250)
    for start in range(0, len(wave) - 800, 400):
        frame = wave[start : start + 800]
        if np.sqrt(np.mean(frame**2)) < 0.03:
            continue
        ratio = np.fft.irfft(np.abs(np.fft.rfft(frame - frame.mean(), 2048)) ** 2)
        if (ratio[lags] / ratio[0]).max() > 0.5:
            found.append(RATE / lags[np.argmax(ratio[lags])])
    return float(np.median(found)) if found else float("nan")


def nearest_centroid(x: np.ndarray, y: np.ndarray) -> float:
    """Leave-one-out accuracy."""
    z = (x - x.mean(0)) / x.std(0)
    names = sorted(set(y))
    member = (y[:, None] == np.array(names)).astype(float)
    totals, counts = member.T @ z, member.sum(0)
    right = 0
    for i in range(len(y)):
        own = member[i][:, None]
        means = (totals - own * z[i]) / np.maximum(counts - member[i], 1)[:, None]
        right += names[int(np.argmin(((means - z[i]) ** 2).sum(1)))] == y[i]
    return right / len(y)


def lda(x: np.ndarray, y: np.ndarray) -> float:
    """Three-fold accuracy over the classes that have six members or more."""
    keep = np.array([n >= 6 for n in map(Counter(y).get, y)])
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    return float((cross_val_predict(model, x[keep], y[keep], cv=folds) == y[keep]).mean())


def sound(folder: Path) -> None:
    """Pitch, and how well simple features identify speaker, gender, channel and phones."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").open(encoding="utf-8")]
    rows = [row for row in rows if row["part"] in ("sentence", "prompt")]
    speakers = sorted({row["speaker"] for row in rows})[:30]
    rows = [row for row in rows if row["speaker"] in speakers]
    features, tones, phones = [], [], []
    for row in rows:
        wave, _ = soundfile.read(folder / row["file"])
        frames = mfcc(wave)
        loud = frames[frames[:, 0] > np.percentile(frames[:, 0], 40), 1:]
        features.append(np.concatenate([loud.mean(0), loud.std(0)]))
        tones.append(pitch(wave))
        for start, end, label in row["phones"]:
            if label == "SIL":
                continue
            for shift in (0.0, 0.08):
                at = round(((start + end) / 2 + shift) * RATE / HOP - WINDOW / HOP / 2)
                picked = [min(max(at + k, 0), len(frames) - 1) for k in (-4, 0, 4)]
                phones.append((shift, row["speaker"], label, frames[picked, 1:].ravel()))
    x, tone = np.array(features), np.array(tones)
    tiers = {k: np.array([row[k] for row in rows]) for k in ("speaker", "gender", "channel")}
    for gender in "FM":
        low, mid, high = np.nanpercentile(tone[tiers["gender"] == gender], (10, 50, 90))
        print(f"F0 {gender}: median {mid:.0f} Hz, 10 to 90 % {low:.0f} to {high:.0f}")
    means = [np.nanmean(tone[tiers["speaker"] == s]) for s in speakers]
    within = np.mean([np.nanstd(tone[tiers["speaker"] == s]) for s in speakers])
    print(f"F0 deviation: {np.std(means):.0f} Hz between speakers, {within:.0f} Hz within one")
    print(f"{len(rows)} sentences, {len(speakers)} speakers")
    for name, y in tiers.items():
        chance = max(Counter(y).values()) / len(y)
        print(f"  {name:8s} centroid {nearest_centroid(x, y):.2f}  LDA {lda(x, y):.2f}  "
              f"chance {chance:.2f}")  # fmt: skip
    train = set(speakers[::2])
    for shift in (0.0, 0.08):
        part = [p for p in phones if p[0] == shift]
        inside = np.array([p[1] in train for p in part])
        y, z = np.array([p[2] for p in part]), np.stack([p[3] for p in part])
        model = LinearDiscriminantAnalysis().fit(z[inside], y[inside])
        score = (model.predict(z[~inside]) == y[~inside]).mean()
        print(f"phones, labels moved by {1000 * shift:.0f} ms: {score:.2f}")


def main() -> None:
    """Build into a temporary cache and print."""
    config = SyntheticConfig.parse(sys.argv[1] if len(sys.argv) > 1 else "synthetic:small")
    speed(config)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["VOXSTRATA_CACHE"] = cache
        start = time.perf_counter()
        folder = build.build_synthetic(config)
        record = json.loads((folder / build.DONE).read_text())
        wall, seconds = time.perf_counter() - start, record["audio_seconds"]
        print(f"built {record['utterances']} utterances, {seconds:.0f} s, in {wall:.1f} s wall")
        sound(folder)


if __name__ == "__main__":
    main()
