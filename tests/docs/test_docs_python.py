"""Python in the README, the tutorial and the how-to pages runs, from top to bottom of each page."""

from __future__ import annotations

import ast
import importlib
import sys
import tomllib

import pytest
import yaml

from docs_given import MAKERS, given
from docs_reading import ROOT, pages, parsed, read, runnable

# Blocks that cannot run here; each says why in the comment before it. None is added by accident.
LEFT_OUT: dict[str, int] = {}


def named(page):
    return str(page.relative_to(ROOT))


def run_page(text, page, home):
    """Run the Python of a page, block after block, in one namespace.

    Returns:
        how many blocks ran, and how many were left out.
    """
    names = {"__name__": "__main__"}
    ran = left = 0
    for block in parsed(text, page)[0]:
        if block.language != "python":
            continue
        if block.how == "left out":
            assert block.said, f"{block.place}: it is not said why this is left out"
            left += 1
        elif block.how == "file":
            (home / block.said).write_text(block.text)
        else:
            assert block.how in ("", "given"), f"{block.place}: nothing here checks what it raises"
            for name in block.said.split(", ") if block.how else ():
                given(name, names, home)
            # So that a traceback names the page and its line.
            code = compile("\n" * block.line + block.text, str(ROOT / page), "exec")
            exec(code, names)
            ran += 1
    return ran, left


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home that is also the working folder, importable, with an empty cache of the hub."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        place = getattr(sys.modules[name], "__file__", None) or ""
        if place.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def registries(monkeypatch):
    """What an example registers is forgotten afterwards."""
    from voxstrata.models.family import FAMILIES
    from voxstrata.similarity.registry import MEASURES

    for registry in (FAMILIES, MEASURES):
        registry.names()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_objects", dict(registry._objects))


@pytest.mark.parametrize("page", [p for p in runnable() if "```python" in p.read_text()], ids=named)
def test_python_of_a_page_runs(page, home, registries):
    ran, left = run_page(page.read_text("utf-8"), named(page), home)
    assert left == LEFT_OUT.get(named(page), 0)
    assert ran > 0 or left


@pytest.mark.parametrize("page", [p for p in pages() if "```python" in p.read_text()], ids=named)
def test_python_of_every_page_is_python_and_names_what_there_is(page):
    for block in read(page)[0]:
        if block.language != "python":
            continue
        tree = ast.parse(block.text, block.place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("voxstrata"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("voxstrata"):
                        importlib.import_module(alias.name)


def test_a_block_that_fails_is_noticed(tmp_path):
    with pytest.raises(AssertionError):
        run_page("```python\na = 1\n```\n\n```python\nassert a == 2\n```\n", "README.md", tmp_path)
    with pytest.raises(AssertionError, match="not said why"):
        run_page("<!-- example: left out: -->\n```python\nx\n```\n", "README.md", tmp_path)


def test_what_is_given_is_known():
    asked = {
        name
        for page in pages()
        for block in read(page)[0]
        if block.how == "given"
        for name in block.said.split(", ")
    }
    assert asked <= set(MAKERS)
    assert set(MAKERS) <= asked, "made for no example"


@pytest.mark.parametrize("page", [p for p in pages() if "```" in p.read_text()], ids=named)
def test_settings_on_a_page_can_be_read(page):
    for block in read(page)[0]:
        if block.language == "yaml":
            assert yaml.safe_load(block.text), block.place
        elif block.language == "toml":
            assert tomllib.loads(block.text), block.place
