"""Contrastive training of the word encoder, and the average precision that it reaches.

Loss: supervised contrastive (Khosla et al., NeurIPS 2020, eq. 2, "out"), which for two instances of
a word is the NT-Xent loss of Chen et al., ICML 2020; segments of one word as positives of
each other: Jacobs, Matusevych and Kamper, SLT 2021, after the Siamese networks of Kamper, Wang
and Livescu, ICASSP 2016. docs/properties/acoustic_word_embeddings.md says what we do otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import ShapeError
from voxstrata.numerics.threads import one_torch_thread
from voxstrata.properties.awe.encoder import POINTS, Encoder, make_network
from voxstrata.properties.awe.segments import Floats, Segments
from voxstrata.properties.property import TooFewError
from voxstrata.properties.tasks.same_different import WordPairs, choose_rows, codes

_INIT, _BATCHES, _NOISE, _PRECISION = 811, 812, 813, 814

RANKED = 3000
"""Segments whose pairs are ranked for average precision, at most."""


@dataclass(frozen=True)
class Training:
    """How an encoder is trained. The schedule is fixed: nothing is chosen on other data.

    Attributes:
        steps: gradient steps, at most.
        epochs: times that a segment is seen on average, at most: beyond about 40 the vectors of
            the training segments say which word it was and no longer how it sounds.
        words: word types in a batch, drawn in proportion to the square root of their count.
        instances: segments of each, of as many different speakers as there are.
        temperature: of the loss.
        rate: peak learning rate of AdamW; linear rise over a tenth, then half a cosine to 0.
        decay: weight decay.
    """

    steps: int = 400
    epochs: float = 40.0
    words: int = 64
    instances: int = 4
    temperature: float = 0.1
    rate: float = 2e-3
    decay: float = 1e-2

    def steps_for(self, segments: int) -> int:
        """Steps on so many segments: :attr:`steps`, or fewer where :attr:`epochs` says so."""
        batch = self.words * self.instances
        return max(1, min(self.steps, math.ceil(self.epochs * segments / batch)))

    @property
    def segments(self) -> int:
        """Fewest segments that get all steps."""
        return math.ceil(self.steps * self.words * self.instances / self.epochs)


def supervised_contrastive(
    vectors: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean over rows i, and over the other rows p of its label, of
    -log(exp(v_i.v_p / t) / sum over a != i of exp(v_i.v_a / t)).

    Args:
        vectors: unit rows [B, D].
        labels: [B]; rows whose label no other row has are negatives only.
        temperature: t.
    """
    self_pair = torch.eye(len(labels), dtype=torch.bool)
    positive = (labels[:, None] == labels[None, :]) & ~self_pair
    logits = (vectors @ vectors.T / temperature).masked_fill(self_pair, -math.inf)
    log_share = logits - logits.logsumexp(dim=1, keepdim=True)
    count = positive.sum(dim=1)
    per_row = -log_share.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp_min(1)
    return per_row[count > 0].mean()


