"""Property ``cca-awe``: CCA of word segments with acoustic word embeddings of our own.

The speakers are split in two halves. The vectors that rows of one half are held against come from
the other: its encoder, trained there, and the means of its embeddings there. So no layer is
judged by the audio that a vector was made from, and both halves count.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.numerics.jackknife import assign_folds, fold_of_rows
from voxstrata.properties.awe.encoder import WIDTH, plain_embedding, untrained_encoder
from voxstrata.properties.awe.segments import Segments, cut_segments, long_enough
from voxstrata.properties.awe.train import Training, same_word_precision, train_encoder
from voxstrata.properties.awe.vectors import agreement, type_vectors
from voxstrata.properties.cca.engine import CcaDraw
from voxstrata.properties.property import Property, PropertyFacts, Score, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.properties.tasks.same_different import choose_rows
from voxstrata.properties.views.lexical import BesidePermuted
from voxstrata.streaming.stack import StackLayer

MOST_SEGMENTS = 20_000
"""Segments that are cut and embedded, at most (about 100 MB of frames)."""

LEAST_SPEAKERS = 4
"""Speakers needed to keep them whole in the halves; with fewer, recordings are split."""

LEAST_TYPES = 3
"""Types that the view needs at the small scale; published, one more than it has columns."""

LOW_AGREEMENT = 0.8

_CAP, _HALVES, _PERMUTED = 821, 822, 823


@dataclass(frozen=True)
class _Words:
    """Usable rows of a sample in an order of their own: recording, then time."""

    rows: NDArray[np.int64]
    words: NDArray[Any]
    speakers: NDArray[Any]
    half: NDArray[np.int64]
    split_by: str
    segments: Segments


@dataclass(frozen=True)
class HalvesDraw:
    """Scores of two halves of the rows, averaged (see :class:`..property.Draw`).

    Attributes:
        parts: one draw a half.
        awe: facts about the encoders.
        reduced: what the small scale made smaller.
        said: notices about the encoders.
    """

    parts: tuple[BesidePermuted, ...]
    awe: Mapping[str, Any]
    reduced: Mapping[str, Any]
    said: Sequence[str]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the encoders and of the CCA of each half."""
        reduced = dict(self.reduced)
        for part in self.parts:
            for what, change in part.facts.get("reduced", {}).items():
                known = reduced.get(what)
                if known is None or change["used"] < known["used"]:
                    reduced[what] = change
        return {
            "awe": dict(self.awe),
            "rows": sum(part.facts["rows"] for part in self.parts),
            "groups": sum(part.facts["groups"] for part in self.parts),
            "halves": [dict(part.facts) for part in self.parts],
            **({"reduced": reduced} if reduced else {}),
        }

    @property
    def notices(self) -> Sequence[str]:
        """Notices of the encoders and of both halves."""
        return list(dict.fromkeys([*self.said, *(n for p in self.parts for n in p.notices)]))

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """The mean of both halves' scores, rows [N, D]."""
        halves = [part.score(rows, layer) for part in self.parts]
        found: dict[tuple[str, str], list[Score]] = {}
        for scores in halves:
            for score in scores:
                found.setdefault((score.measure, score.control), []).append(score)
        return [mean_score(same) for same in found.values() if len(same) == len(halves)]


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of scores of one measure on rows that do not overlap.

    Errors add in squares; the value of a fold is the mean over the scores that have it.
    """
    errors = [s.error for s in scores if s.error is not None]
    k = len(scores)
    folds: dict[int, list[float]] = {}
    for score in scores:
        for fold, value in score.by_fold:
            folds.setdefault(fold, []).append(value)
    return dataclasses.replace(
        scores[0],
        value=statistics.fmean(s.value for s in scores),
        error=float(np.sqrt(np.square(errors).sum())) / k if len(errors) == k else None,
        n=sum(s.n for s in scores),
        groups=sum(s.groups for s in scores),
        d=min(s.d for s in scores),
        other_d=min(s.other_d for s in scores),
        by_fold=tuple((fold, statistics.fmean(folds[fold])) for fold in sorted(folds)),
    )


@dataclass(frozen=True)
class AcousticWordView(PropertyFacts):
    """CCA with acoustic word embeddings (docs/properties/acoustic_word_embeddings.md).

    Attributes:
        training: how encoders are trained.
    """

    training: Training = field(default_factory=Training)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> HalvesDraw:
        """Train an encoder on each half and hold the other half's rows against its vectors.

        The result does not depend on the order of the sample's rows.

        Raises:
            TooFewError: too few segments, speakers or repeated words.
            AudioError: a recording cannot be read.
        """
        words = _usable(sample, settings, seed)
        made = [self._half(sample, settings, seed, words, train) for train in (0, 1)]
        details = [facts for _, facts in made]
        awe = _joined(details, words)
        reduced: dict[str, Any] = {}
        steps = min(d["encoder"]["steps"] for d in details)
        if settings.scale == "small" and steps < self.training.steps:
            reduced["training steps"] = {"published": self.training.steps, "used": steps}
        return HalvesDraw(tuple(part for part, _ in made), awe, reduced, _notices(awe))

    def _half(
        self, sample: Sample, settings: PropertiesConfig, seed: int, words: _Words, train: int
    ) -> tuple[BesidePermuted, dict[str, Any]]:
        """Vectors from the half ``train``, rows from the other."""
        a, b = np.flatnonzero(words.half == train), np.flatnonzero(words.half != train)
        small = settings.scale == "small"
        if not small and len(a) < self.training.segments:
            raise _too_few("word segments in a half", len(a), self.training.segments, small)
        here, there = words.words[a].tolist(), words.words[b].tolist()
        speakers = [words.speakers[i].tolist() for i in (a, b)]
        encoder = train_encoder(
            words.segments.take(a), here, speakers[0], seed=seed, training=self.training
        )
        table = type_vectors(encoder.embed(words.segments.take(a)), here)
        held_out = encoder.embed(words.segments.take(b))
        rivals = {
            "held_out": held_out,
            "untrained_baseline": plain_embedding(words.segments.take(b)),
            "untrained_network": untrained_encoder(seed).embed(words.segments.take(b)),
        }
        precision = {
            name: same_word_precision(vectors, there, speakers[1], seed)
            for name, vectors in rivals.items()
        }
        new = np.flatnonzero(~np.isin(words.words[b], words.words[a]))
        unseen = same_word_precision(
            held_out[new], words.words[b][new].tolist(), words.speakers[b][new].tolist(), seed
        )
        alike, compared = agreement(table, type_vectors(held_out, there))
        kept, view = table.rows(there)
        drawn = [there[i] for i in kept]
        types = sorted(set(drawn))
        needed = LEAST_TYPES if small else WIDTH + 1
        if len(types) < needed:
            raise _too_few("words that are repeated in both halves", len(types), needed, small)
        facts = {
            "encoder": dict(encoder.facts),
            "precision": {k: v and dataclasses.asdict(v) for k, v in precision.items()},
            "precision_of_words_not_trained_on": unseen and dataclasses.asdict(unseen),
            "agreement": alike,
            "agreement_over": compared,
            "segments_held_out": len(b),
            "rows_with_vector": len(kept),
            "types": len(types),
        }
        rows = words.rows[b[kept]]
        return _against(sample, settings, seed, rows, drawn, types, view), facts


def _usable(sample: Sample, settings: PropertiesConfig, seed: int) -> _Words:
    """Rows that can be embedded, capped, their halves and their frames."""
    order = np.lexsort((sample.end_s, sample.start_s, sample.utterance.astype(str)))
    labels = np.array([label.lower() for label in sample.labels or ()], dtype=object)
    labels = labels[order] if len(labels) else labels
    fits = long_enough(sample.start_s[order], sample.end_s[order])
    candidates = np.flatnonzero(fits & (labels != "")) if len(labels) else np.zeros(0, np.int64)
    small = settings.scale == "small"
    if len(candidates) < 8:
        raise _too_few("word segments of 0.1 to 2 s", len(candidates), 8, small)
    rng = np.random.default_rng([seed, _CAP])
    capped = _capped(labels, candidates, settings.all_words_per_type, rng)
    capped = capped[choose_rows([str(w) for w in labels[capped]], MOST_SEGMENTS, rng)[0]]
    rows = order[capped].astype(np.int64)
    speakers, recordings = sample.groups("speaker")[rows], sample.groups("utterance")[rows]
    split_by = "speaker" if len(set(speakers.tolist())) >= LEAST_SPEAKERS else "utterance"
    groups = [str(g) for g in (speakers if split_by == "speaker" else recordings)]
    if len(set(groups)) < 2:
        raise _too_few("recordings with words", len(set(groups)), 2, small)
    halving = int(np.random.default_rng([seed, _HALVES]).integers(2**31))
    half = fold_of_rows(groups, assign_folds(groups, 2, halving))
    segments = cut_segments(
        sample.utterances, sample.utterance[rows], sample.start_s[rows], sample.end_s[rows]
    )
    words = labels[capped].astype(str)
    return _Words(rows, words, speakers.astype(str), half, split_by, segments)


def _capped(
    labels: NDArray[Any], candidates: NDArray[np.int64], cap: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most ``cap`` of the candidates of each label, at random, in ascending order."""
    mixed = candidates[rng.permutation(len(candidates))]
    _, number = np.unique(labels[mixed].astype(str), return_inverse=True)
    order = np.argsort(number, kind="stable")
    grouped = number[order]
    # Position of each row within its label, in the mixed order.
    place = np.arange(len(order)) - np.searchsorted(grouped, grouped, side="left")
    return np.sort(mixed[order[place < cap]])


