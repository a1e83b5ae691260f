"""Whatever a file holds, its reader reads it or says in the family's words why not.

Targets are those of ``scripts/fuzz.py``; here each sees a few mutants, the same every time, and
the findings of the past.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from fuzzing import TARGETS, named
from fuzzing.models import HUGGING
from fuzzing.mutants import mutant
from fuzzing.speech import CUT, MANIFEST, RECORDING, SHORT_TEXTGRID, SUPERVISION
from fuzzing.tables import NEURONS
from fuzzing.target import Target

MUTANTS = 15


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutants_are_read_or_refused(target: Target, tmp_path: Path) -> None:
    target.beside(tmp_path)
    seeds, source = target.seeds(), random.Random(1)
    for data in seeds:
        target.attempt(data, tmp_path)
    for _ in range(MUTANTS):
        target.attempt(mutant(source.choice(seeds), source, structured=target.json), tmp_path)


def _with(value: dict[str, Any], *path: Any) -> bytes:
    """JSON with the value at a path replaced by the last argument."""
    made = json.loads(json.dumps(value))
    at = made
    for key in path[:-2]:
        at = at[key]
    at[path[-2]] = path[-1]
    return json.dumps(made).encode()


DIGITS = "1" * 5000
DEEP = b"[" * 3000
FOUND = [
    ("textgrid", SHORT_TEXTGRID.replace("\n2\n", f"\n{DIGITS}\n").encode()),
    ("hts", f"0 100 a[{DIGITS}]\n".encode()),
    ("pocketsphinx", DEEP),
    ("recipe-table", b"I\rD,G"),
    ("ami-xml", b'<?xml version="1.0" encoding="SO-8859-1"?>\n<a/>'),
    ("manifest", _with(MANIFEST, "file", "\x00")),
    ("manifest", _with(MANIFEST, "alignment", "/dev/zero")),
    ("manifest", _with(MANIFEST, "alignment", "\x00")),
    ("manifest", _with(MANIFEST, "alignment", 3)),
    ("manifest", _with(MANIFEST, "id", "\ud800")),
    ("manifest", DEEP),
    ("lhotse-cuts", _with(CUT, "supervisions", [None])),
    ("lhotse-cuts", _with(CUT, "supervisions", False)),
    ("lhotse-cuts", _with(CUT, "id", [0])),
    ("lhotse-cuts", _with(CUT, "start", float("nan"))),
    ("lhotse-cuts", _with(CUT, "channel", float("nan"))),
    ("lhotse-cuts", _with(CUT, "recording", "sources", 0, "channels", 3)),
    ("lhotse-cuts", _with(CUT, "supervisions", 0, "alignment", {"word": [["a", [], 1, None]]})),
    ("lhotse-cuts", _with(CUT, "supervisions", 0, "custom", "text")),
    ("lhotse-recordings", _with(RECORDING, "sources", [])),
    ("lhotse-recordings", _with(RECORDING, "sources", 0, "source", 0.5)),
    ("lhotse-recordings", _with(RECORDING, "sources", 0, "source", "x" * 5000)),
    ("lhotse-recordings", _with(RECORDING, "id", [0])),
    ("lhotse-recordings", _with(RECORDING, "channel_ids", 0.5)),
    ("lhotse-supervisions", _with(SUPERVISION, "channel", None)),
    ("lhotse-supervisions", _with(SUPERVISION, "start", "0")),
    ("lhotse-supervisions", _with(SUPERVISION, "recording_id", [])),
    ("yaml", b"\x98u\r"),
    ("yaml", DEEP[:900]),
    ("yaml", b"2020-99-99: 1\n"),
    ("yaml", DIGITS.encode()),
    ("yaml", b"a: &a [*a]\n"),
    ("card", b'{"family": 1, "options": 1, "front_end": 1, "weights": 1, "format": 1}'),
    ("card", b'{"family": "x", "options": {}, "front_end": {"kind": "KaldiConfig"}, "weights": {},'
             b' "format": 1}'),
    ("card", DIGITS.encode()),
    ("hf-config", _with(HUGGING, "num_hidden_layers", 2**63)),
    ("hf-config", _with(HUGGING, "conv_dim", [2**63])),
    ("hf-index", b"1"),
    ("hf-index", b'{"weight_map": {"a": 0}}'),
    ("hf-index", b'{"weight_map": {"": {}}}'),
    ("hf-index", b'{"weight_map": {"a": "' + b"x" * 5000 + b'.bin"}}'),
    ("hf-index", b'{"weight_map": {"a": "model.safetensors.index.json"}}'),
    ("torch-checkpoint", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9"),
    ("feature-statistics", b"\x93NUMPY\x01\x00v\x00{{'descr': '<f8', 'shape': (2, 40), }"
                           + b" " * 80 + b"\n"),
    ("kmeans-labels", b"1 99999999999999\n0 1\n"),
    ("kmeans-labels", b"1 999999999999999999999\n0 1\n"),
    ("word-vectors", f"{DIGITS} 3\nthe 1 2 3\n".encode()),
    ("arpa", b"\x1f\x8b\x08\x00\x00\x00\xb0\xe5[\xf4\x96"),
    ("neuron-set", _with(NEURONS, "widths", "b", float("inf"))),
    ("neuron-set", _with(NEURONS | {"order": []}, "widths", 0)),
    ("neuron-set", _with(NEURONS | {"order": []}, "widths", ["a"])),
    ("training-log", DEEP),
    ("run-record", b"[0]"),
    ("run-record", b'{"models": 3}'),
]  # fmt: skip
"""What a reader once answered with another exception, with all memory, or never."""


@pytest.mark.parametrize(
    ("name", "data"), FOUND, ids=[f"{n}-{i}" for i, (n, _) in enumerate(FOUND)]
)
def test_findings_of_the_past(name: str, data: bytes, tmp_path: Path) -> None:
    target = named(name)
    target.beside(tmp_path)
    target.attempt(data, tmp_path)
