"""The checks of one utterance: its header, its samples, its labels."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from voxstrata.corpora.audio import Header, samples_of
from voxstrata.corpora.cuts import channels_of, files_of, is_plain, read_cut, refuse_foreign_sources
from voxstrata.corpora.problems import Problem, Severity
from voxstrata.corpora.sources._common import audio_rule
from voxstrata.corpora.tiers import Tiers
from voxstrata.errors import AudioError, LabelError
from voxstrata.types import Segment

if TYPE_CHECKING:
    from lhotse.cut import Cut

BEYOND_S = 0.05
"""How far a label may reach beyond its utterance: aligners round to frames of 10 to 25 ms."""

OVERLAP_S = 0.005
"""How far neighbouring words or phones may overlap (rounding)."""

SILENT = 1e-5
"""Standard deviation of the samples (full scale 1) below which a recording is silent, -100 dB."""

CLIP_LEVEL, CLIP_SHARE = 0.999, 5e-4
"""Level and share of samples above it from which a recording counts as clipped."""

SILENCES = frozenset({"", "sil", "sp", "spn", "pau", "h#", "#h", "epi", "<eps>", "_", "<p:>"})
"""Phone labels (lower case) that belong to no word."""

ALONE = ("words", "phones")
"""Tiers whose spans must follow one another."""


def _first_file(cut: Cut) -> str:
    return next(iter(files_of(cut)), "")


def check_header(
    cut: Cut,
    headers: Mapping[str, Header | AudioError],
    min_s: float | None,
    max_s: float | None,
) -> Iterator[Problem]:
    """Problems that file headers and the manifest show."""
    file = _first_file(cut)

    def problem(what: str, rule: str, fix: str, severity: Severity = "error") -> Problem:
        return Problem(cut.id, file, what, severity, fix, rule)

    try:
        refuse_foreign_sources(cut)
    except AudioError as error:
        yield problem(f"{error.what}: {error.got}", "source", error.fix)
        return
    for path in files_of(cut):
        header = headers[path]
        if isinstance(header, AudioError):
            what = error_text(header, path)
            yield Problem(cut.id, path, what, "error", header.fix, audio_rule(header))
            return
        if header.missing_bytes:
            what = (
                f"is truncated: {header.missing_bytes} bytes that its header promises are missing"
            )
            yield Problem(cut.id, path, what, "error", "fetch it again", "truncated")
        if header.frames == 0:
            yield Problem(cut.id, path, "holds no samples", "error", "fetch it again", "empty")
            return
        if is_plain(cut):
            yield from _declared(cut, path, header)
    if not files_of(cut) and not getattr(cut, "has_recording", True):
        yield problem("has no recording", "missing-file", "use cuts that carry recordings")
    if is_plain(cut):
        lacking = set(channels_of(cut)) - {c for s in cut.recording.sources for c in s.channels}
        if lacking:
            what = f"its recording lacks channel {sorted(lacking)}"
            yield problem(what, "channel", "correct the manifest")
    if not math.isfinite(cut.duration) or samples_of(cut.duration) < 1:
        what = f"is {cut.duration:.6f} s long"
        yield problem(what, "empty", "remove it from the manifest")
    elif min_s is not None and cut.duration < min_s:
        what = f"is {cut.duration:.3f} s long, shorter than {min_s:g} s"
        yield problem(what, "too-short", "lower the limit, or leave it out")
    elif max_s is not None and cut.duration > max_s:
        what = f"is {cut.duration:.3f} s long, longer than {max_s:g} s"
        yield problem(what, "too-long", "raise the limit, or cut it up")


def error_text(error: AudioError, path: str) -> str:
    """What an error about a file says, without repeating the file."""
    text = error.what.replace(f"the recording {path} ", "").replace(f"{path} ", "")
    return f"{text}: {error.got}" if error.got is not None else text


def _declared(cut: Cut, path: str, header: Header) -> Iterator[Problem]:
    """The manifest against the file."""
    recording = cut.recording
    real, said = header.duration_s, recording.duration
    end = cut.start + cut.duration
    fix = "fetch the recording again, or write the manifest anew"
    if cut.start < 0 or end > real + header.tolerance_s:
        what = f"reaches from {cut.start:.3f} to {end:.3f} s of a recording of {real:.3f} s"
        yield Problem(cut.id, path, what, "error", fix, "duration")
    elif abs(real - said) > header.tolerance_s:
        what = f"is {real:.3f} s long, but the manifest says {said:.3f} s"
        yield Problem(cut.id, path, what, "warning", fix, "duration")
    if header.rate_hz != recording.sampling_rate:
        what = f"is sampled at {header.rate_hz} Hz, but the manifest says {recording.sampling_rate}"
        yield Problem(cut.id, path, what, "warning", fix, "sampling-rate")


def check_samples(cut: Cut) -> Iterator[Problem]:
    """Problems that only decoding shows: damage, NaN, silence, clipping."""
    file = _first_file(cut)
    try:
        audio = read_cut(cut)
    except AudioError as error:
        rule = "decode"
        if "not numbers" in error.what:
            rule = "nan"
        elif "truncated" in error.what:
            rule = "truncated"
        yield Problem(cut.id, file, error_text(error, file), "error", error.fix, rule)
        return
    if float(np.std(audio, dtype=np.float64)) < SILENT:
        fix = "leave it out: models that normalise their input divide by zero"
        yield Problem(cut.id, file, "is silent", "error", fix, "silent")
    loud = int(np.count_nonzero(np.abs(audio) >= CLIP_LEVEL))
    if loud >= max(3, CLIP_SHARE * len(audio)):
        what = f"is clipped: {loud} of {len(audio)} samples at full scale"
        yield Problem(
            cut.id, file, what, "warning", "record or export it at a lower level", "clipped"
        )


def check_labels(cut: Cut, need_tiers: Sequence[str]) -> Iterator[Problem]:
    """Problems of labels: outside the audio, running backwards, overlapping, empty, missing."""
    file = _first_file(cut)

    def problem(what: str, rule: str, fix: str, severity: Severity = "error") -> Problem:
        return Problem(cut.id, file, what, severity, fix, rule)

    tiers = Tiers(cut)
    for name in need_tiers:
        if name not in tiers:
            yield problem(
                f"has no tier {name!r}", "missing-tier", f"label it, or do not ask for {name}"
            )
    spans: dict[str, tuple[Segment, ...]] = {}
    for name in tiers:
        try:
            value = tiers[name]
        except LabelError as error:
            yield problem(f"{error.what}: {error.got}", "bad-label", error.fix)
            continue
        if isinstance(value, tuple) and all(isinstance(v, Segment) for v in value):
            spans[name] = value
        elif value == "":
            fix = "give it a value, or leave the tier out"
            yield problem(f"tier {name!r} is empty text", "empty-label", fix, "warning")
    for name, found in spans.items():
        for rule, severity, bad, what, fix in _span_rules(name, found, cut.duration):
            if bad:
                first = bad[0]
                yield problem(
                    f"{len(bad)} of {len(found)} {name} {what}, the first {first.label!r} at "
                    f"{first.start_s:.3f} to {first.end_s:.3f} s",
                    rule,
                    fix,
                    severity,
                )
    if spans.get("words") and spans.get("phones"):
        stray = _outside_words(spans["phones"], spans["words"])
        if stray:
            yield problem(
                f"{len(stray)} of {len(spans['phones'])} phones lie in no word, the first "
                f"{stray[0].label!r} at {stray[0].start_s:.3f} s",
                "phone-outside-word",
                "check that both tiers come from one alignment",
                "warning",
            )


def _span_rules(
    name: str, spans: Sequence[Segment], length_s: float
) -> Iterator[tuple[str, Severity, list[Segment], str, str]]:
    """Rule, severity, offending spans, words for them, remedy."""
    outside = [s for s in spans if s.end_s > length_s + BEYOND_S or s.start_s < -BEYOND_S]
    what = f"reach outside the utterance of {length_s:.3f} s"
    yield "outside", "error", outside, what, "check that labels and recording belong together"
    backwards = [s for s in spans if s.end_s < s.start_s]
    yield "negative", "error", backwards, "end before they begin", "correct the labels"
    points = [s for s in spans if s.end_s == s.start_s]
    yield "empty-span", "warning", points, "have no length", "no frame will count for them"
    blank = [s for s in spans if not s.label.strip()]
    fix = "nothing to do where they mark pauses"
    yield "empty-label", "warning", blank, "have an empty label", fix
    if name in ALONE:
        pairs = list(itertools.pairwise(spans))
        late = [b for a, b in pairs if b.start_s < a.start_s]
        yield "unsorted", "error", late, "come before their predecessor", "sort them by time"
        ordered = sorted(spans, key=lambda s: s.start_s)
        both = itertools.pairwise(ordered)
        over = [b for a, b in both if b.start_s < a.end_s - OVERLAP_S]
        yield "overlap", "error", over, "overlap their predecessor", "correct the labels"


def _outside_words(phones: Sequence[Segment], words: Sequence[Segment]) -> list[Segment]:
    """Phones, pauses apart, whose middle lies in no word (both in any order)."""
    bounds = sorted((w.start_s, w.end_s) for w in words if w.label.strip())
    starts = [start for start, _ in bounds]
    stray = []
    for phone in phones:
        middle = (phone.start_s + phone.end_s) / 2
        index = bisect.bisect_right(starts, middle) - 1
        inside = index >= 0 and middle <= bounds[index][1]
        if not inside and phone.label.lower().strip() not in SILENCES:
            stray.append(phone)
    return stray


def duplicates(cuts: Sequence[Any]) -> dict[int, str]:
    """Indices of cuts whose id came before, with that id."""
    seen: set[str] = set()
    again: dict[int, str] = {}
    for index, cut in enumerate(cuts):
        if cut.id in seen:
            again[index] = cut.id
        seen.add(cut.id)
    return again
