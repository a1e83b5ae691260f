"""Labels in cuts, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from voxstrata.corpora.audio import read_header
from voxstrata.corpora.cuts import cut_from_dict, recording_of
from voxstrata.corpora.tiers import Tiers, make_cut, segments_from, with_tiers
from voxstrata.errors import LabelError
from voxstrata.types import Segment


@pytest.fixture
def recording(tmp_path: Path) -> Any:
    sf.write(tmp_path / "a.wav", np.zeros(32000), 16000)
    return recording_of(read_header(tmp_path / "a.wav"))


def test_scalars_and_spans_come_back(recording: Any) -> None:
    given = {
        "speaker": "s1",
        "gender": "F",
        "text": "so it is",
        "language": "en",
        "age": 31,
        "intent": "order",
        "slots": {"width": "wide", "size": 2},
        "words": [[0.1, 0.3, "so"], [0.3, 0.55, "it"]],
        "phones": [Segment(0.1, 0.2, "S")],
        "syllables": [[0.1, 0.3, "soʊ"]],
        "nothing": None,
    }
    tiers = Tiers(make_cut("u", recording, given))
    assert set(tiers) == set(given) - {"nothing"}
    assert len(tiers) == 10
    assert tiers["speaker"] == "s1"
    assert tiers["age"] == 31
    assert tiers["slots"] == {"width": "wide", "size": 2}
    assert tiers["words"] == (Segment(0.1, 0.3, "so"), Segment(0.3, 0.55, "it"))
    assert tiers["syllables"] == (Segment(0.1, 0.3, "soʊ"),)
    assert "nothing" not in tiers


def test_several_turns_are_supervisions(recording: Any) -> None:
    turns = [[0.0, 1.0, "A"], [0.5, 1.5, "B"]]
    cut = make_cut("u", recording, {"turns": turns, "meeting": "m1", "speaker": None})
    assert [s.speaker for s in cut.supervisions] == ["A", "B"]
    tiers = Tiers(cut)
    assert tiers["turns"] == (Segment(0.0, 1.0, "A"), Segment(0.5, 1.5, "B"))
    assert tiers["meeting"] == "m1"
    assert "speaker" not in tiers


@pytest.mark.parametrize(
    "given",
    [
        {"turns": [[0.2, 1.0, "A"]]},
        {"turns": []},
        {"turns": [[0.0, 1.0, "A"], [0.5, 1.5, "B"]], "text": "two at once"},
        {"turns": [[0.2, 1.0, "A"]], "words": [[0.2, 0.4, "yes"]], "speaker": "A"},
    ],
)
def test_other_turns_survive_too(recording: Any, given: dict[str, Any]) -> None:
    tiers = Tiers(make_cut("u", recording, given))
    assert set(tiers) == set(given)
    assert tiers["turns"] == segments_from(given["turns"], "")


def test_lhotse_names_of_alignments(recording: Any) -> None:
    from lhotse.supervision import AlignmentItem

    cut = make_cut("u", recording, {"speaker": "s"})
    cut.supervisions[0].alignment = {
        "word": [AlignmentItem("yes", 0.1, 0.2)],
        "phone": [AlignmentItem("Y", 0.1, 0.05, 0.9)],
    }
    tiers = Tiers(cut)
    assert tiers["words"] == (Segment(0.1, 0.3, "yes"),)
    assert tiers["phones"] == (Segment(0.1, 0.15, "Y"),)


def test_spans_move_with_the_cut(recording: Any) -> None:
    """lhotse keeps alignments relative to the recording; tiers are relative to the utterance."""
    spans = {"speaker": "s", "words": [[0.1, 0.3, "so"], [0.5, 0.9, "far"]]}
    cut = make_cut("u", recording, spans, start_s=0.7, duration_s=1.0)
    assert cut.supervisions[0].alignment["words"][0].start == pytest.approx(0.8)
    assert Tiers(cut)["words"] == (Segment(0.1, 0.3, "so"), Segment(0.5, 0.9, "far"))
    later = cut.truncate(offset=0.4, keep_excessive_supervisions=True)
    assert Tiers(later)["words"][1] == Segment(0.1, 0.5, "far")
    padded = cut.pad(duration=3.0, direction="left")  # a mixed cut
    assert Tiers(padded)["words"] == (Segment(2.1, 2.3, "so"), Segment(2.5, 2.9, "far"))


def test_a_cut_without_labels(recording: Any) -> None:
    cut = make_cut("u", recording, {})
    assert not cut.supervisions
    assert dict(Tiers(cut)) == {}


def test_recordings_and_arrays_in_custom_are_no_tiers(recording: Any) -> None:
    cut = make_cut("u", recording, {"speaker": "s"})
    cut.custom = {"target": recording.to_dict(), "room": "office"}
    assert set(Tiers(cut)) == {"speaker", "room"}


def test_json_keeps_custom_mappings_as_they_are(recording: Any) -> None:
    """lhotse takes a mapping with a key "width" for an image, one with "shape" for an array."""
    given = {"slots": {"width": "wide", "shape": "round"}, "speaker": "s"}
    cut = cut_from_dict(make_cut("u", recording, given).to_dict())
    assert Tiers(cut) == given


@pytest.mark.parametrize(
    "bad", [[[0.1, "x"]], [[0.1, 0.2, "a"], 7], "text", [[float("nan"), 0.2, "a"]], [["b", 1, "c"]]]
)
def test_malformed_spans_are_refused_by_name(recording: Any, bad: Any) -> None:
    with pytest.raises(LabelError, match="u7: words"):
        make_cut("u7", recording, {"words": bad})


def test_further_tiers_give_way_or_win(recording: Any) -> None:
    cut = make_cut("u", recording, {"speaker": "s", "words": [[0.1, 0.2, "old"]], "n": 1})
    extra = {"words": [[0.1, 0.3, "new"]], "phones": [[0.1, 0.2, "N"]]}
    assert Tiers(with_tiers(cut, extra))["words"][0].label == "new"
    kept = Tiers(with_tiers(cut, extra, replace=False))
    assert kept["words"][0].label == "old"
    assert kept["phones"] == (Segment(0.1, 0.2, "N"),)
    assert kept["n"] == 1
