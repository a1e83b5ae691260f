"""Sphinx settings of the documentation site: `make docs` builds it into `build/docs`."""

import re
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


def as_meant(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Signs that would be markup and are not meant so.

    Bars in docstrings are norms and absolute values, never substitutions; what ends with ``_`` in
    the type of a field is part of a pattern, never a reference.
    """
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "`".join(parts)
        if line.startswith(":vartype"):
            lines[number] = re.sub(r"_(?=\W|$)", r"\_", lines[number])


def setup(app: Sphinx) -> None:
    """What a list of settings cannot say; called by Sphinx."""
    app.connect("autodoc-process-docstring", as_meant)
