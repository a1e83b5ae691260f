"""A corpus: recordings and tiers, with lhotse cuts inside."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.corpora import selection
from voxstrata.corpora.cuts import need_lhotse, utterance, write_cuts
from voxstrata.corpora.fingerprints import corpus_print
from voxstrata.corpora.problems import Problem
from voxstrata.errors import CorpusError
from voxstrata.files import write_json
from voxstrata.types import Utterance

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut


class Corpus:
    """Speech and its labels, ready for a pass. Immutable; selections are new corpora.

    Attributes:
        name: short name.
        spec: the text it was opened by; selections append to it.
        skipped: problems (of severity ``"error"``) whose utterances were left out.
        problems: what its source found, errors and warnings.
        details: JSON-like facts for the run record.
    """

    def __init__(
        self,
        name: str,
        cuts: Iterable[Cut],
        *,
        spec: str = "",
        skipped: Iterable[Problem] = (),
        problems: Iterable[Problem] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.spec = spec or name
        self._cuts: tuple[Cut, ...] = tuple(cuts)
        self.skipped: tuple[Problem, ...] = tuple(skipped)
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.details: dict[str, object] = dict(details or {})
        if not self._cuts:
            raise CorpusError(
                f"the corpus {self.spec} is empty",
                got=f"no usable utterance; {len(self.skipped)} left out",
                expected="at least one",
                fix="see what is wrong with `voxstrata corpora validate`" if self.skipped else "",
            )

    @cached_property
    def cuts(self) -> CutSet:
        """The lhotse cuts, one an utterance."""
        need_lhotse()
        from lhotse import CutSet

        return CutSet.from_cuts(self._cuts)

    @cached_property
    def utterances(self) -> tuple[Utterance, ...]:
        """The utterances, in order; spans of interval tiers are made when they are asked for."""
        return tuple(utterance(cut) for cut in self._cuts)

    def __len__(self) -> int:
        return len(self._cuts)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __repr__(self) -> str:
        return (
            f"Corpus({self.name!r}: {len(self)} utterances, {self.seconds:.1f} s, "
            f"{len(self.speakers)} speakers, tiers {', '.join(self.tiers()) or 'none'})"
        )

    @cached_property
    def seconds(self) -> float:
        """Total length in seconds."""
        return math.fsum(cut.duration for cut in self._cuts)

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """Names in the tier ``speaker``, sorted."""
        return tuple(
            sorted({str(u.tiers["speaker"]) for u in self.utterances if "speaker" in u.tiers})
        )

    def tiers(self) -> dict[str, int]:
        """How many utterances have each tier, most first."""
        counts = Counter(name for u in self.utterances for name in u.tiers)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the content (see :mod:`voxstrata.corpora.fingerprints`)."""
        return corpus_print(self._cuts)

    def derive(
        self,
        cuts: Iterable[Cut],
        *,
        note: str = "",
        problems: Iterable[Problem] | None = None,
        skipped: Iterable[Problem] | None = None,
    ) -> Corpus:
        """A corpus of other cuts with this one's name and facts.

        Raises:
            CorpusError: there are no cuts.
        """
        return Corpus(
            self.name,
            cuts,
            spec=f"{self.spec}|{note}" if note else self.spec,
            skipped=self.skipped if skipped is None else skipped,
            problems=self.problems if problems is None else problems,
            details=self.details,
        )

    def _pick(self, indices: Iterable[int], note: str) -> Corpus:
        return self.derive((self._cuts[i] for i in indices), note=note)

    def subset(
        self,
        *,
        utterances: int | None = None,
        seconds: float | None = None,
        speakers: int | None = None,
        per_speaker: int | None = None,
        seed: int = 0,
    ) -> Corpus:
        """A seeded subset, in the order of the corpus.

        The limits apply in this order: ``speakers`` chosen, of each at most ``per_speaker``
        utterances, of these exactly ``utterances``, of these as many (in seeded order) as fit
        into ``seconds``. With one limit, a smaller subset lies within a larger one.

        Raises:
            UsageError: a limit is not positive, or asks for more than there is.
            LabelError: speakers are wanted and an utterance has none.
        """
        asked = {
            "utterances": utterances,
            "seconds": seconds,
            "speakers": speakers,
            "per_speaker": per_speaker,
        }
        indices = selection.choose(
            self.utterances,
            utterances=utterances,
            seconds=seconds,
            speakers=speakers,
            per_speaker=per_speaker,
            seed=seed,
        )
        shown = ",".join(f"{k}={v}" for k, v in asked.items() if v is not None)
        return self._pick(indices, f"subset({shown},seed={seed})")

    def split(
        self, parts: Mapping[str, float], *, by: str = "speaker", seed: int = 0
    ) -> dict[str, Corpus]:
        """Seeded parts that share no group.

        Args:
            parts: fraction of the **groups** by part name; together at most 1. Counts are exact
                (largest remainders).
            by: ``"speaker"`` (no speaker in two parts), ``"utterance"``, or any scalar tier.
            seed: which split.

        Raises:
            UsageError: fractions do not add up, or a part would be empty.
            LabelError: an utterance lacks the tier.
        """
        found = selection.divide(self.utterances, parts, by, seed)
        return {
            part: self._pick(indices, f"split({part}={parts[part]:g},by={by},seed={seed})")
            for part, indices in found.items()
        }

    def filter(
        self,
        keep: Callable[[Utterance], bool] | None = None,
        *,
        min_s: float | None = None,
        max_s: float | None = None,
        has: str | Collection[str] = (),
        **tiers: Any,
    ) -> Corpus:
        """The utterances that fit.

        Args:
            keep: a condition of your own.
            min_s: shortest length, seconds.
            max_s: longest length, seconds.
            has: tiers an utterance must have.
            **tiers: value, or collection of values, a tier must have: ``gender="F"``,
                ``speaker=["1688", "1998"]``.

        Raises:
            CorpusError: nothing is left.
        """
        needed = (has,) if isinstance(has, str) else tuple(has)

        def fits(u: Utterance) -> bool:
            return (
                (min_s is None or u.duration_s >= min_s)
                and (max_s is None or u.duration_s <= max_s)
                and all(name in u.tiers for name in needed)
                and all(_matches(u.tiers.get(name), value) for name, value in tiers.items())
                and (keep is None or keep(u))
            )

        asked = {"min_s": min_s, "max_s": max_s, **tiers}
        shown = [f"{k}={v}" for k, v in asked.items() if v is not None]
        shown += [f"has={'+'.join(needed)}"] if needed else []
        shown += ["keep=..."] if keep is not None else []
        indices = [i for i, u in enumerate(self.utterances) if fits(u)]
        return self._pick(indices, f"filter({','.join(shown)})")

    def save(self, folder: str | Path) -> Path:
        """Write ``cuts.jsonl.gz`` and ``saved.json``; :func:`load_corpus` opens the folder.

        Audio is referred to by absolute path, not copied.

        Returns:
            the cut manifest.

        Raises:
            StorageError: the folder cannot be written.
        """
        place = Path(folder).expanduser().absolute()
        need_lhotse()
        write_cuts(place / "cuts.jsonl.gz", self._cuts)
        write_json(
            place / "saved.json",
            {
                "schema": 1,
                "name": self.name,
                "spec": self.spec,
                "fingerprint": self.fingerprint,
                "utterances": len(self),
                "seconds": round(self.seconds, 6),
                "speakers": len(self.speakers),
                "tiers": self.tiers(),
                "skipped": [p.to_dict() for p in self.skipped],
                "details": self.details,
            },
        )
        return place / "cuts.jsonl.gz"


def _matches(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Collection) and not isinstance(wanted, str | Mapping):
        return found in wanted
    return bool(found == wanted)
