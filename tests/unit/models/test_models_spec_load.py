"""Names taken apart, and the family they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from voxstrata import load_model
from voxstrata.errors import ModelError, UnknownNameError, UsageError
from voxstrata.models import FAMILIES, ModelSpec, parse
from voxstrata.models.load import broken_families, find_family, known_names
from voxstrata.models.spec import with_options

PARSED = {
    "wavlm-base": ModelSpec("", "wavlm-base"),
    "random:wavlm-base": ModelSpec("", "wavlm-base", True),
    "microsoft/wavlm-large@12": ModelSpec("", "microsoft/wavlm-large", cut="12"),
    "microsoft/wavlm-large@main": ModelSpec("", "microsoft/wavlm-large", revision="main"),
    "a/b@1234": ModelSpec("", "a/b", revision="1234"),
    "a/b@12@3": ModelSpec("", "a/b", revision="12", cut="3"),
    "a/b@v1.0@conv3": ModelSpec("", "a/b", revision="v1.0", cut="conv3"),
    "ecapa@mfa": ModelSpec("", "ecapa", cut="mfa"),
    "ecapa@block2": ModelSpec("", "ecapa", cut="block2"),
    "random:a/b@r@0,seed=3,final_norm=true": ModelSpec(
        "", "a/b", True, "r", "0", {"seed": "3", "final_norm": "true"}
    ),
    "  a/b,x= ": ModelSpec("", "a/b", options={"x": ""}),
}


@pytest.mark.parametrize("text", list(PARSED))
def test_grammar(text: str) -> None:
    expected, found = PARSED[text], parse(text)
    assert found.text == text.strip()
    for field in ("base", "random", "revision", "cut", "options"):
        assert getattr(found, field) == getattr(expected, field), field


@pytest.mark.parametrize(
    "text", ["", "random:", "@3", "a@", "a@b@c@d", "a,b", "a,b=1,b=2", "random:random:a", "a,=1"]
)
def test_bad_grammar(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_order_of_options_is_kept() -> None:
    assert list(parse("a,z=1,b=2,c=3").options) == ["z", "b", "c"]


def test_what_exists_is_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a,b=1@12"
    odd.mkdir()
    assert parse(str(odd)).base == str(odd)
    found = parse(f"random:{odd}@3,seed=2")
    assert (found.base, found.cut, dict(found.options)) == (str(odd), "3", {"seed": "2"})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("~/a,b=1@12").base == "~/a,b=1@12"


def test_python_options_win_and_are_in_the_text() -> None:
    spec = with_options(parse("random:a/b@3,seed=1"), {"seed": 2, "final_norm": True, "x": None})
    assert spec.text == "random:a/b@3,seed=2,final_norm=true"
    assert parse(spec.text) == spec
    assert with_options(spec, {}) is spec


class Toy:
    """A family that knows what it is told to know."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        self.loaded: list[ModelSpec] = []

    def names(self) -> Mapping[str, str]:
        return dict.fromkeys(self.known, "a toy")

    def recognises(self, spec: ModelSpec) -> bool:
        return spec.base.startswith("toys/")

    def load(self, spec: ModelSpec) -> Any:
        self.loaded.append(spec)
        return self


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    monkeypatch.setattr(FAMILIES, "_objects", dict(FAMILIES._objects))

    def add(name: str, *known: str) -> Toy:
        toy = Toy(name, known)
        FAMILIES.put(name, toy)
        return toy

    return add


def test_a_family_that_knows_a_hub_id_goes_before_the_general_one(toys: Any) -> None:
    toy = toys("toy")
    assert find_family(parse("toys/one")) is toy
    assert find_family(parse("other/one")).name == "huggingface"
    assert load_model("toys/one", colour="red") is toy
    assert toy.loaded[0].options == {"colour": "red"}


def test_two_claims_are_refused_unless_one_is_named(toys: Any) -> None:
    one, two = toys("one"), toys("two", "special")
    with pytest.raises(UsageError, match="several families"):
        load_model("toys/car")
    assert load_model("toys/car", family="two") is two
    assert load_model("toys/car", family="one") is one
    assert find_family(parse("special")) is two


def test_unknown_family() -> None:
    with pytest.raises(UnknownNameError, match="huggingface"):
        load_model("hubert-base", family="hugingface")


def test_unknown_name_offers_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*'wavlm-base'") as caught:
        load_model("wavlm-bse")
    assert "voxstrata models list" in str(caught.value)


@pytest.mark.parametrize("text", ["./nowhere", "/no/such/place", "~/nowhere", "a/b/c"])
def test_paths_to_nothing(text: str) -> None:
    with pytest.raises(ModelError, match="no file or directory"):
        load_model(text)


def test_a_file_nobody_knows(tmp_path: Path) -> None:
    file = tmp_path / "notes.xyz"
    file.write_text("hello")
    with pytest.raises(ModelError, match="no family recognises"):
        load_model(file)


def test_a_family_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    monkeypatch.setattr(FAMILIES, "_objects", dict(FAMILIES._objects))
    FAMILIES.add("lost", "voxstrata_no_such_package.family:FAMILY")
    assert "lost" in broken_families()
    with pytest.raises(UnknownNameError, match="'lost' could not be imported"):
        load_model("nonesuch")
    assert "hubert-base" in known_names()


def test_modules_need_layers() -> None:
    with pytest.raises(UsageError, match="layers="):
        load_model(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="no family"):
        load_model(nn.Linear(2, 2), layers=["x"], family="huggingface")
    with pytest.raises(UsageError, match="name, a path"):
        load_model(3)  # type: ignore[arg-type]
