"""Sets of neurons: combined, kept, checked against the model they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voxstrata import load_model
from voxstrata.errors import ConfigError, ModelError, StorageError, UsageError
from voxstrata.neurons.sets import NeuronSet, load_set, neuron_set

A, B = "block.2.ffn.inner", "block.10.ffn.inner"
MODEL = "random:melhubert,inputs=80,width=16,layers=2,heads=2,ffn=24,conv_pos=8,conv_groups=2"


def make(layers: dict[str, Any], name: str = "x", **rest: Any) -> NeuronSet:
    values: dict[str, Any] = {"model": "m", "fingerprint": "f", "widths": {A: 8, B: 6}} | rest
    return NeuronSet(name, layers=layers, **values)


def test_sets_combine_layer_by_layer() -> None:
    one, two = make({A: (1, 4, 7), B: (0,)}, "one"), make({A: (4, 5)}, "two")
    assert one.union(two).layers == {A: (1, 4, 5, 7), B: (0,)}
    assert one.intersect(two).layers == {A: (4,), B: ()}
    assert one.minus(two).layers == {A: (1, 7), B: (0,)}
    assert two.minus(one).layers == {A: (5,), B: ()}
    assert one.union(two).name == "one or two"
    assert one.minus(two, "kept").name == "kept"
    assert len(one) == 4
    assert one.counts() == {A: 3, B: 1}
    assert two.of(B) == ()
    assert two.counts() == {A: 2, B: 0}
    with pytest.raises(UsageError, match="knows no layer"):
        one.of("block.3.ffn.inner")


@pytest.mark.parametrize("change", [{"fingerprint": "g"}, {"widths": {A: 8, B: 7}}])
def test_sets_of_different_models_do_not_combine(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="different models"):
        make({A: (1,)}).union(make({A: (2,)}, "y", **change))


@pytest.mark.parametrize(
    "layers",
    [{A: (3, 1)}, {A: (1, 1)}, {A: (8,)}, {A: (-1,)}, {"block.1.ffn.inner": (0,)}],
)
def test_what_is_no_set_of_neurons_is_refused(layers: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(layers)
    with pytest.raises(UsageError, match="of F"):
        make({}, groups={"F": layers})


def test_a_set_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    one = make(
        {A: (1, 4), B: (0,)},
        groups={"F": {A: (1,), B: ()}, "M": {A: (4,), B: (0,)}},
        details={"rule": "published", "units": 4},
    )
    one.save(tmp_path / "s.json")
    found = load_set(tmp_path / "s.json")
    assert found == one
    assert list(found.widths) == [A, B]  # in order of depth, not of the alphabet
    assert list(found.layers) == [A, B]
    only = found.group("M")
    assert only.layers == {A: (4,), B: (0,)}
    assert only.name == "x: M"
    with pytest.raises(UsageError, match="no group 'N'") as error:
        found.group("N")
    assert error.value.expected == "F, M"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"format": 2}, ConfigError, "later version"),
        ({"format": "new"}, ConfigError, "later version"),
        ({"layers": {A: [9]}}, UsageError, "is not a set"),
        ({"layers": {A: 9}}, ConfigError, "damaged"),
        ({"layers": {A: ["a"]}}, ConfigError, "damaged"),
        ({"widths": {A: 8}}, ConfigError, "damaged"),
        ({"groups": [1]}, ConfigError, "damaged"),
    ],
)
def test_damaged_files_are_told(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    path = tmp_path / "s.json"
    make({A: (1,)}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(error, match=words):
        load_set(path)


def test_files_that_are_no_sets(tmp_path: Path) -> None:
    for text in ("{}", "[]", '{"format": 1}'):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(ConfigError, match="is not a neuron set"):
            load_set(tmp_path / "s.json")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(StorageError):
        load_set(tmp_path / "s.json")
    with pytest.raises(StorageError):
        load_set(tmp_path / "none.json")


def test_a_set_is_of_one_model() -> None:
    model = load_model(MODEL)
    layer = "block.1.ffn.inner"
    one = neuron_set("x", model, {layer: [5, 2, 2]}, details={"a": 1})
    assert one.layers == {layer: (2, 5)}
    assert one.widths == {layer: 24}
    one.check(model)
    with pytest.raises(ModelError, match="another model") as error:
        one.check(load_model(f"{MODEL},seed=5"))
    assert "voxstrata neurons" in error.value.fix
    with pytest.raises(ModelError, match="does not fit"):
        one.check_widths(load_model(MODEL.replace("ffn=24", "ffn=20")))
    with pytest.raises(ModelError, match="does not fit"):
        neuron_set("y", model, {"block.2.ffn.inner": []}).check_widths(
            load_model(MODEL.replace("layers=2", "layers=1"))
        )
    with pytest.raises(UsageError, match="has no layer") as missing:
        neuron_set("x", model, {"block.9.ffn.inner": [1]})
    assert "block.1.ffn.inner" in str(missing.value.expected)
    with pytest.raises(UsageError):
        neuron_set("x", model, {layer: [24]})
