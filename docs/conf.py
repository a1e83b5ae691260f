"""Sphinx settings of the documentation site: `make docs` builds it into `build/docs`."""

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import voxstrata

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "voxstrata"
author = "The voxstrata authors"
copyright = author
version = release = voxstrata.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "mathml",
    "offline",
]
root_doc = "index"
exclude_patterns = ["_ext"]
nitpicky = False
suppress_warnings = [
    "ref.python",  # a type in a signature may have the name of several things ("Wave", "name")
]

html_theme = "furo"
html_title = f"voxstrata {release}"
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
highlight_language = "none"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def keep_bars(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _opts: Any, lines: list[str]
) -> None:
    """Bars in docstrings are norms and absolute values, never substitutions."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "`".join(parts)


def without_absent(app: Sphinx, name: str, source: list[str]) -> None:
    """The first page lists the page of studies if there is one."""
    if name == root_doc and not Path(app.srcdir, "studies.md").exists():
        source[0] = source[0].replace("\nstudies\n", "\n")


def setup(app: Sphinx) -> None:
    """What a list of settings cannot say; called by Sphinx."""
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("source-read", without_absent)
