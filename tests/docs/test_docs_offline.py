"""What the build of the documentation takes for a page that fetches something from elsewhere."""

from __future__ import annotations

import importlib.util

import pytest

from docs_reading import DOCS

SPEC = importlib.util.spec_from_file_location("docs_offline", DOCS / "_ext" / "offline.py")
offline = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(offline)


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "https://cdn.example/x.js"),
        ('<script src="//cdn.example/x.js">', "//cdn.example/x.js"),
        ('<link rel="stylesheet" href="http://a.example/a.css">', "http://a.example/a.css"),
        (
            '<link rel="preload" as="font" href="https://a.example/f.woff2">',
            "https://a.example/f.woff2",
        ),
        ('<img src="https://a.example/i.png">', "https://a.example/i.png"),
        ('<img srcset="i.png, https://a.example/i.png 2x">', "https://a.example/i.png 2x"),
        (
            "<style>@font-face {src: url('https://a.example/f.woff')}</style>",
            "https://a.example/f.woff",
        ),
        ('<p style="background: url(//a.example/b.png)">', "//a.example/b.png"),
        ('<style>@import "https://a.example/a.css";</style>', "https://a.example/a.css"),
        ('<iframe src="https://a.example"></iframe>', "https://a.example"),
        ('<svg><image xlink:href="https://a.example/i.svg"/></svg>', "https://a.example/i.svg"),
    ],
)
def test_what_is_fetched_is_found(page, address):
    assert offline.outside(f"<html><body>{page}</body></html>") == [address]


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://a.example">a link to follow</a>',
        '<link rel="canonical" href="https://a.example/p">',
        '<script src="_static/x.js"></script><img src="data:image/png;base64,AA//BB">',
        "<p>url(https://a.example/in-text.png)</p>",
        '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0"/></svg>',
    ],
)
def test_what_is_not_fetched_is_left_alone(page):
    assert offline.outside(page) == []


def test_style_sheets_are_read():
    assert offline.styles("a {b: url(x.png)} @import url('http://a.example/c.css');") == [
        "http://a.example/c.css"
    ]
