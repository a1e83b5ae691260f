"""Any text that the grammar allows is taken apart into what it was put together from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxstrata.models.spec import _LAYER_NAME, format_spec, parse

WORD = st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True).filter(
    lambda word: word != "random"
)
BASE = st.one_of(WORD, st.builds("{}/{}".format, WORD, WORD)).map("zz-{}".format)
CUT = st.one_of(
    st.integers(0, 999).map(str), st.sampled_from(["conv", "conv7", "block3", "mfa", "pool"])
)
KEY = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
VALUE = st.from_regex(r"[A-Za-z0-9./_-]{0,10}", fullmatch=True)


@given(
    BASE,
    st.booleans(),
    st.none() | WORD,
    st.none() | CUT,
    st.dictionaries(KEY, VALUE, max_size=4),
)
def test_round_trip(
    base: str, random: bool, revision: str | None, cut: str | None, options: dict[str, str]
) -> None:
    if revision is not None and cut is None and _LAYER_NAME.fullmatch(revision):
        revision = f"x{revision}y"
    text = format_spec(base, random, revision, cut, options)
    spec = parse(text)
    assert (spec.base, spec.random, spec.revision, spec.cut) == (base, random, revision, cut)
    assert dict(spec.options) == options
    assert format_spec(spec.base, spec.random, spec.revision, spec.cut, spec.options) == text
