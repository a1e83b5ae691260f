"""Explanations: everything that is registered is explained, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxstrata.errors import ConfigError, UnknownNameError
from voxstrata.neurons.rankings.registry import RANKINGS
from voxstrata.neurons.rules import RULES
from voxstrata.probing.registry import TASKS, get_task, summaries
from voxstrata.properties.registry import PROPERTIES, TAKES_ARGUMENT, make_property
from voxstrata.references import explanation
from voxstrata.references.bibliography import bibliography
from voxstrata.references.explanation import Explanation, explanations, kinds
from voxstrata.similarity.registry import MEASURES

REGISTERED = {
    "measures": MEASURES.names,
    "properties": PROPERTIES.names,
    "tasks": TASKS.names,
    "rankings": RANKINGS.names,
    "rules": RULES.names,
}

ALL = [(kind, name) for kind in kinds() for name in explanations(kind)]


@pytest.mark.parametrize("kind", sorted(REGISTERED))
def test_what_is_registered_is_what_is_explained(kind: str) -> None:
    assert sorted(explanations(kind)) == sorted(REGISTERED[kind]())


def test_no_kind_is_left_untested() -> None:
    assert set(kinds()) == {*REGISTERED, "scores"}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_an_explanation_is_whole(kind: str, name: str) -> None:
    about = explanations(kind)[name]
    assert about.what.strip()
    assert about.formula.strip()
    assert about.read.strip()
    assert set(about.cite) <= set(bibliography())
    # An 80-column terminal shows formulas unbroken.
    assert all(len(line) <= 76 for line in about.formula.splitlines())
    assert (Path(__file__).parents[3] / about.page).is_file()


@pytest.mark.parametrize("kind", sorted(set(REGISTERED) - {"rules"}))
def test_what_is_computed_names_sources_and_pitfalls(kind: str) -> None:
    for name, about in explanations(kind).items():
        assert about.cite, name
        assert about.pitfalls, name


def test_scores_cover_what_properties_and_tasks_give() -> None:
    scores = explanations("scores")
    for name in PROPERTIES.names():
        made = make_property(f"{name}:x" if name in TAKES_ARGUMENT else name)
        assert made.main in scores, name
        known = scores[made.main].better
        assert known in (made.better, "neither"), f"{name}: {made.main}"
    for name in TASKS.names():
        task = get_task(name)
        assert set(task.measures) <= set(scores), name
        assert scores[task.measures[0]].better == {"higher": "high", "lower": "low"}[task.better]


def test_every_score_has_range_and_direction() -> None:
    for name, about in explanations("scores").items():
        assert about.range, name
        assert about.better, name


def test_task_summaries_are_those_of_the_tasks() -> None:
    found = summaries()
    assert list(found) == TASKS.names()
    assert {name: get_task(name).summary for name in TASKS.names()} == found


def _file(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "things.yaml").write_text(text)
    monkeypatch.setattr(explanation, "FOLDER", folder)
    explanations.cache_clear()


def test_taking_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
_base: {formula: f, read: r, pitfalls: [b], cite: {x: base, y: base}, page: p}
one: {like: _base, what: w, pitfalls: [a], cite: {y: own, z: ""}}
two: {like: one, what: v, read: s}
"""
    _file(tmp_path, text, monkeypatch)
    one = Explanation(
        what="w",
        formula="f",
        read="r",
        pitfalls=("a", "b"),
        cite={"y": "own", "z": "", "x": "base"},
        page="p",
    )
    assert explanations("things") == {
        "one": one,
        "two": one.model_copy(update={"what": "v", "read": "s"}),
    }
    assert list(one.cite) == list(explanations("things")["one"].cite)
    explanations.cache_clear()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one: {what: w, formula: f}", "read: missing"),
        ("one: {what: w, formula: f, read: r, pitfals: [x]}", "did you mean 'pitfalls'"),
        ("one: {like: _none, what: w}", "_none"),
    ],
)
def test_a_malformed_file_is_told(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, text, monkeypatch)
    with pytest.raises(ConfigError, match=said):
        explanations("things")
    explanations.cache_clear()


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(UnknownNameError, match="'measures'"):
        explanations("measure")