def _against(
    sample: Sample,
    settings: PropertiesConfig,
    seed: int,
    rows: NDArray[np.int64],
    drawn: Sequence[str],
    types: Sequence[str],
    view: NDArray[np.float64],
) -> BesidePermuted:
    """The CCA of rows with their view, and with the vectors of other words."""
    position = {word: i for i, word in enumerate(types)}
    number = np.array([position[word] for word in drawn], dtype=np.int64)
    of_type = np.empty((len(types), view.shape[1]))
    of_type[number] = view
    other = of_type[np.random.default_rng([seed, _PERMUTED]).permutation(len(types))]
    groups = sample.groups(settings.group)[rows]

    def against(matrix: NDArray[np.float64]) -> CcaDraw:
        return CcaDraw(
            matrix,
            rows,
            sample.fold[rows],
            settings,
            seed,
            groups=groups,
            labels=drawn,
            reduce_view=True,
            widths=[layer.width for layer in sample.layers],
            facts={"types": len(types)},
            what="the acoustic word embeddings of the other half",
        )

    return BesidePermuted(against(view), against(other[number]))


def _joined(details: Sequence[Mapping[str, Any]], words: _Words) -> dict[str, Any]:
    """Facts of both encoders: means, and each by itself."""

    def mean(name: str, what: str) -> float | None:
        found = [d["precision"][name] for d in details if d["precision"][name]]
        values = [one[what] for one in found if one[what] is not None]
        return round(statistics.fmean(values), 4) if values else None

    alike = [d["agreement"] for d in details if d["agreement"] is not None]
    return {
        "ap_held_out": mean("held_out", "ap"),
        "ap_held_out_across_speakers": mean("held_out", "across"),
        "ap_untrained_baseline": mean("untrained_baseline", "ap"),
        "ap_untrained_network": mean("untrained_network", "ap"),
        "chance": mean("held_out", "chance"),
        "agreement": round(statistics.fmean(alike), 3) if alike else None,
        "segments": len(words.rows),
        "types": len(set(words.words.tolist())),
        "epochs": round(statistics.fmean(d["encoder"]["epochs"] for d in details), 1),
        "seconds": round(sum(d["encoder"]["seconds"] for d in details), 1),
        "halves_keep_together": words.split_by,
        "halves": [dict(d) for d in details],
    }


