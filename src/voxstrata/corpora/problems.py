"""What can be wrong with an utterance, and how a heap of such things is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from voxstrata.errors import AudioError, CorpusError, LabelError

Severity = Literal["error", "warning"]

AUDIO_RULES = frozenset(
    {
        "missing-file", "unreadable", "truncated", "empty", "duration", "too-short", "too-long",
        "silent", "nan", "decode", "source",
    }
)  # fmt: skip
"""Rules that speak of the recording itself."""

LABEL_RULES = frozenset(
    {"outside", "negative", "unsorted", "overlap", "missing-tier", "bad-label", "alignment"}
)
"""Rules that speak of labels."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one utterance, manifest line or file.

    Attributes:
        id: utterance it concerns; empty where there is none yet (a malformed line).
        file: recording or manifest (``manifest.jsonl:12`` for line 12).
        what: what is wrong, with the numbers found.
        severity: ``"error"`` (the utterance cannot be used) or ``"warning"`` (it can, with
            care).
        fix: the remedy.
        rule: short name of the check, as listed in ``docs/corpora.md``.
    """

    id: str
    file: str
    what: str
    severity: Severity = "error"
    fix: str = ""
    rule: str = ""

    def __str__(self) -> str:
        where = f"{self.id} ({self.file})" if self.id and self.file else self.id or self.file
        return f"{where}: {self.what}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return asdict(self)


def summary(problems: Iterable[Problem]) -> str:
    """Counts by rule, such as ``"3 missing-file, 1 silent"``."""
    counts = Counter(p.rule or p.severity for p in problems)
    return ", ".join(f"{n} {rule}" for rule, n in counts.most_common())


def listing(problems: Sequence[Problem], most: int = 200) -> str:
    """One line a problem, the first ``most`` of them."""
    lines = [f"- {p}" for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"- ... and {len(problems) - most} more")
    return "\n".join(lines)


def raise_all(problems: Sequence[Problem], where: str) -> None:
    """Raise one error that lists every problem; does nothing when there is none.

    Raises:
        LabelError: all of them concern labels.
        AudioError: all of them concern recordings.
        CorpusError: they are mixed, or concern the manifest.
    """
    if not problems:
        return
    rules = {p.rule for p in problems}
    kind = (
        LabelError if rules <= LABEL_RULES else AudioError if rules <= AUDIO_RULES else CorpusError
    )
    fixes = list(dict.fromkeys(p.fix for p in problems if p.fix))
    raise kind(
        f"{where}: {len(problems)} problem(s): {summary(problems)}",
        got="\n" + listing(problems),
        fix="; ".join([*fixes[:5], 'or go on without them: --on-error skip (on_error="skip")']),
    )
