"""Views of scalar tiers and of tables: what enters, what folds must keep together."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from voxstrata.errors import UnknownNameError, UsageError
from voxstrata.properties.views.tables import read_values, table_view
from voxstrata.properties.views.tiers import (
    RowView,
    by_speaker_if_asked,
    one_column_less,
    tier_view,
    view_folds,
)

SPEAKERS = [f"s{i}" for i in range(8) for _ in range(5)]
IDS = [f"u{i}" for i in range(40)]
GENDER = ["F" if int(s[1:]) % 2 else "M" for s in SPEAKERS]
CHANNEL = [("clean", "noisy")[i % 2] for i in range(40)]
AGE = [20 + 3 * int(s[1:]) for s in SPEAKERS]


def spread(folds: np.ndarray, groups: list[str]) -> int:
    """In how many folds the most spread group stands."""
    return max(len({f for f, g in zip(folds, groups, strict=True) if g == x}) for x in set(groups))


def test_one_hot_has_full_rank_after_centring() -> None:
    rows, classes = one_column_less(["x", "y", "z", "y", "y"])
    assert classes == ("x", "z")  # "y", the most frequent, went
    assert rows.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0]]
    assert np.linalg.matrix_rank(rows - rows.mean(0)) == 2


@pytest.mark.parametrize(
    ("name", "values", "grouping", "why"),
    [
        ("gender", GENDER, "speaker", "constant within speakers"),
        ("age", AGE, "speaker", "constant within speakers"),
        ("speaker", SPEAKERS, "utterance", "names single speakers"),
        ("channel", CHANNEL, "utterance", "varies within speakers"),
        ("snr_db", [float(i) for i in range(40)], "utterance", "varies within speakers"),
    ],
)
def test_grouping_follows_from_the_label(
    name: str, values: list[Any], grouping: str, why: str
) -> None:
    view = tier_view(values, SPEAKERS, name, IDS)
    assert view.grouping == grouping
    assert why in view.reason
    folds = view_folds(view, IDS, SPEAKERS, 10, 3)
    kept_speakers = [SPEAKERS[i] for i in view.kept]
    if grouping == "speaker":
        assert spread(folds, kept_speakers) == 1
    else:
        assert spread(folds, kept_speakers) > 1
    # Every fold can be scored, and every class can be learned without any fold.
    for fold in range(folds.max() + 1):
        assert len({tuple(r) for r in view.matrix[folds == fold]}) >= 2
        if view.classes is not None:
            left = {c for c, f in zip(view.classes, folds, strict=True) if f != fold}
            assert left == set(view.classes)


def test_a_speaker_is_in_every_fold_it_can_be_in() -> None:
    view = tier_view(SPEAKERS, SPEAKERS, "speaker", IDS)
    folds = view_folds(view, IDS, SPEAKERS, 5, 0)
    counts = Counter(zip(SPEAKERS, folds.tolist(), strict=True))
    assert set(counts.values()) == {1}
    assert len(counts) == 8 * 5


def test_folds_are_fewer_where_one_would_hold_one_gender() -> None:
    view = tier_view(GENDER, SPEAKERS, "gender", IDS)
    folds = view_folds(view, IDS, SPEAKERS, 10, 0)
    assert folds.max() + 1 == 4  # four speakers of each gender
    assert np.bincount(folds).tolist() == [10, 10, 10, 10]
    age = view_folds(tier_view(AGE, SPEAKERS, "age", IDS), IDS, SPEAKERS, 10, 0)
    assert age.max() + 1 == 4  # eight ages, two in each fold
    ids, who = [IDS[i] for i in (0, 1, 5, 6)], [SPEAKERS[i] for i in (0, 1, 5, 6)]
    two_speakers = tier_view([AGE[i] for i in (0, 1, 5, 6)], who, "age", ids)
    with pytest.raises(UsageError, match="cannot hold two values"):
        view_folds(two_speakers, ids, who, 10, 0)


def test_folds_depend_on_the_seed_alone() -> None:
    view = tier_view(CHANNEL, SPEAKERS, "channel", IDS)
    first = view_folds(view, IDS, SPEAKERS, 5, 1)
    assert (first == view_folds(view, IDS, SPEAKERS, 5, 1)).all()
    assert (first != view_folds(view, IDS, SPEAKERS, 5, 2)).any()
    assert all(sum(first == f) == 8 for f in range(5))


def test_one_recording_a_speaker_and_no_speakers() -> None:
    alone = tier_view(["a", "b"] * 20, IDS, "accent", IDS)
    assert (alone.grouping, "one recording" in alone.reason) == ("utterance", True)
    unknown = tier_view(["a", "b"] * 20, [None] * 40, "accent", IDS)
    assert (unknown.grouping, "no speakers are known" in unknown.reason) == ("utterance", True)
    with pytest.raises(UsageError, match="'speaker' does not differ"):
        tier_view(IDS, IDS, "speaker", IDS)


def test_rare_classes_and_rows_without_a_label_go_with_a_notice() -> None:
    accents = ["x" if s in ("s0", "s1") else "y" for s in SPEAKERS]
    accents = ["z" if s == "s7" else a for s, a in zip(SPEAKERS, accents, strict=True)]
    values: list[Any] = [None, "", *accents[2:]]
    view = tier_view(values, SPEAKERS, "accent", IDS)
    assert view.grouping == "speaker"
    assert view.facts["dropped"] == {"no value": 2, "classes with one speaker": 5}
    assert view.facts["classes"] == {"x": 8, "y": 25}
    assert view.kept.tolist() == list(range(2, 35))
    assert "z" in view.notices[0]
    assert view.columns == ("accent=x",)


def test_settings_may_ask_for_held_out_speakers() -> None:
    channel = tier_view(CHANNEL, SPEAKERS, "channel", IDS)
    stricter = by_speaker_if_asked(channel, SPEAKERS, "speaker")
    assert stricter.grouping == "speaker"
    assert spread(view_folds(stricter, IDS, SPEAKERS, 4, 0), SPEAKERS) == 1
    assert by_speaker_if_asked(channel, SPEAKERS, "utterance") is channel
    speaker = tier_view(SPEAKERS, SPEAKERS, "speaker", IDS)
    assert by_speaker_if_asked(speaker, SPEAKERS, "speaker") is speaker


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0, math.nan, 2.0], "'t' of recording 'b' is not finite"),
        ([1.0, "x", 2.0], "a number in some recordings and text in others"),
        ([{"a": 1}, {"a": 2}, {"a": 3}], "'t' of recording 'a' is no single value"),
        ([2, 2, 2], "does not differ"),
        (["p", "p", "p"], "does not differ"),
        (["p", "q", "r"], "does not differ"),  # none can be held out
        ([None, None, None], "no recording has a value"),
    ],
)
def test_tiers_that_are_no_view(values: list[Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tier_view(values, None, "t", ["a", "b", "c"])


def test_truth_values_and_digits_are_names() -> None:
    view = tier_view([True, False] * 20, SPEAKERS, "whisper", IDS)
    assert view.classes is not None
    assert set(view.classes) == {"True", "False"}
    digits = tier_view(["1", "2"] * 20, SPEAKERS, "chapter", IDS)
    assert digits.facts["kind"] == "classes"


# -- tables ------------------------------------------------------------------------------------


def write(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def both(view: RowView) -> tuple[list[int], list[list[float]]]:
    return view.kept.tolist(), view.matrix.tolist()


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables_by_utterance(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {
            "utterance": [f"u{i}" for i in range(39, 1, -1)],  # any order, two missing
            "snr": [float(i) for i in range(39, 1, -1)],
            "room": [("hall", "box")[i % 2] for i in range(39, 1, -1)],
        }
    )
    table = read_values(write(tmp_path / f"t.{kind}", frame))
    assert (table.key, list(table.values)) == ("utterance", ["snr", "room"])
    snr = table_view(table, IDS, SPEAKERS, "snr")
    assert both(snr) == (list(range(2, 40)), [[float(i)] for i in range(2, 40)])
    assert snr.facts["dropped"] == {"not in the table": 2}
    assert "2 of 40 recordings" in snr.notices[0]
    room = table_view(table, IDS, SPEAKERS, "room")
    assert room.classes == tuple(("hall", "box")[i % 2] for i in range(2, 40))
    whole = table_view(table, IDS, SPEAKERS)
    assert whole.columns == ("snr", *room.columns)
    np.testing.assert_array_equal(whole.matrix, np.hstack([snr.matrix, room.matrix]))
    assert whole.grouping == "utterance"
    with pytest.raises(UnknownNameError, match="did you mean 'snr'"):
        table_view(table, IDS, SPEAKERS, "snrs")


def test_tables_by_speaker(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"Speaker": [f"s{i}" for i in range(7)], "height": [1.5 + i / 10 for i in range(7)]}
    )
    table = read_values(write(tmp_path / "t.csv", frame))
    view = table_view(table, IDS, SPEAKERS)
    assert view.grouping == "speaker"
    assert view.facts["dropped"] == {"not in the table": 5}
    np.testing.assert_allclose(view.matrix[:, 0], [1.5 + i / 10 for i in range(7) for _ in "12345"])


def test_one_column_of_speakers_decides_for_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"utterance": IDS, "gender": GENDER, "snr": range(40), "same": 1})
    view = table_view(read_values(write(tmp_path / "t.csv", frame)), IDS, SPEAKERS)
    assert view.grouping == "speaker"
    assert "gender is constant" in view.reason
    assert view.columns == ("gender=M", "snr") or view.columns == ("gender=F", "snr")
    assert "same" in view.notices[0]


def test_empty_cells_are_counted_and_nan_is_refused(tmp_path: Path) -> None:
    csv = tmp_path / "t.csv"
    csv.write_text("utterance,x\nu0,1\nu1,\nu2,3\nu3,4\n")
    view = table_view(read_values(csv), IDS[:4], None, "x")
    assert view.kept.tolist() == [0, 2, 3]
    assert view.facts["dropped"] == {"empty cell": 1}
    for text in ("nan", "inf", "-Infinity"):
        csv.write_text(f"utterance,x\nu0,1\nu1,{text}\n")
        with pytest.raises(UsageError, match=r"t\.csv, column 'x', row 3: not finite"):
            read_values(csv)
    parquet = tmp_path / "t.parquet"
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"utterance": ["u0", "u1"], "x": [1.0, math.nan]}), parquet)
    with pytest.raises(UsageError, match=r"t\.parquet, column 'x', row 2: not finite"):
        read_values(parquet)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id,x\nu0,1\n", "says not whose values"),
        ("utterance\nu0\n", "no column of values"),
        ("utterance,x\nu0,1\nu0,2\n", r"row 3: 'u0' stands there twice(.|\n)*row 2"),
        ("utterance,x\n,1\n", "column 'utterance', row 2: empty"),
        ("utterance,x\nu0,1\nu1,a\n", "column 'x', row 3: numbers and text are mixed"),
        ("utterance,x\nu0,1\nu1,2,3\n", "row 3: not as many cells"),
        ("utterance,x,x\nu0,1,2\n", "columns need names"),
        ("utterance,x\n", "has no rows"),
        ("utterance,x\nz0,1\nz1,2\n", "values for none of the recordings"),
        ("utterance,x\nu0,1\nu1,1\n", "does not differ"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=says):
        table_view(read_values(path), IDS, SPEAKERS)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match="no table that can be read"):
        read_values(path)
    bad = tmp_path / "t.parquet"
    bad.write_text("not parquet")
    with pytest.raises(UsageError, match="is no parquet table"):
        read_values(bad)
    latin = tmp_path / "t.csv"
    latin.write_bytes("utterance,x\nu0,é\n".encode("latin-1"))
    with pytest.raises(UsageError, match="no csv in UTF-8"):
        read_values(latin)
