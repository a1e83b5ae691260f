"""Examples in the documentation, as the tests read them.

A comment on the line before an example says how it is to be taken:

- ``<!-- example: left out: WHY -->``: it cannot run here;
- ``<!-- example: given NAME, ... -->``: it needs these, made by ``docs_given.py``;
- ``<!-- example: file NAME -->``: it is what a file of that name holds;
- ``<!-- example: raises NAME -->``: it ends with that error or warning, whose message comes next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MARK = re.compile(r"<!--\s*example:\s*(left out|given|file|raises)\b:?\s*(.*?)\s*-->", re.DOTALL)
SHELL = ("", "bash", "sh", "console")


@dataclass(frozen=True)
class Block:
    """One fenced or indented block of a page.

    Attributes:
        page: path from the root of the repository.
        line: number of its first line in the page.
        language: what is written behind the fence.
        text: what it holds.
        how: "left out", "given", "file", "raises"; empty where no comment stands before it.
        said: the rest of that comment.
    """

    page: str
    line: int
    language: str
    text: str
    how: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page of the documentation, the README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def runnable() -> list[Path]:
    """The pages whose Python is run."""
    chosen = [ROOT / "README.md", DOCS / "index.md", DOCS / "from_s3prl.md"]
    return [
        *chosen,
        *sorted((DOCS / "tutorial").glob("*.md")),
        *sorted((DOCS / "howto").glob("*.md")),
    ]


def parsed(text: str, page: str = "page") -> tuple[list[Block], list[tuple[int, str]]]:
    """Blocks of a page, and what stands between backquotes in its text, with line numbers."""
    found: list[Block] = []
    quoted: list[tuple[int, str]] = []
    how, said = "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = (token.map or [0])[0] + 1
        if token.type == "html_block":
            marks = MARK.findall(token.content)
            how, said = marks[-1] if marks else ("", "")
            continue
        if token.type in ("fence", "code_block"):
            language = (token.info.split() or [""])[0]
            found.append(Block(page, line, language, token.content, how, " ".join(said.split())))
        for child in token.children or []:
            if child.type == "code_inline":
                quoted.append((line, child.content))
        how, said = "", ""
    return found, quoted


def read(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """As :func:`parsed`, of a page of this repository."""
    return parsed(page.read_text("utf-8"), str(page.relative_to(ROOT)))


def typed(block: Block) -> list[tuple[int, str]]:
    """Commands in a block as they would be typed: one a line, continued lines joined."""
    if block.language not in SHELL:
        return []
    found, held, start = [], "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        start = start if held else number
        held += line.strip().removeprefix("$ ")
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        found.append((start, held))
        held = ""
    return found