def _notices(awe: Mapping[str, Any]) -> list[str]:
    if awe["ap_held_out"] is None:
        said = ["The held-out half repeats no word: the word encoders could not be tested."]
    else:
        said = [
            "Word encoders of our own, each trained on one half and tested on the other: same-word "
            f"average precision {awe['ap_held_out']:.3f} (log-mel without training "
            f"{awe['ap_untrained_baseline']:.3f}, chance {awe['chance']:.4f})."
        ]
    if awe["halves_keep_together"] != "speaker":
        said.append(
            f"Fewer than {LEAST_SPEAKERS} speakers: the halves of the word encoders share speakers."
        )
    if awe["agreement"] is not None and awe["agreement"] < LOW_AGREEMENT:
        said.append(
            "The word vectors are partly codes of their training segments and not images of their "
            f"sound: relations among words agree with those of held-out segments at only "
            f"{awe['agreement']:.2f}; compare cca-awe with its permuted control."
        )
    return said


def _too_few(what: str, got: int, needed: int, small: bool) -> TooFewError:
    return TooFewError(
        f"too few {what} for acoustic word embeddings",
        got=f"{got}",
        expected=f"at least {needed}",
        fix="a larger corpus" if small else "--scale small, or a larger corpus",
    )


def cca_awe(argument: str) -> Property:
    """``cca-awe``."""
    no_argument("cca-awe", argument)
    return AcousticWordView(
        "cca-awe",
        "acoustic word embeddings of the corpus (PWCCA)",
        "lexical",
        "word",
        "pwcca",
        ("words",),
    )
