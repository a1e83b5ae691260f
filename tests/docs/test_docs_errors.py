"""The page of errors: every class is there, and its example raises the message that is printed."""

from __future__ import annotations

import inspect
import re
import signal
import sys
import warnings

import pytest

from docs_reading import DOCS, read
from voxstrata import errors

PAGE = DOCS / "errors.md"


def classes():
    """Every class that voxstrata raises or warns with, the base of errors apart."""
    found = inspect.getmembers(errors, inspect.isclass)
    return {
        name
        for name, kind in found
        if kind.__module__ == errors.__name__
        and issubclass(kind, (errors.VoxstrataError, errors.VoxstrataWarning))
        and kind is not errors.VoxstrataError
    }


def as_printed(expected, message):
    """Whether a message is the one on the page, in which ``...`` stands for anything."""
    parts = [re.escape(part) for part in expected.strip().split("...")]
    return re.fullmatch(".*".join(parts), message.strip(), re.DOTALL) is not None


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = sys.modules.get("espeakng_loader")
    yield
    if before is None:
        sys.modules.pop("espeakng_loader", None)
    else:
        sys.modules["espeakng_loader"] = before


@pytest.fixture
def interruptible():
    """Ctrl-C is heard: shells start background jobs with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_examples_raise_what_the_page_prints(elsewhere, interruptible):
    blocks = read(PAGE)[0]
    names = {"__name__": "__main__"}
    seen = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python":
            continue
        code = compile("\n" * block.line + block.text, str(PAGE), "exec")
        if not block.how:
            exec(code, names)
            continue
        assert block.how == "raises", block.place
        kind = getattr(errors, block.said)
        with warnings.catch_warnings():
            warnings.simplefilter("error", errors.VoxstrataWarning)
            with pytest.raises(kind) as caught:
                exec(code, names)
        assert type(caught.value) is kind, block.place
        assert following is not None
        assert following.language == "text", block.place
        message = str(caught.value)
        assert as_printed(following.text, message), f"{block.place} prints:\n{message}"
        seen.append(block.said)
    assert len(seen) == len(set(seen))
    assert set(seen) == classes()


def test_every_class_has_a_section_and_a_remedy():
    text = PAGE.read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == classes()
    for name, section in sections.items():
        assert "**Remedy.**" in section, name
        assert f"](#{name.lower()})" in text, f"{name} is not in the table"


def test_a_message_that_differs_is_noticed():
    assert as_printed("a\n  got: ...b", "a\n  got: 1\n2 b")
    assert not as_printed("a\n  got: ...b", "a\n  got: c")
    assert not as_printed("a", "a.")
