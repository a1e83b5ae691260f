"""The page: whole, offline, escaped; with much, little and nothing to show."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report_made import MADE, made_record, made_rows, made_view
from report_reading import HOSTILE, Page
from voxstrata.report.pack import SCALE, pack_facet, pack_paths
from voxstrata.report.page import page_html
from voxstrata.report.section import SECTIONS, json_for_script


@pytest.fixture(scope="module")
def typical(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    text = page_html(made_view(tmp_path_factory.mktemp("typical")))
    return text, Page(text)


def test_every_section_is_there(typical: tuple[str, Page]) -> None:
    _, page = typical
    of_others = {"curves", "peaks", "left-out", "verification", "training", "answers", "parts"}
    of_others |= {"probing", "probing-claims", "probing-layers", "neurons", "neurons-strongest"}
    of_others |= {"neurons-shared", "neurons-stability", "neurons-clusters"}
    of_others |= {"neurons-ranked", "pruning", "protection", "probing-summed"}
    assert of_others < set(SECTIONS.names())
    for name in SECTIONS.names():
        assert page.with_id(name) == (name not in of_others)
    for text in ("hubert-base-ls960", "12 min 47 s", "nothing was learned", "the file is empty"):
        assert text in page.words
    for text in ("fedcba9876543210", "94,371,712", "10 folds of moments", "voxstrata similarity"):
        assert text in page.words
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert "results.csv" in links
    assert "figures/cka-debiased-frame.pdf" in links


def test_nothing_is_loaded_from_anywhere(typical: tuple[str, Page]) -> None:
    text, page = typical
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert name not in attributes, (tag, attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
        if tag == "a":
            href = attributes["href"] or ""
            assert href.startswith(("https://arxiv.org/", "#")) or ":" not in href
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_policy_allows_exactly_our_scripts(typical: tuple[str, Page]) -> None:
    _, page = typical
    policy = next(
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    run = [text for attributes, text in page.scripts if "type" not in attributes]
    assert len(run) == 2
    for script in run:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.count("sha256-") == 2


def test_size(typical: tuple[str, Page], tmp_path: Path) -> None:
    assert len(typical[0]) < 1_500_000
    large = [(f"large-{k}", 25, 1024, None) for k in range(6)]
    rows = made_rows(large, units=("frame",), estimators=("debiased",))
    view = made_view(tmp_path, rows, made_record(large))
    facet = view.facets[0]
    each = len(json_for_script([pack_facet(view, facet), pack_paths(view, facet)]))
    four = len(page_html(view)) + 3 * each
    assert four < 3_000_000, "four measures or units of six models of 25 layers"


def test_names_are_escaped(tmp_path: Path) -> None:
    models: list[tuple[str, int, int, list[str] | None]] = [
        (HOSTILE, 2, 4, [HOSTILE, "<b>1</b>"]),
        ("<i>m</i>", 2, 4, None),
    ]
    record = made_record(
        models,
        command=HOSTILE,
        study=HOSTILE,
        notices=[HOSTILE],
        config={HOSTILE: HOSTILE},
        plan=[{"unit": HOSTILE, "reason": HOSTILE, HOSTILE: HOSTILE}],
        measures=[{"name": "cka", "summary": HOSTILE, "reference": HOSTILE, "needs": HOSTILE}],
        versions={HOSTILE: HOSTILE},
    )
    record["corpus"] = {
        "spec": HOSTILE,
        "name": HOSTILE,
        "skipped": [{"id": HOSTILE, "what": HOSTILE}],
        "details": {HOSTILE: HOSTILE},
    }
    record["models"][0] |= {"family": HOSTILE, "fingerprint": HOSTILE}
    rows = [replace(r, study=HOSTILE) for r in made_rows(models)]
    rows += [replace(r, measure=HOSTILE, estimator=HOSTILE, unit=HOSTILE) for r in rows[:1]]
    page = Page(page_html(made_view(tmp_path, rows, record)))
    assert len(page.scripts) == 3
    assert not any(tag in ("img", "b1", "i") and a for tag, a in page.tags)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.words.count(HOSTILE) > 10, "shown as text"
    assert page.data["models"][0]["spec"] == HOSTILE


def test_json_cannot_end_a_script() -> None:
    text = json_for_script({"a": "</script><!-- & \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}
    with pytest.raises(ValueError, match="JSON"):
        json_for_script(float("nan"))


def test_packed_values_come_back(tmp_path: Path) -> None:
    view = made_view(tmp_path)
    facet = view.facets[1]
    packed = json.loads(json_for_script(pack_facet(view, facet)))
    size = len(facet.layers)
    for i, j in [(0, 0), (0, 5), (3, 7), (10, 30), (size - 1, size - 1)]:
        k = i * size - i * (i - 1) // 2 + (j - i)
        assert packed["value"][k] / SCALE == pytest.approx(facet.value[i, j], abs=1e-4)
        low = (packed["value"][k] - packed["below"][k]) / SCALE
        assert low == pytest.approx(facet.low[i, j], abs=2e-4)
    assert len(packed["value"]) == size * (size + 1) // 2
    assert packed["n"] == 32


def test_missing_and_nan_cells_are_told_apart(tmp_path: Path) -> None:
    rows = made_rows(MADE[:1], units=("frame",), estimators=("debiased",))
    rows[1] = replace(rows[1], value=float("nan"), ci_low=None, ci_high=None)
    del rows[3]
    view = made_view(tmp_path, rows, made_record(MADE[:1]))
    packed = pack_facet(view, view.facets[0])
    assert packed["value"][1] is None
    assert packed["value"][3] is False
    page = Page(page_html(view))
    assert "gave no finite value" in page.words
    assert "not compared" in page.words


@pytest.mark.parametrize(
    ("models", "present", "absent"),
    [
        (MADE[:1], ["matrix", "pairs", "steps"], ["paths"]),
        (MADE[4:], ["matrix"], ["pairs", "paths", "steps"]),
        (MADE[3:], ["matrix", "pairs", "paths", "steps"], []),
    ],
)
def test_little_to_show(tmp_path: Path, models: Any, present: list[str], absent: list[str]) -> None:
    page = Page(page_html(made_view(tmp_path, made_rows(models), made_record(models))))
    assert [name for name in present if not page.with_id(name)] == []
    assert [name for name in absent if page.with_id(name)] == []


def test_no_intervals_and_no_record(tmp_path: Path) -> None:
    view = made_view(tmp_path, made_rows(spread=None), {})
    page = Page(page_html(view))
    assert "No value has an interval" in page.words
    assert set(page.data["facets"][0]["below"]) == {None}


def test_no_similarity_at_all(tmp_path: Path) -> None:
    rows = [replace(r, property="SID", other_model="") for r in made_rows(MADE[4:])]
    page = Page(page_html(made_view(tmp_path, rows)))
    assert "no similarity between layers" in page.words
    assert page.with_id("run")
    assert not page.with_id("matrix")
