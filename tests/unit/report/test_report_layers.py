"""Layers of the page that its reader chooses among, and those of a learned sum."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from matplotlib import style
from matplotlib.figure import Figure

from report_made_neurons import EQUAL, MORE, write_neurons
from report_made_probing import SID, Asked, probing_view
from report_made_properties import (
    ASKED,
    WITH_TWINS,
    property_made_record,
    property_made_rows,
    write_property_made,
)
from report_reading import Page
from voxstrata.report.figures import STYLE, drawn_box, drawn_once, encoded
from voxstrata.report.layer_picks import merged, neurons_of, offered, owner
from voxstrata.report.pack_weights import pack_map, pack_panel
from voxstrata.report.page import page_html
from voxstrata.report.probing_view import SUM, tasks
from voxstrata.report.probing_weights import WEIGHT, seed_weights, weights
from voxstrata.report.section import Section
from voxstrata.report.view import View, read_view
from voxstrata.results import load_results


def data_of(text: str) -> dict[str, object]:
    start = text.index('id="page-data">') + len('id="page-data">')
    return dict(json.loads(text[start : text.index("</script>", start)]))


@pytest.fixture(scope="module")
def properties(tmp_path_factory: pytest.TempPathFactory) -> View:
    asked = ASKED[:2]
    folder = tmp_path_factory.mktemp("properties")
    rows = property_made_rows(WITH_TWINS, asked)
    write_property_made(folder, rows, property_made_record(WITH_TWINS, asked))
    return read_view(load_results(folder))


def test_lists_of_one_model_are_one_and_single_layers_have_none() -> None:
    offers = [("a", ("0", "1")), ("log-mel", ("x",)), ("a", ("1", "2")), ("a, neurons", ("1", "2"))]
    assert merged(offers) == [("a", ["0", "1", "2"]), ("a, neurons", ["1", "2"])]
    assert merged([]) == []


def test_a_twin_follows_its_model(properties: View) -> None:
    twins = [i for i, model in enumerate(properties.models) if model.twin_of is not None]
    assert twins
    for twin in twins:
        of = properties.models[twin].twin_of
        assert of is not None
        assert owner(properties, twin) == owner(properties, of) == properties.models[of].label
    found = dict(merged(offered(properties)))
    trained = [m for m in properties.models if m.twin_of is None]
    several = [
        m.label
        for m in trained
        if sum(properties.models[layer.model] is m for layer in properties.layers) > 1
    ]
    assert list(found) == several


def test_the_page_offers_the_layers_of_its_figures(properties: View, tmp_path: Path) -> None:
    text = page_html(properties)
    given = data_of(text)["picks"]
    assert given == [list(pair) for pair in merged(offered(properties))]
    assert Page(text).with_id("layer-picker")
    view = read_view(load_results(write_neurons(tmp_path, (MORE, EQUAL))))
    found = data_of(page_html(view))["picks"]
    assert isinstance(found, list)
    [(whose, names)] = found
    assert whose == neurons_of(view, 0)
    assert len(names) == len(view.layers)


def test_a_page_without_such_figures_has_no_picker(tmp_path: Path) -> None:
    from report_made_verification import write_verification

    write_verification(tmp_path)
    text = page_html(read_view(load_results(tmp_path)))
    assert data_of(text)["picks"] == []
    assert not Page(text).with_id("layer-picker")


def test_a_section_offers_nothing_unless_it_says_so() -> None:
    assert Section("x", "X", "x", "").layers == ()


def test_scores_weights_and_losses_are_those_of_the_table(tmp_path: Path) -> None:
    view = probing_view(tmp_path, (SID,))
    [task] = tasks(view)
    panel = pack_panel(view, 0, task, seed_weights(view))
    assert panel["layers"] == ["0", "1", "2", "3"]
    score, weight, _, lost = panel["parts"]
    own = [(s["at"], s["y"]) for s in score["spots"] if not s["twin"]]
    assert own == [(0, 30.0), (1, 40.0), (2, 60.0), (3, 80.0)]
    assert [s["y"] for s in score["spots"] if s["twin"]] == [20.0, 22.0, 21.0, 20.0]
    assert score["levels"][0][0] == 85.0, "the sum"
    assert score["bands"] == [[80.0, 90.0]]
    assert score["spots"][-1]["lines"] == [
        "a: score of the layer alone",
        "layer 3",
        "accuracy, %: 80.0",
        "95 % interval 75.0 to 85.0",
    ]
    _, layers, held = weights(view, "a", WEIGHT)
    assert weight["bars"] == [[i, pytest.approx(v)] for i, v in enumerate(held[0])]
    assert weight["levels"][0][0] == 1 / len(layers), "where all would be equal"
    assert len(weight["dots"]) == 3 * len(layers), "three seeds"
    assert [(s["at"], s["hollow"]) for s in lost["spots"]] == [(0, True), (3, False)]
    assert json.dumps(panel, allow_nan=False)


def test_the_layer_that_was_trained_at_length_is_a_diamond(tmp_path: Path) -> None:
    asked = Asked(
        "sid",
        "SID",
        {"a": {"2": 0.8, SUM: 0.85}},
        best={"a": "2"},
        screens={"a": {"0": 0.3, "1": 0.4, "2": 0.5}},
    )
    view = probing_view(tmp_path, (asked,))
    panel = pack_panel(view, 0, tasks(view)[0], None)
    spots = panel["parts"][0]["spots"]
    assert [(s["shape"], s["y"]) for s in spots if s["shape"] != "circle"] == [("diamond", 80.0)]
    assert len(spots) == 4
    assert panel["parts"][1]["dots"] == [], "no seeds are known"
    assert "(trained shortly)" in panel["title"]


def test_what_was_not_tried_is_left_out(tmp_path: Path) -> None:
    view = probing_view(tmp_path, (SID,))
    labels = [m.label for m in view.models]
    panel = pack_panel(view, labels.index("m"), tasks(view)[0], None)
    assert [part["title"] for part in panel["parts"]][-1] == "weight times norm"


def test_maps_hold_the_weights(tmp_path: Path) -> None:
    view = probing_view(tmp_path, (SID,))
    found = pack_map(view, 0, WEIGHT)
    titles, layers, held = weights(view, "a", WEIGHT)
    assert (found["tasks"], found["layers"]) == (titles, layers)
    assert found["values"] == [[pytest.approx(v) for v in row] for row in held.tolist()]
    assert found["top"] == held.max()
    assert found["title"] == "weight in the sum (all equal: 0.25)"


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_drawing_once_gives_the_same_file(ending: str) -> None:
    drawn = 0

    class Counted(Figure):
        def draw(self, renderer: object) -> None:
            nonlocal drawn
            drawn += 1
            super().draw(renderer)

    with style.context(["default", STYLE]):
        figure = Counted(figsize=(2, 2), layout="constrained")
        figure.subplots().plot([0, 1], [1, 0], label="x")
        figure.legend(loc="outside lower center")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        box, drawn = drawn_box(figure), 0
        once = encoded(figure, ending, box)
        assert drawn == 1
        buffer = io.BytesIO()
        told = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}, "png": {}}
        figure.savefig(buffer, format=ending, dpi=300, metadata=told[ending], bbox_inches=box)
        assert drawn > 2, "savefig by itself draws twice"
        assert once == buffer.getvalue()
        with pytest.raises(ZeroDivisionError), drawn_once(figure):
            raise ZeroDivisionError
        assert "draw" not in vars(figure)
