"""Whatever a manifest says, it says after JSONL -> Corpus -> lhotse manifest -> Corpus."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxstrata.corpora import load_corpus
from voxstrata.corpora.selection import apportion
from voxstrata.corpora.tiers import segments_from

SECONDS = 4.0
text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
labels = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
times = st.floats(0.0, 1.0, allow_nan=False)
scalars = st.one_of(text, st.integers(-(10**9), 10**9), st.booleans())
names = st.sampled_from(["intent", "emotion", "age", "width", "shape", "type", "ärger", "part"])


@st.composite
def spans(draw: st.DrawFn) -> list[list[Any]]:
    """Spans in order, without gaps smaller than rounding, within one second."""
    cuts = sorted(draw(st.lists(times, min_size=2, max_size=9, unique_by=lambda t: round(t, 3))))
    return [[a, b, draw(labels)] for a, b in itertools.pairwise(cuts)]


lines = st.fixed_dictionaries(
    {"start": st.one_of(st.none(), st.floats(0.0, 2.5))},
    optional={
        "speaker": text,
        "gender": st.sampled_from(["F", "M", "x"]),
        "text": text,
        "language": text,
        "words": spans(),
        "phones": spans(),
        "syllables": spans(),
        "turns": st.one_of(st.just([]), spans()),
        "slots": st.dictionaries(names, st.one_of(scalars, st.none()), max_size=3),
        "extra": st.dictionaries(names, scalars, max_size=3),
        "tags": st.lists(text, max_size=3),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("roundtrip")
    rng = np.random.default_rng(0)
    sf.write(root / "a.wav", rng.uniform(-0.3, 0.3, (round(SECONDS * 8000), 2)), 8000)
    return root


def expected(line: Mapping[str, Any]) -> dict[str, Any]:
    """The tiers that a line says, worked out from the line alone."""
    told = {k: v for k, v in line.items() if k not in ("id", "file", "start", "duration")}
    return {
        k: segments_from(v, k) if k in ("words", "phones", "syllables", "turns") else v
        for k, v in told.items()
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(lines, min_size=1, max_size=5))
def test_round_trip(folder: Path, drawn: list[dict[str, Any]]) -> None:
    full = []
    for number, line in enumerate(drawn):
        told = {k: v for k, v in line.items() if k != "extra"} | line.get("extra", {})
        place = {"file": "a.wav", "id": f"u{number}"}
        if line["start"] is not None:
            place |= {"start": line["start"], "duration": 1.2}
        full.append({**told, **place})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(x) + "\n" for x in full), encoding="utf-8")
    first = load_corpus(folder, check="none")
    assert not first.skipped
    for utterance, line in zip(first, full, strict=True):
        assert dict(utterance.tiers) == {k: v for k, v in expected(line).items() if v is not None}
    first.save(folder / "saved")
    second = load_corpus(folder / "saved", check="none")
    assert second.utterances == first.utterances
    assert second.fingerprint == first.fingerprint
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.read(), b.read())


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
def test_apportioning_adds_up_and_is_near(total: int, weights: list[float]) -> None:
    whole = sum(weights)
    fractions = {str(i): w / whole for i, w in enumerate(weights)}
    counts = apportion(total, fractions)
    assert sum(counts.values()) == total
    assert all(abs(counts[k] - fractions[k] * total) < 1 for k in fractions)
