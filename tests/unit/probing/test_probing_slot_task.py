"""Slot filling: texts with marked slots as symbols, and what the scores are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from voxstrata.errors import UsageError
from voxstrata.probing.registry import get_task
from voxstrata.probing.sources import Material, TaskSource
from voxstrata.probing.tasks.slotted import marked, spoken_text, symbols_of, text_of
from voxstrata.probing.tasks.symbols import CHARACTERS, SymbolTask
from voxstrata.types import Utterance


def utterance(name: str = "a", **tiers: Any) -> Utterance:
    return Utterance(name, 1.0, tiers)


def test_values_are_marked_where_they_stand_the_longest_first() -> None:
    held = utterance(
        text="turn on the radio on monday", slots={"state": "turn on", "day": "on monday"}
    )
    assert marked(held) == (
        "B-state TURN ON E-state THE RADIO B-day ON MONDAY E-day",
        "",
    )
    ready = utterance(text_slots="PLAY B-artist ABBA E-artist", text="x", slots={"artist": "q"})
    assert marked(ready)[0] == "PLAY B-artist ABBA E-artist"


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ({"slots": {"a": "b"}}, "no text"),
        ({"text": "x"}, "no slots"),
        ({"text": "on and on", "slots": {"a": "on"}}, "more than once"),
        ({"text": "off", "slots": {"a": "on"}}, "not in the text"),
    ],
)
def test_what_cannot_be_marked_says_why(tiers: dict[str, Any], reason: str) -> None:
    text, found = marked(utterance(**tiers))
    assert text == ""
    assert reason in found


def test_symbols_and_back() -> None:
    text = "B-verb TURN ON E-verb THE B-what LAMP E-what NOW"
    symbols, dropped = symbols_of(text, CHARACTERS)
    assert symbols == (
        *("B-verb", *"TURN", "|", *"ON", "E-verb", "|", *"THE", "|"),
        *("B-what", *"LAMP", "E-what", *"|NOW"),
    )
    assert dropped == 0
    assert text_of(symbols) == text
    assert spoken_text(symbols) == "TURN ON THE LAMP NOW"
    assert symbols_of("B-a 7UP E-a", CHARACTERS) == (("B-a", "U", "P", "E-a"), 1)


def material(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Material:
    held = {
        part: tuple(
            utterance(f"{part}{i}", speaker=f"{part}{i}", **tiers) for i, tiers in enumerate(rows)
        )
        for part, rows in (("train", train), ("dev", test), ("test", test))
    }
    return Material(TaskSource(train="a", dev="b", test="c"), held)


def test_scores_of_what_was_written() -> None:
    task = get_task("sf")
    assert isinstance(task, SymbolTask)
    assert task.better == "higher"
    train = [{"text": "go up", "slots": {"way": "up"}}, {"text": "no", "slots": {}}]
    test = [{"text": "go to rome", "slots": {"city": "rome"}}]
    data = task.data(material(train, test), 0)
    names = data.classes["slots"]
    # A type that only the test part has is a symbol all the same: the reference must name it.
    assert {"B-city", "E-city", "B-way", "E-way"} < set(names)
    assert data.dropped == {"no slots": 1}
    wanted = data.rounds[0].parts["test"].symbols  # type: ignore[attr-defined]
    place = {name: i for i, name in enumerate(names)}

    def scores(text: str) -> dict[str, float]:
        said = [np.array([place[s] for s in symbols_of(text, CHARACTERS)[0]])]
        counts = task.counts(names, wanted, said)
        return {m: float(a.sum() / b.sum()) for m, (a, b) in counts.items()}

    assert scores("GO TO B-city ROME E-city") == {
        "slot-type-f1": 1.0, "slot-value-cer": 0.0, "wer": 0.0, "cer": 0.0,
    }  # fmt: skip
    found = scores("GO B-way ROMA E-way")
    assert found["slot-type-f1"] == 0.0
    assert found["slot-value-cer"] == 1.0  # no value of that type at all
    assert found["wer"] == pytest.approx(2 / 3)
    assert scores("GO TO B-city ROMA E-city")["slot-value-cer"] == pytest.approx(1 / 4)


def test_scores_of_slots_need_slots() -> None:
    from voxstrata.config import build
    from voxstrata.errors import ConfigError

    given = {"name": "x", "title": "x", "summary": "x", "writes": "characters", "tier": "text"}
    with pytest.raises(ConfigError, match="slot-type-f1"):
        build(SymbolTask, {**given, "measures": ["slot-type-f1"]}, source="x.yaml")
    with pytest.raises(UsageError, match="no recording is left"):
        get_task("sf").data(material([{"slots": {"a": "b"}}], [{"slots": {"a": "b"}}]), 0)
