"""HTS and HTK label files: ``start end label`` a line, times in units of 100 ns.

Labels are plain phones, triphones (``l-p+r``) or HTS full-context labels
(``ll^l-p+r=rr@...``): the phone stands between ``-`` and ``+`` (HTS full-context label format,
Tokuda et al.). State-level files (labels ending in ``[2]``..) are joined to phones.
"""

from __future__ import annotations

import re
from pathlib import Path

from voxstrata.corpora.alignments.text import malformed, number, read_text
from voxstrata.types import Segment

FORM = "start end label, times in units of 100 ns"
_STATE = re.compile(r"\[(\d{1,9})\]$")
_FULL = re.compile(r"^[^^\s]+\^[^-\s]+-([^+\s]+)\+[^=\s]+=[^@\s]+@")


def phone_of(label: str) -> str:
    """The phone of a plain, triphone or full-context label."""
    full = _FULL.match(label)
    if full:
        return full[1]
    left = label.rsplit("-", 1)[-1] if re.match(r"^[^-+\s]+-[^-+\s]+", label) else label
    return left.split("+", 1)[0] if re.match(r"^[^-+\s]+\+", left) else left


def read_hts(path: Path) -> dict[str, tuple[Segment, ...]]:
    """The ``phones`` tier of a label file.

    Raises:
        LabelError: the file is missing, a line is malformed or runs backwards (it is named).
    """
    spans: list[Segment] = []
    previous: tuple[str, int] | None = None
    for line, text in enumerate(read_text(path).splitlines(), 1):
        words = text.split()
        if not words:
            continue
        if len(words) < 3:
            raise malformed(path, line, repr(text.strip()), FORM)
        start = number(words[0], path, line, FORM)
        end = number(words[1], path, line, FORM)
        if start < 0 or end < start or start != int(start) or end != int(end):
            raise malformed(path, line, f"{words[0]} {words[1]}", f"{FORM}, start <= end")
        # Division of integers gives the decimal that is meant (1300000 is 0.13 s).
        span = Segment(start / 1e7, end / 1e7, "")
        state = _STATE.search(words[2])
        label = words[2][: state.start()] if state else words[2]
        number_of_state = int(state[1]) if state else 0
        joins = (
            state is not None
            and previous is not None
            and previous[0] == label
            and number_of_state > previous[1]
            and bool(spans)
            and spans[-1].end_s == span.start_s
        )
        if joins:
            spans[-1] = Segment(spans[-1].start_s, span.end_s, spans[-1].label)
        else:
            spans.append(Segment(span.start_s, span.end_s, phone_of(label)))
        previous = (label, number_of_state)
    return {"phones": tuple(spans)}
