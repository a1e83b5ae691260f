"""Evaluation of speaker encoders while they train: EER over all pairs of a corpus."""

from __future__ import annotations

import torch
from torch import nn

from voxstrata.corpora import Corpus
from voxstrata.errors import AudioError
from voxstrata.frontend import FrontEnd
from voxstrata.metrics.eer import eer
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
            self._load()
        assert self._features is not None
        rows = [network(one[None].to(self.device))[0].double().cpu() for one in self._features]
        return torch.stack(rows)

    def _load(self) -> None:
        self._features = []
        for utterance in self.corpus:
            try:
                wave = torch.from_numpy(utterance.read())[None]
                features = self.front(wave)[0]
            except AudioError:
                continue
            self._features.append(features)
            self._speakers.append(str(utterance.tiers["speaker"]))


def speaker_evaluators(
    valid: dict[str, Corpus], front: FrontEnd, device: str
) -> tuple[Evaluator, ...]:
    """One evaluator a corpus that has speakers."""
    return tuple(
        PairsEvaluator(name, corpus, front, device)
        for name, corpus in valid.items()
        if len(corpus.speakers) > 1
    )
