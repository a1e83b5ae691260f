"""Units: frames to rows, with odd labels handled and counted."""

from __future__ import annotations

import pytest
import torch

from fakes import FakeModel, make_corpus
from voxstrata.errors import LabelError, UnknownNameError
from voxstrata.streaming.registry import make_unit
from voxstrata.streaming.spans import frames_of_span
from voxstrata.streaming.stack import build_stack
from voxstrata.streaming.unit_segment import SegmentUnit
from voxstrata.types import FrameGrid, Segment, Utterance

GRID = FrameGrid(320, 400)


def _outputs(model: FakeModel, utterance: Utterance) -> list[torch.Tensor]:
    found = model.encode([torch.from_numpy(utterance.read())], ["0", "1"])[0]
    return [found["0"], found["1"]]


def _stack(model: FakeModel) -> list:
    return build_stack([model], ["0", "1"])


def test_span_takes_frames_whose_centre_is_inside() -> None:
    # centres at 0.0125 + 0.02 i
    assert frames_of_span(0.02, 0.1, GRID, 50) == (1, 5)
    assert frames_of_span(0.0325, 0.0525, GRID, 50) == (1, 2)


def test_short_span_takes_the_nearest_frame() -> None:
    assert frames_of_span(0.034, 0.036, GRID, 50) == (1, 2)


def test_span_outside_has_no_frames() -> None:
    assert frames_of_span(5.0, 5.2, GRID, 50) is None
    assert frames_of_span(0.3, 0.3, GRID, 50) is None


def test_middle_third() -> None:
    assert frames_of_span(0.0, 0.6, GRID, 50, part="middle-third") == (10, 20)


def test_odd_labels_are_counted() -> None:
    model = FakeModel()
    base = make_corpus(1)[0]
    spans = (
        Segment(0.0, 0.05, "SIL"),
        Segment(0.05, 0.15, "AA"),
        Segment(0.1, 0.1, "B"),
        Segment(base.duration_s + 1, base.duration_s + 2, "B"),
        Segment(0.15, base.duration_s + 5, "C"),  # long span: cut at the end of the audio
    )
    utterance = Utterance("u", base.duration_s, {"phones": spans}, base.read)
    unit = make_unit("phone")
    unit.prepare([utterance], 0)
    outputs = _outputs(model, utterance)
    rows = unit.rows(utterance, outputs, _stack(model))
    assert rows.labels == ["AA", "C"]
    assert rows.dropped == {"silence or unknown": 1, "empty span": 1, "outside the audio": 1}
    last = frames_of_span(0.15, 99.0, GRID, len(outputs[0]))
    assert last is not None
    torch.testing.assert_close(rows.values[0][1], outputs[0][last[0] :].mean(0))


def test_cap_is_seeded_and_independent_of_corpus_order() -> None:
    corpus = make_corpus(20)
    chosen = []
    for order in (corpus, corpus[::-1]):
        unit = SegmentUnit("phone", "phones", per_type=5)
        unit.prepare(order, seed=1)
        chosen.append(unit._chosen)
    assert chosen[0] == chosen[1]
    assert sum(len(found) for found in chosen[0].values()) == 10  # 5 of each of two labels
    other = SegmentUnit("phone", "phones", per_type=5)
    other.prepare(corpus, seed=2)
    assert other._chosen != chosen[0]


def test_count_equals_rows() -> None:
    model = FakeModel()
    for name in ("frame", "phone", "utterance"):
        unit = make_unit(name)
        unit.prepare(make_corpus(5), 0)
        for utterance in make_corpus(5):
            outputs = _outputs(model, utterance)
            expected = len(unit.rows(utterance, outputs, _stack(model)))
            assert unit.count(utterance, [len(o) for o in outputs], _stack(model)) == expected


def test_missing_tier_is_an_error_before_the_pass() -> None:
    with pytest.raises(LabelError, match="words"):
        make_unit("word").prepare(make_corpus(3), 0)


def test_unknown_unit() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'frame'"):
        make_unit("frames")


def test_spans_beyond_the_audio_are_cut_and_noted() -> None:
    model = FakeModel()
    base = make_corpus(1)[0]
    spans = (
        Segment(-0.1, 0.15, "A"),
        Segment(0.15, base.duration_s + 0.01, "B"),  # rounding of labels
        Segment(0.15, base.duration_s + 5, "C"),
    )
    utterance = Utterance("u", base.duration_s, {"phones": spans}, base.read)
    for rule in ("centre", "pasad"):
        unit = make_unit("phone", rule=rule)
        unit.prepare([utterance], 0)
        rows = unit.rows(utterance, _outputs(model, utterance), _stack(model))
        assert rows.labels == ["A", "B", "C"]
        assert rows.noted == {"reaches beyond the audio (cut, kept)": 2}
        assert rows.dropped == {}
        assert all(bool(torch.isfinite(value).all()) for value in rows.values)


def test_a_cap_does_not_spend_draws_on_unusable_spans() -> None:
    base = make_corpus(1)[0]
    spans = [Segment(base.duration_s + 1, base.duration_s + 2, "A") for _ in range(40)]
    spans += [Segment(0.1, 0.1, "A") for _ in range(40)]
    spans += [Segment(0.05 * k, 0.05 * k + 0.05, "A") for k in range(4)]
    utterance = Utterance("u", base.duration_s, {"phones": tuple(spans)}, base.read)
    unit = make_unit("phone", per_type=3)
    unit.prepare([utterance], 0)
    model = FakeModel()
    rows = unit.rows(utterance, _outputs(model, utterance), _stack(model))
    assert len(rows) == 3
    assert rows.dropped == {
        "outside the audio": 40,
        "empty span": 40,
        "over the cap of 3 a type": 1,
    }


def test_layers_asked_for_apply_where_they_exist() -> None:
    deep, flat = FakeModel("deep"), FakeModel("flat", widths=(4, 3), pooled=True)
    stack = build_stack([deep, flat], ["embedding"])
    assert [layer.key for layer in stack] == ["deep/0", "deep/1", "flat/embedding"]
    with pytest.raises(UnknownNameError, match="any model of this run"):
        build_stack([deep, flat], ["7"])
