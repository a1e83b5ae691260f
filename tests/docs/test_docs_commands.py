"""Every command line in the documentation could be typed: no command, option or number is wrong."""

from __future__ import annotations

import pytest

from docs_commands import words, wrong
from docs_reading import ROOT, pages, parsed, read, typed


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    blocks, quoted = read(page)
    faults = []
    for block in blocks:
        for line, text in typed(block):
            given = words(text)
            faults += [f"line {line}: {one}" for one in wrong(given)] if given else []
    for line, text in quoted:
        given = words(text.replace("\n", " "))
        faults += [f"line {line}: {one}" for one in wrong(given, whole=False)] if given else []
    assert not faults, "\n".join([str(page.relative_to(ROOT)), *faults])


def test_there_are_commands_to_check():
    found = [
        text
        for page in pages()
        for block in read(page)[0]
        for _, text in typed(block)
        if words(text)
    ]
    assert len(found) > 60
    assert {"demo", "similarity", "properties", "probe", "neurons"} <= {
        words(text)[1] for text in found if len(words(text)) > 1
    }


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("voxstrata similarty a -c b", "no command 'similarty'"),
        ("voxstrata similarity a --corpsu b", "no option '--corpsu'"),
        ("voxstrata --verison", "no command '--verison'"),
        ("voxstrata similarity a -c b --measure cka,pwca", "'pwca' is not known"),
        ("voxstrata properties a -c b -p cca-fone", "'cca-fone' is not known"),
        ("voxstrata probe a -c b -t sid,spk", "'spk' is not known"),
        ("voxstrata layers out --for asrr", "'asrr' is not known"),
        ("voxstrata report out --overwrite maybe", "no option '--overwrite'"),
        ("voxstrata train x --overwrite maybe", "'maybe' is not known"),
        ("voxstrata similarity a -c b --folds ten", "takes a number, not 'ten'"),
        ("voxstrata similarity a -c", "needs a value"),
        ("voxstrata corpora prepare librispeech FROM", "needs"),
        ("voxstrata demo somewhere", "takes 0 arguments"),
        ("VOXSTRATA_CACHE=x .venv/bin/voxstrata models shwo a", "no command 'shwo'"),
    ],
)
def test_a_fault_is_found(line, fault):
    assert any(fault in one for one in wrong(words(line)))


@pytest.mark.parametrize(
    "line",
    [
        "voxstrata similarity hubert-base log-mel -c ~/speech --folds=5 -o out  # a note",
        "voxstrata corpora prepare NAME SOURCE OUT [--part PART ...]",
        "voxstrata models list                            registered names",
        "voxstrata COMMAND --help",
        "voxstrata --version",
        "voxstrata properties a -c b -p cca-tier:accent,PROPERTY,... -o OUT",
        "voxstrata report OUT OUT2 -o page.html",
    ],
)
def test_what_is_right_passes(line):
    assert wrong(words(line)) == []


def test_continued_lines_and_comments_are_read():
    (block,), _ = parsed("```bash\n$ voxstrata similarity a \\\n    -c b\nls\n```\n")
    assert typed(block) == [(1, "voxstrata similarity a  -c b"), (3, "ls")]
    (block,), _ = parsed("<!-- example: left out: no\nnetwork -->\n```python\nx\n```\n")
    assert (block.how, block.said) == ("left out", "no network")