class _Batches:
    """Draws batches of words with several segments each."""

    def __init__(
        self,
        words: NDArray[np.int64],
        speakers: NDArray[np.int64],
        training: Training,
        rng: np.random.Generator,
    ) -> None:
        counts = np.bincount(words)
        self.usable = np.flatnonzero(counts >= 2)
        self.training, self.rng = training, rng
        self.speakers = speakers
        share = np.sqrt(counts[self.usable])
        self.share = share / share.sum()
        order = np.argsort(words, kind="stable")
        ends = np.cumsum(counts)
        self.members = {int(w): order[ends[w] - counts[w] : ends[w]] for w in self.usable}

    def __call__(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Segments of a batch and the word of each."""
        wanted = min(self.training.words, len(self.usable))
        drawn = self.rng.choice(self.usable, wanted, replace=False, p=self.share)
        parts = [self._instances(self.members[int(word)]) for word in drawn]
        labels = np.repeat(drawn, [len(part) for part in parts])
        return np.concatenate(parts), labels

    def _instances(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        mixed = members[self.rng.permutation(len(members))]
        # How often a segment's speaker came before it: first those that bring a new speaker.
        speakers = self.speakers[mixed]
        order = np.argsort(speakers, kind="stable")
        grouped = speakers[order]
        turn = np.empty(len(mixed), dtype=np.int64)
        turn[order] = np.arange(len(mixed)) - np.searchsorted(grouped, grouped, side="left")
        return mixed[np.argsort(turn, kind="stable")[: self.training.instances]]


def disturbed(segments: Segments, rng: np.random.Generator) -> Floats:
    """Segments at 32 points as another speaker, channel or aligner might have given them.

    Ends move by up to 8 % of the length; all filters shift by one, up or down or not; level
    (deviation 0.8) and tilt (1.2 at the edges) change; up to 7 neighbouring filters are silenced
    (after Park et al., SpecAugment, Interspeech 2019). Units are those of log-mel.

    Returns:
        float32 [N, 32, M].
    """
    n = len(segments)
    points = segments.resampled(POINTS, rng.uniform(-0.08, 0.08, n), rng.uniform(-0.08, 0.08, n))
    mels = points.shape[2]
    filters = np.arange(mels)
    shifted = np.clip(filters + rng.integers(-1, 2, (n, 1)), 0, mels - 1)
    points = np.take_along_axis(points, shifted[:, None, :], axis=2)
    slope = np.linspace(-1.0, 1.0, mels)
    change = rng.normal(0, 0.8, (n, 1)) + rng.normal(0, 1.2, (n, 1)) * slope
    points = points + change[:, None, :].astype(np.float32)
    first = rng.integers(0, mels, (n, 1))
    silenced = (filters >= first) & (filters < first + rng.integers(0, 8, (n, 1)))
    points[np.broadcast_to(silenced[:, None, :], points.shape)] = 0.0
    return points


def train_encoder(
    segments: Segments,
    words: Sequence[str],
    speakers: Sequence[str],
    *,
    seed: int,
    training: Training | None = None,
) -> Encoder:
    """Train an encoder on segments.

    The same arguments give the same weights on one processor and version of torch; the global
    random state is neither used nor changed. Rows in another order are another seed.

    Args:
        segments: N segments.
        words, speakers: of each, [N].
        seed: of initial weights, batches, dropout and disturbance.
        training: schedule; :class:`Training` if not given.

    Raises:
        ShapeError: not one word and speaker a segment.
        TooFewError: fewer than two words that are spoken twice.
    """
    training = training or Training()
    word, speaker = codes(list(words)), codes(list(speakers))
    if not len(segments) == len(word) == len(speaker):
        raise ShapeError(
            "every segment needs a word and a speaker",
            got=f"{len(segments)} segments, {len(word)} words, {len(speaker)} speakers",
        )
    repeated = int((np.bincount(word, minlength=1) >= 2).sum())
    if repeated < 2:
        raise TooFewError(
            "a word encoder learns from words that are spoken more than once",
            got=f"{repeated} such words among {len(segments)} segments",
            expected="at least 2",
            fix="a larger corpus",
        )
    begun = time.perf_counter()
    steps = training.steps_for(len(segments))
    batches = _Batches(word, speaker, training, np.random.default_rng([seed, _BATCHES]))
    noise = np.random.default_rng([seed, _NOISE])
    network = make_network(_seed(seed, _INIT)).train()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.rate, weight_decay=training.decay, fused=True
    )
    seen, losses = 0, []
    with one_torch_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(_seed(seed, _NOISE))  # dropout
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = training.rate * _schedule(step, steps)
            chosen, labels = batches()
            part = segments.take(chosen)
            vectors = network(
                torch.from_numpy(disturbed(part, noise)), torch.from_numpy(part.lengths)
            )
            loss = supervised_contrastive(vectors, torch.from_numpy(labels), training.temperature)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            seen += len(chosen)
            losses.append(float(loss.detach()))
    last = max(1, steps // 10)
    facts: dict[str, Any] = {
        **asdict(training),
        "steps": steps,
        "segments": len(segments),
        "types": len(set(words)),
        "repeated_types": repeated,
        "speakers": len(set(speakers)),
        "epochs": round(seen / len(segments), 1),
        "loss_first": round(float(np.mean(losses[:last])), 4),
        "loss_last": round(float(np.mean(losses[-last:])), 4),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return Encoder(network.eval(), facts)


def _schedule(step: int, steps: int) -> float:
    rise = max(1, steps // 10)
    return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _seed(seed: int, purpose: int) -> int:
    return int(np.random.default_rng([seed, purpose]).integers(2**31))


@dataclass(frozen=True)
class SameWord:
    """Average precision of ranking same-word pairs by cosine.

    Attributes:
        ap: over all pairs.
        across: recall counts pairs of different speakers only ("swdp"); ``None`` without such.
        chance: share of same-word pairs, which a random ranking reaches.
        pairs: pairs that were ranked.
    """

    ap: float
    across: float | None
    chance: float
    pairs: int


def same_word_precision(
    vectors: NDArray[np.float64], words: Sequence[str], speakers: Sequence[str], seed: int
) -> SameWord | None:
    """Same-word average precision of vectors, exact (:mod:`..tasks.same_different`).

    Args:
        vectors: [N, D]; beyond :data:`RANKED` rows a draw with a cap on instances of a word.
        words, speakers: of each row, [N].
        seed: of that draw.

    Returns:
        ``None`` where there is no same-word or no different-word pair.
    """
    listed = list(words)
    chosen, _ = choose_rows(listed, RANKED, np.random.default_rng([seed, _PRECISION]))
    kept = [listed[i] for i in chosen]
    if len(set(kept)) in (0, 1, len(kept)):
        return None
    pairs = WordPairs(kept, [str(speakers[i]) for i in chosen])
    found = pairs.score(pairs.similarities(vectors[chosen]))
    across = found["swdp"].value if "swdp" in found else None
    one = found["all"]
    return SameWord(one.value, across, one.positives / one.pairs, one.pairs)
