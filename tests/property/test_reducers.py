"""Any split of a corpus into shards equals the whole, whatever is summed and however merged."""

from __future__ import annotations

import ast
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import voxstrata
from reducer_cases import CASES, FOLDS, MOST, Case, Numbers, rows_of
from voxstrata.streaming.reducers import Rows

Shards = list[tuple[int, list[Rows]]]

RECORDINGS = st.lists(
    st.tuples(st.integers(0, FOLDS - 1), st.integers(0, 9)), min_size=1, max_size=MOST
)


def _shards(drawn: list[tuple[int, int]]) -> Shards:
    """Numbered shards of at most two recordings of one fold, as a pass deals them."""
    rows = [rows_of(number, fold, count) for number, (fold, count) in enumerate(drawn)]
    held: list[list[Rows]] = []
    for fold in range(FOLDS):
        own = [one for one in rows if one.fold == fold]
        held += [own[at : at + 2] for at in range(0, len(own), 2)]
    return list(enumerate(held))


def _fed(case: Case, shards: Shards, folder: Path) -> Any:
    thing = case.make(folder)
    for number, held in shards:
        for rows in held:
            case.feed(thing, rows)
        if hasattr(thing, "end_shard"):
            thing.end_shard(number)
    return thing


def _joined(one: Any, other: Any) -> Any:
    one.merge(other)
    return one


def _same(case: Case, found: Numbers, expected: Numbers) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if case.tolerance == 0 or isinstance(value, dict | list):
            np.testing.assert_equal(found[name], value, err_msg=name)
        else:
            scale = max(1.0, float(np.abs(value).max(initial=0)))
            np.testing.assert_allclose(
                found[name], value, rtol=0, atol=case.tolerance * scale, err_msg=name
            )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.__name__)
@settings(max_examples=5, deadline=None)
@given(drawn=RECORDINGS, deal=st.lists(st.integers(0, 2), min_size=MOST, max_size=MOST),
       turned=st.booleans(), tree=st.booleans(), stop=st.integers(0, MOST))  # fmt: skip
def test_any_split_equals_the_whole(
    case: Case, drawn: list[tuple[int, int]], deal: list[int], turned: bool, tree: bool, stop: int
) -> None:
    """Three parts that no order joins, merged either way round and either side first."""
    shards = _shards(drawn)
    with tempfile.TemporaryDirectory() as place:
        expected = case.numbers(_fed(case, shards, Path(place) / "whole"))
        part_of = {n: held[0].fold if case.whole_folds else deal[n] for n, held in shards}
        split = Path(place) / "split"
        parts = [
            _fed(case, [shard for shard in shards if part_of[shard[0]] == part], split)
            for part in range(3)
        ]
        if turned and case.commutes:
            parts.reverse()
        if tree:
            merged = _joined(parts[0], _joined(parts[1], parts[2]))
        else:
            merged = functools.reduce(_joined, parts)
        _same(case, case.numbers(merged), expected)
        for number, (fold, count) in enumerate(drawn):  # rows belong to all that are fed with them
            held = next(r for _, rows in shards for r in rows if r.utterance == f"u{number}")
            for value, made in zip(held.values, rows_of(number, fold, count).values, strict=True):
                assert value.equal(made)
        if not case.stateful:
            return
        # Stopped after some shard, its state on disk, and gone on by another.
        begun = _fed(case, shards[:stop], Path(place) / "stopped")
        tensors, facts = begun.state()
        again = case.make(Path(place) / "stopped")
        copied = {name: tensor.clone() for name, tensor in tensors.items()}
        again.restore(copied, json.loads(json.dumps(facts)))
        for number, held in shards[stop:]:
            for rows in held:
                case.feed(again, rows)
            again.end_shard(number)
        _same(case, case.numbers(again), expected)


def test_everything_that_merges_is_among_the_cases() -> None:
    found: set[str] = set()
    for path in Path(voxstrata.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "def merge(" in text else ():
            if isinstance(node, ast.ClassDef) and any(
                isinstance(inner, ast.FunctionDef) and inner.name == "merge" for inner in node.body
            ):
                found.add(node.name)
    found -= {"Reducer"}  # the protocol
    covered = {case.kind.__name__ for case in CASES}
    assert not found - covered, "add a line to tests/reducer_cases.py"
