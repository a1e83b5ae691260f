"""The diagram of rooms is the import contract; the table and the reference name every room."""

from __future__ import annotations

import re
import tomllib

from docs_reading import DOCS, ROOT, read

PAGE = DOCS / "architecture.md"


def contract():
    """Rows of rooms as the import contract has them: the rooms, and whether they are apart."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in linter["contracts"] if one["type"] == "layers")
    return [(set(re.split(r"\s*[|:]\s*", row)), ":" not in row) for row in layers]


def drawn(text):
    """Rows of rooms as the diagram has them."""
    rows = [line.strip()[1:-1] for line in text.splitlines() if line.strip().startswith("│")]
    return [({name.strip() for name in re.split("[│╎]", row)}, "╎" not in row) for row in rows]


def rooms():
    """What lies in the package."""
    places = (ROOT / "src" / "voxstrata").iterdir()
    return {
        place.stem
        for place in places
        if not place.name.startswith("_")
        and (place.suffix == ".py" or (place / "__init__.py").exists())
    }


def test_diagram_is_the_import_contract():
    (diagram,) = (block.text for block in read(PAGE)[0] if "┌" in block.text)
    assert drawn(diagram) == contract()


def test_every_room_is_in_contract_table_and_reference():
    listed = set().union(*(names for names, _ in contract()))
    assert rooms() == listed
    table = PAGE.read_text("utf-8").split("| room | what is in it |")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first for name in re.findall("`(.+?)`", cell)} == listed
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"automodule:: voxstrata\.(\w+)", pages))
    assert documented == listed - {"cli"}, "commands.md has the commands"


def test_another_order_is_noticed():
    right = "┌───┐\n│ a   │ b │\n├───┤\n│ c ╎ d │\n└───┘\n"
    assert drawn(right) == [({"a", "b"}, True), ({"c", "d"}, False)]
    assert drawn(right) != drawn(right.replace("╎", "│"))
