"""Any text given to ``--layers`` chooses layers or is refused in the family's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakes import FakeModel
from typed import mutants, refusal
from voxstrata.config import build, split_names
from voxstrata.models.base import choose_layers
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.probing.settings import ProbeConfig
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.similarity.settings import SimilarityConfig
from voxstrata.streaming.stack import build_stack
from voxstrata.types import LayerInfo

NAMES = ["conv1", "conv2", "0", *map(str, range(1, 13)), "block.1.ffn.inner", "embedding", "²"]
VALID = ["4-8", "conv*", "0,4-8,embedding", "block.*.ffn.inner", "[0-3]", "?", "conv[!1], 12"]
CONFIGS = [SimilarityConfig, PropertiesConfig, ProbeConfig, NeuronsConfig]

typed = st.one_of(
    st.text(max_size=30), st.text("0123456789-*?[]!,. abc²٣", max_size=20), mutants(VALID)
)


def model(names: list[str], spec: str = "fake") -> FakeModel:
    made = FakeModel(spec=spec)
    made.layers = tuple(LayerInfo(name, 2, "utterance", None) for name in names)
    return made


@given(typed)
@example("1-" + "9" * 5000)  # more digits than Python reads as a number
@example("0-9")  # with a layer whose name is a digit and no number
@example(",")
@example("[z-a]")
@example("*a" * 30)
def test_any_text_chooses_layers_or_is_refused(text: str) -> None:
    one, wanted = model(NAMES), split_names(text)
    try:
        chosen = [info.name for info in choose_layers(one, wanted)]
    except Exception as error:
        refusal(error)
        return
    assert chosen == [name for name in NAMES if name in chosen] != []
    again = [info.name for info in choose_layers(one, chosen)]
    assert again == chosen
    both = build_stack([one, model(["logmel"], "other")], wanted)
    assert [layer.info.name for layer in both if layer.model == 0] == chosen


@given(typed)
@example("²")
def test_a_stack_refuses_what_no_model_has(text: str) -> None:
    wanted = split_names(text)
    stack = [model(["conv1", "1", "2"]), model(["conv1", "f0"], "other")]
    try:
        found = build_stack(stack, wanted)
    except Exception as error:
        refusal(error)
        return
    assert {layer.model for layer in found} == {0, 1}


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
@given(text=typed)
@example(text="4, 8,")
def test_every_command_reads_the_same(kind: Any, text: str) -> None:
    # `voxstrata neurons` kept the blank of "4, 8", and what follows a last comma.
    config = build(kind, {"models": ["log-mel"], "corpus": "synthetic", "layers": text})
    assert config.layers == split_names(text)


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.randoms())
def test_names_choose_themselves_in_any_order(names: set[str], random: Any) -> None:
    listed = sorted(names)
    random.shuffle(listed)
    chosen = choose_layers(model(NAMES), split_names(", ".join(listed)))
    assert [info.name for info in chosen] == [name for name in NAMES if name in names]


@given(st.integers(0, 12), st.integers(0, 12))
def test_ranges_hold_both_ends(low: int, high: int) -> None:
    names = [info.name for info in choose_layers(model(NAMES), [f"{low}-{max(low, high)}"])]
    assert names == [str(n) for n in range(low, max(low, high) + 1)]
