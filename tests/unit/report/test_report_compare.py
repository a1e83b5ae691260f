"""Two runs, compared: what is counted as changed, what differs in how they were made, the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from report_made_joined import (
    PLANTED_CURVES,
    PLANTED_PAIRS,
    Pairs,
    write_properties,
    write_similarities,
)
from report_made_verification import write_verification
from report_reading import HOSTILE, Page
from voxstrata.cli import app, commands
from voxstrata.errors import ResultsError, UsageError
from voxstrata.files import read_json, write_json
from voxstrata.report import draw_comparison
from voxstrata.report.compare import (
    BEYOND,
    EQUAL,
    FIRST,
    OPEN,
    SECOND,
    WITHIN,
    Comparison,
    compare_results,
)
from voxstrata.report.compare_page import comparison_html
from voxstrata.report.compare_words import beyond_said, facts_said, numbers_said
from voxstrata.results import Row, load_results, write_results

BASE = Row("s", "m", "1", "", "", "cca-phone", "pwcca", "phone", 0.5, 0.4, 0.6, 90, 9, 8, 4,
           "held-out", 0)  # fmt: skip


def folder(place: Path, rows: list[Row], **record: Any) -> Path:
    told = {
        "job": "properties",
        "config": {"draws": 2, "cca": {"fold": 10}},
        "seed": 0,
        "models": [{"spec": "m", "fingerprint": "f"}],
        "corpus": {"spec": "synthetic:tiny", "fingerprint": "c", "utterances": 90},
        **record,
    }
    write_results(place, rows, told)
    return place


def layers(*rows: Row) -> list[Row]:
    return [replace(row, layer=str(k)) for k, row in enumerate(rows)]


def test_verdicts_by_values_and_intervals(tmp_path: Path) -> None:
    bare = replace(BASE, ci_low=None, ci_high=None)
    nan = float("nan")
    first = layers(BASE, BASE, BASE, BASE, BASE, bare, bare, bare, BASE, replace(bare, value=nan))
    second = layers(
        BASE,
        replace(BASE, value=0.58, ci_low=0.5, ci_high=0.66),  # intervals meet
        replace(BASE, value=0.8, ci_low=0.7, ci_high=0.9),  # and share no point
        replace(bare, value=0.55),  # a value inside the other's interval
        replace(bare, value=0.65),  # and outside of it
        replace(bare, value=0.51),  # nothing to tell by
        bare,
        replace(BASE, value=0.75, ci_low=0.7, ci_high=0.8),  # the first's value is outside
        replace(bare, value=nan),
        replace(bare, value=nan),
    )
    found = compare_results(folder(tmp_path / "a", first), folder(tmp_path / "b", second))
    assert list(found.table["verdict"]) == [
        EQUAL, WITHIN, BEYOND, WITHIN, BEYOND, OPEN, EQUAL, BEYOND, FIRST, EQUAL,
    ]  # fmt: skip
    assert found.table["difference"].iloc[2] == pytest.approx(0.3)
    assert found.table["value_second"].iloc[1] == 0.58
    assert found.table["n_first"].iloc[0] == 90


def test_numbers_of_one_run_alone(tmp_path: Path) -> None:
    other = replace(BASE, control="shuffled-rows", value=0.1)
    found = compare_results(
        folder(tmp_path / "a", [BASE, other]),
        folder(tmp_path / "b", [replace(BASE, layer="2"), replace(BASE, value=0.51)]),
    )
    verdict = {(row["layer"], row["control"]): row["verdict"] for _, row in found.table.iterrows()}
    assert verdict == {("1", ""): WITHIN, ("1", "shuffled-rows"): FIRST, ("2", ""): SECOND}
    assert found.shared == 1
    assert pd.isna(found.table.set_index("layer").loc["2", "value_first"])


def test_another_seed_is_the_same_number_unless_a_run_has_several(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", [BASE], seed=0)
    two = folder(tmp_path / "b", [replace(BASE, seed=1, value=0.52)], seed=1)
    found = compare_results(one, two)
    assert list(found.table["verdict"]) == [WITHIN]
    assert list(found.table["seed_second"]) == [1]
    assert [f.name for f in found.facts if f.kind == "setting"] == ["seed"]
    several = folder(tmp_path / "c", [BASE, replace(BASE, seed=1, value=0.9)])
    found = compare_results(several, several)
    assert list(found.table["verdict"]) == [EQUAL, EQUAL]
    assert sorted(found.table["seed_first"]) == [0, 1]


def test_a_symmetric_pair_may_stand_in_either_order(tmp_path: Path) -> None:
    one = write_similarities(tmp_path / "a", PLANTED_PAIRS)
    turned: Pairs = {(b, j, a, i): v for (a, i, b, j), v in PLANTED_PAIRS.items()}
    turned[next(iter(turned))] += 0.5
    two = write_similarities(tmp_path / "b", turned)
    found = compare_results(one, two)
    assert found.count(EQUAL) == len(PLANTED_PAIRS) - 1
    assert found.count(BEYOND) == 1
    # Where the order means something, they are different numbers.
    directed = [{"name": "cka", "symmetric": False}]
    found = compare_results(
        write_similarities(tmp_path / "c", PLANTED_PAIRS, measures=directed),
        write_similarities(tmp_path / "d", turned, measures=directed),
    )
    assert found.shared == 0


def test_what_was_done_differently(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", [BASE])
    two = folder(
        tmp_path / "b",
        [BASE],
        config={"draws": 3, "cca": {"fold": 10, "ridge": 0.1}},
        models=[{"spec": "m", "fingerprint": "other"}, {"spec": "x", "fingerprint": "y"}],
        corpus={"spec": "synthetic:tiny", "fingerprint": "d", "utterances": 91},
    )
    record = read_json(two / "run.json")
    record["versions"]["numpy"] = "0.0.1"
    write_json(two / "run.json", record)
    found = compare_results(one, two)
    told = {(f.kind, f.name): (f.first, f.second) for f in found.facts}
    numpy = load_results(one).record["versions"]["numpy"]
    assert told == {
        ("setting", "draws"): ("2", "3"),
        ("setting", "cca.ridge"): ("–", "0.1"),
        ("model", "m"): ("fingerprint f", "fingerprint other"),
        ("model", "x"): ("–", "fingerprint y"),
        ("corpus", "fingerprint"): ("c", "d"),
        ("corpus", "utterances"): ("90", "91"),
        ("version", "numpy"): (numpy, "0.0.1"),
    }
    said = facts_said(found)
    assert "2 settings differ: draws and cca.ridge." in said
    assert "1 version differs: numpy." in said
    assert "The machine is the same." in said


def test_sentences_are_made_of_counts(tmp_path: Path) -> None:
    far = replace(BASE, value=0.9, ci_low=0.8, ci_high=0.95)
    a = folder(tmp_path / "a", layers(BASE, BASE, BASE, BASE))
    b = folder(tmp_path / "b", layers(BASE, far, replace(BASE, value=0.51)))
    found = compare_results(a, b)
    assert numbers_said(found) == [
        "Of 3 numbers that both runs have, 1 is equal, 1 differs with intervals that meet, and "
        "1 differs beyond their intervals.",
        f"1 number is only in {a}.",
    ]
    assert beyond_said(found) == "Beyond their intervals: cca-phone (1)."
    same = compare_results(a, a)
    assert numbers_said(same) == ["All 4 numbers that both runs have are equal."]
    assert beyond_said(same) == ""
    assert facts_said(same) == [
        "The settings are the same.",
        "The models are the same.",
        "The corpus is the same.",
        "The versions are the same.",
        "The machine is the same.",
    ]
    nothing = compare_results(folder(tmp_path / "c", []), folder(tmp_path / "d", []))
    assert numbers_said(nothing) == ["Neither run has a number."]
    apart = compare_results(a, folder(tmp_path / "e", [replace(BASE, model="x")]))
    assert numbers_said(apart)[0] == "No number is in both runs."


def two_studies(place: Path) -> tuple[Path, Path]:
    for name, shift in (("one", 0.0), ("two", 0.3)):
        curves = {key: value - shift for key, value in PLANTED_CURVES.items()}
        write_properties(place / name / "properties", curves)
        write_similarities(place / name / "similarity", PLANTED_PAIRS)
    write_verification(place / "two" / "verification")
    return place / "one", place / "two"


def test_parts_of_the_same_name_are_compared(tmp_path: Path) -> None:
    one, two = two_studies(tmp_path)
    found = compare_results(one, two)
    assert found.parts == ("properties", "similarity")
    assert found.alone == (("verification", f"only in {two}"),)
    by_part = found.table.groupby("part")["verdict"].value_counts()
    assert by_part["similarity", EQUAL] == len(PLANTED_PAIRS)
    assert by_part["properties", BEYOND] == len(PLANTED_CURVES)
    assert by_part["properties", EQUAL] == len(PLANTED_CURVES)  # the controls
    assert any("verification is not compared" in text for text in facts_said(found))


def test_a_study_is_read_by_its_record(tmp_path: Path) -> None:
    one, two = two_studies(tmp_path)
    for place in (one, two):
        entries = [{"name": "p", "folder": "properties"}, {"folder": "similarity", "failed": "x"}]
        write_results(place, [BASE], {"job": "study", "analyses": entries})
    found = compare_results(one, two)
    assert found.parts == ("p",)
    assert found.jobs == ("properties",)


def seeded(place: Path, *seeds: int) -> Path:
    """A study with a number that is its seed, in folders as a run names them."""
    entries = []
    for seed in seeds:
        name = "known" if seed == seeds[0] else f"known-seed{seed}"
        folder(place / name, [replace(BASE, value=float(seed), seed=seed)], seed=seed)
        entries.append({"name": "known", "folder": name, "seed": seed, "job": "properties"})
    write_results(place, [BASE], {"job": "study", "analyses": entries})
    return place


@pytest.mark.parametrize(
    ("ours", "theirs", "parts", "alone", "seeds"),
    [
        ((0,), (0, 1), ["known, seed 0"], ["known, seed 1"], [(0, 0)]),
        ((1,), (0, 1), ["known, seed 1"], ["known, seed 0"], [(1, 1)]),
        ((0, 1), (1, 0), ["known, seed 0", "known, seed 1"], [], [(0, 0), (1, 1)]),
        ((0,), (0,), ["known"], [], [(0, 0)]),
        ((0,), (1,), ["known"], [], [(0, 1)]),  # none in common: the first of each
        ((0,), (2, 1), ["known, seed 0 against 2"], ["known, seed 1"], [(0, 2)]),
    ],
)
def test_parts_of_a_study_are_matched_by_seed_not_by_folder(
    tmp_path: Path,
    ours: tuple[int, ...],
    theirs: tuple[int, ...],
    parts: list[str],
    alone: list[str],
    seeds: list[tuple[int, int]],
) -> None:
    found = compare_results(seeded(tmp_path / "a", *ours), seeded(tmp_path / "b", *theirs))
    assert list(found.parts) == parts
    assert [name for name, _ in found.alone] == alone
    rows = found.table[["value_first", "value_second"]]
    assert list(rows.itertuples(index=False, name=None)) == seeds
    told = [fact for fact in found.facts if fact.name == "seed"]
    assert len(told) == sum(a != b for a, b in seeds), "another seed is told as a setting"


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = folder(tmp_path / "a", [BASE])
    with pytest.raises(UsageError, match="different kinds"):
        compare_results(one, write_verification(tmp_path / "v"))
    with pytest.raises(ResultsError, match="no finished results"):
        compare_results(one, tmp_path / "absent")
    studies = two_studies(tmp_path / "s")
    with pytest.raises(UsageError, match="a single run and a folder of several"):
        compare_results(one, studies[0])
    folder(tmp_path / "other" / "x", [BASE])
    with pytest.raises(UsageError, match="no part of the same name"):
        compare_results(tmp_path / "other", studies[0])
    twice = folder(tmp_path / "twice", [BASE, BASE])
    with pytest.raises(ResultsError, match="two numbers for one thing"):
        compare_results(one, twice)


def compared(place: Path) -> Comparison:
    a = folder(place / "a", layers(BASE, BASE))
    b = folder(place / "b", layers(BASE, replace(BASE, value=0.9, ci_low=0.8, ci_high=0.95)))
    return draw_comparison(a, b, place / "page.html")


def test_the_page_and_the_table(tmp_path: Path) -> None:
    found = compared(tmp_path)
    read = pd.read_parquet(tmp_path / "page.parquet")
    assert list(read["verdict"]) == [EQUAL, BEYOND]
    csv = pd.read_csv(tmp_path / "page.csv")
    assert csv["difference"].tolist() == pytest.approx([0.0, 0.4])
    text = (tmp_path / "page.html").read_text()
    words = " ".join(Page(text).words.split())
    assert numbers_said(found)[0] in words
    assert "0.9 0.8 to 0.95" in words or "0.90.8 to 0.95" in words
    assert "data:image/svg+xml;base64," in text


def test_names_are_escaped(tmp_path: Path) -> None:
    rows = [replace(BASE, model=HOSTILE, layer=HOSTILE, property=HOSTILE)]
    a = folder(tmp_path / "a", rows, models=[{"spec": HOSTILE, "fingerprint": HOSTILE}])
    b = folder(tmp_path / "b", [replace(r, value=0.9, ci_low=0.85) for r in rows],
               config={HOSTILE: HOSTILE})  # fmt: skip
    text = comparison_html(compare_results(a, b))
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert page.words.count(HOSTILE) >= 4
    assert len(page.scripts) == 3


def test_the_command(tmp_path: Path) -> None:
    compared(tmp_path)
    commands.attach(app)
    run = CliRunner().invoke(
        app,
        ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "o.html")],
    )
    assert run.exit_code == 0, run.output
    said = " ".join(run.output.split())
    assert "1 differs beyond their intervals." in said
    assert "Beyond their intervals: cca-phone (1)." in said
    assert (tmp_path / "o.html").exists()
    assert json.loads(pd.read_parquet(tmp_path / "o.parquet").to_json())["verdict"]["1"] == BEYOND


def test_verdicts_of_two_studies_stand_side_by_side(tmp_path: Path) -> None:
    from report_made_study import SUPPORTED, UNSURE, write_study

    one, two = write_study(tmp_path / "one"), write_study(tmp_path / "two")
    write_json(two / "claims.json", [{**SUPPORTED, "verdict": "cannot tell"}])
    found = compare_results(one, two)
    assert found.claims == (
        (SUPPORTED["title"], "supported", "cannot tell"),
        (UNSURE["title"], "cannot tell", "–"),
    )
    page = tmp_path / "page.html"
    draw_comparison(one, two, page)
    text = page.read_text()
    assert "Do the claims fare differently?" in text
    assert "<img src=x" not in text
