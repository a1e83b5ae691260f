"""NIST CTM: ``recording channel start duration label [confidence]`` a line (sclite manual)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from voxstrata.corpora.alignments.text import malformed, number, read_text
from voxstrata.types import Segment

FORM = "recording channel start duration label [confidence]"


def read_ctm(path: str | Path) -> dict[str, tuple[Segment, ...]]:
    """Spans by recording, sorted by time; ``;;`` begins a comment.

    Channels of one recording are read together. Alternatives (``<ALT>`` lines) are refused.

    Raises:
        LabelError: the file is missing, or a line is malformed (it is named).
    """
    file = Path(path)
    spans: dict[str, list[Segment]] = defaultdict(list)
    for line, text in enumerate(read_text(file).splitlines(), 1):
        words = text.split(";;", 1)[0].split()
        if not words:
            continue
        if not 5 <= len(words) <= 8 or words[2].startswith("<") or words[3].startswith("<"):
            raise malformed(file, line, repr(text.strip()), FORM)
        start = number(words[2], file, line, f"{FORM}, start in seconds")
        length = number(words[3], file, line, f"{FORM}, duration in seconds")
        if start < 0 or length < 0:
            raise malformed(file, line, f"start {start}, duration {length}", "no negative times")
        # Sums of decimals: 0.2 + 0.17 is meant to be 0.37.
        spans[words[0]].append(Segment(start, round(start + length, 8), words[4]))
    return {
        name: tuple(sorted(found, key=lambda s: (s.start_s, s.end_s)))
        for name, found in spans.items()
    }
