"""Evaluation of speaker encoders while they train: EER over all pairs of a corpus."""

from __future__ import annotations

import torch
from torch import nn

from voxstrata.corpora import Corpus
from voxstrata.errors import AudioError, CorpusError
from voxstrata.frontend import FrontEnd
from voxstrata.metrics.eer import eer
from voxstrata.training.encoders import frames_needed
from voxstrata.training.objective import Evaluator, Objective


class PairsEvaluator:
    """EER of cosine scores over all pairs of a corpus, mean of the embeddings subtracted.

    Args:
        name: short name; the results are ``NAME_eer`` and ``NAME_eer_plain`` (no mean subtracted).
        corpus: recordings with speakers; each is embedded whole and alone.
        front: front end.
        device: where the network is.
    """

    def __init__(self, name: str, corpus: Corpus, front: FrontEnd, device: str) -> None:
        self.name, self.corpus, self.front, self.device = name, corpus, front, device
        self._features: list[torch.Tensor] | None = None
        self._speakers: list[str] = []

    def __call__(self, objective: Objective) -> dict[str, float]:
        """EER in percent."""
        rows = self.embed(objective.network())
        codes = torch.tensor([sorted(set(self._speakers)).index(s) for s in self._speakers])
        first, second = torch.triu_indices(len(codes), len(codes), offset=1)
        target = (codes[first] == codes[second]).numpy()
        found = {}
        for suffix, centred in (("", rows - rows.mean(0)), ("_plain", rows)):
            unit = nn.functional.normalize(centred, dim=1)
            scores = (unit @ unit.T)[first, second].numpy()
            found[f"{self.name}_eer{suffix}"] = 100 * float(eer(scores[target], scores[~target]))
        return found

    def embed(self, network: nn.Module) -> torch.Tensor:
        """Embeddings [N, D], float64 on the CPU."""
        if self._features is None:
            self._load(frames_needed(network))
        assert self._features is not None
        rows = [network(one[None].to(self.device))[0].double().cpu() for one in self._features]
        return torch.stack(rows)

    def _load(self, least: int) -> None:
        features: list[torch.Tensor] = []
        for utterance in self.corpus:
            try:
                wave = torch.from_numpy(utterance.read())[None]
                found = self.front(wave)[0]
            except AudioError:
                continue
            if len(found) < least:  # the network would give NaN for it
                continue
            features.append(found)
            self._speakers.append(str(utterance.tiers["speaker"]))
        _both_kinds(self.name, self._speakers, "usable recordings")
        self._features = features


def check_evaluation(name: str, corpus: Corpus) -> None:
    """Refuse an evaluation corpus that gives no error rate, before anything is trained.

    Args:
        name: its key under ``data.valid``.
        corpus: recordings.

    Raises:
        CorpusError: recordings without speaker; or no pair of one speaker, or of two.
    """
    without = [u.id for u in corpus.utterances if "speaker" not in u.tiers]
    if without:
        raise CorpusError(
            f"{len(without)} of {len(corpus)} recordings of the evaluation corpus {name!r} have "
            "no speaker",
            got=", ".join(without[:5]),
            expected="the tier 'speaker' on every recording: error rates are computed over pairs",
            fix=f"give a corpus with speakers, or leave it out (-s data.valid.{name}=)",
        )
    speakers = [str(u.tiers["speaker"]) for u in corpus.utterances]
    _both_kinds(name, speakers, "recordings")


def _both_kinds(name: str, speakers: list[str], what: str) -> None:
    count = len(set(speakers))
    if count < 2 or count == len(speakers):
        raise CorpusError(
            f"the evaluation corpus {name!r} gives no error rate",
            got=f"{len(speakers)} {what} of {count} speakers",
            expected="at least two speakers, and of one of them two recordings",
            fix=f"give a larger corpus, or leave it out (-s data.valid.{name}=)",
        )


def speaker_evaluators(
    valid: dict[str, Corpus], front: FrontEnd, device: str
) -> tuple[Evaluator, ...]:
    """One evaluator a corpus that has speakers."""
    return tuple(
        PairsEvaluator(name, corpus, front, device)
        for name, corpus in valid.items()
        if len(corpus.speakers) > 1
    )
